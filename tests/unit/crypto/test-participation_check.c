/* Participation check: a true one is taken, alone and inside a model; what was changed is found.
 * NEUROX_CORPUS=FOLDER also writes the true ones there, for tests/fuzz/corpus-participation. */
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/file.h"
#include "crypto/participation_check.h"
#include "tests/unit/cmocka_shim.h"

#define ROUNDS 3
#define MEMBERS 3
#define HEADER "{\"__metadata__\":{\"a\":\"b\"}}      " /* of the signed model */
#define DATA "sixteen bytes 16"

struct fixture {
  char folder[64], path[NX_PATH_SIZE];
  struct nx_identity *members[MEMBERS];
  struct nx_hash models[ROUNDS + 1]; /* [0]: the run's first */
  cJSON *root;
};

static struct nx_hash hash_of_model(void) {
  _cleanup_(nx_buffer_finish) struct nx_buffer bytes = {0};
  nx_buffer_append_u64(&bytes, sizeof HEADER - 1, NULL);
  nx_buffer_append(&bytes, HEADER, sizeof HEADER - 1, NULL);
  nx_buffer_append(&bytes, DATA, sizeof DATA - 1, NULL);
  return nx_sha256(bytes.data, bytes.size);
}

static void add_hex(cJSON *object, const char *name, const void *bytes, size_t size) {
  char hex[2 * 64 + 1];
  nx_hex_encode(bytes, size, hex);
  cJSON_AddStringToObject(object, name, hex);
}

/* M11, laid out by hand as proto/neurox/v1/round.proto has it. */
static void sign(struct fixture *f, int member, int round, const struct nx_hash *t3,
                 cJSON *signatures) {
  uint8_t body[2 + 2 + 34 + 34] = {0x08, (uint8_t)round, 0x10, 1, 0x1a, 32};
  struct nx_signature signature;
  memcpy(body + 6, t3->bytes, 32);
  body[38] = 0x22, body[39] = 32;
  memcpy(body + 40, f->models[round].bytes, 32);
  assert_int_equal(
      nx_sign(f->members[member], "M11", nx_bytes(body, sizeof body), &signature, NULL), 0);
  cJSON *object = cJSON_CreateObject();
  cJSON_AddNumberToObject(object, "member", member + 1);
  add_hex(object, "signature", signature.bytes, sizeof signature.bytes);
  cJSON_AddItemToArray(signatures, object);
}

static void add_round(struct fixture *f, int round, cJSON *rounds) {
  struct nx_hash t3 = nx_sha256(&round, sizeof round);
  cJSON *object = cJSON_CreateObject();
  cJSON_AddItemToArray(rounds, object);
  cJSON_AddNumberToObject(object, "round", round);
  cJSON_AddNumberToObject(object, "attempt", 1);
  cJSON_AddStringToObject(object, "kind", round == 1 ? "statistics" : "train");
  add_hex(object, "parent", f->models[round - 1].bytes, 32);
  add_hex(object, "model", f->models[round].bytes, 32);
  add_hex(object, "sum", t3.bytes, 32);
  add_hex(object, "t3", t3.bytes, 32);
  cJSON_AddNumberToObject(object, "cohort", MEMBERS);
  const int sites[] = {1, 3};
  cJSON_AddItemToObject(object, "sites", cJSON_CreateIntArray(sites, 2));
  cJSON_AddNumberToObject(object, "recovered", 1);
  cJSON *signatures = cJSON_AddArrayToObject(object, "signatures");
  for (int i = 0; i < MEMBERS; i++)
    sign(f, i, round, &t3, signatures);
}

static int setup(void **state) {
  struct fixture *f = calloc(1, sizeof *f);
  strcpy(f->folder, "/tmp/nx-participation-XXXXXX");
  assert_non_null(mkdtemp(f->folder));
  nx_path_join(f->path, f->folder, "file", NULL);
  for (int i = 0; i < ROUNDS; i++)
    f->models[i] = nx_sha256(&i, sizeof i);
  f->models[ROUNDS] = hash_of_model();
  f->root = cJSON_CreateObject();
  cJSON_AddNumberToObject(f->root, "neurox_participation", 1);
  add_hex(f->root, "model", f->models[ROUNDS].bytes, 32);
  cJSON_AddNumberToObject(f->root, "header_bytes", sizeof HEADER - 1);
  cJSON *members = cJSON_AddArrayToObject(f->root, "members");
  for (int i = 0; i < MEMBERS; i++) {
    cJSON *member = cJSON_CreateObject();
    char name[16];
    snprintf(name, sizeof name, "site-%d", i);
    assert_int_equal(nx_identity_create(&nx_entropy_system, &f->members[i], NULL), 0);
    cJSON_AddNumberToObject(member, "id", i + 1);
    cJSON_AddStringToObject(member, "name", name);
    add_hex(member, "identity", nx_identity_public(f->members[i])->bytes, 32);
    cJSON_AddItemToArray(members, member);
  }
  cJSON *plan = cJSON_AddObjectToObject(f->root, "plan");
  cJSON_AddStringToObject(plan, "name", "test");
  add_hex(plan, "sha256", f->models[0].bytes, 32);
  cJSON *rounds = cJSON_AddArrayToObject(f->root, "rounds");
  for (int round = 1; round <= ROUNDS; round++)
    add_round(f, round, rounds);
  add_hex(f->root, "parent", f->models[ROUNDS - 1].bytes, 32);
  cJSON *privacy = cJSON_AddObjectToObject(f->root, "privacy");
  cJSON_AddStringToObject(privacy, "mechanism", "distributed-skellam");
  cJSON_AddNumberToObject(privacy, "epsilon", 2.81);
  *state = f;
  return 0;
}

static int teardown(void **state) {
  struct fixture *f = *state;
  unlink(f->path);
  rmdir(f->folder);
  cJSON_Delete(f->root);
  for (int i = 0; i < MEMBERS; i++)
    nx_identity_destroy(f->members[i]);
  free(f);
  return 0;
}

static void keep_for_corpus(const char *name, struct nx_bytes bytes) {
  const char *folder = getenv("NEUROX_CORPUS");
  char path[NX_PATH_SIZE];
  if (folder && nx_path_join(path, folder, name, NULL) == 0)
    assert_int_equal(nx_file_replace(path, bytes, 0644, NULL), 0);
}

static int open_bytes(struct fixture *f, struct nx_bytes bytes, struct nx_error *err) {
  _cleanup_(nx_participation_closep) struct nx_participation *p = NULL;
  assert_int_equal(nx_file_replace(f->path, bytes, 0600, NULL), 0);
  int r = nx_participation_open(f->path, &p, err);
  struct nx_participation_told told = {0};
  if (r == 0) {
    nx_participation_count(p, &told);
    assert_int_equal(told.rounds, cJSON_GetArraySize(cJSON_GetObjectItem(f->root, "rounds")));
  }
  return r;
}

static int open_root(struct fixture *f, struct nx_error *err) {
  char *text = cJSON_Print(f->root);
  int r = open_bytes(f, nx_bytes(text, strlen(text)), err);
  cJSON_free(text);
  return r;
}

static void takes(struct fixture *f, const char *corpus_name) {
  struct nx_error err = {0};
  if (open_root(f, &err) < 0)
    fail_msg("%s", err.text);
  char *text = cJSON_PrintUnformatted(f->root);
  keep_for_corpus(corpus_name, nx_bytes(text, strlen(text)));
  cJSON_free(text);
}

/* The model with it in front of its metadata, as export makes it. */
static void embed(struct fixture *f, struct nx_buffer *out) {
  char *text = cJSON_PrintUnformatted(f->root);
  cJSON *string = cJSON_CreateString(text);
  char *escaped = cJSON_PrintUnformatted(string);
  _cleanup_(nx_buffer_finish) struct nx_buffer header = {0};
  const char begin[] = "{\"__metadata__\":{", key[] = "\"neurox_participation\":";
  nx_buffer_append(&header, begin, sizeof begin - 1, NULL);
  nx_buffer_append(&header, key, sizeof key - 1, NULL);
  nx_buffer_append(&header, escaped, strlen(escaped), NULL);
  nx_buffer_append(&header, ",", 1, NULL);
  nx_buffer_append(&header, &HEADER[sizeof begin - 1], sizeof HEADER - sizeof begin, NULL);
  nx_buffer_append_u64(out, header.size, NULL);
  nx_buffer_append(out, header.data, header.size, NULL);
  nx_buffer_append(out, DATA, sizeof DATA - 1, NULL);
  cJSON_Delete(string);
  cJSON_free(text);
  cJSON_free(escaped);
}

static cJSON *round_at(struct fixture *f, int i) {
  return cJSON_GetArrayItem(cJSON_GetObjectItem(f->root, "rounds"), i);
}

static void put(cJSON *object, const char *name, cJSON *value) {
  assert_true(cJSON_ReplaceItemInObjectCaseSensitive(object, name, value));
}

static void put_hash(cJSON *object, const char *name, const struct nx_hash *hash) {
  char hex[NX_HASH_HEX_SIZE];
  nx_hash_hex(hash, hex);
  put(object, name, cJSON_CreateString(hex));
}

static void refuses(struct fixture *f, int code, const char *words) {
  struct nx_error err = {0};
  assert_int_equal(open_root(f, &err), code);
  if (!strstr(err.text, words))
    fail_msg("'%s' does not say '%s'", err.text, words);
}

static void a_true_one_is_taken(void **state) {
  takes(*state, "json");
}

static void so_it_is_inside_a_model_and_another_weight_is_found(void **state) {
  struct fixture *f = *state;
  struct nx_error err = {0};
  _cleanup_(nx_buffer_finish) struct nx_buffer model = {0};
  embed(f, &model);
  if (open_bytes(f, nx_buffer_view(&model), &err) < 0)
    fail_msg("%s", err.text);
  keep_for_corpus("model", nx_buffer_view(&model));
  model.data[model.size - 1] ^= 1;
  assert_int_equal(open_bytes(f, nx_buffer_view(&model), &err), NX_E_CRYPTO);
  assert_non_null(strstr(err.text, "is not the model that the members signed"));
}

static void another_parent_is_found(void **state) {
  struct fixture *f = *state;
  struct nx_hash other = nx_sha256("other", 5);
  put_hash(f->root, "parent", &other);
  refuses(f, NX_E_CRYPTO, "its last round began with another parent");
  put_hash(round_at(f, ROUNDS - 1), "parent", &other);
  refuses(f, NX_E_CRYPTO, "round 3 began with another model");
}

static void a_missing_parent_is_found(void **state) {
  struct fixture *f = *state;
  cJSON_DeleteItemFromObjectCaseSensitive(round_at(f, 1), "parent");
  refuses(f, NX_E_FORMAT, "parent");
}

/* Exports of before there was a parent: nowhere one. */
static void one_of_before_is_taken(void **state) {
  struct fixture *f = *state;
  cJSON_DeleteItemFromObjectCaseSensitive(f->root, "parent");
  refuses(f, NX_E_FORMAT, "parent is missing");
  for (int i = 0; i < ROUNDS; i++)
    cJSON_DeleteItemFromObjectCaseSensitive(round_at(f, i), "parent");
  takes(f, "json-before");
}

static void a_round_left_out_is_found(void **state) {
  struct fixture *f = *state;
  cJSON_DeleteItemFromArray(cJSON_GetObjectItem(f->root, "rounds"), 1);
  refuses(f, NX_E_FORMAT, "round 3 does not follow");
}

static void a_changed_model_or_signer_is_found(void **state) {
  struct fixture *f = *state;
  struct nx_hash other = nx_sha256("other", 5);
  cJSON *signature = cJSON_GetArrayItem(cJSON_GetObjectItem(round_at(f, 0), "signatures"), 0);
  put(signature, "member", cJSON_CreateNumber(2));
  refuses(f, NX_E_CRYPTO, "round 1, member 2");
  put(signature, "member", cJSON_CreateNumber(9));
  refuses(f, NX_E_FORMAT, "a signature of nobody");
  put(signature, "member", cJSON_CreateNumber(1));
  put_hash(round_at(f, 0), "model", &other);
  refuses(f, NX_E_CRYPTO, "round 1, member 1");
}

static void a_last_round_that_nobody_signed_is_found(void **state) {
  struct fixture *f = *state;
  put(round_at(f, ROUNDS - 1), "signatures", cJSON_CreateArray());
  refuses(f, NX_E_CRYPTO, "nobody has signed");
}

static void no_cut_of_it_is_taken(void **state) {
  struct fixture *f = *state;
  char *text = cJSON_PrintUnformatted(f->root);
  size_t size = strlen(text);
  for (size_t n = 0; n < size; n += 97)
    assert_true(open_bytes(f, nx_bytes(text, n), NULL) < 0);
  cJSON_free(text);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(a_true_one_is_taken),
      TEST(so_it_is_inside_a_model_and_another_weight_is_found),
      TEST(another_parent_is_found),
      TEST(a_missing_parent_is_found),
      TEST(one_of_before_is_taken),
      TEST(a_round_left_out_is_found),
      TEST(a_changed_model_or_signer_is_found),
      TEST(a_last_round_that_nobody_signed_is_found),
      TEST(no_cut_of_it_is_taken),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
