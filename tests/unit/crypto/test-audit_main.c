/* neurox-audit as people run it; NEUROX_AUDIT is its path. */
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/file.h"
#include "crypto/audit_log.h"
#include "tests/unit/crypto/support.h"

static char folder[64], output[4096];

/* The exit code of "neurox-audit <arguments>" and, in output, all it printed. */
static int run(const char *format, const char *a, const char *b) {
  char arguments[512], command[1024];
  snprintf(arguments, sizeof arguments, format, a, b);
  snprintf(command, sizeof command, "'%s' %s 2>&1", getenv("NEUROX_AUDIT"), arguments);
  FILE *pipe = popen(command, "r");
  assert_non_null(pipe);
  output[fread(output, 1, sizeof output - 1, pipe)] = 0;
  return WEXITSTATUS(pclose(pipe));
}

static int make_log(void **state) {
  struct nx_audit_log *log = NULL;
  _cleanup_(nx_identity_destroyp) struct nx_identity *identity = NULL;
  (void)state;
  strcpy(folder, "/tmp/nx-audit-XXXXXX");
  assert_non_null(mkdtemp(folder));
  assert_int_equal(nx_identity_create(&nx_entropy_system, &identity, NULL), 0);
  assert_int_equal(nx_audit_log_open(folder, "Site \"3\"", identity, &log, NULL), 0);
  for (uint64_t i = 0; i < 5; i++)
    assert_int_equal(NX_AUDIT_APPEND(log, NULL, "round.opened", NX_AUDIT_UINT("round", i),
                                     NX_AUDIT_STR("note", "bell\aand text")),
                     0);
  return nx_audit_log_close(log, NULL);
}

static int remove_log(void **state) {
  (void)state;
  char command[128];
  snprintf(command, sizeof command, "rm -r '%s'", folder);
  return system(command);
}

static void a_good_log_is_verified(void **state) {
  (void)state;
  char key[NX_PATH_SIZE];
  assert_int_equal(run("verify %s", folder, ""), 0);
  assert_non_null(strstr(output, "VERIFIED"));
  assert_non_null(strstr(output, "5 entries"));
  nx_path_join(key, folder, "public.key", NULL);
  assert_int_equal(run("verify %s/entries.log --key %s", folder, key), 0);
  assert_int_equal(run("verify --json %s %s", folder, folder), 0);
  assert_non_null(strstr(output, "\"origin\": \"Site \\\"3\\\"\""));
  assert_int_equal(run("verify %s --key %s", folder,
                       "0000000000000000000000000000000000000000000000000000000000000000"),
                   1);
  assert_non_null(strstr(output, "another key"));
}

static void a_tampered_log_fails(void **state) {
  (void)state;
  char path[NX_PATH_SIZE];
  nx_path_join(path, folder, "entries.log", NULL);
  FILE *file = fopen(path, "r+");
  assert_non_null(file);
  fseek(file, 100, SEEK_SET);
  fputc('!', file);
  fclose(file);
  assert_int_equal(run("verify %s", folder, ""), 1);
  assert_non_null(strstr(output, "FAILED"));
  assert_int_equal(run("verify %s/nowhere", folder, ""), 1);
}

static void a_rewritten_log_is_not_the_one_seen_before(void **state) {
  (void)state;
  char root[65];
  assert_int_equal(run("verify %s", folder, ""), 0);
  const char *at = strstr(output, "root ");
  assert_non_null(at);
  snprintf(root, sizeof root, "%.64s", at + 5);
  assert_int_equal(run("verify %s --seen 5:%s", folder, root), 0);
  assert_int_equal(run("verify %s --seen 4:%s", folder, root), 1);
  assert_non_null(strstr(output, "rewritten"));
  assert_int_equal(run("verify %s --seen 6:%s", folder, root), 1);
  assert_non_null(strstr(output, "only 5 are left"));
  root[63] = root[63] == '0' ? '1' : '0';
  assert_int_equal(run("verify %s --seen 5:%s", folder, root), 1);
  assert_int_equal(run("verify %s --seen 5", folder, ""), 2);
  assert_int_equal(run("verify %s --seen 0:%s", folder, root), 2);
}

static void show_prints_entries_without_their_control_bytes(void **state) {
  (void)state;
  assert_int_equal(run("show %s", folder, ""), 0);
  assert_non_null(strstr(output, "round.opened round=4 note=\"bell?and text\""));
}

static void wrong_usage_is_told(void **state) {
  (void)state;
  assert_int_equal(run("", "", ""), 2);
  assert_int_equal(run("verify", "", ""), 2);
  assert_int_equal(run("verify %s --speed", folder, ""), 2);
  assert_int_equal(run("verify %s --key", folder, ""), 2);
  assert_int_equal(run("verify %s --key no-such-file", folder, ""), 2);
  assert_int_equal(run("replay", "", ""), 2);
  assert_int_equal(run("replay %s --seen 5:0", folder, ""), 2);
  assert_int_equal(run("replay %s", folder, ""), 1); /* a log's folder is no kept round */
  assert_non_null(strstr(output, "FAILED"));
  assert_int_equal(run("--help", "", ""), 0);
  assert_non_null(strstr(output, "exit code"));
}

#define WITH_LOG(name) cmocka_unit_test_setup_teardown(name, make_log, remove_log)

int main(void) {
  const struct CMUnitTest tests[] = {
      WITH_LOG(a_good_log_is_verified),
      WITH_LOG(a_tampered_log_fails),
      WITH_LOG(a_rewritten_log_is_not_the_one_seen_before),
      WITH_LOG(show_prints_entries_without_their_control_bytes),
      WITH_LOG(wrong_usage_is_told),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
