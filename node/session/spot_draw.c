#include "node/session/spot_draw.h"

#include <stdbool.h>

int nx_spot_draw(const struct nx_entropy *entropy, uint64_t n, size_t k, uint64_t *tiles_out,
                 struct nx_error *err) {
  for (size_t i = 0; i < k; i++) {
    bool again = true;
    while (again) {
      uint64_t x;
      int r = entropy->fill(entropy->context, &x, sizeof x, err);
      if (r < 0)
        return r;
      again = x < -n % n; /* keeps x % n uniform */
      tiles_out[i] = x % n;
      for (size_t j = 0; j < i; j++)
        again |= tiles_out[j] == tiles_out[i];
    }
  }
  return 0;
}
