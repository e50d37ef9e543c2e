#include "crypto/replay.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/file.h"
#include "crypto/masked_upload.h"
#include "crypto/replay_logs.h"
#include "tests/unit/crypto/support.h"

#define N 4  /* members 1..4; the last one drops after its shares */
#define UP 3 /* upload */
#define LANES 40000
#define AUX 520

static char folder[64], sum_path[NX_PATH_SIZE], record_path[NX_PATH_SIZE], log_path[NX_PATH_SIZE];
static struct nx_replay replay;
static struct nx_secret self[N + 1], pair[N + 1][N + 1];
static struct nx_mask_form form;

static void write_file(const char *path, const void *data, size_t size) {
  assert_int_equal(nx_file_replace(path, nx_bytes(data, size), 0600, NULL), 0);
}

static void make_upload(uint32_t id, struct nx_rng *rng, uint32_t *sums, uint64_t *aux_sums) {
  static uint32_t lanes[LANES];
  static uint8_t upload[4 * LANES + 8 * AUX + 8];
  uint64_t aux[AUX];
  char path[NX_PATH_SIZE], name[16];
  _cleanup_(nx_mask_destroyp) struct nx_mask *mask = NULL;
  assert_int_equal(nx_mask_create(N, form, &mask, NULL), 0);
  nx_mask_add_key(mask, &self[id], false, NULL);
  for (uint32_t v = 1; v <= N; v++)
    if (v != id)
      nx_mask_add_key(mask, &pair[id][v], v < id, NULL);
  for (size_t i = 0; i < LANES; i++)
    sums[i] += lanes[i] = (uint32_t)nx_rng_u64(rng);
  for (size_t i = 0; i < AUX; i++)
    aux_sums[i] += aux[i] = nx_rng_u64(rng);
  const struct nx_masked_upload m = {replay.layout, aux, mask, NULL};
  assert_int_equal(nx_masked_upload_from_lanes(&m, lanes, upload, NULL), 0);
  snprintf(name, sizeof name, "%u", id);
  nx_path_join(path, folder, name, NULL);
  write_file(path, upload, nx_upload_bytes(&replay.layout));
  replay.members[replay.n_members].id = id;
  nx_upload_root(&replay.layout, upload, NULL, &replay.members[replay.n_members++].root, NULL);
}

static void write_sum(const uint32_t *sums, const uint64_t *aux_sums) {
  static uint8_t bytes[4 * LANES + 8 * AUX];
  for (size_t i = 0; i < LANES; i++)
    nx_store_le32(bytes + 4 * i, sums[i] & UINT32_MAX >> (32 - replay.layout.ring_bits));
  for (size_t i = 0; i < AUX; i++)
    nx_store_le64(bytes + 4 * LANES + 8 * i, aux_sums[i]);
  replay.sum = nx_sha256(bytes, sizeof bytes);
  write_file(sum_path, bytes, sizeof bytes);
}

static void write_record(void) {
  _cleanup_(nx_mask_destroyp) struct nx_mask *mask = NULL;
  assert_int_equal(nx_mask_create(2 * UP, form, &mask, NULL), 0);
  for (uint32_t u = 1; u <= UP; u++) {
    nx_mask_add_key(mask, &self[u], true, NULL);
    nx_mask_add_key(mask, &pair[u][N], true, NULL); /* what u added for the one who dropped */
  }
  assert_int_equal(nx_replay_write(folder, &replay, mask, NULL), 0);
}

static void make_round(uint32_t ring_bits, struct nx_mask_form masks) {
  static uint32_t sums[LANES];
  uint64_t aux_sums[AUX] = {0};
  struct nx_rng rng;
  nx_rng_init(&rng, ring_bits, 0);
  form = masks;
  const struct nx_entropy entropy = entropy_of(&rng);
  memset(sums, 0, sizeof sums);
  replay = (struct nx_replay){
      .round = 7, .attempt = 1, .layout = {LANES, ring_bits, AUX}, .t3 = nx_sha256("t3", 2)};
  for (uint32_t u = 1; u <= N; u++) {
    nx_secret_random(&entropy, &self[u], NULL);
    for (uint32_t v = 1; v < u; v++) {
      nx_secret_random(&entropy, &pair[u][v], NULL);
      pair[v][u] = pair[u][v];
    }
  }
  for (uint32_t id = 1; id <= UP; id++)
    make_upload(id, &rng, sums, aux_sums);
  write_sum(sums, aux_sums);
  write_record();
}

static int set_up(void **state) {
  (void)state;
  strcpy(folder, "/tmp/nx-replay-XXXXXX");
  assert_non_null(mkdtemp(folder));
  nx_path_join(sum_path, folder, "sum", NULL);
  nx_path_join(record_path, folder, NX_REPLAY_FILE, NULL);
  nx_path_join(log_path, folder, "audit", NULL);
  make_round(32, NX_MASK_USUAL);
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  char command[128];
  snprintf(command, sizeof command, "rm -r '%s'", folder);
  return system(command);
}

static void flip(const char *path, off_t at) {
  int fd = open(path, O_RDWR);
  uint8_t byte;
  assert_true(fd >= 0);
  assert_int_equal(pread(fd, &byte, 1, at), 1);
  byte ^= 0x10;
  assert_int_equal(pwrite(fd, &byte, 1, at), 1);
  close(fd);
}

static int verify(struct nx_replay_tiles *tiles, struct nx_error *err) {
  struct nx_replay found;
  int r = nx_replay_verify(folder, tiles ? sum_path : NULL, &found, tiles, err);
  if (r == 0)
    assert_memory_equal(&found, &replay, sizeof found);
  return r;
}

static void a_kept_round_adds_up_at_every_width(void **state) {
  (void)state;
  static const uint32_t widths[][2] = {{32, 32}, {24, 32}, {16, 32}, {12, 32}, {16, 16}, {12, 16}};
  for (size_t i = 0; i < 12; i++) {
    struct nx_replay_tiles tiles;
    make_round(widths[i / 2][0], (struct nx_mask_form){i % 2, widths[i / 2][1]});
    assert_int_equal(verify(NULL, NULL), 0);
    assert_int_equal(verify(&tiles, NULL), 0);
    assert_int_equal(tiles.n, nx_upload_tiles(&replay.layout));
    assert_int_equal(tiles.n_bad, 0);
  }
}

static void narrow_masks_are_for_narrow_rings(void **state) {
  (void)state;
  struct nx_error err = {0};
  for (unsigned cipher = 0; cipher < 2; cipher++) {
    make_round(24, (struct nx_mask_form){cipher, 16});
    assert_int_equal(verify(NULL, &err), NX_E_FORMAT);
    assert_non_null(strstr(err.text, "narrow masks in a ring of 24 bits"));
  }
}

static void a_changed_tile_of_the_sum_is_named(void **state) {
  (void)state;
  struct nx_replay_tiles tiles;
  struct nx_error err = {0};
  flip(sum_path, 32768 * 3 + 5);
  flip(sum_path, 4 * LANES + 8 * AUX - 1);
  assert_int_equal(verify(&tiles, &err), NX_E_CRYPTO);
  assert_int_equal(tiles.n_bad, 2);
  assert_int_equal(tiles.first_bad, 3);
  assert_non_null(strstr(err.text, "tile 3"));
}

/* The coordinator gave out another sum and kept a record that says so. */
static void a_record_of_a_false_sum_does_not_verify(void **state) {
  (void)state;
  struct nx_error err = {0};
  replay.sum.bytes[0] ^= 1;
  write_record();
  assert_int_equal(verify(NULL, &err), NX_E_CRYPTO);
  assert_non_null(strstr(err.text, "do not add up"));
}

static void a_changed_upload_is_laid_to_its_member(void **state) {
  (void)state;
  char path[NX_PATH_SIZE];
  struct nx_error err = {0};
  nx_path_join(path, folder, "2", NULL);
  flip(path, 100000);
  assert_int_equal(verify(NULL, &err), NX_E_CRYPTO);
  assert_non_null(strstr(err.text, "member 2"));
  flip(path, 100000);
  assert_int_equal(truncate(path, 1000), 0);
  assert_int_equal(verify(NULL, &err), NX_E_CRYPTO);
  unlink(path);
  assert_int_equal(verify(NULL, &err), NX_E_NOT_FOUND);
}

static void any_changed_byte_of_the_record_is_refused(void **state) {
  (void)state;
  struct stat status;
  make_round(32, (struct nx_mask_form){NX_MASK_AEGIS_256, 32}); /* the longest head */
  assert_int_equal(stat(record_path, &status), 0);
  assert_int_equal(status.st_mode & 0777, 0600);
  for (off_t at = 0; at < status.st_size; at++) {
    flip(record_path, at);
    assert_int_equal(verify(NULL, NULL), NX_E_FORMAT);
    flip(record_path, at);
  }
  assert_int_equal(truncate(record_path, 20), 0);
  assert_int_equal(verify(NULL, NULL), NX_E_FORMAT);
}

/* A log of one upload and one sum, each as told. */
static void make_log(uint64_t member, const struct nx_hash *root, const struct nx_hash *sum) {
  struct nx_audit_log *log = NULL;
  char command[NX_PATH_SIZE + 16];
  _cleanup_(nx_identity_destroyp) struct nx_identity *identity = NULL;
  snprintf(command, sizeof command, "rm -rf '%s'", log_path);
  assert_int_equal(system(command), 0);
  assert_int_equal(nx_identity_create(&nx_entropy_system, &identity, NULL), 0);
  assert_int_equal(nx_audit_log_open(log_path, "Site", identity, &log, NULL), 0);
  NX_AUDIT_APPEND(log, NULL, "upload.received", NX_AUDIT_UINT("round", 7),
                  NX_AUDIT_UINT("attempt", 1), NX_AUDIT_UINT("member", member),
                  NX_AUDIT_HASH("root", root));
  NX_AUDIT_APPEND(log, NULL, "upload.sent", NX_AUDIT_UINT("round", 8), NX_AUDIT_HASH("root", sum));
  NX_AUDIT_APPEND(log, NULL, "sum.checked", NX_AUDIT_UINT("round", 7), NX_AUDIT_HASH("sum", sum));
  assert_int_equal(nx_audit_log_close(log, NULL), 0);
}

static void logs_must_tell_of_these_uploads_and_this_sum(void **state) {
  (void)state;
  struct nx_replay_told told;
  struct nx_error err = {0};
  const struct nx_hash other = nx_sha256("other", 5);
  make_log(2, &replay.members[1].root, &replay.sum);
  assert_int_equal(nx_replay_compare_log(&replay, log_path, &told, &err), 0);
  assert_int_equal(told.uploads, 1);
  assert_int_equal(told.sums, 1);
  make_log(1, &replay.members[1].root, &replay.sum);
  assert_int_equal(nx_replay_compare_log(&replay, log_path, &told, &err), NX_E_CRYPTO);
  make_log(N, &other, &replay.sum); /* who dropped out is not in the sum */
  assert_int_equal(nx_replay_compare_log(&replay, log_path, &told, &err), 0);
  assert_int_equal(told.uploads, 0);
  make_log(2, &replay.members[1].root, &other);
  assert_int_equal(nx_replay_compare_log(&replay, log_path, &told, &err), NX_E_CRYPTO);
  assert_non_null(strstr(err.text, "another sum"));
}

#define WITH_ROUND(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {
      WITH_ROUND(a_kept_round_adds_up_at_every_width),
      WITH_ROUND(narrow_masks_are_for_narrow_rings),
      WITH_ROUND(a_changed_tile_of_the_sum_is_named),
      WITH_ROUND(a_record_of_a_false_sum_does_not_verify),
      WITH_ROUND(a_changed_upload_is_laid_to_its_member),
      WITH_ROUND(any_changed_byte_of_the_record_is_refused),
      WITH_ROUND(logs_must_tell_of_these_uploads_and_this_sum),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
