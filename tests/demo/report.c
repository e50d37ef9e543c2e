/* neurox-demo-report: the demo's last table. Reads what the parts said of each fold
 * (FOLDER/fold-H/status.json, compare.tsv, audit.json), prints the table for people and, with
 * --json, writes the figures of the whole run as one object. It computes means and spreads, nothing
 * else: every number comes from a coordinator, a node or the auditor. */
#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/size.h"

#define FOLDS 6

enum arm { LOCAL, FEDERATED, CENTRALISED, LINEAR, ARMS };
static const char *const arm_names[ARMS] = {"local", "federated", "centralised", "linear"};
static const char *const arm_words[ARMS] = {
    "local only, mean over sites",
    "federated, scored exactly*",
    "centralised, pooled recordings",
    "linear band power, pooled",
};

struct fold {
  int number;
  double auroc[ARMS], balanced[ARMS], recording[ARMS];
  double secure_auroc, secure_balanced; /* from the sums of the histograms */
  double rounds, nodes, seconds, bytes_up, recovered, windows;
  double logs_verified, logs_failed;
  char model[65], data[32];
};

static void stop(const char *what, const char *why) {
  fprintf(stderr, "neurox-demo-report: %s: %s\n", what, why);
  exit(1);
}

static cJSON *load(const char *folder, int fold, const char *name) {
  char path[NX_PATH_SIZE];
  struct nx_buffer text = {0};
  struct nx_error err = {0};
  snprintf(path, sizeof path, "%s/fold-%d/%s", folder, fold, name);
  if (nx_file_read(path, 1 << 20, &text, &err) < 0)
    stop(path, err.text);
  cJSON *json = cJSON_ParseWithLength((const char *)text.data, text.size);
  if (!json)
    stop(path, "not JSON");
  nx_buffer_finish(&text);
  return json;
}

static const cJSON *member(const cJSON *object, const char *key) {
  const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
  if (!item)
    stop(key, "missing in what a part of the demo printed");
  return item;
}

static double number(const cJSON *object, const char *key) {
  const cJSON *item = member(object, key);
  if (!cJSON_IsNumber(item))
    stop(key, "not a number");
  return item->valuedouble;
}

static void text(const cJSON *object, const char *key, char *out, size_t size) {
  const cJSON *item = member(object, key);
  if (!cJSON_IsString(item))
    stop(key, "not a string");
  snprintf(out, size, "%s", item->valuestring);
}

static enum arm arm_of(const char *name) {
  for (int arm = 0; arm < ARMS; arm++)
    if (!strcmp(name, arm_names[arm]))
      return (enum arm)arm;
  stop(name, "compare printed an arm that the table does not know");
  return ARMS;
}

/* What neurox-node compare printed: a comment with the counts, a heading, a row an arm. */
static void read_compare(const char *folder, struct fold *f) {
  char path[NX_PATH_SIZE], line[256], name[32];
  int rows = 0;
  snprintf(path, sizeof path, "%s/fold-%d/compare.tsv", folder, f->number);
  FILE *in = fopen(path, "r");
  if (!in)
    stop(path, "cannot be read");
  while (fgets(line, sizeof line, in)) {
    double auroc, balanced, recording;
    if (sscanf(line, "# %lf windows", &f->windows) == 1)
      snprintf(f->data, sizeof f->data, strstr(line, "SYNTHETIC") ? "synthetic" : "eegmat");
    if (sscanf(line, "%31s %lf %lf %lf", name, &auroc, &balanced, &recording) != 4)
      continue;
    enum arm arm = arm_of(name);
    f->auroc[arm] = auroc;
    f->balanced[arm] = balanced;
    f->recording[arm] = recording;
    rows++;
  }
  fclose(in);
  if (rows != ARMS)
    stop(path, "does not have four arms");
}

static struct fold read_fold(const char *folder, int h) {
  struct fold f = {.number = h};
  cJSON *status = load(folder, h, "status.json");
  f.rounds = number(status, "rounds");
  f.nodes = number(status, "nodes");
  f.seconds = number(status, "seconds");
  f.bytes_up = number(status, "bytes_up_per_node");
  f.recovered = number(status, "recovered_dropouts");
  f.secure_auroc = number(status, "auroc");
  f.secure_balanced = number(status, "balanced_accuracy");
  text(status, "model_sha256", f.model, sizeof f.model);
  cJSON_Delete(status);
  read_compare(folder, &f);
  cJSON *audit = load(folder, h, "audit.json");
  f.logs_verified = number(audit, "verified");
  f.logs_failed = number(audit, "failed");
  cJSON_Delete(audit);
  return f;
}

struct column {
  double mean, sd;
};

/* Mean and SD (n - 1) over folds of the double at `offset` in each. */
static struct column over_folds(const struct fold *folds, int n, size_t offset) {
  struct column c = {0};
  for (int i = 0; i < n; i++)
    c.mean += *(const double *)((const char *)&folds[i] + offset) / n;
  for (int i = 0; i < n; i++) {
    double d = *(const double *)((const char *)&folds[i] + offset) - c.mean;
    c.sd += d * d / (n > 1 ? n - 1 : 1);
  }
  c.sd = sqrt(c.sd);
  return c;
}

#define OVER(field) over_folds(folds, n, offsetof(struct fold, field))
#define OVER_ARM(field, arm)                                                                       \
  over_folds(folds, n, offsetof(struct fold, field) + (size_t)(arm) * sizeof(double))

static void print_row(const char *words, struct column auroc, struct column balanced,
                      const struct column *recording, int n) {
  char spread[2][16] = {"", ""};
  if (n > 1) {
    snprintf(spread[0], sizeof spread[0], " ± %.3f", auroc.sd);
    snprintf(spread[1], sizeof spread[1], " ± %.3f", balanced.sd);
  }
  printf("  %-34s %.3f%-9s %.3f%-9s", words, auroc.mean, spread[0], balanced.mean, spread[1]);
  if (recording)
    printf("  %.3f", recording->mean);
  putchar('\n');
}

/* Mean and standard error of the paired difference federated - arm. */
static void print_difference(const struct fold *folds, int n, enum arm arm) {
  double mean = 0, variance = 0;
  for (int i = 0; i < n; i++)
    mean += (folds[i].auroc[FEDERATED] - folds[i].auroc[arm]) / n;
  for (int i = 0; i < n; i++) {
    double d = folds[i].auroc[FEDERATED] - folds[i].auroc[arm] - mean;
    variance += d * d / (n > 1 ? n - 1 : 1);
  }
  printf("  federated − %-20s %+.3f", arm_names[arm], mean);
  if (n > 1) {
    double error = sqrt(variance / n);
    printf(" ± %.3f (paired over folds)%s", error, fabs(mean) < 2 * error ? "  a tie" : "");
  }
  putchar('\n');
}

static void print_table(const struct fold *folds, int n) {
  struct column recording;
  printf("\nRest against mental arithmetic, 5 s windows of people no node trained on%s\n",
         strcmp(folds[0].data, "eegmat") ? " — SYNTHETIC cohort, not people" : " (EEGMAT)");
  printf("%d fold%s, %.0f held-out windows each%s\n\n", n, n > 1 ? "s" : "", folds[0].windows,
         n > 1 ? "; mean ± SD over folds" : "; one fold says little, --folds all runs six");
  printf("  %-34s %-14s %-15s %s\n", "", "AUROC", "bal. accuracy", "AUROC, recording");
  for (int arm = 0; arm < ARMS; arm++) {
    if (arm == FEDERATED)
      print_row("federated, from secure sums", OVER(secure_auroc), OVER(secure_balanced), NULL, n);
    recording = OVER_ARM(recording, arm);
    print_row(arm_words[arm], OVER_ARM(auroc, arm), OVER_ARM(balanced, arm), &recording, n);
  }
  printf("\n  * exactly: with every site's scores in one place, which only a demo can do.\n\n");
  print_difference(folds, n, CENTRALISED);
  print_difference(folds, n, LOCAL);
  print_difference(folds, n, LINEAR);
}

static void print_costs(const struct fold *folds, int n) {
  double verified = 0, failed = 0, recovered = 0;
  for (int i = 0; i < n; i++) {
    verified += folds[i].logs_verified;
    failed += folds[i].logs_failed;
    recovered += folds[i].recovered;
  }
  printf("\n  %.0f nodes, %.0f training rounds; %.2f MB up a node; %.0f s a fold; "
         "%.0f dropouts recovered\n",
         folds[0].nodes, folds[0].rounds, OVER(bytes_up).mean / 1e6, OVER(seconds).mean, recovered);
  printf("  audit: %.0f logs verified, %.0f failed\n  model: %s\n", verified, failed,
         folds[n - 1].model);
}

static cJSON *arms_json(const struct fold *folds, int n, size_t offset) {
  cJSON *object = cJSON_CreateObject();
  for (size_t arm = 0; arm < ARMS; arm++)
    cJSON_AddNumberToObject(object, arm_names[arm],
                            over_folds(folds, n, offset + arm * sizeof(double)).mean);
  return object;
}

static cJSON *fold_json(const struct fold *f) {
  cJSON *object = cJSON_CreateObject();
  cJSON_AddNumberToObject(object, "fold", f->number);
  cJSON_AddItemToObject(object, "auroc", arms_json(f, 1, offsetof(struct fold, auroc)));
  cJSON_AddItemToObject(object, "balanced_accuracy",
                        arms_json(f, 1, offsetof(struct fold, balanced)));
  cJSON_AddItemToObject(object, "auroc_recording",
                        arms_json(f, 1, offsetof(struct fold, recording)));
  cJSON_AddNumberToObject(object, "auroc_secure", f->secure_auroc);
  cJSON_AddNumberToObject(object, "balanced_accuracy_secure", f->secure_balanced);
  cJSON_AddNumberToObject(object, "seconds", f->seconds);
  cJSON_AddStringToObject(object, "model_sha256", f->model);
  return object;
}

static cJSON *whole_json(const struct fold *folds, int n, double seconds) {
  double verified = 0, failed = 0, recovered = 0;
  cJSON *object = cJSON_CreateObject(), *per_fold = cJSON_CreateArray(), *audit;
  for (int i = 0; i < n; i++) {
    cJSON_AddItemToArray(per_fold, fold_json(&folds[i]));
    verified += folds[i].logs_verified;
    failed += folds[i].logs_failed;
    recovered += folds[i].recovered;
  }
  cJSON_AddNumberToObject(object, "nodes", folds[0].nodes);
  cJSON_AddNumberToObject(object, "rounds", folds[0].rounds);
  cJSON_AddStringToObject(object, "data", folds[0].data);
  cJSON_AddNumberToObject(object, "seconds", seconds);
  cJSON_AddNumberToObject(object, "bytes_up_per_node", OVER(bytes_up).mean);
  cJSON_AddNumberToObject(object, "recovered_dropouts", recovered);
  cJSON_AddItemToObject(object, "auroc", arms_json(folds, n, offsetof(struct fold, auroc)));
  cJSON_AddItemToObject(object, "balanced_accuracy",
                        arms_json(folds, n, offsetof(struct fold, balanced)));
  cJSON_AddNumberToObject(object, "auroc_federated_secure", OVER(secure_auroc).mean);
  audit = cJSON_AddObjectToObject(object, "audit");
  cJSON_AddNumberToObject(audit, "verified", verified);
  cJSON_AddNumberToObject(audit, "failed", failed);
  cJSON_AddStringToObject(object, "model_sha256", folds[n - 1].model);
  cJSON_AddItemToObject(object, "folds", per_fold);
  return object;
}

int main(int argc, char **argv) {
  struct fold folds[FOLDS];
  struct nx_error err = {0};
  int n = 0;
  if (argc < 5 || argc - 4 > FOLDS) {
    fprintf(stderr, "usage: neurox-demo-report FOLDER SECONDS JSON|- FOLD…\n");
    return 2;
  }
  for (int i = 4; i < argc; i++)
    folds[n++] = read_fold(argv[1], atoi(argv[i]));
  print_table(folds, n);
  print_costs(folds, n);
  if (strcmp(argv[3], "-")) {
    cJSON *json = whole_json(folds, n, atof(argv[2]));
    char *printed = cJSON_Print(json);
    if (!printed || nx_file_replace(argv[3], nx_bytes(printed, strlen(printed)), 0644, &err) < 0)
      stop(argv[3], printed ? err.text : "out of memory");
    free(printed);
    cJSON_Delete(json);
  }
  for (int i = 0; i < n; i++)
    if (folds[i].logs_failed > 0)
      return 1;
  return 0;
}
