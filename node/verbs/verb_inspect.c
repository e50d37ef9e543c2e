/* Verb inspect: what the node's reader sees in a recording, for people or as JSON. */
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>

#include "node/dataset/quality.h"
#include "node/recordings/sandbox.h"
#include "node/verbs/verb.h"

#define EVENTS_SHOWN 10

static void print_channel(const struct nx_channel *channel) {
  printf("  %-16s %-9s %-6s %8.6g Hz %12llu samples", channel->name,
         nx_channel_type_name(channel->type), channel->unit, channel->rate_hz,
         (unsigned long long)channel->n_samples);
  if (channel->frame != NX_FRAME_NONE)
    printf("  at %.1f %.1f %.1f mm", 1e3 * (double)channel->position_m[0],
           1e3 * (double)channel->position_m[1], 1e3 * (double)channel->position_m[2]);
  printf("\n");
}

static void print_recording(const char *path, const struct nx_recording_info *info) {
  printf("%s: %s, %.6g s, %zu channels, %zu events%s%s%s\n", path, info->format, info->duration_s,
         info->n_channels, info->n_events, info->truncated ? ", TRUNCATED" : "",
         info->discontinuous ? ", WITH GAPS" : "", info->synthetic ? ", SYNTHETIC" : "");
  if (info->identity[0])
    printf("  the header holds what looks like a %s: training refuses it until it is cleaned\n",
           info->identity);
  for (size_t i = 0; i < info->n_channels; i++)
    print_channel(&info->channels[i]);
  for (size_t i = 0; i < info->n_events && i < EVENTS_SHOWN; i++)
    printf("  event at %.3f s, %.3f s long: %s\n", info->events[i].onset_s,
           info->events[i].duration_s, info->events[i].text);
  if (info->n_events > EVENTS_SHOWN)
    printf("  and %zu events more\n", info->n_events - EVENTS_SHOWN);
}

/* "flat, noise" */
static void words_of(unsigned reasons, char out[128]) {
  size_t used = 0;
  out[0] = 0;
  for (unsigned bit = 1; bit <= NX_BAD_NOT_A_NUMBER; bit <<= 1)
    if (reasons & bit)
      used += (size_t)snprintf(out + used, 128 - used, "%s%s", used ? ", " : "",
                               nx_bad_reason_name((enum nx_bad_reason)bit));
}

struct judgement {
  size_t n;
  uint32_t picks[NX_RECORDING_CHANNELS];
  struct nx_channel_quality quality[NX_RECORDING_CHANNELS];
};

static void print_quality(const struct nx_recording_info *info, const struct judgement *judged) {
  size_t bad = 0;
  char words[128];
  for (size_t i = 0; i < judged->n; i++)
    bad += judged->quality[i].reasons != 0;
  printf("  quality: %zu of %zu channels are bad%s\n", bad, judged->n, bad ? ":" : "");
  for (size_t i = 0; i < judged->n; i++) {
    const struct nx_channel_quality *q = &judged->quality[i];
    words_of(q->reasons, words);
    if (q->reasons)
      printf("    %-16s %s (amplitude z %.1f, correlation %.2f, noise z %.1f)\n",
             info->channels[judged->picks[i]].name, words, q->deviation_z, q->correlation,
             q->noise_z);
  }
}

static void add_quality(cJSON *json, const struct nx_recording_info *info,
                        const struct judgement *judged) {
  cJSON *bad = cJSON_AddArrayToObject(json, "bad_channels");
  char words[128];
  for (size_t i = 0; i < judged->n; i++)
    if (judged->quality[i].reasons) {
      cJSON *item = cJSON_CreateObject();
      words_of(judged->quality[i].reasons, words);
      cJSON_AddStringToObject(item, "name", info->channels[judged->picks[i]].name);
      cJSON_AddStringToObject(item, "why", words);
      cJSON_AddItemToArray(bad, item);
    }
}

static void add_channels(cJSON *json, const struct nx_recording_info *info) {
  cJSON *channels = cJSON_AddArrayToObject(json, "channels");
  uint64_t samples = 0;
  for (size_t i = 0; i < info->n_channels; i++) {
    const struct nx_channel *channel = &info->channels[i];
    cJSON *item = cJSON_CreateObject();
    cJSON_AddStringToObject(item, "name", channel->name);
    cJSON_AddStringToObject(item, "type", nx_channel_type_name(channel->type));
    cJSON_AddStringToObject(item, "unit", channel->unit);
    cJSON_AddNumberToObject(item, "rate", channel->rate_hz);
    cJSON_AddItemToArray(channels, item);
    samples = NX_MAX(samples, channel->n_samples);
  }
  cJSON_AddNumberToObject(json, "samples", (double)samples);
  cJSON_AddNumberToObject(json, "duration_s", info->duration_s);
  cJSON_AddNumberToObject(json, "events", (double)info->n_events);
}

/* One line a file; refused is null or the reason. */
static int print_json(const struct nx_recording_info *info, const struct judgement *judged,
                      const char *refused, struct nx_error *err) {
  const struct nx_recording_info nothing = {0};
  cJSON *json = cJSON_CreateObject();
  if (info)
    cJSON_AddStringToObject(json, "format", info->format);
  else
    cJSON_AddNullToObject(json, "format");
  add_channels(json, info ? info : &nothing);
  if (judged)
    add_quality(json, info, judged);
  if (info && info->identity[0])
    cJSON_AddStringToObject(json, "identity", info->identity);
  if (refused)
    cJSON_AddStringToObject(json, "refused", refused);
  else
    cJSON_AddNullToObject(json, "refused");
  char *text = cJSON_PrintUnformatted(json);
  cJSON_Delete(json);
  if (!text)
    return nx_fail(err, NX_E_NOMEM, "inspect: out of memory");
  puts(text);
  free(text);
  return 0;
}

static int inspect_file(const char *path, bool json, bool quality, struct nx_error *err) {
  _cleanup_(nx_recording_closep) struct nx_recording *recording = NULL;
  _cleanup_free_ struct judgement *judged = quality ? calloc(1, sizeof *judged) : NULL;
  struct nx_error why = {0};
  int r = nx_recording_open_guarded(path, &recording, &why);
  if (r == 0 && judged)
    r = nx_quality_of_recording(recording, judged->picks, judged->quality, &judged->n, &why);
  if (r < 0) {
    int printed = json ? print_json(NULL, NULL, why.text, err) : 0;
    *err = printed < 0 ? *err : why;
    return r;
  }
  const struct nx_recording_info *info = nx_recording_info(recording);
  if (json)
    return print_json(info, judged, NULL, err);
  print_recording(path, info);
  if (judged)
    print_quality(info, judged);
  return 0;
}

static int run_inspect(int argc, char *const *argv, struct nx_error *err) {
  const char *paths[256];
  bool json = false, quality = false;
  const struct nx_option options[] = {{.name = "json", .flag = &json},
                                      {.name = "quality", .flag = &quality}};
  size_t n_paths;
  if (nx_options_parse(argc, argv, options, NX_ARRAY_LENGTH(options), paths, NX_ARRAY_LENGTH(paths),
                       &n_paths, err) < 0)
    return NX_VERB_USAGE;
  if (!n_paths) {
    nx_fail(err, NX_E_INVALID, "name at least one recording");
    return NX_VERB_USAGE;
  }
  bool refused = false;
  for (size_t i = 0; i < n_paths; i++) {
    struct nx_error one = {0};
    if (inspect_file(paths[i], json, quality, &one) == 0)
      continue;
    if (refused) /* the last one is main's to print */
      fprintf(stderr, "neurox-node: %s\n", err->text);
    refused = true;
    *err = one;
  }
  return refused ? NX_VERB_REFUSED : 0;
}

const struct nx_verb nx_verb_inspect = {
    .name = "inspect",
    .summary = "what a recording holds: channels, units, rates, length",
    .help = "usage: neurox-node inspect [--json] [--quality] FILE…\n\n"
            "Prints what the node's reader sees in a recording: format, length, every channel\n"
            "with its type, unit, rate and place, and the first events. Never a name, a birth\n"
            "date or a start time. Reads EDF, EDF+, BDF, BrainVision, FIF, EEGLAB, MAT 5 and 7.3,\n"
            "NIfTI, npy, SNIRF, NWB and Trodes' tracking; FILE#K is part K (from 0) of one that has\n"
            "several. With --json one line a file: format, channels, samples, duration_s, events,\n"
            "refused. --quality names bad channels by PREP's criteria (flat,\n"
            "clipped, deviation, correlation, noise) over the first ten minutes. Exit code 2\n"
            "when a file is refused, the reason on stderr.\n",
    .run = run_inspect,
};
