/* Audit log: durable appends from many writers, verification, and what the verifier needs.
 * Peer: the same appends with one fsync each. Verified first by verifying the log. */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/file.h"
#include "crypto/audit_reader.h"
#include "tests/bench/bench.h"

#define WRITERS 64

struct writer {
  pthread_t thread;
  struct nx_audit_log *log;
  uint64_t n;
};

static void append(struct nx_audit_log *log, uint64_t i) {
  struct nx_error err = {0};
  const struct nx_hash hash = nx_sha256(&i, sizeof i);
  if (NX_AUDIT_APPEND(log, &err, "upload.received", NX_AUDIT_UINT("round", i),
                      NX_AUDIT_UINT("member", i % 255), NX_AUDIT_UINT("bytes", 4000000),
                      NX_AUDIT_HASH("root", &hash)) < 0)
    bench_fail("%s", err.text);
}

static void *write_entries(void *argument) {
  const struct writer *writer = argument;
  for (uint64_t i = 0; i < writer->n; i++)
    append(writer->log, i);
  return NULL;
}

/* Entries a second of `writers` threads that append n each. */
static double append_rate(struct nx_audit_log *log, size_t writers, uint64_t n) {
  struct writer all[WRITERS];
  double start = bench_seconds();
  for (size_t i = 0; i < writers; i++) {
    all[i] = (struct writer){.log = log, .n = n};
    if (pthread_create(&all[i].thread, NULL, write_entries, &all[i]))
      bench_fail("cannot start a thread");
  }
  for (size_t i = 0; i < writers; i++)
    pthread_join(all[i].thread, NULL);
  return (double)(writers * n) / (bench_seconds() - start);
}

/* The machine's own limit: so many 200-byte writes with an fdatasync each, one thread. */
static double sync_rate(const char *folder) {
  char path[NX_PATH_SIZE];
  static const char block[200];
  nx_path_join(path, folder, "plain", NULL);
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  double start = bench_seconds(), n = 0;
  for (; bench_seconds() - start < 0.5; n++)
    if (fd < 0 || write(fd, block, sizeof block) != sizeof block || fdatasync(fd))
      bench_fail("cannot write %s", path);
  close(fd);
  unlink(path);
  return n / (bench_seconds() - start);
}

/* Runs neurox-audit on the log, as an auditor would: seconds and peak memory. */
static double run_verifier(const char *folder, double *rss_mb) {
  struct rusage usage;
  int status;
  double start = bench_seconds();
  pid_t child = fork();
  if (child == 0) {
    if (!freopen("/dev/null", "w", stdout))
      _exit(126);
    execl(NEUROX_AUDIT, "neurox-audit", "verify", folder, (char *)NULL);
    _exit(127);
  }
  if (child < 0 || wait4(child, &status, 0, &usage) != child || status)
    bench_fail("neurox-audit does not verify the log");
  *rss_mb = (double)usage.ru_maxrss / 1024;
  return bench_seconds() - start;
}

static void fill(struct nx_audit_log *log, uint64_t entries) {
  struct nx_error err = {0};
  while (nx_audit_log_size(log) < entries) {
    append_rate(log, WRITERS, 250);
    if (nx_audit_log_checkpoint(log, &err) < 0)
      bench_fail("%s", err.text);
  }
}

static void add_row(struct bench *bench, const char *metric, double value, const char *unit,
                    double writers, double entries, const char *limit, double limit_value) {
  const struct bench_row row = {{{"writers", writers, NULL}, {"entries", entries, NULL}},
                                metric,
                                value,
                                unit,
                                NULL,
                                0,
                                limit,
                                limit_value};
  bench_add(bench, &row);
}

int main(int argc, char **argv) {
  struct bench *bench = bench_begin("audit", "", &argc, argv);
  char folder[] = "/tmp/nx-bench-audit-XXXXXX", command[128];
  struct nx_identity *identity = NULL;
  struct nx_audit_log *log = NULL;
  struct nx_error err = {0};
  struct stat binary;
  uint64_t n = bench_is_quick(bench) ? 50 : 500;
  double rss;
  if (!mkdtemp(folder) || nx_identity_create(&nx_entropy_system, &identity, &err) < 0 ||
      nx_audit_log_open(folder, "bench", identity, &log, &err) < 0)
    bench_fail("%s", err.text);
  double limit = sync_rate(folder);
  add_row(bench, "append_entries_per_s", append_rate(log, 1, n), "1/s", 1, (double)n,
          "one fdatasync each", limit);
  add_row(bench, "append_entries_per_s", append_rate(log, WRITERS, n), "1/s", WRITERS,
          (double)(WRITERS * n), "one fdatasync each", limit);
  fill(log, bench_is_quick(bench) ? 30000 : 1000000);
  double entries = (double)nx_audit_log_size(log);
  if (nx_audit_log_close(log, &err) < 0)
    bench_fail("%s", err.text);
  double seconds = run_verifier(folder, &rss);
  add_row(bench, "verify_entries_per_s", entries / seconds, "1/s", 0, entries, NULL, 0);
  add_row(bench, "verify_rss_mb", rss, "MB", 0, entries, "most allowed", 64);
  if (stat(NEUROX_AUDIT, &binary) == 0)
    add_row(bench, "binary_kb", (double)binary.st_size / 1024, "KB", 0, 0, "most allowed", 2048);
  snprintf(command, sizeof command, "rm -r '%s'", folder);
  nx_identity_destroy(identity);
  return system(command) ? 1 : bench_end(bench);
}
