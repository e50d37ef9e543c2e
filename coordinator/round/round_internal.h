/* The insides of the round, shared by its files (one a part of the protocol). */
#pragma once

#include <stdlib.h>

#include "common/clock.h"
#include "common/size.h"
#include "coordinator/round/round.h"
#include "proto/codec/round_checks.h"

enum round_state {
  STATE_IDLE,
  STATE_ADVERTS,  /* M0 is out, M1 come in */
  STATE_SHARES,   /* M2, M3 */
  STATE_UPLOADS,  /* M4, M5 and the vectors */
  STATE_VOTES,    /* M6, M7 */
  STATE_RELEASES, /* M8, M9 */
  STATE_UNMASK,   /* the shell sums */
  STATE_SEALS,    /* M10, M11 */
  STATE_ABORTING, /* ABORT votes */
  STATE_FINISHED,
  N_STATES
};

/* What a record is about; the store keeps it beside the record. Every record is a
 * SignedMessage, which says what it is by itself. */
enum round_record {
  RECORD_INVITE = 1,  /* M0 */
  RECORD_ROSTER,      /* M2 */
  RECORD_SHARES,      /* one M3, with its boxes */
  RECORD_BUNDLE,      /* M4 without boxes: U2 is complete */
  RECORD_UPLOAD,      /* one M5 */
  RECORD_COMMIT,      /* M6 */
  RECORD_CERTIFICATE, /* M8 */
  RECORD_RESULT,      /* M10 */
  RECORD_ABORTING     /* the abort request */
};

struct round_peer {
  bool connected, accused;
  bool refused;          /* takes no part */
  bool no_update;        /* will upload nothing, or was started again */
  int64_t awaited_until; /* while not connected */
  int64_t moved;         /* when something of it last did */
  bool still;            /* counts as gone until it moves */
  bool u0, u1, u2, u3;
  struct nx_signed_body advert, shares, upload; /* bodies in the round's arena */
  struct nx_share_box *boxes;                   /* of M3, by receiver, n_boxes */
  size_t n_boxes;
  struct nx_share_commitment *commitments; /* of M3, n_commitments */
  size_t n_commitments;
  struct nx_hash root; /* of the upload */
  bool has_advert, has_shares, has_upload, has_release, has_seal, refused_result;
  uint32_t vote; /* enum nx_vote_choice; 0: none yet */
  struct nx_signature vote_signature;
  struct nx_bytes vote_message; /* to prove a second, different one */
  struct nx_signature bundle_signature; /* of its M4 */
  bool signed_bundle;
  struct nx_bytes seal;         /* its M11 */
};

struct nx_round {
  struct nx_round_config cfg;
  struct nx_round_member named[NX_MEMBERS_MAX];
  struct nx_transcript_member members[NX_MEMBERS_MAX];
  struct nx_check_context context;
  uint32_t cohort[NX_MEMBERS_MAX];
  struct nx_buffer previous_certificate;
  uint32_t threshold;
  enum round_state state;
  struct nx_arena *arena, *scratch;
  struct nx_invite invite;
  struct nx_hash t0, t1, t2, t3;
  struct nx_advert adverts[NX_ID_END];
  bool u1[NX_ID_END], u2[NX_ID_END], u3[NX_ID_END];
  struct round_peer peers[NX_ID_END];
  /* SignedMessages as sent; empty: not yet */
  struct nx_bytes m0, m2, m6, m8, m10, abort_request;
  struct nx_shared *bundled; /* how every M4 begins: U2 and what it signed. NULL: no M4 yet */
  struct nx_secret *released; /* guarded: [dealer][release], threshold shares a dealer */
  size_t n_releases;
  uint8_t holders[NX_MEMBERS_MAX]; /* who made each release */
  struct nx_released *opening;     /* guarded: n_b seeds, then n_s keys */
  size_t n_b, n_s;
  struct nx_hash sum, model;
  uint64_t sum_bytes;
  char reason[NX_REASON_SIZE]; /* why it is aborting */
  int64_t phase_began, phase_ends, next_resend, resend, announced;
};

struct turn {
  struct nx_round *round;
  const struct nx_round_event *event;
  int64_t now;
  struct nx_round_actions *out;
  struct nx_error *err;
  bool again;                       /* what is sent now was sent before */
  struct nx_signed_message message; /* MESSAGE events */
  struct nx_bytes raw;
};

typedef int turn_handler(struct turn *t);

/* round.c: actions and sending */
struct nx_round_action *round_act(struct turn *t, enum nx_round_action_type type);
int round_copy(struct turn *t, struct nx_bytes bytes, struct nx_bytes *out);
int round_note(struct turn *t, const char *kind, uint32_t member, const char *reason);
int round_evidence(struct turn *t, const char *kind, uint32_t member, const char *reason,
                   struct nx_bytes first, struct nx_bytes second);
int round_persist(struct turn *t, enum round_record kind, struct nx_bytes record);
int round_keep(struct turn *t, struct nx_bytes bytes, struct nx_bytes *kept);
int round_make(struct turn *t, uint32_t type, const struct nx_buffer *body, struct nx_bytes *out);
int round_send(struct turn *t, uint32_t member, struct nx_bytes message);
int round_send_bundle(struct turn *t, uint32_t member);
int round_broadcast(struct turn *t, struct nx_bytes message);
/* All that was said so far in this attempt, to one member. */
int round_tell_all(struct turn *t, uint32_t member);
const struct nx_transcript_member *round_member(const struct turn *t, uint32_t id);
void round_enter(struct turn *t, enum round_state state, uint64_t seconds);
/* Does the present phase still wait for this member? */
bool round_awaits(const struct nx_round *round, uint32_t id, int64_t now);
/* Is an answer of this member missing in the present phase? */
bool round_owes_answer(const struct nx_round *round, uint32_t id);
const char *round_state_name(const struct nx_round *round);
size_t round_count(const bool set[NX_ID_END]);

/* round_still.c: who has stood still for too long */
turn_handler round_on_moved;
/* Something of the member moved at that time. */
int round_moves(struct turn *t, uint32_t id, int64_t at);
/* Before the event: we come so late that nobody could have been seen to move. */
void round_forgive(struct turn *t);
/* At a deadline: names those who count as gone from now on. */
int round_judge(struct turn *t);
/* When this member will have stood still for too long; NX_NEVER: it is not asked. */
int64_t round_still_at(const struct nx_round *round, uint32_t id);

/* Every close function ends a phase: the next one, an abort, or the end. */

/* round_gather.c: M0..M4 */
turn_handler round_on_begin, round_on_advert, round_on_shares;
turn_handler round_close_adverts, round_close_shares;
int round_set_invite(struct turn *t);
int round_set_roster(struct turn *t, const struct nx_roster *roster, struct nx_error *why);
int round_take_shares(struct turn *t, uint32_t id, const struct nx_signed_message *message,
                      struct nx_error *why);
/* Given U2: T2, and what all M4 have in common; record_out: the M4 of who has no box, to be freed. */
int round_set_bundles(struct turn *t, struct nx_buffer *record_out);
int round_open_uploads(struct turn *t);

/* round_commit.c: M5..M8 */
turn_handler round_on_uploaded, round_on_vote;
turn_handler round_close_uploads, round_close_votes;
int round_take_upload(struct turn *t, uint32_t id, const struct nx_signed_message *message,
                      struct nx_error *why);
int round_set_commit(struct turn *t);
int round_close_spool(struct turn *t);
int round_certify(struct turn *t, uint32_t choice, struct nx_bytes *certificate_out);
size_t round_votes(const struct nx_round *round, uint32_t choice);

/* round_open.c: M9, unmasking, M10, M11 */
turn_handler round_on_release, round_on_unmasked, round_on_unmask_failed, round_on_seal;
turn_handler round_close_releases, round_close_seals;
int round_begin_releases(struct turn *t);
int round_take_seal(struct nx_round *round, struct nx_bytes raw, struct nx_arena *arena,
                    uint32_t *member_out, struct nx_error *why);

/* round_abort.c: complaints, refusals, ABORT votes, the end */
turn_handler round_on_complaint, round_on_refusal, round_on_abort, round_close_abort;
int round_abort(struct turn *t, const char *reason);
int round_finish(struct turn *t, enum nx_round_outcome outcome, const char *reason);

/* round_restore.c */
turn_handler round_on_restore;
