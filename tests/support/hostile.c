/* What makes neurox-node and neurox-coordinator hostile: linked in front of the real program
 * (--wrap), it changes what that says after the honest code has decided to say it, and signs the
 * change. NEUROX_ATTACK names one attack; everything else is the honest program, over real TLS.
 *
 *   node         bad-share bad-release two-votes other-upload flipped-chunk long-upload low-order
 *   coordinator  swapped-key two-sets thin-certificate false-model
 *   either       older: no lie, it speaks the protocol before this one only
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/session/send_upload.h"
#include "node/session/session.h"
#include "proto/codec/codec_round.h"
#include "proto/codec/codec_session.h"

static bool attacks(const char *name) {
  const char *attack = getenv("NEUROX_ATTACK");
  return attack && !strcmp(attack, name);
}

static void must(int r) {
  if (r < 0) {
    fprintf(stderr, "hostile: the attack does not work\n");
    abort();
  }
}

/* Who signs here: seen when it signs first. */
static const struct nx_identity *signing_as;
static uint32_t signing_id;
static struct nx_buffer last_header; /* of an upload: its body */

int __real_nx_signed_message_make(const struct nx_identity *identity, uint32_t signer,
                                  uint32_t type, struct nx_bytes body, struct nx_bytes detached,
                                  struct nx_buffer *out, struct nx_error *err);
int __wrap_nx_signed_message_make(const struct nx_identity *identity, uint32_t signer,
                                  uint32_t type, struct nx_bytes body, struct nx_bytes detached,
                                  struct nx_buffer *out, struct nx_error *err);

/* --- versions ----------------------------------------------------------------------------------
 */

int __real_nx_session_up_encode(const struct nx_session_message *message, struct nx_buffer *out,
                                struct nx_error *err);
int __wrap_nx_session_up_encode(const struct nx_session_message *message, struct nx_buffer *out,
                                struct nx_error *err);
int __wrap_nx_session_up_encode(const struct nx_session_message *message, struct nx_buffer *out,
                                struct nx_error *err) {
  struct nx_session_message said = *message;
  if (said.kind == NX_SESSION_KIND_HELLO && attacks("older"))
    said.hello.newest = 0;
  return __real_nx_session_up_encode(&said, out, err);
}

uint32_t __real_nx_protocol_agree(uint32_t oldest, uint32_t newest);
uint32_t __wrap_nx_protocol_agree(uint32_t oldest, uint32_t newest);
uint32_t __wrap_nx_protocol_agree(uint32_t oldest, uint32_t newest) {
  return __real_nx_protocol_agree(oldest, attacks("older") ? 0 : newest);
}

/* --- bodies --------------------------------------------------------------------------------- */

static void forge_shares(struct nx_bytes body, struct nx_arena *arena, struct nx_buffer *out) {
  struct nx_shares m;
  must(nx_shares_decode(body, arena, &m, NULL));
  ((struct nx_share_commitment *)(uintptr_t)m.commitments)[0].b_share.bytes[0] ^= 1;
  must(nx_shares_encode(&m, out, NULL));
}

static void forge_advert(struct nx_bytes body, struct nx_arena *arena, struct nx_buffer *out) {
  struct nx_advert m;
  must(nx_advert_decode(body, arena, &m, NULL));
  memset(m.s.bytes, 0, sizeof m.s.bytes);
  must(nx_advert_encode(&m, out, NULL));
}

static void forge_release(struct nx_bytes body, struct nx_arena *arena, struct nx_buffer *out) {
  struct nx_release m;
  must(nx_release_decode(body, arena, &m, NULL));
  ((struct nx_released *)(uintptr_t)m.b_shares)[0].secret.bytes[9] ^= 1;
  must(nx_release_encode(&m, out, NULL));
}

static void forge_roster(struct nx_bytes body, struct nx_arena *arena, struct nx_buffer *out) {
  _cleanup_(nx_buffer_finish) struct nx_buffer forged = {0};
  struct nx_roster m;
  struct nx_advert advert;
  must(nx_roster_decode(body, arena, &m, NULL));
  struct nx_signed_body *entry = (struct nx_signed_body *)(uintptr_t)&m.adverts[0];
  must(nx_advert_decode(entry->body, arena, &advert, NULL));
  memset(advert.s.bytes, 9, sizeof advert.s.bytes); /* a key that the coordinator knows */
  must(nx_advert_encode(&advert, &forged, NULL));
  entry->body = nx_buffer_view(&forged);
  must(nx_roster_encode(&m, out, NULL));
}

static void forge_certificate(struct nx_bytes body, struct nx_arena *arena, struct nx_buffer *out) {
  struct nx_vote_certificate m;
  must(nx_vote_certificate_decode(body, arena, &m, NULL));
  m.n = 2; /* t - 1 */
  must(nx_vote_certificate_encode(&m, out, NULL));
}

static void forge_result(struct nx_bytes body, struct nx_arena *arena, struct nx_buffer *out) {
  struct nx_result m;
  must(nx_result_decode(body, arena, &m, NULL));
  m.model.bytes[7] ^= 1;
  must(nx_result_encode(&m, out, NULL));
}

static const struct {
  const char *attack;
  uint32_t type;
  void (*forge)(struct nx_bytes body, struct nx_arena *arena, struct nx_buffer *out);
} forgeries[] = {
    {"bad-share", NX_M3_SHARES, forge_shares},
    {"low-order", NX_M1_ADVERT, forge_advert},
    {"bad-release", NX_M9_RELEASE, forge_release},
    {"swapped-key", NX_M2_ROSTER, forge_roster},
    {"thin-certificate", NX_M8_CERTIFICATE, forge_certificate},
    {"false-model", NX_M10_RESULT, forge_result},
};

int __wrap_nx_signed_message_make(const struct nx_identity *identity, uint32_t signer,
                                  uint32_t type, struct nx_bytes body, struct nx_bytes detached,
                                  struct nx_buffer *out, struct nx_error *err) {
  _cleanup_(nx_arena_destroyp) struct nx_arena *arena = NULL;
  _cleanup_(nx_buffer_finish) struct nx_buffer forged = {0};
  signing_as = identity;
  signing_id = signer;
  if (type == NX_M5_UPLOAD) {
    last_header.size = 0;
    must(nx_buffer_append(&last_header, body.data, body.size, NULL));
  }
  must(nx_arena_create((size_t)64 << 20, &arena, NULL));
  for (size_t i = 0; i < sizeof forgeries / sizeof *forgeries; i++)
    if (forgeries[i].type == type && attacks(forgeries[i].attack)) {
      forgeries[i].forge(body, arena, &forged);
      body = nx_buffer_view(&forged);
    }
  return __real_nx_signed_message_make(identity, signer, type, body, detached, out, err);
}

#ifdef HOSTILE_NODE
/* --- a node's streams --------------------------------------------------------------------------
 */

int __real_nx_session_send(struct nx_session *session, struct nx_bytes message,
                           struct nx_error *err);
int __wrap_nx_session_send(struct nx_session *session, struct nx_bytes message,
                           struct nx_error *err);
int __wrap_nx_session_send(struct nx_session *session, struct nx_bytes message,
                           struct nx_error *err) {
  _cleanup_(nx_arena_destroyp) struct nx_arena *arena = NULL;
  _cleanup_(nx_buffer_finish) struct nx_buffer body = {0}, second = {0};
  struct nx_signed_message said;
  struct nx_vote vote;
  int r = __real_nx_session_send(session, message, err);
  must(nx_arena_create((size_t)64 << 20, &arena, NULL));
  if (r < 0 || !attacks("two-votes") || nx_signed_message_decode(message, arena, &said, NULL) < 0 ||
      said.type != NX_M7_VOTE)
    return r;
  must(nx_vote_decode(said.body, arena, &vote, NULL));
  vote.choice = vote.choice == NX_VOTE_COMMIT ? NX_VOTE_ABORT : NX_VOTE_COMMIT;
  must(nx_vote_encode(&vote, &body, NULL));
  must(__real_nx_signed_message_make(signing_as, signing_id, NX_M7_VOTE, nx_buffer_view(&body),
                                     nx_bytes("", 0), &second, NULL));
  return __real_nx_session_send(session, nx_buffer_view(&second), err);
}

int __real_nx_upload_part_encode(const struct nx_upload_part *m, struct nx_buffer *out,
                                 struct nx_error *err);
int __wrap_nx_upload_part_encode(const struct nx_upload_part *m, struct nx_buffer *out,
                                 struct nx_error *err);
int __wrap_nx_upload_part_encode(const struct nx_upload_part *m, struct nx_buffer *out,
                                 struct nx_error *err) {
  static uint8_t changed[(size_t)2 << 20];
  struct nx_upload_part part = *m;
  if (!m->is_header && m->data.size && m->data.size < sizeof changed / 2 &&
      (attacks("flipped-chunk") || attacks("long-upload"))) {
    memcpy(changed, m->data.data, m->data.size);
    part.data = nx_bytes(changed, m->data.size);
    if (attacks("flipped-chunk"))
      changed[m->data.size / 2] ^= 4;
    else
      part.data.size += 4096;
  }
  return __real_nx_upload_part_encode(&part, out, err);
}

int __real_nx_send_upload(struct nx_rpc_client *client, const struct nx_upload_job *job,
                          struct nx_error *err);
int __wrap_nx_send_upload(struct nx_rpc_client *client, const struct nx_upload_job *job,
                          struct nx_error *err);
/* Once more, under another root. */
int __wrap_nx_send_upload(struct nx_rpc_client *client, const struct nx_upload_job *job,
                          struct nx_error *err) {
  _cleanup_(nx_arena_destroyp) struct nx_arena *arena = NULL;
  _cleanup_(nx_buffer_finish) struct nx_buffer body = {0}, header = {0};
  struct nx_upload_header m;
  struct nx_upload_job again = *job;
  struct nx_error refusal = {0};
  int r = __real_nx_send_upload(client, job, err);
  if (r < 0 || !attacks("other-upload"))
    return r;
  must(nx_arena_create((size_t)1 << 20, &arena, NULL));
  must(nx_upload_header_decode(nx_buffer_view(&last_header), arena, &m, NULL));
  m.root.bytes[0] ^= 1;
  again.root = m.root;
  must(nx_upload_header_encode(&m, &body, NULL));
  must(__real_nx_signed_message_make(signing_as, signing_id, NX_M5_UPLOAD, nx_buffer_view(&body),
                                     nx_bytes("", 0), &header, NULL));
  again.header = nx_buffer_view(&header);
  if (__real_nx_send_upload(client, &again, &refusal) < 0)
    fprintf(stderr, "hostile: the second upload was refused: %s\n", refusal.text);
  else
    fprintf(stderr, "hostile: the second upload was taken\n");
  return r;
}
#else
#include "coordinator/training_run.h"

/* --- a coordinator that tells two stories
 * ------------------------------------------------------------ */

void __real_nx_session_send_signed(void *context, const struct nx_outgoing *outgoing);
void __wrap_nx_session_send_signed(void *context, const struct nx_outgoing *outgoing);
void __wrap_nx_session_send_signed(void *context, const struct nx_outgoing *outgoing) {
  _cleanup_(nx_arena_destroyp) struct nx_arena *arena = NULL;
  _cleanup_(nx_buffer_finish) struct nx_buffer body = {0}, other = {0};
  struct nx_signed_message said;
  struct nx_commit_request m;
  must(nx_arena_create((size_t)64 << 20, &arena, NULL));
  if (!attacks("two-sets") || outgoing->member > 2 ||
      nx_signed_message_decode(outgoing->message, arena, &said, NULL) < 0 ||
      said.type != NX_M6_COMMIT_REQUEST) {
    __real_nx_session_send_signed(context, outgoing);
    return;
  }
  must(nx_commit_request_decode(said.body, arena, &m, NULL));
  m.n--; /* the last member is not in the sum, says it to members 1 and 2 */
  must(nx_commit_request_encode(&m, &body, NULL));
  must(__real_nx_signed_message_make(signing_as, NX_COORDINATOR, NX_M6_COMMIT_REQUEST,
                                     nx_buffer_view(&body), nx_bytes("", 0), &other, NULL));
  __real_nx_session_send_signed(
      context, &(struct nx_outgoing){outgoing->member, nx_buffer_view(&other), NULL});
}
#endif
