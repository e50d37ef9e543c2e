/* Simulator: one process runs a coordinator and N nodes, the real cores, stores and codecs
 * with real cryptography, over a simulated network, clock and disk (sim_disk.h). Every fault is
 * drawn from one seed, so that a failure can be replayed. After every step the invariants of
 * the protocol are checked, and after every restart that nothing is gone that was promised.
 *
 * A step is an event that a core handled or an action that its shell carried out: the points
 * between which a process can die. */
#pragma once

#include "common/clock.h"
#include "common/size.h"
#include "coordinator/aggregate/upload_spool.h"
#include "coordinator/round/cohort.h"
#include "coordinator/round/round.h"
#include "coordinator/store/run_store.h"
#include "node/session/journal.h"
#include "node/session/participant.h"
#include "proto/codec/round_checks.h"

#define SIM_NODES_MAX 255

/* What can go wrong; sim_faults.c has the names. Each can be left out of a run. */
enum sim_fault {
  SIM_FAULT_LOSS,
  SIM_FAULT_DUPLICATE,
  SIM_FAULT_DISCONNECT,
  SIM_FAULT_PARTITION, /* several connections go, and none comes back for a while */
  SIM_FAULT_HALF_OPEN, /* one direction is dead, and nobody is told */
  SIM_FAULT_SLOW,      /* a link that takes seconds for everything */
  SIM_FAULT_KILL_NODE,
  SIM_FAULT_KILL_COORDINATOR,
  SIM_FAULT_JUMP, /* a clock leaps: the machine slept */
  SIM_FAULT_TEAR, /* death within a call to the disk */
  SIM_FAULT_FULL,
  SIM_FAULT_EIO,
  SIM_FAULT_LIE, /* a sync that is none */
  SIM_FAULT_ROT,
  SIM_FAULT_DAMAGE, /* of an upload on its way */
  SIM_FAULT_FAIL_WORK,
  SIM_FAULT_REFUSE,
  SIM_FAULT_BYZANTINE, /* a member's message is bent, then signed */
  SIM_FAULT_HOSTILE,   /* the coordinator's */
  SIM_FAULT_HANG,      /* a node's process stands still, its line stays up */
  SIM_FAULTS
};

struct sim_disk_faults { /* per call */
  double tear, full, error, lie;
};

/* How often, in one federation's life. Probabilities are per message or per step. */
struct sim_faults {
  double loss, duplicate, disconnect, partition, half_open, slow, kill_node, kill_coordinator, jump,
      damage, fail_work, refuse, rot, byzantine, hostile, hang;
  struct sim_disk_faults node_disk, coordinator_disk;
  int64_t delay; /* most, of a message */
  int64_t stillness; /* the coordinator's setting; 0: none */
  bool streams;  /* messages of one connection stay in order and are not lost */
};

/* A party's monotonic clock: it began anywhere, runs fast or slow, and jumps ahead. */
struct sim_clock {
  int64_t offset;
  double rate;
};

struct sim;
struct sim_node;

struct sim_blob {
  uint8_t *data;
  size_t size;
};

/* A hostile party: sees every message and the sum, and may change or drop them. It signs as
 * whoever it plays, with the identities of the simulation. */
struct sim_villain {
  void *context;
  /* May replace the message's bytes; false drops it. */
  bool (*message)(struct sim *sim, struct sim_node *node, bool to_node, struct nx_buffer *message,
                  void *context);
  void (*sum)(struct sim *sim, struct sim_blob *sum, void *context);
};

struct sim_report { /* what honest parties recorded as evidence, in order */
  char kind[32];
  uint32_t by, accused; /* by: member id, 0 the coordinator */
};
#define SIM_REPORTS_MAX 64

struct sim_settings {
  uint64_t seed;
  uint64_t rounds;  /* in all federations together */
  uint32_t n_nodes; /* 0: drawn for each federation */
  bool calm;        /* no faults */
  bool verbose;
  /* With a villain, evidence, refusals and rounds that never end are no violations. */
  const struct sim_villain *villain;
  uint32_t n_lanes; /* 0: drawn */
  uint64_t kill_at; /* who carries out this action, counted from 1, is killed after it; 0: none */
  uint64_t tear_at; /* the machine dies within this call to a disk, counted from 1; 0: none */
  uint64_t federation;   /* only this one, counted from 1; 0: all */
  uint64_t most_rounds;  /* of a federation; 0: as usual */
  uint32_t without;      /* 1 << enum sim_fault */
  uint64_t most_faults;  /* only the first so many in a federation; 0: no limit */
  bool silent, progress; /* progress: a line on stderr now and then */
};

/* Inputs: 0..31 the core's events, from 32 on its messages (type - 100, at most 22). */
#define SIM_STATES 10
#define SIM_INPUTS 56

struct sim_totals {
  uint64_t rounds, attempts, aborted, lost, recovered, steps, kills, federations, evidence;
  uint64_t actions; /* carried out by anybody */
  uint64_t disk_calls, struck[SIM_FAULTS], torn_journals, restored_nodes, restored_coordinators;
  uint64_t acknowledged, lost_acknowledged; /* uploads and seals */
  char violation[256];                      /* the first */
  uint32_t failed_nodes;                    /* of the federation in which it was */
  uint64_t violations, releases, uploads, opened, node_seals, outcomes[8];
  struct sim_report reports[SIM_REPORTS_MAX];
  size_t n_reports;
  bool accused[NX_ID_END]; /* in the last attempt that named anybody */
  struct nx_hash trace;    /* of all that was sent: the same run gives the same */
  /* How often each core was in each state when each kind of event or message came. */
  uint64_t round_seen[SIM_STATES][SIM_INPUTS], node_seen[SIM_STATES][SIM_INPUTS];
};

/* A thing that happens at a time. Bytes are owned by the event. */
enum sim_event_type {
  SIM_TO_NODE,
  SIM_TO_COORDINATOR,
  SIM_NODE_TIMER,
  SIM_COORDINATOR_TIMER,
  SIM_CONNECT,
  SIM_RESTART_NODE,
  SIM_RESTART_COORDINATOR,
  SIM_DECIDE,
  SIM_WORK_DONE,
  SIM_MASKED,
  SIM_UPLOAD,  /* node tries to send its y */
  SIM_ARRIVED, /* y and its header are at the coordinator */
  SIM_ACKNOWLEDGED,
  SIM_UNMASKED,
  SIM_CHECKED,
  SIM_NEXT_ATTEMPT,
  SIM_NOTICE,   /* a half-open connection is found dead */
  SIM_KEEPALIVE /* one whose process hangs is, if it does so still */
};

struct sim_event {
  int64_t at;
  uint64_t order; /* of equal times */
  enum sim_event_type type;
  uint32_t node;    /* index */
  uint64_t life;    /* of whom it concerns; a later life ignores it */
  uint64_t session; /* of messages: the connection they were sent on */
  uint64_t round;
  uint32_t attempt;
  struct sim_blob bytes, more;
  struct nx_hash hash;
};

/* An update in clear: what a node trains in a round. */
struct sim_update {
  bool any;
  uint64_t round;
  uint32_t variant;
  struct nx_transcript_parameters parameters;
  uint32_t *lanes;
  uint64_t *aux;
};

struct sim_check { /* a spot check under way */
  uint64_t round;
  uint32_t attempt;
  struct nx_mask *mask;
  struct nx_transcript_parameters parameters;
  struct nx_participant_upload uploads[NX_MEMBERS_MAX];
  size_t n_uploads, n_tiles;
  uint64_t tiles[16];
  struct nx_hash sum, model_before;
  uint64_t bytes;
};

struct sim_node {
  uint32_t id;
  struct nx_identity *identity;
  /* in memory */
  bool up, connected, byzantine;
  uint64_t life, session, timer;
  int64_t deadline; /* by its own clock */
  struct sim_clock clock;
  int64_t cut_until, slowness; /* of its link */
  int half_open;               /* 1: nothing reaches the coordinator, 2: nothing the node */
  int64_t connected_at, mute_since, hung_until;
  struct nx_participant *core;
  struct nx_journal *journal;
  struct nx_participant_actions actions;
  struct sim_update update;
  struct sim_check check;
  bool uploading;
  struct sim_blob kept; /* a message of before, for repeating at the wrong time */
  /* what it has promised */
  uint64_t promised; /* the newest round it said it sealed */
  bool rotted;       /* its journal was damaged */
  /* on disk, besides the journal */
  struct sim_blob spool;   /* y */
  uint32_t spool_variant;  /* of the update in it */
  struct nx_buffer header; /* of the upload that may be under way */
  uint64_t charged_round;  /* the last charge */
  uint32_t charged_attempt;
  uint64_t sealed;
  struct nx_hash model;
};

struct sim_coordinator {
  struct nx_identity *identity;
  /* in memory */
  bool up;
  uint64_t life, timer;
  int64_t deadline;
  struct sim_clock clock;
  struct nx_run_store *store;
  struct nx_upload_spool spool;
  struct nx_upload_spares spares;
  struct nx_round *core;
  struct nx_round_actions actions;
  struct nx_mask *mask; /* of an UNMASK under way */
  struct nx_round_upload opened[NX_MEMBERS_MAX];
  size_t n_opened;
  /* in memory too, and read from the store after a restart */
  uint64_t round;
  uint32_t attempt;
  bool begun; /* an attempt is under way */
  uint32_t cohort[NX_MEMBERS_MAX];
  size_t n_cohort;
  struct nx_transcript_parameters parameters;
  struct nx_hash model;
  struct sim_blob seals[NX_MEMBERS_MAX];
  size_t n_seals;
  uint64_t sealed;
  struct sim_blob certificate; /* of the aborted attempt before */
  bool accused[NX_ID_END];
  bool still[NX_ID_END]; /* connected, and counts as gone until it moves */
  /* on disk, besides store and spool */
  int64_t run;
  struct sim_blob sum; /* the last opened one */
  /* what it has promised */
  struct nx_hash taken[NX_ID_END]; /* roots of the uploads it acknowledged in this attempt */
  bool has_taken[NX_ID_END];
  uint64_t taken_round;
  uint32_t taken_attempt;
  uint64_t promised;             /* the newest sealed round */
  struct nx_hash promised_model; /* of it */
};

struct sim_watch; /* sim_invariants.c */

struct sim {
  struct sim_settings settings;
  struct sim_totals totals;
  struct sim_faults faults;
  struct nx_rng rng, secret_rng, disk_rng, hang_rng;
  uint64_t n_struck; /* faults in this federation */
  struct nx_entropy entropy;
  int64_t now;
  uint64_t order;
  struct sim_event *queue; /* a heap */
  size_t n_queue, queue_allocated;
  uint32_t n;
  struct sim_node nodes[SIM_NODES_MAX];
  struct nx_round_member members[NX_MEMBERS_MAX];
  struct nx_participant_member pinned[NX_MEMBERS_MAX];
  struct sim_coordinator coordinator;
  uint8_t federation[NX_FEDERATION_ID_SIZE];
  struct nx_hash manifest, plan, coordinator_spki, first_model;
  int64_t round_began;
  bool quiet;     /* faults have stopped, so that liveness can be asked for */
  bool untrusted; /* the coordinator lies, or its disk does: only what nodes do is judged */
  struct sim_watch *watch;
  bool failed, over; /* over: nothing more is to be learnt from this federation */
};

/* sim.c: the world */
int sim_run(const struct sim_settings *settings, struct sim_totals *totals_out);
void sim_fail(struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));
void sim_log(struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Evidence: expected with a villain, a violation without. */
void sim_report(struct sim *sim, const char *kind, uint32_t by, uint32_t accused,
                const char *reason);
/* A villain, a coordinator that lies, or one whose disk does. */
bool sim_is_hostile(const struct sim *sim);
/* A member that lies, or whose disk does: of those a round bears n_C. */
bool sim_is_corrupt(struct sim *sim, uint32_t id);

/* sim_faults.c */
void sim_draw_faults(struct sim *sim);
const char *sim_fault_name(enum sim_fault fault);
/* A fault that may come with probability p comes, unless the run is without it. */
bool sim_fault_strikes(struct sim *sim, enum sim_fault fault, double p, struct nx_rng *rng);
bool sim_strikes(struct sim *sim, enum sim_fault fault, double p);
void sim_print_faults(const struct sim_totals *totals);
int64_t sim_local_time(const struct sim *sim, const struct sim_clock *clock);
/* How long until the clock shows this. */
int64_t sim_until(const struct sim *sim, const struct sim_clock *clock, int64_t local);
void sim_draw_clock(struct sim *sim, struct sim_clock *clock);

/* sim_shrink.c: from settings that fail to the smallest that still do; prints them */
void sim_shrink(struct sim_settings settings, const struct sim_totals *totals);

/* sim_byzantine.c: bends a message, or has an old one sent again. False: nothing is sent. */
bool sim_bend(struct sim *sim, struct sim_node *node, bool to_node, struct nx_buffer *message);
/* After each action: is this the end of whoever carried it out? */
bool sim_dies(struct sim *sim, enum sim_fault fault, double chance);
/* sim_coverage.c: counts what comes to a core, in the state it is in */
void sim_seen_round(struct sim *sim, const struct nx_round_event *event);
void sim_seen_node(struct sim *sim, const struct sim_node *node,
                   const struct nx_participant_event *event);
/* Prints how many pairs of state and input came, or each with its number. */
void sim_print_coverage(const struct sim_totals *totals, bool all);
/* Schedules; takes over the event's bytes. */
void sim_post(struct sim *sim, struct sim_event event, int64_t delay);
int64_t sim_delay(struct sim *sim, int64_t most);
struct sim_blob sim_copy(struct nx_bytes bytes);
void sim_blob_free(struct sim_blob *blob);
struct nx_bytes sim_view(const struct sim_blob *blob);
/* model + 1 = H(model | sum): nodes and coordinator compute it alike. */
struct nx_hash sim_next_model(const struct nx_hash *model, struct nx_bytes sum);

/* sim_network.c */
void sim_send_to_node(struct sim *sim, uint32_t id, struct nx_bytes message);
void sim_send_to_coordinator(struct sim *sim, struct sim_node *node, struct nx_bytes message);
void sim_connect(struct sim *sim, struct sim_node *node);
void sim_disconnect(struct sim *sim, struct sim_node *node);
/* What its link adds to every delay, while faults go on. */
int64_t sim_slowness(const struct sim *sim, const struct sim_node *node);
/* A half-open connection is found dead. */
void sim_notice(struct sim *sim, struct sim_node *node);
bool sim_is_hung(const struct sim *sim, const struct sim_node *node);
/* When the last heartbeat of the node came to the coordinator, by the world's clock; 0: none came.
 */
int64_t sim_last_heartbeat(const struct sim *sim, const struct sim_node *node);
struct sim_node *sim_node_of(struct sim *sim, uint32_t id);

/* sim_node.c */
void sim_node_make(struct sim *sim, uint32_t index);
void sim_node_start(struct sim *sim, struct sim_node *node);
void sim_node_kill(struct sim *sim, struct sim_node *node);
void sim_node_free(struct sim_node *node);
void sim_node_step(struct sim *sim, struct sim_node *node,
                   const struct nx_participant_event *event);
void sim_node_event(struct sim *sim, struct sim_node *node, struct sim_event *event);
void sim_node_catch_up(struct sim *sim, struct sim_node *node);
/* The update that a node makes in a round: the same for the same arguments. */
void sim_update_fill(struct sim *sim, uint32_t id, uint64_t round, uint32_t variant,
                     const struct nx_transcript_parameters *parameters, uint32_t *lanes,
                     uint64_t *aux);

/* sim_coordinator.c */
void sim_coordinator_make(struct sim *sim);
void sim_coordinator_start(struct sim *sim);
void sim_coordinator_kill(struct sim *sim);
void sim_coordinator_free(struct sim *sim);
void sim_coordinator_step(struct sim *sim, const struct nx_round_event *event);
void sim_coordinator_event(struct sim *sim, struct sim_event *event);

/* sim_invariants.c: what is seen, and what must never be seen */
int sim_watch_create(struct sim_watch **watch_out);
void sim_watch_destroy(struct sim_watch *watch);
void sim_watch_node_sends(struct sim *sim, const struct sim_node *node, struct nx_bytes message);
void sim_watch_coordinator_sends(struct sim *sim, struct nx_bytes message);
void sim_watch_upload(struct sim *sim, const struct sim_node *node, struct nx_bytes header,
                      uint64_t round, uint32_t attempt, uint32_t variant);
void sim_watch_open(struct sim *sim, struct nx_bytes sum);
void sim_watch_sealed(struct sim *sim, const struct sim_node *node, uint64_t round,
                      const struct nx_hash *model);
void sim_watch_idle(struct sim *sim, const struct sim_node *node);
/* After a restart: is all there that was promised? */
void sim_watch_restarted_node(struct sim *sim, const struct sim_node *node);
void sim_watch_restarted_coordinator(struct sim *sim);
