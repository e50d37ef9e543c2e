#include "crypto/merkle.h"
#include "tests/unit/crypto/support.h"
#include "tests/unit/crypto/vectors.h"

#define MOST 70

static void make_leaves(struct nx_hash *leaves, size_t n) {
  for (size_t i = 0; i < n; i++) {
    uint8_t bytes[MOST];
    memset(bytes, (int)i, i);
    leaves[i] = nx_merkle_leaf(nx_bytes(bytes, i));
  }
}

static void roots_are_those_of_the_recursive_definition(void **state) {
  (void)state;
  static const char *const roots[] = {VECTOR_MERKLE_ROOTS};
  struct nx_hash leaves[12];
  struct nx_merkle tree = {0};
  make_leaves(leaves, 12);
  for (size_t n = 0; n <= 12; n++) {
    struct nx_hash root = nx_merkle_root(leaves, n), grown = nx_merkle_root_of(&tree);
    assert_hex(root.bytes, 32, roots[n]);
    assert_true(nx_hash_equal(&root, &grown));
    if (n < 12)
      nx_merkle_add(&tree, &leaves[n]);
  }
}

static void every_leaf_is_proved_and_no_other(void **state) {
  (void)state;
  struct nx_hash leaves[MOST];
  make_leaves(leaves, MOST);
  for (size_t n = 1; n <= MOST; n++) {
    struct nx_hash root = nx_merkle_root(leaves, n);
    for (size_t i = 0; i < n; i++) {
      struct nx_merkle_path path;
      nx_merkle_prove(leaves, n, i, &path);
      assert_int_equal(nx_merkle_verify(&root, n, i, &leaves[i], &path, NULL), 0);
      assert_true(nx_merkle_verify(&root, n, (i + 1) % n, &leaves[i], &path, NULL) < 0 || n == 1);
      assert_true(nx_merkle_verify(&root, n, i, &leaves[(i + 1) % n], &path, NULL) < 0 || n == 1);
      assert_int_equal(nx_merkle_verify(&root, n, n, &leaves[i], &path, NULL), NX_E_CRYPTO);
    }
  }
}

static void a_tampered_proof_is_refused(void **state) {
  (void)state;
  struct nx_hash leaves[21], root;
  struct nx_merkle_path path;
  make_leaves(leaves, 21);
  root = nx_merkle_root(leaves, 21);
  for (size_t i = 0; i < 21; i++) {
    nx_merkle_prove(leaves, 21, i, &path);
    for (size_t k = 0; k < path.n; k++) {
      struct nx_merkle_path bad = path;
      bad.hashes[k].bytes[k] ^= 0x10;
      assert_int_equal(nx_merkle_verify(&root, 21, i, &leaves[i], &bad, NULL), NX_E_CRYPTO);
    }
    struct nx_merkle_path bad = path;
    bad.n--;
    assert_int_equal(nx_merkle_verify(&root, 21, i, &leaves[i], &bad, NULL), NX_E_CRYPTO);
    bad.n = path.n + 1;
    bad.hashes[path.n] = root;
    assert_int_equal(nx_merkle_verify(&root, 21, i, &leaves[i], &bad, NULL), NX_E_CRYPTO);
    bad.n = NX_MERKLE_PATH_MAX + 1;
    assert_int_equal(nx_merkle_verify(&root, 21, i, &leaves[i], &bad, NULL), NX_E_CRYPTO);
  }
}

static void an_inner_node_does_not_pass_for_a_leaf(void **state) {
  (void)state;
  struct nx_hash leaves[4], both[2];
  make_leaves(leaves, 4);
  both[0] = nx_merkle_node(&leaves[0], &leaves[1]);
  both[1] = nx_merkle_node(&leaves[2], &leaves[3]);
  uint8_t bytes[64];
  memcpy(bytes, leaves[0].bytes, 32);
  memcpy(bytes + 32, leaves[1].bytes, 32);
  struct nx_hash forged = nx_merkle_leaf(nx_bytes(bytes, 64));
  assert_false(nx_hash_equal(&forged, &both[0]));
}

static void trees_are_consistent_with_all_their_pasts(void **state) {
  (void)state;
  struct nx_hash leaves[MOST];
  make_leaves(leaves, MOST);
  for (size_t n = 1; n <= MOST; n++)
    for (size_t old = 1; old <= n; old++) {
      struct nx_hash root = nx_merkle_root(leaves, n), before = nx_merkle_root(leaves, old);
      struct nx_merkle_path path;
      nx_merkle_prove_consistency(leaves, n, old, &path);
      assert_int_equal(nx_merkle_verify_consistency(&before, old, &root, n, &path, NULL), 0);
      if (old == n)
        continue;
      struct nx_hash forged = before;
      forged.bytes[0] ^= 1;
      assert_true(nx_merkle_verify_consistency(&forged, old, &root, n, &path, NULL) < 0);
      forged = root;
      forged.bytes[31] ^= 1;
      assert_true(nx_merkle_verify_consistency(&before, old, &forged, n, &path, NULL) < 0);
      path.n--;
      assert_true(nx_merkle_verify_consistency(&before, old, &root, n, &path, NULL) < 0);
    }
}

static void a_rewritten_past_has_no_consistency_proof(void **state) {
  (void)state;
  struct nx_hash leaves[33], before, root;
  struct nx_merkle_path path;
  make_leaves(leaves, 33);
  before = nx_merkle_root(leaves, 19);
  leaves[5].bytes[0] ^= 1;
  root = nx_merkle_root(leaves, 33);
  nx_merkle_prove_consistency(leaves, 33, 19, &path);
  assert_true(nx_merkle_verify_consistency(&before, 19, &root, 33, &path, NULL) < 0);
  assert_true(nx_merkle_verify_consistency(&before, 0, &root, 33, &path, NULL) < 0);
  assert_true(nx_merkle_verify_consistency(&before, 34, &root, 33, &path, NULL) < 0);
}

/* Every length of block and padding, at any address, even and odd numbers of them; the other side
 * is OpenSSL's SHA-256. */
static void leaves_of_many_tiles_are_those_of_each(void **state) {
  (void)state;
  static uint8_t bytes[7 * 400 + 1];
  static const size_t large[] = {24576, 32768, 32767};
  for (size_t i = 0; i < sizeof bytes; i++)
    bytes[i] = (uint8_t)(i * 131 + i / 251);
  for (size_t size = 0; size <= 400; size++) {
    struct nx_hash leaves[7], *beyond = &leaves[size % 7];
    memset(leaves, 0xa5, sizeof leaves);
    nx_merkle_leaves(bytes + size % 2, size, size % 7, leaves);
    for (size_t i = 0; i < size % 7; i++) {
      struct nx_hash one = nx_merkle_leaf(nx_bytes(bytes + size % 2 + i * size, size));
      assert_true(nx_hash_equal(&leaves[i], &one));
    }
    assert_int_equal(beyond->bytes[0], 0xa5);
  }
  for (size_t k = 0; k < 3; k++) {
    _cleanup_free_ uint8_t *tiles = malloc(5 * large[k]);
    struct nx_hash leaves[5];
    for (size_t i = 0; i < 5 * large[k]; i++)
      tiles[i] = (uint8_t)(i * 2654435761u >> 24);
    nx_merkle_leaves(tiles, large[k], 5, leaves);
    for (size_t i = 0; i < 5; i++) {
      struct nx_hash one = nx_merkle_leaf(nx_bytes(tiles + i * large[k], large[k]));
      assert_true(nx_hash_equal(&leaves[i], &one));
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(roots_are_those_of_the_recursive_definition),
      cmocka_unit_test(every_leaf_is_proved_and_no_other),
      cmocka_unit_test(a_tampered_proof_is_refused),
      cmocka_unit_test(an_inner_node_does_not_pass_for_a_leaf),
      cmocka_unit_test(trees_are_consistent_with_all_their_pasts),
      cmocka_unit_test(a_rewritten_past_has_no_consistency_proof),
      cmocka_unit_test(leaves_of_many_tiles_are_those_of_each),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
