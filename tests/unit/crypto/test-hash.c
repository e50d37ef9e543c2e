#include "crypto/hash.h"
#include "crypto/hkdf.h"
#include "tests/unit/crypto/support.h"

/* FIPS 180-4 examples. */
static void sha256_gives_the_standard_answers(void **state) {
  (void)state;
  struct nx_hash h = nx_sha256(NULL, 0);
  assert_hex(h.bytes, 32, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  h = nx_sha256("abc", 3);
  assert_hex(h.bytes, 32, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  h = nx_sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56);
  assert_hex(h.bytes, 32, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

static void pieces_hash_like_the_whole(void **state) {
  (void)state;
  uint8_t data[300];
  fill_bytes(data, sizeof data, 3);
  struct nx_hash whole = nx_sha256(data, sizeof data);
  for (size_t cut = 0; cut <= sizeof data; cut += 7) {
    struct nx_sha256 sha, fork;
    nx_sha256_init(&sha);
    nx_sha256_update(&sha, data, cut);
    fork = sha;
    nx_sha256_update(&sha, data + cut, sizeof data - cut);
    struct nx_hash pieces = nx_sha256_final(&sha);
    assert_true(nx_hash_equal(&whole, &pieces));
    nx_sha256_update(&fork, data + cut, sizeof data - cut);
    pieces = nx_sha256_final(&fork);
    assert_true(nx_hash_equal(&whole, &pieces));
  }
}

static void a_variable_field_cannot_flow_into_the_next(void **state) {
  (void)state;
  struct nx_sha256 a, b;
  nx_sha256_begin(&a, "tag");
  nx_sha256_bytes(&a, nx_bytes("ab", 2));
  nx_sha256_bytes(&a, nx_bytes("c", 1));
  nx_sha256_begin(&b, "tag");
  nx_sha256_bytes(&b, nx_bytes("a", 1));
  nx_sha256_bytes(&b, nx_bytes("bc", 2));
  struct nx_hash x = nx_sha256_final(&a), y = nx_sha256_final(&b);
  assert_false(nx_hash_equal(&x, &y));
}

static void hex_round_trips_and_refuses_other_lengths(void **state) {
  (void)state;
  struct nx_hash h = nx_sha256("x", 1), back;
  char hex[NX_HASH_HEX_SIZE];
  nx_hash_hex(&h, hex);
  assert_int_equal(nx_hash_from_hex(hex, &back, NULL), 0);
  assert_true(nx_hash_equal(&h, &back));
  hex[63] = 0;
  assert_int_equal(nx_hash_from_hex(hex, &back, NULL), NX_E_FORMAT);
  assert_true(nx_hash_is_zero(&(struct nx_hash){0}));
  assert_false(nx_hash_is_zero(&h));
}

/* RFC 5869, test cases 1 and 3. */
static void hkdf_gives_the_answers_of_rfc_5869(void **state) {
  (void)state;
  uint8_t key[22], salt[13], info[10], out[42];
  memset(key, 0x0b, sizeof key);
  fill_bytes(salt, sizeof salt, 0);
  fill_bytes(info, sizeof info, 0xf0);
  assert_int_equal(
      nx_hkdf(nx_bytes(key, 22), nx_bytes(salt, 13), nx_bytes(info, 10), out, 42, NULL), 0);
  assert_hex(
      out, 42,
      "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865");
  assert_int_equal(nx_hkdf(nx_bytes(key, 22), nx_bytes(NULL, 0), nx_bytes(NULL, 0), out, 42, NULL),
                   0);
  assert_hex(
      out, 42,
      "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8");
}

static void hkdf_refuses_more_than_it_can_give(void **state) {
  (void)state;
  static uint8_t out[255 * 32 + 1];
  struct nx_error err = {0};
  assert_int_equal(
      nx_hkdf(nx_bytes("k", 1), nx_bytes("s", 1), nx_bytes("i", 1), out, sizeof out, &err),
      NX_E_CRYPTO);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(sha256_gives_the_standard_answers),
      cmocka_unit_test(pieces_hash_like_the_whole),
      cmocka_unit_test(a_variable_field_cannot_flow_into_the_next),
      cmocka_unit_test(hex_round_trips_and_refuses_other_lengths),
      cmocka_unit_test(hkdf_gives_the_answers_of_rfc_5869),
      cmocka_unit_test(hkdf_refuses_more_than_it_can_give),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
