/* A message that is handed on as it came. It is a grpc_byte_buffer under another name: the types of
 * gRPC stay in proto/rpc. */
#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>

#include "proto/rpc/rpc_internal.h"

static grpc_byte_buffer *bytes_of(const struct nx_rpc_message *message) {
  return (grpc_byte_buffer *)(uintptr_t)message;
}

struct nx_rpc_message *nx_rpc_message_wrap(grpc_byte_buffer *bytes) {
  return (struct nx_rpc_message *)(void *)bytes;
}

size_t nx_rpc_message_size(const struct nx_rpc_message *message) {
  return grpc_byte_buffer_length(bytes_of(message));
}

int nx_rpc_message_append(struct nx_rpc_message *message, struct nx_buffer *out,
                          struct nx_error *err) {
  grpc_byte_buffer_reader reader;
  grpc_slice *piece;
  int r = nx_buffer_reserve(out, nx_rpc_message_size(message), err);
  if (r < 0)
    return r;
  if (!grpc_byte_buffer_reader_init(&reader, bytes_of(message)))
    return nx_fail(err, NX_E_PEER, "a message that cannot be read");
  while (r == 0 && grpc_byte_buffer_reader_peek(&reader, &piece))
    r = nx_buffer_append(out, GRPC_SLICE_START_PTR(*piece), GRPC_SLICE_LENGTH(*piece), err);
  grpc_byte_buffer_reader_destroy(&reader);
  return r;
}

void nx_rpc_message_destroy(struct nx_rpc_message *message) {
  if (message)
    grpc_byte_buffer_destroy(bytes_of(message));
}
