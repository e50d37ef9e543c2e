#include "node/dataset/subjects.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/file.h"
#include "common/size.h"
#include "node/dataset/bids_tree.h"

#define FILES_CAP 100000
#define TABLE_CAP ((size_t)16 << 20)

static const char *without_prefix(const char *subject) {
  return strncmp(subject, "sub-", 4) ? subject : subject + 4;
}

bool nx_subject_in(const char *subject, const char *const *list, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (!strcmp(without_prefix(subject), without_prefix(list[i])))
      return true;
  return false;
}

int nx_subjects_label(const struct nx_plan *plan, const char *word, size_t n, bool may_shorten) {
  const char *labels[] = {plan->data.negative_label, plan->data.positive_label};
  for (int i = 0; i < 2; i++)
    if (strlen(labels[i]) == n && !strncasecmp(labels[i], word, n))
      return i;
  bool short0 = n >= 4 && !strncasecmp(labels[0], word, n);
  bool short1 = n >= 4 && !strncasecmp(labels[1], word, n);
  return may_shorten && short0 != short1 ? short1 : -1;
}

bool nx_subject_is_id(const char *text, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (!isalnum((unsigned char)text[i]) && !strchr("-_.", text[i]))
      return false;
  return n > 0 && n < NX_SUBJECT_SIZE;
}

bool nx_subject_is_wanted(const struct nx_dataset_options *options, const char *subject) {
  return !nx_subject_in(subject, options->withdrawn, options->n_withdrawn) &&
         (!options->n_only || nx_subject_in(subject, options->only, options->n_only));
}

int nx_subjects_add(struct nx_subject_files *files, const struct nx_dataset_options *options,
                    const struct nx_subject_file *entry, struct nx_error *err) {
  if (!nx_subject_is_wanted(options, entry->subject))
    return 0;
  if (files->n >= FILES_CAP)
    return nx_fail(err, NX_E_LIMIT, "%s holds more than %d recordings", options->folder, FILES_CAP);
  if ((files->n & (files->n - 1)) == 0) { /* grow at powers of two */
    struct nx_subject_file *grown =
        reallocarray(files->files, files->n ? 2 * files->n : 1, sizeof *grown);
    if (!grown)
      return nx_fail(err, NX_E_NOMEM, "list of files: out of memory");
    files->files = grown;
  }
  files->files[files->n++] = *entry;
  return 0;
}

static int add(struct nx_subject_files *files, const struct nx_dataset_options *options,
               const char *file, const char *subject, size_t subject_size, int label,
               struct nx_error *err) {
  struct nx_subject_file entry = {.label = label > 0, .unlabelled = label < 0};
  if (strlen(file) >= sizeof entry.file)
    return nx_fail(err, NX_E_LIMIT, "too long a file name: %.64s", file);
  snprintf(entry.file, sizeof entry.file, "%s", file);
  snprintf(entry.subject, sizeof entry.subject, "%.*s", (int)subject_size, subject);
  return nx_subjects_add(files, options, &entry, err);
}

static bool is_recording(const char *extension) {
  static const char *const known[] = {".edf", ".bdf", ".vhdr", ".fif", ".set"};
  for (size_t i = 0; i < NX_ARRAY_LENGTH(known); i++)
    if (!strcasecmp(extension, known[i]))
      return true;
  return false;
}

static int take_name(const struct nx_dataset_options *options, const struct nx_plan *plan,
                     const char *name, struct nx_subject_files *files, struct nx_error *err) {
  const char *dot = strrchr(name, '.'), *line = strrchr(name, '_');
  if (!dot || !is_recording(dot))
    return 0;
  bool word = line && line < dot;
  int label = word ? nx_subjects_label(plan, line + 1, (size_t)(dot - line - 1), true) : -1;
  size_t n_subject = label < 0 ? strcspn(name, "_.") : (size_t)(line - name);
  if ((label < 0 && !options->any_label) || !nx_subject_is_id(name, n_subject))
    return 0;
  return add(files, options, name, name, n_subject, label, err);
}

static int list_names(const struct nx_dataset_options *options, const struct nx_plan *plan,
                      struct nx_subject_files *files, struct nx_error *err) {
  DIR *folder = opendir(options->folder);
  if (!folder)
    return nx_fail_errno(err, errno, "open the recordings folder %s", options->folder);
  int r = 0;
  errno = 0;
  for (struct dirent *entry; !r && (entry = readdir(folder));)
    r = take_name(options, plan, entry->d_name, files, err);
  if (!r && errno)
    r = nx_fail_errno(err, errno, "list the recordings folder %s", options->folder);
  closedir(folder);
  return r;
}

/* Splits one line of a table in place; returns how many fields (at most cap) there are. */
static size_t split(char *line, char **fields, size_t cap) {
  size_t n = 0;
  line[strcspn(line, "\r")] = 0;
  for (char *field; n < cap && (field = strsep(&line, "\t"));)
    fields[n++] = field;
  return n;
}

static int take_row(const struct nx_dataset_options *options, const struct nx_plan *plan,
                    char *line, size_t number, struct nx_subject_files *files,
                    struct nx_error *err) {
  char *fields[8];
  size_t n = split(line, fields, NX_ARRAY_LENGTH(fields));
  if (n == 1 && !*fields[0])
    return 0;
  if (n < 3 || !*fields[0] || strchr(fields[0], '/') || !nx_subject_is_id(fields[1], strlen(fields[1])))
    return nx_fail(err, NX_E_FORMAT,
                   "labels.tsv line %zu: write file, subject id and label, tabs between them "
                   "(ids of letters, digits, - _ .; files of this folder only)",
                   number);
  int label = nx_subjects_label(plan, fields[2], strlen(fields[2]), false);
  if (label < 0 && !options->any_label)
    return 0;
  return add(files, options, fields[0], fields[1], strlen(fields[1]), label, err);
}

static int list_table(const struct nx_dataset_options *options, const struct nx_plan *plan,
                      const char *path, struct nx_subject_files *files, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer text = {0};
  int r = nx_file_read(path, TABLE_CAP, &text, err);
  if (!r)
    r = nx_buffer_append(&text, "", 1, err);
  if (r < 0)
    return r;
  char *rest = (char *)text.data, *line, *fields[3];
  line = strsep(&rest, "\n");
  if (split(line, fields, 3) < 3 || strcmp(fields[0], "file") || strcmp(fields[1], "subject") ||
      strcmp(fields[2], "label"))
    return nx_fail(err, NX_E_FORMAT, "%s: the first line must be file, subject, label", path);
  for (size_t number = 2; (line = strsep(&rest, "\n")); number++) {
    r = take_row(options, plan, line, number, files, err);
    if (r < 0)
      return r;
  }
  return 0;
}

static int by_subject(const void *a, const void *b) {
  const struct nx_subject_file *x = a, *y = b;
  int order = strcmp(x->subject, y->subject);
  if (!order)
    order = (int)x->label - (int)y->label;
  if (!order)
    order = strcmp(x->file, y->file);
  return order ? order : (x->from_s > y->from_s) - (x->from_s < y->from_s);
}

static int check(const struct nx_dataset_options *options, const struct nx_plan *plan,
                 const struct nx_subject_files *files, struct nx_error *err) {
  if (!files->n)
    return nx_fail(err, NX_E_NOT_FOUND,
                   "no recording in %s for this plan: name the files SUBJECT_%s.edf and "
                   "SUBJECT_%s.edf, write labels.tsv, or see what neurox-node check says of the "
                   "folder",
                   options->folder, plan->data.negative_label, plan->data.positive_label);
  for (size_t i = 1; i < files->n; i++)
    if (!files->files[i].part && !strcmp(files->files[i].file, files->files[i - 1].file))
      return nx_fail(err, NX_E_FORMAT, "labels.tsv names %s twice", files->files[i].file);
  return nx_subjects_check_held_out(options, files->files[0].subject, sizeof *files->files, files->n,
                                    err);
}

int nx_subjects_check_held_out(const struct nx_dataset_options *options, const char *subject,
                               size_t stride, size_t n, struct nx_error *err) {
  for (size_t h = 0; h < options->n_held_out; h++) {
    bool found = nx_subject_in(options->held_out[h], options->withdrawn, options->n_withdrawn);
    for (size_t i = 0; i < n && !found; i++)
      found = nx_subject_in(subject + i * stride, &options->held_out[h], 1);
    if (!found)
      return nx_fail(err, NX_E_INVALID, "held-out subject %s has no recording in %s",
                     options->held_out[h], options->folder);
  }
  return 0;
}

int nx_subjects_list(const struct nx_dataset_options *options, const struct nx_plan *plan,
                     struct nx_subject_files *files_out, struct nx_error *err) {
  struct nx_subject_files files = {0};
  char path[NX_PATH_SIZE];
  int r = nx_path_join(path, options->folder, "labels.tsv", err);
  if (!r)
    r = nx_bids_is_tree(options->folder) ? nx_subjects_list_bids(options, plan, &files, err)
        : nx_path_exists(path)           ? list_table(options, plan, path, &files, err)
                                         : list_names(options, plan, &files, err);
  if (!r)
    r = nx_path_join(path, options->folder, "SYNTHETIC", err);
  if (!r) {
    files.synthetic = nx_path_exists(path);
    if (files.n)
      qsort(files.files, files.n, sizeof *files.files, by_subject);
    r = check(options, plan, &files, err);
  }
  if (r < 0)
    nx_subjects_finish(&files);
  else
    *files_out = files;
  return r;
}

void nx_subjects_finish(struct nx_subject_files *files) {
  free(files->files);
  memset(files, 0, sizeof *files);
}
