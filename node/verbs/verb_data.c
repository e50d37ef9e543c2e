/* Verbs that make recordings and need no federation: synth, cut. */
#include <stdio.h>

#include "common/size.h"
#include "node/dataset/physionet.h"
#include "node/dataset/synth.h"
#include "node/verbs/verb.h"

/* ---- synth --------------------------------------------------------------------------- */

static int run_synth(int argc, char *const *argv, struct nx_error *err) {
  const char *out = NULL, *subjects = "6", *first = "0", *seconds = "60", *seed = "1";
  const struct nx_option options[] = {
      {.name = "out", .value = &out},     {.name = "subjects", .value = &subjects},
      {.name = "first", .value = &first}, {.name = "seconds", .value = &seconds},
      {.name = "seed", .value = &seed},
  };
  uint64_t n = 0, from = 0, length = 0, number = 0;
  size_t n_words;
  if (nx_options_parse(argc, argv, options, NX_ARRAY_LENGTH(options), NULL, 0, &n_words, err) < 0 ||
      nx_option_number("subjects", subjects, 1, 1000, &n, err) < 0 ||
      nx_option_number("first", first, 0, 100000, &from, err) < 0 ||
      nx_option_number("seconds", seconds, 10, 3600, &length, err) < 0 ||
      nx_option_number("seed", seed, 0, UINT64_MAX, &number, err) < 0)
    return NX_VERB_USAGE;
  if (!out) {
    nx_fail(err, NX_E_INVALID, "--out DIR says where the files go");
    return NX_VERB_USAGE;
  }
  const struct nx_synth_options synth = {.folder = out,
                                         .n_subjects = n,
                                         .first_subject = (uint32_t)from,
                                         .seconds = (uint32_t)length,
                                         .seed = number};
  int r = nx_synth(&synth, err);
  if (r == 0)
    printf("synthetic: %llu people, 2 recordings each, in %s\n", (unsigned long long)n, out);
  return r;
}

const struct nx_verb nx_verb_synth = {
    .name = "synth",
    .summary = "a generated cohort of EDF files, marked synthetic everywhere",
    .help =
        "usage: neurox-node synth --out DIR [--subjects N] [--first K] [--seconds S] [--seed X]\n\n"
        "Writes SubjectNN_rest.edf and SubjectNN_arith.edf for N people (default 6) from\n"
        "number K (0), S seconds each (60): 1/f background, an alpha rhythm that drops with\n"
        "task load, line noise, blinks. Every file says SYNTHETIC, and so does everything\n"
        "that is computed from it. The same seed gives the same files.\n",
    .run = run_synth,
};

/* ---- cut ----------------------------------------------------------------------------- */

static int run_cut(int argc, char *const *argv, struct nx_error *err) {
  const char *folders[2];
  size_t n_folders, n_files = 0;
  if (nx_options_parse(argc, argv, NULL, 0, folders, 2, &n_folders, err) < 0)
    return NX_VERB_USAGE;
  if (n_folders != 2) {
    nx_fail(err, NX_E_INVALID, "name two folders: the originals and where the cuts go");
    return NX_VERB_USAGE;
  }
  int r = nx_physionet_cut(folders[0], folders[1], NULL, &n_files, err);
  if (r == 0)
    printf("%zu recordings in %s\n", n_files, folders[1]);
  return r;
}

const struct nx_verb nx_verb_cut = {
    .name = "cut",
    .summary = "EEGMAT's 500 Hz originals to the 100 Hz cuts of the demo",
    .help = "usage: neurox-node cut ORIGINALS OUT\n\n"
            "Reads SubjectNN_1.edf (rest) and SubjectNN_2.edf (arithmetic) of PhysioNet's EEGMAT\n"
            "1.0.0 and writes SubjectNN_rest.edf, the 60 s that end 1 s before the end, and\n"
            "SubjectNN_arith.edf, the first 60 s: 19 EEG channels, 100 Hz. Existing cuts stay.\n",
    .run = run_cut,
};
