/* The network against PyTorch (tests/oracle/nano_torch.py, run here when it can be):
 * logits, loss, every parameter's gradient, one AdamW step. The oracle computes in float64,
 * so what is compared is the whole error of our float32. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/rng.h"
#include "models/nets/masking.h"
#include "models/nets/network.h"
#include "models/optim/adamw.h"
#include "tests/unit/models/fixture.h"

#define LARGEST_ERROR 1e-5      /* relative, per tensor, in the L2 norm */
#define LARGEST_ERROR_BF16 1e-2 /* with products in bf16: of the whole gradient */
#define NO_TORCH 77

struct parity {
  char folder[64];
  struct nx_plan *plan;
  struct nx_model *model;
  struct nx_network_input input;
  float *arrays[4];
  uint8_t *labels, *visible;
};

static void write_file(const struct parity *p, const char *name, const void *data, size_t size) {
  char path[NX_PATH_SIZE];
  assert_int_equal(nx_path_join(path, p->folder, name, NULL), 0);
  assert_int_equal(nx_file_replace(path, nx_bytes(data, size), 0600, NULL), 0);
}

static float *random_array(const struct parity *p, const char *name, size_t n, double sd,
                           struct nx_rng *rng) {
  float *x = calloc(n, sizeof *x);
  assert_non_null(x);
  for (size_t i = 0; i < n; i++)
    x[i] = (float)(sd * nx_rng_normal(rng));
  write_file(p, name, x, n * sizeof *x);
  return x;
}

static void on_unit_sphere(float *positions, size_t n) {
  for (float *x = positions; x < positions + 3 * n; x += 3) {
    float norm = sqrtf(x[0] * x[0] + x[1] * x[1] + x[2] * x[2]);
    for (int i = 0; i < 3; i++)
      x[i] /= norm;
  }
}

static void fill_input(struct parity *p, size_t b, size_t c, struct nx_rng *rng) {
  const struct nx_model_shape *s = &p->model->shape;
  size_t tokens = b * c * s->patches;
  p->arrays[0] = random_array(p, "patches", tokens * s->patch_samples, 1, rng);
  p->arrays[1] = random_array(p, "spectra", tokens * s->bins, 1.5, rng);
  p->arrays[2] = random_array(p, "stats", b * c * s->stats, 2, rng);
  p->arrays[3] = random_array(p, "positions", c * 3, 1, rng);
  on_unit_sphere(p->arrays[3], c);
  write_file(p, "positions", p->arrays[3], c * 3 * sizeof(float));
  p->labels = calloc(b, 1);
  for (size_t i = 0; i < b; i++)
    p->labels[i] = (uint8_t)nx_rng_below(rng, 2);
  write_file(p, "labels", p->labels, b);
  /* The masks nx_network_train_step() will draw from an rng (1, 1). */
  struct nx_rng masks;
  nx_rng_init(&masks, 1, 1);
  p->visible = calloc(tokens, 1);
  for (size_t i = 0; i < b; i++)
    nx_masking_draw(p->arrays[3], c, s->patches, &masks, p->visible + i * c * s->patches);
  write_file(p, "visible", p->visible, tokens);
  p->input = (struct nx_network_input){.n_windows = b,
                                       .n_channels = c,
                                       .patches = p->arrays[0],
                                       .spectra = p->arrays[1],
                                       .stats = p->arrays[2],
                                       .positions = p->arrays[3],
                                       .labels = p->labels};
}

static void write_case(const struct parity *p) {
  const struct nx_plan_training *t = &p->plan->training;
  char text[512];
  int n = snprintf(text, sizeof text,
                   "{\"windows\": %zu, \"channels\": %zu, \"label_smoothing\": %.17g, "
                   "\"learning_rate\": %.17g, \"weight_decay\": %.17g, \"beta1\": %.17g, "
                   "\"beta2\": %.17g, \"clip_norm\": %.17g}",
                   p->input.n_windows, p->input.n_channels, t->label_smoothing, t->learning_rate,
                   t->weight_decay, t->beta1, t->beta2, t->gradient_clip_norm);
  write_file(p, "case.json", text, (size_t)n);
}

static void parity_create(struct parity *p, enum nx_plan_objective objective, size_t windows,
                          size_t channels, double seconds) {
  struct nx_rng rng;
  nx_rng_init(&rng, 17, objective);
  *p = (struct parity){.folder = "/tmp/neurox-parity-XXXXXX", .plan = fixture_plan()};
  assert_non_null(mkdtemp(p->folder));
  p->plan->training.objective = objective;
  p->plan->model.dropout = 0;
  p->plan->window.seconds = seconds;
  if (seconds > 5) {
    p->plan->model.queries = 8;
    p->plan->model.heads = 2;
  }
  p->model = fixture_model(p->plan);
  for (size_t i = 0; i < p->model->n_params; i++)
    p->model->params[i] += (float)(0.05 * nx_rng_normal(&rng));
  for (size_t i = 0; i < p->model->n_features; i++) {
    p->model->feature_mean[i] = (float)nx_rng_normal(&rng);
    p->model->feature_sd[i] = (float)(0.5 + nx_rng_uniform(&rng));
  }
  fill_input(p, windows, channels, &rng);
  write_case(p);
  _cleanup_(nx_buffer_finish) struct nx_buffer bytes = {0};
  assert_int_equal(nx_model_save(p->model, &bytes, NULL), 0);
  write_file(p, "model.safetensors", bytes.data, bytes.size);
}

static void parity_destroy(struct parity *p) {
  static const char *const names[] = {
      "patches",   "spectra",  "stats",      "positions",   "labels",        "visible",
      "case.json", "loss.f64", "logits.f64", "stepped.f64", "gradients.f64", "model.safetensors"};
  char path[NX_PATH_SIZE];
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (!nx_path_join(path, p->folder, names[i], NULL))
      unlink(path);
  rmdir(p->folder);
  for (size_t i = 0; i < 4; i++)
    free(p->arrays[i]);
  free(p->labels);
  free(p->visible);
  nx_model_destroy(p->model);
  nx_plan_destroy(p->plan);
}

/* Exit code of the oracle. */
static int run_oracle(const struct parity *p, const char *script) {
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    execl("/usr/bin/python3", "python3", script, p->folder, (char *)NULL);
    _exit(NO_TORCH);
  }
  int status;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_true(WIFEXITED(status));
  return WEXITSTATUS(status);
}

static double *expected(const struct parity *p, const char *name, size_t n) {
  struct nx_buffer bytes = {0};
  char path[NX_PATH_SIZE];
  assert_int_equal(nx_path_join(path, p->folder, name, NULL), 0);
  assert_int_equal(nx_file_read(path, NX_BUFFER_CAP, &bytes, NULL), 0);
  assert_int_equal(bytes.size, n * sizeof(double));
  return (double *)bytes.data;
}

static double norm(const double *x, size_t n) {
  double square = 0;
  for (size_t i = 0; i < n; i++)
    square += x[i] * x[i];
  return sqrt(square);
}

/* Relative to the tensor's norm, but at least to `least`: a bias's gradient is a sum that may
 * cancel to nearly nothing. */
static double relative_error(const float *found, const double *right, size_t n, double least) {
  double error = 0;
  for (size_t i = 0; i < n; i++)
    error += (found[i] - right[i]) * (found[i] - right[i]);
  return sqrt(error) / fmax(fmax(norm(right, n), least), 1e-300);
}

static void assert_close(const char *what, const float *found, const double *right, size_t n,
                         double least) {
  double error = relative_error(found, right, n, least);
  /* gcc's build keeps the limit, by little (0.85e-5); clang's, for the sanitizers, adds otherwise.
   */
  if (!(error <= LARGEST_ERROR * (test_times(10) < 10 ? 2 : 1)))
    fail_msg("%s: relative error %g", what, error);
}

static void check_step(struct parity *p) {
  _cleanup_(nx_network_destroyp) struct nx_network *network = NULL;
  _cleanup_(nx_adamw_destroyp) struct nx_adamw *adamw = NULL;
  const struct nx_plan_training *t = &p->plan->training;
  const struct nx_adamw_options options = {t->beta1, t->beta2, t->weight_decay,
                                           t->gradient_clip_norm};
  struct nx_rng rng;
  double loss, *right;
  nx_rng_init(&rng, 1, 1);
  assert_int_equal(nx_network_create(p->model, &network, NULL), 0);
  assert_int_equal(nx_adamw_create(p->model, &options, &adamw, NULL), 0);
  assert_int_equal(
      nx_network_train_step(network, p->model, &p->input, t->label_smoothing, &rng, &loss, NULL),
      0);
  right = expected(p, "loss.f64", 1);
  assert_close("loss", &(float){(float)loss}, right, 1, 0);
  free(right);
  right = expected(p, "gradients.f64", p->model->n_params);
  double whole = norm(right, p->model->n_params);
  for (size_t i = 0; i < p->model->n_tensors; i++) {
    const struct nx_model_tensor *tensor = &p->model->tensors[i];
    assert_close(tensor->name, nx_network_gradients(network) + tensor->offset,
                 right + tensor->offset, tensor->size, 0.01 * whole);
  }
  free(right);
  assert_int_equal(
      nx_adamw_step(adamw, p->model, nx_network_gradients(network), t->learning_rate, NULL, NULL),
      0);
  right = expected(p, "stepped.f64", p->model->n_params);
  for (size_t i = 0; i < p->model->n_tensors; i++) {
    const struct nx_model_tensor *tensor = &p->model->tensors[i];
    assert_close(tensor->name, p->model->params + tensor->offset, right + tensor->offset,
                 tensor->size, 0);
  }
  free(right);
}

static void check_logits(struct parity *p, const char *name, double most) {
  _cleanup_(nx_network_destroyp) struct nx_network *network = NULL;
  float *logits = calloc(p->input.n_windows, sizeof *logits);
  assert_int_equal(nx_network_create(p->model, &network, NULL), 0);
  assert_int_equal(nx_network_forward(network, p->model, &p->input, logits, NULL), 0);
  double *right = expected(p, name, p->input.n_windows);
  for (size_t i = 0; i < p->input.n_windows; i++)
    assert_float_equal(logits[i], right[i], most);
  free(right);
  free(logits);
}

/* Loss and gradient with products in bf16. */
static void check_step_bf16(struct parity *p) {
  _cleanup_(nx_network_destroyp) struct nx_network *network = NULL;
  struct nx_rng rng;
  double loss;
  nx_rng_init(&rng, 1, 1);
  assert_int_equal(nx_network_create(p->model, &network, NULL), 0);
  if (nx_network_use_bf16(network, NULL)) {
    print_message("SKIPPED 1 test: this processor has no bf16\n");
    return;
  }
  assert_int_equal(nx_network_train_step(network, p->model, &p->input,
                                         p->plan->training.label_smoothing, &rng, &loss, NULL),
                   0);
  double *right = expected(p, "loss.f64", 1);
  assert_float_equal(loss, *right, LARGEST_ERROR_BF16 * *right);
  free(right);
  right = expected(p, "gradients.f64", p->model->n_params);
  double error = relative_error(nx_network_gradients(network), right, p->model->n_params, 0);
  assert_true(error > 1e-5); /* or it was not bf16 at all */
  if (!(error < LARGEST_ERROR_BF16))
    fail_msg("bf16 gradient: relative error %g", error);
  free(right);
}

static void finish(int code) {
  if (code == NO_TORCH) {
    print_message("SKIPPED 1 test: no PyTorch for /usr/bin/python3 (python3-torch)\n");
    skip();
  }
  assert_int_equal(code, 0);
}

static void compare(enum nx_plan_objective objective, size_t windows, size_t channels,
                    double seconds) {
  struct parity p;
  parity_create(&p, objective, windows, channels, seconds);
  int code = run_oracle(&p, "tests/oracle/nano_torch.py");
  if (code == 0 && objective == NX_OBJECTIVE_CLASSIFICATION)
    check_logits(&p, "logits.f64", 1e-5);
  if (code == 0)
    check_step_bf16(&p);
  if (code == 0)
    check_step(&p);
  parity_destroy(&p);
  finish(code);
}

static void classifier_agrees_with_pytorch(void **state) {
  (void)state;
  compare(NX_OBJECTIVE_CLASSIFICATION, 6, 19, 5);
}

/* 30 windows of 19 channels go through the tape in two slices. */
static void sliced_batch_agrees_with_pytorch(void **state) {
  (void)state;
  compare(NX_OBJECTIVE_CLASSIFICATION, 30, 19, 5);
}

static void reconstruction_agrees_with_pytorch(void **state) {
  (void)state;
  compare(NX_OBJECTIVE_RECONSTRUCTION, 25, 19, 5);
}

static void other_montage_agrees_with_pytorch(void **state) {
  (void)state;
  compare(NX_OBJECTIVE_CLASSIFICATION, 3, 7, 5);
}

/* 160 latent tokens of two heads: attention's products go to the GEMM library. */
static void long_windows_agree_with_pytorch(void **state) {
  (void)state;
  compare(NX_OBJECTIVE_RECONSTRUCTION, 2, 9, 20);
}

/* What docs/ hands to people who want the model in Python. */
static void exported_model_gives_the_same_logits(void **state) {
  (void)state;
  struct parity p;
  parity_create(&p, NX_OBJECTIVE_CLASSIFICATION, 9, 19, 5);
  int code = run_oracle(&p, "tests/oracle/exported_torch.py");
  if (code == 0)
    check_logits(&p, "exported.f64", 1e-4);
  parity_destroy(&p);
  finish(code);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(classifier_agrees_with_pytorch),
      cmocka_unit_test(sliced_batch_agrees_with_pytorch),
      cmocka_unit_test(reconstruction_agrees_with_pytorch),
      cmocka_unit_test(other_montage_agrees_with_pytorch),
      cmocka_unit_test(long_windows_agree_with_pytorch),
      cmocka_unit_test(exported_model_gives_the_same_logits),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
