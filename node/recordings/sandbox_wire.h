/* Sandbox wire: what node and neurox-reader of one build say to each other. One datagram is
 * one struct; files travel as descriptors; samples and descriptions in the shared window. */
#pragma once

#include "common/error.h"
#include "node/recordings/format.h"

#define SANDBOX_SOCKET 3
#define SANDBOX_WINDOW 4
#define SANDBOX_FILE 5
#define SANDBOX_WINDOW_SIZE ((size_t)16 << 20)

enum sandbox_op { SANDBOX_READ = 1, SANDBOX_DONE, SANDBOX_SIBLING };

/* Node to child. */
struct sandbox_request {
  uint32_t op, n_channels;
  uint64_t first, n;
  uint32_t channels[NX_RECORDING_CHANNELS];
};

/* Child to node: DONE with a code and its words, or SIBLING with a name; and the node's
 * answer to SIBLING. */
struct sandbox_reply {
  uint32_t op;
  int32_t code;
  char text[NX_ERROR_TEXT_SIZE];
};

/* At the start of the window after opening; channels, then events follow. */
struct sandbox_info {
  char format[32], identity[96];
  double duration_s, origin_s;
  uint32_t n_parts;
  uint64_t n_channels, n_events;
  uint8_t events_dropped, truncated, discontinuous, synthetic;
};

/* Sends or receives one datagram, with or without a descriptor; 0, or -errno, or -EPIPE when
 * the other end is gone. fd_out: -1 when none came. */
int sandbox_send(int socket, const void *data, size_t size, int fd);
int sandbox_receive(int socket, void *data, size_t size, int *fd_out);
