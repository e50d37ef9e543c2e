/* Inside proto/rpc only: what servers and clients share. */
#pragma once

#include <grpc/grpc.h>
#include <pthread.h>
#include <stdatomic.h>

#include "proto/rpc/rpc_call.h"

#define NX_RPC_MESSAGE_CAP ((size_t)4 << 20)
#define NX_RPC_QUEUE_CAP ((size_t)16 << 20)
/* Of HTTP/2, that we ask the peer for: a part of a stream in a frame or two, and not in 17 of 16
 * KiB, each of which is taken apart and put together by itself. */
#define NX_RPC_FRAME (256 << 10)

/* What a completion queue's tag points at. on_done runs on the queue's thread. */
struct nx_rpc_operation {
  void (*on_done)(struct nx_rpc_operation *operation, bool success);
};

/* Besides its bytes, a waiting message takes about so much: ours, gRPC's and the allocator's. */
#define NX_RPC_QUEUED_COST ((size_t)256)

struct nx_rpc_queued {
  struct nx_rpc_queued *next;
  grpc_byte_buffer *bytes;
  size_t size;
  size_t cost; /* memory that goes with it: what it shares with others is not counted */
};

/* What waits in all calls of one server together, and which calls those are. */
struct nx_rpc_crowd {
  atomic_size_t held;   /* bytes, as struct nx_rpc_queued counts them */
  size_t most;          /* 0: no limit */
  pthread_mutex_t lock; /* guards the list; taken before a call's lock */
  struct nx_rpc_call *first;
};

/* A client's connection, shared by the calls on it and by the client while it is the newest. */
struct nx_rpc_channel {
  atomic_uint references;
  grpc_channel *channel;
};

struct nx_rpc_call {
  atomic_uint references; /* one a pending operation, one until on_closed, the callers' */
  pthread_mutex_t lock;   /* guards what follows, never held while a handler runs */
  grpc_call *call;
  bool is_server;
  struct nx_rpc_handlers handlers;
  void *context;
  unsigned pending; /* operations whose completion is still to come */

  struct nx_rpc_operation opened, received, sent, finished, ended;
  grpc_metadata_array initial_metadata, trailing_metadata;

  grpc_byte_buffer *incoming;
  bool receiving, half_closed;

  struct nx_rpc_queued *first, **last;
  size_t queued, queue_cap, held;
  struct nx_rpc_crowd *crowd; /* server: until on_gone; else NULL */
  struct nx_rpc_call *crowd_next, **crowd_at;
  bool sending, finishing, finish_sent;
  enum nx_rpc_status finish_status;
  char *finish_text;

  bool over; /* no operation may start any more */
  bool closed;
  int cancelled;
  grpc_status_code status;
  grpc_slice status_text;

  struct nx_rpc_channel *channel; /* client: held */
  int (*leaving)(void *context, const char *path, struct nx_bytes message,
                 struct nx_error *err); /* client: struct nx_rpc_meter, or NULL */
  void *leaving_context;
  const char *path;   /* client */
  const char *target; /* client: for texts; lives as long as the client */
  const char *proxy;  /* client: the one it goes through, or NULL */
  void (*on_gone)(void *owner, struct nx_rpc_call *call); /* after on_closed */
  void *owner;
};

/* rpc_message.c: takes the bytes over. */
struct nx_rpc_message *nx_rpc_message_wrap(grpc_byte_buffer *bytes);

/* Wraps a call; starts nothing. Takes over the grpc_call. */
struct nx_rpc_call *nx_rpc_call_wrap(grpc_call *call, bool is_server, size_t queue_cap);
/* Hangs up at once: what waits is dropped, and the peer is told that it may come again. */
void nx_rpc_call_hang_up(struct nx_rpc_call *call);

/* rpc_crowd.c: a call enters when it comes, and leaves when it is gone. */
void nx_rpc_crowd_enter(struct nx_rpc_crowd *crowd, struct nx_rpc_call *call);
void nx_rpc_crowd_leave(struct nx_rpc_call *call);
/* Hangs up on whoever has most waiting, until enough is free again. No lock held. */
void nx_rpc_crowd_thin(struct nx_rpc_crowd *crowd);
/* Starts it: initial metadata and the operation that ends it. */
void nx_rpc_call_start(struct nx_rpc_call *call);
/* Runs until the queue is shut down and empty. */
void *nx_rpc_queue_run(void *completion_queue);

grpc_slice nx_rpc_slice_of_text(const char *text);
/* Before the first server: descriptors are kept back for turning others away. */
void nx_rpc_accept_prepare(void);
gpr_timespec nx_rpc_deadline(int64_t monotonic);
/* Says in `out` why target is out of reach, or repeats text when it is a server's own. Blocks for
 * some seconds when the certificate is a stranger's: it asks the line for that stranger's name. */
void nx_rpc_describe(const char *target, const char *proxy, const char *text, char *out,
                     size_t size);
/* Name of whoever signed the certificate that answers at target; proxy may be NULL. False when
 * nothing could be learnt. Sends no certificate and no request. */
bool nx_rpc_probe_issuer(const char *target, const char *proxy, char *out, size_t size);
