#include "node/session/proposal.h"

#include "common/file.h"
#include "proto/codec/codec_round.h"
#include "proto/codec/codec_session.h"

void nx_proposal_finish(struct nx_proposal *proposal) {
  nx_arena_destroy(proposal->arena);
  *proposal = (struct nx_proposal){0};
}

static int check(const struct nx_pinned *pinned, struct nx_bytes bytes, struct nx_proposal *out,
                 struct nx_error *err) {
  struct nx_manifest_revision revision;
  int r = nx_arena_create(NX_MANIFEST_CHAIN_ARENA, &out->arena, err);
  if (r == 0)
    r = nx_manifest_revision_decode(bytes, out->arena, &revision, err);
  if (r == 0)
    r = nx_verify(&pinned->manifest.coordinator, NX_MANIFEST_SIGNED_AS, revision.manifest,
                  &revision.signature, err);
  if (r == 0)
    r = nx_manifest_decode(revision.manifest, out->arena, &out->next, err);
  if (r == 0)
    r = nx_manifest_check_follows(&pinned->manifest, &pinned->hash, &out->next, err);
  if (r == 0)
    out->hash = nx_sha256(revision.manifest.data, revision.manifest.size);
  return r;
}

int nx_proposal_check(const struct nx_pinned *pinned, struct nx_bytes bytes,
                      struct nx_proposal *out, struct nx_error *err) {
  *out = (struct nx_proposal){0};
  int r = check(pinned, bytes, out, err);
  if (r < 0)
    nx_proposal_finish(out);
  return r < 0 ? nx_error_prefix(err, r, "the proposed list of members") : 0;
}

int nx_proposal_load(const char *path, const struct nx_pinned *pinned, struct nx_proposal *out,
                     struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer bytes = {0};
  int r = nx_file_read(path, 2 * NX_MANIFEST_CAP, &bytes, err);
  return r < 0 ? r : nx_proposal_check(pinned, nx_buffer_view(&bytes), out, err);
}

int nx_proposal_answer(const struct nx_proposal *proposal, const struct nx_identity *identity,
                       uint32_t member, bool approve, struct nx_buffer *out, struct nx_error *err) {
  uint8_t statement[NX_MEMBERS_STATEMENT_SIZE];
  nx_manifest_statement(&proposal->next, &proposal->hash, statement);
  return nx_signed_message_make(identity, member,
                                approve ? NX_MESSAGE_MANIFEST_APPROVE : NX_MESSAGE_MANIFEST_REFUSE,
                                nx_bytes(statement, sizeof statement), nx_bytes("", 0), out, err);
}
