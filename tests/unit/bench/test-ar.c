/* The autoregressive baseline against scipy (tests/oracle/ar_scipy.py, run here when it can be). */
#include <cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/file.h"
#include "common/rng.h"
#include "tests/bench/ar_predictor.h"
#include "tests/unit/cmocka_shim.h"

#define NO_SCIPY 77
enum { SAMPLES = 3000, WINDOW = 160 };

struct sample {
  float x[SAMPLES], window[WINDOW];
  uint8_t hidden[WINDOW];
  struct ar_model model;
};

/* A process of order 3 with a peak, and a mean. Hidden: at the start, at the end, a run longer than
 * the order, single samples. */
static void make(struct sample *s, size_t order) {
  struct nx_rng rng;
  double r[AR_ORDER_MAX + 1] = {0}, mean = 0, last[3] = {0};
  nx_rng_init(&rng, 5, 1);
  for (size_t t = 0; t < SAMPLES + WINDOW; t++) {
    double now = 1.2 * last[0] - 0.8 * last[1] + 0.2 * last[2] + nx_rng_normal(&rng);
    memmove(last + 1, last, 2 * sizeof *last);
    last[0] = now;
    *(t < SAMPLES ? &s->x[t] : &s->window[t - SAMPLES]) = (float)(now + 2);
  }
  for (size_t t = 0; t < WINDOW; t++)
    s->hidden[t] = t < 12 || t >= WINDOW - 9 || (t >= 40 && t < 80) || t % 17 == 5;
  for (size_t t = 0; t < SAMPLES; t++)
    mean += (double)s->x[t] / SAMPLES;
  ar_add_products(s->x, SAMPLES, mean, r);
  ar_fit(r, SAMPLES, mean, order, &s->model);
}

static void put(const char *folder, const char *name, const void *bytes, size_t n) {
  char path[NX_PATH_SIZE];
  assert_int_equal(nx_path_join(path, folder, name, NULL), 0);
  assert_int_equal(nx_file_replace(path, nx_bytes(bytes, n), 0600, NULL), 0);
}

/* NULL where there is no scipy. */
static cJSON *ask(const struct sample *s) {
  char folder[] = "/tmp/nx-ar-XXXXXX", command[256], answer[65536], order[16];
  assert_non_null(mkdtemp(folder));
  put(folder, "x", s->x, sizeof s->x);
  put(folder, "window", s->window, sizeof s->window);
  put(folder, "hidden", s->hidden, sizeof s->hidden);
  snprintf(order, sizeof order, "%zu", s->model.order);
  put(folder, "order", order, strlen(order));
  snprintf(command, sizeof command,
           "/usr/bin/python3 tests/oracle/ar_scipy.py %s; e=$?; rm -r %s; exit $e", folder, folder);
  FILE *peer = popen(command, "r");
  assert_non_null(peer);
  size_t n = fread(answer, 1, sizeof answer - 1, peer);
  int status = pclose(peer);
  answer[n] = 0;
  if (WIFEXITED(status) && (WEXITSTATUS(status) == NO_SCIPY || WEXITSTATUS(status) == 127))
    return NULL;
  assert_int_equal(status, 0);
  cJSON *json = cJSON_Parse(answer);
  assert_non_null(json);
  return json;
}

static void same(const cJSON *list, const double *ours, const uint8_t *hidden, size_t n) {
  const cJSON *item = list->child;
  for (size_t i = 0; i < n; i++) {
    if (hidden && !hidden[i])
      continue;
    assert_non_null(item);
    if (!(fabs(item->valuedouble - ours[i]) < 1e-8))
      fail_msg("%s, %zu: %.12g, scipy says %.12g", list->string, i, ours[i], item->valuedouble);
    item = item->next;
  }
  assert_null(item);
}

static void check_order(size_t most) {
  struct sample s = {0};
  double out[WINDOW];
  make(&s, most);
  assert_true(s.model.order >= 1 && s.model.order <= most);
  cJSON *oracle = ask(&s);
  if (!oracle) {
    print_message("SKIPPED 1 test: no scipy here\n");
    skip();
  }
  same(cJSON_GetObjectItem(oracle, "a"), s.model.a, NULL, s.model.order);
  ar_forecast(&s.model, s.window, s.hidden, WINDOW, out);
  same(cJSON_GetObjectItem(oracle, "forecast"), out, s.hidden, WINDOW);
  assert_true(ar_interpolate(&s.model, s.window, s.hidden, WINDOW, out));
  same(cJSON_GetObjectItem(oracle, "both"), out, s.hidden, WINDOW);
  cJSON_Delete(oracle);
}

static void a_low_order_is_scipys(void **state) {
  (void)state;
  check_order(1);
}

static void the_order_of_akaike_is_scipys(void **state) {
  (void)state;
  check_order(AR_ORDER_MAX);
}

/* Hidden on both sides of a sample that is seen, a process is worse known from the past alone. */
static void both_sides_know_more_than_one(void **state) {
  (void)state;
  struct sample s = {0};
  double past[WINDOW], both[WINDOW], errors[2] = {0};
  make(&s, 8);
  ar_forecast(&s.model, s.window, s.hidden, WINDOW, past);
  assert_true(ar_interpolate(&s.model, s.window, s.hidden, WINDOW, both));
  for (size_t t = 0; t < WINDOW; t++) {
    errors[0] += pow(past[t] - (double)s.window[t], 2);
    errors[1] += pow(both[t] - (double)s.window[t], 2);
    if (!s.hidden[t])
      assert_true(past[t] == (double)s.window[t] && both[t] == (double)s.window[t]);
  }
  assert_true(errors[1] < errors[0]);
}

static void a_channel_that_never_changes_has_its_mean(void **state) {
  (void)state;
  float x[64];
  uint8_t hidden[64] = {0, 1, 1};
  double r[AR_ORDER_MAX + 1] = {0}, out[64];
  struct ar_model model;
  for (size_t t = 0; t < 64; t++)
    x[t] = 3;
  ar_add_products(x, 64, 3, r);
  ar_fit(r, 64, 3, 8, &model);
  assert_int_equal(model.order, 0);
  assert_true(ar_interpolate(&model, x, hidden, 64, out));
  assert_true(out[1] == 3 && out[2] == 3);
  ar_forecast(&model, x, hidden, 64, out);
  assert_true(out[1] == 3 && out[2] == 3);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_low_order_is_scipys),
      cmocka_unit_test(the_order_of_akaike_is_scipys),
      cmocka_unit_test(both_sides_know_more_than_one),
      cmocka_unit_test(a_channel_that_never_changes_has_its_mean),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
