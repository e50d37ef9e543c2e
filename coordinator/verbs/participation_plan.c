#include "coordinator/verbs/participation_plan.h"

#include <stdio.h>

#include "common/file.h"
#include "common/plan_initial_model.h"
#include "coordinator/run_model.h"
#include "coordinator/store/model_registry.h"
#include "crypto/plan_numbers.h"

void nx_plan_told_finish(struct nx_plan_told *told) {
  nx_plan_destroy(told->plan);
}

/* Model 0: drawn from the plan's seed, or named by the plan. */
static int find_first_model(struct nx_plan_told *told, struct nx_error *err) {
  _cleanup_(nx_model_destroyp) struct nx_model *first = NULL;
  if (nx_plan_initial_model_hash(told->plan, told->first_model.bytes))
    return 0;
  _cleanup_(nx_buffer_finish) struct nx_buffer bytes = {.cap = NX_BLOB_CAP};
  int r = nx_model_create(told->plan, &first, err);
  if (r < 0 || (r = nx_model_save(first, &bytes, err)) < 0)
    return r;
  told->first_model = nx_sha256(bytes.data, bytes.size);
  return 0;
}

int nx_participation_tell_plan(struct nx_federation *f, const struct nx_hash *hash, cJSON *root,
                               struct nx_plan_told *told, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer text = {0};
  char hex[NX_HASH_HEX_SIZE], start[NX_HASH_HEX_SIZE + 8] = "weights drawn from the plan's seed";
  int r = nx_run_store_plan(f->store, hash, &text, err);
  if (r < 0 || (r = nx_plan_parse("plan", nx_buffer_view(&text), &told->plan, err)) < 0 ||
      (r = find_first_model(told, err)) < 0)
    return r;
  const struct nx_plan *plan = told->plan;
  cJSON *object = cJSON_AddObjectToObject(root, "plan");
  nx_hash_hex(hash, hex);
  cJSON_AddStringToObject(object, "sha256", hex);
  cJSON_AddStringToObject(object, "name", plan->name);
  if (plan->initial_model)
    snprintf(start, sizeof start, "model %s", plan->initial_model->sha256);
  cJSON_AddStringToObject(root, "start", start);
  cJSON *clipping = cJSON_AddObjectToObject(root, "clipping");
  cJSON_AddNumberToObject(clipping, "update_clip_norm", plan->aggregation.update_clip_norm);
  cJSON_AddNumberToObject(clipping, "value_range", plan->aggregation.value_range);
  return 0;
}

static int add_epsilon(const struct nx_plan_told *told, uint64_t n_params, cJSON *privacy,
                       struct nx_error *err) {
  struct nx_privacy_mechanism mechanism;
  double epsilon = 0;
  int r = nx_plan_mechanism(told->plan, n_params, &mechanism, err);
  if (r == 0 && told->noisy_steps)
    r = nx_privacy_mechanism_epsilon(&mechanism, told->noisy_steps, &epsilon, err);
  if (r < 0)
    return r;
  cJSON_AddStringToObject(privacy, "unit", mechanism.unit == NX_UNIT_NODE ? "site" : "subject");
  cJSON_AddNumberToObject(privacy, "noise_multiplier", mechanism.noise_multiplier);
  cJSON_AddNumberToObject(privacy, "sampling_rate", mechanism.sampling_rate);
  cJSON_AddNumberToObject(privacy, "clip_norm", mechanism.clip_norm);
  cJSON_AddNumberToObject(privacy, "noisy_steps", (double)told->noisy_steps);
  cJSON_AddNumberToObject(privacy, "delta", mechanism.delta);
  cJSON_AddNumberToObject(privacy, "epsilon", epsilon);
  return 0;
}

int nx_participation_tell_privacy(struct nx_federation *f, const struct nx_hash *model_hash,
                                  const struct nx_plan_told *told, cJSON *root,
                                  struct nx_error *err) {
  _cleanup_(nx_model_destroyp) struct nx_model *model = NULL;
  struct nx_model_registry registry;
  char path[NX_PATH_SIZE];
  cJSON *privacy = cJSON_AddObjectToObject(root, "privacy");
  cJSON_AddStringToObject(privacy, "mechanism", nx_plan_privacy_name(told->plan->privacy));
  cJSON_AddStringToObject(privacy, "over_all_plans",
                          "each site's own, in its ledger; the coordinator is not told");
  if (told->plan->privacy == NX_PRIVACY_NONE) {
    cJSON_AddNullToObject(privacy, "epsilon"); /* none holds */
    return 0;
  }
  int r = nx_path_join(path, f->home, "blobs", err);
  if (r < 0 || (r = nx_model_registry_init(&registry, path, err)) < 0 ||
      (r = nx_model_recall(told->plan, &registry, model_hash, &model, err)) < 0)
    return r;
  return add_epsilon(told, model->n_params, privacy, err);
}
