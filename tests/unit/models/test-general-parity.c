/* The general network against PyTorch: docs/neurox_general.py, which everybody may use, reads the
 * model file and gives the same answers; its autograd gives the same gradients in float64, and
 * tests/oracle/general_torch.py the same step of AdamW. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/file.h"
#include "common/plan_prototypes.h"
#include "common/plan_regression.h"
#include "common/rng.h"
#include "models/nets/general.h"
#include "models/ops/ops.h"
#include "models/optim/adamw.h"
#include "tests/unit/cmocka_shim.h"

#define LARGEST_ERROR 1e-5 /* relative, per tensor, in the L2 norm */
/* The first step of Adam divides every gradient by its own size: one that rounds to the other side
 * of zero moves its parameter the other way. Which ones do depends on the compiler. */
#define LARGEST_STEP_ERROR 1e-4
#define LARGEST_ANSWER 1e-4 /* absolute, of the exported model's answers */
#define LARGEST_FILE ((size_t)1 << 28)
#define NO_TORCH 77
#define WINDOWS 2
#define CHANNELS 5
#define TARGETS 2
#define KNOWN 3 /* classes of four that have a prototype: 0, 2 and 3 */

struct size {
  uint32_t width, blocks, queries, heads, feed_forward, experts;
  double balance;
};
static const struct size nano = {64, 4, 4, 4, 192, 0}, mixed = {64, 4, 4, 4, 192, 4},
                         small = {256, 8, 8, 4, 704, 4}, balanced = {64, 4, 4, 4, 192, 4, 0.7};

struct parity {
  char folder[64];
  struct nx_plan *plan;
  struct nx_plan_regression regression;
  struct nx_plan_prototypes prototypes;
  bool contrast;
  struct nx_model *model;
  struct nx_general_input input;
  float *x, stats[CHANNELS * NX_MODEL_STATS], positions[CHANNELS * 3];
  uint8_t visible[WINDOWS * CHANNELS * 16];
};

static void write_file(const struct parity *p, const char *name, const void *data, size_t size) {
  char path[NX_PATH_SIZE];
  assert_int_equal(nx_path_join(path, p->folder, name, NULL), 0);
  assert_int_equal(nx_file_replace(path, nx_bytes(data, size), 0600, NULL), 0);
}

static void write_case(const struct parity *p) {
  const struct nx_model_tokeniser *k = &p->model->shape.tokenisers[p->input.tokeniser];
  _cleanup_(nx_buffer_finish) struct nx_buffer bytes = {0};
  char text[512];
  int n =
      snprintf(text, sizeof text,
               "{\"windows\":%d,\"channels\":%d,\"tokeniser\":\"%s\",\"modality\":\"%s\","
               "\"species\":\"%s\",\"reference\":\"%s\",\"frequency_weight\":%.9g,"
               "\"frequency_power\":%.9g}",
               WINDOWS, CHANNELS, nx_tokeniser_name(k->kind), nx_modality_name(p->input.modality),
               nx_species_name(p->input.species), nx_signal_reference_name(p->input.reference),
               k->frequency_weight, k->frequency_power);
  write_file(p, "case.json", text, (size_t)n);
  assert_int_equal(nx_model_save(p->model, &bytes, NULL), 0);
  write_file(p, "model.safetensors", bytes.data, bytes.size);
}

static void fill_input(struct parity *p, uint32_t tokeniser, enum nx_modality modality) {
  static const uint8_t placed[CHANNELS] = {1, 1, 0, 1, 0}, labels[WINDOWS] = {0, 1};
  const struct nx_model_tokeniser *k = &p->model->shape.tokenisers[tokeniser];
  size_t n = (size_t)WINDOWS * CHANNELS * 16 * k->inputs;
  struct nx_rng rng;
  nx_rng_init(&rng, 8, tokeniser);
  p->x = calloc(n, sizeof *p->x);
  for (size_t i = 0; i < n; i++)
    p->x[i] = (float)nx_rng_normal(&rng);
  for (size_t i = 0; k->loss == NX_TOKEN_LOSS_POISSON && i < n; i++)
    p->x[i] = fabsf(roundf(p->x[i]));
  for (size_t i = 0; i < CHANNELS * NX_MODEL_STATS; i++)
    p->stats[i] = (float)nx_rng_normal(&rng);
  for (size_t i = 0; i < CHANNELS * 3; i++)
    p->positions[i] = (float)(0.5 * nx_rng_normal(&rng));
  for (size_t i = 0; i < sizeof p->visible; i++)
    p->visible[i] = nx_rng_below(&rng, 2) == 0;
  for (size_t c = 0; c < CHANNELS; c++)
    p->visible[c * 16 + 3] = 0; /* a patch without a visible channel */
  p->input = (struct nx_general_input){tokeniser,    modality, NX_SPECIES_RAT, NX_SIGNAL_BIPOLAR,
                                       WINDOWS,      CHANNELS, p->x,           p->stats,
                                       p->positions, placed,   labels};
  static const uint8_t classes[WINDOWS] = {2, 0}; /* and so in general_torch.py */
  p->input.classes = p->contrast ? classes : NULL;
  write_file(p, "x", p->x, n * sizeof *p->x);
  write_file(p, "stats", p->stats, sizeof p->stats);
  write_file(p, "positions", p->positions, sizeof p->positions);
  write_file(p, "placed", placed, sizeof placed);
  write_file(p, "visible", p->visible, sizeof p->visible);
}

/* Unit vectors; class 1 has none. */
static void put_prototypes(struct nx_model *model, struct nx_rng *rng) {
  float *mu = model->params + nx_model_find(model, "prototypes.mean")->offset;
  for (size_t c = 0; c < KNOWN + 1; c++, mu += NX_PROTOTYPE_WIDTH) {
    double squares = 0;
    for (size_t i = 0; i < NX_PROTOTYPE_WIDTH; i++) {
      mu[i] = (float)nx_rng_normal(rng);
      squares += mu[i] * mu[i];
    }
    for (size_t i = 0; i < NX_PROTOTYPE_WIDTH; i++)
      mu[i] = c == 1 ? 0 : (float)(mu[i] / sqrt(squares));
  }
}

static void parity_create(struct parity *p, enum nx_plan_objective objective,
                          const struct size *size, uint32_t tokeniser, enum nx_modality modality,
                          bool contrast) {
  static char still[] = "still", moving[] = "moving", task[] = "task", sleep[] = "sleep";
  static char *classes[] = {still, moving, task, sleep};
  _cleanup_(nx_buffer_finish) struct nx_buffer text = {0};
  *p = (struct parity){.folder = "/tmp/nx-general-parity-XXXXXX",
                       .prototypes = {classes, KNOWN + 1, 0.7, 0.2, 16},
                       .contrast = contrast};
  assert_non_null(mkdtemp(p->folder));
  assert_int_equal(nx_file_read("configs/plan-general.yaml", 1 << 16, &text, NULL), 0);
  assert_int_equal(nx_plan_parse("plan.yaml", nx_buffer_view(&text), &p->plan, NULL), 0);
  p->plan->training.objective = objective;
  if (objective == NX_OBJECTIVE_REGRESSION)
    p->plan->regression = &p->regression;
  p->regression.n_targets = TARGETS;
  if (contrast)
    p->plan->prototypes = &p->prototypes;
  p->plan->model.width = size->width;
  p->plan->model.blocks = size->blocks;
  p->plan->model.queries = size->queries;
  p->plan->model.heads = size->heads;
  p->plan->model.feed_forward = size->feed_forward;
  p->plan->modalities->experts = size->experts;
  p->plan->modalities->expert_balance = size->balance;
  assert_int_equal(nx_model_create(p->plan, &p->model, NULL), 0);
  struct nx_rng rng; /* no tensor is left at a constant, and gradients reach the first */
  nx_rng_init(&rng, 5, 1);
  const struct nx_model_tensor *head = nx_model_find(p->model, "head.weight");
  for (size_t i = 0; i < p->model->n_params; i++)
    p->model->params[i] += (float)((head && i >= head->offset ? 1 : 0.02) * nx_rng_normal(&rng));
  if (contrast)
    put_prototypes(p->model, &rng);
  for (size_t i = 0; i < p->model->n_tensors; i++)
    if (strstr(p->model->tensors[i].name, ".experts.load"))
      for (size_t e = 0; e < size->experts; e++) /* of shares unlike each other */
        p->model->params[p->model->tensors[i].offset + e] = (float)(1 + (e + i) % 4) / 10;
  fill_input(p, tokeniser, modality);
  write_case(p);
}

static void parity_destroy(struct parity *p) {
  static const char *const names[] = {
      "x",        "stats",         "positions",   "placed",      "visible",          "case.json",
      "loss.f64", "gradients.f64", "stepped.f64", "answers.f64", "model.safetensors"};
  char path[NX_PATH_SIZE];
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (!nx_path_join(path, p->folder, names[i], NULL))
      unlink(path);
  rmdir(p->folder);
  free(p->x);
  nx_model_destroy(p->model);
  p->plan->regression = NULL; /* not the parser's */
  p->plan->prototypes = NULL;
  nx_plan_destroy(p->plan);
}

/* Exit code of the oracle. */
static int run_oracle(const struct parity *p) {
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    execl("/usr/bin/python3", "python3", "tests/oracle/general_torch.py", p->folder, (char *)NULL);
    _exit(NO_TORCH);
  }
  int status;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_true(WIFEXITED(status));
  return WEXITSTATUS(status);
}

static double *expected(const struct parity *p, const char *name, size_t n) {
  struct nx_buffer bytes = {.cap = LARGEST_FILE};
  char path[NX_PATH_SIZE];
  assert_int_equal(nx_path_join(path, p->folder, name, NULL), 0);
  assert_int_equal(nx_file_read(path, LARGEST_FILE, &bytes, NULL), 0);
  assert_int_equal(bytes.size, n * sizeof(double));
  return (double *)bytes.data;
}

static double norm(const double *x, size_t n) {
  double square = 0;
  for (size_t i = 0; i < n; i++)
    square += x[i] * x[i];
  return sqrt(square);
}

/* Relative to the tensor's norm, but at least to `least`. */
static void assert_close(const char *what, const float *found, const double *right, size_t n,
                         double least, double most) {
  double error = 0;
  for (size_t i = 0; i < n; i++)
    error += (found[i] - right[i]) * (found[i] - right[i]);
  error = sqrt(error) / fmax(fmax(norm(right, n), least), 1e-300);
  if (!(error <= most))
    fail_msg("%s: relative error %g", what, error);
}

static void assert_tensors_close(const struct nx_model *model, const float *found,
                                 const double *right, double least, double most) {
  for (size_t i = 0; i < model->n_tensors; i++) {
    const struct nx_model_tensor *t = &model->tensors[i];
    assert_close(t->name, found + t->offset, right + t->offset, t->size, least, most);
  }
}

static void check_answers(const struct parity *p, const struct nx_tensor *y,
                          const struct nx_general_decoded *d) {
  size_t n = y->columns, tokens = d ? CHANNELS * 16 : y->rows / WINDOWS;
  double *right = expected(p, "answers.f64", WINDOWS * tokens * n);
  for (size_t i = 0; i < y->rows; i++) {
    const double *row = right + (d ? (i / d->n_questions * tokens + d->tokens[i]) : i) * n;
    for (size_t j = 0; j < n && !(d && d->padding[i]); j++)
      assert_float_equal(y->value[i * n + j], row[j], LARGEST_ANSWER);
  }
  free(right);
}

/* Forward and backward; answers are compared on the way. */
static void check_gradients(const struct parity *p, struct nx_general *net, struct nx_tape *tape,
                            float *gradients) {
  static const float targets[WINDOWS] = {0, 1};
  const struct nx_model *model = p->model;
  struct nx_general_pass pass = {
      .weights = {model->params, gradients, NULL},
      .input = &p->input,
      .visible = p->visible,
      .balance = (float)(model->shape.balance / (WINDOWS * 16 * model->shape.queries))};
  struct nx_general_decoded d;
  struct nx_tensor *loss;
  nx_tape_begin(tape, true, NULL);
  if (model->shape.objective == NX_OBJECTIVE_CLASSIFICATION) {
    pass.visible = NULL;
    struct nx_tensor *logits = nx_general_classify(net, tape, &pass);
    check_answers(p, logits, NULL);
    loss = nx_op_cross_entropy(tape, logits, targets);
  } else if (model->shape.objective == NX_OBJECTIVE_REGRESSION) {
    static const uint8_t none[WINDOWS * 16];
    pass.visible = NULL;
    struct nx_tensor *values = nx_general_regress(net, tape, &pass);
    struct nx_tensor *wanted = nx_op_zeros(tape, WINDOWS * 16, TARGETS);
    check_answers(p, values, NULL);
    for (size_t i = 0; i < WINDOWS * 16 * TARGETS; i++)
      wanted->value[i] = (float)(i % 7) - 3; /* and so in general_torch.py */
    loss = nx_op_square_error(tape, values, wanted, none, 1.0f / (WINDOWS * 16 * TARGETS));
  } else {
    assert_true(nx_general_decode(net, tape, &pass, &d));
    check_answers(p, d.prediction, &d);
    loss = nx_general_loss(net, tape, &pass, &d, 1.0f / (float)d.n_wanted);
    if (p->contrast)
      loss = nx_op_residual(
          tape, loss,
          nx_general_contrast(net, tape, &pass, d.latent, (float)(p->prototypes.weight / WINDOWS)),
          0);
  }
  nx_tape_backward(tape, loss, 1);
  assert_int_equal(nx_tape_check(tape, NULL), 0);
  double *right = expected(p, "loss.f64", 1);
  assert_close("loss", loss->value, right, 1, 0, LARGEST_ERROR);
  free(right);
  right = expected(p, "gradients.f64", model->n_params);
  assert_tensors_close(model, gradients, right, 0.01 * norm(right, model->n_params), LARGEST_ERROR);
  free(right);
}

static void check_step_from(const struct parity *p, const float *gradients, double most) {
  const struct nx_adamw_options options = {0.9, 0.99, 0.05, 1};
  _cleanup_(nx_adamw_destroyp) struct nx_adamw *adamw = NULL;
  _cleanup_(nx_model_destroyp) struct nx_model *model = NULL;
  assert_int_equal(nx_model_clone(p->model, &model, NULL), 0);
  assert_int_equal(nx_adamw_create(model, &options, &adamw, NULL), 0);
  assert_int_equal(nx_adamw_step(adamw, model, gradients, 0.003, NULL, NULL), 0);
  double *right = expected(p, "stepped.f64", model->n_params);
  assert_tensors_close(model, model->params, right, 0, most);
  free(right);
}

/* From PyTorch's gradients in float32: AdamW's own error. Then from ours. */
static void check_step(const struct parity *p, const float *gradients) {
  size_t n = p->model->n_params;
  double *right = expected(p, "gradients.f64", n);
  float *rounded = calloc(n, sizeof *rounded);
  for (size_t i = 0; i < n; i++)
    rounded[i] = (float)right[i];
  check_step_from(p, rounded, LARGEST_ERROR);
  check_step_from(p, gradients, LARGEST_STEP_ERROR);
  free(rounded);
  free(right);
}

static void compare_with(enum nx_plan_objective objective, const struct size *size,
                         uint32_t tokeniser, enum nx_modality modality, bool contrast) {
  struct parity p;
  struct nx_tape tape;
  _cleanup_(nx_general_destroyp) struct nx_general *net = NULL;
  parity_create(&p, objective, size, tokeniser, modality, contrast);
  float *gradients = calloc(p.model->n_params, sizeof *gradients);
  assert_int_equal(nx_tape_init(&tape, nx_backend_cpu(), NULL), 0);
  assert_int_equal(
      nx_general_create(&p.model->shape, p.model->tensors, p.model->n_tensors, &net, NULL), 0);
  int code = run_oracle(&p);
  if (code == 0) {
    check_gradients(&p, net, &tape, gradients);
    check_step(&p, gradients);
  }
  nx_tape_finish(&tape);
  free(gradients);
  parity_destroy(&p);
  if (code == NO_TORCH) {
    print_message("SKIPPED 1 test: no PyTorch for /usr/bin/python3 (python3-torch)\n");
    skip();
  }
  assert_int_equal(code, 0);
}

static void compare(enum nx_plan_objective objective, const struct size *size, uint32_t tokeniser,
                    enum nx_modality modality) {
  compare_with(objective, size, tokeniser, modality, false);
}

static void prototypes_agree_with_pytorch(void **state) {
  (void)state;
  compare_with(NX_OBJECTIVE_RECONSTRUCTION, &mixed, 0, NX_MODALITY_MEG, true);
  compare_with(NX_OBJECTIVE_NEXT_PATCH, &nano, 3, NX_MODALITY_SPIKES, true);
}
static void balanced_experts_agree_with_pytorch(void **state) {
  (void)state;
  compare(NX_OBJECTIVE_CLASSIFICATION, &balanced, 0, NX_MODALITY_EEG);
  compare_with(NX_OBJECTIVE_RECONSTRUCTION, &balanced, 4, NX_MODALITY_CALCIUM, true);
}
static void masked_eeg_agrees_with_pytorch(void **state) {
  (void)state;
  compare(NX_OBJECTIVE_RECONSTRUCTION, &nano, 0, NX_MODALITY_EEG);
}
static void masked_counts_agree_with_pytorch(void **state) {
  (void)state;
  compare(NX_OBJECTIVE_RECONSTRUCTION, &mixed, 3, NX_MODALITY_SPIKES);
}
static void next_patch_agrees_with_pytorch(void **state) {
  (void)state;
  compare(NX_OBJECTIVE_NEXT_PATCH, &nano, 2, NX_MODALITY_LFP);
}
static void classifier_agrees_with_pytorch(void **state) {
  (void)state;
  compare(NX_OBJECTIVE_CLASSIFICATION, &mixed, 5, NX_MODALITY_FMRI);
}
static void regression_agrees_with_pytorch(void **state) {
  (void)state;
  compare(NX_OBJECTIVE_REGRESSION, &mixed, 4, NX_MODALITY_CALCIUM);
}
static void small_agrees_with_pytorch(void **state) {
  (void)state;
  compare(NX_OBJECTIVE_RECONSTRUCTION, &small, 1, NX_MODALITY_IEEG);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(masked_eeg_agrees_with_pytorch),
      cmocka_unit_test(masked_counts_agree_with_pytorch),
      cmocka_unit_test(next_patch_agrees_with_pytorch),
      cmocka_unit_test(classifier_agrees_with_pytorch),
      cmocka_unit_test(regression_agrees_with_pytorch),
      cmocka_unit_test(small_agrees_with_pytorch),
      cmocka_unit_test(prototypes_agree_with_pytorch),
      cmocka_unit_test(balanced_experts_agree_with_pytorch),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
