/* neurox-secrecy: after a real round, does the coordinator hold anybody's update? Training
 * and rounding are reproducible, so this test makes every site's update x again, in clear,
 * and then
 *   1  compares each masked upload y that the coordinator stored with x: entropy of its
 *      bytes, correlation with x: noise;
 *   2  adds all x: the sum that was opened, to the last integer;
 *   3  searches every file of the coordinator, and the memory of the live process, for
 *      pieces of any x.
 * Prints TAP. It can do this only because all sites' recordings are on one machine.
 *
 *     neurox-secrecy HUB PLAN ROUND PID SITE…      folders; PID of the running coordinator */
#include <ftw.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/file.h"
#include "common/size.h"
#include "coordinator/aggregate/upload_spool.h"
#include "coordinator/store/model_registry.h"
#include "coordinator/store/run_store.h"
#include "models/model.h"
#include "node/node_config.h"
#include "node/node_home.h"
#include "node/session/protect.h"
#include "node/site_data.h"
#include "node/train/update.h"

#define SITES 16
#define PIECE_LANES 8 /* 32 bytes: what is searched for */
#define PIECES 64     /* of each site */

struct evidence {
  struct nx_plan *plan;
  struct nx_model *model; /* that the round started from */
  uint64_t round;
  struct nx_store_sealed sealed;
  struct nx_buffer sum;
  size_t n_sites;
  uint32_t ids[SITES];
  struct nx_encoded x[SITES];
  struct nx_upload_spool spool;
};

static struct evidence all;

static void must(int r, const struct nx_error *err) {
  if (r < 0) {
    printf("Bail out! %s\n", err->text);
    exit(1);
  }
}

static void load_round(const char *hub, const char *plan_path) {
  _cleanup_(nx_buffer_finish) struct nx_buffer plan = {0}, model = {0};
  _cleanup_(nx_run_store_destroyp) struct nx_run_store *store = NULL;
  struct nx_model_registry registry;
  struct nx_store_sealed before;
  struct nx_error err = {0};
  char path[NX_PATH_SIZE];
  must(nx_file_read(plan_path, 1 << 20, &plan, &err), &err);
  must(nx_plan_parse(plan_path, nx_buffer_view(&plan), &all.plan, &err), &err);
  must(nx_path_join(path, hub, "store.sqlite", &err), &err);
  must(nx_run_store_open(path, &store, &err), &err);
  must(nx_run_store_sealed(store, all.round - 1, &before, &err), &err);
  must(nx_run_store_sealed(store, all.round, &all.sealed, &err), &err);
  must(nx_path_join(path, hub, "blobs", &err), &err);
  must(nx_model_registry_init(&registry, path, &err), &err);
  must(nx_model_registry_get(&registry, &before.model_hash, &model, &err), &err);
  must(nx_model_registry_get(&registry, &all.sealed.sum_hash, &all.sum, &err), &err);
  must(nx_model_load(all.plan, nx_buffer_view(&model), &all.model, &err), &err);
}

/* The site's update of the round, as its node made it before masking. */
static void make_update(const char *home, uint32_t *id_out, struct nx_encoded *x_out) {
  _cleanup_(nx_node_config_destroyp) struct nx_node_config *config = NULL;
  _cleanup_(nx_home_federation_destroyp) struct nx_home_federation *federation = NULL;
  _cleanup_(nx_dataset_destroyp) struct nx_dataset *dataset = NULL;
  _cleanup_(nx_update_finish) struct nx_update update = {0};
  const struct nx_plan_aggregation *a = &all.plan->aggregation;
  const struct nx_quantize quantize = {a->ring_bits, a->value_bits, a->value_range,
                                       a->update_clip_norm};
  struct nx_error err = {0};
  char path[NX_PATH_SIZE];
  must(nx_path_join(path, home, NX_HOME_CONFIG, &err), &err);
  must(nx_node_config_load(path, &config, &err), &err);
  must(nx_home_read_federation(home, &federation, &err), &err);
  must(nx_site_data_open(NULL, &config->data, &(struct nx_withdrawals){0}, all.plan, NULL, &dataset,
                         &err),
       &err);
  *id_out = federation->member;
  must(nx_update_compute(NX_ROUND_TRAIN, all.model, dataset, all.plan, all.round - 2,
                         federation->member, NULL, NULL, &update, &err),
       &err);
  must(nx_encode(&quantize, update.delta, NULL, update.n_values, update.aux, update.n_aux,
                 all.plan->seed, all.round << 8 | federation->member, x_out, &err),
       &err);
}

static void report(int number, bool good, const char *words) {
  printf("%sok %d - %s\n", good ? "" : "not ", number, words);
}

/* --- 1: a single upload is noise ------------------------------------------------------- */

static double entropy_bits(const uint8_t *bytes, size_t n) {
  size_t counts[256] = {0};
  double bits = 0;
  for (size_t i = 0; i < n; i++)
    counts[bytes[i]]++;
  for (int i = 0; i < 256; i++)
    if (counts[i])
      bits -= (double)counts[i] / (double)n * log2((double)counts[i] / (double)n);
  return bits;
}

static double correlation(const uint8_t *y, const uint32_t *x, size_t n) {
  double sx = 0, sy = 0, sxx = 0, syy = 0, sxy = 0;
  for (size_t i = 0; i < n; i++) {
    double a = (int32_t)x[i], b = (int32_t)nx_load_le32(y + 4 * i);
    sx += a, sy += b, sxx += a * a, syy += b * b, sxy += a * b;
  }
  double c = (double)n;
  return (c * sxy - sx * sy) / sqrt((c * sxx - sx * sx) * (c * syy - sy * sy));
}

static bool upload_is_noise(size_t site) {
  struct nx_error err = {0};
  const uint8_t *y;
  size_t n = all.x[site].n_lanes;
  must(nx_upload_spool_map(&all.spool, all.ids[site], &y, &err), &err);
  double bits = entropy_bits(y, 4 * n), r = correlation(y, all.x[site].lanes, n);
  nx_upload_unmap(&all.spool, y);
  /* n uniform bytes fall short of 8 bits by about 255 / (2 n ln 2); r has SD 1 / sqrt(n). */
  bool noise = bits > 8 - 1.5 * 255 / (2 * 4 * (double)n * log(2)) && fabs(r) < 5 / sqrt((double)n);
  printf("# member %" PRIu32 ": entropy %.5f bits a byte, correlation with its update %+.5f%s\n",
         all.ids[site], bits, r, noise ? "" : "  NOT NOISE");
  return noise;
}

/* --- 2: the sum is exact ----------------------------------------------------------------- */

static bool sum_is_exact(void) {
  size_t n = all.x[0].n_lanes, m = all.x[0].n_aux;
  if (all.sum.size != 4 * n + 8 * m)
    return false;
  for (size_t i = 0; i < n; i++) {
    uint32_t sum = 0;
    for (size_t s = 0; s < all.n_sites; s++)
      sum += all.x[s].lanes[i];
    if (sum != nx_load_le32(all.sum.data + 4 * i))
      return false;
  }
  for (size_t i = 0; i < m; i++) {
    uint64_t sum = 0;
    for (size_t s = 0; s < all.n_sites; s++)
      sum += all.x[s].aux[i];
    if (sum != nx_load_le64(all.sum.data + 4 * n + 8 * i))
      return false;
  }
  return true;
}

/* --- 3: nothing in clear, on disk or in memory ------------------------------------------- */

static size_t n_found, n_searched;

/* Eight lanes in a row, spread over the vector, none of them zero or like its neighbour. */
static const uint32_t *piece(size_t site, size_t number) {
  const uint32_t *x = all.x[site].lanes;
  size_t n = all.x[site].n_lanes, from = number * (n / PIECES), run = 0;
  for (size_t i = from; i + 1 < n && run < PIECE_LANES; i++)
    run = x[i] && x[i] != x[i + 1] ? run + 1 : (from = i + 1, 0);
  return run == PIECE_LANES ? x + from : NULL;
}

static const uint32_t *pieces[SITES][PIECES];

/* Pieces are looked for by their first lane through a 64 Ki-bit filter, then compared. */
static uint8_t filter[8192];

static unsigned filter_bit(const uint8_t *at) {
  return (unsigned)at[0] | (unsigned)at[1] << 8;
}

static void fill_filter(void) {
  for (size_t s = 0; s < all.n_sites; s++)
    for (size_t p = 0; p < PIECES; p++) {
      pieces[s][p] = piece(s, p);
      if (!pieces[s][p])
        continue;
      unsigned bit = filter_bit((const uint8_t *)pieces[s][p]);
      filter[bit / 8] |= (uint8_t)(1u << bit % 8);
    }
}

static void search(const uint8_t *bytes, size_t size, const char *where) {
  n_searched += size;
  for (size_t i = 0; i + 4 * PIECE_LANES <= size; i++) {
    unsigned bit = filter_bit(bytes + i);
    if (!(filter[bit / 8] >> bit % 8 & 1))
      continue;
    for (size_t s = 0; s < all.n_sites; s++)
      for (size_t p = 0; p < PIECES; p++)
        if (pieces[s][p] && !memcmp(bytes + i, pieces[s][p], 4 * PIECE_LANES)) {
          printf("# piece %zu of member %" PRIu32 "'s update at %s\n", p, all.ids[s], where);
          n_found++;
        }
  }
}

static int search_file(const char *path, const struct stat *status, int type, struct FTW *where) {
  (void)where;
  if (type != FTW_F || !status->st_size)
    return 0;
  struct nx_buffer bytes = {.cap = (size_t)1 << 30};
  struct nx_error err = {0};
  must(nx_file_read(path, (size_t)1 << 30, &bytes, &err), &err);
  search(bytes.data, bytes.size, path);
  nx_buffer_finish(&bytes);
  return 0;
}

static void search_range(FILE *memory, uint64_t from, uint64_t to) {
  static uint8_t bytes[1 << 20];
  const uint64_t step = sizeof bytes - 4 * PIECE_LANES;
  for (uint64_t at = from; at < to; at += step) {
    if (fseeko(memory, (off_t)at, SEEK_SET))
      return;
    size_t n = fread(bytes, 1, (size_t)NX_MIN(sizeof bytes, to - at), memory);
    search(bytes, n, "memory");
    if (n < sizeof bytes)
      return;
  }
}

static void search_memory(const char *pid) {
  char path[64], line[512];
  snprintf(path, sizeof path, "/proc/%s/maps", pid);
  FILE *maps = fopen(path, "r");
  snprintf(path, sizeof path, "/proc/%s/mem", pid);
  FILE *memory = fopen(path, "r");
  if (!maps || !memory) {
    printf("Bail out! the coordinator's memory cannot be read (process %s)\n", pid);
    exit(1);
  }
  while (fgets(line, sizeof line, maps)) {
    uint64_t from, to;
    char mode[8];
    if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %7s", &from, &to, mode) == 3 && mode[0] == 'r' &&
        mode[1] == 'w')
      search_range(memory, from, to);
  }
  fclose(maps);
  fclose(memory);
}

int main(int argc, char **argv) {
  struct nx_error err = {0};
  if (argc < 8 || argc - 5 > SITES) {
    fprintf(stderr, "usage: neurox-secrecy HUB PLAN ROUND PID SITE SITE SITE…\n");
    return 2;
  }
  all.round = strtoull(argv[3], NULL, 10);
  load_round(argv[1], argv[2]);
  for (int i = 5; i < argc; i++, all.n_sites++)
    make_update(argv[i], &all.ids[all.n_sites], &all.x[all.n_sites]);
  const struct nx_upload_layout layout = {all.x[0].n_lanes, all.plan->aggregation.ring_bits,
                                          all.x[0].n_aux};
  char folder[NX_PATH_SIZE];
  must(nx_path_join(folder, argv[1], "uploads", &err), &err);
  must(nx_upload_spool_init(&all.spool, folder, all.round, all.sealed.attempt, &layout, &err),
       &err);
  bool noise = true;
  for (size_t s = 0; s < all.n_sites; s++)
    noise &= upload_is_noise(s);
  printf("1..4\n");
  report(1, noise, "each upload that the coordinator stored is noise");
  report(2, sum_is_exact(), "the opened sum is the sum of the updates to the last integer");
  fill_filter();
  nftw(argv[1], search_file, 16, FTW_PHYS);
  printf("# %zu bytes of files searched\n", n_searched);
  report(3, !n_found && n_searched > 0, "no file of the coordinator holds a piece of an update");
  n_found = n_searched = 0;
  search_memory(argv[4]);
  printf("# %zu bytes of memory searched\n", n_searched);
  report(4, !n_found && n_searched > 0, "the coordinator's memory holds no piece of an update");
  return 0;
}
