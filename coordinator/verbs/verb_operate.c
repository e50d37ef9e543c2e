/* Verbs start, pause, stop, status, members: what an operator tells the running coordinator. */
#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/plan.h"
#include "coordinator/store/run_store.h"
#include "coordinator/verbs/coordinator_verb.h"
#include "coordinator/verbs/operator_client.h"
#include "coordinator/verbs/sites.h"

static const char *kind_name(uint32_t kind) {
  return kind == 1 ? "statistics" : kind == 2 ? "training" : "evaluation";
}

static void print_figure(const char *name, double value) {
  if (!isnan(value))
    printf("%s: %.4f\n", name, value);
}

static void print_run(const struct nx_admin_status *s) {
  char hex[NX_HASH_HEX_SIZE];
  printf("run: %llu %s, %s\nrounds: %llu of %llu sealed\n", (unsigned long long)s->run,
         s->plan_name, nx_run_state_name((enum nx_run_state)s->run_state),
         (unsigned long long)s->n_sealed, (unsigned long long)s->n_rounds);
  if (s->round)
    printf("now: round %llu (%s), attempt %u: %s %u of %u\n", (unsigned long long)s->round,
           kind_name(s->kind), s->attempt, s->phase, s->n_done, s->n_cohort);
  if (s->note[0])
    printf("note: %s\n", s->note);
  print_figure("training loss", s->train_loss);
  print_figure("held-out loss", s->held_out_loss);
  print_figure("AUROC", s->auroc);
  print_figure("balanced accuracy", s->balanced_accuracy);
  print_figure("calibration error", s->calibration_error);
  print_figure("R squared", s->r_squared);
  print_figure("correlation", s->correlation);
  printf("uploaded: %.1f MB\nrecovered dropouts: %u\n", (double)s->bytes_up / 1e6, s->n_recovered);
  nx_hash_hex(&s->model, hex);
  printf("model: %s\n", hex);
}

static void print_status(const struct nx_admin_status *s) {
  printf("federation: %s\nmembers: %u, %u connected%s\n", s->federation_name, s->n_members,
         s->n_connected, s->manifest_sealed ? "" : " (manifest not sealed yet)");
  if (s->n_invited)
    printf("invitations open: %u\n", s->n_invited);
  if (s->run_state)
    print_run(s);
  else
    printf("run: none yet\n");
}

/* Figures that are not there yet are null. */
static void add_figure(cJSON *object, const char *name, double value) {
  if (isnan(value))
    cJSON_AddNullToObject(object, name);
  else
    cJSON_AddNumberToObject(object, name, value);
}

static void add_hash(cJSON *object, const char *name, const struct nx_hash *hash) {
  char hex[NX_HASH_HEX_SIZE];
  nx_hash_hex(hash, hex);
  cJSON_AddStringToObject(object, name, hex);
}

static void add_run(cJSON *object, const struct nx_admin_status *s) {
  int64_t until = s->ended ? s->ended : nx_clock_unix();
  double seconds = s->started ? (double)(until - s->started) / 1e9 : 0;
  cJSON_AddStringToObject(object, "plan", s->plan_name);
  add_hash(object, "plan_sha256", &s->plan);
  cJSON_AddNumberToObject(object, "rounds", (double)s->n_trained);
  cJSON_AddNumberToObject(object, "rounds_sealed", (double)s->n_sealed);
  cJSON_AddNumberToObject(object, "rounds_all", (double)s->n_rounds);
  cJSON_AddNumberToObject(object, "round", (double)s->round);
  cJSON_AddNumberToObject(object, "attempt", s->attempt);
  cJSON_AddStringToObject(object, "phase", s->phase);
  cJSON_AddStringToObject(object, "note", s->note);
  cJSON_AddNumberToObject(object, "seconds", seconds);
  cJSON_AddNumberToObject(object, "bytes_up", (double)s->bytes_up);
  cJSON_AddNumberToObject(object, "bytes_up_per_node",
                          s->n_members ? (double)(s->bytes_up / s->n_members) : 0);
  cJSON_AddNumberToObject(object, "recovered_dropouts", s->n_recovered);
  add_figure(object, "train_loss", s->train_loss);
  add_figure(object, "held_out_loss", s->held_out_loss);
  add_figure(object, "auroc", s->auroc);
  add_figure(object, "balanced_accuracy", s->balanced_accuracy);
  add_figure(object, "calibration_error", s->calibration_error);
  add_figure(object, "r_squared", s->r_squared);
  add_figure(object, "correlation", s->correlation);
  add_hash(object, "model_sha256", &s->model);
}

static int print_json(const struct nx_admin_status *s, const struct nx_sites *sites,
                      struct nx_error *err) {
  cJSON *object = cJSON_CreateObject();
  cJSON_AddStringToObject(object, "federation", s->federation_name);
  cJSON_AddNumberToObject(object, "nodes", s->n_members);
  cJSON_AddNumberToObject(object, "connected", s->n_connected);
  cJSON_AddNumberToObject(object, "invited", s->n_invited);
  cJSON_AddBoolToObject(object, "manifest_sealed", s->manifest_sealed);
  cJSON_AddStringToObject(
      object, "state", s->run_state ? nx_run_state_name((enum nx_run_state)s->run_state) : "none");
  add_run(object, s);
  nx_sites_json(sites, object);
  char *text = cJSON_Print(object);
  cJSON_Delete(object);
  if (!text)
    return nx_fail(err, NX_E_NOMEM, "out of memory");
  puts(text);
  cJSON_free(text);
  return 0;
}

/* --- status, pause, stop ---------------------------------------------------------------- */

struct request {
  const char *method, *reason;
  struct nx_hash plan; /* status: of which plan sites are told; zero: the present one */
  bool json;
};

static int ask(const char *home, const struct request *request, struct nx_admin_status *status,
               struct nx_sites *sites, struct nx_error *err) {
  _cleanup_(nx_operator_close) struct nx_operator operator_ = {0};
  _cleanup_(nx_buffer_finish) struct nx_buffer bytes = {0};
  struct nx_admin_request message = {0};
  snprintf(message.reason, sizeof message.reason, "%s", request->reason ? request->reason : "");
  int r = nx_admin_request_encode(&message, &bytes, err);
  if (r < 0 || (r = nx_operator_open(home, &operator_, err)) < 0)
    return r;
  r = nx_operator_status(&operator_, request->method, nx_buffer_view(&bytes), status, err);
  bool whole = r == 0 && !strcmp(request->method, NX_METHOD_ADMIN_STATUS);
  return whole ? nx_sites_get(&operator_, &request->plan, sites, err) : r;
}

static int run_simple(int argc, char *const *argv, const char *name, const char *method,
                      struct nx_error *err) {
  _cleanup_(nx_sites_finish) struct nx_sites sites = {0};
  const char *given = NX_COORDINATOR_HOME, *plan = NULL, *words;
  struct request request = {.method = method};
  const struct nx_option options[] = {{.name = "home", .value = &given},
                                      {.name = "json", .flag = &request.json},
                                      {.name = "reason", .value = &request.reason},
                                      {.name = "plan", .value = &plan}};
  struct nx_admin_status status;
  char home[NX_PATH_SIZE];
  size_t n_words, n_options = 3;
  bool is_status = !strcmp(name, "status");
  const struct nx_option of_status[] = {options[0], options[1], options[3]};
  if (nx_options_parse(argc, argv, is_status ? of_status : options, n_options, &words, 0, &n_words,
                       err) < 0 ||
      nx_verb_home(given, home, err) < 0 ||
      (plan && nx_hash_from_hex(plan, &request.plan, err) < 0))
    return NX_VERB_USAGE;
  int r = ask(home, &request, &status, &sites, err);
  if (r < 0)
    return nx_error_prefix(err, r, "%s", name);
  if (request.json)
    return print_json(&status, &sites, err);
  print_status(&status);
  nx_sites_print(&sites);
  return 0;
}

static int run_status(int argc, char *const *argv, struct nx_error *err) {
  return run_simple(argc, argv, "status", NX_METHOD_ADMIN_STATUS, err);
}

static int run_pause(int argc, char *const *argv, struct nx_error *err) {
  return run_simple(argc, argv, "pause", NX_METHOD_ADMIN_PAUSE, err);
}

static int run_stop(int argc, char *const *argv, struct nx_error *err) {
  return run_simple(argc, argv, "stop", NX_METHOD_ADMIN_STOP, err);
}

const struct nx_coordinator_verb nx_coordinator_status = {
    .name = "status",
    .summary = "how the federation and its run stand",
    .help =
        "usage: neurox-coordinator status [--json] [--plan SHA256]\n\n"
        "Which sites can take part in the plan (of the run, or submitted last), and for those\n"
        "that cannot which of its requirements their data do not meet; sites answer that\n"
        "themselves, before a run. Counts are rounded down by the site.\n\n"
        "Losses, AUROC, balanced accuracy and calibration error come out of masked sums: nobody's\n"
        "own figures are known here.\n\n" NX_HELP_COORDINATOR_HOME
        "  --json          one JSON object, for programs\n"
        "  --plan SHA256   answers about this plan (of the last 16 asked about)\n",
    .run = run_status,
};
const struct nx_coordinator_verb nx_coordinator_pause = {
    .name = "pause",
    .summary = "hold the run after the present round",
    .help = "usage: neurox-coordinator pause [--reason TEXT]\n\n"
            "The present round is finished first. Go on with start and the same "
            "plan.\n\n" NX_HELP_COORDINATOR_HOME,
    .run = run_pause,
};
const struct nx_coordinator_verb nx_coordinator_stop = {
    .name = "stop",
    .summary = "end the run after the present round",
    .help = "usage: neurox-coordinator stop [--reason TEXT]\n\n"
            "The present round is finished first; what was sealed stays. A stopped run does not\n"
            "go on: start begins a new one.\n\n" NX_HELP_COORDINATOR_HOME,
    .run = run_stop,
};

/* --- start --------------------------------------------------------------------------------- */

/* Until so many members are connected, or an hour has passed. */
static int wait_for_members(struct nx_operator *operator_, uint64_t wanted, struct nx_error *err) {
  struct nx_admin_status status;
  for (int i = 0; i < 18000; i++) {
    int r = nx_operator_status(operator_, NX_METHOD_ADMIN_STATUS, nx_bytes(NULL, 0), &status, err);
    if (r < 0 || status.n_connected >= wanted)
      return r;
    nx_clock_sleep(200 * NX_MILLISECOND);
  }
  return nx_fail(err, NX_E_TIMEOUT, "only %u of %llu members connected within an hour",
                 status.n_connected, (unsigned long long)wanted);
}

static int start(const char *home, const char *path, uint64_t wait, struct nx_admin_status *status,
                 struct nx_sites *sites, struct nx_error *err) {
  _cleanup_(nx_operator_close) struct nx_operator operator_ = {0};
  _cleanup_(nx_buffer_finish) struct nx_buffer plan = {0}, request = {0};
  int r = nx_file_read(path, NX_ADMIN_PLAN_CAP, &plan, err);
  if (r == 0)
    r = nx_admin_start_encode(&(struct nx_admin_start){.plan = nx_buffer_view(&plan)}, &request,
                              err);
  if (r < 0 || (r = nx_operator_open(home, &operator_, err)) < 0 ||
      (wait && (r = wait_for_members(&operator_, wait, err)) < 0))
    return r;
  r = nx_operator_status(&operator_, NX_METHOD_ADMIN_START, nx_buffer_view(&request), status, err);
  return r < 0 ? r : nx_sites_get(&operator_, NULL, sites, err);
}

static int run_start(int argc, char *const *argv, struct nx_error *err) {
  _cleanup_(nx_sites_finish) struct nx_sites sites = {0};
  const char *given = NX_COORDINATOR_HOME, *wait_text = NULL, *path;
  const struct nx_option options[] = {{.name = "home", .value = &given},
                                      {.name = "wait-members", .value = &wait_text}};
  struct nx_admin_status status;
  char home[NX_PATH_SIZE];
  uint64_t wait = 0;
  size_t n_words;
  if (nx_options_parse(argc, argv, options, 2, &path, 1, &n_words, err) < 0 ||
      nx_verb_home(given, home, err) < 0 ||
      (wait_text && nx_option_number("wait-members", wait_text, 0, 255, &wait, err) < 0))
    return NX_VERB_USAGE;
  if (!n_words) {
    nx_fail(err, NX_E_INVALID, "name the plan's file");
    return NX_VERB_USAGE;
  }
  int r = start(home, path, wait, &status, &sites, err);
  if (r < 0)
    return nx_error_prefix(err, r, "start %.200s", path);
  print_status(&status);
  nx_sites_print(&sites);
  return 0;
}

const struct nx_coordinator_verb nx_coordinator_start = {
    .name = "start",
    .summary = "run a plan with the members who are here",
    .help = "usage: neurox-coordinator start PLAN [--wait-members N]\n\n"
            "Sends the plan exactly as written; its SHA-256 is what members approve. The first\n"
            "start seals the manifest of members. A run is one round of feature statistics, the\n"
            "plan's training rounds, and one round of evaluation, each a secure sum. With the\n"
            "plan of a paused run, start goes on with it.\n\n"
            "Sites whose data do not meet what the plan requires are named and not invited; where\n"
            "too few are left, start says so and nothing begins (submit the plan first: then they\n"
            "have answered).\n\n" NX_HELP_COORDINATOR_HOME
            "  --wait-members N   wait first until N members are connected\n",
    .run = run_start,
};

/* --- submit ------------------------------------------------------------------------------ */

static int submit(const char *home, const char *path, struct nx_hash *hash, struct nx_error *err) {
  _cleanup_(nx_operator_close) struct nx_operator operator_ = {0};
  _cleanup_(nx_buffer_finish) struct nx_buffer plan = {0}, request = {0};
  _cleanup_(nx_plan_destroyp) struct nx_plan *parsed = NULL;
  struct nx_admin_status status;
  int r = nx_file_read(path, NX_ADMIN_PLAN_CAP, &plan, err);
  if (r < 0 || (r = nx_plan_parse(path, nx_buffer_view(&plan), &parsed, err)) < 0 ||
      (r = nx_admin_start_encode(&(struct nx_admin_start){.plan = nx_buffer_view(&plan)}, &request,
                                 err)) < 0 ||
      (r = nx_operator_open(home, &operator_, err)) < 0)
    return r;
  *hash = nx_sha256(plan.data, plan.size);
  return nx_operator_status(&operator_, NX_METHOD_ADMIN_SUBMIT, nx_buffer_view(&request), &status,
                            err);
}

static int run_submit(int argc, char *const *argv, struct nx_error *err) {
  const char *given = NX_COORDINATOR_HOME, *path;
  const struct nx_option options[] = {{.name = "home", .value = &given}};
  char home[NX_PATH_SIZE], hex[NX_HASH_HEX_SIZE];
  struct nx_hash hash;
  size_t n_words;
  if (nx_options_parse(argc, argv, options, 1, &path, 1, &n_words, err) < 0 ||
      nx_verb_home(given, home, err) < 0)
    return NX_VERB_USAGE;
  if (!n_words) {
    nx_fail(err, NX_E_INVALID, "name the plan's file");
    return NX_VERB_USAGE;
  }
  int r = submit(home, path, &hash, err);
  if (r < 0)
    return nx_error_prefix(err, r, "submit %.200s", path);
  nx_hash_hex(&hash, hex);
  printf("submitted: %s\nmembers can read it (neurox-node plan show %.12s) and decide\n", hex, hex);
  return 0;
}

const struct nx_coordinator_verb nx_coordinator_submit = {
    .name = "submit",
    .summary = "give a plan to the members to read and decide about; nothing runs",
    .help =
        "usage: neurox-coordinator submit PLAN\n\n"
        "For researchers and operators. The plan is checked, kept exactly as written, and shown\n"
        "to every member: connected ones at once, others when they connect (the last sixteen\n"
        "plans). Sites ask their steward by default, so submit first, and start once they have\n"
        "approved: a site that has not takes part in no round.\n\n" NX_HELP_COORDINATOR_HOME,
    .run = run_submit,
};

/* --- members ------------------------------------------------------------------------------- */

static const char *state_name(uint32_t state) {
  static const char *const names[] = {
      [NX_MEMBER_INVITED] = "invited", [NX_MEMBER_EXPIRED] = "invitation expired",
      [NX_MEMBER_AWAY] = "away",       [NX_MEMBER_IDLE] = "connected",
      [NX_MEMBER_WORKING] = "working", [NX_MEMBER_REVOKED] = "revoked"};
  return state < NX_ARRAY_LENGTH(names) && names[state] ? names[state] : "?";
}

static void print_member(const struct nx_admin_member *m) {
  char fingerprint[NX_FINGERPRINT_SIZE], seen[21] = "never";
  uint8_t keys[NX_PUBLIC_KEY_SIZE + NX_HASH_SIZE]; /* as neurox-node members shows them */
  memcpy(keys, m->identity.bytes, NX_PUBLIC_KEY_SIZE);
  memcpy(keys + NX_PUBLIC_KEY_SIZE, m->spki.bytes, NX_HASH_SIZE);
  nx_fingerprint(nx_bytes(keys, sizeof keys), fingerprint);
  if (m->last_seen)
    nx_clock_format(m->last_seen, seen);
  printf("%3u  %-24s %-10s %s  seen %s", m->id, m->name, state_name(m->state), fingerprint, seen);
  if (m->last_round)
    printf("  in round %llu", (unsigned long long)m->last_round);
  if (m->total)
    printf("  step %llu of %llu", (unsigned long long)m->done, (unsigned long long)m->total);
  putchar('\n');
}

static int list(const char *home, struct nx_error *err) {
  _cleanup_(nx_operator_close) struct nx_operator operator_ = {0};
  _cleanup_(nx_buffer_finish) struct nx_buffer response = {0};
  _cleanup_(nx_arena_destroyp) struct nx_arena *arena = NULL;
  struct nx_admin_members members;
  int r = nx_operator_open(home, &operator_, err);
  if (r < 0 ||
      (r = nx_operator_call(&operator_, NX_METHOD_ADMIN_MEMBERS, nx_bytes(NULL, 0), &response,
                            err)) < 0 ||
      (r = nx_arena_create(NX_ADMIN_ARENA, &arena, err)) < 0 ||
      (r = nx_admin_members_decode(nx_buffer_view(&response), arena, &members, err)) < 0)
    return r;
  for (size_t i = 0; i < members.n; i++)
    print_member(&members.items[i]);
  if (!members.n)
    puts("no member has enrolled yet: neurox-coordinator invite NAME");
  return 0;
}

static int run_members(int argc, char *const *argv, struct nx_error *err) {
  const char *given = NX_COORDINATOR_HOME, *words;
  const struct nx_option options[] = {{.name = "home", .value = &given}};
  char home[NX_PATH_SIZE];
  size_t n_words;
  if (nx_options_parse(argc, argv, options, 1, &words, 0, &n_words, err) < 0 ||
      nx_verb_home(given, home, err) < 0)
    return NX_VERB_USAGE;
  int r = list(home, err);
  return r < 0 ? nx_error_prefix(err, r, "members") : 0;
}

const struct nx_coordinator_verb nx_coordinator_members = {
    .name = "members",
    .summary = "who has enrolled, with fingerprints, and who is here",
    .help = "usage: neurox-coordinator members\n\n"
            "One line a member: id, name, state, the fingerprint of its keys (each\n"
            "institution sees the same with neurox-node members), when it was last heard, and the\n"
            "last round whose sum holds its update.\n\n" NX_HELP_COORDINATOR_HOME,
    .run = run_members,
};
