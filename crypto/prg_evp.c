#include "crypto/prg.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "common/size.h"

#define CHUNK 16384

struct workspace {
  EVP_CIPHER_CTX *context;
  uint8_t keystream[CHUNK + 16];
};

static bool usable(void) {
  return true;
}

static void expand(const struct nx_secret *key, uint8_t schedule[NX_PRG_SCHEDULE_SIZE]) {
  memcpy(schedule, key->bytes, NX_SECRET_SIZE);
}

static void destroy_workspace(void *workspace) {
  struct workspace *w = workspace;
  if (!w)
    return;
  EVP_CIPHER_CTX_free(w->context);
  OPENSSL_cleanse(w, sizeof *w);
  free(w);
}

static void *create_workspace(void) {
  struct workspace *w = calloc(1, sizeof *w);
  if (w && (!(w->context = EVP_CIPHER_CTX_new()) ||
            EVP_EncryptInit_ex(w->context, EVP_aes_256_ctr(), NULL, NULL, NULL) != 1)) {
    destroy_workspace(w);
    return NULL;
  }
  return w;
}

static bool seek(EVP_CIPHER_CTX *context, const struct nx_prg_call *call) {
  uint8_t iv[16];
  for (int i = 0; i < 8; i++) {
    iv[7 - i] = (uint8_t)(call->stream >> (8 * i));
    iv[15 - i] = (uint8_t)(call->byte / 16 >> (8 * i));
  }
  return EVP_EncryptInit_ex(context, NULL, NULL, call->schedule, iv) == 1;
}

/* Lanes and keystream are little-endian in memory whatever the machine is. */
static void add_u16(uint8_t *lanes, const uint8_t *keystream, size_t n, uint16_t negate) {
  for (size_t i = 0; i < n; i++) {
    uint16_t lane, k = nx_load_le16(keystream + 2 * i);
    memcpy(&lane, lanes + 2 * i, 2);
    lane = (uint16_t)(lane + (k ^ negate) - negate);
    memcpy(lanes + 2 * i, &lane, 2);
  }
}

static void add_u32(uint8_t *lanes, const uint8_t *keystream, size_t n, uint32_t negate) {
  for (size_t i = 0; i < n; i++) {
    uint32_t lane, k = nx_load_le32(keystream + 4 * i);
    memcpy(&lane, lanes + 4 * i, 4);
    lane += (k ^ negate) - negate;
    memcpy(lanes + 4 * i, &lane, 4);
  }
}

static void add_u64(uint8_t *lanes, const uint8_t *keystream, size_t n, uint64_t negate) {
  for (size_t i = 0; i < n; i++) {
    uint64_t lane, k = nx_load_le64(keystream + 8 * i);
    memcpy(&lane, lanes + 8 * i, 8);
    lane += (k ^ negate) - negate;
    memcpy(lanes + 8 * i, &lane, 8);
  }
}

static bool apply(void *workspace, const struct nx_prg_call *call) {
  struct workspace *w = workspace;
  uint8_t *lanes = call->lanes;
  size_t skip = call->byte % 16;
  if (!seek(w->context, call))
    return false;
  for (size_t done = 0; done < call->size;) {
    size_t take = NX_MIN(call->size - done, CHUNK - (done ? 0 : skip));
    size_t n = take + (done ? 0 : skip);
    int written = 0;
    memset(w->keystream, 0, n);
    if (EVP_EncryptUpdate(w->context, w->keystream, &written, w->keystream, (int)n) != 1)
      return false;
    const uint8_t *keystream = w->keystream + (done ? 0 : skip);
    if (call->width == NX_PRG_U64)
      add_u64(lanes + done, keystream, take / 8, call->subtract ? UINT64_MAX : 0);
    else if (call->width == NX_PRG_U16)
      add_u16(lanes + done, keystream, take / 2, call->subtract ? UINT16_MAX : 0);
    else
      add_u32(lanes + done, keystream, take / 4, call->subtract ? UINT32_MAX : 0);
    done += take;
  }
  return true;
}

const struct nx_prg_kernel nx_prg_evp = {
    "evp", usable, expand, create_workspace, destroy_workspace, apply,
};
