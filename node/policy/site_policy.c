#include "node/policy/site_policy.h"

#include <string.h>

#include "common/config.h"
#include "common/file.h"
#include "common/size.h"
#include "node/policy/calendar.h"

static const cyaml_strval_t approvals[] = {{"auto", NX_APPROVAL_AUTO}, {"ask", NX_APPROVAL_ASK}};
static const cyaml_strval_t mechanisms[] = {{"any", NX_POLICY_MECHANISM_ANY},
                                            {"noise", NX_POLICY_MECHANISM_NOISE}};

static const cyaml_schema_value_t word = {CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char *, 1, 1024)};

#define WORDS(type, member)                                                                        \
  CYAML_FIELD_SEQUENCE_COUNT(#member, CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, type, member,      \
                             n_##member, &word, 0, 10000)
#define NUMBER(type, member) CYAML_FIELD_UINT(#member, CYAML_FLAG_OPTIONAL, type, member)
#define REAL(type, member) CYAML_FIELD_FLOAT(#member, CYAML_FLAG_OPTIONAL, type, member)

static const cyaml_schema_field_t cohort_fields[] = {
    CYAML_FIELD_UINT("minimum_members", CYAML_FLAG_DEFAULT, struct nx_site_policy_cohort,
                     minimum_members),
    NUMBER(struct nx_site_policy_cohort, minimum_threshold),
    WORDS(struct nx_site_policy_cohort, refuse_members), CYAML_FIELD_END};

static const cyaml_schema_field_t plans_fields[] = {
    WORDS(struct nx_site_policy_plans, allowed), WORDS(struct nx_site_policy_plans, species),
    WORDS(struct nx_site_policy_plans, modalities), WORDS(struct nx_site_policy_plans, objectives),
    CYAML_FIELD_END};

static const cyaml_schema_field_t privacy_fields[] = {
    CYAML_FIELD_ENUM("mechanism", CYAML_FLAG_STRICT | CYAML_FLAG_OPTIONAL,
                     struct nx_site_policy_privacy, mechanism, mechanisms,
                     NX_ARRAY_LENGTH(mechanisms)),
    REAL(struct nx_site_policy_privacy, epsilon_per_data_set),
    REAL(struct nx_site_policy_privacy, epsilon_per_year),
    REAL(struct nx_site_policy_privacy, epsilon_delta), CYAML_FIELD_END};

static const cyaml_schema_field_t limits_fields[] = {
    REAL(struct nx_site_policy_limits, round_mb), REAL(struct nx_site_policy_limits, day_mb),
    NUMBER(struct nx_site_policy_limits, rounds_per_day),
    WORDS(struct nx_site_policy_limits, hours), CYAML_FIELD_END};

static const cyaml_strval_t answers[] = {{"always", NX_POLICY_ANSWER_ALWAYS},
                                         {"never", NX_POLICY_ANSWER_NEVER}};
static const cyaml_strval_t counts[] = {{"buckets", NX_POLICY_COUNTS_BUCKETS},
                                        {"none", NX_POLICY_COUNTS_NONE}};
static const cyaml_schema_field_t compatibility_fields[] = {
    CYAML_FIELD_ENUM("answer", CYAML_FLAG_STRICT | CYAML_FLAG_OPTIONAL,
                     struct nx_site_policy_compatibility, answer, answers,
                     NX_ARRAY_LENGTH(answers)),
    CYAML_FIELD_ENUM("counts", CYAML_FLAG_STRICT | CYAML_FLAG_OPTIONAL,
                     struct nx_site_policy_compatibility, counts, counts, NX_ARRAY_LENGTH(counts)),
    NUMBER(struct nx_site_policy_compatibility, plans_per_day), CYAML_FIELD_END};

static const cyaml_schema_field_t protocol_fields[] = {
    CYAML_FIELD_STRING_PTR("number", CYAML_FLAG_POINTER, struct nx_site_policy_protocol, number, 1,
                           64),
    CYAML_FIELD_STRING_PTR("expires", CYAML_FLAG_POINTER, struct nx_site_policy_protocol, expires,
                           10, 10),
    CYAML_FIELD_END};
static const cyaml_schema_value_t protocol = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct nx_site_policy_protocol, protocol_fields)};
static const cyaml_schema_field_t irb_fields[] = {
    CYAML_FIELD_SEQUENCE_COUNT("protocols", CYAML_FLAG_POINTER, struct nx_site_policy_irb,
                               protocols, n_protocols, &protocol, 1, 256),
    CYAML_FIELD_END};

static const cyaml_schema_field_t tell_fields[] = {
    CYAML_FIELD_SEQUENCE_COUNT("command", CYAML_FLAG_POINTER, struct nx_site_policy_tell, command,
                               n_command, &word, 1, 32),
    NUMBER(struct nx_site_policy_tell, timeout_seconds),
    NUMBER(struct nx_site_policy_tell, days_before),
    CYAML_FIELD_STRING_PTR("mail_to", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL,
                           struct nx_site_policy_tell, mail_to, 3, 254),
    CYAML_FIELD_END};

#define SECTION(key)                                                                               \
  CYAML_FIELD_MAPPING(#key, CYAML_FLAG_OPTIONAL, struct nx_site_policy, key, key##_fields)
#define SECTION_POINTER(key)                                                                       \
  CYAML_FIELD_MAPPING_PTR(#key, CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct nx_site_policy,   \
                          key, key##_fields)

static const cyaml_schema_field_t policy_fields[] = {
    CYAML_FIELD_UINT("neurox_policy", CYAML_FLAG_DEFAULT, struct nx_site_policy, neurox_policy),
    CYAML_FIELD_ENUM("approval", CYAML_FLAG_STRICT, struct nx_site_policy, approval, approvals,
                     NX_ARRAY_LENGTH(approvals)),
    CYAML_FIELD_MAPPING("cohort", CYAML_FLAG_DEFAULT, struct nx_site_policy, cohort, cohort_fields),
    SECTION(plans),
    SECTION(privacy),
    SECTION(limits),
    SECTION(compatibility),
    SECTION_POINTER(irb),
    SECTION_POINTER(tell),
    CYAML_FIELD_END};

static const cyaml_schema_value_t schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct nx_site_policy, policy_fields)};

static int check_allowed(const struct nx_site_policy_plans *plans, struct nx_error *err) {
  uint8_t hash[32];
  for (uint32_t i = 0; i < plans->n_allowed; i++)
    if (nx_hex_decode(plans->allowed[i], hash, sizeof hash, NULL) < 0)
      return nx_fail(err, NX_E_INVALID,
                     "plans.allowed: '%.80s' is not a SHA-256 of 64 hex digits; neurox-node plan "
                     "list shows them",
                     plans->allowed[i]);
  return 0;
}

static int check_objectives(const struct nx_site_policy_plans *plans, struct nx_error *err) {
  for (uint32_t i = 0; i < plans->n_objectives; i++)
    if (strcmp(plans->objectives[i], "classification") &&
        strcmp(plans->objectives[i], "reconstruction") &&
        strcmp(plans->objectives[i], "regression"))
      return nx_fail(err, NX_E_INVALID,
                     "plans.objectives: '%.40s': use classification, reconstruction or "
                     "regression",
                     plans->objectives[i]);
  return 0;
}

static int check_numbers(const struct nx_site_policy *policy, struct nx_error *err) {
  const struct {
    const char *key;
    double value;
  } amounts[] = {{"privacy.epsilon_per_data_set", policy->privacy.epsilon_per_data_set},
                 {"privacy.epsilon_per_year", policy->privacy.epsilon_per_year},
                 {"privacy.epsilon_delta", policy->privacy.epsilon_delta},
                 {"limits.round_mb", policy->limits.round_mb},
                 {"limits.day_mb", policy->limits.day_mb}};
  if (policy->neurox_policy != NX_SITE_POLICY_VERSION)
    return nx_fail(err, NX_E_INVALID, "neurox_policy: version %u is not known here, only %d",
                   policy->neurox_policy, NX_SITE_POLICY_VERSION);
  if (policy->cohort.minimum_members < 3 || policy->cohort.minimum_members > 255)
    return nx_fail(err, NX_E_INVALID, "cohort.minimum_members: %u is outside 3..255",
                   policy->cohort.minimum_members);
  if (policy->cohort.minimum_threshold > 255)
    return nx_fail(err, NX_E_INVALID, "cohort.minimum_threshold: %u is outside 0..255",
                   policy->cohort.minimum_threshold);
  for (size_t i = 0; i < NX_ARRAY_LENGTH(amounts); i++)
    if (!(amounts[i].value >= 0 && amounts[i].value <= 1e12))
      return nx_fail(err, NX_E_INVALID, "%s: %g is outside 0..1e12 (0: no cap)", amounts[i].key,
                     amounts[i].value);
  return 0;
}

static int check_times(const struct nx_site_policy *policy, struct nx_error *err) {
  struct nx_hours hours;
  int64_t end;
  for (uint32_t i = 0; i < policy->limits.n_hours; i++) {
    int r = nx_hours_parse(policy->limits.hours[i], &hours, err);
    if (r < 0)
      return nx_error_prefix(err, r, "limits.hours");
  }
  for (uint32_t i = 0; policy->irb && i < policy->irb->n_protocols; i++) {
    int r = nx_date_end(policy->irb->protocols[i].expires, &end, err);
    if (r < 0)
      return nx_error_prefix(err, r, "irb.protocols: %.64s", policy->irb->protocols[i].number);
  }
  if (policy->tell && policy->tell->command[0][0] != '/')
    return nx_fail(err, NX_E_INVALID,
                   "tell.command: '%.80s' is not a whole path: no shell looks it up",
                   policy->tell->command[0]);
  if (policy->tell && policy->tell->mail_to && strpbrk(policy->tell->mail_to, "\r\n"))
    return nx_fail(err, NX_E_INVALID, "tell.mail_to: an address is one line");
  return 0;
}

int nx_site_policy_load(const char *path, struct nx_site_policy **policy_out,
                        struct nx_error *err) {
  void *value = NULL;
  int r = nx_config_load(path, &schema, &value, err);
  if (r < 0)
    return r;
  _cleanup_(nx_site_policy_destroyp) struct nx_site_policy *policy = value;
  r = check_numbers(policy, err);
  if (r == 0)
    r = check_allowed(&policy->plans, err);
  if (r == 0)
    r = check_objectives(&policy->plans, err);
  if (r == 0)
    r = check_times(policy, err);
  if (r < 0)
    return nx_error_prefix(err, r, "%s", path);
  *policy_out = nx_steal(&policy);
  return 0;
}

void nx_site_policy_destroy(struct nx_site_policy *policy) {
  nx_config_free(&schema, policy);
}

int nx_site_policy_write(const char *path, enum nx_approval approval, struct nx_error *err) {
  static const char before[] =
      "# What this institution lets its node do, whatever the coordinator says. A wrong key is\n"
      "# refused with its line; the file is read again before every round, and while a new one\n"
      "# is broken no round runs here. Every section but cohort may be left out.\n"
      "neurox_policy: 1\n\n"
      "# ask: a plan waits until its steward ran `neurox-node plan approve`. auto: any plan\n"
      "# within this policy runs.\napproval: ";
  static const char after[] =
      "\n\n"
      "cohort:\n"
      "  minimum_members: 3     # the smallest cohort; never below two thirds of the federation\n"
      "  minimum_threshold: 0   # votes and shares that open a sum; 0: what the protocol asks\n"
      "  refuse_members: []     # names of sites this one will not train with\n\n"
      "plans:                   # an empty list allows any\n"
      "  allowed: []            # SHA-256 of the only plans that may run\n"
      "  species: []\n"
      "  modalities: []\n"
      "  objectives: []         # classification, reconstruction\n\n"
      "limits:                  # 0 or empty: none\n"
      "  round_mb: 0            # 10^6 bytes that may leave in one round\n"
      "  day_mb: 0              # and within any 24 hours\n"
      "  rounds_per_day: 0      # rounds joined within any 24 hours\n"
      "  hours: []              # [\"mon-fri 19:00-06:00\"], local time of this machine\n\n"
      "# Before a run the coordinator may ask whether the data here fit a plan. It is told yes or no\n"
      "# to each requirement, and how many people and recordings, rounded down to 5, 10, 20, 50 ...\n"
      "compatibility:\n"
      "  answer: always         # never: it is told only that this site does not say\n"
      "  counts: buckets        # none: yes and no alone\n"
      "  plans_per_day: 20      # different plans, so that nobody asks until a number is known\n";
  _cleanup_(nx_buffer_finish) struct nx_buffer text = {0};
  const char *word_of_it = approval == NX_APPROVAL_ASK ? "ask" : "auto";
  int r = nx_buffer_append(&text, before, sizeof before - 1, err);
  if (r == 0)
    r = nx_buffer_append(&text, word_of_it, strlen(word_of_it), err);
  if (r == 0)
    r = nx_buffer_append(&text, after, sizeof after - 1, err);
  return r < 0 ? r : nx_file_create(path, nx_buffer_view(&text), 0600, err);
}
