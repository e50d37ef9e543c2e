/* Verb deidentify: a clean copy of a recording, or of every one of a folder. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "node/recordings/deidentify.h"
#include "node/verbs/verb.h"

static bool is_ours(const char *name) {
  const char *dot = strrchr(name, '.');
  return dot && name[0] != '.' &&
         (!strcasecmp(dot, ".edf") || !strcasecmp(dot, ".bdf") || !strcasecmp(dot, ".vhdr"));
}

static int copy_one(const char *in, const char *out, const struct nx_deidentify_options *options,
                    struct nx_error *err) {
  struct nx_deidentify_counts counts;
  int r = nx_deidentify(in, out, options, &counts, err);
  if (!r)
    printf("%s: samples as they were; annotations: %zu kept, %zu changed or dropped; %zu fields "
           "blanked\n",
           out, counts.annotations_kept, counts.annotations_changed, counts.fields_blanked);
  return r;
}

/* Names of files may be names of people, so copies of a folder are numbered: 0001.edf … */
static int copy_folder(const char *in, const char *out, const struct nx_deidentify_options *options,
                       struct nx_error *err) {
  struct dirent **entries = NULL;
  char from[NX_PATH_SIZE], to[NX_PATH_SIZE], name[32];
  size_t number = 0;
  int r = nx_folder_create(out, 0700, err);
  int n = r < 0 ? 0 : scandir(in, &entries, NULL, alphasort);
  if (n < 0)
    return nx_fail_errno(err, errno, "open the folder %s", in);
  for (int i = 0; i < n; i++) {
    if (!r && is_ours(entries[i]->d_name)) {
      snprintf(name, sizeof name, "%04zu%s", ++number, strrchr(entries[i]->d_name, '.'));
      r = nx_path_join(from, in, entries[i]->d_name, err);
      if (!r)
        r = nx_path_join(to, out, name, err);
      if (!r)
        r = copy_one(from, to, options, err);
    }
    free(entries[i]);
  }
  free(entries);
  if (!r && !number)
    r = nx_fail(err, NX_E_NOT_FOUND, "%s holds no .edf, .bdf or .vhdr", in);
  return r;
}

static int read_rule(const char *word, struct nx_deidentify_options *options,
                     struct nx_error *err) {
  static const char *const words[] = {"scrub", "keep", "drop"};
  for (int i = 0; i < 3; i++)
    if (!strcmp(word, words[i])) {
      options->annotations = (enum nx_annotation_rule)i;
      return 0;
    }
  return nx_fail(err, NX_E_INVALID, "--annotations is scrub, keep or drop");
}

static int run_deidentify(int argc, char *const *argv, struct nx_error *err) {
  const char *paths[2], *rule = "scrub", *code = NULL, *keep = NULL;
  struct nx_deidentify_options options = {0};
  const struct nx_option known[] = {{.name = "annotations", .value = &rule},
                                    {.name = "code", .value = &code},
                                    {.name = "keep", .value = &keep}};
  struct stat status;
  size_t n;
  if (nx_options_parse(argc, argv, known, NX_ARRAY_LENGTH(known), paths, 2, &n, err) < 0 ||
      read_rule(rule, &options, err) < 0)
    return NX_VERB_USAGE;
  if (n != 2) {
    nx_fail(err, NX_E_INVALID, "name two files or two folders: the original and the copy");
    return NX_VERB_USAGE;
  }
  options.code = code;
  options.keep = &keep;
  options.n_keep = keep != NULL;
  if (stat(paths[0], &status))
    return nx_fail_errno(err, errno, "open %s", paths[0]);
  return S_ISDIR(status.st_mode) ? copy_folder(paths[0], paths[1], &options, err)
                                 : copy_one(paths[0], paths[1], &options, err);
}

const struct nx_verb nx_verb_deidentify = {
    .name = "deidentify",
    .summary = "clean copies of EDF, BDF and BrainVision recordings",
    .help =
        "usage: neurox-node deidentify IN OUT [--code CODE] [--annotations scrub|keep|drop]\n"
        "                              [--keep TEXT]\n\n"
        "Writes a copy without names, numbers, dates and comments. Samples and calibration are "
        "the\n"
        "same bit for bit. Nothing is written over, and a copy appears whole or not at all. With\n"
        "two folders every recording right in IN is copied and numbered: 0001.edf, 0002.edf …,\n"
        "for a file's name may be a person's.\n\n"
        "  --code CODE     written for the person (default X)\n"
        "  --annotations   scrub: texts of known words stay (\"eyes open\", \"T1\"), any other "
        "becomes\n"
        "                  \"event\" (default); keep: all stay, you have read them; drop: none\n"
        "  --keep TEXT     a further text that may stay\n",
    .run = run_deidentify,
};
