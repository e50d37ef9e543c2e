#include "node/dataset/signal_files.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/file.h"
#include "common/size.h"
#include "node/dataset/subjects.h"
#include "node/recordings/sandbox.h"

#define FILES_CAP 100000
#define TABLE_CAP ((size_t)16 << 20)
#define COLUMNS 16

static int add(struct nx_signal_files *files, const struct nx_signal_file *file,
               struct nx_error *err) {
  if (files->n >= FILES_CAP)
    return nx_fail(err, NX_E_LIMIT, "more than %d recordings", FILES_CAP);
  if ((files->n & (files->n - 1)) == 0) { /* grow at powers of two */
    struct nx_signal_file *grown =
        reallocarray(files->files, files->n ? 2 * files->n : 1, sizeof *grown);
    if (!grown)
      return nx_fail(err, NX_E_NOMEM, "list of files: out of memory");
    files->files = grown;
  }
  files->files[files->n++] = *file;
  return 0;
}

/* A file that may hold several recordings is opened to see how many. */
int nx_signal_files_add(const struct nx_dataset_options *options, struct nx_signal_files *files,
                        const struct nx_signal_file *file, struct nx_error *err) {
  _cleanup_(nx_recording_closep) struct nx_recording *recording = NULL;
  char path[NX_PATH_SIZE];
  const char *dot = strrchr(file->file, '.');
  bool several = dot && (!strcasecmp(dot, ".mat") || !strcasecmp(dot, ".nwb"));
  if (!several)
    return add(files, file, err);
  int r = nx_path_join(path, options->folder, file->file, err);
  if (r < 0)
    return r;
  r = options->reader ? nx_recording_open_sandboxed(options->reader, path, &recording, err)
                      : nx_recording_open(path, &recording, err);
  if (r < 0)
    return r;
  uint32_t n = nx_recording_info(recording)->n_parts;
  for (uint32_t k = 0; !r && k < n; k++) {
    struct nx_signal_file part = *file;
    if (n > 1 &&
        snprintf(part.file, sizeof part.file, "%s#%u", file->file, k) >= (int)sizeof part.file)
      return nx_fail(err, NX_E_LIMIT, "too long a name: %.64s", file->file);
    r = add(files, &part, err);
  }
  return r;
}

/* ---- by name --------------------------------------------------------------------------------- */

bool nx_signal_file_is_recording(const char *name) {
  static const char *const known[] = {".edf", ".bdf", ".vhdr", ".fif",   ".set", ".mat",
                                      ".nii", ".npy", ".nwb",  ".snirf", ".gz"};
  const char *dot = strrchr(name, '.');
  size_t n = strlen(name);
  if (name[0] == '.' || !dot ||
      (!strcasecmp(dot, ".gz") && (n < 7 || strcmp(name + n - 7, ".nii.gz"))))
    return false;
  if (strstr(name, "_mask.nii")) /* belongs to an image */
    return false;
  for (size_t i = 0; i < NX_ARRAY_LENGTH(known); i++)
    if (!strcasecmp(dot, known[i]))
      return true;
  return false;
}

static int take_name(const struct nx_dataset_options *options, const char *name,
                     struct nx_signal_files *files, struct nx_error *err) {
  struct nx_signal_file file = {.electrodes = NX_NO_ELECTRODES};
  if (!nx_signal_file_is_recording(name) || strlen(name) >= sizeof file.file)
    return 0;
  const char *dot = strstr(name, ".nii") ? strstr(name, ".nii") : strrchr(name, '.');
  const char *first = memchr(name, '_', (size_t)(dot - name));
  const char *last = memrchr(name, '_', (size_t)(dot - name));
  snprintf(file.file, sizeof file.file, "%s", name);
  snprintf(file.subject, sizeof file.subject, "%.*s", (int)((first ? first : dot) - name), name);
  if (last)
    snprintf(file.label, sizeof file.label, "%.*s", (int)(dot - last - 1), last + 1);
  return nx_subject_is_id(file.subject, strlen(file.subject)) && nx_subject_is_wanted(options, file.subject)
             ? nx_signal_files_add(options, files, &file, err)
             : 0;
}

static int list_names(const struct nx_dataset_options *options, struct nx_signal_files *files,
                      struct nx_error *err) {
  DIR *folder = opendir(options->folder);
  if (!folder)
    return nx_fail_errno(err, errno, "open the recordings folder %s", options->folder);
  int r = 0;
  errno = 0;
  for (struct dirent *entry; !r && (entry = readdir(folder));) {
    r = take_name(options, entry->d_name, files, err);
    errno = 0;
  }
  closedir(folder);
  return r;
}

/* ---- by table -------------------------------------------------------------------------------- */

struct columns {
  size_t file, subject, label, behaviour; /* SIZE_MAX: none */
};

static size_t split(char *line, char **fields) {
  size_t n = 0;
  line[strcspn(line, "\r")] = 0;
  for (char *field; n < COLUMNS && (field = strsep(&line, "\t"));)
    fields[n++] = field;
  return n;
}

static size_t column(char **fields, size_t n, const char *name) {
  for (size_t i = 0; i < n; i++)
    if (!strcmp(fields[i], name))
      return i;
  return SIZE_MAX;
}

static const char *cell(char **fields, size_t n, size_t at) {
  return at < n && strcmp(fields[at], "n/a") ? fields[at] : "";
}

static int take_row(const struct nx_dataset_options *options, const struct columns *columns,
                    char *line, size_t number, struct nx_signal_files *files,
                    struct nx_error *err) {
  char *fields[COLUMNS];
  size_t n = split(line, fields);
  struct nx_signal_file file = {.electrodes = NX_NO_ELECTRODES};
  const char *name = cell(fields, n, columns->file), *subject = cell(fields, n, columns->subject);
  const char *label = cell(fields, n, columns->label);
  const char *behaviour = cell(fields, n, columns->behaviour);
  if (n == 1 && !*fields[0])
    return 0;
  if (!*name || strchr(name, '/') || !nx_subject_is_id(subject, strlen(subject)) || strchr(behaviour, '/') ||
      strlen(name) + 8 >= sizeof file.file || strlen(label) >= sizeof file.label ||
      strlen(behaviour) >= sizeof file.behaviour)
    return nx_fail(err, NX_E_FORMAT,
                   "labels.tsv line %zu: write file and subject id (and label, behaviour), tabs "
                   "between them (ids of letters, digits, - _ .; files of this folder only)",
                   number);
  if (!nx_subject_is_wanted(options, subject))
    return 0;
  strcpy(file.file, name);
  strcpy(file.subject, subject);
  strcpy(file.label, label);
  strcpy(file.behaviour, behaviour);
  return nx_signal_files_add(options, files, &file, err);
}

static int list_table(const struct nx_dataset_options *options, const char *path,
                      struct nx_signal_files *files, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer text = {0};
  char *fields[COLUMNS];
  int r = nx_file_read(path, TABLE_CAP, &text, err);
  if (!r)
    r = nx_buffer_append(&text, "", 1, err);
  if (r < 0)
    return r;
  char *rest = (char *)text.data, *line = strsep(&rest, "\n");
  size_t n = split(line, fields);
  const struct columns columns = {column(fields, n, "file"), column(fields, n, "subject"),
                                  column(fields, n, "label"), column(fields, n, "behaviour")};
  if (columns.file == SIZE_MAX || columns.subject == SIZE_MAX)
    return nx_fail(err, NX_E_FORMAT, "%s: the first line must name columns: file, subject", path);
  for (size_t number = 2; !r && (line = strsep(&rest, "\n")); number++)
    r = take_row(options, &columns, line, number, files, err);
  return r;
}

/* ---- both ------------------------------------------------------------------------------------ */

static int by_subject(const void *a, const void *b) {
  const struct nx_signal_file *x = a, *y = b;
  int order = strcmp(x->subject, y->subject);
  return order ? order : strverscmp(x->file, y->file);
}

static int check(const struct nx_dataset_options *options, const struct nx_signal_files *files,
                 struct nx_error *err) {
  if (!files->n)
    return nx_fail(err, NX_E_NOT_FOUND,
                   "no recording in %s: name the files SUBJECT_….edf (.fif, .mat, .nii.gz …), or "
                   "write labels.tsv",
                   options->folder);
  for (size_t i = 1; i < files->n; i++)
    if (!strcmp(files->files[i].file, files->files[i - 1].file))
      return nx_fail(err, NX_E_FORMAT, "labels.tsv names %s twice", files->files[i].file);
  return nx_subjects_check_held_out(options, files->files[0].subject, sizeof *files->files, files->n,
                                    err);
}

int nx_signal_files_list(const struct nx_dataset_options *options, const struct nx_plan *plan,
                         struct nx_signal_files *files_out, struct nx_error *err) {
  _cleanup_(nx_signal_files_finish) struct nx_signal_files files = {0};
  char path[NX_PATH_SIZE];
  int r = nx_path_join(path, options->folder, "labels.tsv", err);
  if (!r)
    r = nx_bids_is_tree(options->folder) ? nx_signal_files_list_bids(options, plan, &files, err)
        : nx_path_exists(path)           ? list_table(options, path, &files, err)
                                         : list_names(options, &files, err);
  if (!r)
    r = nx_path_join(path, options->folder, "SYNTHETIC", err);
  if (r < 0)
    return r;
  files.synthetic = nx_path_exists(path);
  if (files.n)
    qsort(files.files, files.n, sizeof *files.files, by_subject);
  r = check(options, &files, err);
  if (r < 0)
    return r;
  *files_out = files;
  memset(&files, 0, sizeof files);
  return 0;
}

void nx_signal_files_finish(struct nx_signal_files *files) {
  for (size_t i = 0; i < files->n_electrodes; i++)
    nx_electrodes_finish(&files->electrodes[i]);
  free(files->electrodes);
  free(files->files);
  memset(files, 0, sizeof *files);
}
