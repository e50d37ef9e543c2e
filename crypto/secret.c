#include "crypto/secret.h"

#include <sodium.h>

int nx_crypto_init(struct nx_error *err) {
  if (sodium_init() < 0)
    return nx_fail(err, NX_E_CRYPTO, "libsodium did not start: is /dev/urandom there?");
  return 0;
}

void *nx_secret_alloc_bytes(size_t size) {
  if (sodium_init() < 0)
    return NULL;
  void *memory = sodium_malloc(size ? size : 1);
  if (memory)
    sodium_memzero(memory, size);
  return memory;
}

struct nx_secret *nx_secret_alloc(size_t n) {
  return n > SIZE_MAX / sizeof(struct nx_secret)
             ? NULL
             : nx_secret_alloc_bytes(n * sizeof(struct nx_secret));
}

void nx_secret_free(void *memory) {
  sodium_free(memory);
}

void nx_secret_freep(void *pointer_to_pointer) {
  sodium_free(*(void **)pointer_to_pointer);
}

void nx_secret_wipe(struct nx_secret *secret) {
  sodium_memzero(secret, sizeof *secret);
}

int nx_secret_random(const struct nx_entropy *entropy, struct nx_secret *out,
                     struct nx_error *err) {
  return entropy->fill(entropy->context, out->bytes, sizeof out->bytes, err);
}

bool nx_secret_equal(const struct nx_secret *a, const struct nx_secret *b) {
  return sodium_memcmp(a->bytes, b->bytes, NX_SECRET_SIZE) == 0;
}
