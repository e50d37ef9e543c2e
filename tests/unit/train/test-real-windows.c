/* An exported model on real recordings: the loaders that docs/ gives to everybody, in PyTorch, say
 * the same of EEGMAT's windows as the engine, to 1e-4. */
#include <math.h>
#include <sys/wait.h>

#include "models/nets/general.h"
#include "models/nets/network.h"
#include "models/quantised.h"
#include "node/train/signal_batch.h"
#include "node/train/trainer.h"
#include "tests/support/dataset_support.h"

#define LARGEST_ERROR 1e-4 /* absolute */
#define WINDOWS 2
#define NO_TORCH 77

struct real {
  char folder[40], data[40];
  struct nx_plan *plan;
  struct nx_dataset *dataset;
  struct nx_model *model;
};

/* Two people's recordings, and a model whose every tensor is away from its first values. */
static void open_real(struct real *real, const char *plan_path) {
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
  _cleanup_(nx_buffer_finish) struct nx_buffer bytes = {0};
  assert_int_equal(nx_model_save(real->model, &bytes, NULL), 0);
  put(real, "model.safetensors", bytes.data, bytes.size);
}

/* False: no PyTorch here. */
static bool run_oracle(const struct real *real, const char *network, size_t channels) {
  char windows[8], count[8];
  snprintf(windows, sizeof windows, "%d", WINDOWS);
  snprintf(count, sizeof count, "%zu", channels);
  pid_t child = fork();
  if (child == 0) {
    execl("/usr/bin/python3", "python3", "tests/oracle/real_windows.py", network, real->folder,
          windows, count, (char *)NULL);
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

static double *expected(const struct real *real, const char *name, size_t n) {
  struct nx_buffer bytes = {0};
  char path[NX_PATH_SIZE];
  assert_int_equal(nx_path_join(path, real->folder, name, NULL), 0);
  assert_int_equal(nx_file_read(path, 1 << 26, &bytes, NULL), 0);
  assert_int_equal(bytes.size, n * sizeof(double));
  return (double *)bytes.data;
}

static void general_answers_the_same(void **state) {
  (void)state;
  struct real real;
  struct nx_error err = {0};
  size_t n_sets, compared = 0;
  double spread = 0;
  open_real(&real, "configs/plan-general.yaml");
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
  open_real(&real, "configs/plan-eegmat.yaml");
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

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(general_answers_the_same),
      cmocka_unit_test(nano_scores_and_embeds_the_same),
      cmocka_unit_test(and_so_it_does_from_int8),
      cmocka_unit_test(and_from_nf4),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
