/* Secret: 32 secret bytes, kept in guarded memory and wiped.
 *
 * Secrets that outlive a function live in nx_secret_alloc() memory (libsodium: guard
 * pages, locked where the system allows, left out of core dumps, wiped when freed); one
 * allocation costs at least three pages, so take arrays. Secrets inside a function are
 * plain variables declared with _cleanup_(nx_secret_wipe). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/cleanup.h"
#include "common/error.h"
#include "common/rng.h"

#define NX_SECRET_SIZE 32

struct nx_secret {
  uint8_t bytes[NX_SECRET_SIZE];
};

/* Readies libsodium; every function here that needs it calls it. Any thread, idempotent. */
int nx_crypto_init(struct nx_error *err);

/* size zeroed bytes of guarded memory, or NULL; free with nx_secret_free(). */
void *nx_secret_alloc_bytes(size_t size);
/* n zeroed secrets, or NULL. */
struct nx_secret *nx_secret_alloc(size_t n);
void nx_secret_free(void *memory); /* wipes; NULL is fine */
void nx_secret_freep(void *pointer_to_pointer);

void nx_secret_wipe(struct nx_secret *secret);
int nx_secret_random(const struct nx_entropy *entropy, struct nx_secret *out, struct nx_error *err);
bool nx_secret_equal(const struct nx_secret *a, const struct nx_secret *b); /* constant time */
