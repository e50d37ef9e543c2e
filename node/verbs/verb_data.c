/* Verbs on recordings, which need no federation: inspect, synth, cut. */
#include <stdio.h>

#include "common/size.h"
#include "node/dataset/physionet.h"
#include "node/dataset/synth.h"
#include "node/recordings/sandbox.h"
#include "node/verbs/verb.h"

/* ---- inspect ------------------------------------------------------------------------- */

static void print_channels(const struct nx_recording_info *info) {
  for (size_t i = 0; i < info->n_channels; i++) {
    const struct nx_channel *channel = &info->channels[i];
    printf("  %-16s %-9s %-6s %8.6g Hz %12llu samples\n", channel->name,
           nx_channel_type_name(channel->type), channel->unit, channel->rate_hz,
           (unsigned long long)channel->n_samples);
  }
}

static int inspect_file(const char *path, struct nx_error *err) {
  _cleanup_(nx_recording_closep) struct nx_recording *recording = NULL;
  int r = nx_recording_open_guarded(path, &recording, err);
  if (r < 0)
    return r;
  const struct nx_recording_info *info = nx_recording_info(recording);
  printf("%s: %s, %.6g s, %zu channels, %zu events%s%s\n", path, info->format, info->duration_s,
         info->n_channels, info->n_events, info->truncated ? ", TRUNCATED" : "",
         info->synthetic ? ", SYNTHETIC" : "");
  print_channels(info);
  return 0;
}

static int run_inspect(int argc, char *const *argv, struct nx_error *err) {
  const char *paths[256];
  size_t n_paths;
  if (nx_options_parse(argc, argv, NULL, 0, paths, NX_ARRAY_LENGTH(paths), &n_paths, err) < 0)
    return NX_VERB_USAGE;
  if (!n_paths) {
    nx_fail(err, NX_E_INVALID, "name at least one recording");
    return NX_VERB_USAGE;
  }
  int refused = 0;
  for (size_t i = 0; i < n_paths; i++) {
    struct nx_error one = {0};
    int r = inspect_file(paths[i], &one);
    if (r < 0 && n_paths > 1)
      fprintf(stderr, "neurox-node: %s\n", one.text);
    if (r < 0 && !refused) {
      refused = r;
      *err = one;
    }
  }
  return refused;
}

const struct nx_verb nx_verb_inspect = {
    .name = "inspect",
    .summary = "what a recording holds: channels, units, rates, length",
    .help = "usage: neurox-node inspect FILE…\n\n"
            "Prints what the node's reader sees in a recording: format, length, every channel\n"
            "with its type, unit and rate. Never a name, a birth date or a start time. A file\n"
            "that training would refuse is refused here with the same words.\n",
    .run = run_inspect,
};

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
