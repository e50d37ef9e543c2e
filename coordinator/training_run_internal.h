/* What the files of the training run share. Private to coordinator/. */
#pragma once

#include "coordinator/run_metrics.h"
#include "coordinator/run_model.h"
#include "coordinator/training_run.h"

/* Records that are ours, among those of the round core, in the store. */
#define NX_RECORD_ATTEMPT_BEGUN 0x10001u /* u32 id of every member of the cohort */
#define NX_RECORD_ATTEMPT_ENDED 0x10002u /* u32 outcome, u32 id of every accused member */

#define NX_RECORD_ATTEMPT_OPENED 0x10003u /* 8 u32 of T3, u32 id of every member of U3 */

#define NX_GATHER (10 * NX_SECOND) /* how long a run that begins waits for absent members */
#define NX_RETRY (1 * NX_SECOND)   /* between looks whether enough members are here */

struct nx_training_run {
  struct nx_training_run_config config;
  struct nx_store_run row;
  struct nx_plan *plan;
  struct nx_model *model;    /* that the present round starts from */
  struct nx_model *advanced; /* what it opened to, until it is sealed */
  char uploads[NX_PATH_SIZE];

  bool connected[256], excluded[256]; /* by member id */
  bool still[256];                    /* connected, and counts as gone until it moves */
  bool asked[256], cannot[256];       /* asked: and has not answered */
  uint32_t unmet[256];                /* sets of enum nx_requirement */
  uint64_t round;                     /* the present or the next one */
  uint32_t attempt;                   /* the present one, or how many there were */
  struct nx_round *core;              /* NULL between attempts */
  struct nx_round *previous;          /* the last sealed one: late M11 are checked by it */
  uint64_t previous_round;
  struct nx_buffer certificate; /* M8 that aborted the attempt before; told again with M0 */
  struct nx_round_actions actions;
  int64_t core_deadline, next_try, gather_until;
  bool pausing, stopping;

  struct nx_upload_spool spool; /* of the present attempt */
  struct nx_upload_spares spares;
  struct nx_ring_sum *sum;
  uint64_t bytes_up; /* accepted in the present attempt */
  uint32_t n_cohort, n_recovered;
  uint32_t cohort[NX_STORE_MEMBERS];
  int64_t opened; /* Unix ns: when the present attempt began */

  /* Between the core's UNMASK and our answer. */
  struct nx_mask *mask;
  struct nx_opened_attempt opening;
  struct nx_opened_attempt last_opened;
  bool has_opened;
  struct nx_buffer aux; /* counters of the opened sum, u64 little-endian */

  struct nx_run_metrics metrics;
  uint64_t run_bytes_up;
  uint32_t run_recovered;
  char note[256];
};

/* training_run.c */
void nx_training_run_note(struct nx_training_run *run, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
int nx_training_run_feed(struct nx_training_run *run, const struct nx_round_event *event,
                         int64_t now, struct nx_error *err);
/* Every round of the plan is sealed. */
static inline bool nx_training_run_has_all(const struct nx_training_run *run) {
  return run->round >= run->row.first_round + run->row.n_rounds;
}
enum nx_round_kind nx_training_run_kind(const struct nx_training_run *run);
/* Frees what belongs to one attempt. */
void nx_training_run_drop_attempt(struct nx_training_run *run);

/* training_run_actions.c */
int nx_training_run_carry_out(struct nx_training_run *run, struct nx_round_action *action,
                              int64_t now, struct nx_error *err);
/* Sums, takes the masks off, makes the next model, and tells the core. */
int nx_training_run_unmask(struct nx_training_run *run, int64_t now, struct nx_error *err);

/* What the opened counters (run->aux) say. */
int nx_training_run_measure(struct nx_training_run *run, struct nx_error *err);

/* training_run_attempt.c */
/* Appends a record of ours for the present attempt to the store. */
int nx_training_run_write_record(struct nx_training_run *run, uint32_t kind, const uint32_t *values,
                                 size_t n, struct nx_error *err);
/* Begins the next attempt, or sets next_try when too few members are here. */
int nx_training_run_begin_attempt(struct nx_training_run *run, int64_t now, struct nx_error *err);
/* Builds spool, sum and core for cohort[n_cohort]; feeds nothing. */
int nx_training_run_make_attempt(struct nx_training_run *run, struct nx_error *err);
/* The run is over: said in the store, the logs and the audit log. */
int nx_training_run_end(struct nx_training_run *run, enum nx_run_state state, struct nx_error *err);
int nx_training_run_finish_attempt(struct nx_training_run *run,
                                   const struct nx_round_action *finished, int64_t now,
                                   struct nx_error *err);
