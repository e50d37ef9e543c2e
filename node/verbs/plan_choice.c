#include "node/verbs/plan_choice.h"

#include <ctype.h>
#include <dirent.h>
#include <string.h>
#include <strings.h>

#include "common/config.h"
#include "common/file.h"
#include "common/plan_aux.h"
#include "crypto/upload.h"
#include "models/model.h"

#define PREFIX_LEAST 6

static void close_folder(DIR **folder) {
  if (*folder)
    closedir(*folder);
}

static bool is_prefix(const char *which) {
  size_t n = strlen(which);
  for (const char *c = which; *c; c++)
    if (!isxdigit((unsigned char)*c))
      return false;
  return n >= PREFIX_LEAST && n < NX_HASH_HEX_SIZE;
}

/* The one file of the folder whose name begins so. */
static int find(const char *path, const char *which, char out[NX_PATH_SIZE], struct nx_error *err) {
  _cleanup_(close_folder) DIR *folder = opendir(path);
  struct nx_hash hash;
  size_t n = 0;
  for (struct dirent *entry; folder && (entry = readdir(folder));)
    if (!strncasecmp(entry->d_name, which, strlen(which)) &&
        nx_hash_from_hex(entry->d_name, &hash, NULL) == 0) {
      int r = nx_path_join(out, path, entry->d_name, err);
      if (r < 0)
        return r;
      n++;
    }
  if (n > 1)
    return nx_fail(err, NX_E_INVALID, "%zu plans begin with %s: give more digits", n, which);
  return n ? 0
           : nx_fail(
                 err, NX_E_NOT_FOUND,
                 "no plan here begins with %s (neurox-node plan list), and no file is called so",
                 which);
}

int nx_plan_choose(const char *folder, const char *which, struct nx_plan_choice *out,
                   struct nx_error *err) {
  char path[NX_PATH_SIZE];
  int r = 0;
  if (is_prefix(which) && !nx_path_exists(which)) {
    r = find(folder, which, path, err);
    which = path;
  }
  if (r == 0)
    r = nx_file_read(which, NX_CONFIG_CAP, &out->text, err);
  if (r == 0)
    r = nx_plan_parse(which, nx_buffer_view(&out->text), &out->plan, err);
  if (r == 0)
    r = nx_plan_keys(nx_buffer_view(&out->text), &out->keys, err);
  if (r < 0)
    return r;
  out->hash = nx_sha256(out->text.data, out->text.size);
  return 0;
}

int nx_plan_choice_facts(const struct nx_plan_choice *choice, struct nx_plan_facts *out,
                         struct nx_error *err) {
  _cleanup_(nx_model_destroyp) struct nx_model *model = NULL;
  int r = nx_model_create(choice->plan, &model, err);
  if (r < 0)
    return r;
  const struct nx_upload_layout layout = {
      .n_lanes = model->n_params,
      .ring_bits = choice->plan->aggregation.ring_bits,
      .n_aux = nx_plan_aux_lanes(choice->plan, NX_ROUND_TRAIN, model->n_features)};
  r = nx_upload_layout_check(&layout, err);
  if (r == 0)
    *out = (struct nx_plan_facts){model->n_params, nx_upload_bytes(&layout)};
  return r;
}

void nx_plan_choice_finish(struct nx_plan_choice *choice) {
  nx_plan_destroy(choice->plan);
  nx_buffer_finish(&choice->text);
  nx_plan_keys_finish(&choice->keys);
  *choice = (struct nx_plan_choice){0};
}
