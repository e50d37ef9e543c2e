/* SHA-256 of two messages at once, with the CPU's SHA instructions: each of them waits four cycles
 * for the one before it, and a second message fills the wait. Private to crypto; what hashes many
 * tiles is nx_merkle_leaves(). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* This processor has the instructions. */
bool nx_sha256_pair_usable(void);
/* Takes n blocks of 64 bytes of either message into its state (FIPS 180-4, 6.2.2). */
void nx_sha256_pair_blocks(uint32_t states[2][8], const uint8_t *first, const uint8_t *second,
                           size_t n);
