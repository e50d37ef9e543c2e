#include "crypto/masked_upload.h"

#include <math.h>

#include "crypto/rotate.h"
#include "crypto/threshold.h"
#include "tests/unit/crypto/support.h"

/* Ring and value bits of the protocol page. */
static const struct {
  uint32_t ring, value;
  bool rotate;
} widths[] = {{32, 24, false}, {24, 16, false}, {16, 8, true},  {12, 4, true},
              {32, 24, true},  {24, 16, true},  {16, 8, false}, {12, 4, false}};
#define N_WIDTHS (sizeof widths / sizeof *widths)

static struct nx_quantize quantize_of(size_t width, double range) {
  return (struct nx_quantize){
      widths[width].ring, widths[width].value, range, 1e6, widths[width].rotate, 0x1234};
}

static void fill_normal(float *values, size_t n, struct nx_rng *rng) {
  for (size_t i = 0; i < n; i++)
    values[i] = (float)nx_rng_normal(rng);
}

/* Any cipher; 32 bits of a key's stream a lane, or 16 where that is enough. */
static struct nx_mask_form form = {NX_MASK_AES_256_CTR, 32};

static void one_pass_equals_the_steps_with(enum nx_mask_cipher cipher, uint32_t bits) {
  enum { N = 200001, AUX = 518 };
  static float values[N];
  static uint32_t lanes[N + NX_QUANTIZE_BLOCK];
  static uint8_t stepwise[5 * N], at_once[5 * N];
  uint64_t aux[AUX], masked[AUX];
  struct nx_rng rng;
  struct nx_secret key;
  _cleanup_(nx_pool_destroyp) struct nx_pool *pool = NULL;
  _cleanup_(nx_mask_destroyp) struct nx_mask *mask = NULL;
  _cleanup_(nx_mask_destroyp) struct nx_mask *unmask = NULL;
  nx_rng_init(&rng, 1, 1);
  assert_int_equal(nx_pool_create(2, &pool, NULL), 0);
  fill_bytes(&key, sizeof key, 3);
  assert_int_equal(nx_mask_create(1, (struct nx_mask_form){cipher, bits}, &mask, NULL), 0);
  assert_int_equal(nx_mask_add_key(mask, &key, false, NULL), 0);
  assert_int_equal(nx_mask_create(1, (struct nx_mask_form){cipher, bits}, &unmask, NULL), 0);
  assert_int_equal(nx_mask_add_key(unmask, &key, true, NULL), 0);
  fill_normal(values, N, &rng);
  for (size_t i = 0; i < AUX; i++)
    aux[i] = nx_rng_u64(&rng);
  for (size_t w = 0; w < N_WIDTHS; w++)
    for (size_t n = widths[w].ring > bits ? 0 : N; n > 0; n = n == 1 ? 0 : n / 3 + 1) {
      const struct nx_quantize q = quantize_of(w, 4);
      struct nx_rng same = rng;
      const struct nx_upload_layout layout = nx_masked_upload_layout(&q, n, AUX);
      size_t size = nx_upload_bytes(&layout);
      assert_true(size <= sizeof at_once);
      assert_int_equal(nx_quantize_encode(&q, values, n, 0.5, &same, lanes, NULL, NULL), 0);
      assert_int_equal(nx_mask_apply_u32(mask, lanes, 0, layout.n_lanes, NULL, NULL), 0);
      memcpy(masked, aux, sizeof aux);
      assert_int_equal(nx_mask_apply_u64(mask, masked, 0, AUX, NULL, NULL), 0);
      nx_upload_pack(&layout, lanes, masked, stepwise, NULL);
      nx_mask_apply_u32(unmask, lanes, 0, layout.n_lanes, NULL, NULL);
      for (int threads = 1; threads <= 2; threads++) {
        const struct nx_masked_upload m = {layout, aux, mask, threads == 2 ? pool : NULL};
        memset(at_once, 0xee, size);
        assert_int_equal(nx_masked_upload_from_lanes(&m, lanes, at_once, NULL), 0);
        assert_memory_equal(stepwise, at_once, size);
      }
    }
}

static void one_pass_equals_the_steps(void **state) {
  (void)state;
  for (unsigned cipher = NX_MASK_AES_256_CTR; cipher <= NX_MASK_AEGIS_256; cipher++) {
    one_pass_equals_the_steps_with(cipher, 32);
    one_pass_equals_the_steps_with(cipher, 16);
  }
}

static void nothing_is_encoded_of_a_nan(void **state) {
  (void)state;
  float values[100] = {[77] = NAN};
  uint32_t lanes[100], before[100];
  struct nx_rng rng;
  struct nx_error err = {0};
  const struct nx_quantize q = quantize_of(0, 1);
  nx_rng_init(&rng, 1, 1);
  memset(lanes, 0xaa, sizeof lanes);
  memcpy(before, lanes, sizeof lanes);
  assert_int_equal(nx_quantize_encode(&q, values, 100, 1, &rng, lanes, NULL, &err), NX_E_INVALID);
  assert_non_null(strstr(err.text, "component 77"));
  assert_memory_equal(lanes, before, sizeof lanes);
}

#define MEMBERS 20
#define VALUES 300

struct federation {
  uint32_t n, n_up;
  struct nx_secret self[MEMBERS], pair[MEMBERS][MEMBERS];
};

static void make_federation(struct federation *f, struct nx_rng *rng) {
  const struct nx_entropy entropy = entropy_of(rng);
  f->n = nx_rng_below(rng, 40) ? 3 + (uint32_t)nx_rng_below(rng, 10) : MEMBERS;
  uint32_t t = nx_threshold_quorum(f->n);
  f->n_up = t + (uint32_t)nx_rng_below(rng, f->n - t + 1);
  for (uint32_t u = 0; u < f->n; u++) {
    nx_secret_random(&entropy, &f->self[u], NULL);
    for (uint32_t v = 0; v < u; v++) {
      nx_secret_random(&entropy, &f->pair[u][v], NULL);
      f->pair[v][u] = f->pair[u][v];
    }
  }
}

static struct nx_mask *mask_of(const struct federation *f, uint32_t u) {
  struct nx_mask *mask = NULL;
  assert_int_equal(nx_mask_create(f->n, form, &mask, NULL), 0);
  nx_mask_add_key(mask, &f->self[u], false, NULL);
  for (uint32_t v = 0; v < f->n; v++)
    if (v != u)
      nx_mask_add_key(mask, &f->pair[u][v], v < u, NULL);
  return mask;
}

static struct nx_mask *unmask_of(const struct federation *f) {
  struct nx_mask *mask = NULL;
  assert_int_equal(nx_mask_create(f->n * f->n, form, &mask, NULL), 0);
  for (uint32_t u = 0; u < f->n_up; u++) {
    nx_mask_add_key(mask, &f->self[u], true, NULL);
    for (uint32_t v = f->n_up; v < f->n; v++)
      nx_mask_add_key(mask, &f->pair[u][v], v > u, NULL);
  }
  return mask;
}

struct sums {
  uint32_t lanes[2 * VALUES];
  uint64_t aux[3];
  int64_t exact[2 * VALUES];
  uint64_t exact_aux[3];
  double values[VALUES];
};

static void add_member(const struct federation *f, uint32_t u, const struct nx_quantize *q,
                       size_t n, struct sums *sums, struct nx_rng *rng) {
  float values[VALUES];
  uint32_t plain[2 * VALUES];
  uint8_t upload[8 * VALUES + 64];
  const uint64_t aux[3] = {nx_rng_u64(rng), 1, nx_rng_u64(rng)};
  _cleanup_(nx_mask_destroyp) struct nx_mask *mask = mask_of(f, u);
  fill_normal(values, n, rng);
  const struct nx_upload_layout layout = nx_masked_upload_layout(q, n, 3);
  const struct nx_masked_upload m = {layout, aux, mask, NULL};
  assert_int_equal(nx_quantize_encode(q, values, n, 1, rng, plain, NULL, NULL), 0);
  assert_int_equal(nx_masked_upload_from_lanes(&m, plain, upload, NULL), 0);
  nx_upload_add(&layout, upload, sums->lanes, sums->aux, NULL);
  for (size_t i = 0; i < layout.n_lanes; i++)
    sums->exact[i] += nx_quantize_signed(plain[i], q->ring_bits);
  for (size_t i = 0; i < n; i++)
    sums->values[i] += (double)values[i];
  for (size_t i = 0; i < 3; i++)
    sums->exact_aux[i] += aux[i];
}

/* Without clamping every lane is off by less than one step a member; the rotation keeps the
 * L2 norm, so there the bound holds for the whole vector. */
static void check_error(const struct federation *f, const struct nx_quantize *q, size_t n,
                        const float *mean, const struct sums *sums) {
  double bound = 1 / nx_quantize_scale(q), error2 = 0;
  for (size_t i = 0; i < n; i++) {
    double error = (double)mean[i] - sums->values[i] / f->n_up;
    error2 += error * error;
    if (!q->rotate)
      assert_true(fabs(error) <= bound * 1.001 + 1e-6);
  }
  assert_true(sqrt(error2) <= bound * 1.001 * sqrt((double)nx_quantize_lanes(q, n)) + 1e-5);
}

static void sums_are_exact_for_every_size_width_and_rotation(void **state) {
  (void)state;
  static struct federation f;
  struct nx_rng rng;
  nx_rng_init(&rng, 2026, 11);
  for (size_t round = 0; round < test_times(10000); round++) {
    struct sums sums = {0};
    float mean[VALUES];
    size_t n = 1 + nx_rng_below(&rng, VALUES), w = (size_t)round % N_WIDTHS;
    struct nx_quantize q = quantize_of(w, 16);
    form.keystream_bits = q.ring_bits <= 16 && nx_rng_below(&rng, 2) ? 16 : 32;
    form.cipher = nx_rng_below(&rng, 2) ? NX_MASK_AEGIS_256 : NX_MASK_AES_256_CTR;
    q.value_bits -= (uint32_t)nx_rng_below(&rng, q.value_bits - 2); /* down to 3 */
    if (round % 100 == 0 || round % 3 == 0) /* new keys now and then: the same ones serve */
      make_federation(&f, &rng);
    assert_int_equal(nx_quantize_check(&q, f.n, 0, NULL), 0);
    for (uint32_t u = 0; u < f.n_up; u++)
      add_member(&f, u, &q, n, &sums, &rng);
    _cleanup_(nx_mask_destroyp) struct nx_mask *unmask = unmask_of(&f);
    size_t n_lanes = nx_quantize_lanes(&q, n);
    assert_int_equal(nx_mask_apply_u32(unmask, sums.lanes, 0, n_lanes, NULL, NULL), 0);
    assert_int_equal(nx_mask_apply_u64(unmask, sums.aux, 0, 3, NULL, NULL), 0);
    for (size_t i = 0; i < n_lanes; i++)
      assert_int_equal(nx_quantize_signed(sums.lanes[i], q.ring_bits), sums.exact[i]);
    assert_memory_equal(sums.aux, sums.exact_aux, sizeof sums.aux);
    assert_int_equal(nx_quantize_decode(&q, sums.lanes, n, f.n_up, NULL, mean, NULL), 0);
    check_error(&f, &q, n, mean, &sums);
  }
}

static void the_rotation_is_undone_and_keeps_the_norm(void **state) {
  (void)state;
  static float x[NX_QUANTIZE_BLOCK], y[NX_QUANTIZE_BLOCK];
  struct nx_rng rng;
  nx_rng_init(&rng, 3, 3);
  for (size_t n = 1; n <= NX_QUANTIZE_BLOCK; n *= 2) {
    memset(x, 0, sizeof x);
    x[nx_rng_below(&rng, n)] = 3; /* a spike: the hardest for few bits */
    memcpy(y, x, sizeof x);
    nx_rotate(y, n, 77, 5);
    for (size_t i = 0; i < n; i++)
      assert_true(fabs(fabs((double)y[i]) - 3 / sqrt((double)n)) < 1e-5);
    nx_rotate_back(y, n, 77, 5);
    for (size_t i = 0; i < n; i++)
      assert_true(fabsf(x[i] - y[i]) < 1e-5f);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(one_pass_equals_the_steps),
      cmocka_unit_test(nothing_is_encoded_of_a_nan),
      cmocka_unit_test(sums_are_exact_for_every_size_width_and_rotation),
      cmocka_unit_test(the_rotation_is_undone_and_keeps_the_norm),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
