#include "node/node.h"

#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/size.h"
#include "crypto/certificate.h"
#include "node/node_private.h"
#include "node/site_data.h"
#include "node/site_retention.h"
#include "proto/rpc/rpc_server.h"

#define MAILBOX_SIZE 1024
#define IDLE_AFTER (15 * NX_SECOND) /* without a round, before memory is given back */
#define LOOK_EVERY (5 * NX_SECOND)  /* at what people put into the home: one stat() */
#define RETENTION_EVERY (3600 * NX_SECOND)
#define PEM_CAP ((size_t)64 << 10)
#define LOOK_CAP ((size_t)64 << 20)

/* ---- what threads of the session tell ------------------------------------------------------- */

static void post(struct nx_node *node, struct node_message *message) {
  if (message && nx_mailbox_post(node->mailbox, message) < 0)
    nx_node_message_destroy(message);
}

static bool copy_welcome(struct node_message *message, const struct nx_welcome *welcome) {
  message->manifest_signature = welcome->manifest_signature;
  message->last_sealed = welcome->last_sealed;
  message->model = welcome->model;
  message->plan = welcome->plan;
  message->first_round = welcome->first_round;
  message->hears = welcome->hears;
  message->seals = calloc(welcome->n_sealed + 1, sizeof *message->seals);
  if (!message->seals)
    return false;
  for (size_t i = 0; i < welcome->n_sealed; i++, message->n_seals++)
    if (nx_buffer_append(&message->seals[i], welcome->sealed[i].data, welcome->sealed[i].size,
                         NULL) < 0)
      return false;
  return nx_buffer_append(&message->chain, welcome->manifest_chain.data,
                          welcome->manifest_chain.size, NULL) == 0 &&
         nx_buffer_append(&message->bytes, welcome->manifest.data, welcome->manifest.size, NULL) ==
             0;
}

static void on_session_event(void *context, const struct nx_session_event *event) {
  static const enum node_message_kind kinds[] = {
      [NX_SESSION_CONNECTED] = NODE_CONNECTED,
      [NX_SESSION_MESSAGE] = NODE_MESSAGE,
      [NX_SESSION_NOTICE] = NODE_NOTICE,
      [NX_SESSION_REFUSED] = NODE_REFUSED,
      [NX_SESSION_DISCONNECTED] = NODE_DISCONNECTED,
  };
  struct node_message *message = calloc(1, sizeof *message);
  bool whole = message != NULL;
  if (whole) {
    message->kind = kinds[event->type];
    message->notice = event->notice;
    message->spki = event->spki;
    message->asks = event->asks;
    message->heard = event->heard;
    snprintf(message->text, sizeof message->text, "%s", event->text ? event->text : "");
    whole = nx_buffer_append(&message->bytes, event->message.data, event->message.size, NULL) == 0;
  }
  if (whole && event->welcome)
    whole = copy_welcome(message, event->welcome);
  if (whole)
    post(context, message);
  else
    nx_node_message_destroy(message);
}

static void what_is_held(void *context, uint64_t *last_sealed_out, struct nx_hash *model_out) {
  struct nx_node *node = context;
  pthread_mutex_lock(&node->lock_hello);
  *last_sealed_out = node->hello_sealed;
  *model_out = node->hello_model;
  pthread_mutex_unlock(&node->lock_hello);
}

/* ---- signals ----------------------------------------------------------------------------------
 */

static void *wait_for_signal(void *context) {
  sigset_t set;
  int signal_number;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGHUP);
  sigaddset(&set, SIGUSR1);
  do {
    sigwait(&set, &signal_number);
    struct node_message *message = calloc(1, sizeof *message);
    if (message)
      message->kind = signal_number == SIGHUP    ? NODE_LOOK
                      : signal_number == SIGUSR1 ? NODE_RENEW
                                                 : NODE_STOP;
    post(context, message);
  } while (signal_number == SIGHUP || signal_number == SIGUSR1);
  return NULL;
}

/* Before any other thread: all of them inherit the mask. */
static void block_signals(void) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGHUP);
  sigaddset(&set, SIGUSR1);
  pthread_sigmask(SIG_BLOCK, &set, NULL);
  signal(SIGPIPE, SIG_IGN);
}

/* ---- opening ------------------------------------------------------------------------------------
 */

static int keep_record(void *context, struct nx_bytes body, struct nx_error *err) {
  struct nx_node *node = context;
  struct nx_buffer *records = realloc(node->records, (node->n_records + 1) * sizeof *records);
  if (!records)
    return nx_fail(err, NX_E_NOMEM, "out of memory");
  node->records = records;
  records[node->n_records] = (struct nx_buffer){0};
  return nx_buffer_append(&records[node->n_records++], body.data, body.size, err);
}

static int open_journal(struct nx_node *node, struct nx_error *err) {
  char path[NX_PATH_SIZE];
  int r = nx_path_join(path, node->options.home, NX_HOME_JOURNAL, err);
  if (r == 0)
    r = nx_journal_open(path, keep_record, node, &node->journal, err);
  node->journal_torn = r == NX_JOURNAL_TORN;
  return r < 0 ? r : 0;
}

static int check_own_certificate(const struct nx_node *node, struct nx_error *err) {
  int r = nx_certificate_verify(nx_buffer_view(&node->ca), nx_buffer_view(&node->certificate),
                                nx_clock_unix() / NX_SECOND, err);
  return r < 0 ? nx_error_prefix(err, r,
                                 "this node's own certificate (a node that was off for long: ask "
                                 "the operator for invite --again, then neurox-node renew FILE)")
               : 0;
}

static int open_keys(struct nx_node *node, struct nx_error *err) {
  const char *home = node->options.home;
  int r = nx_home_read(home, NX_HOME_CA, PEM_CAP, &node->ca, err);
  if (r == 0)
    r = nx_home_read(home, NX_HOME_TLS_CERTIFICATE, PEM_CAP, &node->certificate, err);
  if (r == 0)
    r = nx_home_key(home, NX_HOME_TLS_KEY, &node->unlock, &node->key, err);
  if (r == 0)
    r = nx_certificate_spki(nx_buffer_view(&node->certificate), &node->spki, err);
  if (r == 0)
    r = check_own_certificate(node, err);
  if (r == 0)
    r = nx_home_identity(home, NX_HOME_IDENTITY, &node->unlock, &node->identity, err);
  return r;
}

static int open_gate(struct nx_node *node, const char *audit_folder, struct nx_error *err) {
  char path[NX_PATH_SIZE];
  int r = nx_path_join(path, node->options.home, NX_HOME_EGRESS, err);
  if (r == 0)
    r = nx_egress_open(path, audit_folder, node->config->name, &node->egress, err);
  if (r < 0)
    return r;
  const struct nx_site_gate_config gate = {.home = node->options.home,
                                           .node = node->config,
                                           .key = nx_identity_public(node->identity),
                                           .audit = node->audit,
                                           .ledger = node->ledger,
                                           .egress = node->egress};
  return nx_site_gate_create(&gate, &node->gate, err);
}

static int open_files(struct nx_node *node, struct nx_error *err) {
  const char *home = node->options.home;
  char path[NX_PATH_SIZE], ledger[NX_PATH_SIZE];
  int r = nx_home_read_federation(home, &node->federation, err);
  if (r == 0)
    r = nx_path_join(path, home, NX_HOME_CONFIG, err);
  if (r == 0)
    r = nx_node_config_load(path, &node->config, err);
  if (r == 0)
    r = nx_folder_lock(home, &node->lock, err);
  if (r == 0)
    r = nx_hex_decode(node->federation->id, node->federation_id, sizeof node->federation_id, err);
  if (r == 0)
    r = nx_hex_decode(node->federation->coordinator, node->coordinator.bytes,
                      sizeof node->coordinator.bytes, err);
  if (r == 0)
    r = nx_site_data_check(node->config->data.folder,
                           node->config->data.broken_files == NX_BROKEN_SKIP, err);
  if (r == 0)
    r = nx_node_finish_rotation(home, node->federation->member, node->config->name,
                                &node->unlock, err);
  if (r == 0)
    r = open_keys(node, err);
  if (r == 0)
    r = open_journal(node, err);
  if (r == 0)
    r = nx_path_join(path, home, NX_HOME_AUDIT, err);
  if (r == 0)
    r = nx_audit_log_open(path, node->config->name, node->identity, &node->audit, err);
  if (r == 0)
    r = nx_path_join(ledger, home, NX_LEDGER_FILE, err);
  if (r == 0)
    r = nx_privacy_ledger_open(ledger, true, &node->ledger, err);
  return r < 0 ? r : open_gate(node, path, err);
}

static int open_line(struct nx_node *node, struct nx_error *err) {
  struct nx_session_config session = {.address = node->config->coordinator,
                                      .ca = nx_buffer_view(&node->ca),
                                      .certificate = nx_buffer_view(&node->certificate),
                                      .key = nx_buffer_view(&node->key),
                                      .meter = nx_egress_meter(node->egress)};
  const struct nx_session_listener listener = {.notify = on_session_event,
                                               .held = what_is_held,
                                               .working = nx_node_tell_work,
                                               .context = node};
  memcpy(session.federation, node->federation_id, sizeof session.federation);
  int r = nx_session_create(&session, &listener, &node->session, err);
  if (r < 0)
    return r;
  const struct nx_site_work_config work = {.home = node->options.home,
                                           .node = node->config,
                                           .member = node->federation->member,
                                           .client = nx_session_client(node->session),
                                           .audit = node->audit,
                                           .stop = {nx_node_stop_asked, node}};
  return nx_site_work_create(&work, &node->work, err);
}

static void close_node(struct nx_node *node) {
  atomic_store(&node->stopping, true);
  nx_worker_destroy(node->worker);
  nx_session_destroy(node->session);
  nx_site_work_destroy(node->work);
  nx_participant_destroy(node->participant);
  nx_participant_actions_finish(&node->actions);
  nx_mailbox_destroy(node->mailbox);
  for (size_t i = 0; i < node->n_held; i++)
    nx_node_message_destroy(node->held[i]);
  for (size_t i = 0; i < node->n_records; i++)
    nx_buffer_wipe(&node->records[i]);
  free(node->held);
  free(node->records);
  free(node->members);
  nx_pinned_finish(&node->pinned);
  nx_site_gate_destroy(node->gate);
  nx_egress_destroy(node->egress);
  nx_journal_close(node->journal);
  nx_audit_log_destroy(node->audit);
  nx_identity_destroy(node->identity);
  nx_unlock_finish(&node->unlock);
  nx_buffer_finish(&node->ca);
  nx_buffer_finish(&node->certificate);
  nx_buffer_wipe(&node->key);
  nx_home_federation_destroy(node->federation);
  nx_node_config_destroy(node->config);
  nx_arena_destroy(node->arena);
  if (node->lock >= 0)
    close(node->lock);
}

/* ---- the loop
 * ------------------------------------------------------------------------------------- */

static int release_when_idle(struct nx_node *node, struct nx_error *err) {
  /* A plan that is being fetched for the round to come would be released right behind it. */
  if (!node->worker || node->holding || node->answering || node->idle_since == NX_NEVER ||
      nx_clock_monotonic() < node->idle_since + IDLE_AFTER)
    return 0;
  node->idle_since = nx_clock_monotonic();
  node->is_prepared = false;
  struct node_job *job = nx_node_job(node, JOB_RELEASE);
  return job ? nx_node_start(node, job, err) : nx_fail(err, NX_E_NOMEM, "out of memory");
}

/* What cannot be deleted is told and tried again; the node goes on. */
static void keep_retention(struct nx_node *node) {
  struct nx_participant_progress progress;
  struct nx_error why;
  if (nx_clock_monotonic() < node->next_retention)
    return;
  node->next_retention = nx_clock_monotonic() + RETENTION_EVERY;
  if (node->participant)
    nx_participant_progress(node->participant, &progress);
  if (nx_site_retention_pass(node->options.home, node->config,
                             node->participant ? &progress.model : NULL, nx_clock_unix(),
                             node->audit, &why) < 0)
    NX_LOG(NX_LOG_WARNING, "retention.failed", NX_STR("why", why.text));
}

static int on_time(struct nx_node *node, struct nx_error *err) {
  if (nx_clock_monotonic() >= node->deadline) {
    node->deadline = NX_NEVER;
    int r = nx_node_feed(node, &(struct nx_participant_event){NX_PARTICIPANT_DEADLINE}, err);
    if (r < 0)
      return r;
  }
  if (nx_clock_monotonic() >= node->next_look) {
    node->next_look = nx_clock_monotonic() + LOOK_EVERY;
    int r = nx_site_gate_look(node->gate, false, nx_buffer_view(&node->certificate), err);
    if (r == 0)
      r = nx_node_tell_hub(node, err);
    if (r < 0)
      return r;
  }
  keep_retention(node);
  int r = nx_node_tend_identity(node, err);
  if (r == 0)
    r = nx_node_look_at_members(node, err);
  return r < 0 ? r : release_when_idle(node, err);
}

static int loop(struct nx_node *node, struct nx_error *err) {
  int r = 0;
  while (r == 0 && !node->stop) {
    bool may_rest = node->worker && node->idle_since != NX_NEVER;
    int64_t until =
        may_rest ? NX_MIN(node->deadline, node->idle_since + IDLE_AFTER) : node->deadline;
    until = NX_MIN(until, NX_MIN(node->next_look, node->renew_at));
    if (node->pinned.arena)
      until = NX_MIN(until, node->next_members);
    struct node_message *message = nx_mailbox_wait(node->mailbox, until);
    if (message)
      r = nx_node_handle(node, message, err);
    if (r == 0)
      r = on_time(node, err);
  }
  return r;
}

static int run(struct nx_node *node, struct nx_error *err) {
  pthread_t signals;
  int r = open_files(node, err);
  if (r == 0)
    r = nx_mailbox_create(MAILBOX_SIZE, nx_node_message_destroy, &node->mailbox, err);
  if (r == 0)
    r = nx_arena_create(LOOK_CAP, &node->arena, err);
  if (r < 0)
    return r;
  int e = pthread_create(&signals, NULL, wait_for_signal, node);
  if (e)
    return nx_fail_errno(err, e, "start a thread");
  if (!node->unlock.passphrase)
    NX_LOG(NX_LOG_INFO, "key.plain", NX_STR("file", NX_HOME_IDENTITY),
           NX_STR("do", "neurox-node key protect, where others may come to this disk"));
  NX_LOG(NX_LOG_INFO, "node.started", NX_STR("name", node->config->name),
         NX_U64("member", node->federation->member), NX_STR("federation", node->federation->name),
         NX_STR("coordinator", node->config->coordinator));
  r = open_line(node, err);
  if (r == 0)
    r = nx_node_plan_renewal(node, err);
  if (r == 0)
    r = loop(node, err);
  pthread_kill(signals, SIGTERM); /* nobody waits for its message any more */
  pthread_join(signals, NULL);
  struct nx_error late;
  atomic_store(&node->stopping, true);
  nx_worker_destroy(nx_steal(&node->worker));
  nx_session_destroy(nx_steal(&node->session)); /* nothing leaves behind the last receipt */
  if (node->egress)
    nx_egress_close(node->egress, UINT64_MAX, true, node->audit, &late);
  int closed = nx_audit_log_checkpoint(node->audit, r < 0 ? &late : err);
  NX_LOG(NX_LOG_INFO, "node.stopped", NX_STR("name", node->config->name));
  return r < 0 ? r : closed;
}

/* One life of the node: from its folder to a stop. 1: it begins anew, with another list of
 * members or another identity key. */
static int live(const struct nx_node_options *options, struct nx_error *err) {
  struct nx_node *node = calloc(1, sizeof *node);
  if (!node)
    return nx_fail(err, NX_E_NOMEM, "out of memory");
  node->options = *options;
  node->lock = -1;
  node->deadline = NX_NEVER;
  node->idle_since = NX_NEVER;
  pthread_mutex_init(&node->lock_hello, NULL);
  int r = run(node, err);
  if (r == 0 && node->again)
    r = 1;
  close_node(node);
  pthread_mutex_destroy(&node->lock_hello);
  free(node);
  return r;
}

int nx_node_run(const struct nx_node_options *options, struct nx_error *err) {
  const struct rlimit no_core = {0, 0};
  setrlimit(RLIMIT_CORE, &no_core); /* secrets live in memory */
  mallopt(M_ARENA_MAX, 2);
  /* Fixed, or it would grow with what a round frees, and the big blocks of the next round
   * would leave holes in the heap of an idle node. Above the parts of streams, whose buffers would
   * otherwise be fresh pages each time: those cost more than the TLS of what is in them. */
  mallopt(M_MMAP_THRESHOLD, 2 << 20);
  mallopt(M_TRIM_THRESHOLD, 4 << 20);
  block_signals();
  int r;
  do
    r = live(options, err);
  while (r == 1);
  return r;
}
