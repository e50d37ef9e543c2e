#include "node/dataset/derived.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/clock.h"
#include "common/size.h"
#include "node/dataset/bids_electrodes.h"
#include "node/dataset/manifest_hash.h"
#include "node/recordings/format.h"

#define PAYLOAD_CAP ((size_t)3 << 30)
#define STREAMS 2

/* ---- key ------------------------------------------------------------------------------------- */

static void put_double(struct nx_sha256 *sha, double value) {
  uint64_t bits;
  memcpy(&bits, &value, sizeof bits);
  nx_sha256_u64(sha, bits);
}

static void put_text(struct nx_sha256 *sha, const char *text) {
  nx_sha256_bytes(sha, nx_bytes(text, strlen(text)));
}

static int put_options(struct nx_sha256 *sha, const struct nx_load_options *options,
                       struct nx_error *err) {
  struct nx_hash table = {0};
  int r = options->channels ? nx_manifest_file_hash(options->channels, &table, err) : 0;
  nx_sha256_u32(sha, options->allow_identity);
  nx_sha256_hash(sha, &table);
  nx_sha256_u64(sha, options->electrodes ? options->electrodes->n : UINT64_MAX);
  if (options->electrodes)
    put_text(sha, options->electrodes->system);
  for (size_t i = 0; options->electrodes && i < options->electrodes->n; i++) {
    put_text(sha, options->electrodes->list[i].name);
    for (int a = 0; a < 3; a++)
      put_double(sha, options->electrodes->list[i].metres[a]);
  }
  return r;
}

/* What loading asks of a plan beside its pipeline: demands that refuse a recording, and what a
 * tokeniser's loss makes of counts. */
static void put_demands(struct nx_sha256 *sha, const struct nx_plan *plan) {
  const struct nx_plan_requires *q = plan->requires;
  const struct nx_plan_modalities *m = plan->modalities;
  nx_sha256_u32(sha, q ? q->minimum_channels : 0);
  put_double(sha, q ? q->minimum_rate_hz : 0);
  nx_sha256_u32(sha, q ? q->n_channels : 0);
  for (uint32_t i = 0; q && i < q->n_channels; i++)
    put_text(sha, q->channels[i]);
  nx_sha256_u32(sha, m ? m->patches : 0);
  for (uint32_t i = 0; m && i < m->tokenisers_count; i++)
    nx_sha256_u32(sha, m->tokenisers[i].loss);
}

int nx_derived_want(struct nx_cache *cache, const char *path, int64_t since,
                    const struct nx_hash *file, const struct nx_load_options *options,
                    const struct nx_plan *plan, enum nx_modality modality, struct nx_derived *out,
                    struct nx_error *err) {
  struct nx_hash pipeline = nx_manifest_pipeline_hash(plan);
  struct nx_sha256 sha;
  char whole[NX_PATH_SIZE];
  *out = (struct nx_derived){.cache = cache, .path = path, .since = since};
  if (!cache)
    return 0;
  nx_sha256_begin(&sha, "neurox derived v1");
  nx_sha256_hash(&sha, nx_cache_programs(cache));
  nx_sha256_hash(&sha, file);
  nx_sha256_hash(&sha, &pipeline);
  nx_sha256_u32(&sha, nx_recording_split_part(path, whole));
  put_text(&sha,
           strrchr(whole, '/') ? strrchr(whole, '/') : whole); /* readers go by endings, too */
  nx_sha256_u32(&sha, modality);
  put_demands(&sha, plan);
  int r = put_options(&sha, options, err);
  out->key = nx_sha256_final(&sha);
  return r;
}

/* ---- what is written and read, in one order -------------------------------------------------- */

struct archive {
  struct nx_buffer *to; /* NULL: read */
  struct nx_reader from;
  bool failed;
};

static void item(struct archive *a, void *data, size_t size) {
  if (a->to) {
    a->failed |= nx_buffer_append(a->to, data, size, NULL) < 0;
    return;
  }
  struct nx_bytes bytes = nx_reader_take(&a->from, size);
  a->failed |= a->from.failed;
  if (!a->failed && size)
    memcpy(data, bytes.data, size);
}

#define ITEM(a, value) item(a, &(value), sizeof(value))

/* n values of a size each; reading, memory that the caller's structure owns. */
static void array(struct archive *a, void *at, size_t n, size_t m, size_t size) {
  void **data = at;
  size_t bytes;
  a->failed |= !nx_size_mul(n, m, &bytes) || !nx_size_mul(bytes, size, &bytes);
  if (a->failed)
    return;
  if (!a->to) {
    a->failed |= bytes > a->from.rest.size;
    *data = a->failed ? NULL : malloc(bytes + 1);
    a->failed |= !*data;
  }
  if (!a->failed && bytes)
    item(a, *data, bytes);
}

static void limit(struct archive *a, size_t *n, size_t most) {
  a->failed |= *n > most;
  if (a->failed)
    *n = 0;
}

/* Any other byte than 0 or 1 is no bool. */
static void truths(struct archive *a, bool *values, size_t n) {
  uint8_t byte;
  for (size_t i = 0; !a->failed && i < n; i++) {
    memcpy(&byte, &values[i], 1);
    a->failed = byte > 1;
  }
}

static void truth(struct archive *a, bool *value) {
  uint8_t byte = a->to ? *value : 0;
  ITEM(a, byte);
  a->failed |= byte > 1;
  *value = byte == 1;
}

static void text(struct archive *a, char *at, size_t size) {
  item(a, at, size);
  a->failed |= !memchr(at, 0, size);
}

static void put_beside(struct archive *a, struct nx_beside *beside) {
  size_t n = beside->n;
  ITEM(a, n);
  limit(a, &n, NX_RECORDING_BESIDE);
  for (size_t i = 0; !a->failed && i < n; i++) {
    struct nx_beside_file *file = &beside->files[i];
    size_t length = a->to ? strlen(file->name) + 1 : 0;
    ITEM(a, length);
    limit(a, &length, NX_PATH_SIZE);
    array(a, &file->name, length, 1, 1);
    beside->n = i + (file->name != NULL);
    a->failed = a->failed || !length || file->name[length - 1];
    truth(a, &file->there);
    ITEM(a, file->hash);
  }
}

static void put_loaded(struct archive *a, struct nx_loaded *l) {
  bool windows = l->bad_window != NULL;
  put_beside(a, &l->beside);
  ITEM(a, l->n_channels);
  limit(a, &l->n_channels, NX_MONTAGE_CHANNELS);
  ITEM(a, l->n_samples);
  for (size_t i = 0; i < NX_MONTAGE_CHANNELS; i++)
    text(a, l->names[i], sizeof l->names[i]);
  array(a, &l->x, l->n_channels, l->n_samples, sizeof *l->x);
  array(a, &l->scale, l->n_channels, 1, sizeof *l->scale);
  truth(a, &windows);
  ITEM(a, l->n_bad_windows);
  ITEM(a, l->n_windows);
  if (windows)
    array(a, &l->bad_window, l->n_windows, 1, sizeof *l->bad_window);
  if (windows)
    truths(a, l->bad_window, l->n_windows);
  truth(a, &l->synthetic);
}

static void put_stream(struct archive *a, struct nx_loaded_stream *s, size_t n_channels) {
  ITEM(a, s->tokeniser);
  a->failed |= s->tokeniser >= NX_TOKENISERS;
  ITEM(a, s->rate_hz);
  ITEM(a, s->n_samples);
  array(a, &s->x, n_channels, s->n_samples, sizeof *s->x);
  array(a, &s->stats, n_channels, NX_SIGNAL_STATS, sizeof *s->stats);
  bool windows = s->bad_window != NULL;
  truth(a, &windows);
  ITEM(a, s->n_windows);
  if (windows)
    array(a, &s->bad_window, s->n_windows, 1, sizeof *s->bad_window);
  if (windows)
    truths(a, s->bad_window, s->n_windows);
}

static void put_signal(struct archive *a, struct nx_loaded_signal *s) {
  put_beside(a, &s->beside);
  ITEM(a, s->n_channels);
  limit(a, &s->n_channels, NX_RECORDING_CHANNELS);
  ITEM(a, s->n_left_out);
  ITEM(a, s->n_streams);
  limit(a, &s->n_streams, STREAMS);
  for (size_t k = 0; !a->failed && k < s->n_streams; k++)
    put_stream(a, &s->streams[k], s->n_channels);
  array(a, &s->positions, s->n_channels, 3, sizeof *s->positions);
  array(a, &s->placed, s->n_channels, 1, sizeof *s->placed);
  ITEM(a, s->origin_s);
  ITEM(a, s->n_behaviour);
  limit(a, &s->n_behaviour, NX_SIGNAL_BEHAVIOUR);
  ITEM(a, s->behaviour_hz);
  text(a, s->behaviour_unit, sizeof s->behaviour_unit);
  for (size_t i = 0; i < NX_SIGNAL_BEHAVIOUR; i++)
    text(a, s->behaviour_names[i], sizeof s->behaviour_names[i]);
  ITEM(a, s->n_behaviour_samples);
  array(a, &s->behaviour, s->n_behaviour, s->n_behaviour_samples, sizeof *s->behaviour);
  truth(a, &s->synthetic);
}

/* ---- find and keep --------------------------------------------------------------------------- */

static bool whole(const struct archive *a) {
  return !a->failed && !a->from.failed && a->from.rest.size == 0;
}

bool nx_derived_find(const struct nx_derived *derived, struct nx_loaded *loaded_out) {
  _cleanup_(nx_buffer_finish) struct nx_buffer payload = {0};
  memset(loaded_out, 0, sizeof *loaded_out);
  if (!derived->cache || !nx_cache_get(derived->cache, &derived->key, &payload))
    return false;
  struct archive a = {.from = nx_reader(nx_buffer_view(&payload))};
  put_loaded(&a, loaded_out);
  if (whole(&a) && nx_beside_same(&loaded_out->beside, derived->path))
    return true;
  nx_loaded_finish(loaded_out);
  return false;
}

bool nx_derived_find_signal(const struct nx_derived *derived, struct nx_loaded_signal *signal_out) {
  _cleanup_(nx_buffer_finish) struct nx_buffer payload = {0};
  memset(signal_out, 0, sizeof *signal_out);
  if (!derived->cache || !nx_cache_get(derived->cache, &derived->key, &payload))
    return false;
  struct archive a = {.from = nx_reader(nx_buffer_view(&payload))};
  put_signal(&a, signal_out);
  if (whole(&a) && nx_beside_same(&signal_out->beside, derived->path))
    return true;
  nx_loaded_signal_finish(signal_out);
  return false;
}

/* Neither it nor a file beside it was changed since it was hashed. */
static bool steady(const struct nx_derived *derived, const struct nx_beside *beside) {
  char path[NX_PATH_SIZE];
  struct stat status;
  nx_recording_split_part(derived->path, path);
  return !stat(path, &status) &&
         status.st_ctim.tv_sec * NX_SECOND + status.st_ctim.tv_nsec <= derived->since &&
         !nx_beside_changed_since(beside, derived->path, derived->since);
}

static void keep(const struct nx_derived *derived, struct archive *a) {
  if (!a->failed)
    nx_cache_put(derived->cache, &derived->key, nx_buffer_view(a->to));
  nx_buffer_finish(a->to);
}

void nx_derived_keep(const struct nx_derived *derived, struct nx_loaded *loaded) {
  struct nx_buffer payload;
  struct archive a = {.to = &payload};
  if (!derived->cache || !steady(derived, &loaded->beside))
    return;
  nx_buffer_init(&payload, PAYLOAD_CAP);
  put_loaded(&a, loaded);
  keep(derived, &a);
}

void nx_derived_keep_signal(const struct nx_derived *derived, struct nx_loaded_signal *signal) {
  struct nx_buffer payload;
  struct archive a = {.to = &payload};
  if (!derived->cache || !steady(derived, &signal->beside))
    return;
  nx_buffer_init(&payload, PAYLOAD_CAP);
  put_signal(&a, signal);
  keep(derived, &a);
}
