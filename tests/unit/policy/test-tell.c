#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/file.h"
#include "node/policy/tell.h"
#include "tests/unit/cmocka_shim.h"

struct fixture {
  char folder[64], file[NX_PATH_SIZE], script[512];
  char *command[4];
  struct nx_site_policy_tell tell;
  struct nx_teller *teller;
};

static int setup(void **state) {
  struct fixture *f = calloc(1, sizeof *f);
  strcpy(f->folder, "/tmp/nx-tell-XXXXXX");
  assert_non_null(mkdtemp(f->folder));
  nx_path_join(f->file, f->folder, "said", NULL);
  static char shell[] = "/bin/sh", minus_c[] = "-c";
  f->command[0] = shell;
  f->command[1] = minus_c;
  f->command[2] = f->script;
  f->tell = (struct nx_site_policy_tell){.command = f->command, .n_command = 3};
  assert_int_equal(nx_teller_create("charite", &f->teller, NULL), 0);
  *state = f;
  return 0;
}

static int teardown(void **state) {
  struct fixture *f = *state;
  nx_teller_destroy(f->teller);
  unlink(f->file);
  rmdir(f->folder);
  free(f);
  return 0;
}

/* What the command left behind, once it is there. */
static struct nx_buffer said(const struct fixture *f) {
  struct nx_buffer text = {0};
  for (int i = 0; i < 500 && !nx_path_exists(f->file); i++)
    nx_clock_sleep(20 * NX_MILLISECOND);
  assert_int_equal(nx_file_read(f->file, 1 << 16, &text, NULL), 0);
  assert_int_equal(nx_buffer_append(&text, "", 1, NULL), 0);
  return text;
}

static void command_gets_the_event_and_little_else(void **state) {
  struct fixture *f = *state;
  setenv("NEUROX_SECRET", "not for commands", 1);
  snprintf(f->script, sizeof f->script,
           "{ cat; env; ls /proc/self/fd | wc -l; } > %s/new; mv %s/new %s", f->folder, f->folder,
           f->file);
  nx_tell(f->teller, &f->tell, "plan.waits", "plan \"3f2a\" waits; $(id) `id`");
  _cleanup_(nx_buffer_finish) struct nx_buffer text = said(f);
  const char *all = (const char *)text.data;
  assert_non_null(strstr(all, "\"event\":\"plan.waits\""));
  assert_non_null(strstr(all, "\"text\":\"plan \\\"3f2a\\\" waits; $(id) `id`\""));
  assert_non_null(strstr(all, "NEUROX_SITE=charite"));
  assert_non_null(strstr(all, "NEUROX_EVENT=plan.waits"));
  assert_null(strstr(all, "NEUROX_SECRET"));
  assert_null(strstr(all, "uid="));
}

static void mail_has_its_headers(void **state) {
  struct fixture *f = *state;
  static char address[] = "steward@example.org";
  f->tell.mail_to = address;
  snprintf(f->script, sizeof f->script, "cat > %s/new; mv %s/new %s", f->folder, f->folder,
           f->file);
  nx_tell(f->teller, &f->tell, "round.refused", "limits.hours: no round runs");
  _cleanup_(nx_buffer_finish) struct nx_buffer text = said(f);
  assert_non_null(strstr((char *)text.data, "To: steward@example.org\nSubject: [neurox charite] "
                                            "round.refused\n"));
  assert_non_null(strstr((char *)text.data, "\n\nlimits.hours: no round runs\n"));
}

/* None of these is noticed by who tells. */
static void broken_commands_disturb_nobody(void **state) {
  struct fixture *f = *state;
  struct nx_site_policy_tell missing = f->tell;
  static char nowhere[] = "/nonexistent";
  char *nothing[] = {nowhere, NULL};
  missing.command = nothing;
  missing.n_command = 1;
  nx_tell(f->teller, NULL, "plan.waits", "nobody listens");
  nx_tell(f->teller, &missing, "plan.waits", "not there");
  strcpy(f->script, "exit 3");
  nx_tell(f->teller, &f->tell, "plan.waits", "fails without reading");
  nx_clock_sleep(100 * NX_MILLISECOND);
}

/* A command that hangs, with children of its own, is ended as a whole. */
static void hanging_command_is_killed_with_its_children(void **state) {
  struct fixture *f = *state;
  f->tell.timeout_seconds = 1;
  snprintf(f->script, sizeof f->script, "(sleep 3; echo alive > %s) & sleep 60", f->file);
  nx_tell(f->teller, &f->tell, "plan.waits", "hangs");
  nx_clock_sleep(4 * NX_SECOND);
  assert_false(nx_path_exists(f->file));
}

int main(void) {
  signal(SIGPIPE, SIG_IGN); /* as the node does: a command may end before it has read all */
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(command_gets_the_event_and_little_else, setup, teardown),
      cmocka_unit_test_setup_teardown(mail_has_its_headers, setup, teardown),
      cmocka_unit_test_setup_teardown(broken_commands_disturb_nobody, setup, teardown),
      cmocka_unit_test_setup_teardown(hanging_command_is_killed_with_its_children, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
