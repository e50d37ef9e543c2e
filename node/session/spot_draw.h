/* Spot draw: which tiles of an opened sum this node looks at. */
#pragma once

#include "common/rng.h"

/* k distinct tiles of 0..n-1, k <= n, uniform, from this node's own randomness: nobody else can
 * know them beforehand. */
int nx_spot_draw(const struct nx_entropy *entropy, uint64_t n, size_t k, uint64_t *tiles_out,
                 struct nx_error *err);
