/* What was preprocessed before is found again, bit for bit, and only when it is the same. */
#include "node/dataset/cache.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

#include "common/size.h"
#include "node/dataset/dataset.h"
#include "node/dataset/signal.h"
#include "tests/support/dataset_support.h"

#define FOLDER "/tmp/nx-cache-XXXXXX"

static const struct nx_hash nobody = {{1}}, somebody = {{2}};

static struct nx_cache *open_cache(const char *folder, uint64_t cap,
                                   const struct nx_hash *withdrawn) {
  struct nx_cache *cache = NULL;
  struct nx_error err = {0};
  if (nx_cache_open(folder, cap, NULL, withdrawn, &cache, &err) < 0)
    fail_msg("%s", err.text);
  return cache;
}

static struct nx_hash key_of(uint8_t number) {
  return (struct nx_hash){{7, number}};
}

static bool has(struct nx_cache *cache, uint8_t number) {
  struct nx_buffer payload;
  struct nx_hash key = key_of(number);
  bool found = nx_cache_get(cache, &key, &payload);
  nx_buffer_finish(&payload);
  return found;
}

/* All files of a folder of entries but the note of people: name into path_out, when given. */
static size_t entries(const char *folder, char path_out[NX_PATH_SIZE]) {
  size_t n = 0;
  DIR *list = opendir(folder);
  for (struct dirent *entry; (entry = readdir(list));) {
    if (entry->d_name[0] == '.' || !strcmp(entry->d_name, "people"))
      continue;
    if (path_out)
      nx_path_join(path_out, folder, entry->d_name, NULL);
    n++;
  }
  closedir(list);
  return n;
}

/* Entry number's time of use: so many seconds ago. */
static void age(const char *folder, uint8_t number, time_t seconds) {
  char hex[NX_HASH_HEX_SIZE], path[NX_PATH_SIZE];
  struct nx_hash key = key_of(number);
  struct timespec at = {.tv_sec = time(NULL) - seconds};
  nx_hash_hex(&key, hex);
  nx_path_join(path, folder, hex, NULL);
  assert_int_equal(utimensat(AT_FDCWD, path, (struct timespec[]){at, at}, 0), 0);
}

static void what_was_used_longest_ago_goes_first(void **state) {
  (void)state;
  char folder[] = FOLDER;
  uint8_t bytes[1000] = {0};
  make_folder(folder);
  struct nx_cache *cache = open_cache(folder, 3500, &nobody);
  for (uint8_t i = 0; i < 3; i++) {
    struct nx_hash key = key_of(i);
    assert_true(nx_cache_put(cache, &key, nx_bytes(bytes, sizeof bytes)));
    age(folder, i, 100 - i);
  }
  assert_true(has(cache, 0)); /* used now: 1 is the oldest */
  struct nx_hash key = key_of(3);
  assert_true(nx_cache_put(cache, &key, nx_bytes(bytes, sizeof bytes)));
  assert_true(has(cache, 0) && !has(cache, 1) && has(cache, 2) && has(cache, 3));
  uint8_t *large = calloc(1, 4000);
  key = key_of(4);
  assert_false(nx_cache_put(cache, &key, nx_bytes(large, 4000)));
  assert_int_equal(entries(folder, NULL), 3);
  free(large);
  nx_cache_close(cache);
  cache = open_cache(folder, 1200, &nobody); /* a smaller cap counts at once */
  assert_int_equal(entries(folder, NULL), 1);
  nx_cache_close(cache);
  remove_folder(folder);
}

static void nobody_else_may_read_it(void **state) {
  (void)state;
  char folder[] = FOLDER, inner[NX_PATH_SIZE], path[NX_PATH_SIZE];
  struct stat status;
  make_folder(folder);
  nx_path_join(inner, folder, "cache", NULL);
  struct nx_cache *cache = open_cache(inner, 10000, &nobody);
  struct nx_hash key = key_of(0);
  assert_true(nx_cache_put(cache, &key, nx_bytes("x", 1)));
  assert_int_equal(entries(inner, path), 1);
  assert_int_equal(stat(path, &status), 0);
  assert_int_equal(status.st_mode & 07777, 0600);
  assert_int_equal(stat(inner, &status), 0);
  assert_int_equal(status.st_mode & 07777, 0700);
  nx_cache_close(cache);
  remove_folder(inner);
  remove_folder(folder);
}

static void a_withdrawal_empties_it(void **state) {
  (void)state;
  char folder[] = FOLDER;
  make_folder(folder);
  struct nx_cache *cache = open_cache(folder, 10000, &nobody);
  struct nx_hash key = key_of(0);
  assert_true(nx_cache_put(cache, &key, nx_bytes("x", 1)));
  nx_cache_close(cache);
  cache = open_cache(folder, 10000, &nobody);
  assert_true(has(cache, 0));
  nx_cache_close(cache);
  cache = open_cache(folder, 10000, &somebody);
  assert_int_equal(entries(folder, NULL), 0);
  nx_cache_close(cache);
  remove_folder(folder);
}

static void write_file(const char *path, const void *data, size_t size) {
  FILE *file = fopen(path, "wb");
  assert_non_null(file);
  assert_int_equal(fwrite(data, 1, size, file), size);
  assert_int_equal(fclose(file), 0);
}

/* Every bit of an entry counts, and so does its length. */
static void damaged_entries_are_not_believed(void **state) {
  (void)state;
  char folder[] = FOLDER, path[NX_PATH_SIZE] = "";
  make_folder(folder);
  struct nx_cache *cache = open_cache(folder, 10000, &nobody);
  struct nx_hash key = key_of(0), other = key_of(1);
  struct nx_buffer whole = {0};
  assert_true(nx_cache_put(cache, &key, nx_bytes("samples", 7)));
  entries(folder, path);
  assert_int_equal(nx_file_read(path, 1 << 16, &whole, NULL), 0);
  for (size_t i = 0; i < whole.size; i++) {
    whole.data[i] ^= 0x10;
    write_file(path, whole.data, whole.size);
    whole.data[i] ^= 0x10;
    assert_false(has(cache, 0));
    assert_int_equal(entries(folder, NULL), 0);
  }
  for (size_t n = 0; n < whole.size; n++) {
    write_file(path, whole.data, n);
    assert_false(has(cache, 0));
  }
  write_file(path, whole.data, whole.size);
  assert_true(has(cache, 0));
  char hex[NX_HASH_HEX_SIZE], to[NX_PATH_SIZE];
  nx_hash_hex(&other, hex);
  nx_path_join(to, folder, hex, NULL);
  assert_int_equal(rename(path, to), 0);
  assert_false(has(cache, 1)); /* whole, but another's */
  nx_buffer_finish(&whole);
  nx_cache_close(cache);
  remove_folder(folder);
}

/* ---- data sets ------------------------------------------------------------------------------- */

static struct nx_dataset *open_set(const char *folder, const char *cache_folder,
                                   const struct nx_plan *plan, const char *modality) {
  struct nx_cache *cache = cache_folder ? open_cache(cache_folder, 1 << 28, &nobody) : NULL;
  const struct nx_dataset_options options = {.folder = folder,
                                             .cache = cache,
                                             .reader = getenv("NEUROX_READER"),
                                             .species = modality ? "human" : NULL,
                                             .modality = modality};
  struct nx_dataset *dataset = NULL;
  struct nx_error err = {0};
  if (nx_dataset_open(&options, plan, &dataset, &err) < 0)
    fail_msg("%s", err.text);
  nx_cache_close(cache);
  return dataset;
}

/* Which file the entry is: one that was found stays the same, one that was made anew does not. */
static ino_t file_of(const char *path) {
  struct stat status;
  assert_int_equal(stat(path, &status), 0);
  return status.st_ino;
}

static void same_windows(const struct nx_dataset *a, const struct nx_dataset *b) {
  const struct nx_dataset_summary *s = nx_dataset_summary(a);
  assert_true(nx_hash_equal(&s->manifest, &nx_dataset_summary(b)->manifest));
  assert_int_equal(s->n_recordings, nx_dataset_summary(b)->n_recordings);
  for (size_t i = 0; i < s->n_recordings; i++) {
    const struct nx_dataset_recording *x = nx_dataset_recording(a, i),
                                      *y = nx_dataset_recording(b, i);
    assert_int_equal(x->n_samples, y->n_samples);
    assert_memory_equal(x->x, y->x, s->n_channels * x->n_samples * sizeof(float));
    assert_memory_equal(x->scale, y->scale, s->n_channels * sizeof(float));
  }
}

static void a_data_set_from_the_cache_is_the_same(void **state) {
  (void)state;
  char folder[] = FOLDER, cache[] = FOLDER, path[NX_PATH_SIZE];
  struct nx_plan *plan = load_plan();
  plan->data.minimum_subjects = 2;
  make_folder(folder);
  make_folder(cache);
  make_cohort(folder, 2, 20);
  struct nx_dataset *plain = open_set(folder, NULL, plan, NULL);
  struct nx_dataset *first = open_set(folder, cache, plan, NULL);
  assert_int_equal(entries(cache, path), 4);
  ino_t was = file_of(path);
  struct nx_dataset *found = open_set(folder, cache, plan, NULL);
  assert_int_equal(file_of(path), was);
  same_windows(plain, found);
  nx_dataset_destroy(found);
  assert_int_equal(truncate(path, 100), 0);
  struct nx_dataset *second = open_set(folder, cache, plan, NULL);
  assert_int_equal(entries(cache, NULL), 4);
  struct stat mended;
  assert_true(!stat(path, &mended) && mended.st_size > 100);
  same_windows(plain, first);
  same_windows(plain, second);
  plan->preprocessing.low_pass_hz -= 1; /* another pipeline */
  nx_dataset_destroy(open_set(folder, cache, plan, NULL));
  assert_int_equal(entries(cache, NULL), 8);
  nx_dataset_destroy(plain);
  nx_dataset_destroy(first);
  nx_dataset_destroy(second);
  nx_plan_destroy(plan);
  remove_folder(folder);
  remove_folder(cache);
}

/* A BrainVision recording is three files; the header stays as it is when its samples change. */
static void write_brainvision(const char *folder, int16_t step) {
  static const char header[] = "Brain Vision Data Exchange Header File Version 1.0\n"
                               "[Common Infos]\nDataFile=S1_rest.eeg\nMarkerFile=S1_rest.vmrk\n"
                               "DataFormat=BINARY\nDataOrientation=MULTIPLEXED\n"
                               "NumberOfChannels=2\nSamplingInterval=10000\n"
                               "[Binary Infos]\nBinaryFormat=INT_16\n"
                               "[Channel Infos]\nCh1=Fz,,0.1,uV\nCh2=Cz,,0.1,uV\n";
  static const char markers[] = "Brain Vision Data Exchange Marker File, Version 1.0\n"
                                "[Common Infos]\nDataFile=S1_rest.eeg\n[Marker Infos]\n";
  static int16_t samples[2 * 100 * 120];
  char path[NX_PATH_SIZE];
  for (size_t i = 0; i < NX_ARRAY_LENGTH(samples); i++)
    samples[i] = (int16_t)((i * i * (size_t)step) % 2003);
  nx_path_join(path, folder, "S1_rest.vhdr", NULL);
  if (!nx_path_exists(path))
    assert_int_equal(nx_file_replace(path, nx_bytes(header, strlen(header)), 0644, NULL), 0);
  nx_path_join(path, folder, "S1_rest.vmrk", NULL);
  assert_int_equal(nx_file_replace(path, nx_bytes(markers, strlen(markers)), 0644, NULL), 0);
  nx_path_join(path, folder, "S1_rest.eeg", NULL);
  assert_int_equal(nx_file_replace(path, nx_bytes(samples, sizeof samples), 0644, NULL), 0);
}

static struct nx_plan *general_plan(void) {
  struct nx_buffer text = {0};
  struct nx_plan *plan = NULL;
  assert_int_equal(nx_file_read("configs/plan-general.yaml", 1 << 20, &text, NULL), 0);
  assert_int_equal(nx_plan_parse("plan", nx_buffer_view(&text), &plan, NULL), 0);
  nx_buffer_finish(&text);
  plan->training.objective = NX_OBJECTIVE_RECONSTRUCTION;
  plan->data.minimum_subjects = 1;
  return plan;
}

static void same_signals(const struct nx_dataset *a, const struct nx_dataset *b, bool same) {
  size_t n, m;
  const struct nx_signal *x = nx_dataset_signals(a, &n)->signals,
                         *y = nx_dataset_signals(b, &m)->signals;
  assert_int_equal(n, m);
  assert_int_equal(x->n_channels, y->n_channels);
  assert_int_equal(x->n_samples, y->n_samples);
  assert_int_equal(!memcmp(x->x, y->x, x->n_channels * x->n_samples * sizeof(float)), same);
  assert_memory_equal(x->positions, y->positions, x->n_channels * 3 * sizeof(float));
  if (same)
    assert_memory_equal(x->stats, y->stats, x->n_channels * NX_SIGNAL_STATS * sizeof(float));
  assert_int_equal(
      nx_hash_equal(&nx_dataset_summary(a)->manifest, &nx_dataset_summary(b)->manifest), same);
}

static void files_beside_a_recording_are_part_of_it(void **state) {
  (void)state;
  char folder[] = FOLDER, cache[] = FOLDER, path[NX_PATH_SIZE];
  struct nx_plan *plan = general_plan();
  make_folder(folder);
  make_folder(cache);
  write_brainvision(folder, 3);
  struct nx_dataset *first = open_set(folder, cache, plan, "eeg");
  assert_int_equal(entries(cache, path), 1);
  ino_t was = file_of(path);
  struct nx_dataset *again = open_set(folder, cache, plan, "eeg");
  assert_int_equal(file_of(path), was);
  same_signals(first, again, true);
  write_brainvision(folder, 5);
  struct nx_dataset *other = open_set(folder, cache, plan, "eeg");
  assert_int_equal(entries(cache, NULL), 1);
  assert_int_not_equal(file_of(path), was);
  struct nx_dataset *plain = open_set(folder, NULL, plan, "eeg");
  same_signals(first, other, false);
  same_signals(other, plain, true);
  nx_dataset_destroy(first);
  nx_dataset_destroy(again);
  nx_dataset_destroy(other);
  nx_dataset_destroy(plain);
  nx_plan_destroy(plan);
  remove_folder(folder);
  remove_folder(cache);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_was_used_longest_ago_goes_first),
      cmocka_unit_test(nobody_else_may_read_it),
      cmocka_unit_test(a_withdrawal_empties_it),
      cmocka_unit_test(damaged_entries_are_not_believed),
      cmocka_unit_test(a_data_set_from_the_cache_is_the_same),
      cmocka_unit_test(files_beside_a_recording_are_part_of_it),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
