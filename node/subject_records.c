#include "node/subject_records.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/file.h"
#include "common/size.h"
#include "node/dataset/bids_tree.h"
#include "node/dataset/subjects.h"
#include "node/dataset/tsv.h"

#define SHORT_HASH 33 /* 32 hex digits name a set */

/* ---- files --------------------------------------------------------------------------------- */

static int path_of(const char *home, const char *name, char out[NX_PATH_SIZE],
                   struct nx_error *err) {
  char folder[NX_PATH_SIZE];
  int r = nx_path_join(folder, home, NX_HOME_SUBJECTS, err);
  if (!r)
    r = nx_folder_create(folder, 0700, err);
  return r < 0 ? r : nx_path_join(out, folder, name, err);
}

/* One line more, durably. A line that a crash cut short has too few fields and is passed over;
 * the next begins on a line of its own. */
static int append_line(const char *path, const char *header, const char *line,
                       struct nx_error *err) {
  char text[1024];
  _cleanup_fd_ int fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0)
    return nx_fail_errno(err, errno, "open %s", path);
  off_t size = lseek(fd, 0, SEEK_END);
  char last = '\n';
  if (size > 0 && pread(fd, &last, 1, size - 1) != 1)
    return nx_fail_errno(err, errno, "read %s", path);
  int n =
      snprintf(text, sizeof text, "%s%s%s\n", size ? "" : header, last == '\n' ? "" : "\n", line);
  if (n < 0 || n >= (int)sizeof text)
    return nx_fail(err, NX_E_LIMIT, "%s: a line is too long", path);
  if (write(fd, text, (size_t)n) != n || fsync(fd))
    return nx_fail_errno(err, errno, "write %s", path);
  return nx_file_sync_folder_of(path, err);
}

static int read_table(const char *home, const char *name, struct nx_tsv *out,
                      struct nx_error *err) {
  char path[NX_PATH_SIZE];
  int r = path_of(home, name, path, err);
  if (r < 0)
    return r;
  if (!nx_path_exists(path))
    return nx_fail(err, NX_E_NOT_FOUND, "this node has no record of any round yet");
  return nx_tsv_read(path, out, err);
}

/* ---- withdrawals --------------------------------------------------------------------------- */

static int by_text(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

static int add_name(struct nx_withdrawals *list, const char *name, struct nx_error *err) {
  if (nx_subject_in(name, (const char *const *)list->names, list->n))
    return 0;
  char **grown = reallocarray(list->names, list->n + 1, sizeof *grown);
  if (!grown)
    return nx_fail(err, NX_E_NOMEM, "withdrawals: out of memory");
  list->names = grown;
  grown[list->n] = strdup(name);
  if (!grown[list->n])
    return nx_fail(err, NX_E_NOMEM, "withdrawals: out of memory");
  list->n++;
  return 0;
}

static int read_file(const char *home, struct nx_withdrawals *list, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer text = {0};
  char path[NX_PATH_SIZE];
  int r = nx_path_join(path, home, NX_HOME_WITHDRAWN, err);
  if (r < 0 || !nx_path_exists(path))
    return r;
  r = nx_file_read(path, 4 << 20, &text, err);
  if (!r)
    r = nx_buffer_append(&text, "", 1, err);
  char *rest = (char *)text.data;
  for (char *line; !r && (line = strsep(&rest, "\n"));) {
    line[strcspn(line, "#\r")] = 0;
    line += strspn(line, " \t");
    for (size_t n = strlen(line); n && strchr(" \t", line[n - 1]);)
      line[--n] = 0;
    if (*line)
      r = add_name(list, line, err);
  }
  return r;
}

int nx_withdrawals_read(const char *home, const struct nx_node_config_data *data,
                        struct nx_withdrawals *out, struct nx_error *err) {
  struct nx_withdrawals list = {0};
  struct nx_sha256 sha;
  int r = 0;
  for (uint32_t i = 0; !r && data && i < data->n_withdrawn; i++)
    r = add_name(&list, data->withdrawn[i], err);
  if (!r)
    r = read_file(home, &list, err);
  if (r < 0) {
    nx_withdrawals_finish(&list);
    return nx_error_prefix(err, r, "list of withdrawals");
  }
  if (list.n)
    qsort(list.names, list.n, sizeof *list.names, by_text);
  nx_sha256_begin(&sha, "neurox withdrawals v1");
  for (size_t i = 0; i < list.n; i++)
    nx_sha256_update(&sha, (const uint8_t *)list.names[i], strlen(list.names[i]) + 1);
  list.hash = nx_sha256_final(&sha);
  *out = list;
  return 0;
}

void nx_withdrawals_finish(struct nx_withdrawals *withdrawals) {
  for (size_t i = 0; i < withdrawals->n; i++)
    free(withdrawals->names[i]);
  free(withdrawals->names);
  memset(withdrawals, 0, sizeof *withdrawals);
}

int nx_withdrawals_add(const char *home, const char *name, struct nx_error *err) {
  _cleanup_(nx_withdrawals_finish) struct nx_withdrawals list = {0};
  char path[NX_PATH_SIZE];
  size_t n = strlen(name);
  if (!n || n >= NX_SUBJECT_SIZE ||
      name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")])
    return nx_fail(err, NX_E_INVALID,
                   "that is no id: write letters, digits, - _ . as in the file's name or table");
  int r = nx_withdrawals_read(home, NULL, &list, err);
  if (r < 0)
    return r;
  if (nx_subject_in(name, (const char *const *)list.names, list.n))
    return nx_fail(err, NX_E_EXISTS, "this person is on the list already");
  r = nx_path_join(path, home, NX_HOME_WITHDRAWN, err);
  return r < 0 ? r
               : append_line(path, "# People who withdrew, one a line; read before every round.\n",
                             name, err);
}

int nx_withdrawals_changed(const char *home, const struct nx_withdrawals *withdrawals,
                           size_t *before_out, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer text = {0};
  char path[NX_PATH_SIZE], hex[NX_HASH_HEX_SIZE];
  *before_out = 0;
  int r = path_of(home, "noted", path, err);
  if (r < 0)
    return r;
  if (!nx_path_exists(path))
    return withdrawals->n > 0;
  r = nx_file_read(path, 4096, &text, err);
  if (!r)
    r = nx_buffer_append(&text, "", 1, err);
  if (r < 0)
    return r;
  nx_hash_hex(&withdrawals->hash, hex);
  const char *number = strchr((const char *)text.data, '\t');
  *before_out = number ? (size_t)strtoull(number + 1, NULL, 10) : 0;
  return strncmp((const char *)text.data, hex, sizeof hex - 1) != 0;
}

int nx_withdrawals_noted(const char *home, const struct nx_withdrawals *withdrawals,
                         struct nx_error *err) {
  char path[NX_PATH_SIZE], hex[NX_HASH_HEX_SIZE], line[128];
  nx_hash_hex(&withdrawals->hash, hex);
  int n = snprintf(line, sizeof line, "%s\t%zu\n", hex, withdrawals->n);
  int r = path_of(home, "noted", path, err);
  return r < 0 ? r : nx_file_replace(path, nx_bytes(line, (size_t)n), 0600, err);
}

/* ---- writing records ----------------------------------------------------------------------- */

static int put_set(const char *home, const struct nx_dataset *dataset, char name_out[SHORT_HASH],
                   struct nx_error *err) {
  _cleanup_free_ char *text = NULL;
  size_t size = 0;
  char path[NX_PATH_SIZE], file[64], hex[NX_HASH_HEX_SIZE];
  const char *last = "";
  FILE *out = open_memstream(&text, &size);
  if (!out)
    return nx_fail(err, NX_E_NOMEM, "records: out of memory");
  fputs("subject\tuse\n", out);
  for (size_t i = 0; i < nx_dataset_summary(dataset)->n_recordings; i++) {
    const struct nx_dataset_recording *recording = nx_dataset_recording(dataset, i);
    if (strcmp(recording->subject, last) != 0)
      fprintf(out, "%s\t%s\n", recording->subject,
              recording->split == NX_SPLIT_TRAIN ? "train" : "held-out");
    last = recording->subject;
  }
  if (fclose(out))
    return nx_fail(err, NX_E_NOMEM, "records: out of memory");
  struct nx_hash hash = nx_sha256(text, size);
  nx_hash_hex(&hash, hex);
  snprintf(name_out, SHORT_HASH, "%.32s", hex);
  snprintf(file, sizeof file, "set-%s", name_out);
  int r = path_of(home, file, path, err);
  return r < 0 || nx_path_exists(path) ? r : nx_file_replace(path, nx_bytes(text, size), 0600, err);
}

static bool number_is(const struct nx_tsv *table, size_t row, const char *column, uint64_t value) {
  const char *cell = nx_tsv_cell(table, row, nx_tsv_column(table, column));
  return cell && strtoull(cell, NULL, 10) == value;
}

static const char *cell_of(const struct nx_tsv *table, size_t row, const char *column) {
  const char *cell = nx_tsv_cell(table, row, nx_tsv_column(table, column));
  return cell ? cell : "";
}

/* 1: the round is recorded with this set; 0: it is not recorded. */
static int find_round(const char *home, const struct nx_site_round *round, const char *set,
                      struct nx_error *err) {
  _cleanup_(nx_tsv_finish) struct nx_tsv table = {0};
  int r = read_table(home, "rounds.tsv", &table, err);
  if (r == NX_E_NOT_FOUND)
    return 0;
  for (size_t row = 0; !r && row < table.n_rows; row++) {
    if (!number_is(&table, row, "round", round->round) ||
        !number_is(&table, row, "attempt", round->attempt) || !*cell_of(&table, row, "set"))
      continue;
    return !strcmp(cell_of(&table, row, "set"), set)
               ? 1
               : nx_fail(err, NX_E_STATE,
                         "the people of this site changed within a round: it sits this one out");
  }
  return r;
}

int nx_subject_records_used(const char *home, const struct nx_site_round *round,
                            const struct nx_dataset *dataset, struct nx_error *err) {
  char set[SHORT_HASH], plan[NX_HASH_HEX_SIZE], model[NX_HASH_HEX_SIZE], line[512];
  char path[NX_PATH_SIZE];
  int r = put_set(home, dataset, set, err);
  if (!r)
    r = find_round(home, round, set, err);
  if (r)
    return r < 0 ? r : 0;
  nx_hash_hex(&round->plan, plan);
  nx_hash_hex(&round->model, model);
  snprintf(line, sizeof line, "%llu\t%u\t%s\t%s\t%s", (unsigned long long)round->round,
           round->attempt, plan, model, set);
  r = path_of(home, "rounds.tsv", path, err);
  return r < 0 ? r : append_line(path, "round\tattempt\tplan\tmodel\tset\n", line, err);
}

int nx_subject_records_sealed(const char *home, uint64_t round, const struct nx_hash *model,
                              struct nx_error *err) {
  char hex[NX_HASH_HEX_SIZE], line[128], path[NX_PATH_SIZE];
  nx_hash_hex(model, hex);
  snprintf(line, sizeof line, "%llu\t%s", (unsigned long long)round, hex);
  int r = path_of(home, "models.tsv", path, err);
  return r < 0 ? r : append_line(path, "round\tmodel\n", line, err);
}

void nx_subject_records_problem(const char *home, const char *why) {
  char path[NX_PATH_SIZE];
  if (path_of(home, "unusable", path, NULL) == 0)
    nx_file_replace(path, nx_bytes(why, strlen(why)), 0600, NULL);
}

/* ---- asking -------------------------------------------------------------------------------- */

static int add_use(struct nx_subject_uses *uses, const char *subject, bool trained, uint64_t round,
                   struct nx_error *err) {
  for (size_t i = 0; i < uses->n; i++)
    if (!strcmp(uses->list[i].subject, subject)) {
      uses->list[i].trained |= trained;
      uses->list[i].first_round = NX_MIN(uses->list[i].first_round, round);
      uses->list[i].last_round = NX_MAX(uses->list[i].last_round, round);
      return 0;
    }
  struct nx_subject_use *grown = reallocarray(uses->list, uses->n + 1, sizeof *grown);
  if (!grown)
    return nx_fail(err, NX_E_NOMEM, "records: out of memory");
  uses->list = grown;
  struct nx_subject_use *use = &grown[uses->n++];
  *use = (struct nx_subject_use){.trained = trained, .first_round = round, .last_round = round};
  snprintf(use->subject, sizeof use->subject, "%s", subject);
  return 0;
}

static int add_set(const char *home, const char *set, uint64_t round, struct nx_subject_uses *uses,
                   struct nx_error *err) {
  _cleanup_(nx_tsv_finish) struct nx_tsv table = {0};
  char file[64];
  if (!*set || strspn(set, "0123456789abcdef") != strlen(set))
    return 0;
  snprintf(file, sizeof file, "set-%.32s", set);
  int r = read_table(home, file, &table, err);
  for (size_t row = 0; !r && row < table.n_rows; row++)
    r = add_use(uses, cell_of(&table, row, "subject"),
                !strcmp(cell_of(&table, row, "use"), "train"), round, err);
  return r;
}

static int by_subject(const void *a, const void *b) {
  const struct nx_subject_use *x = a, *y = b;
  return strcmp(x->subject, y->subject);
}

/* Rounds first .. last, of one plan when plan is given. */
static int collect(const char *home, const struct nx_withdrawals *withdrawals, const char *plan,
                   uint64_t first, uint64_t last, struct nx_subject_uses *out,
                   struct nx_error *err) {
  _cleanup_(nx_tsv_finish) struct nx_tsv table = {0};
  struct nx_subject_uses uses = {0};
  int r = read_table(home, "rounds.tsv", &table, err);
  for (size_t row = 0; !r && row < table.n_rows; row++) {
    uint64_t round = strtoull(cell_of(&table, row, "round"), NULL, 10);
    if (round >= first && round <= last && (!plan || !strcmp(plan, cell_of(&table, row, "plan"))))
      r = add_set(home, cell_of(&table, row, "set"), round, &uses, err);
  }
  if (!r && !uses.n)
    r = nx_fail(err, NX_E_NOT_FOUND, "this node has no record of such a round");
  for (size_t i = 0; !r && i < uses.n; i++) {
    uses.list[i].withdrawn = nx_subject_in(uses.list[i].subject,
                                           (const char *const *)withdrawals->names, withdrawals->n);
    uses.n_withdrawn += uses.list[i].withdrawn;
  }
  if (uses.n)
    qsort(uses.list, uses.n, sizeof *uses.list, by_subject);
  if (r < 0)
    nx_subject_uses_finish(&uses);
  else
    *out = uses;
  return r;
}

int nx_subject_records_of_round(const char *home, const struct nx_withdrawals *withdrawals,
                                uint64_t round, struct nx_subject_uses *out, struct nx_error *err) {
  return collect(home, withdrawals, NULL, round, round, out, err);
}

/* The plan of a round; "" when this node has no record of it. */
static int plan_of(const char *home, uint64_t round, char out[NX_HASH_HEX_SIZE],
                   struct nx_error *err) {
  _cleanup_(nx_tsv_finish) struct nx_tsv table = {0};
  int r = read_table(home, "rounds.tsv", &table, err);
  out[0] = 0;
  for (size_t row = 0; !r && row < table.n_rows; row++)
    if (number_is(&table, row, "round", round))
      snprintf(out, NX_HASH_HEX_SIZE, "%s", cell_of(&table, row, "plan"));
  return r;
}

int nx_subject_records_of_model(const char *home, const struct nx_withdrawals *withdrawals,
                                const struct nx_hash *model, struct nx_subject_uses *out,
                                struct nx_error *err) {
  _cleanup_(nx_tsv_finish) struct nx_tsv table = {0};
  char hex[NX_HASH_HEX_SIZE], plan[NX_HASH_HEX_SIZE];
  nx_hash_hex(model, hex);
  int r = read_table(home, "models.tsv", &table, err);
  for (size_t row = 0; !r && row < table.n_rows; row++) {
    if (strcmp(cell_of(&table, row, "model"), hex) != 0)
      continue;
    uint64_t round = strtoull(cell_of(&table, row, "round"), NULL, 10);
    r = plan_of(home, round, plan, err);
    return r < 0 ? r : collect(home, withdrawals, *plan ? plan : NULL, 0, round, out, err);
  }
  return r < 0 ? r
               : nx_fail(err, NX_E_NOT_FOUND, "no round that this node knows made the model %.12s",
                         hex);
}

void nx_subject_uses_finish(struct nx_subject_uses *uses) {
  free(uses->list);
  memset(uses, 0, sizeof *uses);
}

/* ---- marking ------------------------------------------------------------------------------- */

static bool is_marked(const struct nx_subject_uses *uses, const char *only) {
  if (!only)
    return uses->n_withdrawn > 0;
  for (size_t i = 0; i < uses->n; i++)
    if (uses->list[i].withdrawn && nx_subject_in(uses->list[i].subject, &only, 1))
      return true;
  return false;
}

int nx_subject_records_marked(const char *home, const struct nx_withdrawals *withdrawals,
                              const char *only, struct nx_marked_model **models_out, size_t *n_out,
                              struct nx_error *err) {
  _cleanup_(nx_tsv_finish) struct nx_tsv table = {0};
  struct nx_hash last = {0};
  *models_out = NULL;
  *n_out = 0;
  int r = read_table(home, "models.tsv", &table, err);
  if (r == NX_E_NOT_FOUND)
    return 0;
  struct nx_marked_model *models = r < 0 ? NULL : calloc(table.n_rows + 1, sizeof *models);
  if (!models)
    return r < 0 ? r : nx_fail(err, NX_E_NOMEM, "records: out of memory");
  for (size_t row = 0; row < table.n_rows; row++) {
    _cleanup_(nx_subject_uses_finish) struct nx_subject_uses uses = {0};
    struct nx_marked_model *model = &models[*n_out];
    if (nx_hash_from_hex(cell_of(&table, row, "model"), &model->model, NULL) < 0 ||
        nx_hash_equal(&model->model, &last) || /* an evaluation makes no new version */
        nx_subject_records_of_model(home, withdrawals, &model->model, &uses, NULL) < 0)
      continue;
    last = model->model;
    model->round = strtoull(cell_of(&table, row, "round"), NULL, 10);
    *n_out += is_marked(&uses, only);
  }
  *models_out = models;
  return 0;
}

int nx_subject_records_tell(const char *home, const struct nx_marked_model *models, size_t n,
                            struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer text = {0};
  char path[NX_PATH_SIZE];
  int r = path_of(home, "tell", path, err);
  for (size_t i = 0; r == 0 && i < n; i++)
    r = nx_buffer_append(&text, models[i].model.bytes, sizeof models[i].model.bytes, err);
  return r < 0 ? r : nx_file_replace(path, nx_buffer_view(&text), 0600, err);
}

int nx_subject_records_untold(const char *home, struct nx_hash **models_out, size_t *n_out,
                              int64_t *at_out, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer text = {0};
  char path[NX_PATH_SIZE];
  struct stat status;
  *models_out = NULL;
  *n_out = 0;
  int r = nx_path_join(path, home, NX_HOME_SUBJECTS "/tell", err);
  if (r < 0 || stat(path, &status))
    return r;
  r = nx_file_read(path, (size_t)4 << 20, &text, err);
  if (r < 0)
    return r;
  *models_out = calloc(text.size / NX_HASH_SIZE + 1, sizeof **models_out);
  if (!*models_out)
    return nx_fail(err, NX_E_NOMEM, "records: out of memory");
  *n_out = text.size / NX_HASH_SIZE;
  if (*n_out)
    memcpy(*models_out, text.data, *n_out * NX_HASH_SIZE);
  *at_out = (int64_t)status.st_mtim.tv_sec * 1000000000 + status.st_mtim.tv_nsec;
  return 0;
}

void nx_subject_records_told(const char *home) {
  char path[NX_PATH_SIZE];
  if (nx_path_join(path, home, NX_HOME_SUBJECTS "/tell", NULL) == 0)
    unlink(path);
}

/* ---- is there such a person? --------------------------------------------------------------- */

static bool in_tree(const char *folder, const char *person) {
  _cleanup_(nx_bids_tree_finish) struct nx_bids_tree tree = {0};
  if (nx_bids_tree_read(folder, &tree, NULL) < 0)
    return true; /* not known: no alarm */
  for (size_t i = 0; i < tree.n; i++) {
    const char *subject = nx_bids_entity(&tree.files[i].name, "sub");
    if (subject && nx_subject_in(subject, &person, 1))
      return true;
  }
  return false;
}

static bool in_table(const char *path, const char *person) {
  _cleanup_(nx_tsv_finish) struct nx_tsv table = {0};
  if (nx_tsv_read(path, &table, NULL) < 0)
    return true;
  for (size_t row = 0; row < table.n_rows; row++)
    if (nx_subject_in(cell_of(&table, row, "subject"), &person, 1))
      return true;
  return false;
}

bool nx_subject_has_recordings(const char *folder, const char *person) {
  char path[NX_PATH_SIZE];
  size_t n = strlen(person);
  bool found = false;
  if (nx_bids_is_tree(folder))
    return in_tree(folder, person);
  if (nx_path_join(path, folder, "labels.tsv", NULL) == 0 && nx_path_exists(path))
    return in_table(path, person);
  DIR *files = opendir(folder);
  if (!files)
    return true;
  for (struct dirent *entry; !found && (entry = readdir(files));)
    found = !strncmp(entry->d_name, person, n) && strchr("_.", entry->d_name[n]);
  closedir(files);
  return found;
}
