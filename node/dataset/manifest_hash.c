#include "node/dataset/manifest_hash.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/plan_cleaning.h"
#include "common/plan_labels.h"
#include "common/plan_pipelines.h"
#include "common/size.h"
#include "crypto/merkle.h"

int nx_manifest_file_hash(const char *path, struct nx_hash *out, struct nx_error *err) {
  _cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC);
  return fd < 0 ? nx_fail_errno(err, errno, "open %s", path)
                : nx_manifest_fd_hash(fd, path, out, err);
}

int nx_manifest_fd_hash(int fd, const char *path, struct nx_hash *out, struct nx_error *err) {
  struct nx_sha256 sha;
  nx_sha256_init(&sha);
  for (;;) {
    uint8_t chunk[65536];
    ssize_t n = read(fd, chunk, sizeof chunk);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return nx_fail_errno(err, errno, "read %s", path);
    if (n == 0)
      break;
    nx_sha256_update(&sha, chunk, (size_t)n);
  }
  *out = nx_sha256_final(&sha);
  return 0;
}

static int by_hash(const void *a, const void *b) {
  return nx_hash_compare(a, b);
}

static void put_double(struct nx_sha256 *sha, double value) {
  uint64_t bits;
  memcpy(&bits, &value, sizeof bits);
  nx_sha256_u64(sha, bits);
}

struct nx_hash nx_manifest_pipeline_hash(const struct nx_plan *plan) {
  const struct nx_plan_preprocessing *p = &plan->preprocessing;
  const double values[] = {(double)p->reference,
                           p->high_pass_hz,
                           p->low_pass_hz,
                           p->notch_hz,
                           p->rate_hz,
                           (double)p->scale,
                           p->clamp,
                           plan->window.seconds,
                           plan->window.patch_seconds};
  struct nx_sha256 sha;
  nx_sha256_begin(&sha, "neurox pipeline v1");
  for (size_t i = 0; i < NX_ARRAY_LENGTH(values); i++)
    put_double(&sha, values[i]);
  if (plan->labels) { /* which parts of the files are used */
    put_double(&sha, (double)plan->labels->source);
    put_double(&sha, plan->labels->epoch_start_s);
    put_double(&sha, plan->labels->epoch_seconds);
    nx_sha256_update(&sha, (const uint8_t *)plan->labels->column, strlen(plan->labels->column));
  }
  if (plan->cleaning) {
    nx_sha256_update(&sha, (const uint8_t *)"cleaning", 8);
    put_double(&sha, (double)plan->cleaning->bad_channels);
    put_double(&sha, plan->cleaning->most_bad_share);
    put_double(&sha, plan->cleaning->artefact_z);
    put_double(&sha, plan->cleaning->artefact_share);
  }
  const struct nx_plan_modalities *m = plan->modalities;
  for (int k = 0; plan->pipelines && k < NX_MODALITIES; k++) {
    const struct nx_pipeline own = nx_plan_pipeline_of(plan, (enum nx_modality)k);
    put_double(&sha, (double)own.reference);
    put_double(&sha, own.high_pass_hz);
    put_double(&sha, own.low_pass_hz);
    put_double(&sha, own.notch_hz);
  }
  for (uint32_t i = 0; m && i < m->tokenisers_count; i++) {
    nx_sha256_u64(&sha, (uint64_t)m->tokenisers[i].kind);
    nx_sha256_u64(&sha, m->tokenisers[i].patch_samples);
    put_double(&sha, m->tokenisers[i].rate_hz);
  }
  return nx_sha256_final(&sha);
}

/* Hashes are sorted, so that neither names nor the order of files show. */
struct nx_hash nx_manifest_hash(struct nx_hash *hashes, size_t n, const struct nx_plan *plan,
                                size_t n_subjects) {
  qsort(hashes, n, sizeof *hashes, by_hash);
  struct nx_merkle tree = {0};
  for (size_t i = 0; i < n; i++) {
    struct nx_hash leaf = nx_merkle_leaf(nx_bytes(hashes[i].bytes, sizeof hashes[i].bytes));
    nx_merkle_add(&tree, &leaf);
  }
  struct nx_hash root = nx_merkle_root_of(&tree), pipeline = nx_manifest_pipeline_hash(plan);
  struct nx_sha256 sha;
  nx_sha256_begin(&sha, "neurox dataset v1");
  nx_sha256_hash(&sha, &root);
  nx_sha256_hash(&sha, &pipeline);
  nx_sha256_u64(&sha, n_subjects);
  return nx_sha256_final(&sha);
}
