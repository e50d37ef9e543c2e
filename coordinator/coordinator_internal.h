/* What the files of the coordinator process share. Private to coordinator/. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/mailbox.h"
#include "common/size.h"
#include "coordinator/admin/roles.h"
#include "coordinator/training_run.h"
#include "proto/codec/codec_admin.h"
#include "proto/codec/codec_model.h"
#include "proto/codec/codec_session.h"
#include "proto/rpc/rpc_server.h"

#define NX_COORDINATOR_SOFTWARE "neurox-coordinator 0.1.0"
#define NX_WATCHERS 16
#define NX_STREAMS_MOST 64 /* calls of one member at once; of all without a certificate, too */
#define NX_FETCHES_MOST                                                                            \
  8 /* of those, fetches: an honest node has two or three, cut lines included */
#define NX_FETCHES_OTHERS 32 /* of people, all together */
#define NX_TASKS 8192      /* room of a mailbox; a call that finds none is cancelled */

struct nx_coordinator;

/* One RPC in progress. Shared by its transport thread and the threads that serve it: whoever
 * holds it has a reference. After a message arrived, nobody touches it but the thread that
 * the message was posted to, until that thread asks for the next one. (The chunks of an upload
 * all go to one thread, in order; a few of them may wait there.) */
struct nx_stream {
  atomic_uint references;
  struct nx_coordinator *coordinator;
  struct nx_rpc_call *call;
  uint32_t member; /* 0: a person, or someone who enrols */
  enum nx_role role;
  struct nx_hash spki; /* of the certificate shown; zeros: none asked for */
  atomic_bool closed;
  atomic_bool sent_away; /* told why, once */

  /* A member's session: round thread. */
  bool greeted;
  uint32_t hears; /* NX_HEARS_… */
  uint32_t protocol;
  char software[NX_SOFTWARE_SIZE];
  struct nx_heartbeat heartbeat;

  /* An upload: round thread for the header, files thread for the bytes. */
  struct nx_buffer header;
  struct nx_upload_header announced;
  struct nx_upload_writer *writer;
  atomic_uint ahead; /* chunks that wait for the files thread */
  bool uploads;      /* is counted among those that do, until it is freed */
  bool over;         /* committed or refused: what still comes is passed over */

  /* Something being fetched: files thread. */
  struct nx_blob_file blob;
  uint64_t offset;
  struct nx_opened_attempt *opened;
  uint64_t *tiles;
  size_t n_tiles, next_tile;
  bool sending;
  bool fetches; /* is counted among those that do, until it is freed */
  size_t piece; /* bytes of the last one sent */
};

struct nx_coordinator {
  struct nx_federation *federation;
  struct nx_audit_log *audit;
  struct nx_model_registry registry;
  struct nx_pool *pool;
  int lock_fd;
  int64_t started; /* monotonic */
  struct nx_mailbox *round_box, *files_box;
  pthread_t round_thread, files_thread;
  struct nx_rpc_server *server;
  struct nx_rpc_server *enrolment; /* main thread; NULL while nobody is invited */
  int64_t next_enrolment;          /* main thread: when its port is tried for again */
  int64_t next_identity;           /* main thread: when certificates are looked at again */
  uint64_t authority_mark;         /* main thread: of the authority's files, as read last */
  int64_t next_retention;          /* main thread */
  uint64_t store_mark;             /* main thread: of the store, as looked at last */
  int64_t next_store_look;         /* main thread: also when nothing changed */
  bool proposed;                   /* main thread: the store has a proposal */
  int64_t next_own_warning, next_issuer_warning; /* main thread */
  atomic_uint n_invited;                         /* pending invitations */
  atomic_bool proposal_open;                     /* a revision of the list of members is proposed */
  atomic_bool failed;                            /* the round or files thread cannot go on */
  struct nx_error failure;                       /* why; written once, before failed */

  atomic_uint n_streams[256]; /* calls in progress by member id; 0: people and enrolment */
  atomic_uint n_refusals;     /* enrolments refused since the port was opened */
  atomic_uint n_fetches;      /* blobs, logs and tiles being sent */
  atomic_uint n_uploads;      /* members' updates coming in */
  atomic_uint n_fetching[256];    /* the same, by member id; 0: people */
  atomic_int_fast64_t moved[256]; /* monotonic, by member id: when something of it last moved */

  /* Who may call: any thread, under the lock. */
  pthread_mutex_t directory_lock;
  struct nx_store_member members[NX_STORE_MEMBERS];
  size_t n_members;
  bool has_list, listed[256]; /* by id, once the list of members is sealed */
  struct nx_store_grant grants[NX_STORE_GRANTS];
  size_t n_grants;
  int64_t denials_since;  /* monotonic */
  unsigned denials, more; /* told since then; not told */

  /* The round thread's. */
  struct nx_training_run *run;
  struct nx_fitness *fitness;
  bool sealed; /* the manifest is */
  struct nx_buffer manifest;
  struct nx_signature manifest_signature;
  struct nx_hash manifest_hash;
  struct nx_buffer manifest_chain;    /* empty until the list was revised */
  struct nx_hash proposal;            /* of a revision, shown to members; zero: none */
  bool proposal_ready, proposal_told; /* enough approved; told why it waits */
  struct nx_round_member founders[NX_STORE_MEMBERS];
  size_t n_founders;
  struct nx_stream *seats[256]; /* sessions by member id */
  int64_t last_seen[256];       /* Unix ns */
  uint64_t last_round[256];     /* the last one whose sum holds the member's update */
  uint64_t claimed[256];        /* the round that the member says it has sealed last */
  struct nx_stream *watchers[NX_WATCHERS];
  int64_t next_progress; /* when watchers may be told again */
  bool progress_due;
};

/* members_ahead.c: the last round that surely was sealed by members; and what it means for a run
 * that is behind it. */
uint64_t nx_members_sealed(const struct nx_coordinator *c);
int nx_members_ahead(struct nx_coordinator *c, struct nx_error *err);

/* coordinator.c */
/* Any thread: the process stops and says why. */
void nx_coordinator_fail(struct nx_coordinator *c, const struct nx_error *err);
int nx_coordinator_read_members(struct nx_coordinator *c, struct nx_error *err);
int nx_coordinator_read_manifest(struct nx_coordinator *c, struct nx_error *err);
struct nx_training_run_config nx_coordinator_run_config(struct nx_coordinator *c);

/* desk.c: streams and tasks */
struct nx_task {
  void (*run)(struct nx_coordinator *c, struct nx_stream *stream, struct nx_bytes bytes);
  struct nx_coordinator *coordinator;
  struct nx_stream *stream; /* a reference, or NULL */
  struct nx_buffer bytes;   /* a copy */
  struct nx_rpc_message
      *message; /* or the message itself, put together when it is the task's turn */
};
typedef void (*nx_task_run)(struct nx_coordinator *c, struct nx_stream *stream,
                            struct nx_bytes bytes);

/* For on_open: who calls, and may they (admin/roles.h)? A refusal is in both logs.
 * *stream_out holds one reference, which on_closed gives back. */
enum nx_rpc_status nx_stream_admit(struct nx_coordinator *c, struct nx_rpc_call *call,
                                   const char *method, struct nx_stream **stream_out,
                                   const char **text_out);
/* desk.c: a stream of that member, no questions asked. */
enum nx_rpc_status nx_stream_create(struct nx_coordinator *c, struct nx_rpc_call *call,
                                    uint32_t member, struct nx_stream **stream_out,
                                    const char **text_out);
/* The enrolment port: nobody has a certificate yet. */
enum nx_rpc_status nx_stream_open_anyone(struct nx_coordinator *c, struct nx_rpc_call *call,
                                         struct nx_stream **stream_out, const char **text_out);
/* False: the caller was revoked since, or its certificate has ended; the stream is ended. */
bool nx_stream_is_welcome(struct nx_stream *stream);
struct nx_stream *nx_stream_ref(struct nx_stream *stream);
void nx_stream_unref(struct nx_stream *stream);
/* The usual on_closed. */
void nx_stream_closed(void *context, struct nx_rpc_call *call, enum nx_rpc_status status,
                      const char *text);
/* Ends the call with what err says, and takes its words along. */
void nx_stream_refuse(struct nx_stream *stream, const struct nx_error *err);
/* Encodes nothing: sends the bytes and empties the buffer; a call that cannot take them is
 * cancelled. */
void nx_stream_send(struct nx_stream *stream, struct nx_buffer *message);
/* Something of the member came, or was taken by it. Any thread. */
void nx_stream_moves(struct nx_stream *stream);

/* Copies the bytes; wiped after the task ran. When there is no room the stream's call is
 * cancelled. */
void nx_task_post(struct nx_mailbox *box, struct nx_stream *stream, struct nx_bytes bytes,
                  nx_task_run run);
/* Takes the message over: bulk, which is not wiped (uploads are noise without their masks). */
void nx_task_post_message(struct nx_mailbox *box, struct nx_stream *stream,
                          struct nx_rpc_message *message, nx_task_run run);
/* Without a stream; with bytes or without. */
void nx_task_post_bytes(struct nx_coordinator *c, struct nx_mailbox *box, struct nx_bytes bytes,
                        nx_task_run run);
void nx_task_post_plain(struct nx_coordinator *c, struct nx_mailbox *box, nx_task_run run);
void nx_task_run_next(struct nx_task *task); /* and destroys it */
void nx_task_destroy(void *task);

/* callers.c: for nx_rpc_on_refused_handshake(). */
void nx_callers_tell_handshake(void *coordinator, const char *why);

/* Services: their methods. */
enum nx_rpc_status nx_session_open(void *context, struct nx_rpc_call *call,
                                   struct nx_rpc_handlers *handlers_out, void **call_context_out,
                                   const char **text_out);
enum nx_rpc_status nx_upload_open(void *context, struct nx_rpc_call *call,
                                  struct nx_rpc_handlers *handlers_out, void **call_context_out,
                                  const char **text_out);
enum nx_rpc_status nx_tiles_open(void *context, struct nx_rpc_call *call,
                                 struct nx_rpc_handlers *handlers_out, void **call_context_out,
                                 const char **text_out);
enum nx_rpc_status nx_blob_open(void *context, struct nx_rpc_call *call,
                                struct nx_rpc_handlers *handlers_out, void **call_context_out,
                                const char **text_out);
extern const struct nx_rpc_method nx_admin_methods[];
extern const size_t nx_admin_n_methods;
enum nx_rpc_status nx_enrol_open(void *context, struct nx_rpc_call *call,
                                 struct nx_rpc_handlers *handlers_out, void **call_context_out,
                                 const char **text_out);

enum nx_rpc_status nx_renew_open(void *context, struct nx_rpc_call *call,
                                 struct nx_rpc_handlers *handlers_out, void **call_context_out,
                                 const char **text_out);

enum nx_rpc_status nx_log_open(void *context, struct nx_rpc_call *call,
                               struct nx_rpc_handlers *handlers_out, void **call_context_out,
                               const char **text_out);

/* own_identity.c, main thread: renews what is due, takes up what `ca` changed. */
int nx_coordinator_tend_identity(struct nx_coordinator *c, struct nx_error *err);

/* session_service.c, round thread */
void nx_session_send_down(struct nx_stream *stream, const struct nx_session_message *message);
void nx_session_send_signed(void *context, const struct nx_outgoing *outgoing);
bool nx_session_is_busy(void *context, uint32_t member);
int64_t nx_session_moved(void *context, uint32_t member);
/* Ends every session with a word; members come back by themselves. */
void nx_session_close_all(struct nx_coordinator *c, const char *text);
/* Ends the sessions of members who were revoked. */
void nx_session_close_unwelcome(struct nx_coordinator *c, struct nx_stream *stream,
                                struct nx_bytes bytes);
/* Tells one member, or all (stream NULL), of a plan that was submitted. */
void nx_session_announce_plan(struct nx_coordinator *c, struct nx_stream *stream,
                              const struct nx_hash *plan, const char *name);
void nx_session_notify_all(struct nx_coordinator *c, enum nx_notice_kind kind, const char *text);

/* revision_service.c, round thread */
bool nx_coordinator_lists(const struct nx_coordinator *c, uint32_t member);
/* To a member that has just come: the proposal that waits for its answer. */
void nx_revisions_greet(struct nx_coordinator *c, uint32_t member);
/* True: the message was about the list of members. */
bool nx_revisions_hear(struct nx_coordinator *c, uint32_t member, struct nx_bytes message);
void nx_revisions_look(struct nx_coordinator *c, struct nx_stream *stream, struct nx_bytes bytes);

/* progress.c, round thread */
struct nx_admin_status nx_progress_status(struct nx_coordinator *c);
/* A round was sealed (the run's callback). */
void nx_progress_sealed(void *context);
void nx_progress_changed(struct nx_coordinator *c);
/* Tells watchers what is due; when to call again, or NX_NEVER. */
int64_t nx_progress_publish(struct nx_coordinator *c, int64_t now);
void nx_progress_add_watcher(struct nx_coordinator *c, struct nx_stream *stream);
