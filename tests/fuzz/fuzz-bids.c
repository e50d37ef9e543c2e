/* libFuzzer: any bytes as a table, as a file name, or (first byte 2) as the files of a small BIDS
 * tree, NULs between them, which is then read, inherited from and checked. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/file.h"
#include "node/dataset/bids_check.h"
#include "node/dataset/bids_electrodes.h"
#include "node/dataset/tsv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const files[] = {
    "dataset_description.json",
    "participants.tsv",
    "task-x_ieeg.json",
    "sub-1/ieeg/sub-1_electrodes.tsv",
    "sub-1/ieeg/sub-1_coordsystem.json",
    "sub-1/ieeg/sub-1_task-x_channels.tsv",
    "sub-1/ieeg/sub-1_task-x_events.tsv",
    "sub-1/ieeg/sub-1_task-x_ieeg.edf",
    ".bidsignore",
};

static const char *root(void) {
  static char folder[64];
  char path[128];
  if (!folder[0]) {
    snprintf(folder, sizeof folder, "/dev/shm/nx-fuzz-bids-%ld", (long)getpid());
    mkdir(folder, 0700);
    snprintf(path, sizeof path, "%s/sub-1", folder);
    mkdir(path, 0700);
    snprintf(path, sizeof path, "%s/sub-1/ieeg", folder);
    mkdir(path, 0700);
  }
  return folder;
}

static void write_files(const uint8_t *data, size_t size) {
  for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
    char path[256];
    const uint8_t *stop = memchr(data, 0, size);
    size_t n = stop ? (size_t)(stop - data) : size;
    snprintf(path, sizeof path, "%s/%s", root(), files[i]);
    FILE *out = fopen(path, "w");
    if (!out || fwrite(data, 1, n, out) != n || fclose(out))
      abort();
    data += n + (stop != NULL);
    size -= n + (stop != NULL);
  }
}

static void check_all(void) {
  const struct nx_bids_check_options options = {0};
  struct nx_bids_tree tree = {0};
  struct nx_findings findings = {0};
  if (nx_bids_tree_read(root(), &tree, NULL) < 0)
    return;
  nx_bids_check(&tree, &options, &findings, NULL);
  for (size_t i = 0; i < tree.n; i++) {
    cJSON *json = NULL;
    if (tree.files[i].named && nx_bids_sidecar(&tree, &tree.files[i], &json, NULL) == 0)
      cJSON_Delete(json);
  }
  nx_findings_finish(&findings);
  nx_bids_tree_finish(&tree);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct nx_tsv table;
  struct nx_bids_name name;
  char text[512];
  double value;
  if (!size)
    return 0;
  if (data[0] == 0 && nx_tsv_parse(nx_bytes(data + 1, size - 1), &table, NULL) == 0) {
    for (size_t row = 0; row < table.n_rows; row++)
      for (size_t c = 0; c < table.n_columns; c++)
        nx_tsv_number(&table, row, c, &value);
    nx_tsv_finish(&table);
  } else if (data[0] == 1) {
    snprintf(text, sizeof text, "%.*s", (int)(size - 1), (const char *)data + 1);
    if (nx_bids_name_parse(text, &name) &&
        (!nx_bids_applies(&name, &name, NULL) || !name.suffix[0]))
      abort();
  } else if (data[0] == 2) {
    write_files(data + 1, size - 1);
    check_all();
  }
  return 0;
}
