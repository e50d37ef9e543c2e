#include "node/policy/policy.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/config.h"
#include "common/file.h"
#include "crypto/quantize.h"
#include "crypto/threshold.h"

static int add(struct nx_policy *policy, const struct nx_hash *hash, struct nx_error *err) {
  struct nx_hash *plans = realloc(policy->plans, (policy->n_plans + 1) * sizeof *plans);
  if (!plans)
    return nx_fail(err, NX_E_NOMEM, "policy: out of memory");
  policy->plans = plans;
  plans[policy->n_plans++] = *hash;
  return 0;
}

static int add_listed(struct nx_policy *policy, const struct nx_node_config_policy *listed,
                      struct nx_error *err) {
  for (uint32_t i = 0; i < listed->n_plans; i++) {
    struct nx_hash hash;
    int r = nx_hash_from_hex(listed->plans[i], &hash, err);
    if (r == 0)
      r = add(policy, &hash, err);
    if (r < 0)
      return nx_error_prefix(err, r, "policy.plans");
  }
  return 0;
}

static void close_folder(DIR **folder) {
  if (*folder)
    closedir(*folder);
}

static int add_approvals(struct nx_policy *policy, const char *path, struct nx_error *err) {
  _cleanup_(close_folder) DIR *folder = opendir(path);
  if (!folder && errno == ENOENT)
    return 0;
  if (!folder)
    return nx_fail_errno(err, errno, "open folder %s", path);
  for (struct dirent *entry; (entry = readdir(folder));) {
    struct nx_hash hash;
    if (strlen(entry->d_name) != NX_HASH_HEX_SIZE - 1 ||
        nx_hash_from_hex(entry->d_name, &hash, NULL) < 0)
      continue;
    int r = add(policy, &hash, err);
    if (r < 0)
      return r;
  }
  return 0;
}

int nx_policy_load(const struct nx_node_config *config, const char *approvals,
                   struct nx_policy *policy_out, struct nx_error *err) {
  struct nx_policy policy = {.minimum_members = config->policy.minimum_members,
                             .approval = config->policy.approval};
  int r = add_listed(&policy, &config->policy, err);
  if (r == 0)
    r = add_approvals(&policy, approvals, err);
  if (r < 0) {
    nx_policy_finish(&policy);
    return r;
  }
  *policy_out = policy;
  return 0;
}

int nx_policy_reload(struct nx_policy *policy, const struct nx_node_config *config,
                     const char *approvals, struct nx_error *err) {
  struct nx_policy fresh;
  int r = nx_policy_load(config, approvals, &fresh, err);
  if (r < 0)
    return r;
  nx_policy_finish(policy);
  *policy = fresh;
  return 0;
}

void nx_policy_finish(struct nx_policy *policy) {
  free(policy->plans);
  *policy = (struct nx_policy){0};
}

static int check_approval(const struct nx_policy *policy, const struct nx_hash *plan_hash,
                          struct nx_error *err) {
  if (policy->approval == NX_APPROVAL_AUTO)
    return 0;
  for (size_t i = 0; i < policy->n_plans; i++)
    if (nx_hash_equal(&policy->plans[i], plan_hash))
      return 0;
  char hex[NX_HASH_HEX_SIZE];
  nx_hash_hex(plan_hash, hex);
  return nx_fail(err, NX_E_DENIED,
                 "plan %.12s is not approved at this site; its steward can run "
                 "`neurox-node approve PLAN`",
                 hex);
}

static int check_numbers(const struct nx_plan_aggregation *aggregation, uint32_t n_members,
                         struct nx_error *err) {
  const struct nx_quantize q = {.ring_bits = aggregation->ring_bits,
                                .value_bits = aggregation->value_bits,
                                .value_range = aggregation->value_range,
                                .clip_norm = aggregation->update_clip_norm};
  return nx_quantize_check(&q, n_members, 0, err);
}

int nx_policy_judge_plan(const struct nx_policy *policy, const struct nx_plan *plan,
                         const struct nx_hash *plan_hash, uint32_t n_members,
                         struct nx_error *err) {
  int r = check_approval(policy, plan_hash, err);
  if (r < 0)
    return r;
  if (n_members < policy->minimum_members)
    return nx_fail(err, NX_E_DENIED,
                   "the federation has %u members, this site's policy asks for at least %u",
                   n_members, policy->minimum_members);
  if (plan->aggregation.spot_checks < 1)
    return nx_fail(err, NX_E_DENIED,
                   "the plan asks for no spot checks of the sum; this site wants at least 1");
  return check_numbers(&plan->aggregation, n_members, err);
}

int nx_policy_approve(const char *approvals, const char *plan_path, struct nx_hash *hash_out,
                      struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer text = {0};
  _cleanup_(nx_plan_destroyp) struct nx_plan *plan = NULL;
  char hex[NX_HASH_HEX_SIZE], path[NX_PATH_SIZE];
  int r = nx_file_read(plan_path, NX_CONFIG_CAP, &text, err);
  if (r == 0)
    r = nx_plan_parse(plan_path, nx_buffer_view(&text), &plan, err);
  if (r == 0)
    r = nx_folder_create(approvals, 0700, err);
  if (r < 0)
    return r;
  *hash_out = nx_sha256(text.data, text.size);
  nx_hash_hex(hash_out, hex);
  r = nx_path_join(path, approvals, hex, err);
  if (r < 0)
    return r;
  return nx_file_replace(path, nx_buffer_view(&text), 0600, err);
}
