/* --long: 10,000 random sequences of charge, refund, restart and kill -9 instead of 200. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/file.h"
#include "common/rng.h"
#include "node/policy/budget.h"
#include "tests/unit/cmocka_shim.h"

static unsigned n_sequences = 200;

struct fixture {
  char folder[64], path[NX_PATH_SIZE], head[NX_PATH_SIZE];
  struct nx_privacy_ledger *ledger;
};

static void open_ledger(struct fixture *f) {
  struct nx_error err = {0};
  if (nx_privacy_ledger_open(f->path, true, &f->ledger, &err) < 0)
    fail_msg("%s", err.text);
}

static void reopen(struct fixture *f) {
  nx_privacy_ledger_close(f->ledger);
  f->ledger = NULL;
  open_ledger(f);
}

static int setup(void **state) {
  struct fixture *f = calloc(1, sizeof *f);
  strcpy(f->folder, "/tmp/nx-ledger-XXXXXX");
  assert_non_null(mkdtemp(f->folder));
  nx_path_join(f->path, f->folder, NX_LEDGER_FILE, NULL);
  nx_path_join(f->head, f->folder, NX_LEDGER_FILE ".head", NULL);
  open_ledger(f);
  *state = f;
  return 0;
}

static void remove_files(const struct fixture *f) {
  static const char *const names[] = {"", "-wal", "-shm", ".head"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    char path[NX_PATH_SIZE + 8];
    snprintf(path, sizeof path, "%s%s", f->path, names[i]);
    unlink(path);
  }
}

static int teardown(void **state) {
  struct fixture *f = *state;
  nx_privacy_ledger_close(f->ledger);
  remove_files(f);
  rmdir(f->folder);
  free(f);
  return 0;
}

static struct nx_ledger_charge gaussian(uint64_t round, uint32_t attempt, uint64_t steps) {
  return (struct nx_ledger_charge){
      .dataset = "data",
      .plan = {{1}},
      .round = round,
      .attempt = attempt,
      .n_steps = steps,
      .unit = NX_UNIT_SUBJECT,
      .step = {.kind = NX_STEP_GAUSSIAN, .q = 0.1, .sigma = 2},
      .delta = 1e-5,
      .at = (int64_t)round * 1000,
  };
}

static struct nx_ledger_spent spent(struct fixture *f, const char *dataset, int64_t since) {
  const struct nx_ledger_query query = {
      .dataset = dataset, .unit = NX_UNIT_SUBJECT, .since = since, .delta = 1e-5};
  struct nx_ledger_spent out;
  assert_int_equal(nx_privacy_ledger_spent(f->ledger, &query, &out, NULL), 0);
  return out;
}

static double accountants(const struct nx_privacy_step *step, uint64_t n) {
  struct nx_accountant *accountant;
  double epsilon;
  assert_int_equal(nx_accountant_create(&accountant, NULL), 0);
  assert_int_equal(nx_accountant_preview(accountant, step, n, 1e-5, &epsilon, NULL), 0);
  nx_accountant_destroy(accountant);
  return epsilon;
}

static void steps_are_composed_and_survive_a_restart(void **state) {
  struct fixture *f = *state;
  struct nx_ledger_charge a = gaussian(1, 1, 100), b = gaussian(2, 1, 200);
  b.plan.bytes[0] = 2; /* another plan on the same people */
  assert_int_equal(nx_privacy_ledger_charge(f->ledger, &a, NULL), 0);
  assert_int_equal(nx_privacy_ledger_charge(f->ledger, &b, NULL), 0);
  assert_int_equal(nx_privacy_ledger_charge(f->ledger, &b, NULL), 0); /* once */
  b.n_steps = 201;
  assert_int_equal(nx_privacy_ledger_charge(f->ledger, &b, NULL), NX_E_STATE);
  double all = accountants(&a.step, 300);
  assert_true(fabs(all - 4.573819) < 1e-3); /* design page: .1, 2, 300, 1e-5 */
  assert_true(spent(f, "data", 0).epsilon == all);
  assert_true(all < 2 * accountants(&a.step, 150)); /* not added up naively */
  reopen(f);
  assert_true(spent(f, "data", 0).epsilon == all);
  assert_int_equal(spent(f, "data", 0).n_steps, 300);
  assert_int_equal(spent(f, "data", 1500).n_steps, 200); /* a window of time */
  assert_int_equal(spent(f, "others", 0).n_steps, 0);
  assert_true(spent(f, "others", 0).epsilon == 0);
}

static void a_refund_takes_back_one_attempt_for_good(void **state) {
  struct fixture *f = *state;
  struct nx_ledger_charge first = gaussian(1, 1, 5), second = gaussian(1, 2, 5);
  struct nx_error err = {0};
  assert_int_equal(nx_privacy_ledger_charge(f->ledger, &first, NULL), 0);
  assert_int_equal(nx_privacy_ledger_charge(f->ledger, &second, NULL), 0);
  assert_int_equal(nx_privacy_ledger_refund(f->ledger, 1, 1, 7, NULL), 0);
  assert_int_equal(nx_privacy_ledger_refund(f->ledger, 1, 1, 7, NULL), NX_LEDGER_NOTHING);
  assert_int_equal(nx_privacy_ledger_refund(f->ledger, 9, 1, 7, NULL), NX_LEDGER_NOTHING);
  for (int again = 0; again < 2; again++) {
    assert_int_equal(spent(f, "data", 0).n_steps, 5);
    assert_int_equal(nx_privacy_ledger_charge(f->ledger, &first, &err), NX_E_STATE);
    reopen(f);
  }
}

static void a_node_as_unit_costs_a_subject_twice_the_sensitivity(void **state) {
  struct fixture *f = *state;
  struct nx_ledger_charge charge = gaussian(1, 1, 10);
  charge.unit = NX_UNIT_NODE;
  charge.step.q = 1;
  assert_int_equal(nx_privacy_ledger_charge(f->ledger, &charge, NULL), 0);
  struct nx_privacy_step doubled = charge.step;
  doubled.sigma /= 2;
  assert_true(spent(f, "data", 0).epsilon == accountants(&doubled, 10));
}

static void rounds_without_a_mechanism_are_counted_apart(void **state) {
  struct fixture *f = *state;
  struct nx_ledger_charge none = {
      .dataset = "data", .round = 1, .attempt = 1, .unit = NX_UNIT_SUBJECT};
  assert_int_equal(nx_privacy_ledger_charge(f->ledger, &none, NULL), 0);
  reopen(f);
  assert_int_equal(spent(f, "data", 0).n_unprotected, 1);
}

static void the_round_that_would_exceed_is_refused(void **state) {
  struct fixture *f = *state;
  struct nx_ledger_charge charge = gaussian(1, 1, 300), more = gaussian(2, 1, 1);
  double cap = accountants(&charge.step, 300);
  struct nx_site_policy_privacy privacy = {.epsilon_per_data_set = cap};
  struct nx_error err = {0};
  struct nx_budget_near near;
  assert_int_equal(nx_budget_allows(f->ledger, &privacy, &charge, 0, &near, NULL), 0);
  assert_int_equal(nx_privacy_ledger_charge(f->ledger, &charge, NULL), 0);
  assert_int_equal(nx_budget_allows(f->ledger, &privacy, &more, 0, &near, &err), NX_E_DENIED);
  assert_non_null(strstr(err.text, "privacy.epsilon_per_data_set: "));
  privacy = (struct nx_site_policy_privacy){.epsilon_per_year = cap};
  assert_int_equal(nx_budget_allows(f->ledger, &privacy, &more, 1000, &near, &err), NX_E_DENIED);
  assert_non_null(strstr(err.text, "privacy.epsilon_per_year: "));
  /* a year later there is room again */
  assert_int_equal(nx_budget_allows(f->ledger, &privacy, &more, NX_LEDGER_YEAR + 1001, &near, NULL), 0);
  more.n_steps = 0;
  assert_int_equal(nx_budget_allows(f->ledger, &privacy, &more, 0, &near, &err), NX_E_DENIED);
}

/* ---- damage --------------------------------------------------------------------------------- */

static void fill(struct fixture *f, uint64_t n) {
  for (uint64_t round = 1; round <= n; round++) {
    struct nx_ledger_charge charge = gaussian(round, 1, 3);
    assert_int_equal(nx_privacy_ledger_charge(f->ledger, &charge, NULL), 0);
  }
}

static void refuses_to_open(struct fixture *f, const char *words) {
  struct nx_error err = {0};
  nx_privacy_ledger_close(nx_steal(&f->ledger));
  int r = nx_privacy_ledger_open(f->path, true, &f->ledger, &err);
  if (r != NX_E_FORMAT)
    fail_msg("%s: opened with %d: %s", words, r, err.text);
}

static void change_row(const char *path, const char *sql) {
  sqlite3 *db;
  assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
  assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
  sqlite3_close(db);
}

static void a_lost_or_changed_charge_shuts_the_ledger(void **state) {
  struct fixture *f = *state;
  static const char *const damages[] = {"DELETE FROM events WHERE sequence = 4",
                                        "DELETE FROM events WHERE sequence = 2",
                                        "UPDATE events SET steps = 1 WHERE sequence = 3",
                                        "UPDATE events SET sigma = 9 WHERE sequence = 1",
                                        "DROP TABLE events",
                                        "DELETE FROM events"};
  for (size_t i = 0; i < sizeof damages / sizeof *damages; i++) {
    fill(f, 4);
    nx_privacy_ledger_close(nx_steal(&f->ledger));
    change_row(f->path, damages[i]);
    refuses_to_open(f, damages[i]);
    remove_files(f);
    open_ledger(f);
  }
  fill(f, 4);
  unlink(f->head);
  refuses_to_open(f, "head gone");
  remove_files(f);
  open_ledger(f);
  fill(f, 4);
  nx_privacy_ledger_close(nx_steal(&f->ledger));
  unlink(f->path);
  refuses_to_open(f, "ledger gone");
}

/* SQLite takes a damaged tail of its log for the end of it; the head knows better. */
static void a_torn_log_shuts_the_ledger(void **state) {
  struct fixture *f = *state;
  char wal[NX_PATH_SIZE + 8];
  struct stat status;
  snprintf(wal, sizeof wal, "%s-wal", f->path);
  fill(f, 3);
  nx_privacy_ledger_close(nx_steal(&f->ledger));
  pid_t child = fork();
  if (child == 0) { /* a killed process leaves its log behind; a closed one folds it in */
    struct nx_privacy_ledger *ledger;
    struct nx_ledger_charge charge = gaussian(4, 1, 3), next = gaussian(5, 1, 3);
    if (nx_privacy_ledger_open(f->path, true, &ledger, NULL) == 0 &&
        nx_privacy_ledger_charge(ledger, &charge, NULL) == 0 &&
        nx_privacy_ledger_charge(ledger, &next, NULL) == 0)
      raise(SIGKILL);
    _exit(1);
  }
  int ended;
  assert_int_equal(waitpid(child, &ended, 0), child);
  assert_true(WIFSIGNALED(ended));
  assert_int_equal(stat(wal, &status), 0);
  assert_true(status.st_size > 100);
  int fd = open(wal, O_WRONLY);
  assert_int_equal(pwrite(fd, "torn", 4, 40), 4); /* in the first frame: nothing of it counts */
  close(fd);
  refuses_to_open(f, "torn log");
}

static void garbage_is_refused(void **state) {
  struct fixture *f = *state;
  fill(f, 2);
  nx_privacy_ledger_close(nx_steal(&f->ledger));
  int fd = open(f->path, O_WRONLY);
  for (int i = 0; i < 64; i++)
    assert_int_equal(pwrite(fd, "not a database at all, not even one", 32, i * 64), 32);
  close(fd);
  refuses_to_open(f, "garbage");
}

/* ---- kill -9 at any moment ----------------------------------------------------------------- */

/* What a node did, told through a pipe in the order in which it counts: an upload after its
 * charge returned, a certificate before its refund. */
struct told {
  uint32_t is_refund, attempt;
  uint64_t round, steps;
};

static void node_life(const char *path, int pipe, uint64_t first_round, struct nx_rng *rng) {
  struct nx_privacy_ledger *ledger;
  if (nx_privacy_ledger_open(path, true, &ledger, NULL) < 0 || write(pipe, "!", 1) != 1)
    _exit(3);
  for (uint64_t round = first_round;; round++) {
    uint32_t attempts = 1 + (uint32_t)nx_rng_below(rng, 2);
    for (uint32_t attempt = 1; attempt <= attempts; attempt++) {
      struct nx_ledger_charge charge = gaussian(round, attempt, 1 + nx_rng_below(rng, 9));
      if (nx_privacy_ledger_charge(ledger, &charge, NULL) < 0)
        _exit(4);
      struct told upload = {0, attempt, round, charge.n_steps};
      if (write(pipe, &upload, sizeof upload) != sizeof upload)
        _exit(5);
      if (nx_rng_below(rng, 4))
        continue;
      struct told certificate = {1, attempt, round, charge.n_steps};
      if (write(pipe, &certificate, sizeof certificate) != sizeof certificate ||
          nx_privacy_ledger_refund(ledger, round, attempt, 0, NULL) < 0)
        _exit(6);
      if (nx_rng_below(rng, 8) == 0) { /* an orderly restart */
        nx_privacy_ledger_close(ledger);
        if (nx_privacy_ledger_open(path, true, &ledger, NULL) < 0)
          _exit(7);
      }
    }
  }
}

struct books {
  uint64_t steps; /* really spent: uploaded, and no certificate against it */
  uint64_t doubt; /* charged beyond that: killed between charge and upload, or before a refund */
};

static void read_pipe(int pipe, struct books *books) {
  struct told told;
  while (read(pipe, &told, sizeof told) == sizeof told)
    books->steps += told.is_refund ? -told.steps : told.steps;
}

static void live_and_die(struct fixture *f, uint64_t first, struct books *books,
                         struct nx_rng *rng) {
  int pipes[2], ended;
  assert_int_equal(pipe(pipes), 0);
  pid_t child = fork();
  if (child == 0) {
    close(pipes[0]);
    node_life(f->path, pipes[1], first, rng);
    _exit(0);
  }
  close(pipes[1]);
  bool opened = nx_rng_below(rng, 8) != 0; /* or killed in its sleep, or while it opens */
  char ready;
  if (opened)
    assert_int_equal(read(pipes[0], &ready, 1), 1);
  usleep((useconds_t)nx_rng_below(rng, 6000));
  kill(child, SIGKILL);
  assert_int_equal(waitpid(child, &ended, 0), child);
  if (!WIFSIGNALED(ended))
    fail_msg("the node stopped by itself with %d", WEXITSTATUS(ended));
  if (opened || read(pipes[0], &ready, 1) == 1)
    read_pipe(pipes[0], books);
  close(pipes[0]);
}

/* The charges that stand cover at least what was really spent, and the epsilon with them. */
static void never_below_what_was_really_spent(void **state) {
  struct fixture *f = *state;
  struct books books = {0};
  struct nx_rng rng;
  uint64_t in_doubt = 0;
  const struct nx_privacy_step step = gaussian(1, 1, 1).step;
  nx_privacy_ledger_close(nx_steal(&f->ledger));
  for (unsigned i = 0; i < n_sequences; i++) {
    nx_rng_init(&rng, 20261124, i);
    if (i % 50 == 49) { /* a new ledger now and then: they are read whole every time */
      remove_files(f);
      books = (struct books){0};
    }
    live_and_die(f, 1 + i * UINT64_C(100000), &books, &rng); /* no round twice */
    open_ledger(f);
    struct nx_ledger_spent kept = spent(f, "data", 0);
    if (kept.n_steps < books.steps)
      fail_msg("sequence %u: %llu steps in the ledger, %llu were spent", i,
               (unsigned long long)kept.n_steps, (unsigned long long)books.steps);
    if (i % 10 == 0)
      assert_true(kept.epsilon >= accountants(&step, books.steps));
    in_doubt += kept.n_steps - books.steps > books.doubt;
    books.doubt = kept.n_steps - books.steps;
    nx_privacy_ledger_close(nx_steal(&f->ledger));
  }
  print_message("%u sequences; %llu ended in doubt, and charged\n", n_sequences,
                (unsigned long long)in_doubt);
}

int main(int argc, char **argv) {
  if (argc > 1 && !strcmp(argv[1], "--long"))
    n_sequences = 10000;
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(steps_are_composed_and_survive_a_restart),
      TEST(a_refund_takes_back_one_attempt_for_good),
      TEST(a_node_as_unit_costs_a_subject_twice_the_sensitivity),
      TEST(rounds_without_a_mechanism_are_counted_apart),
      TEST(the_round_that_would_exceed_is_refused),
      TEST(a_lost_or_changed_charge_shuts_the_ledger),
      TEST(a_torn_log_shuts_the_ledger),
      TEST(garbage_is_refused),
      TEST(never_below_what_was_really_spent),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
