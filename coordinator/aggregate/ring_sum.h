/* Ring sum: adds masked uploads lane by lane into one accumulator, in any order, as they
 * come; takes the masks off the certified set; gives the opened sum. Lanes are summed
 * modulo 2^32 and reduced to w bits at the end, counters modulo 2^64: integer sums have no
 * order. The accumulator is an unlinked mapped file, 4 bytes a lane, so that a round of any
 * size costs no anonymous memory.
 *
 * One thread owns the sum; adding runs on its pool. Uploads that are coming in add their tiles
 * from other threads (streams, below), before it is known whether they become whole: only after
 * nx_ring_sum_settle() is the sum that of anybody in particular. */
#pragma once

#include "common/pool.h"
#include "coordinator/aggregate/upload_spool.h"
#include "crypto/mask.h"

struct nx_ring_sum;

/* Sums uploads of `spool` (which is copied). pool may be NULL. */
int nx_ring_sum_create(const struct nx_upload_spool *spool, struct nx_pool *pool,
                       struct nx_ring_sum **sum_out, struct nx_error *err);
void nx_ring_sum_destroy(struct nx_ring_sum *sum); /* NULL is fine */
NX_DEFINE_CLEANUP(struct nx_ring_sum *, nx_ring_sum_destroy)

/* Adds the member's upload, which is whole, once; again is no error and adds nothing. */
int nx_ring_sum_add(struct nx_ring_sum *sum, uint32_t member, struct nx_error *err);
/* Makes the sum that of exactly these members, adding and taking out what differs; streams add
 * nothing from here on. Before the lanes are looked at. */
int nx_ring_sum_settle(struct nx_ring_sum *sum, const uint8_t *members, size_t n,
                       struct nx_error *err);
/* Takes the masks off (crypto/mask.h: remove keys) and reduces the lanes to w bits. Once. */
int nx_ring_sum_open(struct nx_ring_sum *sum, const struct nx_mask *mask, struct nx_error *err);

/* The lanes [n_lanes] and counters [n_aux]; valid until the sum is destroyed. */
const uint32_t *nx_ring_sum_lanes(const struct nx_ring_sum *sum);
const uint64_t *nx_ring_sum_aux(const struct nx_ring_sum *sum);
/* Appends the opened sum, n_lanes u32 then n_aux u64, little-endian: what nodes fetch and
 * whose SHA-256 M10 names. */
int nx_ring_sum_bytes(const struct nx_ring_sum *sum, struct nx_buffer *out, struct nx_error *err);

/* --- an upload that is coming in (its writer's thread; nx_upload_writer_create) ------------- */

struct nx_ring_stream;

/* fd: the file that it is spooled into, open for reading too, until the stream ends. NULL in
 * *stream_out: the member has a stream or an upload in the sum already; nx_ring_sum_add() will
 * look after this one. */
int nx_ring_stream_begin(struct nx_ring_sum *sum, uint32_t member, int fd,
                         struct nx_ring_stream **stream_out, struct nx_error *err);
/* The next tile and its leaf hash; it is in the file. False: the sum does not want it any more. */
bool nx_ring_stream_add(struct nx_ring_stream *stream, const uint8_t *bytes,
                        const struct nx_hash *leaf);
/* Nothing of it has come. Before the file is cut. */
void nx_ring_stream_begin_again(struct nx_ring_stream *stream);
/* whole: on disk under its own name, and stays in the sum; else it is taken out. Frees; NULL is
 * fine. Before the file is closed. */
void nx_ring_stream_end(struct nx_ring_stream *stream, bool whole);
