#include "crypto/agreement.h"

#include <sodium.h>

#include "crypto/hkdf.h"

int nx_agreement_create(const struct nx_entropy *entropy, struct nx_secret *secret_out,
                        struct nx_point *public_out, struct nx_error *err) {
  int r = nx_secret_random(entropy, secret_out, err);
  if (r == 0)
    r = nx_agreement_public(secret_out, public_out, err);
  if (r < 0)
    nx_secret_wipe(secret_out);
  return r < 0 ? nx_error_prefix(err, r, "create an X25519 key") : 0;
}

int nx_agreement_public(const struct nx_secret *secret, struct nx_point *public_out,
                        struct nx_error *err) {
  int r = nx_crypto_init(err);
  if (r < 0)
    return r;
  if (crypto_scalarmult_base(public_out->bytes, secret->bytes))
    return nx_fail(err, NX_E_CRYPTO, "X25519 gives no public key for this secret");
  return 0;
}

int nx_agreement_shared(const struct nx_secret *mine, const struct nx_point *theirs,
                        struct nx_secret *shared_out, struct nx_error *err) {
  int r = nx_crypto_init(err);
  /* libsodium refuses the points of low order and an all-zero result. */
  if (r == 0 && crypto_scalarmult(shared_out->bytes, mine->bytes, theirs->bytes))
    r = nx_fail(err, NX_E_CRYPTO, "X25519: the peer's public key is of low order");
  if (r < 0)
    nx_secret_wipe(shared_out);
  return r;
}

static int derive(const struct nx_secret *key, const struct nx_hash *salt, const char *label,
                  const uint32_t *ids, size_t n_ids, struct nx_secret *out, struct nx_error *err) {
  uint8_t info[32];
  size_t n = strlen(label);
  memcpy(info, label, n);
  for (size_t i = 0; i < n_ids; i++, n += 4)
    nx_store_le32(info + n, ids[i]);
  int r = nx_hkdf(nx_bytes(key->bytes, NX_SECRET_SIZE), nx_bytes(salt->bytes, NX_HASH_SIZE),
                  nx_bytes(info, n), out->bytes, NX_SECRET_SIZE, err);
  return r < 0 ? nx_error_prefix(err, r, "key %s", label) : 0;
}

int nx_share_key(const struct nx_secret *shared, const struct nx_hash *t1, uint32_t from,
                 uint32_t to, struct nx_secret *key_out, struct nx_error *err) {
  return derive(shared, t1, "SA1/enc", (uint32_t[]){from, to}, 2, key_out, err);
}

int nx_pair_key(const struct nx_secret *shared, const struct nx_hash *t2, uint32_t a, uint32_t b,
                struct nx_secret *key_out, struct nx_error *err) {
  if (a == b)
    return nx_fail(err, NX_E_INVALID, "member %u has no pair key with itself", a);
  uint32_t ids[] = {a < b ? a : b, a < b ? b : a};
  return derive(shared, t2, "SA1/pair", ids, 2, key_out, err);
}

int nx_self_key(const struct nx_secret *b, const struct nx_hash *t2, uint32_t id,
                struct nx_secret *key_out, struct nx_error *err) {
  return derive(b, t2, "SA1/self", &id, 1, key_out, err);
}

int nx_rotation_seed(const struct nx_hash *model, uint64_t *seed_out, struct nx_error *err) {
  uint8_t seed[8];
  int r = nx_hkdf(nx_bytes(model->bytes, NX_HASH_SIZE), nx_bytes(NULL, 0), nx_bytes("SA1/rot", 7),
                  seed, sizeof seed, err);
  *seed_out = nx_load_le64(seed);
  return r;
}
