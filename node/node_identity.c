/* The node's certificate over the years: renewed when a third of its time is left, without a
 * restart and without losing a round. Main thread.
 *
 *   due ─► Identity/Renew on the running line ─► checked, on disk, in the log
 *       ─► new calls (uploads, models) dial with it at once
 *       ─► the session itself moves over when no round is under way */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/size.h"
#include "crypto/certificate.h"
#include "node/node_private.h"
#include "node/session/renew.h"

static int64_t seconds_now(void) {
  return nx_clock_unix() / NX_SECOND;
}

/* A wall-clock second, as the loop's monotonic time. */
static int64_t from_wall(int64_t seconds) {
  int64_t rest = NX_MAX(seconds - seconds_now(), 0);
  return nx_clock_monotonic() + rest * NX_SECOND;
}

int nx_node_plan_renewal(struct nx_node *node, struct nx_error *err) {
  int64_t at;
  int r = nx_certificate_renew_at(nx_buffer_view(&node->certificate), &at, err);
  if (r == 0)
    node->renew_at = from_wall(at);
  return r;
}

/* Tried again ten times before the end, but not more often than every two seconds. */
static void try_later(struct nx_node *node) {
  int64_t issued, ends, pause = 3600;
  if (nx_certificate_validity(nx_buffer_view(&node->certificate), &issued, &ends, NULL) == 0)
    pause = NX_MIN(NX_MAX((ends - seconds_now()) / 10, 2), 3600);
  node->renew_at = nx_clock_monotonic() + pause * NX_SECOND;
}

static struct nx_renew_keys keys_of(const struct nx_node *node) {
  return (struct nx_renew_keys){.key_pem = nx_buffer_view(&node->key),
                                .roots = nx_buffer_view(&node->ca),
                                .identity = node->identity};
}

/* A thread of the transport. */
static void on_told(void *context, int code, const char *text, struct nx_bytes response) {
  struct nx_node *node = context;
  struct node_message *message = calloc(1, sizeof *message);
  if (!message)
    return;
  message->kind = NODE_RENEWED;
  message->code = code;
  snprintf(message->text, sizeof message->text, "%s", text);
  if (nx_buffer_append(&message->bytes, response.data, response.size, NULL) < 0 ||
      nx_mailbox_post(node->mailbox, message) < 0)
    nx_node_message_destroy(message);
}

int nx_node_tend_identity(struct nx_node *node, struct nx_error *err) {
  int64_t now = nx_clock_monotonic();
  if (node->line_is_old && node->idle_since != NX_NEVER && !node->holding) {
    node->line_is_old = false;
    nx_session_redial(node->session);
  }
  if (now < node->renew_at)
    return 0;
  try_later(node);
  struct nx_renew_keys keys = keys_of(node);
  struct nx_error why = {0};
  if (nx_renew_ask(nx_session_client(node->session), &keys, node->config->name, on_told, node,
                   &why) < 0)
    NX_LOG(NX_LOG_WARNING, "certificate.unrenewed", NX_STR("why", why.text));
  (void)err;
  return 0;
}

static int keep(struct nx_node *node, struct nx_bytes certificate, struct nx_bytes roots,
                struct nx_error *err) {
  char path[NX_PATH_SIZE];
  struct nx_hash ca = nx_sha256(roots.data, roots.size);
  int64_t issued, ends;
  int r = nx_certificate_validity(certificate, &issued, &ends, err);
  if (r < 0 ||
      (r = nx_site_audit_renewed(node->audit, &node->spki, &ca, ends * NX_SECOND, err)) < 0)
    return r;
  /* The roots first: a certificate under a root that is not believed yet would not start. */
  if ((r = nx_path_join(path, node->options.home, NX_HOME_CA, err)) < 0 ||
      (r = nx_file_replace(path, roots, 0600, err)) < 0 ||
      (r = nx_path_join(path, node->options.home, NX_HOME_TLS_CERTIFICATE, err)) < 0)
    return r;
  return nx_file_replace(path, certificate, 0600, err);
}

static void take(struct nx_buffer *to, struct nx_buffer *from) {
  nx_buffer_finish(to);
  *to = *from;
  *from = (struct nx_buffer){0};
}

int nx_node_renewed(struct nx_node *node, const struct node_message *message,
                    struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer certificate = {0}, roots = {0};
  struct nx_renew_keys keys = keys_of(node);
  struct nx_error why = {0};
  int r = message->code < 0 ? nx_fail(&why, message->code, "%s", message->text)
                            : nx_renew_read(&keys, nx_buffer_view(&message->bytes), seconds_now(),
                                            &certificate, &roots, &why);
  if (r < 0) {
    NX_LOG(NX_LOG_WARNING, "certificate.unrenewed", NX_STR("why", why.text));
    return 0; /* try_later() has set the next time */
  }
  bool new_roots = roots.size != node->ca.size || memcmp(roots.data, node->ca.data, roots.size);
  if ((r = keep(node, nx_buffer_view(&certificate), nx_buffer_view(&roots), err)) < 0)
    return r;
  take(&node->certificate, &certificate);
  take(&node->ca, &roots);
  if ((r = nx_rpc_client_renew(nx_session_client(node->session), nx_buffer_view(&node->ca),
                               nx_buffer_view(&node->certificate), nx_buffer_view(&node->key),
                               err)) < 0)
    return r;
  node->line_is_old = true;
  NX_LOG(NX_LOG_INFO, "certificate.renewed", NX_STR("roots", new_roots ? "changed" : "as before"));
  return nx_node_plan_renewal(node, err);
}
