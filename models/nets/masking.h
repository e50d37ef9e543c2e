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

/* The same with neighbourhoods of one's own: related[C][C] is 1 where two channels are to be
 * hidden together, and at least `fraction` of the tokens are hidden. */
void nx_masking_draw_related(const uint8_t *related, size_t n_channels, size_t n_patches,
                             double fraction, struct nx_rng *rng, uint8_t *visible_out);

/* related_out[C][C]: channels whose absolute correlation[C][C] is above `above`, or whose
 * positions[C][3] are both known (placed[C]) and nearer than radius; and each to itself. */
void nx_masking_related(const float *correlation, double above, const float *positions,
                        const uint8_t *placed, double radius, size_t n_channels,
                        uint8_t *related_out);
