/* Participant: a node's side of the secure sums, as a pure state machine. No I/O, no clock;
 * keys, masks and the choice of spot checks come from the struct nx_entropy it is given. A
 * shell (or tests/sim) feeds it events and carries out the actions it returns, IN ORDER. A
 * record that it wants persisted must be on disk before the next action is carried out.
 *
 *   idle -> considering -> roster -> bundle -> commit -> certificate -> result -> checking
 *     ^                    \________\__________\____________\___________\            |
 *     +------------- aborted, given up <-----------------------------------+          |
 *     +------------- sealed <---------------------------------------------------------+
 *   (a state is named by what is awaited; masking and the upload go on in `commit`)
 *
 * One object lives as long as the process and goes from round to round. It never joins two
 * attempts at once: joining (round, a+1) closes a. A node that restarted, or that is not in
 * a cohort, follows the round as a witness: it verifies every signature, checks and seals
 * the result, but has no shares to give. Secrets are in guarded memory and erased at seal,
 * at an ABORT certificate and at the deadline.
 *
 * Owned by one thread. After a negative return nothing was decided: the shell stops. */
#pragma once

#include "common/arena.h"
#include "common/cleanup.h"
#include "crypto/mask.h"
#include "proto/codec/codec_round.h"

struct nx_participant; /* opaque: holds secrets */

struct nx_participant_member { /* as pinned in the manifest */
  uint32_t id;
  struct nx_public_key key;
  struct nx_hash spki;
};

struct nx_participant_config {
  uint32_t id; /* mine */
  uint8_t federation[NX_FEDERATION_ID_SIZE];
  struct nx_hash manifest;                     /* hash of the pinned manifest */
  const struct nx_participant_member *members; /* sorted by id; copied */
  size_t n_members;
  struct nx_public_key coordinator_key;
  struct nx_hash coordinator_spki;
  const struct nx_identity *identity; /* mine; outlives the participant */
  const struct nx_entropy *entropy;   /* outlives the participant */
  uint32_t minimum_members;           /* this site's policy; two thirds is always asked for */
  uint32_t spot_checks;               /* tiles checked of every opened sum, at least 1 */
  struct nx_hash model;               /* what is held: model 0, until RESTORE says otherwise */
  int64_t patience;                   /* ns without progress after which an attempt is given
                                         up and its secrets erased. 0: from M0's times */
};

int nx_participant_create(const struct nx_participant_config *cfg,
                          struct nx_participant **participant_out, struct nx_error *err);
void nx_participant_destroy(struct nx_participant *participant); /* wipes; NULL is fine */
NX_DEFINE_CLEANUP(struct nx_participant *, nx_participant_destroy)

enum nx_participant_event_type {
  NX_PARTICIPANT_RESTORE, /* records of the journal, in order; first event if at all. Then ask
                             nx_participant_progress() which model is the one to hold */
  NX_PARTICIPANT_CONNECTED,
  NX_PARTICIPANT_DISCONNECTED,
  NX_PARTICIPANT_MESSAGE,        /* message: a SignedMessage from the coordinator */
  NX_PARTICIPANT_DECIDED,        /* answer to CONSIDER: accepted, reason */
  NX_PARTICIPANT_UPDATE_READY,   /* the encoded vector of START_WORK is there (and spooled) */
  NX_PARTICIPANT_UPDATE_FAILED,  /* reason: NaN, out of data, disk full … */
  NX_PARTICIPANT_MASKED,         /* answer to MASK: bytes, root; y is spooled, durable */
  NX_PARTICIPANT_UPLOADED,       /* the coordinator acknowledged all bytes */
  NX_PARTICIPANT_RESULT_CHECKED, /* answer to CHECK_RESULT: accepted, model, or reason */
  NX_PARTICIPANT_CAUGHT_UP,      /* round, model: taken over by nx_seals_check(), stored; or a
                                    new plan's model 0, made here, with the last sealed round */
  NX_PARTICIPANT_DEADLINE        /* the time of the last SET_DEADLINE has come */
};

struct nx_participant_event {
  enum nx_participant_event_type type;
  struct nx_bytes message;
  uint64_t round;   /* DECIDED … RESULT_CHECKED: of the action that is answered; stale */
  uint32_t attempt; /* answers, of an attempt that was left, are ignored */
  bool accepted;
  const char *reason; /* may be NULL */
  uint64_t bytes;
  struct nx_hash root, model;
  const struct nx_bytes *records; /* RESTORE */
  size_t n_records;
  bool torn; /* RESTORE: the journal's tail was lost */
};

enum nx_participant_action_type {
  NX_PARTICIPANT_PERSIST = 1,  /* record; replace: the journal begins anew with this record */
  NX_PARTICIPANT_SEND,         /* message, to the coordinator; drop it when not connected */
  NX_PARTICIPANT_SET_DEADLINE, /* at */
  NX_PARTICIPANT_CONSIDER,     /* invite: does policy allow it? Plan approved, parameters those
                                  of the plan, budget left, data there. Answer DECIDED */
  NX_PARTICIPANT_START_WORK,   /* invite, variant: make x, answer UPDATE_READY. An x of the
                                  same (round, model, variant) that is still there is used
                                  again; another variant means other batches and fresh noise */
  NX_PARTICIPANT_STOP_WORK,    /* the x being made is not wanted (any more) */
  NX_PARTICIPANT_MASK,         /* t2, mask, layout: y = x + masks, spool y durably, hash its
                                  tiles, answer MASKED. Then destroy the mask */
  NX_PARTICIPANT_CHARGE,       /* durable in the privacy ledger before anything that follows */
  NX_PARTICIPANT_REFUND,       /* an ABORT certificate: this attempt opens never */
  NX_PARTICIPANT_UPLOAD,       /* message (M5 header), bytes: stream the spooled y; retry until
                                  acknowledged or STOP_UPLOAD; answer UPLOADED */
  NX_PARTICIPANT_STOP_UPLOAD,  /* and delete the spooled y */
  NX_PARTICIPANT_CHECK_RESULT, /* result, t3, uploads, mask, tiles, layout: fetch the sum and
                                  those tiles of all of U3 with proofs; compare; compute the
                                  next model; answer RESULT_CHECKED. n_members: for the plan */
  NX_PARTICIPANT_SEALED,       /* t3, sum, model, n_uploads: the round is over; adopt the model */
  NX_PARTICIPANT_ABORTED,      /* reason; certified: an ABORT certificate was seen */
  NX_PARTICIPANT_EVIDENCE,     /* kind, member accused, reason, first, second: audit log */
  NX_PARTICIPANT_NOTE          /* kind, reason: audit facts and progress */
};

struct nx_participant_upload {
  uint32_t id;
  struct nx_hash root;
};

struct nx_participant_action {
  enum nx_participant_action_type type;
  uint64_t round;
  uint32_t attempt;
  uint32_t variant; /* START_WORK: 0, +1 for every attempt treated as opened */
  bool replace;     /* PERSIST */
  bool certified;   /* ABORTED */
  struct nx_bytes record, message;
  int64_t at;
  const struct nx_invite *invite;
  struct nx_hash t2, t3, sum, model;
  struct nx_transcript_parameters parameters; /* MASK, CHECK_RESULT: lanes and widths */
  struct nx_mask *mask; /* MASK, CHECK_RESULT; nx_steal() it to keep it. In CHECK_RESULT it
                           takes off the sum of the uploads what the sum does not have */
  uint64_t bytes;       /* MASK, UPLOAD: of y; CHECK_RESULT: of the sum */
  const struct nx_participant_upload *uploads; /* U3 */
  size_t n_uploads;
  const uint64_t *tiles; /* indices, distinct */
  size_t n_tiles;
  uint32_t member;
  const char *kind, *reason;
  struct nx_bytes first, second;
};

/* Views inside actions live until the list is reset or finished. */
struct nx_participant_actions {
  struct nx_participant_action *items;
  size_t n, allocated;
  struct nx_arena *arena;
};
void nx_participant_actions_reset(struct nx_participant_actions *actions);
void nx_participant_actions_finish(struct nx_participant_actions *actions);

/* Appends to actions (zero-initialised or reset). now: monotonic nanoseconds. 0, or
 * NX_E_NOMEM, NX_E_STATE (an event the shell may not send now), NX_E_FORMAT (RESTORE: a
 * record is damaged), or what the entropy source said. What the coordinator does wrong is
 * never an error: it becomes EVIDENCE, NOTE or ABORTED. */
int nx_participant_step(struct nx_participant *participant,
                        const struct nx_participant_event *event, int64_t now,
                        struct nx_participant_actions *actions, struct nx_error *err);

/* How many tiles to check of every sum opened from now on, at least 1: what the plan that
 * people approved asks for. */
void nx_participant_set_spot_checks(struct nx_participant *participant, uint32_t n);

struct nx_participant_progress {
  const char *phase;
  uint64_t round; /* 0: none */
  uint32_t attempt, kind;
  uint64_t last_sealed; /* round; 0: none */
  struct nx_hash model; /* after it */
  bool witness;
};
void nx_participant_progress(const struct nx_participant *participant,
                             struct nx_participant_progress *out);

/* Catching up: do these SignedMessages (M11) of distinct members of the manifest, at least
 * n_C + 1, say that `model` follows from `round`? 0, or NX_E_CRYPTO / NX_E_PROTOCOL with the
 * count. Uses cfg's members only. */
int nx_seals_check(const struct nx_participant_config *cfg, uint64_t round,
                   const struct nx_hash *model, const struct nx_bytes *seals, size_t n_seals,
                   struct nx_error *err);

/* What a PERSIST action's record is of: J joined, U upload, V vote, R released, C closed,
 * X unknown, S sealed. */
char nx_participant_record_type(struct nx_bytes record);
