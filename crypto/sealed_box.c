#include "crypto/sealed_box.h"

#include <sodium.h>

#define AAD_SIZE (NX_HASH_SIZE + 8)

static const uint8_t zero_nonce[crypto_aead_chacha20poly1305_ietf_NPUBBYTES];

static void associated_data(const struct nx_hash *t1, uint32_t from, uint32_t to,
                            uint8_t aad[AAD_SIZE]) {
  memcpy(aad, t1->bytes, NX_HASH_SIZE);
  nx_store_le32(aad + NX_HASH_SIZE, from);
  nx_store_le32(aad + NX_HASH_SIZE + 4, to);
}

int nx_sealed_box_seal(const struct nx_secret *key, const struct nx_hash *t1, uint32_t from,
                       uint32_t to, struct nx_bytes plain, uint8_t *out, struct nx_error *err) {
  uint8_t aad[AAD_SIZE];
  int r = nx_crypto_init(err);
  if (r < 0)
    return r;
  associated_data(t1, from, to, aad);
  crypto_aead_chacha20poly1305_ietf_encrypt(out, NULL, plain.data, plain.size, aad, sizeof aad,
                                            NULL, zero_nonce, key->bytes);
  return 0;
}

int nx_sealed_box_open(const struct nx_secret *key, const struct nx_hash *t1, uint32_t from,
                       uint32_t to, struct nx_bytes sealed, uint8_t *plain_out,
                       struct nx_error *err) {
  uint8_t aad[AAD_SIZE];
  int r = nx_crypto_init(err);
  if (r < 0)
    return r;
  if (sealed.size < NX_SEALED_BOX_TAG_SIZE)
    return nx_fail(err, NX_E_CRYPTO, "sealed box %u to %u: %zu bytes are too few", from, to,
                   sealed.size);
  associated_data(t1, from, to, aad);
  if (crypto_aead_chacha20poly1305_ietf_decrypt(plain_out, NULL, NULL, sealed.data, sealed.size,
                                                aad, sizeof aad, zero_nonce, key->bytes)) {
    sodium_memzero(plain_out, sealed.size - NX_SEALED_BOX_TAG_SIZE);
    return nx_fail(err, NX_E_CRYPTO, "sealed box %u to %u does not open", from, to);
  }
  return 0;
}
