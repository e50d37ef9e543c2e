#include "common/rng.h"

#include <errno.h>
#include <math.h>
#include <sys/random.h>

static uint64_t splitmix64(uint64_t *state) {
  uint64_t z = (*state += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

static uint64_t rotate_left(uint64_t x, int k) {
  return x << k | x >> (64 - k);
}

void nx_rng_init(struct nx_rng *rng, uint64_t seed, uint64_t stream) {
  uint64_t state = seed, mixed = splitmix64(&state);
  state = mixed ^ rotate_left(stream * 0xd1342543de82ef95u, 32);
  for (int i = 0; i < 4; i++)
    rng->s[i] = splitmix64(&state);
}

uint64_t nx_rng_u64(struct nx_rng *rng) {
  uint64_t *s = rng->s, result = rotate_left(s[1] * 5, 7) * 9, t = s[1] << 17;
  s[2] ^= s[0];
  s[3] ^= s[1];
  s[1] ^= s[2];
  s[0] ^= s[3];
  s[2] ^= t;
  s[3] = rotate_left(s[3], 45);
  return result;
}

uint64_t nx_rng_below(struct nx_rng *rng, uint64_t n) {
  uint64_t reject_below = -n % n, x;
  do
    x = nx_rng_u64(rng);
  while (x < reject_below);
  return x % n;
}

double nx_rng_uniform(struct nx_rng *rng) {
  return (double)(nx_rng_u64(rng) >> 11) * 0x1p-53;
}

double nx_rng_normal(struct nx_rng *rng) {
  double u = 1.0 - nx_rng_uniform(rng), v = nx_rng_uniform(rng);
  return sqrt(-2.0 * log(u)) * cos(2.0 * M_PI * v);
}

static int fill_system(void *context, void *out, size_t size, struct nx_error *err) {
  (void)context;
  for (uint8_t *p = out; size;) {
    ssize_t n = getrandom(p, size, 0);
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return nx_fail_errno(err, errno, "read the system's random numbers");
    p += n;
    size -= (size_t)n;
  }
  return 0;
}

const struct nx_entropy nx_entropy_system = {fill_system, NULL};
