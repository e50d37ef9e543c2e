/* Shared: bytes that several hold at once and nobody changes any more; the last one to let go frees
 * them. For what is the same in many messages: they wait in many queues and are in memory once. */
#pragma once

#include "common/bytes.h"

struct nx_shared; /* counted; any thread */

/* Takes the buffer's bytes over without a copy (it is empty afterwards, also on failure). One
 * reference. NX_E_NOMEM. */
int nx_shared_create(struct nx_buffer *bytes, struct nx_shared **shared_out, struct nx_error *err);
struct nx_shared *nx_shared_ref(struct nx_shared *shared);
void nx_shared_unref(struct nx_shared *shared); /* NULL is fine */
NX_DEFINE_CLEANUP(struct nx_shared *, nx_shared_unref)
/* Lives as long as a reference is held. */
struct nx_bytes nx_shared_view(const struct nx_shared *shared);
