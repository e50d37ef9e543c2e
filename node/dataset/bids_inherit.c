/* The inheritance principle (BIDS 1.11, "The inheritance principle"). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "node/dataset/bids_tree.h"

#define JSON_CAP ((size_t)16 << 20)

static bool is_applicable(const struct nx_bids_file *candidate, const struct nx_bids_file *file,
                          const char *suffix, const char *extension) {
  bool spaced = !strcmp(suffix, "electrodes") || !strcmp(suffix, "coordsystem");
  return candidate->named && !strcmp(candidate->name.suffix, suffix) &&
         !strcmp(candidate->name.extension, extension) &&
         nx_bids_applies(&candidate->name, &file->name, spaced ? "space" : NULL);
}

/* The applicable file with the most entities right in the folder path[0 .. size). */
static const struct nx_bids_file *in_folder(const struct nx_bids_tree *tree, size_t size,
                                            const struct nx_bids_file *file, const char *suffix,
                                            const char *extension) {
  const struct nx_bids_file *best = NULL;
  size_t n;
  const struct nx_bids_file *files = nx_bids_folder(tree, file->path, size, &n);
  for (size_t i = 0; i < n; i++)
    if (is_applicable(&files[i], file, suffix, extension) &&
        (!best || files[i].name.n > best->name.n))
      best = &files[i];
  return best;
}

/* Cuts the last folder off: "a/b/" (4) → "a/" (2) → "" (0); false at the root. */
static bool go_up(const char *path, size_t *size) {
  if (*size == 0)
    return false;
  size_t n = *size - 1;
  while (n && path[n - 1] != '/')
    n--;
  *size = n;
  return true;
}

static size_t folder_size(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash ? (size_t)(slash - path) + 1 : 0;
}

const struct nx_bids_file *nx_bids_inherited(const struct nx_bids_tree *tree,
                                             const struct nx_bids_file *file, const char *suffix,
                                             const char *extension) {
  size_t size = folder_size(file->path);
  do {
    const struct nx_bids_file *found = in_folder(tree, size, file, suffix, extension);
    if (found)
      return found;
  } while (go_up(file->path, &size));
  return NULL;
}

int nx_bids_json(const struct nx_bids_tree *tree, const char *path, cJSON **out,
                 struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer text = {0};
  char full[NX_PATH_SIZE];
  int r = nx_path_join(full, tree->root, path, err);
  if (!r)
    r = nx_file_read(full, JSON_CAP, &text, err);
  if (!r)
    r = nx_buffer_append(&text, "", 1, err);
  if (r < 0)
    return r;
  *out = cJSON_ParseWithLengthOpts((const char *)text.data, text.size, NULL, true);
  if (!*out)
    return nx_fail(err, NX_E_FORMAT, "%s: is no JSON", path);
  return 0;
}

static int merge(cJSON *into, const cJSON *from, struct nx_error *err) {
  for (const cJSON *item = from->child; item; item = item->next) {
    if (!item->string || cJSON_GetObjectItemCaseSensitive(into, item->string))
      continue; /* what is nearer is there already */
    cJSON *copy = cJSON_Duplicate(item, true);
    if (!copy || !cJSON_AddItemToObject(into, item->string, copy)) {
      cJSON_Delete(copy);
      return nx_fail(err, NX_E_NOMEM, "sidecar: out of memory");
    }
  }
  return 0;
}

/* What `path` says and `merged` does not say yet. */
static int merge_file(const struct nx_bids_tree *tree, const char *path, cJSON *merged,
                      struct nx_error *err) {
  cJSON *json = NULL;
  int r = nx_bids_json(tree, path, &json, err);
  if (!r && !cJSON_IsObject(json))
    r = nx_fail(err, NX_E_FORMAT, "%s: is no JSON object", path);
  if (!r)
    r = merge(merged, json, err);
  cJSON_Delete(json);
  return r;
}

int nx_bids_sidecar(const struct nx_bids_tree *tree, const struct nx_bids_file *file,
                    cJSON **merged_out, struct nx_error *err) {
  cJSON *merged = cJSON_CreateObject();
  int r = merged ? 0 : nx_fail(err, NX_E_NOMEM, "sidecar: out of memory");
  size_t size = folder_size(file->path);
  do {
    const struct nx_bids_file *found = in_folder(tree, size, file, file->name.suffix, ".json");
    if (!r && found)
      r = merge_file(tree, found->path, merged, err);
  } while (!r && go_up(file->path, &size));
  if (r < 0)
    cJSON_Delete(merged);
  else
    *merged_out = merged;
  return r;
}
