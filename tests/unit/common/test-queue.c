/* Mailbox, pool and rng: what crosses threads, and what must repeat. */
#include <math.h>
#include <pthread.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/mailbox.h"
#include "common/pool.h"
#include "common/rng.h"
#include "tests/unit/cmocka_shim.h"

static void *post_hundred(void *mailbox) {
  for (intptr_t i = 1; i <= 100; i++)
    while (nx_mailbox_post(mailbox, (void *)i) == NX_E_LIMIT)
      nx_clock_sleep(10000);
  return NULL;
}

static void mailbox_keeps_order_and_bounds(void **state) {
  (void)state;
  _cleanup_(nx_mailbox_destroyp) struct nx_mailbox *mailbox = NULL;
  assert_int_equal(nx_mailbox_create(4, NULL, &mailbox, NULL), 0);
  pthread_t sender;
  pthread_create(&sender, NULL, post_hundred, mailbox);
  for (intptr_t i = 1; i <= 100; i++)
    assert_int_equal((intptr_t)nx_mailbox_wait(mailbox, NX_NEVER), i);
  pthread_join(sender, NULL);
  assert_null(nx_mailbox_wait(mailbox, nx_clock_monotonic() + NX_MILLISECOND));
  nx_mailbox_close(mailbox);
  assert_int_equal(nx_mailbox_post(mailbox, mailbox), NX_E_STATE);
  assert_null(nx_mailbox_wait(mailbox, NX_NEVER));
}

static void mark(void *context, size_t index, size_t worker) {
  assert_true(worker < 3);
  __atomic_fetch_add((int *)context + index, 1, __ATOMIC_RELAXED);
}

static void pool_runs_each_task_once(void **state) {
  (void)state;
  _cleanup_(nx_pool_destroyp) struct nx_pool *pool = NULL;
  assert_int_equal(nx_pool_create(3, &pool, NULL), 0);
  for (int run = 1; run <= 50; run++) {
    int counts[200] = {0};
    nx_pool_run(pool, 200, mark, counts);
    for (int i = 0; i < 200; i++)
      assert_int_equal(counts[i], 1);
  }
}

static void rng_repeats_by_seed_and_stream(void **state) {
  (void)state;
  struct nx_rng a, b, c;
  nx_rng_init(&a, 7, 1);
  nx_rng_init(&b, 7, 1);
  nx_rng_init(&c, 7, 2);
  double sum = 0, squares = 0;
  for (int i = 0; i < 20000; i++) {
    double x = nx_rng_normal(&a);
    assert_true(x == nx_rng_normal(&b));
    sum += x;
    squares += x * x;
  }
  assert_true(nx_rng_u64(&a) != nx_rng_u64(&c));
  assert_true(fabs(sum / 20000) < 0.03 && fabs(squares / 20000 - 1) < 0.05);
  for (int i = 0; i < 1000; i++)
    assert_true(nx_rng_below(&c, 7) < 7);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(mailbox_keeps_order_and_bounds),
      cmocka_unit_test(pool_runs_each_task_once),
      cmocka_unit_test(rng_repeats_by_seed_and_stream),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
