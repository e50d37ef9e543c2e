#include "crypto/prg.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "common/size.h"
#include "crypto/prg_add.h"

#define CHUNK 16384

struct workspace {
  EVP_CIPHER_CTX *context;
  uint8_t keystream[CHUNK + 16];
};

static bool usable(void) {
  return true;
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
    nx_prg_add(lanes + done, keystream, take, call->width, call->subtract);
    done += take;
  }
  return true;
}

const struct nx_prg_kernel nx_prg_evp = {
    "evp", usable, nx_prg_keep_key, create_workspace, destroy_workspace, apply,
};
