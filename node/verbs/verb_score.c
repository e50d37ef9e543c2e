/* Verbs that score: evaluate (this site's held-out people) and compare (the arms that a
 * federation is printed beside). Scores stay in local files. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/config.h"
#include "models/metrics.h"
#include "models/model.h"
#include "node/recordings/sandbox.h"
#include "node/site_data.h"
#include "node/train/compare.h"
#include "node/train/trainer.h"
#include "node/verbs/model_choice.h"
#include "node/verbs/verb.h"

static int load_plan(const char *path, struct nx_plan **plan_out, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer text = {0};
  int r = nx_file_read(path, NX_CONFIG_CAP, &text, err);
  return r < 0 ? r : nx_plan_parse(path, nx_buffer_view(&text), plan_out, err);
}

/* "-" is stdout. */
static int open_output(const char *path, FILE **out, struct nx_error *err) {
  *out = strcmp(path, "-") ? fopen(path, "we") : stdout;
  return *out ? 0 : nx_fail_errno(err, errno, "create %s", path);
}

static int close_output(const char *path, FILE *out, struct nx_error *err) {
  bool failed = ferror(out) || fflush(out);
  if (out != stdout)
    failed = fclose(out) || failed;
  return failed ? nx_fail(err, NX_E_IO, "write %s: not all of it could be written", path) : 0;
}

/* ---- evaluate ------------------------------------------------------------------------ */

/* Rows in nx_batch_grid()'s order: recording by recording, window by window. */
static void write_scores(FILE *out, const struct nx_dataset *dataset, const struct nx_plan *plan,
                         const float *logits) {
  const struct nx_dataset_summary *summary = nx_dataset_summary(dataset);
  size_t window = (size_t)llround(plan->window.seconds * plan->preprocessing.rate_hz), at = 0;
  fprintf(out, "subject\trecording\twindow\tlabel\tscore\n");
  for (size_t i = 0; i < summary->n_recordings; i++) {
    const struct nx_dataset_recording *recording = nx_dataset_recording(dataset, i);
    if (recording->split != NX_SPLIT_HELD_OUT)
      continue;
    for (size_t w = 0; w < recording->n_samples / window; w++)
      fprintf(out, "%s\t%s\t%zu\t%u\t%.6g\n", recording->subject, recording->file, w,
              recording->label, (double)logits[at++]);
  }
}

static int score(const char *home, const struct nx_node_config *config, const char *plan_path,
                 const char *model_path, const char *weights, const char *out_path,
                 struct nx_error *err) {
  _cleanup_(nx_plan_destroyp) struct nx_plan *plan = NULL;
  _cleanup_(nx_model_destroyp) struct nx_model *model = NULL;
  _cleanup_(nx_dataset_destroyp) struct nx_dataset *dataset = NULL;
  _cleanup_(nx_withdrawals_finish) struct nx_withdrawals withdrawals = {0};
  _cleanup_free_ float *logits = NULL;
  struct nx_score_result result;
  int r = load_plan(plan_path, &plan, err);
  if (r == 0)
    r = nx_model_choose(model_path, plan, &model, NULL, err);
  if (r == 0)
    r = nx_model_keep_in(&model, weights, err);
  if (r == 0)
    r = nx_withdrawals_read(home, &config->data, &withdrawals, err);
  if (r == 0)
    r = nx_site_data_open(home, &config->data, &withdrawals, plan, NULL, &dataset, err);
  if (r < 0)
    return r;
  const struct nx_dataset_summary *summary = nx_dataset_summary(dataset);
  if (!summary->n_held_out_windows)
    return nx_fail(err, NX_E_INVALID,
                   "nobody is held out at this site: set data.held_out in node.yaml");
  logits = calloc(summary->n_held_out_windows, sizeof *logits);
  if (!logits)
    return nx_fail(err, NX_E_NOMEM, "evaluate: out of memory");
  r = nx_score(model, dataset, plan, NX_SPLIT_HELD_OUT, logits, &result, err);
  FILE *out = NULL;
  if (r == 0)
    r = open_output(out_path, &out, err);
  if (r < 0)
    return r;
  write_scores(out, dataset, plan, logits);
  r = close_output(out_path, out, err);
  if (r == 0)
    fprintf(stderr,
            "%zu windows of %zu held-out people%s, loss %.4f, AUROC %.3f, calibration error %.3f\n",
            result.n_windows, summary->n_held_out_subjects,
            summary->synthetic ? " (SYNTHETIC)" : "", result.loss_sum / (double)result.n_windows,
            nx_auroc_histogram(result.negative, result.positive),
            nx_calibration_error_histogram(result.negative, result.positive));
  return r;
}

static int run_evaluate(int argc, char *const *argv, struct nx_error *err) {
  const char *home = NX_NODE_HOME, *plan = NULL, *out = "scores.tsv", *weights = NULL, *model;
  const struct nx_option options[] = {{.name = "home", .value = &home},
                                      {.name = "plan", .value = &plan},
                                      {.name = "out", .value = &out},
                                      {.name = "weights", .value = &weights}};
  size_t n_words;
  if (nx_options_parse(argc, argv, options, NX_ARRAY_LENGTH(options), &model, 1, &n_words, err) < 0)
    return NX_VERB_USAGE;
  if (!n_words || !plan) {
    nx_fail(err, NX_E_INVALID, "name a model file, and with --plan the plan it was trained by");
    return NX_VERB_USAGE;
  }
  _cleanup_(nx_node_config_destroyp) struct nx_node_config *config = NULL;
  char path[NX_PATH_SIZE];
  int r = nx_path_join(path, home, "node.yaml", err);
  if (r == 0)
    r = nx_node_config_load(path, &config, err);
  return r < 0 ? r : score(home, config, plan, model, weights, out, err);
}

const struct nx_verb nx_verb_evaluate = {
    .name = "evaluate",
    .summary = "score this site's held-out people with a model file",
    .help =
        "usage: neurox-node evaluate MODEL --plan PLAN [--weights KIND] [--home DIR] [--out "
        "FILE]\n\n"
        "Scores every window of the held-out people of this site and writes FILE (default\n"
        "scores.tsv, - for the terminal) with subject, recording, window, label, score.\n"
        "The file is for this institution alone: nothing of it is ever sent.\n\n" NX_HELP_WEIGHTS
            NX_HELP_HOME,
    .run = run_evaluate,
};

/* ---- compare ------------------------------------------------------------------------- */

static void show_progress(void *context, const char *arm, size_t done, size_t total) {
  (void)context;
  fprintf(stderr, "\r%-12s %zu/%zu ", arm, done, total);
  if (done == total)
    fputc('\n', stderr);
}

static void print_results(const struct nx_compare_result *result, unsigned arms) {
  printf("# %zu windows, %zu recordings held out%s\n", result->n_windows, result->n_recordings,
         result->synthetic ? ", SYNTHETIC" : "");
  printf("arm\tauroc\tbalanced_accuracy\tauroc_recording\tseconds\n");
  for (unsigned arm = 0; arm < NX_ARMS; arm++)
    if (arms & 1u << arm)
      printf("%s\t%.6f\t%.6f\t%.6f\t%.2f\n", nx_arm_name(arm), result->arms[arm].auroc,
             result->arms[arm].balanced_accuracy, result->arms[arm].auroc_recording,
             result->arms[arm].seconds);
}

static int compare(struct nx_compare_options *options, const char *plan_path,
                   const char *model_path, const char *scores_path, struct nx_error *err) {
  _cleanup_(nx_plan_destroyp) struct nx_plan *plan = NULL;
  _cleanup_(nx_model_destroyp) struct nx_model *model = NULL;
  struct nx_compare_result result = {0};
  int r = load_plan(plan_path, &plan, err);
  if (r == 0 && model_path)
    r = nx_model_choose(model_path, plan, &model, NULL, err);
  if (r == 0 && scores_path)
    r = open_output(scores_path, &options->scores, err);
  if (r < 0)
    return r;
  options->plan = plan;
  options->seed = plan->seed;
  options->federated_model = model;
  if (options->scores)
    fprintf(options->scores, "fold\tarm\tsubject\trecording\twindow\tlabel\tscore\n");
  r = nx_compare(options, &result, err);
  if (options->scores) {
    struct nx_error late;
    int closed = close_output(scores_path, options->scores, r < 0 ? &late : err);
    r = r < 0 ? r : closed;
  }
  if (r == 0)
    print_results(&result, options->arms);
  return r;
}

static int run_compare(int argc, char *const *argv, struct nx_error *err) {
  const char *data = NULL, *plan = NULL, *model = NULL, *scores = NULL, *sites = "6", *fold = "0";
  bool progress = false;
  const struct nx_option given[] = {
      {.name = "data", .value = &data},        {.name = "plan", .value = &plan},
      {.name = "model", .value = &model},      {.name = "scores", .value = &scores},
      {.name = "sites", .value = &sites},      {.name = "fold", .value = &fold},
      {.name = "progress", .flag = &progress},
  };
  uint64_t n_sites = 0, fold_number = 0;
  size_t n_words;
  if (nx_options_parse(argc, argv, given, NX_ARRAY_LENGTH(given), NULL, 0, &n_words, err) < 0 ||
      nx_option_number("sites", sites, 1, 255, &n_sites, err) < 0 ||
      nx_option_number("fold", fold, 0, 100000, &fold_number, err) < 0)
    return NX_VERB_USAGE;
  if (!data || !plan) {
    nx_fail(err, NX_E_INVALID, "--data DIR and --plan PLAN are needed");
    return NX_VERB_USAGE;
  }
  char reader[NX_PATH_SIZE];
  struct nx_compare_options options = {
      .folder = data,
      .n_sites = n_sites,
      .fold = fold_number,
      .arms = 1u << NX_ARM_LOCAL | 1u << NX_ARM_CENTRALISED | 1u << NX_ARM_LINEAR |
              (model ? 1u << NX_ARM_FEDERATED : 0),
      .reader = nx_sandbox_reader(reader),
      .progress = progress ? show_progress : NULL,
  };
  return compare(&options, plan, model, scores, err);
}

const struct nx_verb nx_verb_compare = {
    .name = "compare",
    .summary = "the other ways to learn the same thing, with all recordings in one place",
    .help =
        "usage: neurox-node compare --data DIR --plan PLAN [--model FILE] [--sites N] [--fold H]\n"
        "                           [--scores FILE] [--progress]\n\n"
        "What a federation is printed beside, and what only a demonstration can compute because\n"
        "it holds every site's recordings: local (each of N sites alone, mean), centralised (the\n"
        "same network on the pooled recordings), linear (band power and logistic regression),\n"
        "and, with --model, federated. Site = subject number mod N (6); fold H (0) holds out the\n"
        "people with number div N = H. A table on the terminal; every score in --scores FILE\n"
        "(- for the terminal).\n",
    .run = run_compare,
};
