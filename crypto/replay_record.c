#include "crypto/replay_record.h"

#include "common/size.h"

#define MAGIC "NXREPLY1"
/* An older program refuses what it cannot replay: masks of 16 bits a lane; masks of a form that
 * the two words behind the magic say (cipher, bits). */
#define MAGIC_NARROW "NXREPLY2"
#define MAGIC_FORM "NXREPLY3"
#define MAGIC_SIZE 8
/* Every self key of U3 and every pair of a survivor with one who dropped. */
#define KEYS_MAX (NX_MEMBERS_MAX * NX_MEMBERS_MAX)

static int append_form(struct nx_buffer *out, struct nx_mask_form form, struct nx_error *err) {
  if (form.cipher == NX_MASK_AES_256_CTR)
    return nx_buffer_append(out, form.keystream_bits == 16 ? MAGIC_NARROW : MAGIC, MAGIC_SIZE, err);
  int r = nx_buffer_append(out, MAGIC_FORM, MAGIC_SIZE, err);
  if (r == 0)
    r = nx_buffer_append_u32(out, form.cipher, err);
  return r < 0 ? r : nx_buffer_append_u32(out, form.keystream_bits, err);
}

static int append_head(struct nx_buffer *out, const struct nx_replay *replay,
                       const struct nx_mask *mask, struct nx_error *err) {
  const struct nx_upload_layout *layout = &replay->layout;
  int r = append_form(out, nx_mask_form(mask), err);
  if (r < 0 || (r = nx_buffer_append_u64(out, replay->round, err)) < 0 ||
      (r = nx_buffer_append_u32(out, replay->attempt, err)) < 0 ||
      (r = nx_buffer_append_u32(out, layout->ring_bits, err)) < 0 ||
      (r = nx_buffer_append_u64(out, layout->n_lanes, err)) < 0 ||
      (r = nx_buffer_append_u64(out, layout->n_aux, err)) < 0 ||
      (r = nx_buffer_append(out, replay->t3.bytes, NX_HASH_SIZE, err)) < 0 ||
      (r = nx_buffer_append(out, replay->sum.bytes, NX_HASH_SIZE, err)) < 0)
    return r;
  return 0;
}

static int append_members(struct nx_buffer *out, const struct nx_replay *replay,
                          struct nx_error *err) {
  int r = nx_buffer_append_u32(out, (uint32_t)replay->n_members, err);
  for (size_t i = 0; r == 0 && i < replay->n_members; i++) {
    r = nx_buffer_append_u32(out, replay->members[i].id, err);
    if (r == 0)
      r = nx_buffer_append(out, replay->members[i].root.bytes, NX_HASH_SIZE, err);
  }
  return r;
}

static int append_keys(struct nx_buffer *out, const struct nx_mask *mask, struct nx_error *err) {
  int r = nx_buffer_append_u32(out, (uint32_t)nx_mask_keys(mask), err);
  for (size_t i = 0; r == 0 && i < nx_mask_keys(mask); i++) {
    _cleanup_(nx_secret_wipe) struct nx_secret key;
    bool subtract;
    nx_mask_get_key(mask, i, &key, &subtract);
    r = nx_buffer_append(out, &(uint8_t){subtract}, 1, err);
    if (r == 0)
      r = nx_buffer_append(out, key.bytes, NX_SECRET_SIZE, err);
  }
  return r;
}

int nx_replay_record_write(const struct nx_replay *replay, const struct nx_mask *mask,
                           struct nx_buffer *out, struct nx_error *err) {
  int r = append_head(out, replay, mask, err);
  if (r == 0)
    r = append_members(out, replay, err);
  if (r == 0)
    r = append_keys(out, mask, err);
  if (r < 0)
    return r;
  struct nx_hash check = nx_sha256(out->data, out->size);
  return nx_buffer_append(out, check.bytes, NX_HASH_SIZE, err);
}

static void take_hash(struct nx_reader *reader, struct nx_hash *out) {
  struct nx_bytes bytes = nx_reader_take(reader, NX_HASH_SIZE);
  if (!reader->failed)
    memcpy(out->bytes, bytes.data, NX_HASH_SIZE);
}

static int take_form(struct nx_reader *reader, struct nx_mask_form *out, struct nx_error *err) {
  struct nx_bytes magic = nx_reader_take(reader, MAGIC_SIZE);
  *out = NX_MASK_USUAL;
  if (!reader->failed && !memcmp(magic.data, MAGIC, MAGIC_SIZE))
    return 0;
  if (!reader->failed && !memcmp(magic.data, MAGIC_NARROW, MAGIC_SIZE)) {
    out->keystream_bits = 16;
    return 0;
  }
  if (reader->failed || memcmp(magic.data, MAGIC_FORM, MAGIC_SIZE))
    return nx_fail(err, NX_E_FORMAT, "this is no replay record");
  out->cipher = nx_reader_u32(reader);
  out->keystream_bits = nx_reader_u32(reader);
  if (reader->failed || out->cipher != NX_MASK_AEGIS_256 ||
      (out->keystream_bits != 16 && out->keystream_bits != 32))
    return nx_fail(err, NX_E_FORMAT, "the replay record has masks of an unknown form");
  return 0;
}

static int take_head(struct nx_reader *reader, struct nx_replay *out, struct nx_mask_form *form_out,
                     struct nx_error *err) {
  int r = take_form(reader, form_out, err);
  if (r < 0)
    return r;
  out->round = nx_reader_u64(reader);
  out->attempt = nx_reader_u32(reader);
  out->layout.ring_bits = nx_reader_u32(reader);
  out->layout.n_lanes = nx_reader_u64(reader);
  out->layout.n_aux = nx_reader_u64(reader);
  take_hash(reader, &out->t3);
  take_hash(reader, &out->sum);
  out->n_members = nx_reader_u32(reader);
  if (reader->failed || out->n_members < 1 || out->n_members > NX_MEMBERS_MAX)
    return nx_fail(err, NX_E_FORMAT, "the replay record's head is damaged");
  if (form_out->keystream_bits == 16 && out->layout.ring_bits > 16)
    return nx_fail(err, NX_E_FORMAT, "the replay record has narrow masks in a ring of %u bits",
                   out->layout.ring_bits);
  return nx_upload_layout_check(&out->layout, err);
}

static int take_members(struct nx_reader *reader, struct nx_replay *out, struct nx_error *err) {
  uint32_t previous = 0;
  for (size_t i = 0; i < out->n_members; i++) {
    struct nx_replay_member *member = &out->members[i];
    member->id = nx_reader_u32(reader);
    take_hash(reader, &member->root);
    if (reader->failed || member->id <= previous || member->id > NX_MEMBERS_MAX)
      return nx_fail(err, NX_E_FORMAT, "the replay record's list of members is damaged");
    previous = member->id;
  }
  return 0;
}

static int take_keys(struct nx_reader *reader, struct nx_mask_form form, struct nx_mask **mask_out,
                     struct nx_error *err) {
  uint32_t n = nx_reader_u32(reader);
  if (reader->failed || n > KEYS_MAX || reader->rest.size != (size_t)n * (1 + NX_SECRET_SIZE))
    return nx_fail(err, NX_E_FORMAT, "the replay record's list of mask keys is damaged");
  _cleanup_(nx_mask_destroyp) struct nx_mask *mask = NULL;
  int r = nx_mask_create(n, form, &mask, err);
  for (uint32_t i = 0; r == 0 && i < n; i++) {
    _cleanup_(nx_secret_wipe) struct nx_secret key;
    bool subtract = nx_reader_take(reader, 1).data[0] != 0;
    memcpy(key.bytes, nx_reader_take(reader, NX_SECRET_SIZE).data, NX_SECRET_SIZE);
    r = nx_mask_add_key(mask, &key, subtract, err);
  }
  if (r == 0)
    *mask_out = nx_steal(&mask);
  return r;
}

int nx_replay_record_parse(struct nx_bytes bytes, struct nx_replay *replay_out,
                           struct nx_mask **mask_out, struct nx_error *err) {
  *replay_out = (struct nx_replay){0};
  if (bytes.size < NX_HASH_SIZE)
    return nx_fail(err, NX_E_FORMAT, "the replay record is cut");
  bytes.size -= NX_HASH_SIZE;
  struct nx_hash check = nx_sha256(bytes.data, bytes.size);
  if (memcmp(check.bytes, bytes.data + bytes.size, NX_HASH_SIZE))
    return nx_fail(err, NX_E_FORMAT, "the replay record is damaged: its checksum does not fit");
  struct nx_reader reader = nx_reader(bytes);
  struct nx_mask_form form;
  int r = take_head(&reader, replay_out, &form, err);
  if (r == 0)
    r = take_members(&reader, replay_out, err);
  return r < 0 ? r : take_keys(&reader, form, mask_out, err);
}
