/* Blob server: answers Blob/Fetch with chunks of NX_CHUNK_SIZE from a file, from the offset
 * that is asked for, never more than about 1 MiB ahead of a slow reader. Files are opened
 * and read on a worker's thread.
 *
 *     enum nx_rpc_status on_fetch(void *context, …) {
 *       if (!is_member(call)) return NX_RPC_PERMISSION_DENIED;
 *       return nx_blob_server_accept(server->blobs, call, handlers_out, call_context_out,
 * text_out);
 *     } */
#pragma once

#include "common/cleanup.h"
#include "crypto/hash.h"
#include "proto/rpc/rpc_worker.h"

struct nx_blob_server;

struct nx_blob_source {
  /* Opens the blob for reading, on the worker's thread; the server closes the descriptor.
   * NX_E_NOT_FOUND and every other failure is told to the peer with its text. */
  int (*open)(void *context, const struct nx_hash *hash, int *fd_out, uint64_t *size_out,
              struct nx_error *err);
  void *context;
};

/* worker outlives the blob server, which outlives the RPC server it answers for. */
int nx_blob_server_create(const struct nx_blob_source *source, struct nx_rpc_worker *worker,
                          struct nx_blob_server **server_out, struct nx_error *err);
/* To be called, and its value returned, in the method's on_open. */
enum nx_rpc_status nx_blob_server_accept(struct nx_blob_server *server, struct nx_rpc_call *call,
                                         struct nx_rpc_handlers *handlers_out,
                                         void **call_context_out, const char **text_out);
void nx_blob_server_destroy(struct nx_blob_server *server); /* NULL is fine */
NX_DEFINE_CLEANUP(struct nx_blob_server *, nx_blob_server_destroy)
