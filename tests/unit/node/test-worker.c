#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "node/worker.h"
#include "tests/unit/cmocka_shim.h"

struct counted {
  struct nx_job job; /* first */
  int number;
};

static atomic_int n_run, n_done, n_destroyed, last;
static atomic_bool gate;

static void run(struct nx_job *job) {
  while (!atomic_load(&gate))
    nx_clock_sleep(NX_MILLISECOND);
  atomic_store(&last, ((struct counted *)job)->number);
  atomic_fetch_add(&n_run, 1);
}

static void destroy(struct nx_job *job) {
  atomic_fetch_add(&n_destroyed, 1);
  free(job);
}

static void done(void *context, struct nx_job *job) {
  int expected = ((struct counted *)job)->number;
  (void)context;
  assert_int_equal(atomic_fetch_add(&n_done, 1), expected);
  job->destroy(job);
}

static struct nx_job *new_job(int number) {
  struct counted *job = calloc(1, sizeof *job);
  job->job = (struct nx_job){run, destroy};
  job->number = number;
  return &job->job;
}

static int reset(void **state) {
  (void)state;
  n_run = n_done = n_destroyed = 0;
  last = -1;
  gate = true;
  return 0;
}

static void jobs_run_one_after_another(void **state) {
  (void)state;
  struct nx_worker *worker = NULL;
  assert_int_equal(nx_worker_create(done, NULL, &worker, NULL), 0);
  for (int i = 0; i < 20; i++)
    assert_int_equal(nx_worker_post(worker, new_job(i), NULL), 0);
  while (atomic_load(&n_done) < 20)
    nx_clock_sleep(NX_MILLISECOND);
  nx_worker_destroy(worker);
  assert_int_equal(n_destroyed, 20);
  assert_int_equal(last, 19);
}

static void jobs_that_wait_are_destroyed_at_the_end(void **state) {
  (void)state;
  struct nx_worker *worker = NULL;
  struct nx_error err = {0};
  gate = false;
  assert_int_equal(nx_worker_create(done, NULL, &worker, NULL), 0);
  int posted = 0;
  while (nx_worker_post(worker, new_job(posted), &err) == 0)
    posted++;
  assert_non_null(strstr(err.text, "too many"));
  atomic_store(&gate, true);
  nx_worker_destroy(worker);
  assert_int_equal(n_destroyed, posted + 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(jobs_run_one_after_another, reset),
      cmocka_unit_test_setup(jobs_that_wait_are_destroyed_at_the_end, reset),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
