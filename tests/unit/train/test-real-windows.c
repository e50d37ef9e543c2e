/* Real recordings: the loaders that docs/ gives to everybody, in PyTorch, say the same of EEGMAT's
 * windows as the engine, to 1e-4; and nano and small learn the same from them: loss, every tensor's
 * gradient, one step of AdamW. */
#include <math.h>
#include <sys/wait.h>

#include "models/nets/general.h"
#include "models/nets/network.h"
#include "models/optim/adamw.h"
#include "models/quantised.h"
#include "node/train/signal_batch.h"
#include "node/train/trainer.h"
#include "tests/support/dataset_support.h"

#define LARGEST_ERROR 1e-4 /* absolute */
#define LARGEST_FILE ((size_t)1 << 27)
#define WINDOWS 2
#define NO_TORCH 77

struct real {
  char folder[40], data[40];
  struct nx_plan *plan;
  struct nx_dataset *dataset;
  struct nx_model *model;
};

/* Two people's recordings, and a model whose every tensor is away from its first values. */
static void open_real(struct real *real, const char *plan_path, bool small) {
  static const char *const files[] = {"Subject03_rest.edf", "Subject11_arith.edf"};
  char from[NX_PATH_SIZE], whole[NX_PATH_SIZE], to[NX_PATH_SIZE], name[64];
  _cleanup_(nx_buffer_finish) struct nx_buffer text = {0};
  struct nx_error err = {0};
  *real = (struct real){.folder = "/tmp/nx-real-out-XXXXXX", .data = "/tmp/nx-real-XXXXXX"};
  for (size_t i = 0; i < 2; i++) {
    snprintf(name, sizeof name, "eegmat_100Hz/%s", files[i]);
    shared_data(from, sizeof from, name); /* skips before anything is made */
    if (i == 0) {
      make_folder(real->folder);
      make_folder(real->data);
    }
    assert_non_null(realpath(from, whole));
    snprintf(to, sizeof to, "%s/%s", real->data, files[i]);
    assert_int_equal(symlink(whole, to), 0);
  }
  assert_int_equal(nx_file_read(plan_path, 1 << 16, &text, NULL), 0);
  assert_int_equal(nx_plan_parse("plan", nx_buffer_view(&text), &real->plan, NULL), 0);
  real->plan->model.dropout = 0;
  if (small) {
    real->plan->model.width = 256;
    real->plan->model.blocks = 8;
    real->plan->model.queries = 8;
    real->plan->model.feed_forward = 704;
  }
  const struct nx_dataset_options options = {
      .folder = real->data, .modality = "eeg", .species = "human", .allow_identity = true};
  if (nx_dataset_open(&options, real->plan, &real->dataset, &err) < 0 ||
      nx_model_create(real->plan, &real->model, &err) < 0)
    fail_msg("%s", err.text);
  struct nx_rng rng;
  nx_rng_init(&rng, 5, 1);
  const struct nx_model_tensor *head = nx_model_find(real->model, "head.weight");
  for (size_t i = 0; i < real->model->n_params; i++)
    real->model->params[i] +=
        (float)((head && i >= head->offset ? 0.3 : 0.02) * nx_rng_normal(&rng));
}

static void close_real(struct real *real) {
  nx_model_destroy(real->model);
  nx_dataset_destroy(real->dataset);
  nx_plan_destroy(real->plan);
  remove_folder(real->folder);
  remove_folder(real->data);
}

static void put(const struct real *real, const char *name, const void *data, size_t size) {
  char path[NX_PATH_SIZE];
  assert_int_equal(nx_path_join(path, real->folder, name, NULL), 0);
  assert_int_equal(nx_file_replace(path, nx_bytes(data, size), 0600, NULL), 0);
}

static void put_model(const struct real *real) {
  _cleanup_(nx_buffer_finish) struct nx_buffer bytes = {.cap = LARGEST_FILE};
  assert_int_equal(nx_model_save(real->model, &bytes, NULL), 0);
  put(real, "model.safetensors", bytes.data, bytes.size);
}

/* False: no PyTorch here. */
static bool run_script(const char *const arguments[]) {
  pid_t child = fork();
  if (child == 0) {
    execv("/usr/bin/python3", (char *const *)(uintptr_t)arguments);
    _exit(NO_TORCH);
  }
  int status;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_true(WIFEXITED(status));
  if (WEXITSTATUS(status) == NO_TORCH)
    return false;
  assert_int_equal(WEXITSTATUS(status), 0);
  return true;
}

static bool run_oracle(const struct real *real, const char *network, size_t channels) {
  char windows[8], count[8];
  snprintf(windows, sizeof windows, "%d", WINDOWS);
  snprintf(count, sizeof count, "%zu", channels);
  return run_script((const char *const[]){"python3", "tests/oracle/real_windows.py", network,
                                          real->folder, windows, count, NULL});
}

static double *expected(const struct real *real, const char *name, size_t n) {
  struct nx_buffer bytes = {.cap = LARGEST_FILE};
  char path[NX_PATH_SIZE];
  assert_int_equal(nx_path_join(path, real->folder, name, NULL), 0);
  assert_int_equal(nx_file_read(path, LARGEST_FILE, &bytes, NULL), 0);
  assert_int_equal(bytes.size, n * sizeof(double));
  return (double *)bytes.data;
}

static void general_answers_the_same(void **state) {
  (void)state;
  struct real real;
  struct nx_error err = {0};
  size_t n_sets, compared = 0;
  double spread = 0;
  open_real(&real, "configs/plan-general.yaml", false);
  const struct nx_signals *sets = nx_dataset_signals(real.dataset, &n_sets);
  _cleanup_(nx_signal_batch_finish) struct nx_signal_batch batch = {0};
  assert_int_equal(n_sets, 1);
  assert_int_equal(nx_signal_batch_init(&batch, &sets[0], &real.model->shape, &err), 0);
  assert_int_equal(nx_signal_batch_grid(&batch, NX_SPLIT_TRAIN, 1, WINDOWS, &err), 0);
  const struct nx_general_input *in = &batch.groups[0];
  size_t C = in->n_channels, S = real.model->shape.patches, tokens = C * S;
  size_t n = real.model->shape.tokenisers[in->tokeniser].patch_samples;
  assert_int_equal(in->n_windows, WINDOWS);
  assert_int_equal(C, 19);
  uint8_t *visible = calloc(WINDOWS * tokens, 1);
  struct nx_rng rng;
  nx_rng_init(&rng, 2, 2);
  for (size_t i = 0; i < WINDOWS * tokens; i++)
    visible[i] = nx_rng_below(&rng, 2) == 0;
  put_model(&real);
  put(&real, "x", in->x, WINDOWS * tokens * batch.inputs * sizeof(float));
  put(&real, "stats", in->stats, C * 8 * sizeof(float));
  put(&real, "positions", in->positions, C * 3 * sizeof(float));
  put(&real, "placed", in->placed, C);
  put(&real, "visible", visible, WINDOWS * tokens);
  bool there = run_oracle(&real, "general", C);
  if (there) {
    double *right = expected(&real, "answers.f64", WINDOWS * tokens * n);
    struct nx_general *net = NULL;
    struct nx_tape tape;
    struct nx_general_decoded d;
    struct nx_general_pass pass = {
        .weights.params = real.model->params, .input = in, .visible = visible};
    assert_int_equal(nx_general_create(&real.model->shape, real.model->tensors,
                                       real.model->n_tensors, &net, &err),
                     0);
    assert_int_equal(nx_tape_init(&tape, nx_backend_cpu(), &err), 0);
    nx_tape_begin(&tape, false, NULL);
    assert_true(nx_general_decode(net, &tape, &pass, &d));
    for (size_t i = 0; i < d.prediction->rows; i++)
      for (size_t j = 0; j < n && !d.padding[i]; j++, compared++) {
        double found = d.prediction->value[i * n + j];
        double wanted = right[(i / d.n_questions * tokens + d.tokens[i]) * n + j];
        assert_float_equal(found, wanted, LARGEST_ERROR);
        spread = fmax(spread, fabs(wanted));
      }
    assert_true(compared > 100 * n && spread > 0.05); /* not nothing, and not all zeros */
    nx_tape_finish(&tape);
    nx_general_destroy(net);
    free(right);
  }
  free(visible);
  close_real(&real);
  if (!there)
    skip();
}

/* Real windows through nano with its weights kept so, here and by the exported file in PyTorch. */
static void check_nano(enum nx_storage weights) {
  struct real real;
  struct nx_error err = {0};
  float logits[WINDOWS], embeddings[WINDOWS * 64];
  open_real(&real, "configs/plan-eegmat.yaml", false);
  _cleanup_(nx_batch_finish) struct nx_batch batch = {0};
  _cleanup_(nx_network_destroyp) struct nx_network *network = NULL;
  assert_int_equal(nx_batch_init(&batch, real.dataset, real.plan, WINDOWS, &err), 0);
  assert_int_equal(nx_batch_grid(&batch, real.dataset, NX_SPLIT_TRAIN, 1, WINDOWS, &err), 0);
  struct nx_network_input in = nx_train_input(&batch);
  size_t C = in.n_channels, tokens = WINDOWS * C * batch.shape.n_patches;
  for (size_t i = 0; i < batch.shape.n_bins; i++)
    real.model->feature_mean[i] = -1; /* about where log amplitudes are */
  if (weights != NX_STORAGE_FLOAT32) {
    struct nx_model *plain = real.model;
    assert_int_equal(nx_model_quantise(plain, weights, &real.model, &err), 0);
    nx_model_destroy(plain);
  }
  put_model(&real);
  put(&real, "patches", in.patches, tokens * batch.shape.n_patch_samples * sizeof(float));
  put(&real, "spectra", in.spectra, tokens * batch.shape.n_bins * sizeof(float));
  put(&real, "stats", in.stats, WINDOWS * C * 8 * sizeof(float));
  put(&real, "positions", in.positions, C * 3 * sizeof(float));
  bool there = run_oracle(&real, "nano", C);
  if (there) {
    double *right = expected(&real, "answers.f64", WINDOWS);
    double *embedded = expected(&real, "embeddings.f64", WINDOWS * 64);
    assert_int_equal(nx_network_create(real.model, &network, &err), 0);
    assert_int_equal(nx_network_forward(network, real.model, &in, logits, &err), 0);
    assert_int_equal(nx_network_embed(network, real.model, &in, embeddings, &err), 0);
    for (size_t i = 0; i < WINDOWS; i++)
      assert_float_equal(logits[i], right[i], LARGEST_ERROR);
    for (size_t i = 0; i < WINDOWS * 64; i++)
      assert_float_equal(embeddings[i], embedded[i], LARGEST_ERROR);
    assert_true(fabs(right[0] - right[1]) > 1e-3);
    free(right);
    free(embedded);
  }
  close_real(&real);
  if (!there)
    skip();
}

static void nano_scores_and_embeds_the_same(void **state) {
  (void)state;
  check_nano(NX_STORAGE_FLOAT32);
}

static void and_so_it_does_from_int8(void **state) {
  (void)state;
  check_nano(NX_STORAGE_INT8);
}

static void and_from_nf4(void **state) {
  (void)state;
  check_nano(NX_STORAGE_NF4);
}

/* ---- learning ---- */

static double norm_of(const double *x, size_t n) {
  double square = 0;
  for (size_t i = 0; i < n; i++)
    square += x[i] * x[i];
  return sqrt(square);
}

/* Tensor by tensor, relative to its norm, but at least to `least`: sums may cancel to nothing. */
static void compare(const struct real *real, const char *name, const float *found, double share,
                    double most) {
  const struct nx_model *m = real->model;
  double *right = expected(real, name, m->n_params);
  double least = share * norm_of(right, m->n_params);
  for (size_t i = 0; i < m->n_tensors; i++) {
    const struct nx_model_tensor *t = &m->tensors[i];
    double error = 0, size = norm_of(right + t->offset, t->size);
    for (size_t j = t->offset; j < t->offset + t->size; j++)
      error += ((double)found[j] - right[j]) * ((double)found[j] - right[j]);
    if (!(sqrt(error) <= most * fmax(fmax(size, least), 1e-300)))
      fail_msg("%s of %s: relative error %g", name, t->name, sqrt(error) / fmax(size, least));
  }
  free(right);
}

/* The first step of Adam divides every gradient by its own size: one that rounds to the other side
 * of zero moves its parameter the other way, hence 1e-4. */
static void check_learning(struct real *real, double loss, const float *gradients, double rate) {
  const struct nx_adamw_options options = {0.9, 0.99, 0.05, 1};
  _cleanup_(nx_adamw_destroyp) struct nx_adamw *adamw = NULL;
  double *right = expected(real, "loss.f64", 1);
  assert_true(fabs(loss - *right) <= 1e-5 * fabs(*right));
  free(right);
  compare(real, "gradients.f64", gradients, 0.01, 1e-5);
  assert_int_equal(nx_adamw_create(real->model, &options, &adamw, NULL), 0);
  assert_int_equal(nx_adamw_step(adamw, real->model, gradients, rate, NULL, NULL), 0);
  compare(real, "stepped.f64", real->model->params, 0, 1e-4);
}

static void nano_learns_the_same(void **state) {
  (void)state;
  static const char text[] =
      "{\"windows\": 2, \"channels\": 19, \"label_smoothing\": 0.1, \"learning_rate\": 0.003, "
      "\"weight_decay\": 0.05, \"beta1\": 0.9, \"beta2\": 0.99, \"clip_norm\": 1}";
  static const uint8_t visible[WINDOWS * 19 * 5];
  struct real real;
  struct nx_error err = {0};
  struct nx_rng rng;
  double loss;
  open_real(&real, "configs/plan-eegmat.yaml", false);
  _cleanup_(nx_batch_finish) struct nx_batch batch = {0};
  _cleanup_(nx_network_destroyp) struct nx_network *network = NULL;
  nx_rng_init(&rng, 1, 1);
  assert_int_equal(nx_batch_init(&batch, real.dataset, real.plan, WINDOWS, &err), 0);
  assert_int_equal(nx_batch_grid(&batch, real.dataset, NX_SPLIT_TRAIN, 1, WINDOWS, &err), 0);
  struct nx_network_input in = nx_train_input(&batch);
  size_t tokens = WINDOWS * in.n_channels * batch.shape.n_patches;
  assert_int_equal(in.n_channels, 19);
  put_model(&real);
  put(&real, "case.json", text, sizeof text - 1);
  put(&real, "patches", in.patches, tokens * batch.shape.n_patch_samples * sizeof(float));
  put(&real, "spectra", in.spectra, tokens * batch.shape.n_bins * sizeof(float));
  put(&real, "stats", in.stats, WINDOWS * in.n_channels * 8 * sizeof(float));
  put(&real, "positions", in.positions, in.n_channels * 3 * sizeof(float));
  put(&real, "labels", in.labels, WINDOWS);
  put(&real, "visible", visible, sizeof visible); /* of reconstruction: not used */
  bool there =
      run_script((const char *const[]){"python3", "tests/oracle/nano_torch.py", real.folder, NULL});
  if (there) {
    assert_int_equal(nx_network_create(real.model, &network, &err), 0);
    assert_int_equal(nx_network_train_step(network, real.model, &in, 0.1, &rng, &loss, &err), 0);
    check_learning(&real, loss, nx_network_gradients(network), 0.003);
  }
  close_real(&real);
  if (!there)
    skip();
}

/* The general network, masked. */
static void check_general(bool small) {
  static const char text[] =
      "{\"windows\":2,\"channels\":19,\"tokeniser\":\"eeg\",\"modality\":\"eeg\","
      "\"species\":\"human\",\"reference\":\"as-recorded\",\"frequency_weight\":0.5,"
      "\"frequency_power\":1}";
  struct real real;
  struct nx_error err = {0};
  size_t n_sets;
  open_real(&real, "configs/plan-general.yaml", small);
  const struct nx_signals *sets = nx_dataset_signals(real.dataset, &n_sets);
  _cleanup_(nx_signal_batch_finish) struct nx_signal_batch batch = {0};
  assert_int_equal(nx_signal_batch_init(&batch, &sets[0], &real.model->shape, &err), 0);
  assert_int_equal(nx_signal_batch_grid(&batch, NX_SPLIT_TRAIN, 1, WINDOWS, &err), 0);
  const struct nx_general_input *in = &batch.groups[0];
  size_t tokens = in->n_channels * real.model->shape.patches;
  _cleanup_free_ uint8_t *visible = calloc(WINDOWS * tokens, 1);
  struct nx_rng rng;
  nx_rng_init(&rng, 2, 2);
  for (size_t i = 0; i < WINDOWS * tokens; i++)
    visible[i] = nx_rng_below(&rng, 2) == 0;
  put_model(&real);
  put(&real, "case.json", text, sizeof text - 1);
  put(&real, "x", in->x, WINDOWS * tokens * batch.inputs * sizeof(float));
  put(&real, "stats", in->stats, in->n_channels * 8 * sizeof(float));
  put(&real, "positions", in->positions, in->n_channels * 3 * sizeof(float));
  put(&real, "placed", in->placed, in->n_channels);
  put(&real, "visible", visible, WINDOWS * tokens);
  bool there = run_script(
      (const char *const[]){"python3", "tests/oracle/general_torch.py", real.folder, NULL});
  if (there) {
    struct nx_model *m = real.model;
    struct nx_general *net = NULL;
    struct nx_general_decoded d;
    struct nx_tape tape;
    float *gradients = calloc(m->n_params, sizeof *gradients);
    struct nx_general_pass pass = {
        .weights = {m->params, gradients, NULL}, .input = in, .visible = visible};
    assert_int_equal(nx_tape_init(&tape, nx_backend_cpu(), &err), 0);
    assert_int_equal(nx_general_create(&m->shape, m->tensors, m->n_tensors, &net, &err), 0);
    nx_tape_begin(&tape, true, NULL);
    assert_true(nx_general_decode(net, &tape, &pass, &d));
    struct nx_tensor *loss = nx_general_loss(net, &tape, &pass, &d, 1.0f / (float)d.n_wanted);
    nx_tape_backward(&tape, loss, 1);
    assert_int_equal(nx_tape_check(&tape, &err), 0);
    check_learning(&real, (double)*loss->value, gradients, 0.003);
    nx_tape_finish(&tape);
    nx_general_destroy(net);
    free(gradients);
  }
  close_real(&real);
  if (!there)
    skip();
}

static void general_nano_learns_the_same(void **state) {
  (void)state;
  check_general(false);
}

static void small_learns_the_same(void **state) {
  (void)state;
  check_general(true);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(general_answers_the_same), cmocka_unit_test(nano_scores_and_embeds_the_same),
      cmocka_unit_test(and_so_it_does_from_int8), cmocka_unit_test(and_from_nf4),
      cmocka_unit_test(nano_learns_the_same),     cmocka_unit_test(general_nano_learns_the_same),
      cmocka_unit_test(small_learns_the_same),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
