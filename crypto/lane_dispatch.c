#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/size.h"
#include "crypto/lane_kernels.h"

static const struct nx_lane_kernels *chosen = &nx_lane_kernels_plain;
static pthread_once_t choose_once = PTHREAD_ONCE_INIT;

#ifdef NX_HAVE_LANES_X86
static bool has_avx512(void) {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512vbmi");
}

static void choose(void) {
  const char *wish = getenv("NEUROX_LANE_KERNELS");
  __builtin_cpu_init();
  const struct nx_lane_kernels *usable[] = {
      has_avx512() ? &nx_lane_kernels_avx512 : NULL,
      __builtin_cpu_supports("avx2") ? &nx_lane_kernels_avx2 : NULL, &nx_lane_kernels_plain};
  for (size_t i = NX_ARRAY_LENGTH(usable); i-- > 0;)
    if (usable[i])
      chosen = usable[i];
  for (size_t i = 0; wish && i < NX_ARRAY_LENGTH(usable); i++)
    if (usable[i] && !strcmp(wish, usable[i]->name))
      chosen = usable[i];
}
#else
static void choose(void) {
}
#endif

const struct nx_lane_kernels *nx_lane_kernels(void) {
  pthread_once(&choose_once, choose);
  return chosen;
}

void nx_rounding_init(struct nx_rounding *rounding, uint64_t seed, uint64_t piece) {
  for (uint64_t j = 0; j < 8; j++) {
    struct nx_rng one;
    nx_rng_init(&one, seed, 8 * piece + j);
    for (int k = 0; k < 4; k++)
      rounding->s[k][j] = one.s[k];
  }
}
