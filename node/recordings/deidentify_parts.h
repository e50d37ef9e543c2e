/* De-identify, inside. */
#pragma once

#include "common/bytes.h"
#include "node/recordings/deidentify.h"

/* The text as it may stay, "event", or NULL: the annotation goes. Counts. */
const char *nx_deidentify_text(const struct nx_deidentify_options *options, const char *text,
                               size_t size, struct nx_deidentify_counts *counts);

int nx_deidentify_edf(const char *in, const char *out, const struct nx_deidentify_options *options,
                      struct nx_deidentify_counts *counts, struct nx_error *err);
int nx_deidentify_brainvision(const char *in, const char *out,
                              const struct nx_deidentify_options *options,
                              struct nx_deidentify_counts *counts, struct nx_error *err);

/* A file under a temporary name beside its own, made with O_EXCL; nx_copy_commit() gives it its
 * name, and only when there is none of it yet (link, then unlink); nx_copy_finish() takes back
 * what was not committed. */
struct nx_copy {
  int fd;
  char path[4096], temporary[4096];
};
int nx_copy_begin(struct nx_copy *copy, const char *path, struct nx_error *err);
int nx_copy_write(struct nx_copy *copy, const void *data, size_t size, struct nx_error *err);
int nx_copy_commit(struct nx_copy *copy, struct nx_error *err);
void nx_copy_finish(struct nx_copy *copy);
