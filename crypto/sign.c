#include "crypto/sign.h"

#include <ctype.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/file.h"
#include "crypto/hash.h"
#include "crypto/key_file.h"
#include "crypto/secret.h"

#define SIGN_PREFIX "NX-SA1/"
#define FILE_PREFIX "neurox-identity-1 "
#define FILE_SIZE (sizeof FILE_PREFIX - 1 + 2 * crypto_sign_SEEDBYTES + 1)

struct nx_identity {
  uint8_t secret_key[crypto_sign_SECRETKEYBYTES]; /* seed | public key, as libsodium has it */
  struct nx_public_key public_key;
};

static int identity_of_seed(const struct nx_secret *seed, struct nx_identity **identity_out,
                            struct nx_error *err) {
  struct nx_identity *identity = nx_secret_alloc_bytes(sizeof *identity);
  if (!identity)
    return nx_fail(err, NX_E_NOMEM, "out of guarded memory for an identity key");
  crypto_sign_seed_keypair(identity->public_key.bytes, identity->secret_key, seed->bytes);
  *identity_out = identity;
  return 0;
}

int nx_identity_create(const struct nx_entropy *entropy, struct nx_identity **identity_out,
                       struct nx_error *err) {
  _cleanup_(nx_secret_wipe) struct nx_secret seed;
  int r = nx_crypto_init(err);
  if (r == 0)
    r = nx_secret_random(entropy, &seed, err);
  if (r == 0)
    r = identity_of_seed(&seed, identity_out, err);
  return r < 0 ? nx_error_prefix(err, r, "create an identity key") : 0;
}

int nx_identity_save(const struct nx_identity *identity, const char *path,
                     const struct nx_passphrase *passphrase, struct nx_error *err) {
  char text[FILE_SIZE + 1];
  memcpy(text, FILE_PREFIX, sizeof FILE_PREFIX - 1);
  nx_hex_encode(identity->secret_key, crypto_sign_SEEDBYTES, text + sizeof FILE_PREFIX - 1);
  text[FILE_SIZE - 1] = '\n';
  int r = nx_key_file_create(path, nx_bytes(text, FILE_SIZE), passphrase, err);
  sodium_memzero(text, sizeof text);
  return r < 0 ? nx_error_prefix(err, r, "save the identity key") : 0;
}

static int parse_identity(const char *path, const struct nx_key *file, struct nx_secret *seed,
                          struct nx_error *err) {
  size_t prefix = sizeof FILE_PREFIX - 1;
  if (file->size != FILE_SIZE || memcmp(file->bytes, FILE_PREFIX, prefix) ||
      file->bytes[FILE_SIZE - 1] != '\n')
    return nx_fail(err, NX_E_FORMAT, "%s: not an identity key file", path);
  char hex[2 * crypto_sign_SEEDBYTES + 1];
  memcpy(hex, file->bytes + prefix, sizeof hex - 1);
  hex[sizeof hex - 1] = 0;
  int r = nx_hex_decode(hex, seed->bytes, sizeof seed->bytes, err);
  sodium_memzero(hex, sizeof hex);
  return r;
}

int nx_identity_load(const char *path, struct nx_unlock *unlock, struct nx_identity **identity_out,
                     struct nx_error *err) {
  _cleanup_(nx_key_finish) struct nx_key file = {0};
  _cleanup_(nx_secret_wipe) struct nx_secret seed;
  int r = nx_crypto_init(err);
  if (r == 0)
    r = nx_key_file_read(path, unlock, &file, err);
  if (r == 0)
    r = parse_identity(path, &file, &seed, err);
  if (r == 0)
    r = identity_of_seed(&seed, identity_out, err);
  return r < 0 ? nx_error_prefix(err, r, "load the identity key") : 0;
}

const struct nx_public_key *nx_identity_public(const struct nx_identity *identity) {
  return &identity->public_key;
}

void nx_identity_destroy(struct nx_identity *identity) {
  nx_secret_free(identity);
}

/* "NX-SA1/<message>\0" | body, contiguous as Ed25519 wants it. */
static int signed_bytes(const char *message, struct nx_bytes body, struct nx_buffer *out,
                        struct nx_error *err) {
  int r = nx_buffer_reserve(out, sizeof SIGN_PREFIX + strlen(message) + body.size, err);
  if (r < 0)
    return nx_error_prefix(err, r, "signature over %s", message);
  nx_buffer_append(out, SIGN_PREFIX, sizeof SIGN_PREFIX - 1, NULL);
  nx_buffer_append(out, message, strlen(message) + 1, NULL);
  nx_buffer_append(out, body.data, body.size, NULL);
  return 0;
}

int nx_sign(const struct nx_identity *identity, const char *message, struct nx_bytes body,
            struct nx_signature *signature_out, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer bytes = {.cap = NX_BUFFER_CAP + 64};
  int r = signed_bytes(message, body, &bytes, err);
  if (r < 0)
    return r;
  crypto_sign_detached(signature_out->bytes, NULL, bytes.data, bytes.size, identity->secret_key);
  return 0;
}

int nx_verify(const struct nx_public_key *key, const char *message, struct nx_bytes body,
              const struct nx_signature *signature, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer bytes = {.cap = NX_BUFFER_CAP + 64};
  int r = nx_crypto_init(err);
  if (r == 0)
    r = signed_bytes(message, body, &bytes, err);
  if (r < 0)
    return r;
  if (crypto_sign_verify_detached(signature->bytes, bytes.data, bytes.size, key->bytes))
    return nx_fail(err, NX_E_CRYPTO, "the signature on %s does not verify", message);
  return 0;
}

static void fingerprint_hex(struct nx_bytes data, char hex[41]) {
  struct nx_sha256 sha;
  nx_sha256_begin(&sha, "SA1/fingerprint");
  nx_sha256_bytes(&sha, data);
  struct nx_hash hash = nx_sha256_final(&sha);
  nx_hex_encode(hash.bytes, 20, hex);
}

void nx_fingerprint(struct nx_bytes data, char out[NX_FINGERPRINT_SIZE]) {
  char hex[41];
  fingerprint_hex(data, hex);
  for (int group = 0; group < 10; group++) {
    memcpy(out + 5 * group, hex + 4 * group, 4);
    out[5 * group + 4] = group < 9 ? ' ' : 0;
  }
}

bool nx_fingerprint_matches(struct nx_bytes data, const char *text) {
  char hex[41], digits[41];
  size_t n = 0;
  fingerprint_hex(data, hex);
  for (; *text; text++) {
    if (strchr(" -:\t\n", *text))
      continue;
    if (n == 40)
      return false;
    digits[n++] = (char)tolower((unsigned char)*text);
  }
  return n == 40 && memcmp(digits, hex, 40) == 0;
}
