#include <stdio.h>
#include <stdlib.h>

#include "common/file.h"
#include "common/plan.h"
#include "tests/unit/cmocka_shim.h"

static const char *example_path = "configs/plan-eegmat.yaml";

static struct nx_buffer example(void) {
  struct nx_buffer text = {0};
  assert_int_equal(nx_file_read(example_path, 1 << 16, &text, NULL), 0);
  return text;
}

/* The example with its first `from` replaced by `to`, parsed; returns the code. */
static int parse_edited(const char *from, const char *to, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer text = example();
  _cleanup_(nx_buffer_finish) struct nx_buffer edited = {0};
  _cleanup_(nx_plan_destroyp) struct nx_plan *plan = NULL;
  char *at = memmem(text.data, text.size, from, strlen(from));
  assert_non_null(at);
  size_t before = (size_t)(at - (char *)text.data), after = before + strlen(from);
  nx_buffer_append(&edited, text.data, before, NULL);
  nx_buffer_append(&edited, to, strlen(to), NULL);
  nx_buffer_append(&edited, text.data + after, text.size - after, NULL);
  return nx_plan_parse("plan.yaml", nx_buffer_view(&edited), &plan, err);
}

static void example_plan_parses(void **state) {
  (void)state;
  _cleanup_(nx_buffer_finish) struct nx_buffer text = example();
  _cleanup_(nx_plan_destroyp) struct nx_plan *plan = NULL;
  struct nx_error err = {0};
  if (nx_plan_parse("plan.yaml", nx_buffer_view(&text), &plan, &err) < 0)
    fail_msg("%s", err.text);
  assert_int_equal(plan->training.rounds, 20);
  assert_string_equal(plan->data.positive_label, "arithmetic");
  assert_true(plan->training.learning_rate == 0.003);
}

static void unknown_key_is_named_with_its_line(void **state) {
  (void)state;
  struct nx_error err = {0};
  assert_int_equal(parse_edited("  notch_hz:", "  nutch_hz:", &err), NX_E_FORMAT);
  assert_non_null(strstr(err.text, "nutch_hz"));
  assert_non_null(strstr(err.text, "plan.yaml:19:"));
}

static void missing_key_is_named(void **state) {
  (void)state;
  struct nx_error err = {0};
  assert_int_equal(parse_edited("  clamp: 15 ", "  #clamp: 15 ", &err), NX_E_FORMAT);
  assert_non_null(strstr(err.text, "clamp"));
}

static void out_of_range_and_wrong_words_are_refused(void **state) {
  (void)state;
  struct nx_error err = {0};
  assert_int_equal(parse_edited("rounds: 20", "rounds: 0", &err), NX_E_FORMAT);
  assert_non_null(strstr(err.text, "training.rounds is 0"));
  assert_int_equal(parse_edited("rate_hz: 100", "rate_hz: .nan", &err), NX_E_FORMAT);
  assert_int_equal(parse_edited("minimum_members: 3", "minimum_members: 2", &err), NX_E_FORMAT);
  assert_int_equal(parse_edited("privacy: none", "privacy: some", &err), NX_E_FORMAT);
  assert_int_equal(parse_edited("patch_seconds: 1", "patch_seconds: 0.3", &err), NX_E_FORMAT);
  assert_int_equal(parse_edited("neurox_plan: 1", "neurox_plan: 2", &err), NX_E_FORMAT);
  assert_int_equal(parse_edited("neurox_plan: 1", "\t: [", &err), NX_E_FORMAT);
}

static void many_modalities_parse(void **state) {
  (void)state;
  example_path = "configs/plan-general.yaml";
  _cleanup_(nx_buffer_finish) struct nx_buffer text = example();
  _cleanup_(nx_plan_destroyp) struct nx_plan *plan = NULL;
  const struct nx_plan_tokeniser *found[2];
  struct nx_error err = {0};
  if (nx_plan_parse("plan.yaml", nx_buffer_view(&text), &plan, &err) < 0)
    fail_msg("%s", err.text);
  assert_int_equal(plan->modalities->tokenisers_count, 6);
  assert_int_equal(nx_plan_tokenisers_of(plan, NX_MODALITY_LFP, found), 2);
  assert_true(found[1]->rate_hz == 512);
  assert_int_equal(nx_plan_tokenisers_of(plan, NX_MODALITY_SPIKES, found), 1);
  assert_int_equal(found[0]->loss, NX_TOKEN_LOSS_POISSON);
  example_path = "configs/plan-eegmat.yaml";
}

static void modalities_that_do_not_fit_are_refused(void **state) {
  (void)state;
  static const struct {
    const char *from, *to, *says;
  } cases[] = {
      {"network: general", "network: nano", "model.network: general"},
      {"rate_hz: 128\n", "rate_hz: 100\n", "first tokeniser"},
      {"seconds: 8", "seconds: 4", "write seconds: 8"},
      {"kind: ieeg,", "kind: eeg,", "two tokenisers are eeg"},
      {"kind: calcium", "kind: kalzium", "kalzium"},
      {"patch_samples: 10", "patch_samples: 11", "must be even"},
      {"patch_samples: 10", "patch_samples: 2", "patch_samples is 2"},
      {"patches: 16", "patches: 1", "modalities.patches is 1"},
      {"experts: 0", "experts: 1", "experts is 1"},
      {"experts: 0", "experts: 4\n  expert_balance: 2", ":41: modalities.expert_balance is 2"},
      {"experts: 0", "experts: 0\n  expert_balance: 0.01",
       ":41: modalities.expert_balance is 0.01, and no"},
      {"loss: poisson, frequency_weight: 0", "loss: poisson, frequency_weight: 1", "poisson"},
      {"mask_fraction: 0.55", "mask_fraction: 1", "mask_fraction is 1"},
      {"modalities:", "modalitys:", "modalitys"},
  };
  example_path = "configs/plan-general.yaml";
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct nx_error err = {0};
    assert_int_equal(parse_edited(cases[i].from, cases[i].to, &err), NX_E_FORMAT);
    if (!strstr(err.text, cases[i].says))
      fail_msg("\"%s\" for \"%s\" says: %s", cases[i].to, cases[i].from, err.text);
  }
  example_path = "configs/plan-eegmat.yaml";
  struct nx_error err = {0};
  assert_int_equal(parse_edited("network: nano", "network: general", &err), NX_E_FORMAT);
  assert_non_null(strstr(err.text, "section modalities"));
  assert_int_equal(parse_edited("objective: classification", "objective: next-patch", &err),
                   NX_E_FORMAT);
}

static void prototypes_say_of_which_classes(void **state) {
  (void)state;
  static const char section[] = "\nprivacy: none\nprototypes:\n  classes: [still, moving]\n"
                                "  weight: 0.1\n  temperature: 0.1\n  minimum_count: 64\n";
  static const struct {
    const char *from, *to, *says;
  } cases[] = {
      {"weight: 0.1", "weight: 0.2", NULL},
      {"weight: 0.1", "weight: 0", ":82: prototypes.weight is 0: use"},
      {"temperature: 0.1", "temperature: 0", ":83: prototypes.temperature is 0"},
      {"minimum_count: 64", "minimum_count: 3", ":84: prototypes.minimum_count is 3"},
      {"moving]", "still]", ":81: prototypes.classes names 'still' twice"},
      {"moving]", "Moving]", "small letters"},
      {", moving]", "]", "Insufficient entries"},
      {"minimum_count", "minimum_counts", "minimum_counts"},
      {"  weight: 0.1\n", "", "weight"},
      {"privacy: none",
       "privacy: none\nadapters: {rank: 4, alpha: 8, attention: true, feed_forward: "
       "true, head: false}",
       ":81: prototypes do not go together with adapters"},
      {"privacy: none",
       "privacy: site-local-gaussian\ndifferential_privacy: {sampling_rate: 0.5, clip_norm: 1, "
       "noise_multiplier: 1, delta: 0.00001, subjects_per_step: 4}",
       "model.network must be nano with a privacy mechanism"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    _cleanup_(nx_buffer_finish) struct nx_buffer edited = {0};
    struct nx_error err = {0};
    const char *at = strstr(section, cases[i].from);
    assert_non_null(at);
    nx_buffer_append(&edited, section, (size_t)(at - section), NULL);
    nx_buffer_append(&edited, cases[i].to, strlen(cases[i].to), NULL);
    nx_buffer_append(&edited, at + strlen(cases[i].from), strlen(at + strlen(cases[i].from)) + 1,
                     NULL);
    example_path = "configs/plan-general.yaml";
    int r = parse_edited("\nprivacy: none\n", (const char *)edited.data, &err);
    if (r != (cases[i].says ? NX_E_FORMAT : 0) ||
        (cases[i].says && !strstr(err.text, cases[i].says)))
      fail_msg("\"%s\" says: %s", cases[i].to, err.text);
    if (i)
      continue;
    assert_int_equal(parse_edited("objective: reconstruction", "objective: classification", &err),
                     0);
    example_path = "configs/plan-eegmat.yaml"; /* nano */
    assert_int_equal(parse_edited("\nprivacy: none\n", (const char *)edited.data, &err),
                     NX_E_FORMAT);
    assert_non_null(strstr(err.text, "prototypes is for model.network: general"));
  }
  example_path = "configs/plan-eegmat.yaml";
}

static void a_regression_says_of_what(void **state) {
  (void)state;
  static const struct {
    const char *from, *to, *says;
  } cases[] = {{"unit: any", "unit: cm", NULL},
               {"targets: [speed]", "targets: [speed, x]", NULL},
               {"standardise: site", "standardise: federation", "would mix units"},
               {"standardise: site", "standardise: lab", "lab"},
               {"targets: [speed]", "targets: [x, x]", "'x' twice"},
               {"targets: [speed]", "targets: []", "Insufficient entries"},
               {"targets: [speed]", "targets: [a, b, c, d, e, f, g, h, i]", "Excessive entries"},
               {"  unit: any ", "  #", "unit"},
               {"\nregression:", "\nregressions:", "regressions"},
               {"objective: regression", "objective: reconstruction", "is for training.objective"}};
  example_path = "configs/plan-regression.yaml";
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct nx_error err = {0};
    int r = parse_edited(cases[i].from, cases[i].to, &err);
    if (r != (cases[i].says ? NX_E_FORMAT : 0) ||
        (cases[i].says && !strstr(err.text, cases[i].says)))
      fail_msg("\"%s\" says: %s", cases[i].to, err.text);
  }
  example_path = "configs/plan-general.yaml";
  struct nx_error err = {0};
  assert_int_equal(parse_edited("objective: reconstruction", "objective: regression", &err),
                   NX_E_FORMAT);
  assert_non_null(strstr(err.text, "section regression"));
  example_path = "configs/plan-eegmat.yaml";
}

static void frozen_weights_are_kept_as_said(void **state) {
  (void)state;
  static const char *const section =
      "privacy: none\ninitial_model:\n"
      "  sha256: 00000000000000000000000000000000000000000000000000000000000000ab\n"
      "adapters: {rank: 4, alpha: 8, attention: true, feed_forward: true, head: true%s}";
  static const struct {
    const char *base, *says;
  } cases[] = {{"", NULL},
               {", base: float32", NULL},
               {", base: int8", NULL},
               {", base: nf4", NULL},
               {", base: int4", ":67: Invalid ENUM value: int4"},
               {", bass: nf4", "bass"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct nx_error err = {0};
    char text[400];
    snprintf(text, sizeof text, section, cases[i].base);
    int r = parse_edited("privacy: none", text, &err);
    if (r != (cases[i].says ? NX_E_FORMAT : 0) ||
        (cases[i].says && !strstr(err.text, cases[i].says)))
      fail_msg("\"%s\" says: %s", cases[i].base, err.text);
  }
}

/* Sections and line of a mechanism belong together; what is wrong is named with its line. */
static void mechanism_and_its_numbers_are_checked(void **state) {
  (void)state;
  static const struct {
    const char *from, *to, *words;
  } cases[] = {
      {"privacy: distributed-skellam", "privacy: none", "privacy is none but there is a section"},
      {"privacy: distributed-skellam", "privacy: epsilon-8", "ENUM"},
      {"differential_privacy:", "differential_privacies:", "differential_privacies"},
      {"  sampling_rate: 1 ", "  sampling_rate: 1.5 ", ":69: differential_privacy.sampling_rate"},
      {"  clip_norm: 1 ", "  clip_norm: 0 ", ":70: differential_privacy.clip_norm is 0"},
      {"  clip_norm: 1 ", "  clip_norm: 2 ", "clip"},
      {"  noise_multiplier: 5 ", "  noise_multiplier: 1e9 ", ":71: differential_privacy.noise"},
      {"  delta: 0.00001", "  delta: 0.5", ":72: differential_privacy.delta"},
      {"  delta: 0.00001", "  epsilon: 8\n  delta: 0.00001", "epsilon"},
      {"  subjects_per_step: 5", "  subjects_per_step: 0", "subjects_per_step"},
      {"  subjects_per_step: 5", "  subjects_per_step: 5\n  feature_mean: [1]\n  feature_sd: [0]",
       "feature_sd"},
      {"  subjects_per_step: 5", "  subjects_per_step: 5\n  feature_mean: [1]", "pairs"},
      {"  local_steps: 1 ", "  local_steps: 2 ", "training.local_steps is 2: write 1"},
      {"  weight_decay: 0", "  weight_decay: 0.1", "training.weight_decay"},
      {"  spot_checks: 4", "  spot_checks: 4\n  error_feedback: true", "error_feedback"},
      {"  spot_checks: 4", "  spot_checks: 4\n  rotation: true", "rotation"},
      {"privacy: distributed-skellam", "privacy: node-level-skellam", "subjects_per_step"},
      {"  network: nano", "  network: general", "network"},
  };
  example_path = "configs/plan-eegmat-dp.yaml";
  struct nx_error err = {0};
  if (parse_edited("seed: 1", "seed: 2", &err) < 0)
    fail_msg("%s", err.text);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    err = (struct nx_error){0};
    assert_int_equal(parse_edited(cases[i].from, cases[i].to, &err), NX_E_FORMAT);
    if (!strstr(err.text, cases[i].words))
      fail_msg("'%s' for %s", err.text, cases[i].to);
  }
  example_path = "configs/plan-eegmat.yaml";
}

static void optional_keys_of_the_aggregation(void **state) {
  (void)state;
  struct nx_error err = {0};
  const char *both = "spot_checks: 4\n  rotation: true\n  error_feedback: true\n  #";
  if (parse_edited("spot_checks: 4", both, &err) < 0)
    fail_msg("%s", err.text);
  assert_int_equal(parse_edited("spot_checks: 4", "spot_checks: 4\n  rotation: maybe\n  #", &err),
                   NX_E_FORMAT);
  assert_int_equal(parse_edited("privacy: none", "privacy: site-local-gaussian", &err),
                   NX_E_FORMAT);
  assert_non_null(strstr(err.text, "differential_privacy"));
  assert_int_equal(
      parse_edited("spot_checks: 4", "spot_checks: 4\n  narrow_keystream: true\n  #", &err),
      NX_E_FORMAT);
  assert_non_null(
      strstr(err.text, ":59: aggregation.narrow_keystream is for rings of at most 16 bits"));
  assert_int_equal(
      parse_edited("spot_checks: 4", "spot_checks: 4\n  mask_cipher: aegis-256\n  #", &err), 0);
  assert_int_equal(
      parse_edited("spot_checks: 4", "spot_checks: 4\n  mask_cipher: rot13\n  #", &err),
      NX_E_FORMAT);
  assert_non_null(strstr(err.text, ":59: Invalid ENUM value: rot13"));
}

/* libcyaml would take "4GB" as 4, "20.5" as 20 and "010" as 8. */
static void numbers_are_numbers_to_their_end(void **state) {
  (void)state;
  static const char *const wrong[] = {"4GB", "4.5", "010", "0x10", "4 5", "four"};
  struct nx_error err = {0};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    char line[64];
    snprintf(line, sizeof line, "spot_checks: %s", wrong[i]);
    assert_int_equal(parse_edited("spot_checks: 4", line, &err), NX_E_FORMAT);
    assert_non_null(strstr(err.text, ":58: "));
  }
  assert_int_equal(parse_edited("spot_checks: 4", "spot_checks: 40", &err), 0);
  assert_int_equal(parse_edited("weight_decay: ", "weight_decay: 1,", &err), NX_E_FORMAT);
  assert_non_null(strstr(err.text, "weight_decay: \"1,"));
}

/* A key that older plans do not have; a word that is no switch is refused where it stands. */
static void checkpointing_is_a_switch(void **state) {
  (void)state;
  struct nx_error err = {0};
  const char *const wrong[] = {"yes", "1", "on", "\"\""};
  const char *on = "label_smoothing: 0.1\n  checkpoint_activations: true\n  #";
  assert_int_equal(parse_edited("label_smoothing: 0.1", on, &err), 0);
  for (size_t i = 0; i < 4; i++) {
    char edited[96];
    snprintf(edited, sizeof edited, "label_smoothing: 0.1\n  checkpoint_activations: %s\n  #",
             wrong[i]);
    assert_int_equal(parse_edited("label_smoothing: 0.1", edited, &err), NX_E_FORMAT);
    assert_non_null(strstr(err.text, "plan.yaml:50: "));
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(example_plan_parses),
      cmocka_unit_test(many_modalities_parse),
      cmocka_unit_test(checkpointing_is_a_switch),
      cmocka_unit_test(modalities_that_do_not_fit_are_refused),
      cmocka_unit_test(unknown_key_is_named_with_its_line),
      cmocka_unit_test(missing_key_is_named),
      cmocka_unit_test(out_of_range_and_wrong_words_are_refused),
      cmocka_unit_test(mechanism_and_its_numbers_are_checked),
      cmocka_unit_test(a_regression_says_of_what),
      cmocka_unit_test(prototypes_say_of_which_classes),
      cmocka_unit_test(frozen_weights_are_kept_as_said),
      cmocka_unit_test(optional_keys_of_the_aggregation),
      cmocka_unit_test(numbers_are_numbers_to_their_end),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
