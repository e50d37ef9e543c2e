/* Verbs init, invite, serve, export: what works on the federation's own folder. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include "common/clock.h"
#include "coordinator/address.h"
#include "coordinator/admin/enrolment.h"
#include "coordinator/coordinator.h"
#include "coordinator/drill.h"
#include "coordinator/verbs/coordinator_verb.h"
#include "coordinator/verbs/participation.h"
#include "models/model.h"
#include "models/quantised.h"
#include "models/tensor/quantise.h"

int nx_verb_home(const char *given, char out[NX_PATH_SIZE], struct nx_error *err) {
  if (!*given || snprintf(out, NX_PATH_SIZE, "%s", given) >= NX_PATH_SIZE)
    return nx_fail(err, NX_E_INVALID, "--home: not a folder's name");
  for (size_t n = strlen(out); n > 1 && out[n - 1] == '/'; n--)
    out[n - 1] = 0;
  return 0;
}

/* --- init ------------------------------------------------------------------------------- */

static void tell_created(const char *home, const char *root, const struct nx_federation *f) {
  char id[33], fingerprint[NX_FINGERPRINT_SIZE];
  nx_federation_id_hex(f, id);
  nx_fingerprint(nx_bytes(f->row.identity.bytes, sizeof f->row.identity.bytes), fingerprint);
  printf("federation: %s\nid: %s\naddress: %s\nenrolment: %s\nfolder: %s\n"
         "coordinator's key: %s\n\n"
         "The root's key is in %s%s: take that folder offline, two copies, and remove it here.\n\n"
         "Next: neurox-coordinator serve --home %s\n"
         "      neurox-coordinator invite NAME --home %s      for each institution\n",
         f->row.name, id, f->config->address, f->config->enrol_address, home, fingerprint,
         root ? root : home, root ? "" : "/root", home, home);
}

static int run_init(int argc, char *const *argv, struct nx_error *err) {
  const char *given = NX_COORDINATOR_HOME, *words;
  struct nx_federation_request request = {.name = "Neuro-X federation",
                                          .address = "127.0.0.1:7443"};
  const struct nx_option options[] = {{.name = "home", .value = &given},
                                      {.name = "name", .value = &request.name},
                                      {.name = "address", .value = &request.address},
                                      {.name = "enrol-address", .value = &request.enrol_address},
                                      {.name = "listen", .value = &request.listen},
                                      {.name = "enrol-listen", .value = &request.enrol_listen},
                                      {.name = "root", .value = &request.root}};
  _cleanup_(nx_federation_closep) struct nx_federation *federation = NULL;
  char home[NX_PATH_SIZE];
  size_t n_words;
  if (nx_options_parse(argc, argv, options, NX_ARRAY_LENGTH(options), &words, 0, &n_words, err) <
          0 ||
      nx_verb_home(given, home, err) < 0)
    return NX_VERB_USAGE;
  request.home = home;
  int r = nx_federation_create(&request, err);
  if (r < 0 || (r = nx_federation_open(home, &federation, err)) < 0)
    return nx_error_prefix(err, r, "init");
  tell_created(home, request.root, federation);
  return 0;
}

const struct nx_coordinator_verb nx_coordinator_init = {
    .name = "init",
    .summary = "make a federation: its keys, certificates, store and config",
    .help =
        "usage: neurox-coordinator init [--name NAME] [--address HOST:PORT] [OPTION…]\n\n"
        "Makes the folder of a new federation: a certificate authority, the coordinator's\n"
        "certificate and signing key, the operator's certificate, the store, and\n"
        "coordinator.yaml. Private keys are made here, mode 0600, and never leave. When\n"
        "anything fails, nothing is left behind.\n\n" NX_HELP_COORDINATOR_HOME
        "  --name NAME     of the federation, as its members will see it\n"
        "  --address H:P   where members reach it (default 127.0.0.1:7443; port 0 picks a\n"
        "                  free one); this goes into every invitation\n"
        "  --enrol-address H:P   for enrolment, open only while someone is invited (default:\n"
        "                  the next port)\n"
        "  --listen H:P  --enrol-listen H:P   what to bind here, when it is not the address\n"
        "  --root DIR      a new folder for the root's key, on a stick (default HOME/root); it\n"
        "                  is needed only by neurox-coordinator ca\n",
    .run = run_init,
};

/* --- invite ------------------------------------------------------------------------------- */

/* Somebody serves this folder: then its lock is held. */
bool nx_verb_is_served(const char *home) {
  int fd = -1;
  if (nx_folder_lock(home, &fd, NULL) < 0)
    return true;
  close(fd);
  return false;
}

/* The port opens within a moment of the invitation; an institution may be told at once. */
static void wait_for_port(const struct nx_federation *f) {
  struct nx_address address;
  for (int i = 0; i < 60 && nx_verb_is_served(f->home); i++) {
    if (nx_address_parse(f->config->enrol_listen, &address, NULL) < 0 ||
        nx_address_answers(&address))
      return;
    nx_clock_sleep(50 * NX_MILLISECOND);
  }
}

static int run_invite(int argc, char *const *argv, struct nx_error *err) {
  const char *given = NX_COORDINATOR_HOME, *out = NULL, *hours_text = NULL, *name;
  bool again = false;
  const struct nx_option options[] = {{.name = "home", .value = &given},
                                      {.name = "out", .value = &out},
                                      {.name = "hours", .value = &hours_text},
                                      {.name = "again", .flag = &again}};
  _cleanup_(nx_federation_closep) struct nx_federation *federation = NULL;
  struct nx_enrolment_invited invited;
  char home[NX_PATH_SIZE], path[NX_PATH_SIZE], until[21];
  uint64_t hours = 0;
  size_t n_words;
  if (nx_options_parse(argc, argv, options, NX_ARRAY_LENGTH(options), &name, 1, &n_words, err) <
          0 ||
      nx_verb_home(given, home, err) < 0 ||
      (hours_text && nx_option_number("hours", hours_text, 1, 8760, &hours, err) < 0))
    return NX_VERB_USAGE;
  if (!n_words) {
    nx_fail(err, NX_E_INVALID, "name the institution to invite");
    return NX_VERB_USAGE;
  }
  snprintf(path, sizeof path, "%s.invitation", name);
  if (!out && strchr(name, '/')) {
    nx_fail(err, NX_E_INVALID, "a name with a slash: say with --out where to write");
    return NX_VERB_USAGE;
  }
  out = out ? out : path;
  int r = nx_federation_open(home, &federation, err);
  if (r < 0 ||
      (r = nx_enrolment_invite(federation, name, (uint32_t)hours, again, out, &invited, err)) < 0)
    return nx_error_prefix(err, r, "invite %.64s", name);
  wait_for_port(federation);
  nx_clock_format(invited.expires, until);
  printf("invitation: %s\nmember: %u %s\nexpires: %s\nfingerprint: %s\n\n"
         "Send the file; read the fingerprint out over the telephone, never in the same letter.\n",
         out, invited.member, name, until, invited.fingerprint);
  return 0;
}

const struct nx_coordinator_verb nx_coordinator_invite = {
    .name = "invite",
    .summary = "write an invitation file for one institution",
    .help = "usage: neurox-coordinator invite NAME [--out FILE] [--hours N]\n\n"
            "Writes a file with the coordinator's addresses, the federation's CA and a token that\n"
            "works once, and prints its fingerprint. Send the file by any means; read the\n"
            "fingerprint out over the telephone. At the institution:\n"
            "    neurox-node init FILE --fingerprint '…'\n"
            "The enrolment port is open only while an invitation is. Members can be invited until\n"
            "the first start, which seals the manifest of members.\n\n" NX_HELP_COORDINATOR_HOME
            "  --out FILE      where to write it (default NAME.invitation)\n"
            "  --hours N       how long it can be used (default: coordinator.yaml)\n"
            "  --again         for a member whose certificate ended while it was off: it comes\n"
            "                  back with its own keys (neurox-node renew FILE)\n",
    .run = run_invite,
};

/* --- serve -------------------------------------------------------------------------------- */

static int run_serve(int argc, char *const *argv, struct nx_error *err) {
  const char *given = NX_COORDINATOR_HOME, *drill = NULL, *words;
  const struct nx_option options[] = {{.name = "home", .value = &given},
                                      {.name = "drill", .value = &drill}};
  struct nx_serve_options serve = {0};
  char home[NX_PATH_SIZE];
  size_t n_words;
  if (nx_options_parse(argc, argv, options, 2, &words, 0, &n_words, err) < 0 ||
      nx_verb_home(given, home, err) < 0 || (drill && nx_drill_parse(drill, &serve, err) < 0))
    return NX_VERB_USAGE;
  int r = nx_coordinator_serve(home, &serve, err);
  return r < 0 ? nx_error_prefix(err, r, "serve") : 0;
}

const struct nx_coordinator_verb nx_coordinator_serve_verb = {
    .name = "serve",
    .summary = "run the coordinator until it is stopped",
    .help =
        "usage: neurox-coordinator serve [--home DIR]\n\n"
        "Listens for members (mutual TLS 1.3) and, while someone is invited, for enrolment.\n"
        "Logs go to stderr. Stop it with SIGTERM or Ctrl-C. Killed at any moment, it goes on\n"
        "where it was when it is started again: everything it promised is on "
        "disk.\n\n" NX_HELP_COORDINATOR_HOME
        "  --drill kill-after-WHAT@N | kill-before-WHAT@N   for exercises: dies (SIGKILL) when\n"
        "                  the N-th WHAT becomes durable; start it again and see. WHAT: record\n"
        "                  (any), attempt, invite, roster, shares, bundle, upload, commit,\n"
        "                  certificate, opened, result, aborting, ended, sealed\n",
    .run = run_serve,
};

/* --- export ------------------------------------------------------------------------------- */

static int find_model(struct nx_federation *f, const char *round_text, struct nx_hash *hash,
                      struct nx_store_sealed *sealed_out, struct nx_error *err) {
  struct nx_store_sealed sealed;
  uint64_t round = 0;
  int r = round_text ? nx_option_number("round", round_text, 1, UINT64_MAX >> 1, &round, err) : 0;
  if (r == 0)
    r = round ? nx_run_store_sealed(f->store, round, &sealed, err)
              : nx_run_store_last_sealed(f->store, &sealed, err);
  if (r == NX_E_NOT_FOUND)
    return nx_fail(err, NX_E_NOT_FOUND, "no %s has been sealed yet",
                   round ? "such round" : "round");
  *hash = sealed.model_hash;
  *sealed_out = sealed;
  return r;
}

/* What it rests on, in the file and beside it. */
static int write_participation(struct nx_federation *f, uint64_t round, const char *out,
                               struct nx_bytes model, bool bare, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer beside = {0}, inside = {0},
                                               file = {.cap = NX_BLOB_CAP + ((size_t)2 << 20)};
  char path[NX_PATH_SIZE];
  size_t header;
  if (snprintf(path, sizeof path, "%s.participation.json", out) >= (int)sizeof path)
    return nx_fail(err, NX_E_LIMIT, "--out: the path is too long");
  int r = nx_participation_header_bytes(model, &header, err);
  if (r < 0 || (r = nx_participation_write(f, round, header, true, &beside, err)) < 0 ||
      (r = nx_file_replace(path, nx_buffer_view(&beside), 0644, err)) < 0)
    return r;
  if (bare)
    return nx_file_replace(out, model, 0644, err);
  if ((r = nx_participation_write(f, round, header, false, &inside, err)) < 0 ||
      (r = nx_participation_embed(model, nx_buffer_view(&inside), &file, err)) < 0)
    return r;
  return nx_file_replace(out, nx_buffer_view(&file), 0644, err);
}

/* The plain model that adapters over their base are, in what weights asks for; the participation
 * beside it is of the sealed file, from which anybody can make it again. */
static int write_plain(struct nx_federation *f, const struct nx_store_sealed *sealed,
                       const char *out, struct nx_bytes model, enum nx_storage weights,
                       struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer text = {0}, bytes = {.cap = NX_BLOB_CAP};
  _cleanup_(nx_plan_destroyp) struct nx_plan *plan = NULL;
  _cleanup_(nx_model_destroyp) struct nx_model *sealed_model = NULL, *plain = NULL, *few = NULL;
  struct nx_store_run run;
  char hex[NX_HASH_HEX_SIZE];
  int r = nx_run_store_run(f->store, sealed->run, &run, err);
  if (r < 0 || (r = nx_run_store_plan(f->store, &run.plan_hash, &text, err)) < 0 ||
      (r = nx_plan_parse("plan", nx_buffer_view(&text), &plan, err)) < 0 ||
      (r = nx_model_load(plan, model, &sealed_model, err)) < 0 ||
      (r = nx_model_merge(sealed_model, &plain, err)) < 0 ||
      (weights && (r = nx_model_quantise(plain, weights, &few, err)) < 0) ||
      (r = nx_model_save(few ? few : plain, &bytes, err)) < 0 ||
      (r = nx_file_replace(out, nx_buffer_view(&bytes), 0644, err)) < 0)
    return r;
  struct nx_hash hash = nx_sha256(bytes.data, bytes.size);
  nx_hash_hex(&hash, hex);
  printf("%s: %s\n", weights ? nx_storage_name(weights) : "merged", hex);
  return 0;
}

/* A site said that this version stands on somebody who withdrew later. */
static int find_mark(struct nx_federation *f, uint64_t round, struct nx_bytes model,
                     bool *marked_out, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer json = {0};
  size_t header;
  int r = nx_participation_header_bytes(model, &header, err);
  if (r == 0)
    r = nx_participation_write(f, round, header, false, &json, err);
  if (r == 0) /* a name that holds this has its quotes escaped */
    *marked_out = memmem(json.data, json.size, "\"withdrawn\":", 12) != NULL;
  return r;
}

static int run_export(int argc, char *const *argv, struct nx_error *err) {
  const char *given = NX_COORDINATOR_HOME, *out = "model.safetensors", *round = NULL, *words;
  const char *weights = "float32";
  struct nx_store_sealed sealed = {0};
  bool bare = false, merged = false, marked = false;
  const struct nx_option options[] = {
      {.name = "home", .value = &given},   {.name = "out", .value = &out},
      {.name = "round", .value = &round},  {.name = "as-sealed", .flag = &bare},
      {.name = "merged", .flag = &merged}, {.name = "weights", .value = &weights}};
  _cleanup_(nx_federation_closep) struct nx_federation *federation = NULL;
  _cleanup_(nx_buffer_finish) struct nx_buffer model = {.cap = NX_BLOB_CAP};
  struct nx_model_registry registry;
  struct nx_hash hash;
  char home[NX_PATH_SIZE], blobs[NX_PATH_SIZE], hex[NX_HASH_HEX_SIZE];
  size_t n_words;
  if (nx_options_parse(argc, argv, options, NX_ARRAY_LENGTH(options), &words, 0, &n_words, err) <
          0 ||
      nx_verb_home(given, home, err) < 0)
    return NX_VERB_USAGE;
  enum nx_storage storage = !strcmp(weights, "int8")  ? NX_STORAGE_INT8
                            : !strcmp(weights, "nf4") ? NX_STORAGE_NF4
                                                      : NX_STORAGE_FLOAT32;
  if (storage == NX_STORAGE_FLOAT32 && strcmp(weights, "float32") != 0) {
    nx_fail(err, NX_E_INVALID, "--weights %.32s: use float32, int8 or nf4", weights);
    return NX_VERB_USAGE;
  }
  int r = nx_federation_open(home, &federation, err);
  if (r < 0 || (r = find_model(federation, round, &hash, &sealed, err)) < 0 ||
      (r = nx_path_join(blobs, home, "blobs", err)) < 0 ||
      (r = nx_model_registry_init(&registry, blobs, err)) < 0 ||
      (r = nx_model_registry_get(&registry, &hash, &model, err)) < 0 ||
      (r = merged || storage
               ? write_plain(federation, &sealed, out, nx_buffer_view(&model), storage, err)
               : write_participation(federation, sealed.round, out, nx_buffer_view(&model), bare,
                                     err)) < 0 ||
      (r = find_mark(federation, sealed.round, nx_buffer_view(&model), &marked, err)) < 0)
    return nx_error_prefix(err, r, "export");
  nx_hash_hex(&hash, hex);
  printf("model: %s\nsha256: %s (as the members signed it)\nbytes: %zu\n"
         "who was in which round: neurox-audit model %s\n",
         out, hex, model.size, out);
  if (marked)
    puts("MARKED: a site says that this version used data withdrawn later (neurox-audit model "
         "names it); nothing was unlearnt");
  return 0;
}

const struct nx_coordinator_verb nx_coordinator_export = {
    .name = "export",
    .summary = "write the newest sealed model to a file",
    .help =
        "usage: neurox-coordinator export [--out FILE] [--round N]\n\n"
        "Writes a sealed model (safetensors), with what it rests on in its metadata: plan, "
        "rounds,\n"
        "which sites were in each sum, clipping, signatures; and all of it once more beside it, "
        "as\n"
        "FILE.participation.json. Prints the SHA-256 that the members signed: that of the file\n"
        "without the participation, which neurox-audit model FILE takes out and "
        "checks.\n\n" NX_HELP_COORDINATOR_HOME
        "  --out FILE      default model.safetensors; replaced when it is there\n"
        "  --round N       the model after that round (default: the newest)\n"
        "  --merged        of a plan with adapters: one plain model, adapters added to their "
        "base,\n"
        "                  for other programs and for import; without the participation\n"
        "  --weights KIND  int8 or nf4: the plain model with its blocks' matrices in few bits, "
        "for\n"
        "                  predict, embed and evaluate (docs/models.md); without the "
        "participation\n"
        "  --as-sealed     the file byte for byte as it was signed; the participation only "
        "beside\n",
    .run = run_export,
};
