#include "crypto/merkle.h"

#include <assert.h>

struct nx_hash nx_merkle_leaf(struct nx_bytes bytes) {
  struct nx_sha256 sha;
  nx_sha256_init(&sha);
  nx_sha256_update(&sha, "\0", 1);
  nx_sha256_update(&sha, bytes.data, bytes.size);
  return nx_sha256_final(&sha);
}

struct nx_hash nx_merkle_node(const struct nx_hash *left, const struct nx_hash *right) {
  uint8_t bytes[1 + 2 * NX_HASH_SIZE] = {1};
  memcpy(bytes + 1, left->bytes, NX_HASH_SIZE);
  memcpy(bytes + 1 + NX_HASH_SIZE, right->bytes, NX_HASH_SIZE);
  return nx_sha256(bytes, sizeof bytes);
}

void nx_merkle_add(struct nx_merkle *tree, const struct nx_hash *leaf) {
  struct nx_hash node = *leaf;
  int level = 0;
  for (; tree->n >> level & 1; level++)
    node = nx_merkle_node(&tree->nodes[level], &node);
  tree->nodes[level] = node;
  tree->n++;
}

struct nx_hash nx_merkle_root_of(const struct nx_merkle *tree) {
  struct nx_hash root;
  bool any = false;
  for (int level = 0; level < 64; level++) {
    if (!(tree->n >> level & 1))
      continue;
    root = any ? nx_merkle_node(&tree->nodes[level], &root) : tree->nodes[level];
    any = true;
  }
  return any ? root : nx_sha256(NULL, 0);
}

struct nx_hash nx_merkle_root(const struct nx_hash *leaves, size_t n) {
  struct nx_merkle tree = {0};
  for (size_t i = 0; i < n; i++)
    nx_merkle_add(&tree, &leaves[i]);
  return nx_merkle_root_of(&tree);
}

/* The largest power of two below n; n > 1. */
static uint64_t split_of(uint64_t n) {
  return UINT64_C(1) << (63 - __builtin_clzll(n - 1));
}

static void push(struct nx_merkle_path *path, const struct nx_hash *hash) {
  assert(path->n < NX_MERKLE_PATH_MAX);
  path->hashes[path->n++] = *hash;
}

/* Proofs are found from the root downwards and read from the leaf upwards. */
static void reverse(struct nx_merkle_path *path) {
  for (size_t i = 0; i < path->n / 2; i++) {
    struct nx_hash swap = path->hashes[i];
    path->hashes[i] = path->hashes[path->n - 1 - i];
    path->hashes[path->n - 1 - i] = swap;
  }
}

void nx_merkle_prove(const struct nx_hash *leaves, size_t n, size_t index,
                     struct nx_merkle_path *path_out) {
  assert(index < n);
  path_out->n = 0;
  while (n > 1) {
    size_t k = split_of(n);
    bool right = index >= k;
    struct nx_hash sibling = right ? nx_merkle_root(leaves, k) : nx_merkle_root(leaves + k, n - k);
    push(path_out, &sibling);
    leaves += right ? k : 0;
    index -= right ? k : 0;
    n = right ? n - k : k;
  }
  reverse(path_out);
}

/* RFC 9162, 2.1.3.2. */
int nx_merkle_verify(const struct nx_hash *root, uint64_t n, uint64_t index,
                     const struct nx_hash *leaf, const struct nx_merkle_path *path,
                     struct nx_error *err) {
  if (index >= n || path->n > NX_MERKLE_PATH_MAX)
    return nx_fail(err, NX_E_CRYPTO, "Merkle proof: leaf %llu is not in a tree of %llu",
                   (unsigned long long)index, (unsigned long long)n);
  uint64_t fn = index, sn = n - 1;
  struct nx_hash r = *leaf;
  for (size_t i = 0; i < path->n; i++) {
    if (sn == 0)
      return nx_fail(err, NX_E_CRYPTO, "Merkle proof: too long");
    if (fn & 1 || fn == sn) {
      r = nx_merkle_node(&path->hashes[i], &r);
      for (; !(fn & 1) && fn; fn >>= 1)
        sn >>= 1;
    } else {
      r = nx_merkle_node(&r, &path->hashes[i]);
    }
    fn >>= 1;
    sn >>= 1;
  }
  if (sn || !nx_hash_equal(&r, root))
    return nx_fail(err, NX_E_CRYPTO, "Merkle proof of leaf %llu does not lead to the root",
                   (unsigned long long)index);
  return 0;
}

/* RFC 9162, 2.1.4.1, SUBPROOF unrolled: `whole` while the old tree is this very subtree. */
void nx_merkle_prove_consistency(const struct nx_hash *leaves, size_t n, size_t old_n,
                                 struct nx_merkle_path *path_out) {
  assert(old_n >= 1 && old_n <= n);
  bool whole = true;
  path_out->n = 0;
  while (old_n != n) {
    size_t k = split_of(n);
    bool right = old_n > k;
    struct nx_hash other = right ? nx_merkle_root(leaves, k) : nx_merkle_root(leaves + k, n - k);
    push(path_out, &other);
    leaves += right ? k : 0;
    old_n -= right ? k : 0;
    n = right ? n - k : k;
    whole = whole && !right;
  }
  if (!whole) {
    struct nx_hash here = nx_merkle_root(leaves, n);
    push(path_out, &here);
  }
  reverse(path_out);
}

/* RFC 9162, 2.1.4.2. */
int nx_merkle_verify_consistency(const struct nx_hash *old_root, uint64_t old_n,
                                 const struct nx_hash *root, uint64_t n,
                                 const struct nx_merkle_path *path, struct nx_error *err) {
  if (old_n < 1 || old_n > n || path->n > NX_MERKLE_PATH_MAX)
    return nx_fail(err, NX_E_CRYPTO, "consistency proof: %llu is no older size of %llu",
                   (unsigned long long)old_n, (unsigned long long)n);
  if (old_n == n) {
    if (path->n || !nx_hash_equal(old_root, root))
      return nx_fail(err, NX_E_CRYPTO, "consistency proof: same size, another root");
    return 0;
  }
  bool power_of_two = (old_n & (old_n - 1)) == 0;
  size_t i = 0;
  if (!power_of_two && path->n == 0)
    return nx_fail(err, NX_E_CRYPTO, "consistency proof: empty");
  struct nx_hash fr = power_of_two ? *old_root : path->hashes[i++], sr = fr;
  uint64_t fn = old_n - 1, sn = n - 1;
  for (; fn & 1; fn >>= 1)
    sn >>= 1;
  for (; i < path->n; i++) {
    if (sn == 0)
      return nx_fail(err, NX_E_CRYPTO, "consistency proof: too long");
    if (fn & 1 || fn == sn) {
      fr = nx_merkle_node(&path->hashes[i], &fr);
      sr = nx_merkle_node(&path->hashes[i], &sr);
      for (; !(fn & 1) && fn; fn >>= 1)
        sn >>= 1;
    } else {
      sr = nx_merkle_node(&sr, &path->hashes[i]);
    }
    fn >>= 1;
    sn >>= 1;
  }
  if (sn || !nx_hash_equal(&fr, old_root) || !nx_hash_equal(&sr, root))
    return nx_fail(err, NX_E_CRYPTO, "consistency proof does not lead to both roots");
  return 0;
}
