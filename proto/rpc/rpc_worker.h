/* Worker: a thread on which the handlers of calls may read files, hash, verify and wait,
 * which the transport's own thread must never do. One call's handlers keep their order and
 * run one at a time; calls of one worker take turns, message by message.
 *
 *     on_open(…) {                                  transport's thread: decides, then
 *       nx_rpc_worker_attach(worker, &handlers, context, handlers_out, call_context_out, err);
 *       nx_rpc_call_receive(call);                  asks for the first message
 *       return NX_RPC_OK;
 *     }
 *     on_message(…) { …; nx_rpc_call_receive(call); }   worker's thread: asks for the next
 *                                                       when it is through with this one
 *
 * Memory is bounded by one message a call. Destroy a worker after its server has stopped. */
#pragma once

#include "common/cleanup.h"
#include "proto/rpc/rpc_call.h"

struct nx_rpc_worker;

int nx_rpc_worker_create(struct nx_rpc_worker **worker_out, struct nx_error *err);
/* handlers are copied; any member may be NULL. NX_E_NOMEM: refuse the call. Calls that a
 * client opens may be attached as well: pass *handlers_out and *context_out to
 * nx_rpc_client_open(), which must then succeed, or call nx_rpc_worker_detach(). */
int nx_rpc_worker_attach(struct nx_rpc_worker *worker, const struct nx_rpc_handlers *handlers,
                         void *context, struct nx_rpc_handlers *handlers_out, void **context_out,
                         struct nx_error *err);
/* Frees what attach made when the call never came to be. */
void nx_rpc_worker_detach(void *attached);
/* Runs what is queued, then ends the thread; NULL is fine. */
void nx_rpc_worker_destroy(struct nx_rpc_worker *worker);
NX_DEFINE_CLEANUP(struct nx_rpc_worker *, nx_rpc_worker_destroy)
