#include "node/dataset/bids_tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/file.h"
#include "common/size.h"

#define FILES_CAP 1000000
#define DEPTH_CAP 16
#define IGNORE_CAP 256

struct walk {
  struct nx_bids_tree *tree;
  struct nx_buffer ignore_text;
  char *ignore[IGNORE_CAP];
  size_t n_ignore;
  char real_root[NX_PATH_SIZE];
};

static const char *const left_out[] = {"derivatives", "sourcedata", "code",
                                       "stimuli",     "docs",       "logs"};
static const char *const opaque[] = {".ds", ".mefd", ".zarr", ".ome.zarr"};

bool nx_bids_is_tree(const char *folder) {
  char path[NX_PATH_SIZE];
  if (nx_path_join(path, folder, "dataset_description.json", NULL) == 0 && nx_path_exists(path))
    return true;
  return nx_path_join(path, folder, "participants.tsv", NULL) == 0 && nx_path_exists(path);
}

static int read_ignore(struct walk *walk, struct nx_error *err) {
  char path[NX_PATH_SIZE];
  int r = nx_path_join(path, walk->tree->root, ".bidsignore", err);
  if (r < 0 || !nx_path_exists(path))
    return r;
  r = nx_file_read(path, 1 << 20, &walk->ignore_text, err);
  if (!r)
    r = nx_buffer_append(&walk->ignore_text, "", 1, err);
  char *rest = (char *)walk->ignore_text.data;
  for (char *line; !r && (line = strsep(&rest, "\n"));) {
    line[strcspn(line, "\r")] = 0;
    if (*line && *line != '#' && walk->n_ignore < IGNORE_CAP)
      walk->ignore[walk->n_ignore++] = line;
  }
  return r;
}

/* gitignore's rules without "!": a pattern with a slash is anchored, one without fits any name. */
static bool is_ignored(const struct walk *walk, const char *path, bool folder) {
  const char *base = strrchr(path, '/');
  base = base ? base + 1 : path;
  for (size_t i = 0; i < walk->n_ignore; i++) {
    char pattern[NX_PATH_SIZE];
    snprintf(pattern, sizeof pattern, "%s", walk->ignore[i]);
    size_t n = strlen(pattern);
    bool only_folders = n && pattern[n - 1] == '/';
    if (only_folders)
      pattern[n - 1] = 0;
    if (only_folders && !folder)
      continue;
    const char *from = pattern;
    if (!strncmp(from, "**/", 3))
      from += 3;
    bool anchored = strchr(from, '/') != NULL;
    from += *from == '/';
    if (!fnmatch(from, anchored ? path : base, anchored ? FNM_PATHNAME : 0))
      return true;
  }
  return false;
}

static bool is_opaque(const char *name) {
  const char *dot = strrchr(name, '.');
  for (size_t i = 0; dot && i < NX_ARRAY_LENGTH(opaque); i++)
    if (!strcmp(dot, opaque[i]))
      return true;
  return false;
}

/* The folder below sub-… or ses-… that a path lies in. */
static void find_datatype(struct nx_bids_file *file) {
  const char *end = strrchr(file->path, '/');
  const char *start = file->path;
  for (const char *p = file->path; end && p < end; p++)
    if (*p == '/')
      start = p + 1;
  size_t n = end ? (size_t)(end - start) : 0;
  if (n && n < sizeof file->datatype && strncmp(start, "sub-", 4) && strncmp(start, "ses-", 4))
    memcpy(file->datatype, start, n);
}

static int add(struct walk *walk, const char *path, const struct stat *status,
               struct nx_error *err) {
  struct nx_bids_tree *tree = walk->tree;
  if (tree->n >= FILES_CAP)
    return nx_fail(err, NX_E_LIMIT, "%s has more than %d files", tree->root, FILES_CAP);
  if ((tree->n & (tree->n - 1)) == 0) {
    struct nx_bids_file *grown =
        reallocarray(tree->files, tree->n ? 2 * tree->n : 1, sizeof *grown);
    if (!grown)
      return nx_fail(err, NX_E_NOMEM, "list of files: out of memory");
    tree->files = grown;
  }
  struct nx_bids_file *file = &tree->files[tree->n];
  *file = (struct nx_bids_file){
      .path = strdup(path), .size = (uint64_t)status->st_size, .folder = S_ISDIR(status->st_mode)};
  if (!file->path)
    return nx_fail(err, NX_E_NOMEM, "list of files: out of memory");
  tree->n++;
  find_datatype(file);
  file->named = nx_bids_name_parse(nx_bids_base(file), &file->name);
  return 0;
}

/* Links are followed within the tree (git-annex, shared originals beside) only where they end
 * inside of it; a link to elsewhere is not part of what was given. */
static bool leads_out(const struct walk *walk, const char *full) {
  char real[NX_PATH_SIZE];
  size_t n = strlen(walk->real_root);
  struct stat status;
  if (lstat(full, &status) || !S_ISLNK(status.st_mode))
    return false;
  return !realpath(full, real) || strncmp(real, walk->real_root, n) || real[n] != '/';
}

static int visit(struct walk *walk, const char *folder, int depth, struct nx_error *err);

static int visit_entry(struct walk *walk, const char *folder, const char *name, int depth,
                       struct nx_error *err) {
  char path[NX_PATH_SIZE], full[NX_PATH_SIZE];
  struct stat status;
  if (name[0] == '.')
    return 0;
  for (size_t i = 0; !depth && i < NX_ARRAY_LENGTH(left_out); i++)
    if (!strcmp(name, left_out[i]))
      return 0;
  int r = *folder ? nx_path_join(path, folder, name, err)
                  : (snprintf(path, sizeof path, "%s", name), 0);
  if (!r)
    r = nx_path_join(full, walk->tree->root, path, err);
  if (r < 0)
    return r;
  if (leads_out(walk, full) || stat(full, &status))
    return 0;
  bool is_folder = S_ISDIR(status.st_mode);
  if (is_ignored(walk, path, is_folder) || (!is_folder && !S_ISREG(status.st_mode)))
    return 0;
  return is_folder && !is_opaque(name) ? visit(walk, path, depth + 1, err)
                                       : add(walk, path, &status, err);
}

static int visit(struct walk *walk, const char *folder, int depth, struct nx_error *err) {
  char full[NX_PATH_SIZE];
  if (depth > DEPTH_CAP)
    return nx_fail(err, NX_E_LIMIT, "%s: folders more than %d deep", folder, DEPTH_CAP);
  int r = *folder ? nx_path_join(full, walk->tree->root, folder, err)
                  : (snprintf(full, sizeof full, "%s", walk->tree->root), 0);
  if (r < 0)
    return r;
  DIR *open = opendir(full);
  if (!open)
    return nx_fail_errno(err, errno, "open the folder %s", full);
  for (struct dirent *entry; !r && (entry = readdir(open));)
    r = visit_entry(walk, folder, entry->d_name, depth, err);
  closedir(open);
  return r;
}

static size_t folder_size(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash ? (size_t)(slash - path) + 1 : 0;
}

static int compare_folders(const char *a, size_t n_a, const char *b, size_t n_b) {
  int order = memcmp(a, b, NX_MIN(n_a, n_b));
  return order ? order : (n_a > n_b) - (n_a < n_b);
}

/* By folder, then by name: the files of one folder lie together. */
static int by_path(const void *a, const void *b) {
  const char *x = ((const struct nx_bids_file *)a)->path;
  const char *y = ((const struct nx_bids_file *)b)->path;
  size_t n_x = folder_size(x), n_y = folder_size(y);
  int order = compare_folders(x, n_x, y, n_y);
  return order ? order : strcmp(x + n_x, y + n_y);
}

const struct nx_bids_file *nx_bids_folder(const struct nx_bids_tree *tree, const char *folder,
                                          size_t size, size_t *n_out) {
  size_t low = 0, high = tree->n, end;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    const char *path = tree->files[middle].path;
    if (compare_folders(path, folder_size(path), folder, size) < 0)
      low = middle + 1;
    else
      high = middle;
  }
  for (end = low; end < tree->n; end++) {
    const char *path = tree->files[end].path;
    if (compare_folders(path, folder_size(path), folder, size))
      break;
  }
  *n_out = end - low;
  return tree->n ? tree->files + low : NULL;
}

int nx_bids_tree_read(const char *root, struct nx_bids_tree *tree_out, struct nx_error *err) {
  struct nx_bids_tree tree = {.root = strdup(root)};
  struct walk walk = {.tree = &tree};
  int r = tree.root ? 0 : nx_fail(err, NX_E_NOMEM, "list of files: out of memory");
  if (!r && !realpath(root, walk.real_root))
    r = nx_fail_errno(err, errno, "open the folder %s", root);
  if (!r)
    r = read_ignore(&walk, err);
  if (!r)
    r = visit(&walk, "", 0, err);
  nx_buffer_finish(&walk.ignore_text);
  if (tree.n)
    qsort(tree.files, tree.n, sizeof *tree.files, by_path);
  if (r < 0)
    nx_bids_tree_finish(&tree);
  else
    *tree_out = tree;
  return r;
}

void nx_bids_tree_finish(struct nx_bids_tree *tree) {
  for (size_t i = 0; i < tree->n; i++)
    free(tree->files[i].path);
  free(tree->files);
  free(tree->root);
  memset(tree, 0, sizeof *tree);
}

const struct nx_bids_file *nx_bids_find(const struct nx_bids_tree *tree, const char *path) {
  const struct nx_bids_file key = {.path = (char *)(uintptr_t)path};
  return tree->n ? bsearch(&key, tree->files, tree->n, sizeof key, by_path) : NULL;
}

const char *nx_bids_base(const struct nx_bids_file *file) {
  const char *slash = strrchr(file->path, '/');
  return slash ? slash + 1 : file->path;
}
