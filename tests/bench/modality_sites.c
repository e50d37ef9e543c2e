#include "tests/bench/modality_sites.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/file.h"
#include "common/size.h"
#include "node/dataset/preprocess.h"
#include "tests/bench/bench.h"

#define PLAN "configs/plan-general.yaml"
#define TRAIN_SHARE 0.6
#define CLAMP 15.0f

/* ---- Folders of files ---- */

static void source_of(char out[NX_PATH_SIZE], const char *from) {
  const char *root = getenv("NEUROX_SHARED_DATA");
  if (nx_path_join(out, root && *root ? root : "../shared/data", from, NULL))
    bench_fail("a path that is too long");
}

static void copy(const char *folder, const char *from, const char *as) {
  char source[NX_PATH_SIZE], path[NX_PATH_SIZE];
  struct nx_buffer bytes = {0};
  struct nx_error err = {0};
  source_of(source, from);
  if (nx_path_join(path, folder, as, &err) || nx_file_read(source, 64 << 20, &bytes, &err) ||
      nx_file_replace(path, nx_buffer_view(&bytes), 0600, &err))
    bench_fail("%s (set NEUROX_SHARED_DATA to the folder of the shared recordings)", err.text);
  nx_buffer_finish(&bytes);
}

static void put(const char *folder, const char *name, const char *text) {
  char path[NX_PATH_SIZE];
  struct nx_error err = {0};
  if (nx_path_join(path, folder, name, &err) ||
      nx_file_replace(path, nx_bytes(text, strlen(text)), 0600, &err))
    bench_fail("%s", err.text);
}

static void remove_folder(const char *path) {
  DIR *folder = opendir(path);
  for (struct dirent *entry; folder && (entry = readdir(folder));) {
    char file[NX_PATH_SIZE];
    if (!nx_path_join(file, path, entry->d_name, NULL))
      unlink(file);
  }
  if (folder)
    closedir(folder);
  rmdir(path);
}

static void eegmat(const char *folder) {
  char from[64], as[40];
  for (int subject = 0; subject < 36; subject++)
    for (int task = 0; task < 2; task++) {
      snprintf(as, sizeof as, "Subject%02d_%s.edf", subject, task ? "arith" : "rest");
      snprintf(from, sizeof from, "eegmat_100Hz/%s", as);
      copy(folder, from, as);
    }
}

static void ecog(const char *folder) {
  copy(folder, "human_ieeg_mne_misc/sub-pat01_ses-test_acq-ecog_ieeg.edf", "pat01_ecog.edf");
}

static void seeg(const char *folder) {
  copy(folder, "human_ieeg_mne_misc/sub-pat01_ses-test_acq-seeg_ieeg.edf", "pat01_seeg.edf");
}

static void rat_lfp(const char *folder) {
  copy(folder, "lfp_neurodsp/sample_data_2_rat_hpc_lfp_1000Hz.npy", "rat_lfp.npy");
  put(folder, "rat_lfp.json", "{\"rate_hz\": 1000, \"unit\": \"uV\", \"type\": \"ieeg\"}");
}

static void rat_spikes(const char *folder) {
  copy(folder, "rat_hpc_spikes_nelpy/linear-track/spikes.mat", "rat_spikes.mat");
  copy(folder, "rat_hpc_spikes_nelpy/linear-track/trajectory.videoPositionTracking",
       "rat.videoPositionTracking");
  put(folder, "labels.tsv",
      "file\tsubject\tbehaviour\nrat_spikes.mat\trat\trat.videoPositionTracking\n");
}

/* Four of the sixteen sessions of each mouse: every one is inflated from the whole file. */
static void mice(const char *folder) {
  static const char *const ids[] = {"C5M1", "C6M3", "C6M4", "C8M2"};
  char table[1024] = "file\tsubject\n", from[96], name[64], text[256];
  for (size_t i = 0; i < NX_ARRAY_LENGTH(ids); i++) {
    snprintf(name, sizeof name, "%s_spike_train.mat", ids[i]);
    snprintf(from, sizeof from, "mouse_hpc_calcium_ziv/CA1/%s", name);
    copy(folder, from, name);
    for (int part = 0; part < 4; part++)
      snprintf(table + strlen(table), sizeof table - strlen(table), "%s#%d\t%s\n", name, part,
               ids[i]);
    snprintf(name, sizeof name, "%s_stimulus_trace.mat", ids[i]);
    snprintf(from, sizeof from, "mouse_hpc_calcium_ziv/CA1/%s", name);
    copy(folder, from, name);
    snprintf(text, sizeof text,
             "{\"rate_hz\": %d, \"type\": \"calcium\", \"unit\": \"events\", \"data\": "
             "\"spike_train\", \"behaviour\": {\"file\": \"%s\", \"data\": \"stimulus_trace\", "
             "\"names\": [\"position\"], \"unit\": \"bin\"}}",
             strcmp(ids[i], "C8M2") ? 20 : 10, name);
    snprintf(name, sizeof name, "%s_spike_train.json", ids[i]);
    put(folder, name, text);
  }
  put(folder, "labels.tsv", table);
}

/* Chewie's counts are whole numbers a bin of 200 ms, Mihi's are rates. */
static void monkeys(const char *folder) {
  static const char *const ids[] = {"chewie", "mihi"};
  char from[64], name[32], text[256];
  for (size_t i = 0; i < NX_ARRAY_LENGTH(ids); i++) {
    snprintf(from, sizeof from, "monkey_m1_dad/DAD_%s_demo.mat", ids[i]);
    snprintf(name, sizeof name, "%s.mat", ids[i]);
    copy(folder, from, name);
    snprintf(text, sizeof text,
             "{\"rate_hz\": 5, \"type\": \"spikes\", \"unit\": \"%s\", \"data\": [\"Ytr\", "
             "\"Yte\"], \"behaviour\": {\"data\": [\"Xtr\", \"Xte\"], \"unit\": \"cm/s\"}}",
             i ? "Hz" : "");
    snprintf(name, sizeof name, "%s.json", ids[i]);
    put(folder, name, text);
  }
}

static void haxby(const char *folder) {
  copy(folder, "fmri_haxby_pymvpa/bold.nii.gz", "haxby_bold.nii.gz");
  copy(folder, "fmri_haxby_pymvpa/mask.nii.gz", "haxby_bold_mask.nii.gz");
}

const struct modality_site modality_sites[] = {
    {"eegmat", "human", "eeg", SPLIT_SUBJECTS, 16, 0, 0, 600, 8, false, eegmat},
    {"ecog", "human", "ieeg", SPLIT_TIME, 4, 0, 0, 300, 4, false, ecog},
    {"seeg", "human", "ieeg", SPLIT_TIME, 4, 0, 0, 300, 4, false, seeg},
    {"rat-lfp", "rat", "lfp", SPLIT_TIME, 16, 0, 0, 600, 8, false, rat_lfp},
    {"rat-spikes", "rat", "spikes", SPLIT_TIME, 16, 0, 0, 600, 8, true, rat_spikes},
    {"mouse-calcium", "mouse", "calcium", SPLIT_TIME, 16, 0, 0, 300, 2, true, mice},
    {"monkey-spikes", "monkey", "spikes", SPLIT_TIME, 8, 4, 5, 400, 4, true, monkeys},
    {"haxby", "human", "fmri", SPLIT_TIME, 16, 0, 0, 300, 2, false, haxby},
};
const size_t n_modality_sites = NX_ARRAY_LENGTH(modality_sites);

/* ---- Opening ---- */

struct nx_plan *modality_site_plan(const struct modality_site *site,
                                   enum nx_plan_objective objective) {
  struct nx_buffer text = {0};
  struct nx_plan *plan = NULL;
  struct nx_error err = {0};
  enum nx_modality modality;
  if (nx_file_read(PLAN, NX_BUFFER_CAP, &text, &err) ||
      nx_plan_parse(PLAN, nx_buffer_view(&text), &plan, &err))
    bench_fail("%s (run it from the project's folder)", err.text);
  nx_buffer_finish(&text);
  if (!nx_modality_from_name(site->modality, &modality))
    bench_fail("no such modality: %s", site->modality);
  plan->modalities->patches = site->patches;
  plan->training.objective = objective;
  for (size_t i = 0; site->rate_hz > 0 && i < plan->modalities->tokenisers_count; i++) {
    struct nx_plan_tokeniser *t = &plan->modalities->tokenisers[i];
    if (nx_tokeniser_reads(t->kind, modality)) {
      t->rate_hz = site->rate_hz;
      t->patch_samples = site->patch_samples;
    }
  }
  return plan;
}

static size_t held_out_people(const struct modality_site *site, char ids[36][16],
                              const char *held_out[36]) {
  size_t n = 0;
  for (int subject = 2; site->split == SPLIT_SUBJECTS && subject < 36; subject += 3) {
    snprintf(ids[n], sizeof ids[n], "Subject%02d", subject);
    held_out[n] = ids[n];
    n++;
  }
  return n;
}

struct nx_dataset *modality_site_open(const struct modality_site *site,
                                      const struct nx_plan *plan) {
  char folder[] = "/tmp/nx-modality-XXXXXX", ids[36][16];
  const char *held_out[36];
  bool classes = plan->training.objective == NX_OBJECTIVE_CLASSIFICATION;
  struct nx_dataset *dataset = NULL;
  struct nx_error err = {0};
  if (!mkdtemp(folder))
    bench_fail("cannot make %s", folder);
  site->fill(folder);
  const struct nx_dataset_options options = {.folder = folder,
                                             .held_out = held_out,
                                             .n_held_out = held_out_people(site, ids, held_out),
                                             .modality = site->modality,
                                             .species = site->species,
                                             .allow_identity = true,
                                             .behaviour =
                                                 classes ? "configs/behaviour.yaml" : NULL};
  int r = nx_dataset_open(&options, plan, &dataset, &err);
  remove_folder(folder);
  if (r)
    bench_fail("%s: %s", site->name, err.text);
  return dataset;
}

/* ---- Splitting ---- */

static void *keep(struct modality_split_sets *sets, size_t n, size_t size) {
  void *memory = calloc(n + 1, size);
  sets->memory = reallocarray(sets->memory, sets->n_memory + 1, sizeof *sets->memory);
  if (!memory || !sets->memory)
    bench_fail("out of memory");
  return sets->memory[sets->n_memory++] = memory;
}

/* Offset and scale of samples that are z or events / SD, as node/dataset/signal_load.c takes them;
 * counts of a Poisson loss stay. False: the channel never changes. */
static bool scale_of(const float *x, size_t n, bool counts, double *offset, double *scale) {
  _cleanup_free_ double *row = calloc(2 * n, sizeof *row);
  double mean = 0, squares = 0;
  if (!row)
    bench_fail("out of memory");
  for (size_t t = 0; t < n; t++)
    mean += (row[t] = (double)x[t]) / (double)n;
  for (size_t t = 0; t < n; t++)
    squares += (row[t] - mean) * (row[t] - mean);
  *offset = 0;
  *scale = 1;
  if (!(squares > 0))
    return false;
  if (counts)
    return true;
  nx_robust_scale(row, n, row + n, offset, scale);
  if (!(*scale > 0))
    *scale = sqrt(squares / (double)n);
  return true;
}

static void scaled(const float *x, size_t n, double offset, double scale, float *out) {
  for (size_t t = 0; t < n; t++)
    out[t] = fmaxf(-CLAMP, fminf(CLAMP, (float)(((double)x[t] - offset) / scale)));
}

static size_t kept_channels(const struct nx_signal *whole, size_t n_train, size_t *kept) {
  size_t n = 0;
  double offset, scale;
  for (size_t c = 0; c < whole->n_channels; c++)
    if (scale_of(whole->x + c * whole->n_samples, n_train, true, &offset, &scale))
      kept[n++] = c;
  return n;
}

/* One recording in two, or none where it is too short. */
static void split_signal(struct modality_split_sets *sets, size_t k, const struct nx_signal *whole,
                         size_t window) {
  bool counts = sets->sets[k].tokeniser->loss == NX_TOKEN_LOSS_POISSON;
  size_t n_train = (size_t)(TRAIN_SHARE * (double)whole->n_samples), begin = n_train + window;
  _cleanup_free_ size_t *kept = calloc(whole->n_channels, sizeof *kept);
  if (n_train < window || begin + window > whole->n_samples)
    return;
  size_t n_rest = whole->n_samples - begin, n = kept_channels(whole, n_train, kept);
  float *train = keep(sets, n * n_train, sizeof *train),
        *rest = keep(sets, n * n_rest, sizeof *rest);
  float *stats = keep(sets, n * NX_SIGNAL_STATS, sizeof *stats);
  float *positions = keep(sets, 3 * n, sizeof *positions);
  uint8_t *placed = keep(sets, n, 1);
  for (size_t i = 0; i < n; i++) {
    size_t c = kept[i];
    const float *x = whole->x + c * whole->n_samples;
    double offset, scale;
    scale_of(x, n_train, counts, &offset, &scale);
    if (counts) {
      memcpy(train + i * n_train, x, n_train * sizeof *x);
      memcpy(rest + i * n_rest, x + begin, n_rest * sizeof *x);
    } else {
      scaled(x, n_train, offset, scale, train + i * n_train);
      scaled(x + begin, n_rest, offset, scale, rest + i * n_rest);
    }
    float *s = stats + i * NX_SIGNAL_STATS;
    nx_signal_stats(train + i * n_train, n_train, 1, 1, s);
    s[7] = whole->stats[c * NX_SIGNAL_STATS + 7]; /* scale beside the other channels' */
    memcpy(positions + 3 * i, whole->positions + 3 * c, 3 * sizeof *positions);
    placed[i] = whole->placed[c];
  }
  if (!n)
    return;
  for (int part = 0; part < 2; part++) {
    struct nx_signal *s = &sets->signals[k][sets->sets[k].n++];
    *s = *whole;
    s->n_channels = n;
    s->n_samples = part ? n_rest : n_train;
    s->x = part ? rest : train;
    s->stats = stats;
    s->positions = positions;
    s->placed = placed;
    s->split = part ? NX_SPLIT_HELD_OUT : NX_SPLIT_TRAIN;
  }
}

void modality_site_split(const struct modality_site *site, const struct nx_plan *plan,
                         const struct nx_dataset *dataset, struct modality_split_sets *out) {
  const struct nx_signals *sets = nx_dataset_signals(dataset, &out->n_sets);
  for (size_t k = 0; k < out->n_sets; k++) {
    size_t window = (size_t)plan->modalities->patches * sets[k].tokeniser->patch_samples;
    out->signals[k] = calloc(2 * sets[k].n, sizeof *out->signals[k]);
    if (!out->signals[k])
      bench_fail("out of memory");
    out->sets[k] = (struct nx_signals){.tokeniser = sets[k].tokeniser, .signals = out->signals[k]};
    for (size_t i = 0; i < sets[k].n; i++)
      if (site->split == SPLIT_TIME)
        split_signal(out, k, &sets[k].signals[i], window);
      else
        out->signals[k][out->sets[k].n++] = sets[k].signals[i];
    if (!out->sets[k].n)
      bench_fail("%s: no recording is long enough to be split", site->name);
  }
}

void modality_split_finish(struct modality_split_sets *sets) {
  for (size_t i = 0; i < sets->n_memory; i++)
    free(sets->memory[i]);
  free(sets->memory);
  for (size_t k = 0; k < 2; k++)
    free(sets->signals[k]);
  memset(sets, 0, sizeof *sets);
}
