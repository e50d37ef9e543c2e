/* Merkle: the tree of RFC 9162, section 2.1 (SHA-256; leaves H(0x00 | bytes), nodes
 * H(0x01 | left | right)), its inclusion proofs and its consistency proofs. Any thread. */
#pragma once

#include "crypto/hash.h"

#define NX_MERKLE_PATH_MAX 64 /* hashes in any proof */

struct nx_merkle_path {
  size_t n;
  struct nx_hash hashes[NX_MERKLE_PATH_MAX];
};

struct nx_hash nx_merkle_leaf(struct nx_bytes bytes);
/* Of n tiles of `size` bytes that lie one behind the other: faster than one by one. */
void nx_merkle_leaves(const uint8_t *bytes, size_t size, size_t n, struct nx_hash *leaves_out);
struct nx_hash nx_merkle_node(const struct nx_hash *left, const struct nx_hash *right);

/* Of n leaf hashes; n = 0 gives H(""). */
struct nx_hash nx_merkle_root(const struct nx_hash *leaves, size_t n);
/* index < n. */
void nx_merkle_prove(const struct nx_hash *leaves, size_t n, size_t index,
                     struct nx_merkle_path *path_out);
/* That the tree of n leaves with this root has `leaf` at index; else NX_E_CRYPTO. */
int nx_merkle_verify(const struct nx_hash *root, uint64_t n, uint64_t index,
                     const struct nx_hash *leaf, const struct nx_merkle_path *path,
                     struct nx_error *err);
/* 1 <= old_n <= n: that the first old_n leaves of a tree are those of an older tree. */
void nx_merkle_prove_consistency(const struct nx_hash *leaves, size_t n, size_t old_n,
                                 struct nx_merkle_path *path_out);
int nx_merkle_verify_consistency(const struct nx_hash *old_root, uint64_t old_n,
                                 const struct nx_hash *root, uint64_t n,
                                 const struct nx_merkle_path *path, struct nx_error *err);

/* A tree that grows leaf by leaf and keeps only its right edge (2 KiB). Plain data:
 * zero-initialise, copy to fork. */
struct nx_merkle {
  uint64_t n;               /* leaves so far */
  struct nx_hash nodes[64]; /* root of a full subtree for every set bit of n */
};
void nx_merkle_add(struct nx_merkle *tree, const struct nx_hash *leaf);
struct nx_hash nx_merkle_root_of(const struct nx_merkle *tree);
