/* Training run: carries one plan through its rounds (statistics, training, evaluation), each
 * in as many attempts as it takes, and does for the round core (coordinator/round) what
 * the core may not do itself: store, sum, unmask, the next model, audit entries.
 *
 *   plan ─► round 1 ─► round 2 ─► … ─► finished
 *             │  ▲ attempt + 1           paused / stopped by an operator, between rounds
 *             ▼  │                       failed: attempts used up, or evidence
 *          round core ── actions ──► store, spool, ring sum, registry, audit log, members
 *
 * Everything that a member or an operator may see is on disk before; nx_training_run_resume()
 * goes on after a kill at any point. Owned by the round thread; times are monotonic. */
#pragma once

#include "common/pool.h"
#include "coordinator/admin/federation.h"
#include "coordinator/aggregate/ring_sum.h"
#include "coordinator/round/round.h"
#include "coordinator/store/model_registry.h"
#include "crypto/audit_log.h"

struct nx_training_run;

/* A SignedMessage on its way to a member. */
struct nx_outgoing {
  uint32_t member;
  struct nx_bytes message;
  struct nx_shared *common; /* how its body begins, the same for every member; NULL: nothing is */
};

struct nx_training_run_config {
  struct nx_federation *federation; /* these three outlive the run */
  struct nx_audit_log *audit;
  struct nx_model_registry *registry;
  struct nx_pool *pool;
  uint64_t last_elsewhere; /* a round that enough members have sealed, whatever the store knows */
  struct nx_hash manifest;
  const struct nx_round_member *members; /* of the manifest, sorted by id; outlive the run */
  size_t n_members;
  /* Sends it, or drops it when the member is not connected. */
  void (*send)(void *context, const struct nx_outgoing *outgoing);
  /* So much waits in that member's line that nothing need be said to it twice. NULL: never. */
  bool (*busy)(void *context, uint32_t member);
  /* When something of that member last moved (bytes, messages, its own word); 0: not yet. NULL:
   * only its messages say so. */
  int64_t (*moved)(void *context, uint32_t member);
  /* A round was sealed: what a member that connects now has to catch up with has changed. */
  void (*sealed)(void *context);
  void *context;
};

/* Starts a plan (its exact text). NX_E_FORMAT, NX_E_INVALID (a plan that cannot run here),
 * NX_E_STATE (a run is under way). */
int nx_training_run_start(const struct nx_training_run_config *config, struct nx_bytes plan,
                          int64_t now, struct nx_training_run **run_out, struct nx_error *err);
/* Goes on with the run that the store says was under way; none: *run_out stays as it is. A run whose
 * round cannot be taken up, because the folder was restored from a backup, has failed. */
int nx_training_run_resume(const struct nx_training_run_config *config, int64_t now,
                           struct nx_training_run **run_out, struct nx_error *err);
void nx_training_run_destroy(struct nx_training_run *run); /* wipes; NULL is fine */
NX_DEFINE_CLEANUP(struct nx_training_run *, nx_training_run_destroy)

/* What happens to it. All return 0, or a negative code when the coordinator cannot go on
 * (its disk, its memory): stop the process; it resumes when started again. */
int nx_training_run_connected(struct nx_training_run *run, uint32_t member, int64_t now,
                              struct nx_error *err);
int nx_training_run_lost(struct nx_training_run *run, uint32_t member, int64_t now,
                         struct nx_error *err);
/* Something of the member moved just now: it has not gone, if it counted as that. */
int nx_training_run_moved(struct nx_training_run *run, uint32_t member, int64_t now,
                          struct nx_error *err);
/* Its line is up, and it counts as gone. */
bool nx_training_run_is_still(const struct nx_training_run *run, uint32_t member);
int nx_training_run_message(struct nx_training_run *run, uint32_t member, struct nx_bytes message,
                            int64_t now, struct nx_error *err);
/* Call at or after nx_training_run_deadline(). */
int nx_training_run_tick(struct nx_training_run *run, int64_t now, struct nx_error *err);
int64_t nx_training_run_deadline(const struct nx_training_run *run);

/* An upload announces itself by its M5 header. 0: write it to *spool_out (copied by the
 * writer) and commit it under the header's root; NX_ROUND_UPLOAD_HELD: it is here already;
 * else refuse it. */
int nx_training_run_check_upload(struct nx_training_run *run, uint32_t member,
                                 struct nx_bytes header, const struct nx_upload_spool **spool_out,
                                 struct nx_upload_header *header_out, int64_t now,
                                 struct nx_error *err);
/* What it is added to while it comes in; the writer holds on to it. NULL between attempts. */
struct nx_ring_sum *nx_training_run_sum(struct nx_training_run *run);
/* It is whole and on disk. */
int nx_training_run_uploaded(struct nx_training_run *run, uint32_t member, struct nx_bytes header,
                             uint64_t bytes, const struct nx_hash *root, int64_t now,
                             struct nx_error *err);

/* The member was asked whether its data fit `plan` (another than the run's is passed over): its
 * answer is waited for as long as an absent member is, before the first round. What it answered
 * before holds until then. */
void nx_training_run_asked(struct nx_training_run *run, uint32_t member, const struct nx_hash *plan,
                           bool cannot, uint32_t unmet);
/* It answered: cannot, and which requirements are not met. Who cannot is not invited. */
int nx_training_run_fit(struct nx_training_run *run, uint32_t member, const struct nx_hash *plan,
                        bool cannot, uint32_t unmet, int64_t now, struct nx_error *err);

/* Operators. Pause and stop take effect when the present round is sealed or has failed;
 * NX_E_STATE says why not. */
int nx_training_run_pause(struct nx_training_run *run, struct nx_error *err);
int nx_training_run_continue(struct nx_training_run *run, int64_t now, struct nx_error *err);
int nx_training_run_stop(struct nx_training_run *run, int64_t now, struct nx_error *err);
/* Members have sealed `round`, of which this run's store knows nothing: it has failed. */
int nx_training_run_overtaken(struct nx_training_run *run, uint64_t round, struct nx_error *err);
/* Finished, stopped or failed: nothing will happen any more. */
bool nx_training_run_is_over(const struct nx_training_run *run);

/* Tiles of the uploads of the attempt that was opened last, for spot checks. */
struct nx_opened_attempt {
  uint64_t round;
  uint32_t attempt;
  struct nx_hash t3;
  struct nx_upload_spool spool;
  uint8_t members[NX_STORE_MEMBERS]; /* U3 */
  size_t n_members;
};
/* NULL while there is none. */
const struct nx_opened_attempt *nx_training_run_opened(const struct nx_training_run *run);

struct nx_run_status {
  int64_t run; /* 0: none was ever started */
  enum nx_run_state state;
  bool pausing, stopping; /* asked for, and not there yet */
  char plan_name[NX_STORE_NAME_SIZE];
  struct nx_hash plan, model;
  char phase[24]; /* of the core; "waiting" between attempts, "done" at the end */
  char note[256]; /* why it waits, failed, or what was last out of the ordinary */
  uint64_t round, first_round, n_rounds, n_sealed, n_trained; /* of this run */
  uint32_t attempt, kind;
  uint32_t n_cohort, n_arrived; /* arrived: of what the phase waits for */
  uint32_t threshold;
  uint32_t seconds_left; /* until the present phase gives up */
  uint64_t bytes_up;     /* accepted upload bytes of the run, all members together */
  uint32_t n_recovered;  /* dropouts whose masks were recovered, over the run */
  /* of the newest sums; NaN: none */
  double train_loss, held_out_loss, auroc, balanced_accuracy, calibration_error;
  double r_squared, correlation; /* of a regression */
  int64_t started, ended; /* Unix ns; ended 0 while it goes on */
};

void nx_training_run_status(const struct nx_training_run *run, struct nx_run_status *out);
/* The same from the store alone, when no run is in memory. */
int nx_run_status_from_store(struct nx_federation *federation, struct nx_run_status *out,
                             struct nx_error *err);
