#include "coordinator/verbs/participation.h"

#include <cjson/cJSON.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/file.h"
#include "common/size.h"
#include "coordinator/admin/manifest.h"
#include "coordinator/verbs/participation_plan.h"
#include "crypto/plan_numbers.h"
#include "models/tensor/safetensors.h"
#include "proto/codec/codec_manifest.h"
#include "proto/codec/codec_round.h"
#include "proto/codec/codec_site.h"

NX_DEFINE_CLEANUP(cJSON *, cJSON_Delete)

static void add_hex(cJSON *object, const char *name, const void *bytes, size_t size) {
  char hex[2 * 64 + 1];
  nx_hex_encode(bytes, size, hex);
  cJSON_AddStringToObject(object, name, hex);
}

/* --- who could take part ------------------------------------------------------------------- */

static int add_members(struct nx_federation *f, cJSON *root, struct nx_error *err) {
  _cleanup_(nx_arena_destroyp) struct nx_arena *arena = NULL;
  _cleanup_(nx_buffer_finish) struct nx_buffer body = {0};
  struct nx_manifest manifest;
  struct nx_signature signature;
  struct nx_hash hash;
  int r = nx_manifest_recall(f, &body, &signature, &hash, err);
  if (r < 0 || (r = nx_arena_create((size_t)4 << 20, &arena, err)) < 0 ||
      (r = nx_manifest_decode(nx_buffer_view(&body), arena, &manifest, err)) < 0)
    return r;
  cJSON *federation = cJSON_AddObjectToObject(root, "federation");
  add_hex(federation, "id", f->row.id, sizeof f->row.id);
  cJSON_AddStringToObject(federation, "name", f->row.name);
  add_hex(federation, "coordinator", f->row.identity.bytes, NX_PUBLIC_KEY_SIZE);
  add_hex(federation, "manifest", hash.bytes, sizeof hash.bytes);
  cJSON *members = cJSON_AddArrayToObject(root, "members");
  for (size_t i = 0; i < manifest.n_members; i++) {
    cJSON *member = cJSON_CreateObject();
    cJSON_AddNumberToObject(member, "id", manifest.members[i].id);
    cJSON_AddStringToObject(member, "name", manifest.members[i].name);
    add_hex(member, "identity", manifest.members[i].identity.bytes, NX_PUBLIC_KEY_SIZE);
    cJSON_AddItemToArray(members, member);
  }
  return 0;
}

/* --- what happened --------------------------------------------------------------------------- */

static int add_signature(void *context, uint32_t member, struct nx_bytes message,
                         struct nx_error *err) {
  _cleanup_(nx_arena_destroyp) struct nx_arena *arena = NULL;
  struct nx_signed_message signed_message;
  int r = nx_arena_create((size_t)1 << 20, &arena, err);
  if (r < 0 || (r = nx_signed_message_decode(message, arena, &signed_message, err)) < 0)
    return r;
  cJSON *object = cJSON_CreateObject();
  cJSON_AddNumberToObject(object, "member", member);
  add_hex(object, "signature", signed_message.signature.bytes,
          sizeof signed_message.signature.bytes);
  cJSON_AddItemToArray(context, object);
  return 0;
}

static const char *kind_name(uint32_t kind) {
  return kind == NX_ROUND_STATISTICS ? "statistics" : kind == NX_ROUND_TRAIN ? "train" : "evaluate";
}

/* parent: the version that the round began with. */
static int add_round(struct nx_federation *f, const struct nx_store_sealed *sealed,
                     const struct nx_hash *parent, bool signatures, cJSON *rounds,
                     struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer aux = {0}, survivors = {0};
  int r = nx_run_store_sealed_aux(f->store, sealed->round, &aux, &survivors, err);
  if (r < 0)
    return r;
  cJSON *round = cJSON_CreateObject();
  cJSON_AddItemToArray(rounds, round);
  cJSON_AddNumberToObject(round, "round", (double)sealed->round);
  cJSON_AddNumberToObject(round, "attempt", sealed->attempt);
  cJSON_AddStringToObject(round, "kind", kind_name(sealed->kind));
  add_hex(round, "parent", parent->bytes, NX_HASH_SIZE);
  add_hex(round, "model", sealed->model_hash.bytes, NX_HASH_SIZE);
  add_hex(round, "sum", sealed->sum_hash.bytes, NX_HASH_SIZE);
  add_hex(round, "t3", sealed->t3.bytes, NX_HASH_SIZE);
  cJSON_AddNumberToObject(round, "cohort", sealed->n_cohort);
  cJSON *sites = cJSON_AddArrayToObject(round, "sites");
  for (size_t i = 0; i < survivors.size; i++)
    cJSON_AddItemToArray(sites, cJSON_CreateNumber(survivors.data[i]));
  cJSON_AddNumberToObject(round, "recovered", sealed->n_recovered);
  cJSON *array = cJSON_AddArrayToObject(round, "signatures");
  return signatures
             ? nx_run_store_visit_signatures(f->store, sealed->round, add_signature, array, err)
             : 0;
}

/* The run's first round: the statistics round at or before this one. */
static int find_first(struct nx_federation *f, const struct nx_store_sealed *last,
                      uint64_t *first_out, struct nx_error *err) {
  struct nx_store_sealed sealed;
  uint64_t round = last->round;
  int r = 0;
  for (; round > 1; round--)
    if ((r = nx_run_store_sealed(f->store, round - 1, &sealed, err)) < 0 || sealed.run != last->run)
      break;
  *first_out = round;
  return r == NX_E_NOT_FOUND ? 0 : r;
}

static int find_plan(struct nx_federation *f, const struct nx_store_sealed *last,
                     struct nx_hash *plan_out, struct nx_error *err) {
  struct nx_store_run run;
  int r = nx_run_store_run(f->store, last->run, &run, err);
  *plan_out = run.plan_hash;
  return r;
}

static int add_rounds(struct nx_federation *f, const struct nx_store_sealed *last, bool all,
                      struct nx_plan_told *told, cJSON *root, struct nx_error *err) {
  struct nx_store_sealed sealed;
  struct nx_hash parent = told->first_model;
  uint64_t first;
  int r = find_first(f, last, &first, err);
  cJSON *rounds = cJSON_AddArrayToObject(root, "rounds");
  for (uint64_t round = first; round <= last->round && r == 0; round++) {
    if ((r = nx_run_store_sealed(f->store, round, &sealed, err)) < 0 ||
        (r = add_round(f, &sealed, &parent, all || round == last->round, rounds, err)) < 0)
      return r;
    told->noisy_steps += nx_plan_noisy_steps(told->plan, sealed.kind);
    if (round < last->round)
      parent = sealed.model_hash;
  }
  if (r == 0)
    add_hex(root, "parent", parent.bytes, NX_HASH_SIZE);
  return r;
}

static int fill(struct nx_federation *f, const struct nx_store_sealed *last, bool all, cJSON *root,
                struct nx_error *err) {
  _cleanup_(nx_plan_told_finish) struct nx_plan_told told = {0};
  struct nx_hash plan;
  int r = add_members(f, root, err);
  if (r < 0 || (r = find_plan(f, last, &plan, err)) < 0 ||
      (r = nx_participation_tell_plan(f, &plan, root, &told, err)) < 0 ||
      (r = add_rounds(f, last, all, &told, root, err)) < 0)
    return r;
  return nx_participation_tell_privacy(f, &last->model_hash, &told, root, err);
}

/* --- who said that it stands on somebody who withdrew ----------------------------------------- */

static bool stands_on(const cJSON *rounds, const struct nx_withdrawn_message *note) {
  const cJSON *round;
  cJSON_ArrayForEach(round, rounds) {
    struct nx_hash model;
    const char *hex = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(round, "model"));
    if (!hex || nx_hash_from_hex(hex, &model, NULL) < 0)
      continue;
    for (size_t i = 0; i < note->n; i++)
      if (nx_hash_equal(&note->models[i], &model))
        return true;
  }
  return false;
}

static int add_note(const char *path, const cJSON *rounds, cJSON *notes, struct nx_error *err) {
  _cleanup_(nx_arena_destroyp) struct nx_arena *arena = NULL;
  _cleanup_(nx_buffer_finish) struct nx_buffer bytes = {0};
  struct nx_signed_message message;
  struct nx_withdrawn_message note;
  int r = nx_file_read(path, NX_SITE_MESSAGE_CAP, &bytes, err);
  if (r < 0 || (r = nx_arena_create((size_t)2 << 20, &arena, err)) < 0 ||
      (r = nx_signed_message_decode(nx_buffer_view(&bytes), arena, &message, err)) < 0 ||
      (r = nx_withdrawn_message_decode(message.body, arena, &note, err)) < 0 ||
      !stands_on(rounds, &note))
    return r;
  _cleanup_free_ char *hex = malloc(2 * message.body.size + 1);
  if (!hex)
    return nx_fail(err, NX_E_NOMEM, "participation: out of memory");
  nx_hex_encode(message.body.data, message.body.size, hex);
  cJSON *object = cJSON_CreateObject();
  cJSON_AddNumberToObject(object, "member", message.signer);
  cJSON_AddStringToObject(object, "body", hex);
  add_hex(object, "signature", message.signature.bytes, sizeof message.signature.bytes);
  cJSON_AddItemToArray(notes, object);
  return 0;
}

static int add_withdrawn(struct nx_federation *f, cJSON *root, struct nx_error *err) {
  const cJSON *rounds = cJSON_GetObjectItemCaseSensitive(root, "rounds");
  char folder[NX_PATH_SIZE], path[NX_PATH_SIZE];
  cJSON *notes = cJSON_CreateArray();
  int r = nx_path_join(folder, f->home, NX_HUB_WITHDRAWN, err);
  DIR *files = r < 0 ? NULL : opendir(folder);
  for (struct dirent *entry; r == 0 && files && (entry = readdir(files));)
    if (entry->d_name[0] != '.' && (r = nx_path_join(path, folder, entry->d_name, err)) == 0)
      r = add_note(path, rounds, notes, err);
  if (files)
    closedir(files);
  if (cJSON_GetArraySize(notes))
    cJSON_AddItemToObject(root, "withdrawn", notes);
  else
    cJSON_Delete(notes);
  return r;
}

int nx_participation_write(struct nx_federation *f, uint64_t round, size_t header_bytes, bool all,
                           struct nx_buffer *json_out, struct nx_error *err) {
  _cleanup_(cJSON_Deletep) cJSON *root = cJSON_CreateObject();
  struct nx_store_sealed last;
  int r = nx_run_store_sealed(f->store, round, &last, err);
  if (r < 0)
    return r;
  cJSON_AddNumberToObject(root, "neurox_participation", 1);
  add_hex(root, "model", last.model_hash.bytes, NX_HASH_SIZE);
  cJSON_AddNumberToObject(root, "round", (double)round);
  cJSON_AddNumberToObject(root, "header_bytes", (double)header_bytes);
  if ((r = fill(f, &last, all, root, err)) < 0 || (r = add_withdrawn(f, root, err)) < 0)
    return r;
  char *text = all ? cJSON_Print(root) : cJSON_PrintUnformatted(root);
  r = text ? nx_buffer_append(json_out, text, strlen(text), err)
           : nx_fail(err, NX_E_NOMEM, "out of memory for the participation");
  cJSON_free(text);
  return r;
}

/* --- into the file -----------------------------------------------------------------------------
 */

#define BEGIN "{\"__metadata__\":{"
#define KEY "\"neurox_participation\":"

int nx_participation_header_bytes(struct nx_bytes model, size_t *out, struct nx_error *err) {
  struct nx_reader reader = nx_reader(model);
  uint64_t size = nx_reader_u64(&reader);
  if (reader.failed || size < sizeof BEGIN || size > reader.rest.size ||
      memcmp(reader.rest.data, BEGIN, sizeof BEGIN - 1))
    return nx_fail(err, NX_E_FORMAT, "the model's header does not begin with its metadata");
  *out = (size_t)size;
  return 0;
}

int nx_participation_embed(struct nx_bytes model, struct nx_bytes json, struct nx_buffer *out,
                           struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer text = {0}, header = {0};
  size_t size;
  int r = nx_participation_header_bytes(model, &size, err);
  const char *old = (const char *)model.data + 8;
  if (r < 0 || (r = nx_buffer_append(&text, json.data, json.size, err)) < 0 ||
      (r = nx_buffer_append(&text, "", 1, err)) < 0 ||
      (r = nx_buffer_append(&header, BEGIN KEY, sizeof BEGIN KEY - 1, err)) < 0 ||
      (r = nx_json_append_string(&header, (const char *)text.data, err)) < 0)
    return r;
  bool empty = old[sizeof BEGIN - 1] == '}';
  if ((!empty && (r = nx_buffer_append(&header, ",", 1, err)) < 0) ||
      (r = nx_buffer_append(&header, old + sizeof BEGIN - 1, size - (sizeof BEGIN - 1), err)) < 0)
    return r;
  while (r == 0 && header.size % 8)
    r = nx_buffer_append(&header, " ", 1, err);
  if (r == 0 && header.size > NX_SAFETENSORS_HEADER_CAP)
    r = nx_fail(err, NX_E_LIMIT, "the participation is too large for the model's header");
  if (r < 0 || (r = nx_buffer_append_u64(out, header.size, err)) < 0 ||
      (r = nx_buffer_append(out, header.data, header.size, err)) < 0)
    return r;
  return nx_buffer_append(out, old + size, model.size - 8 - size, err);
}
