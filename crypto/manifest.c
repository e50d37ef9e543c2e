#include "crypto/manifest.h"

#include <string.h>

#define MAGIC "NXMANIF1"
#define MAGIC_SIZE 8

/* 1..64 bytes that cannot play tricks on a terminal. */
static bool is_name(const char *text, size_t size) {
  if (!size || size >= NX_MANIFEST_NAME_SIZE)
    return false;
  for (size_t i = 0; i < size; i++)
    if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
      return false;
  return true;
}

/* Ids ascend and no two members share a name or a key. */
static int check(const struct nx_manifest *m, int code, struct nx_error *err) {
  if (!is_name(m->name, strnlen(m->name, sizeof m->name)))
    return nx_fail(err, code, "manifest: the federation's name must have 1 to 64 characters");
  if (!m->revision || !m->n_members || m->n_members > NX_MEMBERS_MAX)
    return nx_fail(err, code, "manifest: revision %llu with %zu members is not possible",
                   (unsigned long long)m->revision, m->n_members);
  for (size_t i = 0; i < m->n_members; i++) {
    const struct nx_manifest_member *a = &m->members[i];
    if (a->id < 1 || a->id > NX_MEMBERS_MAX || (i && a->id <= m->members[i - 1].id))
      return nx_fail(err, code, "manifest: member ids must ascend within 1..255");
    if (!is_name(a->name, strnlen(a->name, sizeof a->name)))
      return nx_fail(err, code, "manifest: member %u has no proper name", a->id);
    for (size_t j = 0; j < i; j++)
      if (!strcmp(a->name, m->members[j].name) ||
          !memcmp(&a->key, &m->members[j].key, sizeof a->key) ||
          nx_hash_equal(&a->spki, &m->members[j].spki))
        return nx_fail(err, code, "manifest: members %u and %u share a name or a key",
                       m->members[j].id, a->id);
  }
  return 0;
}

static int put(struct nx_buffer *out, const void *data, size_t size, struct nx_error *err) {
  return nx_buffer_append(out, data, size, err);
}

static int put_name(struct nx_buffer *out, const char *name, struct nx_error *err) {
  int r = nx_buffer_append_u32(out, (uint32_t)strlen(name), err);
  return r < 0 ? r : put(out, name, strlen(name), err);
}

static int put_member(struct nx_buffer *out, const struct nx_manifest_member *member,
                      struct nx_error *err) {
  int r = nx_buffer_append_u32(out, member->id, err);
  if (r == 0)
    r = put_name(out, member->name, err);
  if (r == 0)
    r = put(out, member->key.bytes, sizeof member->key.bytes, err);
  if (r == 0)
    r = put(out, member->spki.bytes, sizeof member->spki.bytes, err);
  return r;
}

int nx_manifest_encode(const struct nx_manifest *m, struct nx_buffer *out, struct nx_error *err) {
  int r = check(m, NX_E_INVALID, err);
  if (r == 0)
    r = put(out, MAGIC, MAGIC_SIZE, err);
  if (r == 0)
    r = put(out, m->federation, sizeof m->federation, err);
  if (r == 0)
    r = put_name(out, m->name, err);
  if (r == 0)
    r = nx_buffer_append_u64(out, m->revision, err);
  if (r == 0)
    r = put(out, m->coordinator_key.bytes, sizeof m->coordinator_key.bytes, err);
  if (r == 0)
    r = put(out, m->coordinator_spki.bytes, sizeof m->coordinator_spki.bytes, err);
  if (r == 0)
    r = nx_buffer_append_u32(out, (uint32_t)m->n_members, err);
  for (size_t i = 0; r == 0 && i < m->n_members; i++)
    r = put_member(out, &m->members[i], err);
  return r;
}

static void take(struct nx_reader *reader, void *out, size_t size) {
  struct nx_bytes bytes = nx_reader_take(reader, size);
  if (bytes.data)
    memcpy(out, bytes.data, size);
}

static void take_name(struct nx_reader *reader, char out[NX_MANIFEST_NAME_SIZE]) {
  uint32_t size = nx_reader_u32(reader);
  if (size >= NX_MANIFEST_NAME_SIZE) {
    reader->failed = true;
    return;
  }
  take(reader, out, size);
  if (!reader->failed && memchr(out, 0, size))
    reader->failed = true;
}

int nx_manifest_decode(struct nx_bytes bytes, struct nx_manifest *m, struct nx_error *err) {
  struct nx_reader reader = nx_reader(bytes);
  char magic[MAGIC_SIZE] = {0};
  *m = (struct nx_manifest){0};
  take(&reader, magic, sizeof magic);
  if (reader.failed || memcmp(magic, MAGIC, sizeof magic))
    return nx_fail(err, NX_E_FORMAT, "manifest: this is none, or of another version");
  take(&reader, m->federation, sizeof m->federation);
  take_name(&reader, m->name);
  m->revision = nx_reader_u64(&reader);
  take(&reader, m->coordinator_key.bytes, sizeof m->coordinator_key.bytes);
  take(&reader, m->coordinator_spki.bytes, sizeof m->coordinator_spki.bytes);
  m->n_members = nx_reader_u32(&reader);
  for (size_t i = 0; !reader.failed && i < m->n_members && i < NX_MEMBERS_MAX; i++) {
    m->members[i].id = nx_reader_u32(&reader);
    take_name(&reader, m->members[i].name);
    take(&reader, m->members[i].key.bytes, sizeof m->members[i].key.bytes);
    take(&reader, m->members[i].spki.bytes, sizeof m->members[i].spki.bytes);
  }
  if (reader.failed || reader.rest.size)
    return nx_fail(err, NX_E_FORMAT, "manifest: truncated, or something is left over");
  return check(m, NX_E_FORMAT, err);
}

int nx_manifest_verify(const struct nx_manifest *manifest, struct nx_bytes bytes,
                       const struct nx_signature *signature, struct nx_error *err) {
  int r = nx_verify(&manifest->coordinator_key, "manifest", bytes, signature, err);
  return r < 0 ? nx_error_prefix(err, r, "manifest") : 0;
}

const struct nx_manifest_member *nx_manifest_find(const struct nx_manifest *manifest, uint32_t id) {
  for (size_t i = 0; i < manifest->n_members; i++)
    if (manifest->members[i].id == id)
      return &manifest->members[i];
  return NULL;
}

void nx_manifest_fingerprint(const struct nx_manifest_member *member,
                             char out[NX_FINGERPRINT_SIZE]) {
  uint8_t keys[NX_PUBLIC_KEY_SIZE + NX_HASH_SIZE];
  memcpy(keys, member->key.bytes, NX_PUBLIC_KEY_SIZE);
  memcpy(keys + NX_PUBLIC_KEY_SIZE, member->spki.bytes, NX_HASH_SIZE);
  nx_fingerprint(nx_bytes(keys, sizeof keys), out);
}
