/* Simulator: one process runs a coordinator and N nodes, the real cores with real
 * cryptography, over a simulated network, clock and disk. Every fault (loss, delay,
 * reordering, duplicates, broken connections, kills between any two actions, damaged
 * uploads) is drawn from one seed, so that a failure can be replayed. After every step of a
 * core the invariants of the protocol are checked. */
#pragma once

#include "common/clock.h"
#include "common/size.h"
#include "coordinator/round/cohort.h"
#include "coordinator/round/round.h"
#include "node/session/participant.h"
#include "proto/codec/round_checks.h"

#define SIM_NODES_MAX 255

/* What can go wrong, in one federation's life. Probabilities are per message or per step. */
struct sim_faults {
  double loss, duplicate, disconnect, kill_node, kill_coordinator, tear, damage, fail_work, refuse;
  int64_t delay; /* most, of a message */
  bool streams;  /* messages of one connection stay in order and are not lost */
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
};

/* Inputs: 0..31 the core's events, from 32 on its messages (type - 100, at most 22). */
#define SIM_STATES 10
#define SIM_INPUTS 56

struct sim_totals {
  uint64_t rounds, attempts, aborted, lost, recovered, steps, kills, federations, evidence;
  uint64_t actions; /* carried out by anybody */
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
  SIM_NEXT_ATTEMPT
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
  bool up, connected;
  uint64_t life, session, timer;
  struct nx_participant *core;
  struct nx_participant_actions actions;
  struct sim_update update;
  struct sim_check check;
  bool uploading;
  /* on disk */
  bool torn; /* the last record was being written when the power went */
  struct sim_blob *journal;
  size_t n_journal;
  struct sim_blob spool;   /* y */
  uint32_t spool_variant;  /* of the update in it */
  struct nx_buffer header; /* of the upload that may be under way */
  uint64_t charged_round;  /* the last charge */
  uint32_t charged_attempt;
  uint64_t sealed;
  struct nx_hash model;
};

struct sim_upload {
  uint32_t id;
  struct sim_blob bytes;
};

struct sim_record {
  struct sim_blob bytes;
};

struct sim_coordinator {
  struct nx_identity *identity;
  /* in memory */
  bool up;
  uint64_t life, timer;
  struct nx_round *core;
  struct nx_round_actions actions;
  struct nx_mask *mask; /* of an UNMASK under way */
  struct nx_round_upload opened[NX_MEMBERS_MAX];
  size_t n_opened;
  /* on disk */
  uint64_t round;
  uint32_t attempt;
  bool begun; /* an attempt is under way */
  uint32_t cohort[NX_MEMBERS_MAX];
  size_t n_cohort;
  struct nx_transcript_parameters parameters;
  struct sim_blob *records;
  size_t n_records;
  struct sim_upload uploads[NX_ID_END];
  struct sim_blob sum; /* the last opened one */
  struct nx_hash model;
  struct sim_blob seals[NX_MEMBERS_MAX];
  size_t n_seals;
  uint64_t sealed;
  struct sim_blob certificate; /* of the aborted attempt before */
  bool accused[NX_ID_END];
};

struct sim_watch; /* sim_invariants.c */

struct sim {
  struct sim_settings settings;
  struct sim_totals totals;
  struct sim_faults faults;
  struct nx_rng rng, secret_rng;
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
  bool quiet; /* faults have stopped, so that liveness can be asked for */
  struct sim_watch *watch;
  bool failed;
};

/* sim.c: the world */
int sim_run(const struct sim_settings *settings, struct sim_totals *totals_out);
void sim_fail(struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));
void sim_log(struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Evidence: expected with a villain, a violation without. */
void sim_report(struct sim *sim, const char *kind, uint32_t by, uint32_t accused,
                const char *reason);
/* After each action: is this the end of whoever carried it out? */
bool sim_dies(struct sim *sim, double chance);
/* sim_coverage.c: counts what comes to a core, in the state it is in */
void sim_seen_round(struct sim *sim, const struct nx_round_event *event);
void sim_seen_node(struct sim *sim, const struct sim_node *node,
                   const struct nx_participant_event *event);
/* Prints which inputs came in which states, and how often. */
void sim_print_coverage(const struct sim_totals *totals);
/* Schedules; takes over the event's bytes. */
void sim_post(struct sim *sim, struct sim_event event, int64_t delay);
bool sim_chance(struct sim *sim, double p);
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
