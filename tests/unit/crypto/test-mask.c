#include "crypto/mask.h"
#include "crypto/threshold.h"
#include "tests/unit/crypto/support.h"
#include "tests/unit/crypto/vectors.h"

static struct nx_mask *mask_of_form(unsigned start, bool subtract, struct nx_mask_form form) {
  struct nx_mask *mask = NULL;
  struct nx_secret key;
  fill_bytes(&key, sizeof key, start);
  assert_int_equal(nx_mask_create(1, form, &mask, NULL), 0);
  assert_int_equal(nx_mask_add_key(mask, &key, subtract, NULL), 0);
  assert_int_equal(nx_mask_add_key(mask, &key, subtract, NULL), NX_E_LIMIT);
  return mask;
}

static struct nx_mask *mask_of_one_key(unsigned start, bool subtract) {
  return mask_of_form(start, subtract, NX_MASK_USUAL);
}

/* The oracles first. */
static const char *const kernels[] = {"evp", "vaes256", "vaes512"};
static const char *const aegis_kernels[] = {"aegis-plain", "aegis-aesni", "aegis-vaes256"};
static const struct nx_mask_form forms[] = {{NX_MASK_AES_256_CTR, 32},
                                            {NX_MASK_AES_256_CTR, 16},
                                            {NX_MASK_AEGIS_256, 32},
                                            {NX_MASK_AEGIS_256, 16}};

/* False and a word about it when this machine has no such kernel. */
static bool select_kernel(const char *name) {
  int r = nx_mask_kernel_select(name, NULL);
  if (r == NX_E_UNSUPPORTED)
    print_message("# kernel %s is not to be had here\n", name);
  return r == 0;
}

/* Lane 4 * 0xffffffff of stream 0 and 2 * 0xffffffff of stream 1: across a counter's carry. */
static void keystream_is_aes_256_ctr_at_its_place(void **state) {
  (void)state;
  for (size_t k = 0; k < 3; k++) {
    if (!select_kernel(kernels[k]))
      continue;
    _cleanup_(nx_mask_destroyp) struct nx_mask *mask = mask_of_one_key(77, false);
    uint32_t lanes[12] = {0};
    uint64_t wide[6] = {0};
    assert_int_equal(nx_mask_apply_u32(mask, lanes, UINT64_C(4) * 0xffffffff, 12, NULL, NULL), 0);
    assert_hex(lanes, sizeof lanes, VECTOR_KEYSTREAM_0);
    assert_int_equal(nx_mask_apply_u64(mask, wide, UINT64_C(2) * 0xffffffff, 6, NULL, NULL), 0);
    assert_hex(wide, sizeof wide, VECTOR_KEYSTREAM_1);
    _cleanup_(nx_mask_destroyp) struct nx_mask *narrow = mask_of_form(77, false, forms[1]);
    uint32_t halves[24] = {0};
    uint8_t stream[48];
    assert_int_equal(nx_mask_apply_u32(narrow, halves, UINT64_C(8) * 0xffffffff, 24, NULL, NULL),
                     0);
    for (size_t i = 0; i < 24; i++) {
      assert_true(halves[i] <= UINT16_MAX);
      stream[2 * i] = (uint8_t)halves[i];
      stream[2 * i + 1] = (uint8_t)(halves[i] >> 8);
    }
    assert_hex(stream, sizeof stream, VECTOR_KEYSTREAM_0);
  }
  nx_mask_kernel_select("auto", NULL);
}

#define SAMPLE 5000

struct sample {
  uint32_t lanes[SAMPLE];
  uint32_t narrow[SAMPLE];
  uint64_t wide[SAMPLE / 2];
};

static void apply_with(const char *kernel, enum nx_mask_cipher cipher, struct sample *sample,
                       uint64_t first, size_t n, bool subtract) {
  const struct nx_mask_form wide = {cipher, 32}, half = {cipher, 16};
  assert_int_equal(nx_mask_kernel_select(kernel, NULL), 0);
  _cleanup_(nx_mask_destroyp) struct nx_mask *mask = mask_of_form(n % 251, subtract, wide);
  assert_int_equal(nx_mask_apply_u32(mask, sample->lanes, first, n, NULL, NULL), 0);
  assert_int_equal(nx_mask_apply_u64(mask, sample->wide, first, n / 2, NULL, NULL), 0);
  _cleanup_(nx_mask_destroyp) struct nx_mask *narrow = mask_of_form(n % 251, subtract, half);
  assert_int_equal(nx_mask_apply_u32(narrow, sample->narrow, first, n, NULL, NULL), 0);
}

/* The same by an oracle and by a kernel, from the same lanes. */
static void compare(const char *oracle, const char *kernel, enum nx_mask_cipher cipher,
                    struct nx_rng *rng, uint64_t first, size_t n, bool subtract) {
  static struct sample a, b;
  for (size_t k = 0; k < n + 1 && k < SAMPLE; k++)
    a.lanes[k] = a.narrow[k] = (uint32_t)nx_rng_u64(rng);
  memcpy(&b, &a, sizeof a);
  apply_with(oracle, cipher, &a, first, n, subtract);
  apply_with(kernel, cipher, &b, first, n, subtract);
  assert_memory_equal(&a, &b, sizeof a);
}

/* Where counters carry: into the last byte but one (every 1024 lanes), and into each byte above. */
static uint64_t place(struct nx_rng *rng, int i) {
  uint64_t any = nx_rng_u64(rng) >> 8;
  if (i % 3 == 0)
    return any;
  uint64_t carry = any << (10 + 8 * (i / 3 % 6)) & UINT64_MAX >> 8;
  return carry - (carry ? nx_rng_below(rng, SAMPLE) : 0);
}

/* Every length to 600 lanes at every offset within a tile's first blocks, then at random. */
static void kernel_agrees_with_evp(const char *kernel) {
  struct nx_rng rng;
  nx_rng_init(&rng, 5, 5);
  for (int i = 0; i < 600 * 8 + 4800; i++) {
    bool swept = i < 600 * 8;
    size_t n = swept ? (size_t)i / 8 : nx_rng_below(&rng, SAMPLE);
    uint64_t first = swept ? (uint64_t)i % 8 : place(&rng, i);
    compare("evp", kernel, NX_MASK_AES_256_CTR, &rng, first, n, i / 8 & 1);
  }
}

/* Every length to 200 lanes at every offset within a segment's first blocks, then at random,
 * mostly across the end of a segment (8192 lanes of 32 bits): plain arithmetic is slow. */
static void kernel_agrees_with_plain_aegis(const char *kernel) {
  struct nx_rng rng;
  nx_rng_init(&rng, 5, 6);
  for (int i = 0; i < 200 * 4 + 100; i++) {
    bool swept = i < 200 * 4;
    size_t n = swept ? (size_t)i / 4 : nx_rng_below(&rng, SAMPLE);
    uint64_t first = swept ? (uint64_t)i % 4 : nx_rng_u64(&rng) >> 40 << 13;
    first -= !swept && first ? nx_rng_below(&rng, SAMPLE) : 0;
    compare("aegis-plain", kernel, NX_MASK_AEGIS_256, &rng, first, n, i / 4 & 1);
  }
}

static void kernels_agree_on_every_length_and_offset(void **state) {
  size_t n_tried = 0;
  (void)state;
  for (size_t k = 1; k < 3; k++)
    if (select_kernel(kernels[k])) {
      kernel_agrees_with_evp(kernels[k]);
      n_tried++;
    }
  for (size_t k = 1; k < 3; k++)
    if (select_kernel(aegis_kernels[k])) {
      kernel_agrees_with_plain_aegis(aegis_kernels[k]);
      n_tried++;
    }
  nx_mask_kernel_select("auto", NULL);
  if (!n_tried)
    skip();
}

static void pieces_equal_the_whole(struct nx_mask_form form) {
  static uint32_t whole[100000], piece[100000];
  struct nx_rng rng;
  _cleanup_(nx_mask_destroyp) struct nx_mask *mask = mask_of_form(3, false, form);
  memset(whole, 0, sizeof whole);
  memset(piece, 0, sizeof piece);
  _cleanup_(nx_pool_destroyp) struct nx_pool *pool = NULL;
  assert_int_equal(nx_pool_create(2, &pool, NULL), 0);
  assert_int_equal(nx_mask_apply_u32(mask, whole, 0, 100000, NULL, NULL), 0);
  assert_int_equal(nx_mask_apply_u32(mask, piece, 0, 100000, pool, NULL), 0);
  assert_memory_equal(whole, piece, sizeof whole);
  nx_rng_init(&rng, 6, 6);
  for (int i = 0; i < 100; i++) {
    size_t first = nx_rng_below(&rng, 100000), n = nx_rng_below(&rng, 100000 - first);
    memset(piece, 0, sizeof piece);
    assert_int_equal(nx_mask_apply_u32(mask, piece, first, n, NULL, NULL), 0);
    assert_memory_equal(whole + first, piece, n * sizeof *piece);
    assert_int_equal(piece[n], 0);
  }
}

static void any_piece_equals_the_same_piece_of_the_whole(void **state) {
  (void)state;
  for (size_t i = 0; i < 4; i++)
    pieces_equal_the_whole(forms[i]);
}

static void only_two_widths_and_two_ciphers_are_known(void **state) {
  (void)state;
  static const struct nx_mask_form bad[] = {
      {NX_MASK_AES_256_CTR, 24}, {NX_MASK_AEGIS_256, 0}, {(enum nx_mask_cipher)2, 32}};
  struct nx_mask *mask = NULL;
  for (size_t i = 0; i < 3; i++)
    assert_int_equal(nx_mask_create(1, bad[i], &mask, NULL), NX_E_INVALID);
  assert_null(mask);
}

/* What is fetched meanwhile is only looked at: the lanes are the same, it stays as it was. */
static void fetching_ahead_changes_nothing(void **state) {
  (void)state;
  static uint32_t plain[NX_MASK_TILE], ahead[NX_MASK_TILE];
  static uint8_t next[2][70000], before[sizeof next];
  struct nx_rng rng;
  nx_rng_init(&rng, 7, 7);
  fill_bytes(next, sizeof next, 2);
  memcpy(before, next, sizeof next);
  for (int i = 0; i < 200; i++) {
    _cleanup_(nx_mask_destroyp) struct nx_mask *mask =
        mask_of_form((uint8_t)i, i % 2, forms[i / 2 % 4]);
    size_t first = nx_rng_below(&rng, 100000), n = nx_rng_below(&rng, NX_MASK_TILE + 1);
    struct nx_mask_ahead wanted = {{NULL, NULL}, {0, 0}};
    for (int k = 0; k < 2; k++) /* up to the array's very end */
      if ((wanted.size[k] = nx_rng_below(&rng, sizeof next[k] + 1)))
        wanted.at[k] = next[k] + sizeof next[k] - wanted.size[k];
    memset(plain, 0, sizeof plain);
    memset(ahead, 0, sizeof ahead);
    assert_int_equal(nx_mask_apply_u32(mask, plain, first, n, NULL, NULL), 0);
    assert_int_equal(nx_mask_apply_u32_ahead(mask, ahead, first, n, &wanted, NULL), 0);
    assert_memory_equal(plain, ahead, sizeof plain);
  }
  assert_memory_equal(before, next, sizeof next);
}

static void subtracting_undoes_adding(void **state) {
  (void)state;
  uint32_t lanes[1000], before[1000];
  for (size_t i = 0; i < 4; i++) {
    _cleanup_(nx_mask_destroyp) struct nx_mask *on = mask_of_form(3, false, forms[i]);
    _cleanup_(nx_mask_destroyp) struct nx_mask *off = mask_of_form(3, true, forms[i]);
    for (size_t k = 0; k < 1000; k++)
      before[k] = lanes[k] = (uint16_t)(k * 40503);
    nx_mask_apply_u32(on, lanes, 7, 1000, NULL, NULL);
    assert_memory_not_equal(before, lanes, sizeof lanes);
    nx_mask_apply_u32(off, lanes, 7, 1000, NULL, NULL);
    assert_memory_equal(before, lanes, sizeof lanes);
  }
}

#define LANES 300
#define AUX 20
#define MOST 20

struct party {
  struct nx_secret s, b;
  struct nx_point s_public;
  uint32_t x[LANES], y[LANES];
  uint64_t aux[AUX], y_aux[AUX];
};
static struct party parties[MOST + 1]; /* by id; 0 unused */

static void make_parties(uint32_t n, struct nx_rng *rng) {
  const struct nx_entropy entropy = entropy_of(rng);
  for (uint32_t u = 1; u <= n; u++) {
    struct party *p = &parties[u];
    assert_int_equal(nx_agreement_create(&entropy, &p->s, &p->s_public, NULL), 0);
    assert_int_equal(nx_secret_random(&entropy, &p->b, NULL), 0);
    for (int i = 0; i < LANES; i++)
      p->x[i] = (uint32_t)nx_rng_u64(rng);
    for (int i = 0; i < AUX; i++)
      p->aux[i] = nx_rng_u64(rng);
  }
}

/* Federations of an even size have masks of AEGIS. */
static struct nx_mask_form form_of(uint32_t n) {
  return forms[n % 2 ? 0 : 2];
}

static void mask_party(uint32_t u, uint32_t n, const struct nx_hash *t2) {
  struct party *p = &parties[u];
  _cleanup_(nx_mask_destroyp) struct nx_mask *mask = NULL;
  assert_int_equal(nx_mask_create(n, form_of(n), &mask, NULL), 0);
  assert_int_equal(nx_mask_add_self(mask, t2, u, &p->b, NULL), 0);
  for (uint32_t v = 1; v <= n; v++)
    if (v != u)
      assert_int_equal(nx_mask_add_pair(mask, t2, u, &p->s, v, &parties[v].s_public, NULL), 0);
  memcpy(p->y, p->x, sizeof p->y);
  memcpy(p->y_aux, p->aux, sizeof p->y_aux);
  assert_int_equal(nx_mask_apply_u32(mask, p->y, 0, LANES, NULL, NULL), 0);
  assert_int_equal(nx_mask_apply_u64(mask, p->y_aux, 0, AUX, NULL, NULL), 0);
}

static struct nx_pool *pool;

/* Members 1..n_up uploaded, n_up+1..n dropped after their shares. */
static void check_sum(uint32_t n, uint32_t n_up, const struct nx_hash *t2) {
  uint32_t sum[LANES] = {0}, want[LANES] = {0};
  uint64_t aux[AUX] = {0}, want_aux[AUX] = {0};
  struct nx_mask_pair pairs[MOST * MOST];
  size_t n_pairs = 0;
  _cleanup_(nx_mask_destroyp) struct nx_mask *mask = NULL;
  assert_int_equal(nx_mask_create(n_up * (n - n_up + 1), form_of(n), &mask, NULL), 0);
  for (uint32_t u = 1; u <= n_up; u++) {
    for (int i = 0; i < LANES; i++)
      sum[i] += parties[u].y[i], want[i] += parties[u].x[i];
    for (int i = 0; i < AUX; i++)
      aux[i] += parties[u].y_aux[i], want_aux[i] += parties[u].aux[i];
    assert_int_equal(nx_mask_remove_self(mask, t2, u, &parties[u].b, NULL), 0);
    for (uint32_t v = n_up + 1; v <= n; v++)
      pairs[n_pairs++] = (struct nx_mask_pair){u, &parties[u].s_public, v, &parties[v].s};
  }
  assert_int_equal(nx_mask_remove_pairs(mask, t2, pairs, n_pairs, pool, NULL), 0);
  assert_int_equal(nx_mask_remove_pairs(mask, t2, pairs, 1, pool, NULL), NX_E_LIMIT);
  assert_memory_not_equal(sum, want, sizeof sum);
  assert_int_equal(nx_mask_apply_u32(mask, sum, 0, LANES, NULL, NULL), 0);
  assert_int_equal(nx_mask_apply_u64(mask, aux, 0, AUX, NULL, NULL), 0);
  assert_memory_equal(sum, want, sizeof sum);
  assert_memory_equal(aux, want_aux, sizeof aux);
}

static void masks_cancel_in_the_sum_of_any_survivors(void **state) {
  (void)state;
  static const uint32_t sizes[] = {3, 4, 6, 7, 10, 20};
  struct nx_rng rng;
  struct nx_hash t2;
  nx_rng_init(&rng, 7, 7);
  fill_bytes(&t2, sizeof t2, 88);
  assert_int_equal(nx_pool_create(2, &pool, NULL), 0);
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    uint32_t n = sizes[i];
    make_parties(n, &rng);
    for (uint32_t u = 1; u <= n; u++)
      mask_party(u, n, &t2);
    for (uint32_t n_up = nx_threshold_quorum(n); n_up <= n; n_up++)
      check_sum(n, n_up, &t2);
  }
  nx_pool_destroy(pool);
}

static void a_peer_of_low_order_is_refused(void **state) {
  (void)state;
  struct nx_rng rng;
  struct nx_hash t2 = {0};
  const struct nx_point zero = {0};
  struct nx_error err = {0};
  _cleanup_(nx_mask_destroyp) struct nx_mask *mask = NULL;
  nx_rng_init(&rng, 8, 8);
  make_parties(1, &rng);
  assert_int_equal(nx_mask_create(2, NX_MASK_USUAL, &mask, NULL), 0);
  assert_int_equal(nx_mask_add_pair(mask, &t2, 1, &parties[1].s, 2, &zero, &err), NX_E_CRYPTO);
  assert_non_null(strstr(err.text, "members 1 and 2"));
  const struct nx_mask_pair pairs[2] = {{1, &parties[1].s_public, 2, &parties[1].b},
                                        {3, &zero, 2, &parties[1].b}};
  assert_int_equal(nx_mask_remove_pairs(mask, &t2, pairs, 2, NULL, &err), NX_E_CRYPTO);
  assert_non_null(strstr(err.text, "members 2 and 3"));
  assert_int_equal(nx_mask_keys(mask), 0);
  assert_int_equal(nx_mask_kernel_select("rot13", &err), NX_E_UNSUPPORTED);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(keystream_is_aes_256_ctr_at_its_place),
      cmocka_unit_test(kernels_agree_on_every_length_and_offset),
      cmocka_unit_test(any_piece_equals_the_same_piece_of_the_whole),
      cmocka_unit_test(only_two_widths_and_two_ciphers_are_known),
      cmocka_unit_test(fetching_ahead_changes_nothing),
      cmocka_unit_test(subtracting_undoes_adding),
      cmocka_unit_test(masks_cancel_in_the_sum_of_any_survivors),
      cmocka_unit_test(a_peer_of_low_order_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
