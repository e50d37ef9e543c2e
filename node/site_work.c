#include "node/site_work.h"

#include <dirent.h>
#include <malloc.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/config.h"
#include "common/log.h"
#include "common/plan_initial_model.h"
#include "common/size.h"
#include "crypto/plan_numbers.h"
#include "models/metrics.h"
#include "models/moments.h"
#include "node/node_home.h"
#include "node/policy/budget.h"
#include "node/residual.h"
#include "node/session/fetch_blob.h"
#include "node/session/fetch_tiles.h"
#include "node/session/next_model.h"
#include "node/site_data.h"
#include "node/subject_records.h"
#include "node/train/private_update.h"
#include "node/train/step_memory.h"

#define PLANS_KEPT 1024 /* files in HOME/plans, after which no plan is fetched that does not run */
#define MODEL_CAP ((size_t)4 << 30)

struct nx_site_work {
  struct nx_site_work_config cfg;
  struct nx_pool *pool;
  struct nx_plan *plan;
  struct nx_hash plan_hash;
  uint64_t first_round; /* of the run; 0: not known */
  struct nx_model *model, *next;
  struct nx_hash model_hash, next_hash;
  struct nx_dataset *dataset; /* of the plan, without those who withdrew … */
  struct nx_hash withdrawn;   /* … when the list had this hash */
  struct nx_encoded update;   /* x of … */
  struct nx_site_round update_round;
  uint32_t update_variant, update_members;
  float *residual, *carried; /* error feedback: with this update, and from sealed rounds */
  size_t n_residual;
  bool has_update;
};

int nx_site_work_create(const struct nx_site_work_config *cfg, struct nx_site_work **work_out,
                        struct nx_error *err) {
  struct nx_site_work *work = calloc(1, sizeof *work);
  if (!work)
    return nx_fail(err, NX_E_NOMEM, "site work: out of memory");
  work->cfg = *cfg;
  *work_out = work;
  return 0;
}

static void forget_models(struct nx_site_work *work) {
  nx_model_destroy(work->model);
  nx_model_destroy(work->next);
  work->model = work->next = NULL;
}

static void forget_update(struct nx_site_work *work) {
  nx_encoded_finish(&work->update);
  free(nx_steal(&work->residual));
  work->has_update = false;
}

void nx_site_work_release(struct nx_site_work *work) {
  forget_update(work);
  free(nx_steal(&work->carried));
  forget_models(work);
  nx_dataset_destroy(work->dataset);
  nx_plan_destroy(work->plan);
  nx_pool_destroy(work->pool);
  work->dataset = NULL;
  work->plan = NULL;
  work->pool = NULL;
  malloc_trim(0);
}

void nx_site_work_destroy(struct nx_site_work *work) {
  if (!work)
    return;
  nx_site_work_release(work);
  free(work);
}

/* ---- files of HOME -------------------------------------------------------------------- */

/* HOME/folder/<hash>suffix */
static int blob_path(const struct nx_site_work *work, const char *folder,
                     const struct nx_hash *hash, const char *suffix, char out[NX_PATH_SIZE],
                     struct nx_error *err) {
  char hex[NX_HASH_HEX_SIZE], name[NX_HASH_HEX_SIZE + 64];
  nx_hash_hex(hash, hex);
  snprintf(name, sizeof name, "%s/%s%s", folder, hex, suffix);
  return nx_path_join(out, work->cfg.home, name, err);
}

/* The blob from HOME/folder if it is there and whole, else from the coordinator, kept. */
static int get_blob(struct nx_site_work *work, const char *folder, const struct nx_hash *hash,
                    size_t cap, struct nx_buffer *out, struct nx_error *err) {
  char path[NX_PATH_SIZE], part[NX_PATH_SIZE];
  int r = blob_path(work, folder, hash, "", path, err);
  if (r < 0)
    return r;
  out->cap = cap;
  if (nx_path_exists(path) && nx_file_read(path, cap, out, NULL) == 0) {
    struct nx_hash found = nx_sha256(out->data, out->size);
    if (nx_hash_equal(&found, hash))
      return 0;
  }
  out->size = 0;
  if ((r = blob_path(work, folder, hash, ".part", part, err)) < 0)
    return r;
  const struct nx_fetch how = {work->cfg.stop, part, work->cfg.node->download_kb_per_s};
  r = nx_fetch_blob(work->cfg.client, hash, cap, &how, out, err);
  return r < 0 ? r : nx_file_replace(path, nx_buffer_view(out), 0600, err);
}

/* ---- error feedback ------------------------------------------------------------------- */

static struct nx_residual_key residual_key(const struct nx_site_work *work) {
  return (struct nx_residual_key){work->plan_hash, work->first_round};
}

/* What the sealed round carries on to the next. A kill before this is on disk costs what
 * rounding took in this one round. */
static void carry_residual(struct nx_site_work *work) {
  const struct nx_residual_key key = residual_key(work);
  struct nx_error why = {0};
  free(work->carried);
  work->carried = nx_steal(&work->residual);
  if (nx_residual_save(work->cfg.home, &key, work->carried, work->n_residual, &why) < 0)
    NX_LOG(NX_LOG_WARNING, "residual.not_kept", NX_STR("why", why.text));
}

static int forget_residual(struct nx_site_work *work, struct nx_error *err) {
  free(nx_steal(&work->carried));
  return nx_residual_forget(work->cfg.home, err);
}

/* ---- plan ------------------------------------------------------------------------------ */

static int need_pool(struct nx_site_work *work, struct nx_error *err) {
  long n = work->cfg.node->threads ? (long)work->cfg.node->threads : sysconf(_SC_NPROCESSORS_ONLN);
  return work->pool ? 0 : nx_pool_create(n > 0 ? (size_t)n : 1, &work->pool, err);
}

static void read_first_round(struct nx_site_work *work) {
  _cleanup_(nx_buffer_finish) struct nx_buffer text = {0};
  char path[NX_PATH_SIZE];
  work->first_round = 0;
  if (blob_path(work, NX_HOME_PLANS, &work->plan_hash, ".began", path, NULL) == 0 &&
      nx_path_exists(path) && nx_file_read(path, 8, &text, NULL) == 0 && text.size == 8)
    work->first_round = nx_load_le64(text.data);
}

static int load_plan(struct nx_site_work *work, const struct nx_hash *hash, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer text = {0};
  _cleanup_(nx_plan_destroyp) struct nx_plan *plan = NULL;
  int r = get_blob(work, NX_HOME_PLANS, hash, NX_CONFIG_CAP, &text, err);
  if (r == 0)
    r = nx_plan_parse("plan", nx_buffer_view(&text), &plan, err);
  if (r < 0)
    return r;
  nx_site_work_release(work);
  work->plan = nx_steal(&plan);
  work->plan_hash = *hash;
  read_first_round(work);
  return 0;
}

int nx_site_work_read_plan(struct nx_site_work *work, const struct nx_hash *hash,
                           struct nx_plan **plan_out, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer text = {0};
  char folder[NX_PATH_SIZE], path[NX_PATH_SIZE];
  int r = nx_path_join(folder, work->cfg.home, NX_HOME_PLANS, err);
  if (r == 0)
    r = blob_path(work, NX_HOME_PLANS, hash, "", path, err);
  /* Whoever floods us with plans fills no disk. */
  if (r == 0 && !nx_path_exists(path) && nx_folder_count(folder) >= PLANS_KEPT)
    r = nx_fail(err, NX_E_LIMIT, "%s holds %d plans: take old ones away", folder, PLANS_KEPT);
  if (r == 0)
    r = get_blob(work, NX_HOME_PLANS, hash, NX_CONFIG_CAP, &text, err);
  return r < 0 ? r : nx_plan_parse("plan", nx_buffer_view(&text), plan_out, err);
}

int nx_site_work_fetch_plan(struct nx_site_work *work, const struct nx_hash *hash,
                            char name_out[NX_POLICY_NAME_SIZE], struct nx_error *err) {
  _cleanup_(nx_plan_destroyp) struct nx_plan *plan = NULL;
  int r = nx_site_work_read_plan(work, hash, &plan, err);
  if (r == 0)
    snprintf(name_out, NX_POLICY_NAME_SIZE, "%s", plan->name);
  return r;
}

/* The hash of the plan's model 0. */
static int first_model(const struct nx_plan *plan, struct nx_model **first_out,
                       struct nx_hash *hash_out, struct nx_error *err) {
  if (nx_plan_initial_model_hash(plan, hash_out->bytes))
    return 0; /* fetched by that name when it is needed */
  int r = nx_model_create(plan, first_out, err);
  return r < 0 ? r : nx_model_hash(*first_out, NULL, hash_out, err);
}

int nx_site_work_plan(struct nx_site_work *work, const struct nx_hash *plan,
                      struct nx_hash *first_model_out, struct nx_error *err) {
  _cleanup_(nx_model_destroyp) struct nx_model *first = NULL;
  int r = 0;
  if (!work->plan || !nx_hash_equal(plan, &work->plan_hash))
    r = load_plan(work, plan, err);
  return r < 0 ? r : first_model(work->plan, &first, first_model_out, err);
}

const struct nx_plan *nx_site_work_current_plan(const struct nx_site_work *work) {
  return work->plan;
}

int nx_site_work_begins(struct nx_site_work *work, uint64_t round, struct nx_error *err) {
  char path[NX_PATH_SIZE];
  uint8_t bytes[8];
  if (work->first_round == round)
    return 0;
  nx_store_le64(bytes, round);
  int r = blob_path(work, NX_HOME_PLANS, &work->plan_hash, ".began", path, err);
  if (r == 0)
    r = nx_file_replace(path, nx_bytes(bytes, sizeof bytes), 0600, err);
  if (r == 0)
    r = forget_residual(work, err); /* of an earlier run of this plan */
  if (r == 0)
    work->first_round = round;
  return r;
}

/* ---- model ----------------------------------------------------------------------------- */

static int load_model(struct nx_site_work *work, const struct nx_hash *hash, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer bytes = {0};
  _cleanup_(nx_model_destroyp) struct nx_model *model = NULL;
  struct nx_hash first;
  int r = first_model(work->plan, &model, &first, err);
  if (r == 0 && !(model && nx_hash_equal(&first, hash))) {
    nx_model_destroy(nx_steal(&model));
    r = get_blob(work, NX_HOME_MODELS, hash, MODEL_CAP, &bytes, err);
    if (r == 0)
      r = nx_model_load(work->plan, nx_buffer_view(&bytes), &model, err);
  }
  if (r < 0)
    return nx_error_prefix(err, r, "model of this round");
  nx_model_destroy(work->model);
  work->model = nx_steal(&model);
  work->model_hash = *hash;
  return 0;
}

static int need_model(struct nx_site_work *work, const struct nx_hash *hash, struct nx_error *err) {
  if (work->model && nx_hash_equal(&work->model_hash, hash))
    return 0;
  if (work->next && nx_hash_equal(&work->next_hash, hash)) {
    nx_site_work_adopt(work, hash);
    return 0;
  }
  return load_model(work, hash, err);
}

int nx_site_work_fetch_model(struct nx_site_work *work, const struct nx_hash *model,
                             struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer bytes = {0};
  return get_blob(work, NX_HOME_MODELS, model, MODEL_CAP, &bytes, err);
}

static void remove_old_models(struct nx_site_work *work, const struct nx_hash *keep) {
  char folder[NX_PATH_SIZE], path[NX_PATH_SIZE], hex[2][NX_HASH_HEX_SIZE];
  nx_hash_hex(keep, hex[0]);
  nx_hash_hex(&work->model_hash, hex[1]);
  DIR *models =
      nx_path_join(folder, work->cfg.home, NX_HOME_MODELS, NULL) == 0 ? opendir(folder) : NULL;
  for (struct dirent *entry; models && (entry = readdir(models));)
    if (entry->d_name[0] != '.' && strcmp(entry->d_name, hex[0]) && strcmp(entry->d_name, hex[1]) &&
        nx_path_join(path, folder, entry->d_name, NULL) == 0)
      unlink(path);
  if (models)
    closedir(models);
}

void nx_site_work_adopt(struct nx_site_work *work, const struct nx_hash *model) {
  remove_old_models(work, model);
  if (work->residual)
    carry_residual(work);
  if (!work->next || !nx_hash_equal(&work->next_hash, model))
    return;
  nx_model_destroy(work->model);
  work->model = nx_steal(&work->next);
  work->model_hash = work->next_hash;
}

/* ---- considering ----------------------------------------------------------------------- */

/* The list is read before every round; when it changed, the recordings are opened anew. */
static int heed_withdrawals(struct nx_site_work *work, const struct nx_site_round *round,
                            struct nx_withdrawals *list, struct nx_error *err) {
  size_t before = 0;
  int r = nx_withdrawals_read(work->cfg.home, &work->cfg.node->data, list, err);
  if (!r)
    r = nx_withdrawals_changed(work->cfg.home, list, &before, err);
  if (r == 1) {
    r = nx_site_audit_subjects(work->cfg.audit, round, list->n, before, err);
    if (!r)
      r = forget_residual(work, err); /* of an update that had the people in it */
    if (!r)
      r = nx_withdrawals_noted(work->cfg.home, list, err);
  }
  if (!r && work->dataset && !nx_hash_equal(&work->withdrawn, &list->hash)) {
    nx_dataset_destroy(work->dataset);
    work->dataset = NULL;
  }
  return r;
}

static int need_data(struct nx_site_work *work, const struct nx_site_round *round,
                     struct nx_error *err) {
  _cleanup_(nx_withdrawals_finish) struct nx_withdrawals withdrawals = {0};
  struct nx_error why = {0};
  if (heed_withdrawals(work, round, &withdrawals, &why) < 0) {
    NX_LOG(NX_LOG_ERROR, "withdrawals.unreadable", NX_STR("why", why.text));
    return nx_fail(err, why.code, "this site's list of people cannot be used: its log says why");
  }
  if (work->dataset)
    return nx_subject_records_used(work->cfg.home, round, work->dataset, err);
  int r = need_pool(work, err);
  if (r < 0)
    return r;
  r = nx_site_data_open(work->cfg.home, &work->cfg.node->data, &withdrawals, work->plan, work->pool,
                        &work->dataset, &why);
  if (r < 0) { /* the words name a file, and what fails here is told to the coordinator */
    nx_subject_records_problem(work->cfg.home, why.text);
    NX_LOG(NX_LOG_ERROR, "data.unusable", NX_STR("error", nx_code_name(r)),
           NX_STR("why", "is in the file " NX_HOME_SUBJECTS "/unusable of the node's home"));
    return nx_fail(err, r, "this site's recordings cannot be used: its steward can read why");
  }
  work->withdrawn = withdrawals.hash;
  r = nx_site_audit_data(work->cfg.audit, round, nx_dataset_summary(work->dataset), err);
  return r < 0 ? r : nx_subject_records_used(work->cfg.home, round, work->dataset, err);
}

/* Every number that T0 binds must follow from the plan that people approved. */
static int check_parameters(const struct nx_site_work *work, enum nx_round_kind kind,
                            const struct nx_transcript_parameters *p, struct nx_error *err) {
  const struct nx_transcript_parameters own =
      nx_plan_round_parameters(work->plan, work->model->n_params, work->model->n_features, kind);
  const char *wrong = NULL;
  if (kind != NX_ROUND_STATISTICS && kind != NX_ROUND_TRAIN && kind != NX_ROUND_EVALUATE)
    wrong = "kind of round";
  else if (p->n_lanes != own.n_lanes || p->n_aux != own.n_aux)
    wrong = "number of values";
  else if (p->ring_bits != own.ring_bits || p->value_bits != own.value_bits)
    wrong = "width";
  else if (p->value_range != own.value_range || p->clip_norm != own.clip_norm)
    wrong = "range";
  else if (p->rotation != own.rotation)
    wrong = "rotation";
  else if (p->narrow_keystream != own.narrow_keystream)
    wrong = "width of keystream";
  else if (p->mask_cipher != own.mask_cipher)
    wrong = "mask cipher";
  else if (p->privacy != own.privacy || p->noise_multiplier != own.noise_multiplier)
    wrong = "privacy mechanism";
  if (wrong)
    return nx_fail(err, NX_E_DENIED, "the invitation's %s is not the plan's", wrong);
  return 0;
}

/* Before anything is trained, and not by the kernel's hand in the middle of it. Numbers are the
 * steward's: the coordinator is told no more than that it is too little. */
static int need_memory(const struct nx_site_work *work, struct nx_error *err) {
  const struct nx_step_site site = {.plan = work->plan,
                                    .dataset = work->dataset,
                                    .limit = (size_t)work->cfg.node->memory_mb << 20,
                                    .has_model = true};
  struct nx_step_memory memory;
  struct nx_error why = {0};
  int r = nx_step_memory_of_data(work->plan, work->dataset, work->cfg.node->threads, &memory, &why);
  if (r == 0)
    r = nx_step_memory_check(&site, &memory, &why);
  if (r == 0)
    return 0;
  NX_LOG(NX_LOG_ERROR, "memory.short", NX_STR("why", why.text));
  return nx_fail(err, r, "this site has not the memory that a training step of this plan takes: its "
                 "log says how much");
}

int nx_site_work_consider(struct nx_site_work *work, const struct nx_site_round *round,
                          const struct nx_transcript_parameters *parameters,
                          struct nx_ledger_charge *charge_out, bool *charges_out,
                          struct nx_error *err) {
  if (!work->plan || !nx_hash_equal(&work->plan_hash, &round->plan))
    return nx_fail(err, NX_E_STATE, "the plan of this round is not here");
  int r = need_model(work, &round->model, err);
  if (r == 0)
    r = check_parameters(work, round->kind, parameters, err);
  if (r == 0)
    r = nx_budget_charge(work->cfg.node->data.name, work->plan, &work->plan_hash, round->kind,
                         work->model->n_params, charge_out, charges_out, err);
  if (r == 0)
    r = need_data(work, round, err);
  if (r == 0 && round->kind != NX_ROUND_EVALUATE)
    r = need_memory(work, err);
  return r;
}

/* ---- making and masking x -------------------------------------------------------------- */

static bool same_update(const struct nx_site_work *work, const struct nx_site_round *round,
                        uint32_t variant, uint32_t n_members) {
  return work->has_update && work->update_round.round == round->round &&
         work->update_round.kind == round->kind && work->update_variant == variant &&
         (work->update_members == n_members || work->plan->privacy == NX_PRIVACY_NONE) &&
         nx_hash_equal(&work->update_round.model, &round->model);
}

/* Rounds of the run before this one: 0 for its statistics round. Nothing random may depend on
 * the federation's own count of rounds, or a plan that is run again would end elsewhere. */
static uint64_t rounds_before(const struct nx_site_work *work, uint64_t round) {
  uint64_t first = work->first_round ? work->first_round : 1;
  return round > first ? round - first : 0;
}

static uint64_t training_round(const struct nx_site_work *work, uint64_t round) {
  uint64_t before = rounds_before(work, round);
  return before ? before - 1 : 0;
}

/* What error feedback carries from the last round in which this site took part, from memory or
 * HOME. It goes into `carried` only when the round is sealed. */
static int need_residual(struct nx_site_work *work, size_t n, struct nx_error *err) {
  const struct nx_residual_key key = residual_key(work);
  struct nx_error why = {0};
  free(nx_steal(&work->residual));
  work->residual = calloc(n + 1, sizeof *work->residual);
  work->n_residual = n;
  if (!work->residual)
    return nx_fail(err, NX_E_NOMEM, "residual of %zu values: out of memory", n);
  if (work->carried) {
    memcpy(work->residual, work->carried, n * sizeof *work->residual);
    return 0;
  }
  int r = nx_residual_load(work->cfg.home, &key, work->residual, n, &why);
  if (r < 0) /* begins again from none: only precision is lost */
    NX_LOG(NX_LOG_WARNING, "residual.unusable", NX_STR("why", why.text));
  if (r == 1)
    NX_LOG(NX_LOG_INFO, "residual.read", NX_U64("values", n));
  return 0;
}

static int encode(struct nx_site_work *work, const struct nx_plan *plan,
                  const struct nx_site_round *round, const struct nx_update *update,
                  struct nx_error *err) {
  uint64_t stream = (rounds_before(work, round->round) + 1) << 8 | work->cfg.member;
  bool feedback = plan->aggregation.error_feedback && update->n_values;
  struct nx_quantize quantize;
  if (update->lanes)
    return nx_encode_lanes(update->lanes, update->n_values, update->aux, update->n_aux,
                           &work->update, err);
  int r = nx_plan_quantize(plan, &round->model, &quantize, err);
  if (r == 0 && feedback)
    r = need_residual(work, update->n_values, err);
  return r < 0 ? r
               : nx_encode(&quantize, update->delta, feedback ? work->residual : NULL,
                           update->n_values, update->aux, update->n_aux, plan->seed, stream,
                           &work->update, err);
}

static int compute(struct nx_site_work *work, const struct nx_plan *plan,
                   const struct nx_site_round *round, uint32_t n_members, struct nx_update *update,
                   struct nx_error *err) {
  const struct nx_private_options options = {.training_round = training_round(work, round->round),
                                             .member_id = work->cfg.member,
                                             .n_members = n_members,
                                             .entropy = &nx_entropy_system,
                                             .cancelled = work->cfg.stop.asked,
                                             .context = work->cfg.stop.context};
  if (plan->privacy != NX_PRIVACY_NONE)
    return nx_private_update_compute(round->kind, work->model, work->dataset, plan, &options,
                                     update, err);
  struct nx_site_signals signals;
  signals.sets = nx_dataset_signals(work->dataset, &signals.n_sets);
  if (!signals.sets)
    return nx_update_compute(round->kind, work->model, work->dataset, plan, options.training_round,
                             work->cfg.member, work->cfg.stop.asked, work->cfg.stop.context, update,
                             err);
  int r = need_pool(work, err);
  return r < 0
             ? r
             : nx_update_compute_general(round->kind, work->model, &signals, plan,
                                         options.training_round, work->cfg.member, work->pool,
                                         work->cfg.stop.asked, work->cfg.stop.context, update, err);
}

int nx_site_work_make(struct nx_site_work *work, const struct nx_site_round *round,
                      uint32_t variant, uint32_t n_members, struct nx_error *err) {
  if (same_update(work, round, variant, n_members))
    return 0;
  forget_update(work);
  int r = nx_site_work_plan(work, &round->plan, &(struct nx_hash){0}, err);
  if (r == 0)
    r = need_model(work, &round->model, err);
  if (r == 0)
    r = need_data(work, round, err);
  if (r < 0)
    return r;
  struct nx_plan plan = *work->plan; /* another variant: other batches, other rounding */
  plan.seed += variant * UINT64_C(0x9e3779b97f4a7c15);
  _cleanup_(nx_update_finish) struct nx_update update = {0};
  r = compute(work, &plan, round, n_members, &update, err);
  if (r == 0)
    r = encode(work, &plan, round, &update, err);
  if (r < 0)
    return r;
  work->update_round = *round;
  work->update_variant = variant;
  work->update_members = n_members;
  work->has_update = true;
  NX_LOG(NX_LOG_DEBUG, "update.made", NX_U64("round", round->round), NX_F64("norm", update.norm),
         NX_F64("loss", update.train_loss),
         NX_U64("clamped", work->update.report.n_clamped + update.n_clamped));
  return 0;
}

int nx_site_work_mask(struct nx_site_work *work, const struct nx_site_round *round,
                      uint32_t ring_bits, const struct nx_mask *mask, const char *spool,
                      struct nx_protected *protected_out, struct nx_error *err) {
  if (!work->has_update || work->update_round.round != round->round)
    return nx_fail(err, NX_E_STATE, "there is no update to mask");
  int r = need_pool(work, err);
  return r < 0 ? r
               : nx_protect(&work->update, ring_bits, mask, spool, work->pool, protected_out, err);
}

/* ---- checking a result ------------------------------------------------------------------ */

static int check_tiles(struct nx_site_work *work, const struct nx_site_check *check,
                       struct nx_bytes sum, struct nx_error *err) {
  const struct nx_upload_layout layout = {.n_lanes = check->parameters.n_lanes,
                                          .ring_bits = check->parameters.ring_bits,
                                          .n_aux = check->parameters.n_aux};
  const struct nx_tile_request request = {.round = check->round.round,
                                          .attempt = check->round.attempt,
                                          .t3 = check->t3,
                                          .tiles = check->tiles,
                                          .n = check->n_tiles};
  _cleanup_(nx_spot_check_destroyp) struct nx_spot_check *spot = NULL;
  int r = nx_spot_check_create(&layout, check->uploads, check->n_uploads, check->tiles,
                               check->n_tiles, &spot, err);
  if (r == 0 && check->n_tiles)
    r = nx_fetch_tiles(work->cfg.client, &request, &work->cfg.stop, spot, err);
  if (r == 0)
    r = nx_spot_check_compare(spot, check->mask, sum, err);
  return r;
}

static double mean(uint64_t sum, uint64_t n) {
  return n ? nx_aux_decode(sum, NX_AUX_LOSS_SCALE) / (double)n : NAN;
}

static void read_sum(const struct nx_transcript_parameters *p, struct nx_bytes sum,
                     struct nx_site_sum *out) {
  uint64_t aux[NX_AUX_COMMON];
  for (size_t i = 0; i < NX_AUX_COMMON; i++)
    aux[i] = nx_load_le64(sum.data + 4 * p->n_lanes + 8 * i);
  out->contributors = aux[NX_AUX_CONTRIBUTORS];
  out->train_loss = mean(aux[NX_AUX_TRAIN_LOSS], aux[NX_AUX_TRAIN_WINDOWS]);
  out->held_out_loss = mean(aux[NX_AUX_HELD_OUT_LOSS], aux[NX_AUX_HELD_OUT_WINDOWS]);
  struct nx_target_moments targets;
  nx_moments_from_lanes(aux, &targets);
  out->r_squared = nx_moments_mean_r_squared(&targets);
  out->auroc = targets.n_targets ? NAN
                                 : nx_auroc_histogram(aux + NX_AUX_HISTOGRAM_NEGATIVE,
                                                      aux + NX_AUX_HISTOGRAM_POSITIVE);
}

static int store_next(struct nx_site_work *work, struct nx_model *next, struct nx_hash *hash_out,
                      struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer bytes = {.cap = MODEL_CAP};
  char path[NX_PATH_SIZE];
  int r = nx_model_hash(next, &bytes, hash_out, err);
  if (r == 0)
    r = blob_path(work, NX_HOME_MODELS, hash_out, "", path, err);
  return r < 0 ? r : nx_file_replace(path, nx_buffer_view(&bytes), 0600, err);
}

static int make_next(struct nx_site_work *work, const struct nx_site_check *check,
                     struct nx_bytes sum, struct nx_hash *model_out, struct nx_error *err) {
  _cleanup_(nx_model_destroyp) struct nx_model *next = NULL;
  int r = nx_site_work_plan(work, &check->round.plan, &(struct nx_hash){0}, err);
  if (r == 0)
    r = need_model(work, &check->round.model, err);
  if (r == 0)
    r = nx_next_model(work->model, &check->round.model, work->plan, check->round.kind, sum, &next,
                      err);
  if (r == 0)
    r = store_next(work, next, model_out, err);
  if (r < 0)
    return r;
  nx_model_destroy(work->next);
  work->next = nx_steal(&next);
  work->next_hash = *model_out;
  return 0;
}

int nx_site_work_check(struct nx_site_work *work, const struct nx_site_check *check,
                       struct nx_hash *model_out, struct nx_site_sum *sum_out,
                       struct nx_error *err) {
  const struct nx_transcript_parameters *p = &check->parameters;
  _cleanup_(nx_buffer_finish) struct nx_buffer sum = {0};
  size_t lanes, aux, size;
  char part[NX_PATH_SIZE];
  if (!nx_size_mul(4, p->n_lanes, &lanes) || !nx_size_mul(8, p->n_aux, &aux) ||
      !nx_size_add(lanes, aux, &size) || check->sum_bytes != size || p->n_aux < NX_AUX_COMMON)
    return nx_fail(err, NX_E_PROTOCOL, "the announced sum has the wrong size");
  sum.cap = size + 1;
  int r = blob_path(work, NX_HOME_SPOOL, &check->sum, ".part", part, err);
  const struct nx_fetch how = {work->cfg.stop, part, work->cfg.node->download_kb_per_s};
  if (r == 0)
    r = nx_fetch_blob(work->cfg.client, &check->sum, size, &how, &sum, err);
  if (r == 0)
    r = check_tiles(work, check, nx_buffer_view(&sum), err);
  if (r == 0)
    r = make_next(work, check, nx_buffer_view(&sum), model_out, err);
  if (r == 0)
    read_sum(p, nx_buffer_view(&sum), sum_out);
  return r;
}
