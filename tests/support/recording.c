/* The real node, linked (--wrap) with an ear: whatever it says over gRPC is appended to the file
 * that NEUROX_RECORD names, as recorded.h has it. It says nothing else than the honest program. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/rpc/rpc_client.h"

#define CALLS 256

static struct {
  const struct nx_rpc_call *call;
  const char *path;
  uint32_t stream;
} calls[CALLS];
static uint32_t n_streams;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void put_u32(FILE *file, uint32_t value) {
  const unsigned char bytes[] = {(unsigned char)value, (unsigned char)(value >> 8),
                                 (unsigned char)(value >> 16), (unsigned char)(value >> 24)};
  fwrite(bytes, 1, sizeof bytes, file);
}

/* lock is held */
static void note(uint32_t stream, const char *path, struct nx_bytes message) {
  const char *name = getenv("NEUROX_RECORD");
  FILE *file = name ? fopen(name, "a") : NULL;
  if (!file)
    return;
  put_u32(file, stream);
  put_u32(file, (uint32_t)strlen(path));
  put_u32(file, (uint32_t)message.size);
  fwrite(path, 1, strlen(path), file);
  fwrite(message.data, 1, message.size, file);
  if (fclose(file)) {
    fprintf(stderr, "recording: cannot write %s\n", name);
    abort();
  }
}

int __real_nx_rpc_client_open(struct nx_rpc_client *client, const char *path,
                              const struct nx_rpc_handlers *handlers, void *context,
                              int64_t deadline, struct nx_rpc_call **call_out,
                              struct nx_error *err);
int __wrap_nx_rpc_client_open(struct nx_rpc_client *client, const char *path,
                              const struct nx_rpc_handlers *handlers, void *context,
                              int64_t deadline, struct nx_rpc_call **call_out,
                              struct nx_error *err);
int __wrap_nx_rpc_client_open(struct nx_rpc_client *client, const char *path,
                              const struct nx_rpc_handlers *handlers, void *context,
                              int64_t deadline, struct nx_rpc_call **call_out,
                              struct nx_error *err) {
  int r = __real_nx_rpc_client_open(client, path, handlers, context, deadline, call_out, err);
  if (r < 0)
    return r;
  pthread_mutex_lock(&lock);
  uint32_t stream = ++n_streams;
  calls[stream % CALLS].call = *call_out;
  calls[stream % CALLS].path = path;
  calls[stream % CALLS].stream = stream;
  pthread_mutex_unlock(&lock);
  return r;
}

int __real_nx_rpc_call_send(struct nx_rpc_call *call, struct nx_buffer *message,
                            struct nx_error *err);
int __wrap_nx_rpc_call_send(struct nx_rpc_call *call, struct nx_buffer *message,
                            struct nx_error *err);
int __wrap_nx_rpc_call_send(struct nx_rpc_call *call, struct nx_buffer *message,
                            struct nx_error *err) {
  pthread_mutex_lock(&lock);
  uint32_t newest = 0;
  for (size_t i = 0; i < CALLS; i++) /* an address may have been another call's before */
    if (calls[i].call == call && calls[i].stream > calls[newest].stream)
      newest = (uint32_t)i;
  if (calls[newest].call == call)
    note(calls[newest].stream, calls[newest].path, nx_buffer_view(message));
  pthread_mutex_unlock(&lock);
  return __real_nx_rpc_call_send(call, message, err);
}

int __real_nx_rpc_client_call(struct nx_rpc_client *client, const char *path,
                              struct nx_bytes request, int64_t deadline,
                              struct nx_buffer *response_out, uint8_t spki_out[NX_SPKI_HASH_SIZE],
                              struct nx_error *err);
int __wrap_nx_rpc_client_call(struct nx_rpc_client *client, const char *path,
                              struct nx_bytes request, int64_t deadline,
                              struct nx_buffer *response_out, uint8_t spki_out[NX_SPKI_HASH_SIZE],
                              struct nx_error *err);
int __wrap_nx_rpc_client_call(struct nx_rpc_client *client, const char *path,
                              struct nx_bytes request, int64_t deadline,
                              struct nx_buffer *response_out, uint8_t spki_out[NX_SPKI_HASH_SIZE],
                              struct nx_error *err) {
  pthread_mutex_lock(&lock);
  note(++n_streams, path, request);
  pthread_mutex_unlock(&lock);
  return __real_nx_rpc_client_call(client, path, request, deadline, response_out, spki_out, err);
}
