#include "node/dataset/survey.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/file.h"
#include "common/size.h"
#include "node/dataset/bids_check_parts.h"
#include "node/dataset/bids_electrodes.h"
#include "node/dataset/survey_parts.h"
#include "node/dataset/tsv.h"
#include "node/recordings/format.h"
#include "node/recordings/sandbox.h"

static const char flat_extensions[] =
    ".edf .bdf .vhdr .set .fif .snirf .nwb .mat .npy .nii .nii.gz";

static bool has_extension(const char *name, const char *list) {
  char lower[24];
  const char *dot = strrchr(name, '.');
  if (dot && dot - name > 4 && !strcasecmp(dot, ".gz") && !strncasecmp(dot - 4, ".nii", 4))
    dot -= 4;
  if (!dot || strlen(dot) >= sizeof lower)
    return false;
  for (size_t i = 0; i <= strlen(dot); i++)
    lower[i] = (char)(dot[i] >= 'A' && dot[i] <= 'Z' ? dot[i] + 32 : dot[i]);
  return nx_word_in(lower, list);
}

bool nx_survey_takes(const struct nx_survey *survey, const struct nx_bids_file *file) {
  if (survey->is_bids)
    return nx_bids_is_recording(file);
  return !file->folder && !strstr(file->path, "_mask.") &&
         nx_recording_allowed(file->path, NULL) == 0 && has_extension(file->path, flat_extensions);
}

/* ---- people and labels ------------------------------------------------------------------ */

static void count_word(struct nx_survey_count *list, size_t *n, size_t most, const char *word) {
  for (size_t i = 0; i < *n; i++)
    if (!strncmp(list[i].word, word, sizeof list[i].word - 1)) {
      list[i].n++;
      return;
    }
  if (*n == most)
    return;
  snprintf(list[*n].word, sizeof list[*n].word, "%s", word);
  list[(*n)++].n = 1;
}

/* The number of a person, from 1. */
static size_t number_of(struct nx_survey *survey, const char *who) {
  for (size_t i = 0; i < survey->n_people; i++)
    if (!strcmp(survey->people[i], who))
      return i + 1;
  char **grown = reallocarray(survey->people, survey->n_people + 1, sizeof *grown);
  if (!grown)
    return 0;
  survey->people = grown;
  grown[survey->n_people] = strdup(who);
  return grown[survey->n_people] ? ++survey->n_people : 0;
}

/* SUBJECT_LABEL.edf, where no table or BIDS name says more. */
static void who_by_name(struct nx_survey *survey, const char *base,
                        struct nx_survey_recording *recording) {
  char stem[256];
  snprintf(stem, sizeof stem, "%s", base);
  char *dot = strrchr(stem, '.');
  if (dot)
    *dot = 0;
  char *line = strrchr(stem, '_');
  if (!line || line == stem)
    return;
  *line = 0;
  recording->person = number_of(survey, stem);
  snprintf(recording->label, sizeof recording->label, "%.39s", line + 1);
  survey->named_labels = true;
}

static void who(struct nx_survey *survey, const struct nx_bids_file *file,
                const struct nx_tsv *table, struct nx_survey_recording *recording) {
  const char *subject = file->named ? nx_bids_entity(&file->name, "sub") : NULL;
  const char *task = file->named ? nx_bids_entity(&file->name, "task") : NULL;
  size_t name = nx_tsv_column(table, "file");
  for (size_t row = 0; row < table->n_rows; row++) {
    const char *is = nx_tsv_cell(table, row, name);
    const char *person = nx_tsv_cell(table, row, nx_tsv_column(table, "subject"));
    const char *label = nx_tsv_cell(table, row, nx_tsv_column(table, "label"));
    if (!is || !person || !label || strcmp(is, file->path) != 0)
      continue;
    recording->person = number_of(survey, person);
    snprintf(recording->label, sizeof recording->label, "%.39s", label);
    return;
  }
  if (subject)
    recording->person = number_of(survey, subject);
  if (task)
    snprintf(recording->label, sizeof recording->label, "%s", task);
  if (!subject)
    who_by_name(survey, nx_bids_base(file), recording);
}

static void count_sexes(struct nx_survey *survey, const struct nx_bids_tree *tree) {
  _cleanup_(nx_tsv_finish) struct nx_tsv table = {0};
  char path[NX_PATH_SIZE];
  if (!nx_bids_find(tree, "participants.tsv") ||
      nx_path_join(path, tree->root, "participants.tsv", NULL) < 0 ||
      nx_tsv_read(path, &table, NULL) < 0)
    return;
  size_t column = nx_tsv_column(&table, "sex");
  for (size_t row = 0; row < table.n_rows && column != NX_TSV_NONE; row++) {
    const char *sex = nx_tsv_cell(&table, row, column);
    const char *word = !sex                   ? "not said"
                       : strchr("fF", sex[0]) ? "female"
                       : strchr("mM", sex[0]) ? "male"
                                              : "other";
    count_word(survey->sexes, &survey->n_sexes, NX_ARRAY_LENGTH(survey->sexes), word);
  }
}

/* ---- channels ------------------------------------------------------------------------------ */

static struct nx_survey_channel *channel_of(struct nx_survey *survey,
                                            const struct nx_channel *channel) {
  const char *type = nx_channel_type_name(channel->type);
  for (size_t i = 0; i < survey->n_channels; i++)
    if (!strcmp(survey->channels[i].name, channel->name) && !strcmp(survey->channels[i].type, type))
      return &survey->channels[i];
  if (survey->n_channels >= NX_RECORDING_CHANNELS)
    return NULL;
  if ((survey->n_channels & (survey->n_channels - 1)) == 0) {
    struct nx_survey_channel *grown = reallocarray(
        survey->channels, survey->n_channels ? 2 * survey->n_channels : 1, sizeof *grown);
    if (!grown)
      return NULL;
    survey->channels = grown;
  }
  struct nx_survey_channel *fresh = &survey->channels[survey->n_channels++];
  memset(fresh, 0, sizeof *fresh);
  snprintf(fresh->name, sizeof fresh->name, "%s", channel->name);
  snprintf(fresh->type, sizeof fresh->type, "%s", type);
  snprintf(fresh->unit, sizeof fresh->unit, "%s", channel->unit);
  return fresh;
}

static void count_channels(struct nx_survey *survey, const struct nx_recording_info *info) {
  for (size_t i = 0; i < info->n_channels; i++) {
    struct nx_survey_channel *channel = channel_of(survey, &info->channels[i]);
    if (channel)
      channel->n_recordings++;
  }
}

static void count_quality(struct nx_survey *survey, const struct nx_recording_info *info,
                          const struct nx_survey_judged *judged,
                          struct nx_survey_recording *recording) {
  for (size_t k = 0; k < judged->n; k++) {
    const struct nx_channel_quality *q = &judged->quality[k];
    struct nx_survey_channel *channel = channel_of(survey, &info->channels[judged->picks[k]]);
    recording->n_bad += q->reasons != 0;
    if (!channel)
      continue;
    channel->n_judged++;
    channel->n_bad += q->reasons != 0;
    channel->amplitude_sum += isfinite(q->amplitude) ? q->amplitude : 0;
    for (int bit = 0; bit < 6; bit++)
      channel->n_reasons[bit] += q->reasons >> bit & 1;
  }
}

/* ---- one recording ------------------------------------------------------------------------- */

static int open_and_judge(struct nx_survey *survey, const struct nx_survey_options *options,
                          const struct nx_bids_file *file, const char *path,
                          struct nx_survey_recording *out, struct nx_error *why) {
  _cleanup_(nx_recording_closep) struct nx_recording *recording = NULL;
  _cleanup_free_ struct nx_survey_judged *judged = calloc(1, sizeof *judged);
  if (!judged)
    return nx_fail(why, NX_E_NOMEM, "out of memory");
  int r = nx_recording_open_guarded(path, &recording, why);
  if (r < 0)
    return r;
  const struct nx_recording_info *info = nx_recording_info(recording);
  snprintf(out->format, sizeof out->format, "%s", info->format);
  out->duration_s = info->duration_s;
  out->n_channels = info->n_channels;
  out->rate_hz = info->n_channels ? info->channels[0].rate_hz : 0;
  out->synthetic = info->synthetic;
  survey->synthetic |= info->synthetic;
  count_channels(survey, info);
  if (info->identity[0])
    nx_findings_add(&survey->findings, NX_FINDING_ERROR, "neurox.identity", file->path,
                    "the header holds what looks like a %s: clean it with neurox-node deidentify",
                    info->identity);
  if (info->truncated)
    return nx_fail(why, NX_E_FORMAT, "shorter than its header promises (truncated): copy it again");
  if (options->no_samples)
    return 0;
  r = nx_quality_of_recording(recording, judged->picks, judged->quality, &judged->n, why);
  if (!r)
    count_quality(survey, info, judged, out);
  return r < 0 ? r : nx_survey_spectra(survey, recording, judged, out, why);
}

/* Every `what` in text becomes `with`. */
static void replace_all(char text[NX_ERROR_TEXT_SIZE], const char *what, const char *with) {
  char out[NX_ERROR_TEXT_SIZE] = "";
  size_t n = strlen(what), used = 0;
  const char *from = text;
  for (const char *at; n && (at = strstr(from, what)) && used < sizeof out; from = at + n)
    used += (size_t)snprintf(out + used, sizeof out - used, "%.*s%s", (int)(at - from), from, with);
  if (used < sizeof out)
    snprintf(out + used, sizeof out - used, "%s", from);
  memcpy(text, out, sizeof out);
}

/* The reason without the names that the layers below put in: the page shows it. */
static void put_reason(const char *words, const char *path, const char *file,
                       char out[NX_ERROR_TEXT_SIZE]) {
  const char *base = strrchr(file, '/');
  char stem[256];
  base = base ? base + 1 : file;
  snprintf(out, NX_ERROR_TEXT_SIZE, "%s", words);
  snprintf(stem, sizeof stem, "%.*s", (int)strcspn(base, "."), base);
  size_t n = strlen(path);
  if (n && !strncmp(out, path, n) && out[n] == ':')
    memmove(out, out + n + 1, strlen(out + n + 1) + 1);
  replace_all(out, path, "the file");
  replace_all(out, base, "the file");
  if (strlen(stem) > 2)
    replace_all(out, stem, "…");
}

static void survey_recording(struct nx_survey *survey, const struct nx_survey_options *options,
                             const struct nx_bids_tree *tree, const struct nx_bids_file *file,
                             const struct nx_tsv *table) {
  struct nx_survey_recording *recording = &survey->recordings[survey->n_recordings];
  struct nx_error why = {0};
  char path[NX_PATH_SIZE] = "";
  recording->path = strdup(file->path);
  if (!recording->path)
    return;
  survey->n_recordings++;
  recording->line50_db = recording->line60_db = NAN;
  who(survey, file, table, recording);
  if (recording->label[0])
    count_word(survey->labels, &survey->n_labels, NX_SURVEY_LABELS, recording->label);
  int r = file->folder ? nx_fail(&why, NX_E_UNSUPPORTED,
                                 "%s is a folder of its vendor, which is not read here: export it "
                                 "as FIF, EDF or BrainVision",
                                 file->name.extension)
          : file->size ? nx_path_join(path, tree->root, file->path, &why)
                       : nx_fail(&why, NX_E_FORMAT, "the file is empty: copy it again");
  if (!r)
    r = open_and_judge(survey, options, file, path, recording, &why);
  if (r == 0 || (options->check.headers_only && !file->size && !file->folder))
    return;
  put_reason(why.text, path, file->path, recording->refused);
  if (!options->check.headers_only)
    nx_findings_add(&survey->findings, NX_FINDING_ERROR, "neurox.unreadable", file->path, "%s",
                    recording->refused);
}

/* ---- the whole ----------------------------------------------------------------------------- */

static int survey_recordings(struct nx_survey *survey, const struct nx_survey_options *options,
                             const struct nx_bids_tree *tree, struct nx_error *err) {
  _cleanup_(nx_tsv_finish) struct nx_tsv table = {0};
  char path[NX_PATH_SIZE];
  size_t total = 0, done = 0;
  for (size_t i = 0; i < tree->n; i++)
    total += nx_survey_takes(survey, &tree->files[i]);
  survey->recordings = calloc(total + 1, sizeof *survey->recordings);
  if (!survey->recordings)
    return nx_fail(err, NX_E_NOMEM, "survey: out of memory");
  if (nx_bids_find(tree, "labels.tsv") && nx_path_join(path, tree->root, "labels.tsv", NULL) == 0)
    nx_tsv_read(path, &table, NULL);
  for (size_t i = 0; i < tree->n; i++) {
    if (!nx_survey_takes(survey, &tree->files[i]))
      continue;
    if (options->progress)
      options->progress(options->context, done, total);
    survey_recording(survey, options, tree, &tree->files[i], &table);
    done++;
  }
  if (options->progress)
    options->progress(options->context, done, total);
  if (!total)
    nx_findings_add(&survey->findings, NX_FINDING_ERROR, "neurox.no-recordings", ".",
                    "nothing here is a recording that is read: see docs/recordings.md for the "
                    "formats");
  return 0;
}

static void name_folder(struct nx_survey *survey, const char *folder) {
  char real[NX_PATH_SIZE];
  const char *base = realpath(folder, real) ? strrchr(real, '/') : NULL;
  snprintf(survey->folder_name, sizeof survey->folder_name, "%.63s", base ? base + 1 : folder);
}

/* A folder that is no BIDS tree may still hold BIDS's tables beside its recordings. */
static void check_flat(const struct nx_bids_tree *tree, struct nx_findings *findings) {
  for (size_t i = 0; i < tree->n; i++) {
    const struct nx_bids_file *file = &tree->files[i];
    if (file->named && !strcmp(file->name.suffix, "electrodes") &&
        !strcmp(file->name.extension, ".tsv"))
      nx_bids_check_electrodes(tree, file, findings);
  }
}

int nx_survey(const char *folder, const struct nx_survey_options *options,
              struct nx_survey *survey_out, struct nx_error *err) {
  _cleanup_(nx_bids_tree_finish) struct nx_bids_tree tree = {0};
  struct nx_survey survey = {.is_bids = nx_bids_is_tree(folder)};
  int r = nx_bids_tree_read(folder, &tree, err);
  if (r < 0)
    return r;
  name_folder(&survey, folder);
  for (size_t i = 0; !survey.is_bids && i < tree.n; i++)
    survey.is_bids = !strncmp(tree.files[i].path, "sub-", 4) && strchr(tree.files[i].path, '/');
  if (survey.is_bids)
    r = nx_bids_check(&tree, &options->check, &survey.findings, err);
  else
    check_flat(&tree, &survey.findings);
  if (!r)
    r = survey_recordings(&survey, options, &tree, err);
  if (!r) {
    count_sexes(&survey, &tree);
    r = nx_survey_places(&survey, &tree, err);
  }
  if (r < 0)
    nx_survey_finish(&survey);
  else
    *survey_out = survey;
  return r;
}

bool nx_survey_valid(const struct nx_survey *survey) {
  return nx_findings_count(&survey->findings, NX_FINDING_ERROR, true) == 0;
}

bool nx_survey_ready(const struct nx_survey *survey) {
  return nx_survey_valid(survey) &&
         nx_findings_count(&survey->findings, NX_FINDING_ERROR, false) == 0;
}

void nx_survey_finish(struct nx_survey *survey) {
  for (size_t i = 0; i < survey->n_people; i++)
    free(survey->people[i]);
  for (size_t i = 0; i < survey->n_recordings; i++)
    free(survey->recordings[i].path);
  free(survey->people);
  free(survey->recordings);
  free(survey->channels);
  free(survey->places);
  nx_findings_finish(&survey->findings);
  memset(survey, 0, sizeof *survey);
}
