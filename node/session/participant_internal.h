/* The insides of the participant, shared by its files (one a phase). */
#pragma once

#include <stdlib.h>

#include "common/clock.h"
#include "common/size.h"
#include "node/session/participant.h"
#include "proto/codec/round_checks.h"

/* Named by what is awaited next. */
enum participant_state {
  STATE_IDLE,
  STATE_CONSIDERING, /* policy's answer to M0 */
  STATE_ROSTER,      /* M2 */
  STATE_BUNDLE,      /* M4 */
  STATE_COMMIT,      /* M6; meanwhile masks and uploads */
  STATE_CERTIFICATE, /* M8 */
  STATE_RESULT,      /* M10 */
  STATE_CHECKING,    /* the shell's verdict on the opened sum */
  N_STATES
};

/* In guarded memory. */
struct participant_secrets {
  struct nx_secret c, s, b;
  struct nx_secret shared[NX_ID_END]; /* X25519(c, c of that member): seals both ways */
  struct nx_secret b_shares[NX_ID_END], s_shares[NX_ID_END]; /* by dealer */
};

#define VOTE_UNKNOWN 255u /* neither COMMIT nor ABORT: no vote is ever sent again */

/* What the journal holds: always what a restart would find. */
struct durable {
  uint64_t last_sealed;
  struct nx_hash model;
  uint64_t round; /* of the last attempt joined; 0: none */
  uint32_t attempt, variant;
  bool exposed; /* its update may have been uploaded, and no ABORT certificate came */
  /* The record of what it joined is lost: it may have been the first attempt it hears of, which
   * is noted here and never joined. */
  bool doubtful;
  uint64_t doubted_round; /* 0: none was heard of yet */
  uint32_t doubted_attempt;
  struct nx_hash t0;
  bool u0[NX_ID_END];
  struct nx_buffer advert; /* SignedMessages: M1, M5, M7, and M11 of last_sealed */
  struct nx_buffer header;
  struct nx_buffer vote;
  struct nx_buffer seal;
  struct nx_hash vote_subject;
  uint32_t vote_choice; /* 0: none */
  bool released;
};

struct attempt {
  struct nx_arena *arena;
  struct participant_secrets *secrets; /* NULL: a witness */
  bool joined;                         /* M1 was sent, in this or an earlier life */
  struct nx_invite invite;
  uint32_t threshold;
  bool u0[NX_ID_END], u1[NX_ID_END], u2[NX_ID_END], u3[NX_ID_END];
  struct nx_hash t0, t1, t2, t3;
  struct nx_advert adverts[NX_ID_END];
  struct nx_participant_upload uploads[NX_MEMBERS_MAX]; /* U3 */
  size_t n_uploads;
  struct nx_bytes heard[NX_M11_SEALED - NX_M0_INVITE + 1]; /* accepted from the coordinator */
  struct nx_bytes shares;                                  /* own M3, as sent */
  struct nx_bytes no_update;                               /* own refusal, as sent */
  bool working, x_ready, masking, uploading;
  struct nx_result result;
};

struct nx_participant {
  struct nx_participant_config cfg;
  struct nx_transcript_member members[NX_MEMBERS_MAX];
  struct nx_check_context context;
  const struct nx_transcript_member *me;
  struct durable durable;
  enum participant_state state;
  struct attempt *attempt; /* NULL when idle */
  struct nx_arena *scratch;
  int64_t deadline, announced; /* announced: what SET_DEADLINE said last */
};

/* One step in the making. */
struct turn {
  struct nx_participant *p;
  const struct nx_participant_event *event;
  int64_t now;
  struct nx_participant_actions *out;
  struct nx_error *err;
  struct nx_signed_message message; /* MESSAGE events, verified */
  struct nx_bytes raw;
};

typedef int turn_handler(struct turn *t);

/* participant.c: actions */
struct nx_participant_action *participant_act(struct turn *t, enum nx_participant_action_type type);
int participant_copy(struct turn *t, struct nx_bytes bytes, struct nx_bytes *out);
int participant_send(struct turn *t, struct nx_bytes message);
int participant_simple(struct turn *t, enum nx_participant_action_type type);
int participant_note(struct turn *t, const char *kind, const char *reason);
int participant_evidence(struct turn *t, const char *kind, uint32_t member, const char *reason,
                         struct nx_bytes first, struct nx_bytes second);
/* Signs body as me; the message is kept in `keep` (replaced). */
int participant_sign(struct turn *t, uint32_t type, struct nx_bytes body, struct nx_bytes detached,
                     struct nx_buffer *keep);
int participant_keep(struct turn *t, struct nx_bytes bytes, struct nx_bytes *kept);
/* sent_out: where to keep what was sent, in the attempt's arena; may be NULL. */
int participant_refuse(struct turn *t, const struct nx_invite *invite, uint32_t code,
                       const char *reason, struct nx_bytes *sent_out);
/* Was this kind of message accepted before? 0: no. 1: yes; a different one was reported. */
int participant_heard(struct turn *t, bool *same_out);
int participant_accept(struct turn *t, enum participant_state next);

/* participant_attempt.c: an attempt's life */
int participant_begin(struct turn *t, const struct nx_invite *invite, const struct nx_hash *t0);
void participant_forget(struct turn *t); /* wipes the attempt; idle */
void participant_become_witness(struct turn *t);
int participant_stop_upload(struct turn *t);
int participant_leave(struct turn *t, bool certified, const char *reason);
void participant_expect(struct turn *t, uint64_t seconds);

/* participant_journal.c */
int participant_restore(struct turn *t);
int participant_persist_join(struct turn *t, uint32_t variant, struct nx_bytes advert);
int participant_persist_upload(struct turn *t, struct nx_bytes header);
int participant_persist_vote(struct turn *t, uint32_t choice, const struct nx_hash *subject,
                             struct nx_bytes vote);
int participant_persist_released(struct turn *t);
int participant_persist_closed(struct turn *t);
int participant_persist_sealed(struct turn *t, uint64_t round, const struct nx_hash *model,
                               struct nx_bytes seal);
void durable_finish(struct durable *durable);

/* handlers, by file */
turn_handler participant_on_invite, participant_on_decided, participant_on_roster; /* join */
turn_handler participant_on_bundle, participant_on_update_ready, participant_on_update_failed,
    participant_on_masked, participant_on_uploaded; /* upload */
turn_handler participant_on_commit_request, participant_on_certificate,
    participant_on_abort_request, participant_on_deadline; /* vote */
turn_handler participant_on_result, participant_on_result_checked, participant_on_caught_up;
int participant_vote(struct turn *t, uint32_t choice, const struct nx_hash *subject);
