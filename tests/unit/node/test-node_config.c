#include <stdlib.h>
#include <unistd.h>

#include "common/file.h"
#include "node/node_config.h"
#include "tests/unit/cmocka_shim.h"

/* A new folder under TMPDIR, named in `out`. */
static void temporary(char out[64]) {
  strcpy(out, "/tmp/nx-node-config-XXXXXX");
  assert_non_null(mkdtemp(out));
}

/* The example with its first `from` replaced by `to`, loaded from a file; returns the code. */
static int load_edited(const char *from, const char *to, struct nx_node_config **config,
                       struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer text = {0};
  _cleanup_(nx_buffer_finish) struct nx_buffer edited = {0};
  char folder[64], path[NX_PATH_SIZE];
  assert_int_equal(nx_file_read("configs/node.yaml", 1 << 16, &text, NULL), 0);
  char *at = memmem(text.data, text.size, from, strlen(from));
  assert_non_null(at);
  size_t before = (size_t)(at - (char *)text.data), after = before + strlen(from);
  nx_buffer_append(&edited, text.data, before, NULL);
  nx_buffer_append(&edited, to, strlen(to), NULL);
  nx_buffer_append(&edited, text.data + after, text.size - after, NULL);
  temporary(folder);
  nx_path_join(path, folder, "node.yaml", NULL);
  assert_int_equal(nx_file_replace(path, nx_buffer_view(&edited), 0600, NULL), 0);
  int r = nx_node_config_load(path, config, err);
  unlink(path);
  rmdir(folder);
  return r;
}

static void refuses(const char *from, const char *to, int code, const char *words) {
  _cleanup_(nx_node_config_destroyp) struct nx_node_config *config = NULL;
  struct nx_error err = {0};
  assert_int_equal(load_edited(from, to, &config, &err), code);
  if (!strstr(err.text, words))
    fail_msg("'%s' does not say '%s'", err.text, words);
}

static void example_loads(void **state) {
  (void)state;
  _cleanup_(nx_node_config_destroyp) struct nx_node_config *config = NULL;
  struct nx_error err = {0};
  if (nx_node_config_load("configs/node.yaml", &config, &err) < 0)
    fail_msg("%s", err.text);
  assert_string_equal(config->name, "charite");
  assert_int_equal(config->data.n_held_out, 2);
  assert_string_equal(config->data.held_out[1], "Subject11");
  assert_null(config->data.held_out_fold);
  assert_string_equal(config->data.name, "charite-eeg");
  assert_string_equal(config->policy, "policy.yaml");
}

static void wrong_keys_are_named_with_their_line(void **state) {
  (void)state;
  refuses("held_out:", "held_oud:", NX_E_FORMAT, "held_oud");
  refuses("threads: 0", "threads: many", NX_E_FORMAT, "node.yaml:10");
  refuses("coordinator: hub", "#coordinator: hub", NX_E_FORMAT, "coordinator");
}

static void section_of_older_files_is_explained(void **state) {
  (void)state;
  refuses("policy: policy.yaml", "policy:\n  minimum_members: 3\n  approval: ask", NX_E_FORMAT,
          "configs/policy.yaml");
  refuses("policy: policy.yaml", "policy: # ours\n  approval: ask", NX_E_FORMAT,
          "policy is no section");
}

static void values_out_of_range_are_refused(void **state) {
  (void)state;
  refuses("hub.example.org:7443", "hub.example.org", NX_E_INVALID, "host:port");
  refuses("# held_out_fold", "held_out_fold", NX_E_INVALID, "keep one");
  refuses("neurox_node: 1", "neurox_node: 2", NX_E_INVALID, "version 2");
  refuses("threads: 0", "threads: 300", NX_E_INVALID, "node.yaml:10: threads: 300");
  refuses("memory_mb: 0", "memory_mb: 16777216", NX_E_INVALID, "node.yaml:11: memory_mb: 16777216");
  refuses("memory_mb: 0", "memory_mb: all", NX_E_FORMAT, "node.yaml:11");
  refuses("memory_mb: 0", "memory_mb: -1", NX_E_FORMAT, "node.yaml:11");
}

static void periods_of_keeping(void **state) {
  (void)state;
  _cleanup_(nx_node_config_destroyp) struct nx_node_config *config = NULL;
  struct nx_error err = {0};
  assert_int_equal(load_edited("  uploads_days: 14", "  uploads_days: 3", &config, &err), 0);
  struct nx_node_days days = nx_node_config_days(config);
  assert_int_equal(days.uploads, 3);
  assert_int_equal(days.models, 90);
  nx_node_config_destroy(nx_steal(&config));
  /* Left out: not for ever. */
  assert_int_equal(load_edited("  uploads_days: 14", "  # uploads_days: 14", &config, &err), 0);
  assert_int_equal(nx_node_config_days(config).uploads, 14);
  refuses("  models_days: 90", "  models_days: 99999", NX_E_INVALID, "keep.models_days: 99999: use 1");
  refuses("  models_days: 90", "  model_days: 90", NX_E_FORMAT, "model_days");
  refuses("  uploads_days: 14", "  audit_days: 14", NX_E_FORMAT, "audit_days");
}

static void truncated_file_is_refused(void **state) {
  (void)state;
  _cleanup_(nx_node_config_destroyp) struct nx_node_config *config = NULL;
  struct nx_error err = {0};
  char path[] = "/tmp/nx-node-config-empty-XXXXXX";
  close(mkstemp(path));
  assert_int_equal(nx_node_config_load(path, &config, &err), NX_E_FORMAT);
  unlink(path);
}

static void what_is_written_loads_again(void **state) {
  (void)state;
  _cleanup_(nx_node_config_destroyp) struct nx_node_config *again = NULL;
  uint32_t fold = 4;
  char folder[64], path[NX_PATH_SIZE], name[] = "it's: \"odd\" #1", address[] = "[::1]:7443",
                                       data[] = "/srv/a b/'eeg'",
                                       policy[] = "/etc/neurox/policy.yaml";
  struct nx_node_config config = {
      .neurox_node = 1, .name = name, .coordinator = address, .threads = 2};
  config.data.folder = data;
  config.data.held_out_fold = &fold;
  config.policy = policy;
  temporary(folder);
  nx_path_join(path, folder, "node.yaml", NULL);
  struct nx_error err = {0};
  assert_int_equal(nx_node_config_write(path, &config, &err), 0);
  if (nx_node_config_load(path, &again, &err) < 0)
    fail_msg("%s", err.text);
  assert_string_equal(again->name, name);
  assert_string_equal(again->data.folder, data);
  assert_int_equal(*again->data.held_out_fold, 4);
  assert_string_equal(again->policy, policy);
  assert_null(again->data.name);
  assert_int_equal(nx_node_config_write(path, &config, &err), NX_E_EXISTS);
  unlink(path);
  rmdir(folder);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(example_loads),
      cmocka_unit_test(periods_of_keeping),
      cmocka_unit_test(wrong_keys_are_named_with_their_line),
      cmocka_unit_test(section_of_older_files_is_explained),
      cmocka_unit_test(values_out_of_range_are_refused),
      cmocka_unit_test(truncated_file_is_refused),
      cmocka_unit_test(what_is_written_loads_again),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
