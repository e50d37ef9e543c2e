/* The crowd of a server's calls: what waits in them to be read, all together. A peer that asks and
 * never reads could hold a full queue on every call it may open; beyond a budget those that let
 * most wait are hung up on. */
#include "proto/rpc/rpc_internal.h"
#include "proto/rpc/rpc_server.h"

static atomic_uint_fast64_t hung_up;

uint64_t nx_rpc_hung_up(void) {
  return atomic_load(&hung_up);
}

void nx_rpc_crowd_enter(struct nx_rpc_crowd *crowd, struct nx_rpc_call *call) {
  pthread_mutex_lock(&crowd->lock);
  call->crowd = crowd;
  call->crowd_next = crowd->first;
  call->crowd_at = &crowd->first;
  if (crowd->first)
    crowd->first->crowd_at = &call->crowd_next;
  crowd->first = call;
  pthread_mutex_unlock(&crowd->lock);
}

void nx_rpc_crowd_leave(struct nx_rpc_call *call) {
  struct nx_rpc_crowd *crowd = call->crowd;
  pthread_mutex_lock(&crowd->lock);
  *call->crowd_at = call->crowd_next;
  if (call->crowd_next)
    call->crowd_next->crowd_at = call->crowd_at;
  pthread_mutex_lock(&call->lock);
  atomic_fetch_sub(&crowd->held, call->held); /* what is dropped after this is nobody's any more */
  call->crowd = NULL;
  pthread_mutex_unlock(&call->lock);
  pthread_mutex_unlock(&crowd->lock);
}

/* Lock held. A reference to the call in which most waits, or NULL. */
static struct nx_rpc_call *fullest(struct nx_rpc_crowd *crowd) {
  struct nx_rpc_call *found = NULL;
  size_t most = 0;
  for (struct nx_rpc_call *call = crowd->first; call; call = call->crowd_next) {
    pthread_mutex_lock(&call->lock);
    size_t held = call->held;
    pthread_mutex_unlock(&call->lock);
    if (held > most) {
      most = held;
      found = call;
    }
  }
  return found ? nx_rpc_call_ref(found) : NULL;
}

/* To a half, so that the list is not walked for every message of a crowd that stays. */
void nx_rpc_crowd_thin(struct nx_rpc_crowd *crowd) {
  while (atomic_load(&crowd->held) > crowd->most / 2) {
    pthread_mutex_lock(&crowd->lock);
    struct nx_rpc_call *call = fullest(crowd);
    pthread_mutex_unlock(&crowd->lock);
    if (!call)
      return;
    nx_rpc_call_hang_up(call);
    atomic_fetch_add(&hung_up, 1);
    nx_rpc_call_unref(call);
  }
}
