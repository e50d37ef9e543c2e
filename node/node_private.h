/* The insides of the node's shell, shared by its files. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "common/mailbox.h"
#include "node/node.h"
#include "node/node_config.h"
#include "node/node_home.h"
#include "node/policy/budget.h"
#include "node/policy/egress.h"
#include "node/session/journal.h"
#include "node/session/participant.h"
#include "node/session/pinned.h"
#include "node/session/session.h"
#include "node/site_gate.h"
#include "node/site_work.h"
#include "node/worker.h"

/* What comes through the mailbox. */
enum node_message_kind {
  NODE_CONNECTED,
  NODE_MESSAGE,
  NODE_NOTICE,
  NODE_DISCONNECTED,
  NODE_REFUSED,
  NODE_JOB_DONE,
  NODE_LOOK,    /* SIGHUP */
  NODE_RENEW,   /* SIGUSR1: ask for the next certificate now */
  NODE_RENEWED, /* bytes, or code and text */
  NODE_STOP
};

struct node_message {
  enum node_message_kind kind;
  struct nx_buffer bytes; /* MESSAGE: a SignedMessage; CONNECTED: the manifest */
  char text[NX_NOTICE_SIZE];
  enum nx_notice_kind notice;
  struct nx_job *job;
  int code;            /* RENEWED */
  struct nx_hash spki; /* CONNECTED */
  uint32_t hears;      /* CONNECTED */
  struct nx_hash asks, heard; /* NOTICE */
  struct nx_signature manifest_signature;
  struct nx_buffer chain;
  uint64_t last_sealed, first_round;
  struct nx_hash model, plan;
  struct nx_buffer *seals; /* [n_seals] */
  size_t n_seals;
};

enum node_job_kind {
  JOB_PREPARE,  /* the plan of an invitation: here, approved; its model 0 */
  JOB_CATCH_UP, /* a model that others vouched for */
  JOB_CONSIDER,
  JOB_MAKE,
  JOB_MASK,
  JOB_UPLOAD,
  JOB_CHECK,
  JOB_ADOPT,
  JOB_ANSWER,     /* do our data fit a plan? */
  JOB_FETCH_PLAN, /* that was submitted, for the steward to read */
  JOB_RELEASE
};

/* Copies in, results out: nothing of the owner's is touched on the worker's thread. */
struct node_job {
  struct nx_job job; /* first */
  struct nx_node *node;
  enum node_job_kind kind;
  uint64_t generation; /* MAKE, UPLOAD: another one now means: stop */
  struct nx_site_round round;
  struct nx_transcript_parameters parameters;
  uint32_t variant;
  uint32_t n_invited;                  /* MAKE: members of U0 */
  uint64_t first_round;                /* PREPARE: of the run, as announced; 0: not known */
  uint32_t n_members;                  /* PREPARE, CONSIDER: of the federation */
  char (*cohort)[NX_POLICY_NAME_SIZE]; /* CONSIDER: [n_cohort] */
  size_t n_cohort;
  struct nx_mask *mask;
  struct nx_buffer header; /* UPLOAD: M5 */
  uint64_t bytes;
  struct nx_hash root, t3, sum, destination;
  struct nx_spot_member *uploads;
  size_t n_uploads;
  uint64_t *tiles;
  size_t n_tiles;
  /* results */
  int code;
  struct nx_error err;
  struct nx_hash model;
  uint32_t spot_checks; /* PREPARE: what the plan asks for */
  struct nx_protected protected;
  struct nx_site_sum opened;
  struct nx_ledger_charge charge; /* CONSIDER: what the round will charge */
  bool charges;
  struct nx_buffer message; /* ANSWER: to be sent */
};

struct nx_node {
  struct nx_node_options options;
  struct nx_node_config *config;
  struct nx_home_federation *federation;
  struct nx_identity *identity;
  struct nx_unlock unlock; /* how the keys were opened */
  struct nx_audit_log *audit;       /* any thread */
  struct nx_privacy_ledger *ledger; /* any thread */
  struct nx_ledger_charge charge;   /* of the round that was considered last */
  bool charges;
  uint64_t charge_round;
  struct nx_journal *journal;
  struct nx_buffer *records; /* what the journal held at start, until the participant has it */
  size_t n_records;
  bool journal_torn;
  int lock;

  struct nx_buffer ca, certificate, key; /* PEM */
  uint8_t federation_id[NX_FEDERATION_ID_SIZE];
  struct nx_public_key coordinator;
  struct nx_hash spki; /* of our certificate */

  struct nx_pinned pinned;
  struct nx_participant *participant; /* NULL until members are pinned */
  struct nx_participant_config participant_config;
  struct nx_participant_member *members;
  struct nx_participant_actions actions;
  struct nx_arena *arena; /* for looking into messages */

  struct nx_mailbox *mailbox;
  struct nx_session *session;
  struct nx_worker *worker;  /* NULL while idle */
  struct nx_egress *egress;  /* any thread */
  struct nx_site_gate *gate; /* any thread */
  struct nx_site_work *work; /* the worker's */
  struct node_job *running;  /* the worker's */
  atomic_uint_fast64_t work_generation, upload_generation;
  atomic_uint_fast64_t steps_round, steps_done,
      steps_total; /* of a training under way; total 0: none */
  atomic_uint steps_attempt;
  atomic_bool stopping;

  int64_t deadline;
  int64_t idle_since;      /* NX_NEVER while something goes on */
  int64_t next_look;       /* at what people put into the home */
  int64_t next_retention;  /* when to look for what has lain here long enough */
  uint64_t muted_round;    /* torn journal: nothing is said in rounds up to this one */
  uint64_t prepared_round; /* of the invitation that was prepared last */
  struct nx_hash prepared; /* its plan */
  bool is_prepared;
  struct nx_hash announced_plan; /* what Welcome said of the present run */
  uint64_t announced_first;
  uint64_t redialled_round; /* the invitation for which we asked anew what was sealed */
  uint32_t hub_hears;        /* NX_HEARS_… of its Welcome */
  int64_t next_tell;         /* of HOME/subjects/tell, again */
  struct nx_hash told;       /* the message that the hub has not written down yet */
  unsigned answering;        /* JOB_ANSWER under way */
  unsigned holding;         /* jobs that messages wait for */
  struct node_message **held;
  size_t n_held;

  pthread_mutex_t lock_hello; /* guards what Hello says */
  uint64_t hello_sealed;
  struct nx_hash hello_model;

  int64_t renew_at;           /* when the certificate is to be renewed */
  bool line_is_old;           /* the session's line was opened with the certificate before */
  int64_t next_members;       /* when to look for what the steward left about the list of members */
  struct nx_hash sent_answer; /* on this line */
  bool sent_new_key;
  bool again; /* leave the loop, and begin anew with another list or key */

  bool stop; /* leave the loop */
  int stop_code;
};

/* node_events.c */
int nx_node_handle(struct nx_node *node, struct node_message *message, struct nx_error *err);
int nx_node_feed(struct nx_node *node, const struct nx_participant_event *event,
                 struct nx_error *err);
void nx_node_message_destroy(void *message);

/* node_privacy.c: the ledger, for the actions CHARGE, REFUND and SEALED. */
int nx_node_charge(struct nx_node *node, const struct nx_participant_action *action,
                   struct nx_error *err);
int nx_node_refund(struct nx_node *node, const struct nx_participant_action *action,
                   struct nx_error *err);
int nx_node_tell_spent(struct nx_node *node, const struct nx_site_round *round,
                       struct nx_error *err);

/* node_members.c */
#define NODE_MEMBERS_HEARD 1
/* NODE_MEMBERS_HEARD: the message was about the list of members; 0: it was not. */
int nx_node_hear_members(struct nx_node *node, const struct node_message *message,
                         struct nx_error *err);
int nx_node_look_at_members(struct nx_node *node, struct nx_error *err);
void nx_node_forget_proposal(struct nx_node *node);

/* node_answers.c: what the hub asks about this site's data, and what the steward tells it. */
int nx_node_asked(struct nx_node *node, const struct nx_hash *plan, struct nx_error *err);
int nx_node_answer(struct nx_node *node, struct node_job *job, struct nx_error *err);
/* Tells the hub what the steward left in HOME/subjects/tell, until it says that it has it. */
int nx_node_tell_hub(struct nx_node *node, struct nx_error *err);
void nx_node_heard(struct nx_node *node, const struct nx_hash *message);
int nx_node_answered(struct nx_node *node, struct node_job *job, struct nx_error *err);

/* node_rotation.c: before anything is opened that the identity key signs. */
int nx_node_finish_rotation(const char *home, uint32_t member, const char *origin,
                            struct nx_unlock *unlock, struct nx_error *err);

/* node_actions.c: carries out node->actions. */
int nx_node_carry_out(struct nx_node *node, struct nx_error *err);

/* node_identity.c */
int nx_node_plan_renewal(struct nx_node *node, struct nx_error *err);
int nx_node_tend_identity(struct nx_node *node, struct nx_error *err);
int nx_node_renewed(struct nx_node *node, const struct node_message *message, struct nx_error *err);

/* node_jobs.c */
struct node_job *nx_node_job(struct nx_node *node, enum node_job_kind kind);
int nx_node_start(struct nx_node *node, struct node_job *job, struct nx_error *err);
int nx_node_job_done(struct nx_node *node, struct node_job *job, struct nx_error *err);
bool nx_node_stop_asked(void *context);
/* For heartbeats: the steps of the training under way. Any thread. */
void nx_node_tell_work(void *context, struct nx_heartbeat *out);
void nx_node_spool_path(const struct nx_node *node, uint64_t round, uint32_t attempt,
                        char out[NX_PATH_SIZE]);
const char *nx_node_kind_name(enum nx_round_kind kind);
