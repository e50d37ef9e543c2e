/* Weights in few bits: codes and levels against numpy and scipy (tests/oracle/quantise_numpy.py),
 * products against the same weights as numbers, files, import, and what is refused. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/plan_adapters.h"
#include "common/rng.h"
#include "models/backend/cpu.h"
#include "models/import.h"
#include "models/nets/general_network.h"
#include "models/nets/network.h"
#include "models/optim/adamw.h"
#include "models/optim/lora.h"
#include "models/quantised.h"
#include "models/tensor/quantise.h"
#include "tests/unit/models/fixture.h"

#define NO_ORACLE 77
#define LARGEST_ERROR 1e-5 /* relative, in the L2 norm */

static const enum nx_storage storages[] = {NX_STORAGE_INT8, NX_STORAGE_NF4};

/* ---- codes ---- */

#define ROWS 24
#define COLUMNS 200 /* three blocks of NF4 and a rest */

static float *odd_matrix(void) {
  float *w = calloc(ROWS * COLUMNS, sizeof *w);
  struct nx_rng rng;
  nx_rng_init(&rng, 7, 7);
  for (size_t i = 0; i < ROWS * COLUMNS; i++)
    w[i] = (float)(nx_rng_normal(&rng) * exp(2 * nx_rng_normal(&rng)));
  for (size_t j = 0; j < COLUMNS; j++) {
    w[3 * COLUMNS + j] = 0;                         /* a row of nothing */
    w[4 * COLUMNS + j] = j == 70 ? 1 : 0;           /* blocks of nothing */
    w[5 * COLUMNS + j] = ((float)j - 100) / 127.0f; /* levels and their halves */
    w[6 * COLUMNS + j] = 1e-42f * (float)(j % 5);   /* subnormal */
  }
  return w;
}

static void read_exactly(const char *path, const char *ending, void *to, size_t size) {
  char name[NX_PATH_SIZE];
  _cleanup_(nx_buffer_finish) struct nx_buffer file = {0};
  snprintf(name, sizeof name, "%s%s", path, ending);
  assert_int_equal(nx_file_read(name, 1 << 20, &file, NULL), 0);
  assert_int_equal(file.size, size);
  memcpy(to, file.data, size);
  unlink(name);
}

static void codes_are_those_of_numpy(void **state) {
  (void)state;
  char path[] = "/tmp/nx-quantise-XXXXXX", command[256];
  float *w = odd_matrix();
  int file = mkstemp(path);
  assert_true(file >= 0);
  assert_int_equal(write(file, w, ROWS * COLUMNS * sizeof *w), ROWS * COLUMNS * sizeof *w);
  close(file);
  snprintf(command, sizeof command, "/usr/bin/python3 tests/oracle/quantise_numpy.py %s %d %d",
           path, ROWS, COLUMNS);
  int status = system(command);
  unlink(path);
  if (!WIFEXITED(status) || WEXITSTATUS(status) == NO_ORACLE || WEXITSTATUS(status) == 127) {
    free(w);
    print_message("# no numpy and scipy (python3-scipy) here\n");
    skip();
  }
  assert_int_equal(WEXITSTATUS(status), 0);
  double levels[16];
  read_exactly(path, ".levels", levels, sizeof levels);
  for (int i = 0; i < 16; i++)
    assert_true(fabs(levels[i] - (double)nx_nf4_levels[i]) < 2e-7);
  static uint8_t codes[ROWS * COLUMNS], expected[ROWS * COLUMNS];
  static float scales[ROWS * 4], expected_scales[ROWS * 4];
  nx_quantise(NX_STORAGE_NF4, ROWS, COLUMNS, w, codes, scales);
  read_exactly(path, ".nf4", expected, ROWS * COLUMNS / 2);
  read_exactly(path, ".nf4.scale", expected_scales, sizeof expected_scales);
  assert_memory_equal(codes, expected, ROWS * COLUMNS / 2);
  assert_memory_equal(scales, expected_scales, sizeof scales);
  nx_quantise(NX_STORAGE_INT8, ROWS, COLUMNS, w, codes, scales);
  read_exactly(path, ".int8", expected, sizeof expected);
  read_exactly(path, ".int8.scale", expected_scales, ROWS * sizeof(float));
  assert_memory_equal(codes, expected, sizeof codes);
  assert_memory_equal(scales, expected_scales, ROWS * sizeof(float));
  free(w);
}

static void no_value_moves_further_than_half_a_step(void **state) {
  (void)state;
  static uint8_t codes[ROWS * COLUMNS];
  static float scales[ROWS * 4], back[ROWS * COLUMNS];
  float *w = odd_matrix();
  for (size_t k = 0; k < 2; k++) {
    nx_quantise(storages[k], ROWS, COLUMNS, w, codes, scales);
    nx_dequantise(storages[k], ROWS, COLUMNS, codes, scales, back);
    for (size_t i = 0; i < ROWS * COLUMNS; i++) {
      size_t row = i / COLUMNS, column = i % COLUMNS;
      float scale = storages[k] == NX_STORAGE_INT8 ? scales[row] : scales[row * 4 + column / 64];
      /* the widest gap of NF4 is between its two lowest levels */
      double half = storages[k] == NX_STORAGE_INT8 ? 0.5 : 0.5 * (1 - 0.6961928);
      assert_true(fabs((double)back[i] - (double)w[i]) <=
                  half * (double)scale * 1.0001 + 4e-42); /* subnormal scales */
    }
  }
  free(w);
}

static void every_instruction_set_dequantises_alike(void **state) {
  (void)state;
  const struct nx_kernels *tables[] = {&nx_cpu_kernels_base, nx_backend_cpu()->kernels};
  static uint8_t codes[ROWS * COLUMNS];
  static float scales[ROWS * 4], expected[ROWS * COLUMNS], y[ROWS * COLUMNS];
  float *w = odd_matrix();
  for (size_t k = 0; k < 2; k++) {
    nx_quantise(storages[k], ROWS, COLUMNS, w, codes, scales);
    nx_dequantise(storages[k], ROWS, COLUMNS, codes, scales, expected);
    const struct nx_frozen_matrix matrix = {storages[k], ROWS, COLUMNS, codes, scales};
    for (size_t t = 0; t < 2; t++) {
      tables[t]->dequantise(NULL, &matrix, 5, ROWS - 5, y);
      assert_memory_equal(y, expected + 5 * COLUMNS, (ROWS - 5) * COLUMNS * sizeof *y);
    }
  }
  free(w);
}

/* A matrix of more rows than a panel holds, both ways, added to what is there. */
static void products_in_panels_are_the_products(void **state) {
  (void)state;
  enum { M = 3, OUT = 1500, IN = 200 };
  static float w[OUT * IN], wide[OUT * IN], x[M * OUT], c[M * (OUT + 2)], scales[OUT * 4];
  static uint8_t codes[OUT * IN];
  struct nx_tape tape;
  struct nx_rng rng;
  _Static_assert((size_t)OUT * IN > 2 * NX_CPU_PANEL, "more than two panels");
  nx_rng_init(&rng, 2, 2);
  for (size_t i = 0; i < OUT * IN; i++)
    w[i] = (float)nx_rng_normal(&rng);
  for (size_t i = 0; i < M * OUT; i++)
    x[i] = (float)nx_rng_normal(&rng);
  nx_quantise(NX_STORAGE_NF4, OUT, IN, w, codes, scales);
  nx_dequantise(NX_STORAGE_NF4, OUT, IN, codes, scales, wide);
  const struct nx_frozen_matrix matrix = {NX_STORAGE_NF4, OUT, IN, codes, scales};
  assert_int_equal(nx_tape_init(&tape, nx_backend_cpu(), NULL), 0);
  tape.kernels->gemm_frozen(tape.stream, 'T', M, &matrix, x, IN, 0, c, OUT + 2);
  for (size_t i = 0; i < M; i++)
    for (size_t j = 0; j < OUT; j++) {
      double sum = 0;
      for (size_t k = 0; k < IN; k++)
        sum += (double)x[i * IN + k] * (double)wide[j * IN + k];
      assert_float_equal(c[i * (OUT + 2) + j], sum, 1e-4);
    }
  for (size_t i = 0; i < M * IN; i++)
    c[i] = 5;
  tape.kernels->gemm_frozen(tape.stream, 'N', M, &matrix, x, OUT, 1, c, IN);
  for (size_t i = 0; i < M; i++)
    for (size_t j = 0; j < IN; j++) {
      double sum = 5;
      for (size_t k = 0; k < OUT; k++)
        sum += (double)x[i * OUT + k] * (double)wide[k * IN + j];
      assert_float_equal(c[i * IN + j], sum, 1e-3);
    }
  nx_tape_finish(&tape);
}

/* ---- networks ---- */

static struct nx_plan *with_adapters(struct nx_plan *plan, enum nx_storage base, bool head) {
  plan->adapters = calloc(1, sizeof *plan->adapters);
  *plan->adapters = (struct nx_plan_adapters){4, 8, true, true, head, base};
  return plan;
}

static struct nx_plan *general_plan(void) {
  _cleanup_(nx_buffer_finish) struct nx_buffer text = {0};
  struct nx_plan *plan = NULL;
  assert_int_equal(nx_file_read("configs/plan-general.yaml", 1 << 16, &text, NULL), 0);
  assert_int_equal(nx_plan_parse("plan.yaml", nx_buffer_view(&text), &plan, NULL), 0);
  plan->model.blocks = 2;
  plan->modalities->experts = 2;
  return plan;
}

static void stir(struct nx_model *model) {
  struct nx_rng rng;
  nx_rng_init(&rng, 4, 4);
  for (size_t i = 0; i < model->n_params; i++)
    model->params[i] += 0.1f * (float)nx_rng_normal(&rng);
}

static void assert_close(const float *a, const float *b, size_t n) {
  double square = 0, error = 0;
  for (size_t i = 0; i < n; i++) {
    square += (double)b[i] * (double)b[i];
    error += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
  }
  assert_true(square > 0);
  if (!(sqrt(error / square) <= LARGEST_ERROR))
    fail_msg("relative error %g", sqrt(error / square));
}

/* The same adapters over the same weights as numbers: the way that test-lora checks. */
static struct nx_model *as_numbers(const struct nx_model *model) {
  struct nx_model *clone = NULL, *plain = NULL;
  assert_int_equal(nx_model_clone(model, &clone, NULL), 0);
  assert_int_equal(nx_model_dequantise(model->base, &plain, NULL), 0);
  nx_model_destroy(clone->base);
  clone->base = plain;
  return clone;
}

enum { B = 6, C = 4, TOKENS = B * C * 5 };
static float patches[TOKENS * 100], spectra[TOKENS * 45], stats[B * C * 8], positions[C * 3];
static const uint8_t labels[B] = {0, 1, 1, 0, 0, 1};
static const struct nx_network_input eeg = {B, C, patches, spectra, stats, positions, labels};

static void fill(float *x, size_t n, uint64_t stream) {
  struct nx_rng rng;
  nx_rng_init(&rng, 1, stream);
  for (size_t i = 0; i < n; i++)
    x[i] = (float)nx_rng_normal(&rng);
}

static void check_nano(enum nx_storage storage, bool head) {
  _cleanup_(nx_plan_destroyp) struct nx_plan *plan = with_adapters(fixture_plan(), storage, head);
  _cleanup_(nx_model_destroyp) struct nx_model *model = fixture_model(plan);
  stir(model);
  _cleanup_(nx_model_destroyp) struct nx_model *numbers = as_numbers(model), *merged = NULL;
  _cleanup_(nx_network_destroyp) struct nx_network *network = NULL, *plain = NULL;
  struct nx_rng rng, same;
  double loss, expected;
  float logits[B], right[B];
  assert_int_equal(nx_model_merge(numbers, &merged, NULL), 0);
  assert_int_equal(nx_network_create(model, &network, NULL), 0);
  assert_int_equal(nx_network_create(merged, &plain, NULL), 0);
  assert_int_equal(nx_network_forward(network, model, &eeg, logits, NULL), 0);
  assert_int_equal(nx_network_forward(plain, merged, &eeg, right, NULL), 0);
  if (head)
    assert_close(logits, right, B);
  nx_rng_init(&rng, 1, 1);
  nx_rng_init(&same, 1, 1);
  assert_int_equal(nx_network_train_step(network, model, &eeg, 0.1, &rng, &loss, NULL), 0);
  assert_int_equal(nx_network_train_step(plain, merged, &eeg, 0.1, &same, &expected, NULL), 0);
  assert_true(fabs(loss - expected) < 1e-6);
  if (!head) /* a head of zeros lets nothing through to the blocks */
    return;
  float *gradients = calloc(model->n_params, sizeof *gradients);
  struct nx_lora view = nx_lora_of(numbers);
  assert_int_equal(
      nx_lora_gradients(&view, numbers->base, nx_network_gradients(plain), gradients, NULL), 0);
  for (size_t i = 0; i < model->n_tensors; i++)
    assert_close(nx_network_gradients(network) + model->tensors[i].offset,
                 gradients + model->tensors[i].offset, model->tensors[i].size);
  free(gradients);
}

static void nano_over_codes_is_nano_over_their_numbers(void **state) {
  (void)state;
  fill(patches, TOKENS * 100, 1);
  fill(spectra, TOKENS * 45, 2);
  for (size_t k = 0; k < 2; k++) {
    check_nano(storages[k], true);
    check_nano(storages[k], false);
  }
}

static void check_general(enum nx_storage storage) {
  enum { WINDOWS = 3, CHANNELS = 5, N = WINDOWS * CHANNELS * 16 * 97 };
  static float x[N], channel_stats[CHANNELS * NX_MODEL_STATS], where[CHANNELS * 3];
  static const uint8_t placed[CHANNELS] = {1, 1, 0, 1, 1};
  const struct nx_general_input group = {0,
                                         NX_MODALITY_EEG,
                                         NX_SPECIES_HUMAN,
                                         NX_SIGNAL_BIPOLAR,
                                         WINDOWS,
                                         CHANNELS,
                                         x,
                                         channel_stats,
                                         where,
                                         placed,
                                         NULL};
  fill(x, N, 3);
  fill(where, CHANNELS * 3, 4);
  _cleanup_(nx_plan_destroyp) struct nx_plan *plan = with_adapters(general_plan(), storage, true);
  _cleanup_(nx_model_destroyp) struct nx_model *model = fixture_model(plan);
  stir(model);
  _cleanup_(nx_model_destroyp) struct nx_model *numbers = as_numbers(model), *merged = NULL;
  _cleanup_(nx_general_network_destroyp) struct nx_general_network *network = NULL, *plain = NULL;
  struct nx_rng rng, same;
  double loss, expected;
  assert_int_equal(nx_model_merge(numbers, &merged, NULL), 0);
  assert_int_equal(nx_general_network_create(model, &network, NULL), 0);
  assert_int_equal(nx_general_network_create(merged, &plain, NULL), 0);
  nx_rng_init(&rng, 1, 1);
  nx_rng_init(&same, 1, 1);
  assert_int_equal(nx_general_network_train_step(network, model, &group, 1, 0, &rng, &loss, NULL),
                   0);
  assert_int_equal(
      nx_general_network_train_step(plain, merged, &group, 1, 0, &same, &expected, NULL), 0);
  assert_true(fabs(loss - expected) < 1e-5 * fabs(expected));
  float *gradients = calloc(model->n_params, sizeof *gradients);
  struct nx_lora view = nx_lora_of(numbers);
  assert_int_equal(
      nx_lora_gradients(&view, numbers->base, nx_general_network_gradients(plain), gradients, NULL),
      0);
  assert_close(nx_general_network_gradients(network), gradients, model->n_params);
  free(gradients);
}

static void general_over_codes_is_general_over_their_numbers(void **state) {
  (void)state;
  check_general(NX_STORAGE_INT8);
  check_general(NX_STORAGE_NF4);
}

static void adapters_learn_over_a_quantised_base(void **state) {
  (void)state;
  _cleanup_(nx_plan_destroyp) struct nx_plan *plan =
      with_adapters(fixture_plan(), NX_STORAGE_NF4, true);
  _cleanup_(nx_model_destroyp) struct nx_model *model = fixture_model(plan), *before = NULL;
  _cleanup_(nx_network_destroyp) struct nx_network *network = NULL;
  _cleanup_(nx_adamw_destroyp) struct nx_adamw *adamw = NULL;
  const struct nx_adamw_options options = {0.9, 0.99, 0, 1};
  struct nx_rng rng;
  double loss = 0, norm;
  nx_rng_init(&rng, 1, 1);
  assert_int_equal(nx_model_clone(model, &before, NULL), 0);
  assert_int_equal(nx_network_create(model, &network, NULL), 0);
  assert_int_equal(nx_adamw_create(model, &options, &adamw, NULL), 0);
  for (int i = 0; i < 80; i++) {
    assert_int_equal(nx_network_train_step(network, model, &eeg, 0, &rng, &loss, NULL), 0);
    assert_int_equal(nx_adamw_step(adamw, model, nx_network_gradients(network), 3e-3, &norm, NULL),
                     0);
  }
  assert_true(loss < 0.3); /* log 2 at first */
  assert_memory_equal(model->base->params, before->base->params,
                      before->base->n_params * sizeof(float));
  /* the gradient vector and its model hold the adapters alone */
  assert_true(model->n_params < 30000 && model->base->n_params < 90000);
}

/* ---- files ---- */

static void files_keep_codes_and_are_read_strictly(void **state) {
  (void)state;
  for (size_t k = 0; k < 2; k++) {
    _cleanup_(nx_plan_destroyp) struct nx_plan *plan =
        with_adapters(fixture_plan(), storages[k], true);
    _cleanup_(nx_model_destroyp) struct nx_model *model = fixture_model(plan), *back = NULL;
    _cleanup_(nx_buffer_finish) struct nx_buffer bytes = {0}, again = {0};
    struct nx_model *none = NULL;
    stir(model);
    assert_int_equal(nx_model_save(model, &bytes, NULL), 0);
    assert_int_equal(nx_model_load(plan, nx_buffer_view(&bytes), &back, NULL), 0);
    assert_int_equal(nx_model_save(back, &again, NULL), 0);
    assert_int_equal(again.size, bytes.size);
    assert_memory_equal(again.data, bytes.data, bytes.size);
    plan->adapters->base = storages[1 - k];
    assert_int_equal(nx_model_load(plan, nx_buffer_view(&bytes), &none, NULL), NX_E_FORMAT);
    plan->adapters->base = NX_STORAGE_FLOAT32;
    assert_int_equal(nx_model_load(plan, nx_buffer_view(&bytes), &none, NULL), NX_E_FORMAT);
    plan->adapters->base = storages[k];
    bytes.size -= 4;
    assert_int_equal(nx_model_load(plan, nx_buffer_view(&bytes), &none, NULL), NX_E_FORMAT);
    bytes.size += 4;
    const struct nx_model_tensor *scale =
        nx_model_find(model->base, "block.0.attention.qkv.weight.scale");
    size_t at = bytes.size - 4 * (model->base->n_params - scale->offset);
    nx_store_le32(bytes.data + at, 0x7fc00000); /* NaN */
    assert_int_equal(nx_model_load(plan, nx_buffer_view(&bytes), &none, NULL), NX_E_FORMAT);
  }
}

static void a_plain_model_in_few_bits_is_for_inference(void **state) {
  (void)state;
  _cleanup_(nx_plan_destroyp) struct nx_plan *plan = fixture_plan();
  _cleanup_(nx_model_destroyp) struct nx_model *plain = fixture_model(plan), *wide = NULL;
  _cleanup_(nx_model_destroyp) struct nx_model *small = NULL, *back = NULL;
  _cleanup_(nx_network_destroyp) struct nx_network *network = NULL, *right = NULL;
  _cleanup_(nx_buffer_finish) struct nx_buffer bytes = {0}, full = {0};
  float logits[B], expected[B];
  struct nx_model *none = NULL;
  struct nx_error err;
  struct nx_rng rng;
  double loss;
  stir(plain);
  nx_rng_init(&rng, 1, 1);
  assert_int_equal(nx_model_quantise(plain, NX_STORAGE_INT8, &small, NULL), 0);
  assert_int_equal(nx_model_quantise(small, NX_STORAGE_INT8, &none, NULL), NX_E_INVALID);
  assert_int_equal(nx_model_dequantise(small, &wide, NULL), 0);
  assert_int_equal(nx_network_create(small, &network, NULL), 0);
  assert_int_equal(nx_network_create(wide, &right, NULL), 0);
  assert_int_equal(nx_network_forward(network, small, &eeg, logits, NULL), 0);
  assert_int_equal(nx_network_forward(right, wide, &eeg, expected, NULL), 0);
  assert_close(logits, expected, B);
  assert_int_equal(nx_network_train_step(network, small, &eeg, 0, &rng, &loss, &err), NX_E_INVALID);
  assert_non_null(strstr(err.text, "adapters"));
  assert_int_equal(nx_model_save(small, &bytes, NULL), 0);
  assert_int_equal(nx_model_save(plain, &full, NULL), 0);
  assert_true(bytes.size < full.size / 2);
  assert_int_equal(nx_model_load_quantised(plan, nx_buffer_view(&bytes), &back, NULL), 0);
  assert_memory_equal(back->params, small->params, small->n_params * sizeof(float));
  assert_int_equal(nx_model_load(plan, nx_buffer_view(&bytes), &none, NULL), NX_E_FORMAT);
}

static void import_quantises_the_released_model(void **state) {
  (void)state;
  _cleanup_(nx_plan_destroyp) struct nx_plan *plan = fixture_plan();
  _cleanup_(nx_model_destroyp) struct nx_model *released = fixture_model(plan), *model = NULL;
  _cleanup_(nx_model_destroyp) struct nx_model *expected = NULL;
  _cleanup_(nx_buffer_finish) struct nx_buffer file = {0};
  struct nx_import_report report;
  stir(released);
  assert_int_equal(nx_model_save(released, &file, NULL), 0);
  with_adapters(plan, NX_STORAGE_NF4, true);
  assert_int_equal(nx_model_import(plan, nx_buffer_view(&file), &model, &report, NULL), 0);
  assert_int_equal(nx_model_quantise(released, NX_STORAGE_NF4, &expected, NULL), 0);
  assert_int_equal(model->base->n_params, expected->n_params);
  assert_memory_equal(model->base->params, expected->params, expected->n_params * sizeof(float));
}

static void a_model_kept_otherwise_is_not_read(void **state) {
  (void)state;
  _cleanup_(nx_plan_destroyp) struct nx_plan *plan =
      with_adapters(fixture_plan(), NX_STORAGE_INT8, true);
  _cleanup_(nx_model_destroyp) struct nx_model *int8 = fixture_model(plan);
  plan->adapters->base = NX_STORAGE_NF4;
  _cleanup_(nx_model_destroyp) struct nx_model *nf4 = fixture_model(plan);
  _cleanup_(nx_network_destroyp) struct nx_network *network = NULL;
  float logits[B];
  assert_int_equal(nx_network_create(int8, &network, NULL), 0);
  assert_int_equal(nx_network_forward(network, nf4, &eeg, logits, NULL), NX_E_INVALID);
  assert_int_equal(nx_network_forward(network, int8, &eeg, logits, NULL), 0);
}

static void sides_that_do_not_fit_are_refused(void **state) {
  (void)state;
  _cleanup_(nx_plan_destroyp) struct nx_plan *plan = fixture_plan();
  struct nx_model *none = NULL;
  struct nx_error err = {0};
  plan->model.width = 20;
  plan->model.heads = 2;
  plan->model.feed_forward = 21;
  _cleanup_(nx_model_destroyp) struct nx_model *plain = fixture_model(plan);
  assert_int_equal(nx_model_quantise(plain, NX_STORAGE_NF4, &none, &err), NX_E_INVALID);
  assert_non_null(strstr(err.text, "multiples of 8"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(codes_are_those_of_numpy),
      cmocka_unit_test(no_value_moves_further_than_half_a_step),
      cmocka_unit_test(every_instruction_set_dequantises_alike),
      cmocka_unit_test(products_in_panels_are_the_products),
      cmocka_unit_test(nano_over_codes_is_nano_over_their_numbers),
      cmocka_unit_test(general_over_codes_is_general_over_their_numbers),
      cmocka_unit_test(adapters_learn_over_a_quantised_base),
      cmocka_unit_test(files_keep_codes_and_are_read_strictly),
      cmocka_unit_test(a_plain_model_in_few_bits_is_for_inference),
      cmocka_unit_test(import_quantises_the_released_model),
      cmocka_unit_test(a_model_kept_otherwise_is_not_read),
      cmocka_unit_test(sides_that_do_not_fit_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
