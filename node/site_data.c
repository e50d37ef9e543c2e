#include "node/site_data.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>

#include "common/file.h"
#include "common/log.h"
#include "common/size.h"
#include "node/dataset/bids_check.h"
#include "node/dataset/cache.h"
#include "node/dataset/signal_files.h"
#include "node/dataset/subjects.h"
#include "node/node_home.h"
#include "node/recordings/sandbox.h"

static void close_folder(DIR **folder) {
  if (*folder)
    closedir(*folder);
}

static int open_whole(const char *path, struct nx_error *err) {
  _cleanup_(nx_recording_closep) struct nx_recording *recording = NULL;
  int r = nx_recording_open_guarded(path, &recording, err);
  if (r < 0)
    return r;
  if (nx_recording_info(recording)->truncated)
    return nx_fail(err, NX_E_FORMAT,
                   "%s: shorter than its header promises (truncated): copy it again, or take it "
                   "out of the folder",
                   path);
  return 0;
}

/* 1: passed over, and named in the log, since it cannot be read and skip_broken says so. */
static int check_file(const char *path, bool skip_broken, struct nx_error *err) {
  int r = open_whole(path, err);
  if (r == 0 || !skip_broken)
    return r;
  NX_LOG(NX_LOG_WARNING, "recording.skipped", NX_STR("why", err ? err->text : ""));
  return 1;
}

/* Every recording of a BIDS tree opens; whether the tree is valid, neurox-node check says. */
static int check_bids(const char *path, bool skip_broken, struct nx_error *err) {
  _cleanup_(nx_bids_tree_finish) struct nx_bids_tree tree = {0};
  size_t n = 0;
  int r = nx_bids_tree_read(path, &tree, err);
  for (size_t i = 0; !r && i < tree.n; i++) {
    char file[NX_PATH_SIZE];
    if (!nx_bids_is_recording(&tree.files[i]) || tree.files[i].folder)
      continue;
    r = nx_path_join(file, path, tree.files[i].path, err);
    if (!r)
      r = check_file(file, skip_broken, err);
    n += r == 0;
    r = NX_MIN(r, 0);
  }
  if (!r && !n)
    r = nx_fail(err, NX_E_NOT_FOUND,
                "%s: the BIDS tree holds no recording that is read here: neurox-node check says "
                "what is in it",
                path);
  return r < 0 ? nx_error_prefix(err, r, "data folder") : 0;
}

int nx_site_data_check(const char *path, bool skip_broken, struct nx_error *err) {
  if (nx_bids_is_tree(path))
    return check_bids(path, skip_broken, err);
  _cleanup_(close_folder) DIR *folder = opendir(path);
  size_t n = 0;
  if (!folder)
    return nx_fail_errno(err, errno, "data folder %s", path);
  for (struct dirent *entry; (entry = readdir(folder));) {
    char file[NX_PATH_SIZE];
    if (!nx_signal_file_is_recording(entry->d_name))
      continue;
    int r = nx_path_join(file, path, entry->d_name, err);
    if (r == 0)
      r = check_file(file, skip_broken, err);
    if (r < 0)
      return nx_error_prefix(err, r, "data folder");
    n += r == 0;
  }
  if (!n)
    return nx_fail(
        err, NX_E_NOT_FOUND,
        "data folder %s: there is no recording in it: put SUBJECT_LABEL.edf files (or .fif, "
        ".mat, .nii.gz …) there, or name another folder",
        path);
  return 0;
}

/* The fold-th person in order of name; files are sorted by subject. person(files, i): the i-th
 * file's, NULL at the end. */
static int person_of_fold(const char *(*person)(const void *files, size_t i), const void *files,
                          uint32_t fold, char out[NX_SUBJECT_SIZE], struct nx_error *err) {
  uint32_t n = 0;
  const char *last = "", *now;
  for (size_t i = 0; (now = person(files, i)); last = now, i++) {
    if (!strcmp(now, last))
      continue;
    if (n++ == fold) {
      memcpy(out, now, NX_SUBJECT_SIZE);
      return 0;
    }
  }
  return nx_fail(err, NX_E_INVALID, "data.held_out_fold is %u, but there are only %u people here",
                 fold, n);
}

static const char *person_of_subjects(const void *files, size_t i) {
  const struct nx_subject_files *list = files;
  return i < list->n ? list->files[i].subject : NULL;
}

static const char *person_of_signals(const void *files, size_t i) {
  const struct nx_signal_files *list = files;
  return i < list->n ? list->files[i].subject : NULL;
}

static int resolve_fold(const struct nx_dataset_options *options, const struct nx_plan *plan,
                        uint32_t fold, char out[NX_SUBJECT_SIZE], struct nx_error *err) {
  _cleanup_(nx_subjects_finish) struct nx_subject_files files = {0};
  _cleanup_(nx_signal_files_finish) struct nx_signal_files signals = {0};
  int r = plan->modalities ? nx_signal_files_list(options, plan, &signals, err)
                           : nx_subjects_list(options, plan, &files, err);
  if (r < 0)
    return r;
  return plan->modalities ? person_of_fold(person_of_signals, &signals, fold, out, err)
                          : person_of_fold(person_of_subjects, &files, fold, out, err);
}

int nx_site_data_describe(const struct nx_node_config_data *data,
                          const struct nx_withdrawals *withdrawals, const struct nx_plan *plan,
                          struct nx_pool *pool, bool any_label, struct nx_site_data_options *out,
                          struct nx_error *err) {
  *out = (struct nx_site_data_options){
      .options = {.folder = data->folder,
                  .allow_identity = data->allow_identifying_headers,
                  .modality = data->modality,
                  .species = data->species,
                  .behaviour = data->behaviour,
                  .skip_broken = data->broken_files == NX_BROKEN_SKIP,
                  .any_label = any_label,
                  .pool = pool}};
  struct nx_dataset_options *options = &out->options;
  options->reader = nx_sandbox_reader(out->reader);
  if (!options->reader)
    NX_LOG(NX_LOG_WARNING, "reader.missing",
           NX_STR("effect", "recordings are parsed inside of the node, without a sandbox"));
  int r = data->held_out_fold ? resolve_fold(options, plan, *data->held_out_fold, out->person, err)
                              : 0;
  if (r < 0)
    return r;
  out->people[0] = out->person;
  options->held_out = data->held_out_fold ? out->people : (const char *const *)data->held_out;
  options->n_held_out = data->held_out_fold ? 1 : data->n_held_out;
  options->withdrawn = (const char *const *)withdrawals->names;
  options->n_withdrawn = withdrawals->n;
  return 0;
}

/* A cache that cannot be used costs time, not the run. NULL: there is none. */
static struct nx_cache *open_cache(const char *home, const struct nx_node_config_data *data,
                                   const struct nx_withdrawals *withdrawals, const char *reader) {
  uint64_t megabytes = data->cache_mb ? *data->cache_mb : NX_CACHE_MB;
  struct nx_cache *cache = NULL;
  struct nx_error err = {0};
  char path[NX_PATH_SIZE];
  if (!home)
    return NULL;
  int r = nx_path_join(path, home, NX_HOME_CACHE, &err);
  if (!r && !megabytes) {
    nx_cache_empty(path);
    return NULL;
  }
  if (!r)
    r = nx_cache_open(path, megabytes * 1000000, reader, &withdrawals->hash, &cache, &err);
  if (r < 0)
    NX_LOG(NX_LOG_WARNING, "cache.unusable", NX_STR("why", err.text),
           NX_STR("effect", "recordings are preprocessed anew every time"));
  return cache;
}

static int open_data(const char *home, const struct nx_node_config_data *data,
                     const struct nx_withdrawals *withdrawals, const struct nx_plan *plan,
                     struct nx_pool *pool, bool any_label, struct nx_dataset **dataset_out,
                     struct nx_error *err) {
  struct nx_site_data_options site;
  int r = nx_site_data_describe(data, withdrawals, plan, pool, any_label, &site, err);
  if (r < 0)
    return r;
  _cleanup_(nx_cache_closep) struct nx_cache *cache =
      open_cache(home, data, withdrawals, site.options.reader);
  site.options.cache = cache;
  return nx_dataset_open(&site.options, plan, dataset_out, err);
}

int nx_site_data_open(const char *home, const struct nx_node_config_data *data,
                      const struct nx_withdrawals *withdrawals, const struct nx_plan *plan,
                      struct nx_pool *pool, struct nx_dataset **dataset_out, struct nx_error *err) {
  return open_data(home, data, withdrawals, plan, pool, false, dataset_out, err);
}

int nx_site_data_open_any(const char *home, const struct nx_node_config_data *data,
                          const struct nx_withdrawals *withdrawals, const struct nx_plan *plan,
                          struct nx_pool *pool, struct nx_dataset **dataset_out,
                          struct nx_error *err) {
  return open_data(home, data, withdrawals, plan, pool, true, dataset_out, err);
}
