/* Masking: which tokens a reconstruction hides. A neighbourhood of a random seed channel, two
 * patches long, again and again until at most half of the window is left: channels that
 * record nearly the same are hidden together, so that the answer cannot be read off a
 * neighbour. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/rng.h"

#define NX_MASK_RADIUS 0.8  /* of the unit sphere, straight-line distance */
#define NX_MASK_PATCHES 2   /* patches hidden from a start on */
#define NX_MASK_VISIBLE 0.5 /* at most this part stays visible */

/* visible_out[C][S]: 1 visible, 0 hidden. positions[C][3]. With two channels or more, every
 * patch keeps a visible one. */
void nx_masking_draw(const float *positions, size_t n_channels, size_t n_patches,
                     struct nx_rng *rng, uint8_t *visible_out);
