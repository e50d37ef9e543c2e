#include "proto/codec/codec_manifest.h"

#include "crypto/threshold.h"
#include "manifest.pb-c.h"
#include "proto/codec/codec_members.h"
#include "proto/codec/codec_session.h"

/* Two members that share a key or a name would be one member voting twice. */
static int check_distinct(const struct nx_manifest_member *members, size_t n, int code,
                          struct nx_error *err) {
  for (size_t i = 0; i < n; i++)
    for (size_t k = i + 1; k < n; k++)
      if (!strcmp(members[i].name, members[k].name) ||
          !memcmp(&members[i].identity, &members[k].identity, sizeof members[i].identity) ||
          nx_hash_equal(&members[i].spki, &members[k].spki))
        return nx_fail(err, code, "manifest: members %u and %u share a name or a key",
                       members[i].id, members[k].id);
  return 0;
}

static int check(const struct nx_manifest *m, int code, struct nx_error *err) {
  if (m->n_members < NX_MEMBERS_MIN || m->n_members > NX_MANIFEST_MEMBERS)
    return nx_fail(err, code, "manifest: %zu members; a federation has %u to %d", m->n_members,
                   NX_MEMBERS_MIN, NX_MANIFEST_MEMBERS);
  for (size_t i = 0; i < m->n_members; i++)
    if (m->members[i].id < 1 || m->members[i].id > 255 || !m->members[i].name[0] ||
        (i && m->members[i].id <= m->members[i - 1].id))
      return nx_fail(err, code, "manifest: members are not in order of id");
  if ((m->revision == 0) != nx_hash_is_zero(&m->previous))
    return nx_fail(err, code, "manifest: revision %llu %s", (unsigned long long)m->revision,
                   m->revision ? "names none that it replaces" : "replaces another");
  return check_distinct(m->members, m->n_members, code, err);
}

static int check_texts(const struct nx_manifest *m, struct nx_error *err) {
  int r = nx_codec_check_text(m->name, sizeof m->name, "manifest: name", err);
  for (size_t i = 0; i < m->n_members && r == 0; i++)
    r = nx_codec_check_text(m->members[i].name, sizeof m->members[i].name,
                            "manifest: a member's name", err);
  return r;
}

/* protobuf-c takes texts as char *, and only reads them when it packs. */
static char *text_field(const char *text) {
  return (char *)(uintptr_t)text;
}

int nx_manifest_encode(const struct nx_manifest *m, struct nx_buffer *out, struct nx_error *err) {
  Neurox__V1__Manifest wire = NEUROX__V1__MANIFEST__INIT;
  Neurox__V1__ManifestMember items[NX_MANIFEST_MEMBERS], *pointers[NX_MANIFEST_MEMBERS];
  int r = check(m, NX_E_INVALID, err);
  if (r < 0 || (r = check_texts(m, err)) < 0)
    return r;
  for (size_t i = 0; i < m->n_members; i++) {
    const struct nx_manifest_member *member = &m->members[i];
    items[i] = (Neurox__V1__ManifestMember)NEUROX__V1__MANIFEST_MEMBER__INIT;
    items[i].id = member->id;
    items[i].name = text_field(member->name);
    items[i].identity = nx_codec_field(&member->identity, sizeof member->identity);
    items[i].spki = nx_codec_field(&member->spki, sizeof member->spki);
    pointers[i] = &items[i];
  }
  wire.version = NX_MANIFEST_VERSION;
  wire.federation = nx_codec_field(m->federation, sizeof m->federation);
  wire.name = text_field(m->name);
  wire.coordinator = nx_codec_field(&m->coordinator, sizeof m->coordinator);
  wire.coordinator_spki = nx_codec_field(&m->coordinator_spki, sizeof m->coordinator_spki);
  wire.sealed = m->sealed;
  wire.revision = m->revision;
  wire.previous = nx_codec_hash_field(&m->previous);
  wire.members = pointers;
  wire.n_members = m->n_members;
  return nx_codec_pack(&wire.base, out, err);
}

static int read_member(const Neurox__V1__ManifestMember *wire, struct nx_manifest_member *out,
                       struct nx_error *err) {
  out->id = wire->id;
  int r = nx_codec_text(wire->name, out->name, sizeof out->name, "manifest: a member's name", err);
  if (r == 0)
    r = nx_codec_fixed(wire->identity, &out->identity, sizeof out->identity,
                       "manifest: a member's identity key", err);
  return r < 0 ? r
               : nx_codec_fixed(wire->spki, &out->spki, sizeof out->spki,
                                "manifest: a member's TLS key", err);
}

static int read_head(const Neurox__V1__Manifest *wire, struct nx_manifest *out,
                     struct nx_error *err) {
  if (wire->version != NX_MANIFEST_VERSION)
    return nx_fail(err, NX_E_UNSUPPORTED,
                   "manifest of version %u, this program knows %u: update this program",
                   wire->version, NX_MANIFEST_VERSION);
  int r = nx_codec_fixed(wire->federation, out->federation, sizeof out->federation,
                         "manifest: federation", err);
  if (r == 0)
    r = nx_codec_text(wire->name, out->name, sizeof out->name, "manifest: name", err);
  if (r == 0)
    r = nx_codec_fixed(wire->coordinator, &out->coordinator, sizeof out->coordinator,
                       "manifest: the coordinator's identity key", err);
  if (r == 0)
    r = nx_codec_hash(wire->previous, &out->previous, "manifest: the one it replaces", err);
  return r < 0 ? r
               : nx_codec_fixed(wire->coordinator_spki, &out->coordinator_spki,
                                sizeof out->coordinator_spki, "manifest: the coordinator's TLS key",
                                err);
}

int nx_manifest_decode(struct nx_bytes bytes, struct nx_arena *arena, struct nx_manifest *out,
                       struct nx_error *err) {
  Neurox__V1__Manifest *wire;
  int r = nx_wire_unpack(&neurox__v1__manifest__descriptor, "manifest", bytes, NX_MANIFEST_CAP,
                         arena, &wire, err);
  if (r < 0)
    return r;
  *out = (struct nx_manifest){
      .sealed = wire->sealed, .revision = wire->revision, .n_members = wire->n_members};
  if (wire->n_members > NX_MANIFEST_MEMBERS)
    return check(out, NX_E_PROTOCOL, err);
  struct nx_manifest_member *members = nx_arena_alloc(arena, wire->n_members + 1, sizeof *members);
  if (!members)
    return nx_fail(err, NX_E_NOMEM, "manifest: out of memory");
  out->members = members;
  r = read_head(wire, out, err);
  for (size_t i = 0; i < wire->n_members && r == 0; i++)
    r = read_member(wire->members[i], &members[i], err);
  return r < 0 ? r : check(out, NX_E_PROTOCOL, err);
}

/* --- a new key -------------------------------------------------------------------------------- */

#define PROOF_SIZE (4 + NX_PUBLIC_KEY_SIZE)

static void proof_of(uint32_t member, const struct nx_public_key *present,
                     uint8_t out[PROOF_SIZE]) {
  nx_store_le32(out, member);
  memcpy(out + 4, present->bytes, sizeof present->bytes);
}

int nx_new_key_make(const struct nx_identity *identity, uint32_t member,
                    const struct nx_public_key *present, struct nx_buffer *out,
                    struct nx_error *err) {
  Neurox__V1__NewKey wire = NEUROX__V1__NEW_KEY__INIT;
  const struct nx_public_key *key = nx_identity_public(identity);
  uint8_t proof[PROOF_SIZE];
  struct nx_signature signature;
  proof_of(member, present, proof);
  int r = nx_sign(identity, NX_NEW_KEY_PROOF, nx_bytes(proof, sizeof proof), &signature, err);
  wire.identity = nx_codec_field(key, sizeof *key);
  wire.proof = nx_codec_field(&signature, sizeof signature);
  return r < 0 ? r : nx_codec_pack(&wire.base, out, err);
}

int nx_new_key_read(struct nx_bytes body, uint32_t member, const struct nx_public_key *present,
                    struct nx_arena *arena, struct nx_new_key *out, struct nx_error *err) {
  Neurox__V1__NewKey *wire;
  uint8_t proof[PROOF_SIZE];
  int r =
      nx_wire_unpack(&neurox__v1__new_key__descriptor, "new key", body, 1024, arena, &wire, err);
  if (r == 0)
    r = nx_codec_fixed(wire->identity, &out->identity, sizeof out->identity, "new key", err);
  if (r == 0)
    r = nx_codec_fixed(wire->proof, &out->proof, sizeof out->proof, "new key: proof", err);
  if (r < 0)
    return r;
  proof_of(member, present, proof);
  return nx_verify(&out->identity, NX_NEW_KEY_PROOF, nx_bytes(proof, sizeof proof), &out->proof,
                   err);
}
