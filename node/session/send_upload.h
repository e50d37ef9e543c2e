/* Send upload: streams a spooled, masked vector to the coordinator, paced, until all of it is
 * acknowledged; where a stream broke before, from what the coordinator proves to hold. Only the
 * spool's bytes are ever sent: a repeat is byte-identical. */
#pragma once

#include "crypto/hash.h"
#include "node/session/transfer.h"

struct nx_upload_job {
  struct nx_bytes header; /* the signed M5 */
  const char *spool;
  uint64_t bytes; /* of the spool; checked */
  struct nx_hash root;
  uint32_t kb_per_s; /* 0: as fast as it goes */
  bool resume;       /* protocol 2: ask what is there already, and go on behind it */
  struct nx_stop stop;
  /* Told after every chunk, for fire drills and progress. May be NULL. */
  void (*sent)(void *context, uint64_t done, uint64_t total);
  void *context;
};

/* One try. 0: acknowledged whole. NX_E_PEER and NX_E_TIMEOUT may be tried again; NX_E_STATE:
 * late or not wanted; NX_E_PROTOCOL, NX_E_CRYPTO: refused for good. */
int nx_send_upload(struct nx_rpc_client *client, const struct nx_upload_job *job,
                   struct nx_error *err);
