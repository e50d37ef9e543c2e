/* Coordinator config: what is written loads the same; what is wrong is named with its line. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/file.h"
#include "coordinator/coordinator_config.h"
#include "tests/unit/cmocka_shim.h"

static char path[64];

static int make(void **state) {
  (void)state;
  snprintf(path, sizeof path, "/tmp/nx-config-XXXXXX");
  int fd = mkstemp(path);
  close(fd);
  return unlink(path);
}

static int unmake(void **state) {
  (void)state;
  unlink(path);
  return 0;
}

static struct nx_coordinator_config example(void) {
  static char name[] = "Lab: #1, \"two\"", address[] = "hub.example.org:7443",
              listen[] = "0.0.0.0:7443", enrol[] = "hub.example.org:7444",
              enrol_listen[] = "0.0.0.0:7444";
  return (struct nx_coordinator_config){1,  name, address, listen, enrol,      enrol_listen,
                                        72, 365,  0,       20,     NX_KEEP_RUN};
}

static void file_loads_as_it_was_written(void **state) {
  (void)state;
  _cleanup_(nx_coordinator_config_destroyp) struct nx_coordinator_config *read = NULL;
  struct nx_coordinator_config written = example();
  assert_int_equal(nx_coordinator_config_write(path, &written, NULL), 0);
  assert_int_equal(nx_coordinator_config_write(path, &written, NULL), NX_E_EXISTS);
  assert_int_equal(nx_coordinator_config_load(path, &read, NULL), 0);
  assert_string_equal(read->name, written.name);
  assert_string_equal(read->enrol_listen, written.enrol_listen);
  assert_int_equal(read->attempts, 20);
  assert_int_equal(read->keep_uploads, NX_KEEP_RUN);
  assert_int_equal(nx_coordinator_config_upload_days(read), 14);
  assert_int_equal(nx_coordinator_config_stillness(read), 300);
}

static void shipped_example_loads(void **state) {
  (void)state;
  _cleanup_(nx_coordinator_config_destroyp) struct nx_coordinator_config *read = NULL;
  struct nx_error err = {0};
  if (nx_coordinator_config_load("configs/coordinator.yaml", &read, &err) < 0)
    fail_msg("%s", err.text);
}

/* One line of a good file replaced. */
static int load_with(const char *from, const char *to, struct nx_error *err) {
  _cleanup_(nx_coordinator_config_destroyp) struct nx_coordinator_config *read = NULL;
  struct nx_coordinator_config written = example();
  char command[256];
  unlink(path);
  assert_int_equal(nx_coordinator_config_write(path, &written, NULL), 0);
  snprintf(command, sizeof command, "sed -i \"s|^%s.*|%s|\" '%s'", from, to, path);
  assert_int_equal(system(command), 0);
  return nx_coordinator_config_load(path, &read, err);
}

static void wrong_values_are_named(void **state) {
  (void)state;
  static const struct {
    const char *from, *to, *word;
  } cases[] = {
      {"attempts", "attempts: 0", ":18: attempts: 0: use 1"},
      {"threads", "threads: 100000", "threads"},
      {"threads", "threads: many", "line"},
      {"stillness_seconds", "stillness_seconds: 20", "stillness_seconds: 20: use 30"},
      {"keep_uploads", "keep_uploads: forever", ""},
      {"listen", "listen: nowhere", "listen"},
      {"name", "nmae: x", "nmae"},
      {"neurox_coordinator", "neurox_coordinator: 2", "version"},
      {"address", "", "address"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct nx_error err = {0};
    if (load_with(cases[i].from, cases[i].to, &err) == 0)
      fail_msg("'%s' was taken", cases[i].to);
    assert_non_null(strstr(err.text, path));
    if (strcmp(cases[i].word, "line"))
      assert_non_null(strstr(err.text, cases[i].word));
  }
}

static void every_cut_is_survived(void **state) {
  (void)state;
  _cleanup_(nx_buffer_finish) struct nx_buffer text = {0};
  struct nx_coordinator_config written = example();
  assert_int_equal(nx_coordinator_config_write(path, &written, NULL), 0);
  assert_int_equal(nx_file_read(path, 65536, &text, NULL), 0);
  const char *last = memmem(text.data, text.size, "\nkeep_uploads: r", 16);
  assert_non_null(last);
  size_t must_have = (size_t)(last - (const char *)text.data) + 16;
  for (size_t n = 0; n < text.size; n += 7) {
    _cleanup_(nx_coordinator_config_destroyp) struct nx_coordinator_config *read = NULL;
    FILE *file = fopen(path, "w");
    fwrite(text.data, 1, n, file);
    fclose(file);
    if (nx_coordinator_config_load(path, &read, NULL) == 0)
      assert_true(n > must_have); /* the keys behind that are optional */
  }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make, unmake)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(file_loads_as_it_was_written),
      TEST(shipped_example_loads),
      TEST(wrong_values_are_named),
      TEST(every_cut_is_survived),
  };
  return cmocka_run_group_tests_name("coordinator config", tests, NULL, NULL);
}
