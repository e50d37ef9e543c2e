#include "node/dataset/fit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/size.h"
#include "node/dataset/behaviour.h"
#include "node/dataset/load.h"
#include "node/dataset/montage.h"
#include "node/dataset/signal_files.h"
#include "node/dataset/signal_load.h"
#include "node/dataset/signal_set.h"
#include "node/dataset/subjects.h"

/* ---- rules that training applies, too -------------------------------------------------------- */

int nx_fit_kind(const char *key, const char *plan, const char *site, const char **word_out,
                struct nx_error *err) {
  bool open = !strcmp(plan, "any");
  const char *word = open ? site : plan;
  if (word_out)
    *word_out = word;
  if (!open && site && strcmp(plan, site) != 0)
    return nx_fail(err, NX_E_DENIED, "the plan is for %s %s, this site has %s", key, plan, site);
  return word ? 0
              : nx_fail(err, NX_E_INVALID,
                        "the plan takes any %s: say in node.yaml which one this site has "
                        "(data.%s)",
                        key, key);
}

int nx_fit_counts(const struct nx_plan *plan, const char *folder,
                  const struct nx_dataset_summary *summary, struct nx_error *err) {
  uint32_t least = plan->requires ? plan->requires->minimum_recordings : 0;
  if (summary->n_subjects < plan->data.minimum_subjects)
    return nx_fail(err, NX_E_DENIED, "%s has %zu subjects, the plan asks for %u", folder,
                   summary->n_subjects, plan->data.minimum_subjects);
  if (summary->n_train_recordings < least)
    return nx_fail(err, NX_E_DENIED, "%s has %zu recordings to train from, the plan asks for %u",
                   folder, summary->n_train_recordings, least);
  return 0;
}

static bool has_channel(const char *names, size_t stride, size_t n, const char *name) {
  for (size_t i = 0; i < n; i++)
    if (!strcmp(names + i * stride, name) || nx_montage_same(names + i * stride, name))
      return true;
  return false;
}

int nx_fit_channels(const struct nx_plan *plan, const char *names, size_t stride, size_t n,
                    struct nx_error *err) {
  const struct nx_plan_requires *required = plan->requires;
  if (!n)
    return nx_fail(err, NX_E_DENIED, "no electrode is in every recording: use one montage");
  if (required && n < required->minimum_channels)
    return nx_fail(err, NX_E_DENIED, "%zu channels can be used, the plan asks for %u", n,
                   required->minimum_channels);
  for (uint32_t i = 0; required && i < required->n_channels; i++)
    if (!has_channel(names, stride, n, required->channels[i]))
      return nx_fail(err, NX_E_DENIED, "channel %s is missing, which the plan asks for",
                     required->channels[i]);
  return 0;
}

/* ---- answers ----------------------------------------------------------------------------------
 */

static void answer(struct nx_fit *fit, enum nx_requirement requirement, int r,
                   const struct nx_error *why) {
  uint32_t bit = 1u << requirement;
  if (r < 0) {
    if (!(fit->unmet & bit)) /* the first reason is enough */
      snprintf(fit->why[requirement], sizeof fit->why[requirement], "%s", why->text);
    fit->unmet |= bit;
    fit->met &= ~bit;
  } else if (!(fit->unmet & bit)) {
    fit->met |= bit;
  }
}

struct asking {
  const struct nx_dataset_options *options;
  const struct nx_plan *plan;
  struct nx_fit *fit;
  enum nx_modality modality;
  char (*common)[NX_CHANNEL_NAME_SIZE]; /* of every recording so far */
  size_t n_common;
  size_t n_looked;
};

/* Channels of every recording: a montage's electrodes must be the same ones. */
static void keep_common(struct asking *asking, struct nx_look *look) {
  size_t kept = 0;
  if (!asking->n_looked) {
    asking->common = nx_steal(&look->names);
    asking->n_common = look->n_channels;
    return;
  }
  for (size_t i = 0; i < asking->n_common; i++)
    if (has_channel(look->names[0], sizeof *look->names, look->n_channels, asking->common[i]))
      memmove(asking->common[kept++], asking->common[i], sizeof *asking->common);
  asking->n_common = kept;
}

/* One recording's header. True: it can be used. */
static bool look_at(struct asking *asking, const char *file, const char *channels,
                    struct nx_look *look) {
  struct nx_error why = {0};
  char path[NX_PATH_SIZE], table[NX_PATH_SIZE];
  const struct nx_dataset_options *options = asking->options;
  const struct nx_load_options load = {.reader = options->reader,
                                       .channels = *channels ? table : NULL,
                                       .allow_identity = options->allow_identity};
  int r = nx_path_join(path, options->folder, file, &why);
  if (!r)
    r = nx_path_join(table, options->folder, channels, &why);
  if (!r)
    r = asking->plan->modalities
            ? nx_signal_look(path, &load, asking->plan, asking->modality, look, &why)
            : nx_load_look(path, &load, asking->plan, look, &why);
  if (r < 0 && options->skip_broken && asking->plan->modalities)
    return false; /* training goes on without it, too */
  if (r < 0) {
    answer(asking->fit, look->unmet ? look->unmet : NX_REQUIRES_READABLE, r, &why);
    return false;
  }
  if (asking->plan->modalities) { /* each recording has its own channels */
    r = nx_fit_channels(asking->plan, look->names[0], sizeof *look->names, look->n_channels, &why);
    answer(asking->fit, NX_REQUIRES_CHANNELS, r, &why);
  } else {
    keep_common(asking, look);
  }
  asking->n_looked++;
  return true;
}

static void count(struct nx_fit *fit, const struct nx_dataset_options *options, const char *subject,
                  const char *last) {
  fit->n_subjects += strcmp(subject, last) != 0;
  fit->n_recordings += !nx_subject_in(subject, options->held_out, options->n_held_out);
}

/* ---- one modality ----------------------------------------------------------------------------
 */

static void judge_labelled(struct asking *asking) {
  _cleanup_(nx_subjects_finish) struct nx_subject_files files = {0};
  struct nx_error why = {0};
  const char *last = "", *last_file = "";
  int r = nx_subjects_list(asking->options, asking->plan, &files, &why);
  answer(asking->fit, r == NX_E_NOT_FOUND || r == 0 ? NX_REQUIRES_LABELS : NX_REQUIRES_READABLE, r,
         &why);
  for (size_t i = 0; i < files.n; i++) {
    struct nx_look look = {0};
    const struct nx_subject_file *file = &files.files[i];
    if (!file->part || strcmp(last_file, file->file) != 0)
      look_at(asking, file->file, file->channels, &look);
    nx_look_finish(&look);
    last_file = file->file;
    count(asking->fit, asking->options, file->subject, last);
    last = file->subject;
  }
  if (!asking->n_looked)
    return;
  r = nx_fit_channels(asking->plan, asking->common[0], sizeof *asking->common, asking->n_common,
                      &why);
  answer(asking->fit, NX_REQUIRES_CHANNELS, r, &why);
}

/* ---- many modalities --------------------------------------------------------------------------
 */

static int modality_of(struct asking *asking, struct nx_error *why) {
  const struct nx_plan_tokeniser *found[2];
  const char *word = NULL;
  int r = nx_fit_kind("modality", asking->plan->data.modality, asking->options->modality, &word,
                      why);
  if (!r && !nx_modality_from_name(word, &asking->modality))
    r = nx_fail(why, NX_E_INVALID, "modality %s is not known", word);
  if (!r && !nx_plan_tokenisers_of(asking->plan, asking->modality, found))
    r = nx_fail(why, NX_E_DENIED, "the plan has no tokeniser for %s", word);
  return r;
}

static void judge_signals(struct asking *asking) {
  _cleanup_(nx_signal_files_finish) struct nx_signal_files files = {0};
  _cleanup_(nx_behaviour_destroyp) struct nx_behaviour *vocabulary = NULL;
  struct nx_error why = {0};
  const char *last = "";
  bool classes = asking->plan->training.objective == NX_OBJECTIVE_CLASSIFICATION, labelled = false;
  bool regression = asking->plan->training.objective == NX_OBJECTIVE_REGRESSION, behaves = false;
  int r = nx_signal_files_list(asking->options, asking->plan, &files, &why);
  if (!r && asking->options->behaviour)
    r = nx_behaviour_load(asking->options->behaviour, &vocabulary, &why);
  if (r < 0)
    answer(asking->fit, NX_REQUIRES_READABLE, r, &why);
  for (size_t i = 0; !r && i < files.n; i++) {
    const struct nx_signal_file *file = &files.files[i];
    struct nx_look look = {0};
    if (look_at(asking, file->file, file->channels, &look)) {
      labelled |= nx_signal_label(asking->plan, vocabulary, file->label) >= 0 ||
                  (vocabulary && (look.has_behaviour || file->behaviour[0]));
      behaves |= look.has_behaviour || file->behaviour[0];
      count(asking->fit, asking->options, file->subject, last);
      last = file->subject;
    }
    nx_look_finish(&look);
  }
  if (!r && !asking->n_looked)
    answer(asking->fit, NX_REQUIRES_READABLE, nx_fail(&why, NX_E_NOT_FOUND, "nothing can be used"),
           &why);
  if (regression)
    answer(asking->fit, NX_REQUIRES_LABELS,
           behaves ? 0 : nx_fail(&why, NX_E_NOT_FOUND, "no recording has behaviour beside it"),
           &why);
  if (classes)
    answer(asking->fit, NX_REQUIRES_LABELS,
           labelled ? 0
                    : nx_fail(&why, NX_E_NOT_FOUND,
                              "no recording has a label of the plan, or behaviour to take one from"),
           &why);
}

/* ---- all --------------------------------------------------------------------------------------
 */

static void judge_recordings(struct asking *asking) {
  struct nx_fit *fit = asking->fit;
  const struct nx_plan_requires *required = asking->plan->requires;
  struct nx_dataset_summary summary = {0};
  struct nx_error why = {0};
  if (asking->plan->modalities)
    judge_signals(asking);
  else
    judge_labelled(asking);
  if (asking->n_looked) { /* met unless one of them said otherwise */
    answer(fit, NX_REQUIRES_READABLE, 0, NULL);
    answer(fit, NX_REQUIRES_RATE, 0, NULL);
  }
  summary.n_subjects = fit->n_subjects;
  summary.n_train_recordings = SIZE_MAX;
  answer(fit, NX_REQUIRES_SUBJECTS, nx_fit_counts(asking->plan, "the folder", &summary, &why),
         &why);
  if (!required || !required->minimum_recordings)
    return;
  summary.n_subjects = SIZE_MAX;
  summary.n_train_recordings = fit->n_recordings;
  answer(fit, NX_REQUIRES_RECORDINGS, nx_fit_counts(asking->plan, "the folder", &summary, &why),
         &why);
}

void nx_fit_judge(const struct nx_dataset_options *options, const struct nx_plan *plan,
                  const char *data_set, struct nx_fit *fit) {
  struct asking asking = {.options = options, .plan = plan, .fit = fit};
  struct nx_error why = {0};
  memset(fit, 0, sizeof *fit);
  if (plan->requires && plan->requires->n_data_sets)
    answer(fit, NX_REQUIRES_DATA_SET, nx_plan_requires_judge(plan->requires, data_set, &why), &why);
  answer(fit, NX_REQUIRES_SPECIES,
         nx_fit_kind("species", plan->data.species, options->species, NULL, &why), &why);
  int r = plan->modalities
              ? modality_of(&asking, &why)
              : nx_fit_kind("modality", plan->data.modality, options->modality, NULL, &why);
  answer(fit, NX_REQUIRES_MODALITY, r, &why);
  if (!r) /* recordings of another kind are not looked into */
    judge_recordings(&asking);
  free(asking.common);
}
