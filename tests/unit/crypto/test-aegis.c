/* AEGIS-256: the vectors of RFC 10032 (appendix A), whole encryptions with their tags, and masks
 * against the implementation in tests/vectors/crypto_vectors.py. */
#include "crypto/aegis256.h"

#include <stdio.h>

#include "crypto/mask.h"
#include "tests/unit/crypto/support.h"
#include "tests/unit/crypto/vectors.h"

static size_t from_hex(const char *hex, uint8_t *out) {
  size_t n = strlen(hex) / 2;
  for (size_t i = 0; i < n; i++) {
    unsigned byte;
    assert_int_equal(sscanf(hex + 2 * i, "%2x", &byte), 1);
    out[i] = (uint8_t)byte;
  }
  return n;
}

static void a_round_is_that_of_aes(void **state) {
  (void)state;
  uint8_t in[16], key[16], out[16];
  from_hex("000102030405060708090a0b0c0d0e0f", in);
  from_hex("101112131415161718191a1b1c1d1e1f", key);
  nx_aes_round(in, key, out);
  assert_hex(out, 16, "7a7b4e5638782546a8c0477a3b813f43");
}

static void load(const char *hex, uint64_t out[2]) {
  uint8_t block[16];
  assert_int_equal(from_hex(hex, block), 16);
  out[0] = nx_load_le64(block);
  out[1] = nx_load_le64(block + 8);
}

static void assert_block(const uint64_t block[2], const char *hex) {
  uint8_t bytes[16];
  nx_store_le64(bytes, block[0]);
  nx_store_le64(bytes + 8, block[1]);
  assert_hex(bytes, 16, hex);
}

static void an_update_is_that_of_the_rfc(void **state) {
  (void)state;
  static const char *const before[6] = {
      "1fa1207ed76c86f2c4bb40e8b395b43e", "b44c375e6c1e1978db64bcd12e9e332f",
      "0dab84bfa9f0226432ff630f233d4e5b", "d7ef65c9b93e8ee60c75161407b066e7",
      "a760bb3da073fbd92bdc24734b1f56fb", "a828a18d6a964497ac6e7e53c5f55c73"};
  static const char *const after[6] = {
      "e6bc643bae82dfa3d991b1b323839dcd", "648578232ba0f2f0a3677f617dc052c3",
      "ea788e0e572044a46059212dd007a789", "2f1498ae19b80da13fba698f088a8590",
      "a54c2ee95e8c2a2c3dae2ec743ae6b86", "a3240fceb68e32d5d114df1b5363ab67"};
  struct nx_aegis256 a;
  uint64_t message[2];
  for (int i = 0; i < 6; i++)
    load(before[i], a.s[i]);
  load("b165617ed04ab738afb2612c6d18a1ec", message);
  nx_aegis256_update(&a, message);
  for (int i = 0; i < 6; i++)
    assert_block(a.s[i], after[i]);
}

/* A block of a message or of associated data, padded with zeros. */
static void block_of(const uint8_t *bytes, size_t n, uint64_t out[2]) {
  uint8_t block[16] = {0};
  memcpy(block, bytes, n < 16 ? n : 16);
  out[0] = nx_load_le64(block);
  out[1] = nx_load_le64(block + 8);
}

/* Encrypt() of the RFC: what a mask needs, and all that says it is right. */
static void encrypt(const char *key_hex, const char *nonce_hex, const char *ad_hex,
                    const char *message_hex, uint8_t *out, uint64_t tag[2]) {
  uint8_t key[32], nonce[32], ad[64], message[64];
  uint64_t words[2], keystream[2];
  struct nx_aegis256 a;
  from_hex(key_hex, key);
  from_hex(nonce_hex, nonce);
  size_t n_ad = from_hex(ad_hex, ad), n = from_hex(message_hex, message);
  nx_aegis256_init(&a, key, nonce);
  for (size_t at = 0; at < n_ad; at += 16) {
    block_of(ad + at, n_ad - at, words);
    nx_aegis256_update(&a, words);
  }
  for (size_t at = 0; at < n; at += 16) {
    block_of(message + at, n - at, words);
    nx_aegis256_keystream(&a, keystream);
    nx_aegis256_update(&a, words);
    uint8_t block[16];
    nx_store_le64(block, words[0] ^ keystream[0]);
    nx_store_le64(block + 8, words[1] ^ keystream[1]);
    memcpy(out + at, block, n - at < 16 ? n - at : 16);
  }
  const uint64_t sizes[2] = {a.s[3][0] ^ 8 * n_ad, a.s[3][1] ^ 8 * n};
  for (int i = 0; i < 7; i++)
    nx_aegis256_update(&a, sizes);
  for (int w = 0; w < 2; w++)
    tag[w] = a.s[0][w] ^ a.s[1][w] ^ a.s[2][w] ^ a.s[3][w] ^ a.s[4][w] ^ a.s[5][w];
}

static void encryptions_are_those_of_the_rfc(void **state) {
  (void)state;
  static const struct {
    const char *ad, *message, *encrypted, *tag;
  } vectors[] = {
      {"", "00000000000000000000000000000000", "754fc3d8c973246dcc6d741412a4b236",
       "3fe91994768b332ed7f570a19ec5896e"},
      {"", "", "", "e3def978a0f054afd1e761d7553afba3"},
      {"0001020304050607", "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
       "f373079ed84b2709faee373584585d60accd191db310ef5d8b11833df9dec711",
       "8d86f91ee606e9ff26a01b64ccbdd91d"},
      {"0001020304050607", "000102030405060708090a0b0c0d", "f373079ed84b2709faee37358458",
       "c60b9c2d33ceb058f96e6dd03c215652"},
      {"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223242526272829",
       "101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f3031323334353637",
       "57754a7d09963e7c787583a2e7b859bb24fa1e04d49fd550b2511a358e3bca252a9b1b8b30cc4a67",
       "ab8a7d53fd0e98d727accca94925e128"},
  };
  for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
    uint8_t out[64];
    uint64_t tag[2];
    encrypt("1001000000000000000000000000000000000000000000000000000000000000",
            "1000020000000000000000000000000000000000000000000000000000000000", vectors[i].ad,
            vectors[i].message, out, tag);
    assert_hex(out, strlen(vectors[i].encrypted) / 2, vectors[i].encrypted);
    assert_block(tag, vectors[i].tag);
  }
}

/* Across the end of the fifth segment, and within the first of the other stream. */
static void masks_are_those_of_the_other_implementation(void **state) {
  (void)state;
  static const char *const kernels[] = {"aegis-plain", "aegis-aesni", "aegis-vaes256"};
  struct nx_secret key;
  fill_bytes(&key, sizeof key, 77);
  for (size_t k = 0; k < 3; k++) {
    if (nx_mask_kernel_select(kernels[k], NULL) < 0) {
      print_message("# kernel %s is not to be had here\n", kernels[k]);
      continue;
    }
    _cleanup_(nx_mask_destroyp) struct nx_mask *mask = NULL;
    uint32_t lanes[48] = {0};
    uint64_t counters[8] = {0};
    assert_int_equal(nx_mask_create(1, (struct nx_mask_form){NX_MASK_AEGIS_256, 32}, &mask, NULL),
                     0);
    assert_int_equal(nx_mask_add_key(mask, &key, false, NULL), 0);
    assert_int_equal(nx_mask_apply_u32(mask, lanes, 5 * 8192 - 24, 48, NULL, NULL), 0);
    assert_hex(lanes, sizeof lanes, VECTOR_AEGIS_0);
    assert_int_equal(nx_mask_apply_u64(mask, counters, 4, 8, NULL, NULL), 0);
    assert_hex(counters, sizeof counters, VECTOR_AEGIS_1);
  }
  nx_mask_kernel_select("auto", NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_round_is_that_of_aes),
      cmocka_unit_test(an_update_is_that_of_the_rfc),
      cmocka_unit_test(encryptions_are_those_of_the_rfc),
      cmocka_unit_test(masks_are_those_of_the_other_implementation),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
