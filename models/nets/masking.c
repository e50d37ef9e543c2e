#include "models/nets/masking.h"

#include <math.h>
#include <string.h>

static int near(const float *a, const float *b, double radius) {
  double square = 0;
  for (int i = 0; i < 3; i++)
    square += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
  return square < radius * radius;
}

/* Hides patches first .. of channel c; how many it hid. */
static size_t hide(size_t c, size_t first, size_t n_patches, uint8_t *visible) {
  size_t hidden = 0;
  for (size_t s = first; s < n_patches && s < first + NX_MASK_PATCHES; s++) {
    hidden += visible[c * n_patches + s];
    visible[c * n_patches + s] = 0;
  }
  return hidden;
}

static void keep_one_a_patch(size_t n_channels, size_t n_patches, uint8_t *visible) {
  for (size_t s = 0; n_channels > 1 && s < n_patches; s++) {
    size_t seen = 0;
    for (size_t c = 0; c < n_channels; c++)
      seen += visible[c * n_patches + s];
    if (!seen)
      visible[s] = 1;
  }
}

void nx_masking_draw(const float *positions, size_t n_channels, size_t n_patches,
                     struct nx_rng *rng, uint8_t *visible_out) {
  size_t n = n_channels * n_patches, left = n;
  memset(visible_out, 1, n);
  while ((double)left > NX_MASK_VISIBLE * (double)n) {
    size_t seed = (size_t)nx_rng_below(rng, n_channels);
    size_t first = (size_t)nx_rng_below(rng, n_patches);
    for (size_t c = 0; c < n_channels; c++)
      if (c == seed || near(positions + 3 * c, positions + 3 * seed, NX_MASK_RADIUS))
        left -= hide(c, first, n_patches, visible_out);
  }
  keep_one_a_patch(n_channels, n_patches, visible_out);
}

void nx_masking_draw_related(const uint8_t *related, size_t n_channels, size_t n_patches,
                             double fraction, struct nx_rng *rng, uint8_t *visible_out) {
  size_t n = n_channels * n_patches, left = n;
  memset(visible_out, 1, n);
  while ((double)left > (1 - fraction) * (double)n) {
    size_t seed = (size_t)nx_rng_below(rng, n_channels);
    size_t first = (size_t)nx_rng_below(rng, n_patches);
    for (size_t c = 0; c < n_channels; c++)
      if (related[seed * n_channels + c])
        left -= hide(c, first, n_patches, visible_out);
  }
  keep_one_a_patch(n_channels, n_patches, visible_out);
}

void nx_masking_related(const float *correlation, double above, const float *positions,
                        const uint8_t *placed, double radius, size_t n_channels,
                        uint8_t *related_out) {
  for (size_t a = 0; a < n_channels; a++)
    for (size_t b = 0; b < n_channels; b++)
      related_out[a * n_channels + b] =
          a == b || fabsf(correlation[a * n_channels + b]) > (float)above ||
          (placed[a] && placed[b] && near(positions + 3 * a, positions + 3 * b, radius));
}
