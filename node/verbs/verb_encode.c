/* Verbs that look at this site's recordings with a released model: embed and predict. What they
 * write stays here; no network is touched. */
#include <cjson/cJSON.h>
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/plan_regression.h"
#include "models/moments.h"
#include "models/quantised.h"
#include "models/tensor/quantise.h"
#include "node/node_home.h"
#include "node/site_data.h"
#include "node/train/encode.h"
#include "node/verbs/model_choice.h"
#include "node/verbs/plan_choice.h"
#include "node/verbs/verb.h"

#define OUT_CAP ((size_t)8 << 30)
#define SECOND INT64_C(1000000000)

NX_DEFINE_CLEANUP(cJSON *, cJSON_Delete)

struct encode_verb {
  enum nx_encode_what what;
  const char *home, *plan, *out, *data, *per, *weights, *model_path;
  struct nx_node_config *config;
  struct nx_plan_choice choice;
  struct nx_model *model;
  struct nx_hash model_hash;
  struct nx_pool *pool;
  struct nx_dataset *dataset;
  struct nx_encoding encoding;
};

static void finish(struct encode_verb *v) {
  nx_encoding_finish(&v->encoding);
  nx_dataset_destroy(v->dataset);
  nx_pool_destroy(v->pool);
  nx_model_destroy(v->model);
  nx_plan_choice_finish(&v->choice);
  nx_node_config_destroy(v->config);
}

/* ---- reading --------------------------------------------------------------------------------- */

static int open_model(struct encode_verb *v, struct nx_error *err) {
  char path[NX_PATH_SIZE];
  int r = nx_path_join(path, v->home, NX_HOME_CONFIG, err);
  if (r == 0)
    r = nx_node_config_load(path, &v->config, err);
  if (r == 0)
    r = nx_path_join(path, v->home, NX_HOME_PLANS, err);
  if (r == 0)
    r = nx_plan_choose(path, v->plan, &v->choice, err);
  if (r == 0)
    r = nx_model_choose(v->model_path, v->choice.plan, &v->model, &v->model_hash, err);
  if (r == 0)
    r = nx_model_keep_in(&v->model, v->weights, err);
  return r;
}

static int open_recordings(struct encode_verb *v, struct nx_error *err) {
  _cleanup_(nx_withdrawals_finish) struct nx_withdrawals withdrawals = {0};
  struct nx_node_config_data data = v->config->data;
  if (v->data) { /* another folder: who is held out at this site says nothing of it */
    data.folder = (char *)(uintptr_t)v->data;
    data.n_held_out = 0;
    data.held_out_fold = NULL;
  }
  long n = v->config->threads ? (long)v->config->threads : sysconf(_SC_NPROCESSORS_ONLN);
  fprintf(stderr, "reading the recordings in %s\n", data.folder);
  int r = nx_withdrawals_read(v->home, &v->config->data, &withdrawals, err);
  if (r == 0)
    r = nx_pool_create(n > 0 ? (size_t)n : 1, &v->pool, err);
  if (r == 0)
    r = nx_site_data_open_any(v->home, &data, &withdrawals, v->choice.plan, v->pool, &v->dataset,
                              err);
  return r;
}

struct progress {
  const char *verb;
  bool terminal;
  int64_t last;
};

static void show_progress(void *context, size_t done, size_t total) {
  struct progress *p = context;
  int64_t now = nx_clock_monotonic();
  if (done != total && now - p->last < (p->terminal ? SECOND / 5 : 5 * SECOND))
    return;
  p->last = now;
  fprintf(stderr, "%s%s: %zu of %zu windows%s", p->terminal ? "\r" : "", p->verb, done, total,
          p->terminal && done != total ? "" : "\n");
}

/* ---- tables ---------------------------------------------------------------------------------- */

/* A file's name in a table: no tab, no line end. */
static void printable(const char *name, char out[256]) {
  size_t i = 0;
  for (; name[i] && i < 255; i++)
    out[i] = iscntrl((unsigned char)name[i]) ? '?' : name[i];
  out[i] = 0;
}

static const char *label_of(const struct encode_verb *v, const struct nx_encoded_window *w) {
  const struct nx_plan *plan = v->choice.plan;
  return w->unlabelled ? "" : w->label ? plan->data.positive_label : plan->data.negative_label;
}

/* Whether a person of this recording may have been in training: another folder says nothing. */
static const char *use_of(const struct encode_verb *v, const struct nx_encoded_window *w) {
  return v->data ? "other" : w->held_out ? "held-out" : "train";
}

static void put_who(FILE *out, const struct encode_verb *v, const struct nx_encoded_window *w) {
  const struct nx_dataset_recording *r = nx_dataset_recording(v->dataset, w->recording);
  char file[256];
  printable(r->file, file);
  fprintf(out, "%s\t%s\t%s\t%s\t%s", r->subject, file, w->tokeniser, use_of(v, w), label_of(v, w));
}

static double sigmoid(double logit) {
  return 1 / (1 + exp(-logit));
}

static void put_windows(FILE *out, const struct encode_verb *v) {
  bool logits = v->what == NX_ENCODE_PREDICTION;
  fprintf(out, "%ssubject\trecording\ttokeniser\tuse\tlabel\twindow\tstart_s\tseconds%s\n",
          logits ? "" : "row\t", logits ? "\tlogit\tprobability" : "");
  for (size_t i = 0; i < v->encoding.n; i++) {
    const struct nx_encoded_window *w = &v->encoding.windows[i];
    if (!logits)
      fprintf(out, "%zu\t", i);
    put_who(out, v, w);
    fprintf(out, "\t%zu\t%.6g\t%.6g", w->window, w->start_s, w->seconds);
    if (logits)
      fprintf(out, "\t%.6g\t%.6g", (double)v->encoding.values[i], sigmoid(v->encoding.values[i]));
    fputc('\n', out);
  }
}

static bool same_recording(const struct nx_encoded_window *a, const struct nx_encoded_window *b) {
  return a->recording == b->recording && !strcmp(a->tokeniser, b->tokeniser);
}

/* The mean logit of each recording's windows, which lie together. */
static void put_recordings(FILE *out, const struct encode_verb *v) {
  fprintf(out, "subject\trecording\ttokeniser\tuse\tlabel\twindows\tlogit\tprobability\n");
  for (size_t i = 0, j; i < v->encoding.n; i = j) {
    double sum = 0;
    for (j = i;
         j < v->encoding.n && same_recording(&v->encoding.windows[i], &v->encoding.windows[j]); j++)
      sum += v->encoding.values[j];
    double mean = sum / (double)(j - i);
    put_who(out, v, &v->encoding.windows[i]);
    fprintf(out, "\t%zu\t%.6g\t%.6g\n", j - i, mean, sigmoid(mean));
  }
}

/* ---- a regression's tables ----------------------------------------------------------------- */

/* A standardised value as people read it: the model's own mean and SD give the unit back. */
static double in_unit(const struct encode_verb *v, size_t target, float value) {
  return (double)value * (double)v->model->feature_sd[target] +
         (double)v->model->feature_mean[target];
}

/* A row for each patch: for every target what the model says, and what was recorded. */
static void put_patches(FILE *out, const struct encode_verb *v) {
  const struct nx_plan_regression *regression = v->choice.plan->regression;
  size_t k = regression->n_targets, patches = v->model->shape.patches;
  fprintf(out, "subject\trecording\ttokeniser\tuse\tlabel\twindow\tstart_s\tseconds");
  for (size_t j = 0; j < k; j++)
    fprintf(out, "\t%s\t%s_recorded", regression->targets[j], regression->targets[j]);
  fputc('\n', out);
  for (size_t i = 0; i < v->encoding.n * patches; i++) {
    const struct nx_encoded_window *w = &v->encoding.windows[i / patches];
    double seconds = w->seconds / (double)patches;
    put_who(out, v, w);
    fprintf(out, "\t%zu\t%.6g\t%.6g", w->window, w->start_s + (double)(i % patches) * seconds,
            seconds);
    for (size_t j = 0; j < k; j++) {
      fprintf(out, "\t%.6g", in_unit(v, j, v->encoding.values[i * k + j]));
      if (isfinite(v->encoding.targets[i * k + j]))
        fprintf(out, "\t%.6g", in_unit(v, j, v->encoding.targets[i * k + j]));
      else
        fputs("\tn/a", out);
    }
    fputc('\n', out);
  }
}

static void put_figure(FILE *out, double value) {
  if (isnan(value))
    fputs("\tn/a", out);
  else
    fprintf(out, "\t%.6g", value);
}

/* How close it comes in each recording, where behaviour was recorded. */
static void put_closeness(FILE *out, const struct encode_verb *v) {
  const struct nx_plan_regression *regression = v->choice.plan->regression;
  size_t k = regression->n_targets, columns = v->encoding.columns;
  fprintf(out, "subject\trecording\ttokeniser\tuse\tlabel\tpatches");
  for (size_t j = 0; j < k; j++)
    fprintf(out, "\t%s_r_squared\t%s_correlation", regression->targets[j], regression->targets[j]);
  fputc('\n', out);
  for (size_t i = 0, end; i < v->encoding.n; i = end) {
    struct nx_target_moments moments = {.n_targets = k};
    for (end = i;
         end < v->encoding.n && same_recording(&v->encoding.windows[i], &v->encoding.windows[end]);
         end++)
      for (size_t c = end * columns; c < (end + 1) * columns; c++)
        if (isfinite(v->encoding.targets[c]))
          nx_moments_add(&moments.of[c % k], (double)v->encoding.targets[c],
                         (double)v->encoding.values[c]);
    put_who(out, v, &v->encoding.windows[i]);
    fprintf(out, "\t%.0f", moments.of[0].n);
    for (size_t j = 0; j < k; j++) {
      put_figure(out, nx_moments_r_squared(&moments.of[j]));
      put_figure(out, nx_moments_correlation(&moments.of[j]));
    }
    fputc('\n', out);
  }
}

static void describe_targets(const struct encode_verb *v, cJSON *root) {
  const struct nx_plan_regression *regression = v->choice.plan->regression;
  cJSON *targets = cJSON_AddArrayToObject(root, "targets");
  for (uint32_t i = 0; i < regression->n_targets; i++)
    cJSON_AddItemToArray(targets, cJSON_CreateString(regression->targets[i]));
  cJSON_AddStringToObject(root, "unit",
                          regression->standardise == NX_STANDARDISE_SITE
                              ? "standard deviations at this site"
                              : regression->unit);
}

/* ---- files ----------------------------------------------------------------------------------- */

/* NAME.suffix, replaced as a whole; its hash for the description. */
static int write_file(const struct encode_verb *v, const char *suffix, struct nx_bytes bytes,
                      struct nx_hash *hash_out, struct nx_error *err) {
  char path[NX_PATH_SIZE];
  if (snprintf(path, sizeof path, "%s%s", v->out, suffix) >= (int)sizeof path)
    return nx_fail(err, NX_E_LIMIT, "--out: the path is too long");
  *hash_out = nx_sha256(bytes.data, bytes.size);
  return nx_file_replace(path, bytes, 0600, err);
}

static int write_table(const struct encode_verb *v, struct nx_hash *hash_out,
                       struct nx_error *err) {
  char *text = NULL;
  size_t size = 0;
  FILE *out = open_memstream(&text, &size);
  if (!out)
    return nx_fail(err, NX_E_NOMEM, "out of memory for a table");
  bool recordings = !strcmp(v->per, "recording");
  if (v->encoding.targets && recordings)
    put_closeness(out, v);
  else if (v->encoding.targets)
    put_patches(out, v);
  else if (recordings)
    put_recordings(out, v);
  else
    put_windows(out, v);
  int r = fclose(out) ? nx_fail(err, NX_E_NOMEM, "out of memory for a table")
                      : write_file(v, ".tsv", nx_bytes(text, size), hash_out, err);
  free(text);
  return r;
}

/* NumPy's format 1.0: float32, row-major, the header padded to 64 bytes. */
static int write_npy(const struct encode_verb *v, struct nx_hash *hash_out, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer file = {.cap = OUT_CAP};
  const struct nx_encoding *e = &v->encoding;
  char header[128];
  int n =
      snprintf(header, sizeof header,
               "{'descr': '<f4', 'fortran_order': False, 'shape': (%zu, %zu), }", e->n, e->columns);
  memset(header + n, ' ', sizeof header - (size_t)n);
  size_t size = ((size_t)n + 1 + 10 + 63) / 64 * 64 - 10;
  header[size - 1] = '\n';
  const uint8_t magic[10] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (uint8_t)size, 0};
  int r = nx_buffer_reserve(&file, 10 + size + 4 * e->n * e->columns, err);
  if (r == 0)
    r = nx_buffer_append(&file, magic, sizeof magic, err);
  if (r == 0)
    r = nx_buffer_append(&file, header, size, err);
  for (size_t i = 0; r == 0 && i < e->n * e->columns; i++) {
    uint32_t bits;
    memcpy(&bits, &e->values[i], sizeof bits);
    r = nx_buffer_append_u32(&file, bits, err);
  }
  return r < 0 ? r : write_file(v, ".npy", nx_buffer_view(&file), hash_out, err);
}

static void add_hash(cJSON *object, const char *name, const struct nx_hash *hash) {
  char hex[NX_HASH_HEX_SIZE];
  nx_hash_hex(hash, hex);
  cJSON_AddStringToObject(object, name, hex);
}

static void describe(const struct encode_verb *v, cJSON *root) {
  const struct nx_dataset_summary *summary = nx_dataset_summary(v->dataset);
  add_hash(root, "model", &v->model_hash);
  cJSON_AddStringToObject(root, "weights", nx_storage_name(nx_model_storage(v->model)));
  cJSON *plan = cJSON_AddObjectToObject(root, "plan");
  cJSON_AddStringToObject(plan, "name", v->choice.plan->name);
  add_hash(plan, "sha256", &v->choice.hash);
  if (v->encoding.targets) {
    describe_targets(v, root);
  } else if (v->what == NX_ENCODE_PREDICTION) {
    cJSON_AddStringToObject(root, "probability_of", v->choice.plan->data.positive_label);
    cJSON_AddStringToObject(root, "against", v->choice.plan->data.negative_label);
  }
  cJSON_AddNumberToObject(root, "windows", (double)v->encoding.n);
  cJSON_AddNumberToObject(root, "recordings", (double)summary->n_recordings);
  cJSON_AddNumberToObject(root, "subjects", (double)summary->n_subjects);
  cJSON_AddBoolToObject(root, "synthetic", summary->synthetic);
}

/* NAME.npy and NAME.tsv, then NAME.json, which has the hashes of both. */
static int write_all(const struct encode_verb *v, struct nx_error *err) {
  _cleanup_(cJSON_Deletep) cJSON *root = cJSON_CreateObject();
  struct nx_hash hash;
  int r = 0;
  if (v->what == NX_ENCODE_EMBEDDING && (r = write_npy(v, &hash, err)) == 0)
    add_hash(root, "npy_sha256", &hash);
  if (r == 0 && (r = write_table(v, &hash, err)) == 0)
    add_hash(root, "tsv_sha256", &hash);
  if (r < 0)
    return r;
  describe(v, root);
  char *text = cJSON_Print(root);
  r = text ? write_file(v, ".json", nx_bytes(text, strlen(text)), &hash, err)
           : nx_fail(err, NX_E_NOMEM, "out of memory for the description");
  cJSON_free(text);
  return r;
}

static void say(const struct encode_verb *v) {
  const struct nx_dataset_summary *summary = nx_dataset_summary(v->dataset);
  char model[NX_HASH_HEX_SIZE], plan[NX_HASH_HEX_SIZE];
  nx_hash_hex(&v->model_hash, model);
  nx_hash_hex(&v->choice.hash, plan);
  printf("model: %s\nplan: %s (%s)\n%zu windows of %zu recordings of %zu people%s: %s%s.tsv, "
         "%s.json\n",
         model, plan, v->choice.plan->name, v->encoding.n, summary->n_recordings,
         summary->n_subjects, summary->synthetic ? " (SYNTHETIC)" : "", v->out,
         v->what == NX_ENCODE_EMBEDDING ? ".npy, …" : "", v->out);
}

/* ---- verbs ----------------------------------------------------------------------------------- */

static int encode(struct encode_verb *v, const char *name, struct nx_error *err) {
  struct progress progress = {name, isatty(STDERR_FILENO) == 1, nx_clock_monotonic()};
  int r = open_model(v, err);
  if (r == 0 && v->what == NX_ENCODE_PREDICTION &&
      v->model->shape.objective != NX_OBJECTIVE_CLASSIFICATION &&
      v->model->shape.objective != NX_OBJECTIVE_REGRESSION) /* before anything is read */
    r = nx_encode_windows(v->model, NULL, v->choice.plan, v->what, NULL, NULL, NULL, &v->encoding,
                          err);
  if (r == 0)
    r = open_recordings(v, err);
  if (r == 0)
    r = nx_encode_windows(v->model, v->dataset, v->choice.plan, v->what, v->pool, show_progress,
                          &progress, &v->encoding, err);
  if (r == 0)
    r = write_all(v, err);
  if (r == 0)
    say(v);
  return r;
}

static int run(int argc, char *const *argv, const char *name, enum nx_encode_what what,
               const char *out, struct nx_error *err) {
  _cleanup_(finish) struct encode_verb v = {
      .what = what, .home = NX_NODE_HOME, .out = out, .per = "window"};
  const struct nx_option options[] = {
      {.name = "home", .value = &v.home},       {.name = "plan", .value = &v.plan},
      {.name = "out", .value = &v.out},         {.name = "data", .value = &v.data},
      {.name = "weights", .value = &v.weights}, {.name = "per", .value = &v.per},
  };
  size_t n_options = NX_ARRAY_LENGTH(options) - (what == NX_ENCODE_EMBEDDING), n_words;
  if (nx_options_parse(argc, argv, options, n_options, &v.model_path, 1, &n_words, err) < 0)
    return NX_VERB_USAGE;
  if (!n_words || !v.plan) {
    nx_fail(err, NX_E_INVALID, "name a model file, and with --plan the plan it was trained by");
    return NX_VERB_USAGE;
  }
  if (strcmp(v.per, "window") != 0 && strcmp(v.per, "recording") != 0) {
    nx_fail(err, NX_E_INVALID, "--per %s: use window or recording", v.per);
    return NX_VERB_USAGE;
  }
  return encode(&v, name, err);
}

static int run_embed(int argc, char *const *argv, struct nx_error *err) {
  return run(argc, argv, "embed", NX_ENCODE_EMBEDDING, "embeddings", err);
}

static int run_predict(int argc, char *const *argv, struct nx_error *err) {
  return run(argc, argv, "predict", NX_ENCODE_PREDICTION, "predictions", err);
}

#define HELP_OPTIONS                                                                               \
  "  --plan PLAN     the plan that the model was trained by: a file, or digits of its hash when\n" \
  "                  this node has it (neurox-node plan list). It says how recordings are read\n"  \
  "  --data DIR      another folder than node.yaml's; same modality and species. People who\n"     \
  "                  withdrew are left out there too\n" NX_HELP_WEIGHTS NX_HELP_HOME

const struct nx_verb nx_verb_embed = {
    .name = "embed",
    .summary = "write what a model makes of this site's recordings, for own analyses",
    .help =
        "usage: neurox-node embed MODEL --plan PLAN [--data DIR] [--home DIR] [--out NAME]\n"
        "                         [--weights KIND]\n\n"
        "Reads this site's recordings as training would, labelled or not, and writes one row of\n"
        "numbers (the model's width) for every window: the mean over time of what the last block\n"
        "says. MODEL is a file of neurox-coordinator export.\n\n"
        "  NAME.npy        float32 [windows, width], for numpy.load\n"
        "  NAME.tsv        row, subject, recording, tokeniser, use (train, held-out), label, "
        "window,\n"
        "                  start_s, seconds\n"
        "  NAME.json       which model and plan (SHA-256), counts, SHA-256 of both files; written\n"
        "                  last\n\n"
        "The files are for this institution alone: nothing is sent, no network is used, and an\n"
        "embedding can tell as much about a person as the recording did.\n\n" HELP_OPTIONS
        "  --out NAME      default embeddings; files that are there are replaced\n",
    .run = run_embed,
};

const struct nx_verb nx_verb_predict = {
    .name = "predict",
    .summary = "write what a trained head says of this site's recordings",
    .help =
        "usage: neurox-node predict MODEL --plan PLAN [--per window|recording] [--data DIR]\n"
        "                           [--weights KIND] [--home DIR] [--out NAME]\n\n"
        "Reads this site's recordings as training would, labelled or not, and writes for every\n"
        "window the probability of the plan's positive label, or of a regression for every patch\n"
        "what it says of each target. MODEL is a file of neurox-coordinator export whose plan\n"
        "says training.objective: classification or regression; others have no head and are\n"
        "refused.\n\n"
        "  NAME.tsv        subject, recording, tokeniser, use (train, held-out), label, window,\n"
        "                  start_s, seconds, logit, probability; of a regression, a row a patch:\n"
        "                  … for each target TARGET and TARGET_recorded, in the plan's unit (SDs "
        "of\n"
        "                  this site where the plan says standardise: site)\n"
        "  NAME.json       which model and plan (SHA-256), which label or targets, counts; "
        "written\n"
        "                  last\n\n"
        "A probability is the network's own and was not calibrated; what a model says is "
        "research,\n"
        "no diagnosis. Nothing is sent, no network is used.\n\n" HELP_OPTIONS
        "  --per WHAT      window (default), or recording: the mean logit of its windows; of a\n"
        "                  regression R^2 and Pearson's r of each target in it\n"
        "  --out NAME      default predictions; files that are there are replaced\n",
    .run = run_predict,
};
