/* Round: the coordinator's side of one attempt at one secure sum, M0..M11, as a pure state
 * machine. It does no I/O, reads no clock, and draws no randomness: a shell (or tests/sim)
 * feeds it events and carries out the actions it returns, IN ORDER. A record that it wants
 * persisted must be on disk before the next action is carried out.
 *
 *   idle -> adverts -> shares -> uploads -> votes -> releases -> unmask -> seals -> finished
 *               \__________\__________\_______\__ aborting __________________/
 *
 * One object is one attempt. A failed attempt ends in `finished` with an outcome that says
 * whether the next one (attempt + 1, a new object) may reuse the nodes' updates.
 * docs/rounds.md draws every transition; crypto/threshold.h has n_C and t.
 *
 * Owned by one thread. After a negative return the shell stops; RESTORE mends it later. */
#pragma once

#include "common/arena.h"
#include "common/cleanup.h"
#include "common/shared.h"
#include "crypto/mask.h"
#include "proto/codec/codec_round.h"

struct nx_round; /* opaque: holds released shares */

struct nx_round_member {
  uint32_t id;
  char name[65];
  struct nx_public_key key; /* identity, Ed25519 */
  struct nx_hash spki;      /* TLS key */
};

struct nx_round_config {
  uint8_t federation[NX_FEDERATION_ID_SIZE];
  struct nx_hash manifest, plan, model; /* model: what this round starts from */
  struct nx_hash coordinator_spki;
  const struct nx_identity *identity;    /* the coordinator's; outlives the round */
  const struct nx_round_member *members; /* of the manifest, sorted by id; copied */
  size_t n_members;
  const uint32_t *cohort; /* U0, sorted, from nx_cohort_choose(); copied */
  size_t n_cohort;
  uint64_t round;
  uint32_t attempt;
  struct nx_transcript_parameters parameters; /* kind, lanes, ring, quantisation */
  uint32_t minimum_members;                   /* the plan's floor for U0 */
  uint32_t phase_seconds, training_seconds;   /* how long a phase, and the uploads, may take */
  int64_t resend;                             /* ns; asks silent members again. 0: 5 s */
  int64_t lost_grace; /* ns a disconnected member is still waited for. 0: 5 s */
  int64_t stillness;  /* ns within which a member that is waited for must move. 0: never asked */
  /* The M8 that aborted the attempt before, if one did: told to members again before M0, so
   * that one who missed it learns that its update was never opened. Copied; may be empty. */
  struct nx_bytes previous_certificate;
  struct nx_pool *pool; /* for key agreements of many dropouts; may be NULL, outlives the round */
};

/* A copy of cfg; fails where the cohort, the widths or the thresholds cannot hold. */
int nx_round_create(const struct nx_round_config *cfg, struct nx_round **round_out,
                    struct nx_error *err);
void nx_round_destroy(struct nx_round *round); /* wipes; NULL is fine */
NX_DEFINE_CLEANUP(struct nx_round *, nx_round_destroy)

enum nx_round_event_type {
  NX_ROUND_BEGIN,         /* invite; first event unless RESTORE is */
  NX_ROUND_RESTORE,       /* records: all that were persisted for this attempt, in order */
  NX_ROUND_CONNECTED,     /* member, still; also before BEGIN, for those already there */
  NX_ROUND_LOST,          /* member */
  NX_ROUND_MESSAGE,       /* member, message: a SignedMessage from that member's session */
  NX_ROUND_UPLOADED,      /* member, message (its M5 header), bytes and root as received and
                             hashed by the shell; the upload is durable */
  NX_ROUND_UNMASKED,      /* sum, bytes, model: sum and next model are durable */
  NX_ROUND_UNMASK_FAILED, /* reason */
  NX_ROUND_DEADLINE,      /* the time of the last SET_DEADLINE has come */
  NX_ROUND_ABORT,         /* reason: an operator stops, or the shell cannot go on */
  NX_ROUND_MOVED          /* member, at: a counter of its was seen to move then: bytes of an upload,
                             its own word of how far its work is. A message needs none. What is
                             known is told before DEADLINE: that is when stillness is judged */
};

struct nx_round_event {
  enum nx_round_event_type type;
  uint32_t member;
  struct nx_bytes message;
  uint64_t bytes;
  struct nx_hash root, sum, model;
  const struct nx_bytes *records; /* RESTORE */
  size_t n_records;
  const char *reason;
  int64_t at; /* MOVED: monotonic; it may lie back */
  bool still; /* CONNECTED: its line is up, but an attempt before counted it as gone */
};

enum nx_round_outcome {
  NX_ROUND_SEALED = 1,   /* opened, and at least n_C + 1 nodes signed the next model */
  NX_ROUND_UNSEALED,     /* opened, too few signed: stop the run and look at the evidence */
  NX_ROUND_NOT_UPLOADED, /* failed before any M4 was sent: attempt + 1 may follow at once */
  NX_ROUND_ABORTED,      /* ABORT certificate: attempt + 1 may use the same updates */
  NX_ROUND_LOST_ATTEMPT  /* no certificate that it never opens: nodes will retrain */
};

/* A member of U3 with what it signed. */
struct nx_round_upload {
  uint32_t id;
  struct nx_hash root;
};

enum nx_round_action_type {
  NX_ROUND_PERSIST = 1,   /* record (of record_kind): durable before anything that follows */
  NX_ROUND_SEND,          /* member, message; drop it when that member is not connected */
  NX_ROUND_SEND_BUNDLE,   /* member, common: the same with what nx_round_bundle() gives now. An M4
                             grows with the square of the members: n of them are never kept */
  NX_ROUND_SET_DEADLINE,  /* at: replaces the one before; NX_NEVER: none */
  NX_ROUND_OPEN_UPLOADS,  /* t2, bytes each, members (U2): accept streams from now on */
  NX_ROUND_CLOSE_UPLOADS, /* members (U3): keep theirs, drop all others, refuse new ones */
  NX_ROUND_UNMASK,        /* t3, uploads (U3), mask: sum them, apply mask, answer UNMASKED */
  NX_ROUND_EVIDENCE,      /* kind, member accused (0: none), reason, first and second: for
                             the audit log. Not fatal by itself */
  NX_ROUND_NOTE,          /* kind, member, reason: progress for the log and for watch */
  NX_ROUND_FINISHED       /* outcome and all that follows it; nothing happens any more */
};

struct nx_round_action {
  enum nx_round_action_type type;
  uint32_t member;
  uint32_t record_kind;
  struct nx_bytes record, message;
  bool again;               /* SEND: not for the first time; needless while much still waits in
                               that member's line */
  struct nx_shared *common; /* SEND_BUNDLE: how the body of every M4 begins; the round's */
  int64_t at;
  struct nx_hash t2, t3;
  uint64_t bytes;
  const uint32_t *members; /* OPEN_UPLOADS: U2; CLOSE_UPLOADS and FINISHED: U3 */
  size_t n_members;
  const struct nx_round_upload *uploads; /* UNMASK */
  size_t n_uploads;
  struct nx_mask *mask;          /* UNMASK: what to apply to the sum; nx_steal() it to keep it */
  const char *kind;              /* EVIDENCE, NOTE: e.g. "two-roots", "advert" */
  const char *reason;            /* also of FINISHED; "" when there is none */
  struct nx_bytes first, second; /* EVIDENCE: signed messages that prove it; may be empty */
  /* FINISHED */
  enum nx_round_outcome outcome;
  struct nx_hash sum, model;
  const uint32_t *dropped; /* U2 \ U3: their keys were recovered */
  size_t n_dropped;
  const struct nx_bytes *seals; /* encoded SignedMessages M11 that agree with `model` */
  size_t n_seals;
  const uint32_t *accused; /* leave these out of the next attempt */
  size_t n_accused;
  struct nx_bytes certificate; /* ABORTED: the M8 */
};

/* Views inside actions live until the list is reset or finished. */
struct nx_round_actions {
  struct nx_round_action *items;
  size_t n, allocated;
  struct nx_arena *arena;
};
void nx_round_actions_reset(struct nx_round_actions *actions); /* wipes masks not taken */
void nx_round_actions_finish(struct nx_round_actions *actions);

/* Appends to actions (zero-initialised or reset). now: monotonic nanoseconds, at least that
 * of the step before. 0, or NX_E_NOMEM / NX_E_STATE (an event the shell may not send now).
 * What a peer did wrong is never an error here: it becomes EVIDENCE or NOTE. */
int nx_round_step(struct nx_round *round, const struct nx_round_event *event, int64_t now,
                  struct nx_round_actions *actions, struct nx_error *err);

/* The M4 of a member (an encoded SignedMessage; without boxes for who dealt no shares), made anew
 * every time: the same bytes. For SEND_BUNDLE. */
int nx_round_bundle(struct nx_round *round, uint32_t member, struct nx_buffer *out,
                    struct nx_error *err);
/* Of a finished round nothing is kept but what nx_round_check_seal() needs. No step may follow. */
void nx_round_retire(struct nx_round *round);

/* Before a stream is taken: may this member upload what this header (an encoded
 * SignedMessage M5) announces? 0; NX_ROUND_UPLOAD_HELD: it is already here, whole and the
 * same: acknowledge and skip the bytes; NX_ROUND_UPLOAD_OTHER: a second root under the same T2:
 * refuse it, and let the round have it as UPLOADED: it keeps both headers as evidence; NX_E_STATE:
 * not now, or late; NX_E_PROTOCOL or NX_E_CRYPTO: wrong header. */
#define NX_ROUND_UPLOAD_HELD 1
#define NX_ROUND_UPLOAD_OTHER 2
int nx_round_check_upload(const struct nx_round *round, uint32_t member, struct nx_bytes header,
                          struct nx_upload_header *header_out, struct nx_error *err);

/* For watch and status. Views live until the next step. */
struct nx_round_progress {
  uint64_t round;
  uint32_t attempt, kind;
  const char *phase; /* "adverts", "shares", … as drawn above */
  uint32_t n_cohort, n_connected, n_still, n_adverts, n_shares, n_uploads, n_votes, n_releases,
      n_seals;
  uint32_t threshold;
  int64_t phase_ends; /* monotonic */
};
void nx_round_progress(const struct nx_round *round, struct nx_round_progress *out);
/* May late M11 of this finished round still count? Verifies one; 0 or NX_E_PROTOCOL/CRYPTO. */
int nx_round_check_seal(const struct nx_round *round, struct nx_bytes message, uint32_t *member_out,
                        struct nx_error *err);
