#include "crypto/agreement.h"
#include "crypto/sealed_box.h"
#include "tests/unit/crypto/support.h"
#include "tests/unit/crypto/vectors.h"

static void from_hex(const char *hex, void *out) {
  assert_int_equal(nx_hex_decode(hex, out, 32, NULL), 0);
}

/* RFC 7748: 5.2 (first case, and one iteration), 6.1. */
static void x25519_gives_the_answers_of_rfc_7748(void **state) {
  (void)state;
  static const char *const cases[][3] = {
      {"a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
       "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
       "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"},
      {"0900000000000000000000000000000000000000000000000000000000000000",
       "0900000000000000000000000000000000000000000000000000000000000000",
       "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079"},
      {"5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
       "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a",
       "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"},
  };
  for (size_t i = 0; i < 3; i++) {
    struct nx_secret secret, shared;
    struct nx_point point;
    from_hex(cases[i][0], &secret);
    from_hex(cases[i][1], &point);
    assert_int_equal(nx_agreement_shared(&secret, &point, &shared, NULL), 0);
    assert_hex(shared.bytes, 32, cases[i][2]);
  }
}

static void both_ends_agree(void **state) {
  (void)state;
  struct nx_rng rng;
  nx_rng_init(&rng, 1, 1);
  const struct nx_entropy entropy = entropy_of(&rng);
  for (int i = 0; i < 20; i++) {
    struct nx_secret a, b, ab, ba;
    struct nx_point a_public, b_public, again;
    assert_int_equal(nx_agreement_create(&entropy, &a, &a_public, NULL), 0);
    assert_int_equal(nx_agreement_create(&entropy, &b, &b_public, NULL), 0);
    assert_int_equal(nx_agreement_public(&a, &again, NULL), 0);
    assert_memory_equal(&again, &a_public, sizeof again);
    assert_int_equal(nx_agreement_shared(&a, &b_public, &ab, NULL), 0);
    assert_int_equal(nx_agreement_shared(&b, &a_public, &ba, NULL), 0);
    assert_true(nx_secret_equal(&ab, &ba));
  }
}

/* The points of order 1, 2, 4 and 8 on curve and twist, with their encodings above p. */
static void points_of_low_order_are_refused(void **state) {
  (void)state;
  static const char *const points[] = {
      "0000000000000000000000000000000000000000000000000000000000000000",
      "0100000000000000000000000000000000000000000000000000000000000000",
      "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
      "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
      "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
      "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
      "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  };
  struct nx_secret secret, shared, zero = {0};
  fill_bytes(&secret, sizeof secret, 5);
  for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
    struct nx_point point;
    from_hex(points[i], &point);
    fill_bytes(&shared, sizeof shared, 1);
    assert_int_equal(nx_agreement_shared(&secret, &point, &shared, NULL), NX_E_CRYPTO);
    assert_true(nx_secret_equal(&shared, &zero));
  }
}

static void derived_keys_bind_salt_label_and_ids(void **state) {
  (void)state;
  struct nx_secret shared, key, other;
  struct nx_hash t;
  uint64_t seed;
  fill_bytes(&shared, sizeof shared, 7);
  fill_bytes(&t, sizeof t, 100);
  assert_int_equal(nx_share_key(&shared, &t, 3, 200, &key, NULL), 0);
  assert_hex(key.bytes, 32, VECTOR_SHARE_KEY);
  assert_int_equal(nx_share_key(&shared, &t, 200, 3, &other, NULL), 0);
  assert_false(nx_secret_equal(&key, &other));
  assert_int_equal(nx_pair_key(&shared, &t, 200, 3, &key, NULL), 0);
  assert_hex(key.bytes, 32, VECTOR_PAIR_KEY);
  assert_int_equal(nx_pair_key(&shared, &t, 3, 200, &other, NULL), 0);
  assert_true(nx_secret_equal(&key, &other));
  assert_int_equal(nx_pair_key(&shared, &t, 3, 3, &key, NULL), NX_E_INVALID);
  assert_int_equal(nx_self_key(&shared, &t, 9, &key, NULL), 0);
  assert_hex(key.bytes, 32, VECTOR_SELF_KEY);
  assert_int_equal(nx_rotation_seed(&t, &seed, NULL), 0);
  uint8_t le[8];
  nx_store_le64(le, seed);
  assert_hex(le, 8, VECTOR_ROTATION);
}

static void a_sealed_box_opens_for_its_own_path_only(void **state) {
  (void)state;
  struct nx_secret key;
  struct nx_hash t1, other;
  uint8_t plain[64], sealed[80], opened[64], zero[64] = {0};
  fill_bytes(&key, sizeof key, 50);
  fill_bytes(&t1, sizeof t1, 100);
  fill_bytes(&other, sizeof other, 101);
  fill_bytes(plain, sizeof plain, 9);
  assert_int_equal(nx_sealed_box_seal(&key, &t1, 3, 200, nx_bytes(plain, 64), sealed, NULL), 0);
  assert_hex(sealed, NX_SEALED_SHARES_SIZE, VECTOR_SEALED);
  struct nx_bytes box = nx_bytes(sealed, sizeof sealed);
  assert_int_equal(nx_sealed_box_open(&key, &t1, 3, 200, box, opened, NULL), 0);
  assert_memory_equal(opened, plain, 64);
  assert_int_equal(nx_sealed_box_open(&key, &t1, 200, 3, box, opened, NULL), NX_E_CRYPTO);
  assert_memory_equal(opened, zero, 64);
  assert_int_equal(nx_sealed_box_open(&key, &other, 3, 200, box, opened, NULL), NX_E_CRYPTO);
  assert_int_equal(nx_sealed_box_open(&key, &t1, 3, 200, nx_bytes(sealed, 79), opened, NULL),
                   NX_E_CRYPTO);
  assert_int_equal(nx_sealed_box_open(&key, &t1, 3, 200, nx_bytes(sealed, 15), opened, NULL),
                   NX_E_CRYPTO);
}

static void a_flipped_bit_in_a_sealed_box_is_refused(void **state) {
  (void)state;
  struct nx_secret key;
  struct nx_hash t1;
  uint8_t sealed[80], opened[64] = {0};
  fill_bytes(&key, sizeof key, 50);
  fill_bytes(&t1, sizeof t1, 100);
  assert_int_equal(nx_sealed_box_seal(&key, &t1, 1, 2, nx_bytes(opened, 64), sealed, NULL), 0);
  for (size_t bit = 0; bit < 8 * sizeof sealed; bit++) {
    sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
    assert_int_equal(nx_sealed_box_open(&key, &t1, 1, 2, nx_bytes(sealed, 80), opened, NULL),
                     NX_E_CRYPTO);
    sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(x25519_gives_the_answers_of_rfc_7748),
      cmocka_unit_test(both_ends_agree),
      cmocka_unit_test(points_of_low_order_are_refused),
      cmocka_unit_test(derived_keys_bind_salt_label_and_ids),
      cmocka_unit_test(a_sealed_box_opens_for_its_own_path_only),
      cmocka_unit_test(a_flipped_bit_in_a_sealed_box_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
