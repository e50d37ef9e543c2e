/* Ring sum: adds masked uploads lane by lane into one accumulator, in any order, as they
 * come; takes the masks off the certified set; gives the opened sum. Lanes are summed
 * modulo 2^32 and reduced to w bits at the end, counters modulo 2^64: integer sums have no
 * order. The accumulator is an unlinked mapped file, 4 bytes a lane, so that a round of any
 * size costs no anonymous memory. One thread; adding runs on its pool. */
#pragma once

#include "common/pool.h"
#include "coordinator/aggregate/upload_spool.h"
#include "crypto/mask.h"

struct nx_ring_sum;

/* Sums uploads of `spool` (which must outlive it). pool may be NULL. */
int nx_ring_sum_create(const struct nx_upload_spool *spool, struct nx_pool *pool,
                       struct nx_ring_sum **sum_out, struct nx_error *err);
void nx_ring_sum_destroy(struct nx_ring_sum *sum); /* NULL is fine */
NX_DEFINE_CLEANUP(struct nx_ring_sum *, nx_ring_sum_destroy)

/* Adds the member's upload once; again is no error and adds nothing. */
int nx_ring_sum_add(struct nx_ring_sum *sum, uint32_t member, struct nx_error *err);
/* Makes the sum that of exactly these members, adding and taking out what differs. */
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
