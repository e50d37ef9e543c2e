/* Verb backup: a copy of the federation's folder that can be served as it is, made while the
 * coordinator runs. The store is copied first, by SQLite; everything after it only grows, so
 * that the copy holds whatever its store speaks of. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "coordinator/store/run_store.h"
#include "coordinator/verbs/coordinator_verb.h"

struct copied {
  uint64_t files, bytes;
  int64_t next_word; /* when to say again how far it is */
  size_t skip;       /* length of the source's path: what follows is the name inside */
};

/* The masked uploads of the present round are sent again; SQLite's own files are inside the copy
 * of the store already. */
static bool is_left_out(const char *name) {
  return !strcmp(name, "/store.sqlite") || !strncmp(name, "/store.sqlite-", 14) ||
         !strncmp(name, "/store.sqlite.", 14) || !strcmp(name, "/uploads") ||
         !strcmp(name, "/lock");
}

static int copy_bytes(int in, int out, off_t size, struct copied *copied) {
  while (size > 0) {
    ssize_t n = sendfile(out, in, NULL, (size_t)NX_MIN(size, (off_t)8 << 20));
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return n < 0 ? -errno : 0; /* shorter than it was: it was replaced, and this is the old one */
    size -= n;
    copied->bytes += (uint64_t)n;
    if (nx_clock_monotonic() > copied->next_word) {
      fprintf(stderr, "backup: %llu files, %.1f MB\n", (unsigned long long)copied->files,
              (double)copied->bytes / 1e6);
      copied->next_word = nx_clock_monotonic() + 2 * NX_SECOND;
    }
  }
  return 0;
}

static int copy_file(const char *from, const char *to, struct copied *copied,
                     struct nx_error *err) {
  struct stat st;
  _cleanup_fd_ int in = open(from, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (in < 0 && errno == ENOENT)
    return 0; /* gone since the folder was read */
  if (in < 0 || fstat(in, &st))
    return nx_fail_errno(err, errno, "read %s", from);
  _cleanup_fd_ int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, st.st_mode & 0700);
  if (out < 0)
    return nx_fail_errno(err, errno, "create %s", to);
  int r = copy_bytes(in, out, st.st_size, copied);
  if (r < 0 || fsync(out))
    return nx_fail_errno(err, r < 0 ? -r : errno, "write %s", to);
  copied->files++;
  return 0;
}

static int copy_folder(const char *from, const char *to, struct copied *copied,
                       struct nx_error *err);

static int copy_entry(const char *from, const char *to, struct copied *copied,
                      struct nx_error *err) {
  struct stat st;
  if (is_left_out(from + copied->skip))
    return 0;
  if (lstat(from, &st))
    return errno == ENOENT ? 0 : nx_fail_errno(err, errno, "look at %s", from);
  if (S_ISDIR(st.st_mode))
    return copy_folder(from, to, copied, err);
  return S_ISREG(st.st_mode) ? copy_file(from, to, copied, err) : 0;
}

static int copy_folder(const char *from, const char *to, struct copied *copied,
                       struct nx_error *err) {
  DIR *folder = opendir(from);
  if (!folder)
    return nx_fail_errno(err, errno, "open %s", from);
  int r = nx_path_exists(to) ? 0 : nx_folder_create(to, 0700, err);
  for (struct dirent *entry; r == 0 && (entry = readdir(folder));) {
    char a[NX_PATH_SIZE], b[NX_PATH_SIZE];
    if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
      continue;
    if ((r = nx_path_join(a, from, entry->d_name, err)) == 0 &&
        (r = nx_path_join(b, to, entry->d_name, err)) == 0)
      r = copy_entry(a, b, copied, err);
  }
  closedir(folder);
  return r < 0 ? r : nx_file_sync_folder_of(to, err);
}

static int copy_store(const char *home, const char *to, struct nx_error *err) {
  _cleanup_(nx_run_store_destroyp) struct nx_run_store *store = NULL;
  char path[NX_PATH_SIZE];
  int r = nx_path_join(path, home, "store.sqlite", err);
  if (r < 0 || (r = nx_run_store_open(path, &store, err)) < 0 ||
      (r = nx_path_join(path, to, "store.sqlite", err)) < 0)
    return r;
  return nx_run_store_back_up(store, path, err);
}

/* OUT appears whole or not at all. */
static int make(const char *home, const char *out, struct copied *copied, struct nx_error *err) {
  char part[NX_PATH_SIZE];
  if (nx_path_exists(out))
    return nx_fail(err, NX_E_EXISTS, "%s is there already: name a folder that is not", out);
  if (snprintf(part, sizeof part, "%s.part-%d", out, (int)getpid()) >= (int)sizeof part)
    return nx_fail(err, NX_E_LIMIT, "path is too long: %.64s…", out);
  int r = nx_folder_create(part, 0700, err);
  if (r < 0)
    return r;
  if ((r = copy_store(home, part, err)) < 0 || (r = copy_folder(home, part, copied, err)) < 0)
    return nx_error_prefix(err, r, "what there is of it is in %s", part);
  if (rename(part, out))
    return nx_fail_errno(err, errno, "rename %s to %s", part, out);
  return nx_file_sync_folder_of(out, err);
}

static int run_backup(int argc, char *const *argv, struct nx_error *err) {
  const char *given = NX_COORDINATOR_HOME, *words[1];
  const struct nx_option options[] = {{.name = "home", .value = &given}};
  char home[NX_PATH_SIZE];
  size_t n_words;
  if (nx_options_parse(argc, argv, options, 1, words, 1, &n_words, err) < 0 ||
      nx_verb_home(given, home, err) < 0)
    return NX_VERB_USAGE;
  if (n_words != 1) {
    nx_fail(err, NX_E_INVALID, "name the folder to write");
    return NX_VERB_USAGE;
  }
  struct copied copied = {.skip = strlen(home), .next_word = nx_clock_monotonic() + 2 * NX_SECOND};
  int r = make(home, words[0], &copied, err);
  if (r < 0)
    return nx_error_prefix(err, r, "back up %s", home);
  printf("backup: %s\nfiles: %llu\nmegabytes: %.1f\n\n"
         "It holds this federation's keys: keep it as you keep them. To go back to it, stop the\n"
         "coordinator, put the folder where %s was, and serve it.\n",
         words[0], (unsigned long long)copied.files + 1, (double)copied.bytes / 1e6, home);
  return 0;
}

const struct nx_coordinator_verb nx_coordinator_backup = {
    .name = "backup",
    .summary = "copy the federation's folder, also while it is served",
    .help = "usage: neurox-coordinator backup DIR [--home DIR]\n\n"
            "Makes DIR, a folder that can be served in the place of the one it was copied from:\n"
            "store, models, audit log and keys; masked uploads are left out. The coordinator may\n"
            "run meanwhile. Rounds that members sealed after the backup are not in it: when it is\n"
            "served, start a plan anew, and its rounds are numbered behind theirs.\n\n"
            NX_HELP_COORDINATOR_HOME,
    .run = run_backup,
};
