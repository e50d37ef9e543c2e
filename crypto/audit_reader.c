#include "crypto/audit_reader.h"

#include <stdlib.h>

#include "crypto/audit_format.h"
#include "crypto/audit_stream.h"

struct nx_audit_reader {
  struct nx_stream stream;
  uint64_t next; /* sequence the next entry must have */
};

static int check_magic(struct nx_stream *stream, const char *path, struct nx_error *err) {
  struct nx_bytes magic;
  int r = nx_stream_take(stream, NX_AUDIT_MAGIC_SIZE, &magic, err);
  if (r < 0)
    return r;
  if (r || memcmp(magic.data, NX_AUDIT_MAGIC, NX_AUDIT_MAGIC_SIZE))
    return nx_fail(err, NX_E_FORMAT, "%s does not begin as an audit log", path);
  return 0;
}

int nx_audit_reader_open(const char *log, struct nx_audit_reader **reader_out,
                         struct nx_error *err) {
  struct nx_audit_paths paths;
  _cleanup_(nx_audit_reader_closep) struct nx_audit_reader *reader = calloc(1, sizeof *reader);
  if (!reader)
    return nx_fail(err, NX_E_NOMEM, "out of memory to read an audit log");
  reader->stream.fd = -1;
  int r = nx_audit_paths(log, &paths, err);
  if (r == 0)
    r = nx_stream_open(&reader->stream, paths.entries, 4 + NX_AUDIT_ENTRY_CAP + NX_AUDIT_CHECK_SIZE,
                       err);
  if (r == 0)
    r = check_magic(&reader->stream, paths.entries, err);
  if (r == 0)
    *reader_out = nx_steal(&reader);
  return r;
}

static int check_entry(struct nx_audit_reader *reader, struct nx_bytes body, const uint8_t *check,
                       struct nx_audit_entry *entry, struct nx_error *err) {
  int r = nx_audit_entry_parse(body, entry, err);
  if (r < 0)
    return r;
  if (memcmp(check, entry->leaf.bytes, NX_AUDIT_CHECK_SIZE))
    return nx_fail(err, NX_E_FORMAT, "its bytes do not fit its checksum");
  if (entry->sequence != reader->next)
    return nx_fail(err, NX_E_FORMAT, "it says it is entry %llu",
                   (unsigned long long)entry->sequence);
  return 0;
}

int nx_audit_reader_next(struct nx_audit_reader *reader, struct nx_audit_entry *entry_out,
                         struct nx_error *err) {
  struct nx_stream *stream = &reader->stream;
  const struct nx_stream before = *stream;
  struct nx_bytes body;
  const uint8_t *check;
  int r = nx_stream_record(stream, NX_AUDIT_ENTRY_CAP, NX_AUDIT_CHECK_SIZE, &body, &check, err);
  if (r == NX_STREAM_END || r == NX_STREAM_TORN)
    return r == NX_STREAM_END ? NX_AUDIT_END : NX_AUDIT_TORN;
  if (r == 0)
    r = check_entry(reader, body, check, entry_out, err);
  if (r < 0) {
    stream->offset = before.offset;
    return nx_error_prefix(err, r, "entry %llu (byte %llu)", (unsigned long long)reader->next,
                           (unsigned long long)before.offset);
  }
  reader->next++;
  return 0;
}

bool nx_audit_is_named(struct nx_bytes name, const char *text) {
  return name.size == strlen(text) && !memcmp(name.data, text, name.size);
}

const struct nx_audit_value *nx_audit_entry_field(const struct nx_audit_entry *entry,
                                                  const char *name, enum nx_audit_type type) {
  for (size_t i = 0; i < entry->n_fields; i++)
    if (entry->fields[i].type == type && nx_audit_is_named(entry->fields[i].name, name))
      return &entry->fields[i];
  return NULL;
}

uint64_t nx_audit_reader_offset(const struct nx_audit_reader *reader) {
  return reader->stream.offset;
}

void nx_audit_reader_close(struct nx_audit_reader *reader) {
  if (!reader)
    return;
  nx_stream_finish(&reader->stream);
  free(reader);
}
