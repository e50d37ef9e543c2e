/* Manifest hash: what names a data set in the audit log, without a name of a person or a file. */
#pragma once

#include "common/plan.h"
#include "crypto/hash.h"

int nx_manifest_file_hash(const char *path, struct nx_hash *out, struct nx_error *err);
/* From where it stands to its end; path is for words. */
int nx_manifest_fd_hash(int fd, const char *path, struct nx_hash *out, struct nx_error *err);
/* SHA-256 over ("neurox dataset v1", Merkle root of hashes in their order, hash of the plan's
 * preprocessing, window and, where the plan has them, tokenisers, n_subjects). Sorts hashes. */
struct nx_hash nx_manifest_hash(struct nx_hash *hashes, size_t n, const struct nx_plan *plan,
                                size_t n_subjects);
/* The pipeline's part of it. */
struct nx_hash nx_manifest_pipeline_hash(const struct nx_plan *plan);
