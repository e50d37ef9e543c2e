#include "crypto/prg_aegis.h"

#include <openssl/crypto.h>
#include <stdlib.h>

#include "common/size.h"
#include "crypto/aegis256.h"
#include "crypto/prg_add.h"

struct workspace {
  size_t used;
  uint8_t keystream[NX_AEGIS_SEGMENT]; /* of a segment that is wanted in part */
};

void *nx_prg_aegis_workspace(void) {
  struct workspace *w = malloc(sizeof *w);
  if (w)
    w->used = 0;
  return w;
}

void nx_prg_aegis_workspace_free(void *workspace) {
  struct workspace *w = workspace;
  if (w)
    OPENSSL_cleanse(w->keystream, w->used);
  free(w);
}

/* n bytes from byte `at` of a segment. */
static void in_part(nx_aegis_engine engine, struct workspace *w, struct nx_aegis_stretch stretch,
                    size_t at, size_t n) {
  uint8_t *lanes = stretch.lanes;
  enum nx_prg_lanes width = stretch.width;
  bool subtract = stretch.subtract;
  stretch.lanes = w->keystream;
  stretch.size = (at + n + NX_AEGIS_STEP - 1) / NX_AEGIS_STEP * NX_AEGIS_STEP;
  stretch.width = NX_PRG_U64;
  stretch.subtract = false;
  memset(w->keystream, 0, stretch.size);
  w->used = NX_MAX(w->used, stretch.size);
  engine(&stretch);
  nx_prg_add(lanes, w->keystream + at, n, width, subtract);
}

bool nx_prg_aegis(nx_aegis_engine engine, void *workspace, const struct nx_prg_call *call) {
  struct nx_aegis_stretch stretch = {.key = call->schedule,
                                     .stream = call->stream,
                                     .width = call->width,
                                     .subtract = call->subtract,
                                     .ahead = call->ahead,
                                     .ahead_end = call->ahead};
  if (call->ahead)
    stretch.ahead_end += call->ahead_size;
  for (size_t done = 0, n; done < call->size; done += n) {
    uint64_t byte = call->byte + done;
    size_t at = byte % NX_AEGIS_SEGMENT;
    n = NX_MIN(call->size - done, NX_AEGIS_SEGMENT - at);
    stretch.segment = byte / NX_AEGIS_SEGMENT;
    stretch.lanes = (uint8_t *)call->lanes + done;
    stretch.size = n;
    if (at == 0 && n % NX_AEGIS_STEP == 0)
      engine(&stretch);
    else
      in_part(engine, workspace, stretch, at, n);
    if (stretch.ahead != stretch.ahead_end)
      stretch.ahead += NX_MIN((size_t)(stretch.ahead_end - stretch.ahead), n);
  }
  return true;
}

/* --- without AES instructions --- */

static void plainly(const struct nx_aegis_stretch *s) {
  struct nx_aegis256 a[NX_AEGIS_LANES];
  const uint64_t nothing[2] = {0, 0};
  for (uint64_t lane = 0; lane < NX_AEGIS_LANES; lane++) {
    uint8_t nonce[NX_AEGIS_NONCE_SIZE] = {0};
    nx_store_le64(nonce, s->stream);
    nx_store_le64(nonce + 8, s->segment);
    nx_store_le64(nonce + 16, lane);
    nx_aegis256_init(&a[lane], s->key, nonce);
  }
  for (size_t at = 0; at < s->size; at += NX_AEGIS_BLOCK) {
    struct nx_aegis256 *one = &a[at / NX_AEGIS_BLOCK % NX_AEGIS_LANES];
    uint64_t words[2];
    uint8_t block[NX_AEGIS_BLOCK];
    nx_aegis256_keystream(one, words);
    nx_store_le64(block, words[0]);
    nx_store_le64(block + 8, words[1]);
    nx_prg_add(s->lanes + at, block, sizeof block, s->width, s->subtract);
    nx_aegis256_update(one, nothing);
  }
  explicit_bzero(a, sizeof a);
}

static bool usable(void) {
  return true;
}

static bool apply(void *workspace, const struct nx_prg_call *call) {
  return nx_prg_aegis(plainly, workspace, call);
}

const struct nx_prg_kernel nx_prg_aegis_plain = {
    "aegis-plain", usable, nx_prg_keep_key, nx_prg_aegis_workspace, nx_prg_aegis_workspace_free,
    apply,
};
