/* Fetch blob: bytes named by their SHA-256 (plans, models, opened sums), in chunks, resumed
 * where a broken connection, or a process that ended, left off. What comes is believed only when
 * its hash fits. */
#pragma once

#include "crypto/hash.h"
#include "node/session/transfer.h"

struct nx_fetch {
  struct nx_stop stop;
  const char *part;  /* file for what has come, so that a restart goes on from it; NULL: none. It is
                      * gone once all has come */
  uint32_t kb_per_s; /* 0: as fast as it goes */
};

/* how may be NULL. Appends to out. NX_E_LIMIT: larger than cap; NX_E_CRYPTO: other bytes than were
 * asked for; NX_E_NOT_FOUND; NX_E_PEER after a few tries. */
int nx_fetch_blob(struct nx_rpc_client *client, const struct nx_hash *sha256, size_t cap,
                  const struct nx_fetch *how, struct nx_buffer *out, struct nx_error *err);
