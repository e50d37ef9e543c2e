#include "models/nets/masking.h"

#include <string.h>

static int near(const float *a, const float *b) {
  double square = 0;
  for (int i = 0; i < 3; i++)
    square += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
  return square < NX_MASK_RADIUS * NX_MASK_RADIUS;
}

/* How many it hid. */
static size_t hide_around(const float *positions, size_t n_channels, size_t n_patches, size_t seed,
                          size_t first, uint8_t *visible) {
  size_t hidden = 0;
  for (size_t c = 0; c < n_channels; c++)
    if (c == seed || near(positions + 3 * c, positions + 3 * seed))
      for (size_t s = first; s < n_patches && s < first + NX_MASK_PATCHES; s++) {
        hidden += visible[c * n_patches + s];
        visible[c * n_patches + s] = 0;
      }
  return hidden;
}

void nx_masking_draw(const float *positions, size_t n_channels, size_t n_patches,
                     struct nx_rng *rng, uint8_t *visible_out) {
  size_t n = n_channels * n_patches, left = n;
  memset(visible_out, 1, n);
  while ((double)left > NX_MASK_VISIBLE * (double)n) {
    size_t seed = (size_t)nx_rng_below(rng, n_channels);
    size_t first = (size_t)nx_rng_below(rng, n_patches);
    left -= hide_around(positions, n_channels, n_patches, seed, first, visible_out);
  }
  for (size_t s = 0; n_channels > 1 && s < n_patches; s++) {
    size_t seen = 0;
    for (size_t c = 0; c < n_channels; c++)
      seen += visible_out[c * n_patches + s];
    if (!seen)
      visible_out[s] = 1;
  }
}
