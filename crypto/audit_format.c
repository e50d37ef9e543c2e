#include "crypto/audit_format.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "crypto/merkle.h"

#define KEY_PREFIX "neurox-audit-key-1 "

int nx_audit_paths(const char *log, struct nx_audit_paths *paths_out, struct nx_error *err) {
  static const char name[] = "/entries.log";
  struct stat status;
  char folder[NX_PATH_SIZE];
  if (stat(log, &status))
    return nx_fail_errno(err, errno, "open %s", log);
  size_t n = strlen(log), tail = sizeof name - 1;
  if (n >= sizeof folder)
    return nx_fail(err, NX_E_LIMIT, "path is too long: %.64s…", log);
  memcpy(folder, log, n + 1);
  if (!S_ISDIR(status.st_mode)) {
    if (n > tail && !strcmp(log + n - tail, name))
      folder[n - tail] = 0;
    else if (!strcmp(log, name + 1))
      strcpy(folder, ".");
    else
      return nx_fail(err, NX_E_INVALID, "%s is no audit log: name its folder or its entries.log",
                     log);
  }
  int r = nx_path_join(paths_out->entries, folder, "entries.log", err);
  if (r == 0)
    r = nx_path_join(paths_out->checkpoints, folder, "checkpoints.log", err);
  if (r == 0)
    r = nx_path_join(paths_out->key, folder, "public.key", err);
  return r;
}

bool nx_audit_is_name(struct nx_bytes name) {
  for (size_t i = 0; i < name.size; i++)
    if (name.data[i] <= ' ' || name.data[i] > '~')
      return false;
  return name.size >= 1 && name.size <= NX_AUDIT_NAME_MAX;
}

bool nx_audit_is_origin(struct nx_bytes origin) {
  for (size_t i = 0; i < origin.size; i++)
    if (origin.data[i] < ' ' || origin.data[i] == 0x7f)
      return false;
  return origin.size >= 1 && origin.size <= NX_AUDIT_NAME_MAX;
}

static int append_u16(struct nx_buffer *out, size_t value, struct nx_error *err) {
  uint8_t le[2] = {(uint8_t)value, (uint8_t)(value >> 8)};
  return nx_buffer_append(out, le, 2, err);
}

static int append_name(struct nx_buffer *out, const char *name, struct nx_error *err) {
  struct nx_bytes bytes = nx_bytes(name, strlen(name));
  if (!nx_audit_is_name(bytes))
    return nx_fail(err, NX_E_INVALID,
                   "audit name \"%.40s\": 1 to %d printable ASCII characters without spaces", name,
                   NX_AUDIT_NAME_MAX);
  int r = append_u16(out, bytes.size, err);
  return r < 0 ? r : nx_buffer_append(out, bytes.data, bytes.size, err);
}

static int append_sized(struct nx_buffer *out, struct nx_bytes bytes, struct nx_error *err) {
  if (bytes.size > NX_AUDIT_ENTRY_CAP)
    return nx_fail(err, NX_E_LIMIT, "audit field of %zu bytes", bytes.size);
  int r = nx_buffer_append_u32(out, (uint32_t)bytes.size, err);
  return r < 0 ? r : nx_buffer_append(out, bytes.data, bytes.size, err);
}

static int append_field(struct nx_buffer *out, const struct nx_audit_field *field,
                        struct nx_error *err) {
  uint8_t type = (uint8_t)field->type;
  int r = nx_buffer_append(out, &type, 1, err);
  if (r == 0)
    r = append_name(out, field->name, err);
  if (r < 0)
    return r;
  switch (field->type) {
  case NX_AUDIT_STRING:
    return append_sized(out, nx_bytes(field->string, strlen(field->string)), err);
  case NX_AUDIT_U64:
    return nx_buffer_append_u64(out, field->u64, err);
  case NX_AUDIT_I64:
    return nx_buffer_append_u64(out, (uint64_t)field->i64, err);
  case NX_AUDIT_BYTES:
    return append_sized(out, field->bytes, err);
  }
  return nx_fail(err, NX_E_INVALID, "audit field \"%s\" is of no known type", field->name);
}

int nx_audit_entry_write(const char *kind, const struct nx_audit_field *fields, size_t n_fields,
                         struct nx_buffer *out, struct nx_error *err) {
  static const uint8_t head[4 + 1 + 8 + 8] = {[4] = NX_AUDIT_VERSION};
  size_t begin = out->size;
  uint8_t count = (uint8_t)n_fields;
  if (n_fields > NX_AUDIT_FIELDS_MAX)
    return nx_fail(err, NX_E_INVALID, "audit entry of %zu fields: at most %d", n_fields,
                   NX_AUDIT_FIELDS_MAX);
  int r = nx_buffer_append(out, head, sizeof head, err);
  if (r == 0)
    r = append_name(out, kind, err);
  if (r == 0)
    r = nx_buffer_append(out, &count, 1, err);
  for (size_t i = 0; r == 0 && i < n_fields; i++)
    r = append_field(out, &fields[i], err);
  if (r < 0)
    return r;
  if (out->size - begin - 4 > NX_AUDIT_ENTRY_CAP)
    return nx_fail(err, NX_E_LIMIT, "audit entry of %zu bytes: at most %u", out->size - begin - 4,
                   NX_AUDIT_ENTRY_CAP);
  nx_store_le32(out->data + begin, (uint32_t)(out->size - begin - 4));
  return 0;
}

void nx_audit_entry_stamp(uint8_t *framed, uint64_t sequence, int64_t unix_ns) {
  nx_store_le64(framed + 5, sequence);
  nx_store_le64(framed + 13, (uint64_t)unix_ns);
}

static struct nx_bytes take_name(struct nx_reader *reader) {
  struct nx_bytes size = nx_reader_take(reader, 2);
  return nx_reader_take(reader, reader->failed ? 0 : (size_t)(size.data[0] | size.data[1] << 8));
}

static uint8_t take_u8(struct nx_reader *reader) {
  struct nx_bytes byte = nx_reader_take(reader, 1);
  return reader->failed ? 0 : byte.data[0];
}

static bool take_field(struct nx_reader *reader, struct nx_audit_value *value) {
  *value = (struct nx_audit_value){.type = take_u8(reader)};
  value->name = take_name(reader);
  if (value->type == NX_AUDIT_U64 || value->type == NX_AUDIT_I64)
    value->number = nx_reader_u64(reader);
  else if (value->type == NX_AUDIT_STRING || value->type == NX_AUDIT_BYTES)
    value->bytes = nx_reader_take(reader, nx_reader_u32(reader));
  else
    return false;
  return !reader->failed && nx_audit_is_name(value->name);
}

int nx_audit_entry_parse(struct nx_bytes body, struct nx_audit_entry *entry_out,
                         struct nx_error *err) {
  struct nx_reader reader = nx_reader(body);
  uint8_t version = take_u8(&reader);
  if (version != NX_AUDIT_VERSION)
    return nx_fail(err, NX_E_FORMAT, "entry format %u is not known here", version);
  entry_out->sequence = nx_reader_u64(&reader);
  entry_out->unix_ns = (int64_t)nx_reader_u64(&reader);
  entry_out->kind = take_name(&reader);
  entry_out->n_fields = take_u8(&reader);
  if (reader.failed || !nx_audit_is_name(entry_out->kind))
    return nx_fail(err, NX_E_FORMAT, "the entry's head is damaged");
  if (entry_out->n_fields > NX_AUDIT_FIELDS_MAX)
    return nx_fail(err, NX_E_FORMAT, "the entry claims %zu fields", entry_out->n_fields);
  for (size_t i = 0; i < entry_out->n_fields; i++)
    if (!take_field(&reader, &entry_out->fields[i]))
      return nx_fail(err, NX_E_FORMAT, "field %zu of the entry is damaged", i);
  if (reader.rest.size)
    return nx_fail(err, NX_E_FORMAT, "%zu bytes are left over in the entry", reader.rest.size);
  entry_out->leaf = nx_merkle_leaf(body);
  return 0;
}

int nx_audit_checkpoint_write(const struct nx_audit_checkpoint *checkpoint,
                              const struct nx_identity *identity, struct nx_buffer *out,
                              struct nx_error *err) {
  static const uint8_t head[5] = {[4] = NX_AUDIT_VERSION};
  struct nx_signature signature;
  size_t begin = out->size;
  int r = nx_buffer_append(out, head, sizeof head, err);
  if (r == 0)
    r = nx_buffer_append_u64(out, checkpoint->size, err);
  if (r == 0)
    r = nx_buffer_append(out, checkpoint->root.bytes, NX_HASH_SIZE, err);
  if (r == 0)
    r = nx_buffer_append_u64(out, (uint64_t)checkpoint->unix_ns, err);
  if (r == 0)
    r = append_u16(out, strlen(checkpoint->origin), err);
  if (r == 0)
    r = nx_buffer_append(out, checkpoint->origin, strlen(checkpoint->origin), err);
  if (r < 0)
    return r;
  struct nx_bytes body = nx_bytes(out->data + begin + 4, out->size - begin - 4);
  nx_store_le32(out->data + begin, (uint32_t)body.size);
  r = nx_sign(identity, NX_AUDIT_SIGNED_NAME, body, &signature, err);
  return r < 0 ? r : nx_buffer_append(out, signature.bytes, NX_SIGNATURE_SIZE, err);
}

int nx_audit_checkpoint_parse(struct nx_bytes body, struct nx_audit_checkpoint *checkpoint_out,
                              struct nx_error *err) {
  struct nx_reader reader = nx_reader(body);
  uint8_t version = take_u8(&reader);
  checkpoint_out->size = nx_reader_u64(&reader);
  struct nx_bytes root = nx_reader_take(&reader, NX_HASH_SIZE);
  checkpoint_out->unix_ns = (int64_t)nx_reader_u64(&reader);
  struct nx_bytes origin = take_name(&reader);
  if (reader.failed || version != NX_AUDIT_VERSION || reader.rest.size ||
      !nx_audit_is_origin(origin))
    return nx_fail(err, NX_E_FORMAT, "the checkpoint is damaged");
  memcpy(checkpoint_out->root.bytes, root.data, NX_HASH_SIZE);
  memcpy(checkpoint_out->origin, origin.data, origin.size);
  checkpoint_out->origin[origin.size] = 0;
  return 0;
}

int nx_audit_key_write(const char *path, const char *origin, const struct nx_public_key *key,
                       struct nx_error *err) {
  char hex[2 * NX_PUBLIC_KEY_SIZE + 1], text[NX_AUDIT_NAME_MAX + 128];
  nx_hex_encode(key->bytes, NX_PUBLIC_KEY_SIZE, hex);
  int n = snprintf(text, sizeof text, KEY_PREFIX "%s %s\n", origin, hex);
  return nx_file_create(path, nx_bytes(text, (size_t)n), 0644, err);
}

int nx_audit_key_read(const char *path, char origin_out[NX_AUDIT_NAME_MAX + 1],
                      struct nx_public_key *key_out, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer file = {0};
  int r = nx_file_read(path, NX_AUDIT_NAME_MAX + 128, &file, err);
  if (r == 0)
    r = nx_buffer_append(&file, "", 1, err);
  if (r < 0)
    return r;
  char *text = (char *)file.data, *origin = text + sizeof KEY_PREFIX - 1;
  char *space = strncmp(text, KEY_PREFIX, sizeof KEY_PREFIX - 1) ? NULL : strrchr(origin, ' ');
  char *end = space ? strchr(space, '\n') : NULL;
  if (!end || end[1])
    return nx_fail(err, NX_E_FORMAT, "%s is no audit key file", path);
  *space = *end = 0;
  if (!nx_audit_is_origin(nx_bytes(origin, strlen(origin))))
    return nx_fail(err, NX_E_FORMAT, "%s names no origin", path);
  strcpy(origin_out, origin);
  r = nx_hex_decode(space + 1, key_out->bytes, NX_PUBLIC_KEY_SIZE, err);
  return r < 0 ? nx_error_prefix(err, r, "%s", path) : 0;
}
