/* Verb import: a released model becomes one that a plan may start from. */
#include <stdio.h>
#include <strings.h>

#include "common/config.h"
#include "common/plan.h"
#include "common/plan_initial_model.h"
#include "coordinator/admin/federation.h"
#include "coordinator/run_model.h"
#include "coordinator/verbs/coordinator_verb.h"
#include "models/import.h"
#include "models/released.h"

static int read_plan(const char *path, struct nx_plan **plan_out, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer text = {0};
  int r = nx_file_read(path, NX_CONFIG_CAP, &text, err);
  return r < 0 ? r : nx_plan_parse(path, nx_buffer_view(&text), plan_out, err);
}

static int check_hash(struct nx_bytes sealed, const char *wanted, char hex[NX_HASH_HEX_SIZE],
                      struct nx_error *err) {
  struct nx_hash hash = nx_sha256(sealed.data, sealed.size);
  nx_hash_hex(&hash, hex);
  if (!wanted || !strcasecmp(wanted, hex))
    return 0;
  return nx_fail(err, NX_E_CRYPTO,
                 "its SHA-256 is %s, not what --sha256 says: it is another model, "
                 "or was changed",
                 hex);
}

static int read_model(const char *path, const char *wanted, const struct nx_plan *plan,
                      struct nx_model **model_out, struct nx_import_report *report,
                      char hex[NX_HASH_HEX_SIZE], struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer file = {.cap = NX_BLOB_CAP},
                                               room = {.cap = NX_BLOB_CAP};
  struct nx_bytes sealed;
  int r = nx_file_read(path, NX_BLOB_CAP, &file, err);
  if (r < 0)
    return r; /* names the path */
  if ((r = nx_released_sealed(nx_buffer_view(&file), &room, &sealed, err)) == 0 &&
      (r = check_hash(sealed, wanted, hex, err)) == 0)
    r = nx_model_import(plan, sealed, model_out, report, err);
  return r < 0 ? nx_error_prefix(err, r, "%s", path) : 0;
}

/* A plan that names its first model already must mean this one. */
static int check_named(const struct nx_plan *plan, const struct nx_hash *hash,
                       struct nx_error *err) {
  struct nx_hash named;
  char hex[NX_HASH_HEX_SIZE];
  nx_hash_hex(hash, hex);
  static const struct nx_hash not_yet_known;
  if (!nx_plan_initial_model_hash(plan, named.bytes) || nx_hash_equal(&named, hash) ||
      nx_hash_equal(&named, &not_yet_known))
    return 0;
  return nx_fail(err, NX_E_INVALID,
                 "the plan's initial_model.sha256 is another model's; of this one it would be %s",
                 hex);
}

static int import(const char *home, const char *path, const char *plan_path, const char *wanted,
                  struct nx_error *err) {
  _cleanup_(nx_plan_destroyp) struct nx_plan *plan = NULL;
  _cleanup_(nx_model_destroyp) struct nx_model *model = NULL;
  _cleanup_(nx_buffer_finish) struct nx_buffer bytes = {.cap = NX_BLOB_CAP};
  _cleanup_(nx_federation_closep) struct nx_federation *federation = NULL;
  struct nx_model_registry registry;
  struct nx_import_report report;
  struct nx_hash hash;
  char blobs[NX_PATH_SIZE], source[NX_HASH_HEX_SIZE], hex[NX_HASH_HEX_SIZE];
  int r =
      nx_federation_open(home, &federation, err); /* that there is one, before anything is made */
  if (r < 0 || (r = read_plan(plan_path, &plan, err)) < 0 ||
      (r = read_model(path, wanted, plan, &model, &report, source, err)) < 0 ||
      (r = nx_model_save(model, &bytes, err)) < 0)
    return r;
  hash = nx_sha256(bytes.data, bytes.size);
  if ((r = check_named(plan, &hash, err)) < 0 ||
      (r = nx_path_join(blobs, home, "blobs", err)) < 0 ||
      (r = nx_model_registry_init(&registry, blobs, err)) < 0 ||
      (r = nx_model_registry_put(&registry, nx_buffer_view(&bytes), &hash, err)) < 0)
    return r;
  nx_hash_hex(&hash, hex);
  printf("from: %s\ntensors: %zu taken, %zu new from the plan's seed, %zu not used\n"
         "%s\ninitial_model:\n  sha256: %s\n",
         source, report.n_taken, report.n_drawn, report.n_dropped,
         plan->initial_model && !strcasecmp(plan->initial_model->sha256, hex)
             ? "the plan names it already:"
             : "write this into the plan:",
         hex);
  return 0;
}

static int run_import(int argc, char *const *argv, struct nx_error *err) {
  const char *given = NX_COORDINATOR_HOME, *plan = NULL, *wanted = NULL, *model;
  const struct nx_option options[] = {{.name = "home", .value = &given},
                                      {.name = "plan", .value = &plan},
                                      {.name = "sha256", .value = &wanted}};
  char home[NX_PATH_SIZE];
  size_t n_words;
  if (nx_options_parse(argc, argv, options, NX_ARRAY_LENGTH(options), &model, 1, &n_words, err) <
          0 ||
      nx_verb_home(given, home, err) < 0)
    return NX_VERB_USAGE;
  if (!n_words || !plan) {
    nx_fail(err, NX_E_INVALID,
            "name a model file, and with --plan the plan that is to start from it");
    return NX_VERB_USAGE;
  }
  return import(home, model, plan, wanted, err);
}

const struct nx_coordinator_verb nx_coordinator_import = {
    .name = "import",
    .summary = "let a plan start from a released model",
    .help =
        "usage: neurox-coordinator import MODEL --plan PLAN [--sha256 HEX]\n\n"
        "Reads a model file that export wrote, here or in another federation, checks every tensor\n"
        "against the plan's network, keeps it for the nodes to fetch, and prints the section\n"
        "initial_model that the plan needs to start from it. The plan may have another name, "
        "labels,\n"
        "rates of learning or objective: what only its objective has (a head, a decoder) is drawn\n"
        "from its seed. Then: neurox-coordinator start PLAN. May run while the hub is "
        "served.\n\n" NX_HELP_COORDINATOR_HOME "  --plan PLAN     the plan; without the section "
        "initial_model, or with 64 zeros in it (a plan\n"
        "                  with adapters needs the section), or with the right hash\n"
        "  --sha256 HEX    refuse a file that is not the model with this hash (export prints it)\n",
    .run = run_import,
};
