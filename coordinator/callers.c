/* Callers: whose certificate it is, what that role may call, and what is written down when it
 * may not. Any thread. */
#include <stdio.h>
#include <string.h>

#include "coordinator/coordinator_internal.h"

#define DENIALS_TOLD 20 /* refused calls put into the logs a minute; the rest are counted */
#define DENIALS_SPAN (60 * NX_SECOND)

enum standing { STANDING_UNKNOWN, STANDING_GOOD, STANDING_REVOKED, STANDING_ENDED };

struct caller {
  enum nx_role role;
  enum standing standing;
  uint32_t member;
  bool unlisted; /* enrolled, and not in the list of members (yet) */
  char name[NX_STORE_NAME_SIZE];
  struct nx_hash spki;
};

static enum standing standing_of(int64_t revoked, int64_t ends) {
  return revoked                               ? STANDING_REVOKED
         : ends != 0 && ends < nx_clock_unix() ? STANDING_ENDED
                                               : STANDING_GOOD;
}

/* Directory lock held. */
static void look_up(const struct nx_coordinator *c, struct caller *caller) {
  for (size_t i = 0; i < c->n_members; i++)
    if (nx_hash_equal(&c->members[i].spki, &caller->spki)) {
      caller->role = NX_ROLE_NODE;
      caller->member = c->members[i].id;
      caller->unlisted = c->has_list && !c->listed[c->members[i].id];
      caller->standing = standing_of(c->members[i].revoked, c->members[i].ends);
      memcpy(caller->name, c->members[i].name, sizeof caller->name);
      return;
    }
  for (size_t i = 0; i < c->n_grants; i++)
    if (nx_hash_equal(&c->grants[i].spki, &caller->spki)) {
      caller->role = (enum nx_role)c->grants[i].role;
      caller->standing = standing_of(c->grants[i].revoked, c->grants[i].ends);
      memcpy(caller->name, c->grants[i].name, sizeof caller->name);
      return;
    }
  if (nx_hash_equal(&c->federation->row.operator_spki, &caller->spki)) {
    caller->role = NX_ROLE_OPERATOR;
    caller->standing = STANDING_GOOD;
    snprintf(caller->name, sizeof caller->name, "operator");
  }
}

static struct caller caller_of(struct nx_coordinator *c, const struct nx_hash *spki) {
  struct caller caller = {.spki = *spki};
  pthread_mutex_lock(&c->directory_lock);
  look_up(c, &caller);
  pthread_mutex_unlock(&c->directory_lock);
  return caller;
}

/* NULL: all is well. Texts are for the caller, and live for ever. */
static const char *objection(const struct caller *caller, const char *method) {
  if (caller->standing == STANDING_UNKNOWN)
    return "this certificate is not of a member of this federation, nor of a person with a role "
           "in it";
  if (caller->standing == STANDING_REVOKED)
    return "this member's certificate was revoked: ask the federation's operator";
  if (caller->standing == STANDING_ENDED)
    return "this certificate has ended: ask the federation's operator for a new one";
  if (method && caller->unlisted && strcmp(method, NX_METHOD_SESSION_OPEN))
    return "the members have not accepted this site yet: its steward may only wait";
  if (method && !nx_role_may(caller->role, method))
    return caller->role == NX_ROLE_RESEARCHER
               ? "a researcher's certificate may not call this: only the operator may"
           : caller->role == NX_ROLE_AUDITOR
               ? "an auditor's certificate may not call this: only the operator may"
           : caller->role == NX_ROLE_NODE
               ? "a node's certificate may not call this: only the operator's may"
               : "an operator's certificate may not call this: it is for nodes";
  return NULL;
}

/* --- refusals in the logs ------------------------------------------------------------------ */

struct denial {
  struct caller caller;
  char method[64];
  const char *why;
  unsigned more; /* refusals before it that were not told */
};

/* Files thread: an audit entry waits for the disk. */
static void log_denial(struct nx_coordinator *c, struct nx_stream *stream, struct nx_bytes bytes) {
  struct denial denial;
  (void)stream;
  memcpy(&denial, bytes.data, sizeof denial);
  const char *role = nx_role_name(denial.caller.role);
  NX_LOG(NX_LOG_WARNING, "call.denied", NX_STR("role", role), NX_STR("name", denial.caller.name),
         NX_STR("method", denial.method), NX_STR("why", denial.why));
  struct nx_error err = {0};
  if (NX_AUDIT_APPEND(
          c->audit, &err, "call.denied", NX_AUDIT_STR("role", role),
          NX_AUDIT_STR("name", denial.caller.name), NX_AUDIT_UINT("member", denial.caller.member),
          NX_AUDIT_HASH("spki", &denial.caller.spki), NX_AUDIT_STR("method", denial.method),
          NX_AUDIT_STR("why", denial.why), NX_AUDIT_UINT("untold", denial.more)) < 0)
    nx_coordinator_fail(c, &err);
}

/* Files thread. */
static void log_handshake(struct nx_coordinator *c, struct nx_stream *stream,
                          struct nx_bytes bytes) {
  struct denial denial;
  struct nx_error err = {0};
  (void)stream;
  memcpy(&denial, bytes.data, sizeof denial);
  NX_LOG(NX_LOG_WARNING, "tls.refused", NX_STR("why", denial.method));
  if (NX_AUDIT_APPEND(c->audit, &err, "tls.refused", NX_AUDIT_STR("why", denial.method),
                      NX_AUDIT_UINT("untold", denial.more)) < 0)
    nx_coordinator_fail(c, &err);
}

/* Whoever may not call may not fill our disk either. */
static bool may_tell(struct nx_coordinator *c, unsigned *more_out) {
  int64_t now = nx_clock_monotonic();
  pthread_mutex_lock(&c->directory_lock);
  if (now - c->denials_since > DENIALS_SPAN) {
    c->denials_since = now;
    c->denials = 0;
  }
  bool told = c->denials < DENIALS_TOLD;
  *more_out = c->more;
  if (told) {
    c->denials++;
    c->more = 0;
  } else {
    c->more++;
  }
  pthread_mutex_unlock(&c->directory_lock);
  return told;
}

static void tell_denial(struct nx_coordinator *c, const struct caller *caller, const char *method,
                        const char *why) {
  struct denial denial = {.caller = *caller, .why = why};
  snprintf(denial.method, sizeof denial.method, "%s", method);
  if (may_tell(c, &denial.more))
    nx_task_post_bytes(c, c->files_box, nx_bytes(&denial, sizeof denial), log_denial);
}

/* A thread of the transport: a handshake failed, of whom nothing more is known. */
void nx_callers_tell_handshake(void *context, const char *why) {
  struct nx_coordinator *c = context;
  struct denial denial = {.why = ""};
  snprintf(denial.method, sizeof denial.method, "%s", why);
  if (may_tell(c, &denial.more))
    nx_task_post_bytes(c, c->files_box, nx_bytes(&denial, sizeof denial), log_handshake);
}

/* --- opening and staying ------------------------------------------------------------------- */

enum nx_rpc_status nx_stream_admit(struct nx_coordinator *c, struct nx_rpc_call *call,
                                   const char *method, struct nx_stream **stream_out,
                                   const char **text_out) {
  struct nx_hash spki = {0};
  bool shown = nx_rpc_call_peer_spki(call, spki.bytes, NULL) == 0;
  struct caller caller = shown ? caller_of(c, &spki) : (struct caller){0};
  /* One of our certificates: perhaps another process has only just granted it. */
  if (shown && caller.standing == STANDING_UNKNOWN && nx_coordinator_read_members(c, NULL) == 0)
    caller = caller_of(c, &spki);
  if ((*text_out = objection(&caller, method))) {
    tell_denial(c, &caller, method, *text_out);
    return NX_RPC_PERMISSION_DENIED;
  }
  enum nx_rpc_status status = nx_stream_create(c, call, caller.member, stream_out, text_out);
  if (status == NX_RPC_OK) {
    (*stream_out)->role = caller.role;
    (*stream_out)->spki = spki;
  }
  return status;
}

bool nx_stream_is_welcome(struct nx_stream *stream) {
  struct nx_coordinator *c = stream->coordinator;
  struct caller caller = caller_of(c, &stream->spki);
  const char *why = objection(&caller, NULL);
  if (!why)
    return true;
  if (!atomic_exchange(&stream->sent_away, true))
    tell_denial(c, &caller, "(in the middle of a call)", why);
  nx_rpc_call_finish(stream->call, NX_RPC_PERMISSION_DENIED, why);
  return false;
}
