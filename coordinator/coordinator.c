#include "coordinator/coordinator.h"

#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "coordinator/address.h"
#include "coordinator/admin/revision.h"
#include "coordinator/coordinator_internal.h"
#include "coordinator/fitness.h"
#include "coordinator/retention.h"
#include "proto/codec/codec_manifest.h"

#define TICK_MS 250                      /* how often the main thread looks for new invitations */
#define STORE_LOOK_EVERY (5 * NX_SECOND) /* when nothing was changed: invitations end */
#define CLOCK_STEP (60 * NX_SECOND)
#define ENROLMENT_RETRY (2 * NX_SECOND)
#define STANDING_EVERY (5 * NX_SECOND) /* whether those connected may still be */
#define RETENTION_EVERY (3600 * NX_SECOND)
#define SPARE_EVERY (5 * NX_SECOND) /* and how much libc may keep of what was freed */
#define SPARE_MOST ((size_t)16 << 20)
#define HELD_MOST ((size_t)64 << 20) /* memory of answers that nobody has read yet */
#define DRAIN (3 * NX_SECOND) /* how long calls in progress may take when we stop */

void nx_coordinator_fail(struct nx_coordinator *c, const struct nx_error *err) {
  static pthread_mutex_t once = PTHREAD_MUTEX_INITIALIZER;
  pthread_mutex_lock(&once);
  if (!atomic_load(&c->failed)) {
    c->failure = *err;
    atomic_store(&c->failed, true);
  }
  pthread_mutex_unlock(&once);
}

/* --- what it knows ---------------------------------------------------------------------- */

int nx_coordinator_read_members(struct nx_coordinator *c, struct nx_error *err) {
  pthread_mutex_lock(&c->directory_lock);
  int r = nx_run_store_members(c->federation->store, c->members, &c->n_members, err);
  if (r == 0)
    r = nx_run_store_grants(c->federation->store, c->grants, &c->n_grants, err);
  pthread_mutex_unlock(&c->directory_lock);
  return r;
}

static int read_founders(struct nx_coordinator *c, struct nx_error *err) {
  _cleanup_(nx_arena_destroyp) struct nx_arena *arena = NULL;
  struct nx_manifest manifest;
  int r = nx_arena_create((size_t)4 << 20, &arena, err);
  if (r < 0 || (r = nx_manifest_decode(nx_buffer_view(&c->manifest), arena, &manifest, err)) < 0)
    return r;
  c->n_founders = manifest.n_members;
  for (size_t i = 0; i < manifest.n_members; i++) {
    c->founders[i] = (struct nx_round_member){.id = manifest.members[i].id,
                                              .key = manifest.members[i].identity,
                                              .spki = manifest.members[i].spki};
    snprintf(c->founders[i].name, sizeof c->founders[i].name, "%s", manifest.members[i].name);
  }
  pthread_mutex_lock(&c->directory_lock);
  c->has_list = true;
  memset(c->listed, 0, sizeof c->listed);
  for (size_t i = 0; i < manifest.n_members; i++)
    c->listed[manifest.members[i].id] = true;
  pthread_mutex_unlock(&c->directory_lock);
  return 0;
}

int nx_coordinator_read_manifest(struct nx_coordinator *c, struct nx_error *err) {
  c->manifest_chain.size = 0;
  int r = nx_revision_recall(c->federation, &c->manifest, &c->manifest_signature, &c->manifest_hash,
                             &c->manifest_chain, err);
  if (r == NX_E_NOT_FOUND)
    return 0;
  if (r < 0 || (r = read_founders(c, err)) < 0)
    return r;
  c->sealed = true;
  return 0;
}

struct nx_training_run_config nx_coordinator_run_config(struct nx_coordinator *c) {
  return (struct nx_training_run_config){.federation = c->federation,
                                         .audit = c->audit,
                                         .registry = &c->registry,
                                         .pool = c->pool,
                                         .last_elsewhere = nx_members_sealed(c),
                                         .manifest = c->manifest_hash,
                                         .members = c->founders,
                                         .n_members = c->n_founders,
                                         .send = nx_session_send_signed,
                                         .busy = nx_session_is_busy,
                                         .moved = nx_session_moved,
                                         .sealed = nx_progress_sealed,
                                         .context = c};
}

/* --- threads ----------------------------------------------------------------------------- */

static int step_run(struct nx_coordinator *c, struct nx_error *err) {
  int64_t now = nx_clock_monotonic();
  if (!c->run || now < nx_training_run_deadline(c->run))
    return 0;
  nx_progress_changed(c);
  return nx_training_run_tick(c->run, now, err);
}

static void *run_round_thread(void *context) {
  struct nx_coordinator *c = context;
  bool was_over = true;
  while (!nx_mailbox_is_closed(c->round_box)) {
    struct nx_error err = {0};
    int64_t publish = nx_progress_publish(c, nx_clock_monotonic());
    int64_t deadline =
        c->run && !atomic_load(&c->failed) ? nx_training_run_deadline(c->run) : NX_NEVER;
    struct nx_task *task = nx_mailbox_wait(c->round_box, NX_MIN(publish, deadline));
    if (task)
      nx_task_run_next(task);
    if (!atomic_load(&c->failed) && step_run(c, &err) < 0)
      nx_coordinator_fail(c, &err);
    bool over = !c->run || nx_training_run_is_over(c->run);
    if (over && !was_over)
      malloc_trim(0); /* what the run's rounds needed goes back */
    was_over = over;
  }
  return NULL;
}

static void *run_files_thread(void *context) {
  struct nx_coordinator *c = context;
  for (struct nx_task *task; (task = nx_mailbox_wait(c->files_box, NX_NEVER));)
    nx_task_run_next(task);
  return NULL;
}

/* --- the enrolment port -------------------------------------------------------------------- */

static const struct nx_rpc_method enrol_methods[] = {{NX_METHOD_ENROL, nx_enrol_open}};

/* A port that cannot be had now is tried for again: members who are here lose nothing. */
static void open_enrolment(struct nx_coordinator *c) {
  const struct nx_federation *f = c->federation;
  struct nx_rpc_server_config config = {
      .address = f->config->enrol_listen,
      .certificate = nx_buffer_view(&f->tls_certificate),
      .key = nx_buffer_view(&f->tls_key),
      .ca = nx_buffer_view(&f->ca_certificate),
      .methods = enrol_methods,
      .n_methods = NX_ARRAY_LENGTH(enrol_methods),
      .context = c,
      .message_cap = NX_MESSAGE_CAP_ENROL,
      .send_queue_cap = NX_MESSAGE_CAP_ENROL,
      .streams_per_connection = 2,
  };
  struct nx_error err = {0};
  int64_t now = nx_clock_monotonic();
  if (now < c->next_enrolment)
    return;
  c->next_enrolment = 0;
  atomic_store(&c->n_refusals, 0);
  if (nx_rpc_server_create(&config, &c->enrolment, &err) == 0) {
    NX_LOG(NX_LOG_INFO, "enrolment.opened", NX_STR("address", f->config->enrol_address));
    return;
  }
  NX_LOG(NX_LOG_WARNING, "enrolment.unopened", NX_STR("why", err.text));
  c->next_enrolment = now + ENROLMENT_RETRY;
}

static void close_enrolment(struct nx_coordinator *c) {
  if (!c->enrolment)
    return;
  nx_rpc_server_stop(nx_steal(&c->enrolment), nx_clock_monotonic() + DRAIN);
  NX_LOG(NX_LOG_INFO, "enrolment.closed");
}

/* Invitations are made by another process; the audit log is ours. */
static int log_invitations(struct nx_coordinator *c, struct nx_error *err) {
  struct nx_store_invitation invitation;
  int r;
  while ((r = nx_run_store_unlogged_invitation(c->federation->store, &invitation, NULL)) == 0) {
    r = NX_AUDIT_APPEND(c->audit, err, "member.invited", NX_AUDIT_UINT("member", invitation.member),
                        NX_AUDIT_STR("name", invitation.name),
                        NX_AUDIT_INT("expires", invitation.expires));
    if (r < 0 ||
        (r = nx_run_store_mark_logged(c->federation->store, &invitation.token_hash, err)) < 0)
      return r;
    NX_LOG(NX_LOG_INFO, "member.invited", NX_U64("member", invitation.member),
           NX_STR("name", invitation.name));
  }
  return 0;
}

static int log_revocations(struct nx_coordinator *c, struct nx_error *err) {
  struct nx_store_member member;
  char reason[NX_STORE_REASON_SIZE];
  int r;
  while (nx_run_store_unlogged_revocation(c->federation->store, &member, reason, NULL) == 0) {
    if ((r = nx_coordinator_read_members(c, err)) < 0 ||
        (r = NX_AUDIT_APPEND(c->audit, err, "member.revoked", NX_AUDIT_UINT("member", member.id),
                             NX_AUDIT_STR("name", member.name), NX_AUDIT_HASH("spki", &member.spki),
                             NX_AUDIT_STR("why", reason))) < 0 ||
        (r = nx_run_store_mark_revocation_logged(c->federation->store, member.id, err)) < 0)
      return r;
    NX_LOG(NX_LOG_WARNING, "member.revoked", NX_U64("member", member.id),
           NX_STR("name", member.name), NX_STR("why", reason));
    nx_task_post_plain(c, c->round_box, nx_session_close_unwelcome);
  }
  return 0;
}

/* Granted or revoked by a verb of another process. */
static int log_grants(struct nx_coordinator *c, struct nx_error *err) {
  struct nx_store_grant grant;
  char reason[NX_STORE_REASON_SIZE];
  int r;
  while (nx_run_store_unlogged_grant(c->federation->store, &grant, reason, NULL) == 0) {
    const char *kind = grant.revoked ? "role.revoked" : "role.granted";
    const char *role = nx_role_name((enum nx_role)grant.role);
    if ((r = nx_coordinator_read_members(c, err)) < 0 ||
        (r = NX_AUDIT_APPEND(c->audit, err, kind, NX_AUDIT_STR("role", role),
                             NX_AUDIT_STR("name", grant.name), NX_AUDIT_HASH("spki", &grant.spki),
                             NX_AUDIT_INT("ends", grant.ends), NX_AUDIT_STR("why", reason))) < 0 ||
        (r = nx_run_store_mark_grant_logged(c->federation->store, &grant, err)) < 0)
      return r;
    NX_LOG(NX_LOG_INFO, kind, NX_STR("role", role), NX_STR("name", grant.name));
    nx_task_post_plain(c, c->round_box, nx_session_close_unwelcome);
  }
  return 0;
}

/* What the transport counts, as told so far: at most once in ten seconds. */
struct report {
  const char *event, *why;
  uint64_t reported;
  int64_t next;
};

static void tell_more(struct report *report, uint64_t n) {
  if (n == report->reported || nx_clock_monotonic() < report->next)
    return;
  NX_LOG(NX_LOG_WARNING, report->event, NX_U64("n", n - report->reported),
         NX_STR("why", report->why));
  report->reported = n;
  report->next = nx_clock_monotonic() + 10 * NX_SECOND;
}

/* Main thread alone. Who was hung up on stands with its member.lost, or with its next call. */
static void report_transport(void) {
  static struct report turned_away = {
      "connections.turned_away",
      "no descriptors left: raise LimitNOFILE, or find out who opens so many", 0, 0};
  static struct report hung_up = {
      "calls.hung_up",
      "more waited to be read than there is room for: these peers ask and do not read, or their "
      "lines are cut",
      0, 0};
  tell_more(&turned_away, nx_rpc_turned_away());
  tell_more(&hung_up, nx_rpc_hung_up());
}

/* What cannot be deleted is told and tried again; the rounds go on. */
static void keep_retention(struct nx_coordinator *c) {
  struct nx_error why;
  int64_t now = nx_clock_monotonic();
  if (now < c->next_retention)
    return;
  c->next_retention = now + RETENTION_EVERY;
  if (nx_retention_pass(c->federation, c->audit, nx_clock_unix(), &why) < 0)
    NX_LOG(NX_LOG_WARNING, "retention.failed", NX_STR("why", why.text));
}

/* Main thread alone. What a busy moment took is the machine's again when it is over. */
static void give_back_memory(void) {
  static int64_t next;
  int64_t now = nx_clock_monotonic();
  if (now < next)
    return;
  next = now + SPARE_EVERY;
  if (mallinfo2().fordblks > SPARE_MOST)
    malloc_trim(0);
}

/* Main thread alone. A line outlives neither a revocation nor the certificate's own end. */
static void look_at_standing(struct nx_coordinator *c) {
  static int64_t next;
  int64_t now = nx_clock_monotonic();
  if (now < next)
    return;
  next = now + STANDING_EVERY;
  nx_task_post_plain(c, c->round_box, nx_session_close_unwelcome);
}

/* Main thread alone. Rounds go by the monotonic clock; certificates and invitations do not. */
static void watch_clock(void) {
  static int64_t ahead; /* the wall clock's reading less the monotonic one's */
  int64_t now = nx_clock_unix() - nx_clock_monotonic(), moved = ahead ? now - ahead : 0;
  if (moved >= CLOCK_STEP || moved <= -CLOCK_STEP)
    NX_LOG(NX_LOG_WARNING, "clock.moved", NX_I64("seconds", moved / NX_SECOND),
           NX_STR("do", "set it right: certificates and invitations begin and end by it"));
  ahead = now;
}

/* What verbs of other processes, and members, put into the store; and what ends by itself. */
static int look_at_store(struct nx_coordinator *c, struct nx_error *err) {
  struct nx_store_proposal proposal;
  uint32_t pending;
  int r = log_invitations(c, err);
  if (r < 0 || (r = log_revocations(c, err)) < 0 || (r = log_grants(c, err)) < 0 ||
      (r = nx_run_store_pending_invitations(c->federation->store, nx_clock_unix(), &pending, err)) <
          0)
    return r;
  atomic_store(&c->n_invited, pending);
  c->proposed = nx_run_store_proposal(c->federation->store, &proposal, NULL, NULL, NULL) == 0;
  return 0;
}

static int tick(struct nx_coordinator *c, struct nx_error *err) {
  uint64_t mark;
  int64_t now = nx_clock_monotonic();
  watch_clock();
  report_transport();
  look_at_standing(c);
  keep_retention(c);
  give_back_memory();
  int r = nx_run_store_mark(c->federation->store, &mark, err);
  if (r == 0 && (mark != c->store_mark || now >= c->next_store_look)) {
    c->store_mark = mark; /* what is changed while looking is looked at again */
    c->next_store_look = now + STORE_LOOK_EVERY;
    r = look_at_store(c, err);
  }
  if (r < 0 || (r = nx_coordinator_tend_identity(c, err)) < 0)
    return r;
  if (c->proposed || atomic_load(&c->proposal_open))
    nx_task_post_plain(c, c->round_box, nx_revisions_look);
  bool invited = atomic_load(&c->n_invited) > 0;
  if (invited && !c->enrolment)
    open_enrolment(c);
  else if (!invited)
    close_enrolment(c);
  return 0;
}

/* --- life ---------------------------------------------------------------------------------- */

static int open_home(struct nx_coordinator *c, const char *home, struct nx_error *err) {
  char path[NX_PATH_SIZE];
  int r = nx_federation_open(home, &c->federation, err);
  if (r < 0 || (r = nx_folder_lock(home, &c->lock_fd, err)) < 0 ||
      (r = nx_federation_unlock(c->federation, err)) < 0 ||
      (r = nx_path_join(path, home, "blobs", err)) < 0 ||
      (r = nx_model_registry_init(&c->registry, path, err)) < 0 ||
      (r = nx_path_join(path, home, "audit", err)) < 0 ||
      (r = nx_audit_log_open(path, "coordinator", c->federation->identity, &c->audit, err)) < 0)
    return r;
  if (nx_audit_log_size(c->audit) == 0)
    r = NX_AUDIT_APPEND(
        c->audit, err, "federation.created", NX_AUDIT_STR("name", c->federation->row.name),
        NX_AUDIT_DATA("id", c->federation->row.id, sizeof c->federation->row.id),
        NX_AUDIT_DATA("identity", c->federation->row.identity.bytes, NX_PUBLIC_KEY_SIZE),
        NX_AUDIT_HASH("spki", &c->federation->row.spki));
  if (r < 0 || (r = nx_coordinator_read_members(c, err)) < 0 ||
      (r = nx_coordinator_tend_identity(c, err)) < 0)
    return r;
  return nx_coordinator_read_manifest(c, err);
}

static int resume_run(struct nx_coordinator *c, struct nx_error *err) {
  struct nx_training_run_config config = nx_coordinator_run_config(c);
  return nx_training_run_resume(&config, nx_clock_monotonic(), &c->run, err);
}

static int open_main_port(struct nx_coordinator *c, struct nx_error *err) {
  static struct nx_rpc_method methods[32] = {
      {NX_METHOD_SESSION_OPEN, nx_session_open},    {NX_METHOD_ROUND_UPLOAD, nx_upload_open},
      {NX_METHOD_ROUND_FETCH_TILES, nx_tiles_open}, {NX_METHOD_BLOB_FETCH, nx_blob_open},
      {NX_METHOD_IDENTITY_RENEW, nx_renew_open},    {NX_METHOD_ADMIN_LOG, nx_log_open},
  };
  size_t n = 6;
  for (size_t i = 0; i < nx_admin_n_methods; i++)
    methods[n++] = nx_admin_methods[i];
  const struct nx_federation *f = c->federation;
  struct nx_rpc_server_config config = {
      .address = f->config->listen,
      .certificate = nx_buffer_view(&f->tls_certificate),
      .key = nx_buffer_view(&f->tls_key),
      .ca = nx_buffer_view(&f->ca_certificate),
      .require_client_certificate = true,
      .methods = methods,
      .n_methods = n,
      .context = c,
      .message_cap = NX_MESSAGE_CAP_MAIN,
      .send_queue_cap = 4 * NX_MESSAGE_CAP_MAIN,
      .held_most = HELD_MOST,
  };
  return nx_rpc_server_create(&config, &c->server, err);
}

/* Nobody may be half told that a port is there when it is not. */
static int check_port(const char *text, struct nx_error *err) {
  struct nx_address address;
  int r = nx_address_parse(text, &address, err);
  return r < 0 ? r : nx_address_probe(&address, err);
}

static int start_threads(struct nx_coordinator *c, struct nx_error *err) {
  long processors = sysconf(_SC_NPROCESSORS_ONLN);
  size_t threads = c->federation->config->threads ? c->federation->config->threads
                                                  : (size_t)NX_MAX(processors, 1);
  int r = nx_pool_create(threads, &c->pool, err);
  if (r < 0 || (r = nx_mailbox_create(NX_TASKS, nx_task_destroy, &c->round_box, err)) < 0 ||
      (r = nx_mailbox_create(NX_TASKS, nx_task_destroy, &c->files_box, err)) < 0)
    return r;
  if (c->sealed && (r = resume_run(c, err)) < 0)
    return r;
  int e = pthread_create(&c->files_thread, NULL, run_files_thread, c);
  if (e)
    return nx_fail_errno(err, e, "start a thread");
  e = pthread_create(&c->round_thread, NULL, run_round_thread, c);
  return e ? nx_fail_errno(err, e, "start a thread") : 0;
}

static void drain(struct nx_coordinator *c, struct nx_stream *stream, struct nx_bytes bytes) {
  (void)stream, (void)bytes;
  nx_session_notify_all(c, NX_NOTICE_DRAINING, "the coordinator stops: come back");
  nx_session_close_all(c, "the coordinator stops: come back");
  for (size_t i = 0; i < NX_WATCHERS; i++)
    if (c->watchers[i])
      nx_rpc_call_finish(c->watchers[i]->call, NX_RPC_UNAVAILABLE, "the coordinator stops");
}

/* The ports first, so that nothing new comes; then the threads, which finish what is there. */
static void stop_threads(struct nx_coordinator *c) {
  if (c->round_thread)
    nx_task_post_plain(c, c->round_box, drain);
  nx_rpc_server_stop(nx_steal(&c->server), nx_clock_monotonic() + DRAIN);
  close_enrolment(c);
  nx_rpc_on_refused_handshake(NULL, NULL);
  if (c->round_box)
    nx_mailbox_close(c->round_box);
  if (c->files_box)
    nx_mailbox_close(c->files_box);
  if (c->round_thread)
    pthread_join(c->round_thread, NULL);
  if (c->files_thread)
    pthread_join(c->files_thread, NULL);
}

static void destroy(struct nx_coordinator *c) {
  stop_threads(c);
  nx_training_run_destroy(c->run);
  for (size_t id = 0; id < 256; id++)
    nx_stream_unref(c->seats[id]);
  for (size_t i = 0; i < NX_WATCHERS; i++)
    nx_stream_unref(c->watchers[i]);
  nx_mailbox_destroy(c->round_box);
  nx_mailbox_destroy(c->files_box);
  nx_pool_destroy(c->pool);
  struct nx_error err = {0};
  if (c->audit && nx_audit_log_close(c->audit, &err) < 0)
    NX_LOG(NX_LOG_ERROR, "audit.unclosed", NX_STR("why", err.text));
  nx_buffer_finish(&c->manifest);
  nx_buffer_finish(&c->manifest_chain);
  nx_federation_close(c->federation);
  nx_cleanup_fd(&c->lock_fd);
  free(c->fitness);
  pthread_mutex_destroy(&c->directory_lock);
  free(c);
}

/* Until a signal, or until a thread cannot go on. */
static int wait_until_stopped(struct nx_coordinator *c, const sigset_t *signals,
                              struct nx_error *err) {
  const struct timespec pause = {.tv_nsec = TICK_MS * NX_MILLISECOND};
  for (;;) {
    if (atomic_load(&c->failed)) {
      if (err)
        *err = c->failure;
      return c->failure.code;
    }
    int r = tick(c, err);
    if (r < 0)
      return r;
    if (sigtimedwait(signals, NULL, &pause) > 0)
      return 0;
  }
}

static int serve(struct nx_coordinator *c, const char *home, const struct nx_serve_options *options,
                 struct nx_error *err) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, NULL); /* threads started from here on inherit it */
  signal(SIGPIPE, SIG_IGN);
  int r = open_home(c, home, err);
  if (r == 0)
    nx_run_store_drill(c->federation->store, options->drill_kind, options->drill_record,
                       options->drill_before);
  if (r < 0 || (r = check_port(c->federation->config->listen, err)) < 0 ||
      (r = check_port(c->federation->config->enrol_listen, err)) < 0 ||
      (r = start_threads(c, err)) < 0)
    return r;
  nx_rpc_on_refused_handshake(nx_callers_tell_handshake, c);
  if ((r = open_main_port(c, err)) < 0)
    return r;
  if (!c->federation->is_protected)
    NX_LOG(NX_LOG_INFO, "key.plain", NX_STR("file", NX_FEDERATION_IDENTITY),
           NX_STR("do", "neurox-coordinator key protect, where others may come to this disk"));
  NX_LOG(NX_LOG_INFO, "serving", NX_STR("federation", c->federation->row.name),
         NX_STR("address", c->federation->config->address));
  printf("serving %s on %s\n", c->federation->row.name, c->federation->config->address);
  fflush(stdout);
  r = wait_until_stopped(c, &signals, err);
  NX_LOG(r < 0 ? NX_LOG_ERROR : NX_LOG_INFO, "stopping");
  return r;
}

/* A descriptor a connection, and a few a stream: as many as we may have. */
static void raise_descriptors(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
  }
}

int nx_coordinator_serve(const char *home, const struct nx_serve_options *options,
                         struct nx_error *err) {
  struct nx_coordinator *c = calloc(1, sizeof *c);
  if (!c)
    return nx_fail(err, NX_E_NOMEM, "serve");
  mallopt(M_ARENA_MAX, 2); /* many threads, little memory */
  /* Parts of streams are taken from the heap again and again, and not from the kernel. */
  mallopt(M_MMAP_THRESHOLD, 2 << 20);
  mallopt(M_TRIM_THRESHOLD, 4 << 20);
  raise_descriptors();
  c->lock_fd = -1;
  c->fitness = calloc(1, sizeof *c->fitness);
  if (!c->fitness) {
    free(c);
    return nx_fail(err, NX_E_NOMEM, "serve");
  }
  c->started = nx_clock_monotonic();
  pthread_mutex_init(&c->directory_lock, NULL);
  nx_rpc_library_start();
  int r = serve(c, home, options, err);
  destroy(c);
  nx_rpc_library_stop();
  return r;
}
