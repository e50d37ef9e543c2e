/* Rotate: the randomised Hadamard transform of one block, x -> H D x / sqrt(n), where D
 * flips signs at random (Suresh et al., "Distributed mean estimation with limited
 * communication", ICML 2017). n is a power of two up to NX_QUANTIZE_BLOCK; in place; the same
 * bits on every machine. Any thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>

void nx_rotate(float *x, size_t n, uint64_t seed, uint64_t block);
void nx_rotate_back(float *x, size_t n, uint64_t seed, uint64_t block);
