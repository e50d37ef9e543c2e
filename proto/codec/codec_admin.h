/* Codec of admin.proto: the operator's verbs. Rules as in codec_session.h. Plain data, no
 * views but those named; a double is NaN while it has not been measured, never infinite. */
#pragma once

#include <stdbool.h>

#include "common/arena.h"
#include "common/bytes.h"
#include "crypto/hash.h"
#include "crypto/sign.h"
#include "crypto/transcript.h"
#include "proto/codec/codec_site.h"
#include "proto/codec/methods.h"

#define NX_ADMIN_PLAN_CAP ((size_t)1 << 20)
#define NX_ADMIN_NAME_SIZE 65
#define NX_ADMIN_WORD_SIZE 48
#define NX_ADMIN_TEXT_SIZE 512
#define NX_ADMIN_MEMBERS 255
#define NX_ADMIN_ARENA ((size_t)4 << 20) /* cap of an arena that decodes any of them */

struct nx_admin_start {
  struct nx_bytes plan; /* a view: 1..NX_ADMIN_PLAN_CAP bytes */
};
int nx_admin_start_encode(const struct nx_admin_start *m, struct nx_buffer *out,
                          struct nx_error *err);
int nx_admin_start_decode(struct nx_bytes bytes, struct nx_arena *arena, struct nx_admin_start *out,
                          struct nx_error *err);

/* Request of Pause, Stop, Status, Members and Watch. */
struct nx_admin_request {
  char reason[NX_ADMIN_TEXT_SIZE]; /* may be empty */
  struct nx_hash plan;             /* Members: whose answers about it; zero: the present one */
};
int nx_admin_request_encode(const struct nx_admin_request *m, struct nx_buffer *out,
                            struct nx_error *err);
int nx_admin_request_decode(struct nx_bytes bytes, struct nx_arena *arena,
                            struct nx_admin_request *out, struct nx_error *err);

/* Response of Start, Pause, Stop and Status. Hashes are zero for "none". */
struct nx_admin_status {
  char federation_name[NX_ADMIN_NAME_SIZE];
  uint8_t federation[NX_FEDERATION_ID_SIZE];
  char software[NX_SOFTWARE_SIZE];
  uint32_t run_state; /* 0: no run yet, else enum nx_run_state of the run store */
  uint64_t run;
  struct nx_hash plan, model;
  uint64_t first_round, n_rounds;
  uint64_t round; /* the current one, 0: between rounds */
  uint32_t attempt, kind;
  char phase[NX_ADMIN_WORD_SIZE];
  uint64_t last_sealed;
  uint32_t n_members, n_connected, n_invited;
  uint32_t n_cohort, n_done; /* members that have done the current phase's part */
  uint32_t threshold;
  uint32_t seconds_left; /* until the current phase gives up */
  uint64_t bytes_up;     /* accepted upload bytes of the run */
  uint64_t up_seconds;   /* since the coordinator started */
  bool manifest_sealed;
  char plan_name[NX_ADMIN_NAME_SIZE];
  char note[NX_ADMIN_TEXT_SIZE]; /* why it waits or failed; what was last out of the ordinary */
  uint64_t n_sealed, n_trained;  /* rounds of this run; of these, training rounds */
  uint32_t n_recovered;          /* dropouts whose masks were recovered, over the run */
  int64_t started, ended;        /* Unix ns; ended 0: it goes on */
  double train_loss, held_out_loss, auroc, balanced_accuracy, calibration_error; /* newest sums */
  double r_squared, correlation; /* of a regression */
};
int nx_admin_status_encode(const struct nx_admin_status *m, struct nx_buffer *out,
                           struct nx_error *err);
int nx_admin_status_decode(struct nx_bytes bytes, struct nx_arena *arena,
                           struct nx_admin_status *out, struct nx_error *err);

enum nx_member_state {
  NX_MEMBER_INVITED = 1,
  NX_MEMBER_EXPIRED = 2, /* its invitation has */
  NX_MEMBER_AWAY = 3,    /* enrolled, not connected */
  NX_MEMBER_IDLE = 4,
  NX_MEMBER_WORKING = 5, /* in the current round */
  NX_MEMBER_REVOKED = 6  /* its certificate is worth nothing any more */
};

struct nx_admin_member {
  uint32_t id;
  char name[NX_ADMIN_NAME_SIZE];
  uint32_t state;
  struct nx_public_key identity; /* zero while invited */
  struct nx_hash spki;           /* of its TLS key; zero while invited */
  int64_t since, last_seen;      /* Unix ns; last_seen 0: never */
  uint64_t last_round;           /* last round whose sum holds its update, 0: none */
  char software[NX_SOFTWARE_SIZE];
  uint64_t done, total; /* of its current work, as its heartbeats say */
  uint32_t fit;         /* enum nx_fit_verdict about the list's plan; 0: not answered */
  uint32_t unmet;       /* set of enum nx_requirement */
  bool counted;         /* subjects, recordings: so many or more */
  uint32_t subjects, recordings;
};
struct nx_admin_members {
  const struct nx_admin_member *items; /* in the arena; sorted by id, strictly ascending */
  size_t n;                            /* at most NX_ADMIN_MEMBERS */
  struct nx_hash plan;                 /* that `fit` is about; zero: none */
  char plan_name[NX_ADMIN_NAME_SIZE];
};
int nx_admin_members_encode(const struct nx_admin_members *m, struct nx_buffer *out,
                            struct nx_error *err);
int nx_admin_members_decode(struct nx_bytes bytes, struct nx_arena *arena,
                            struct nx_admin_members *out, struct nx_error *err);

struct nx_admin_sealed {
  uint64_t round;
  uint32_t attempt, kind, n_cohort, n_survivors, n_recovered;
  double weight, train_loss, held_out_loss, auroc, balanced_accuracy, calibration_error, seconds;
  double r_squared, correlation;
  uint64_t bytes_up;
  struct nx_hash model, sum;
  char without[NX_ADMIN_TEXT_SIZE]; /* names of members that are not in the sum; "": all are */
};

struct nx_admin_event { /* of Watch */
  int64_t time;         /* Unix ns */
  char name[NX_ADMIN_WORD_SIZE];
  uint32_t member; /* whom it is about, 0: nobody */
  char text[NX_ADMIN_TEXT_SIZE];
  bool has_status, has_sealed;
  struct nx_admin_status status; /* after it */
  struct nx_admin_sealed sealed;
};
int nx_admin_event_encode(const struct nx_admin_event *m, struct nx_buffer *out,
                          struct nx_error *err);
int nx_admin_event_decode(struct nx_bytes bytes, struct nx_arena *arena, struct nx_admin_event *out,
                          struct nx_error *err);
