/* BIDS support: small trees made in temporary folders. Header only. */
#pragma once

#include <ftw.h>
#include <sys/stat.h>

#include "node/dataset/bids_check.h"
#include "tests/support/dataset_support.h"

static inline int remove_entry(const char *path, const struct stat *status, int kind,
                               struct FTW *walk) {
  (void)status;
  (void)kind;
  (void)walk;
  return remove(path);
}

static inline void remove_tree(const char *folder) {
  nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static inline void put_bytes(const char *folder, const char *name, struct nx_bytes bytes) {
  char path[NX_PATH_SIZE];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  for (char *slash = path + strlen(folder) + 1; (slash = strchr(slash, '/')); slash++) {
    *slash = 0;
    mkdir(path, 0755);
    *slash = '/';
  }
  assert_int_equal(nx_file_replace(path, bytes, 0644, NULL), 0);
}

static inline void put_file(const char *folder, const char *name, const char *text) {
  put_bytes(folder, name, nx_bytes(text, strlen(text)));
}

/* flat/SubjectNN_rest.edf → also to copy/, and to folder/sub-NN/eeg/sub-NN_task-rest_eeg.edf. */
static inline void copy_into_bids(const char *flat, const char *copy, const char *folder,
                                  size_t person, bool arithmetic) {
  char from[NX_PATH_SIZE], name[64], to[256];
  struct nx_buffer bytes = {0};
  snprintf(name, sizeof name, "Subject%02zu_%s.edf", person, arithmetic ? "arith" : "rest");
  snprintf(from, sizeof from, "%s/%s", flat, name);
  snprintf(to, sizeof to, "sub-%02zu/eeg/sub-%02zu_task-%s_eeg.edf", person, person,
           arithmetic ? "arithmetic" : "rest");
  assert_int_equal(nx_file_read(from, 1 << 26, &bytes, NULL), 0);
  put_bytes(copy, name, nx_buffer_view(&bytes));
  put_bytes(folder, to, nx_buffer_view(&bytes));
  nx_buffer_finish(&bytes);
}

static inline void finish_bids(const char *folder, size_t n_people) {
  static const char sidecar[] =
      "{\"TaskName\": \"x\", \"EEGReference\": \"linked ears\", \"SamplingFrequency\": 100,"
      " \"PowerLineFrequency\": 50, \"SoftwareFilters\": \"n/a\"}";
  char people[1024] = "participant_id\n";
  for (size_t p = 0; p < n_people; p++)
    snprintf(people + strlen(people), 32, "sub-%02zu\n", p);
  put_file(folder, "participants.tsv", people);
  put_file(folder, "README", "A copy of test recordings.\n");
  put_file(folder, "dataset_description.json",
           "{\"Name\": \"EEGMAT\", \"BIDSVersion\": \"1.11.0\"}");
  put_file(folder, "task-rest_eeg.json", sidecar);
  put_file(folder, "task-arithmetic_eeg.json", sidecar);
}

static inline void check_tree(const char *folder, bool headers_only, struct nx_findings *findings) {
  const struct nx_bids_check_options options = {.headers_only = headers_only};
  struct nx_bids_tree tree;
  assert_int_equal(nx_bids_tree_read(folder, &tree, NULL), 0);
  assert_int_equal(nx_bids_check(&tree, &options, findings, NULL), 0);
  nx_bids_tree_finish(&tree);
}

static inline size_t count_rule(const struct nx_findings *findings, const char *rule) {
  size_t n = 0;
  for (size_t i = 0; i < findings->n; i++)
    n += !strcmp(findings->list[i].rule, rule);
  return n;
}
