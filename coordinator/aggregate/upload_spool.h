/* Upload spool: the masked uploads of one attempt of one round, one file each.
 *
 *   uploads/ROUND-ATTEMPT/ ID           whole, hashed, on disk
 *                          ID.leaves    its Merkle leaves, for proofs
 *                          ID.N.part    one that is coming in
 *                          ID.N.came    a byte for each whole tile of it that has come, when
 *                                       the file was a spare (upload_spares.h) and is as long
 *                                       as ever
 *                          ID.kept      what came of one before its stream broke
 *
 * Bytes are hashed as they come, tile by tile, and may be added to a sum right then, so that an
 * upload of any size takes a few kilobytes of memory. They are on their way to the disk while
 * more come, so that the sync that a commit waits for is short. What lies here is noise without the
 * masks. A spool is shared by threads that write or read different members; creation and deletion
 * by one thread. */
#pragma once

#include <stdbool.h>

#include "coordinator/aggregate/upload_spares.h"
#include "crypto/merkle.h"
#include "crypto/upload.h"

struct nx_upload_spool {
  char folder[NX_PATH_SIZE];
  struct nx_upload_layout layout;
  size_t size;          /* bytes of every upload */
  size_t n_tiles;       /* of every upload */
  uint8_t damaged[255]; /* members whose uploads init found damaged and removed */
  size_t n_damaged;
  struct nx_upload_spares *spares; /* what uploads are written over, and where files go that are
                                    * not wanted any more; NULL after init, which may stay so */
};

/* folder: of all uploads; makes its subfolder when missing; what
 * was coming in when a process ended is kept for its sender to go on from; what is whole is
 * hashed once more, and removed when the disk has other bytes than were written. The layout must
 * have passed nx_upload_layout_check(). Nothing to release. */
int nx_upload_spool_init(struct nx_upload_spool *spool, const char *folder, uint64_t round,
                         uint32_t attempt, const struct nx_upload_layout *layout,
                         struct nx_error *err);

/* --- one upload coming in ----------------------------------------------------------- */

struct nx_upload_writer;
struct nx_ring_sum;

/* sum: of this spool, to which tiles are added as they come (ring_sum.h); NULL: none. Several
 * streams of one member may come in at once; the first that is whole counts. The spool is copied.
 * NX_E_EXISTS when the member's upload is whole (compare its root: nx_upload_spool_root). */
int nx_upload_writer_create(const struct nx_upload_spool *spool, uint32_t member,
                            struct nx_ring_sum *sum, struct nx_upload_writer **writer_out,
                            struct nx_error *err);
/* Takes over what an earlier stream of the member brought, up to the last whole tile but never
 * everything: *held_out bytes whose SHA-256 is in *hash_out. The sender compares that with its own
 * and goes on from there, or begins again at 0; what was kept is believed by nobody else. Before
 * the first write. */
int nx_upload_writer_take_up(struct nx_upload_writer *writer, uint64_t *held_out,
                             struct nx_hash *hash_out, struct nx_error *err);
/* The next bytes; offset must be what was written so far, or 0 right after bytes were taken up,
 * else NX_E_PROTOCOL; beyond the layout's size NX_E_LIMIT. A full disk is NX_E_IO and says so. */
int nx_upload_writer_write(struct nx_upload_writer *writer, uint64_t offset, struct nx_bytes bytes,
                           struct nx_error *err);
uint64_t nx_upload_writer_size(const struct nx_upload_writer *writer);
/* All bytes are there (else NX_E_PROTOCOL) and give `expected` as root (else NX_E_CRYPTO):
 * on disk under its own name when this returns 0. */
int nx_upload_writer_commit(struct nx_upload_writer *writer, const struct nx_hash *expected,
                            struct nx_error *err);
/* Keeps the part of an upload that was not committed, unless it is known to be wrong; NULL is
 * fine. */
void nx_upload_writer_destroy(struct nx_upload_writer *writer);
NX_DEFINE_CLEANUP(struct nx_upload_writer *, nx_upload_writer_destroy)

/* --- uploads that are whole ---------------------------------------------------------- */

/* NX_E_NOT_FOUND when the member's upload is not there. */
int nx_upload_spool_root(const struct nx_upload_spool *spool, uint32_t member,
                         struct nx_hash *root_out, struct nx_error *err);
/* Appends tile `index` and gives the proof that it belongs under the root. */
int nx_upload_spool_tile(const struct nx_upload_spool *spool, uint32_t member, size_t index,
                         struct nx_buffer *tile_out, struct nx_merkle_path *path_out,
                         struct nx_error *err);
/* Maps a whole upload for reading; unmap with nx_upload_unmap(). */
int nx_upload_spool_map(const struct nx_upload_spool *spool, uint32_t member,
                        const uint8_t **bytes_out, struct nx_error *err);
void nx_upload_unmap(const struct nx_upload_spool *spool, const uint8_t *bytes);

/* Removes the whole uploads of all other members (they become spares), and all that was kept of
 * broken ones. */
int nx_upload_spool_keep_only(const struct nx_upload_spool *spool, const uint8_t *members, size_t n,
                              struct nx_error *err);
/* Removes the folder ROUND-ATTEMPT and what is in it; none is fine. Whole uploads become spares;
 * spares NULL: they are deleted. */
int nx_upload_spool_remove(const char *folder, uint64_t round, uint32_t attempt,
                           struct nx_upload_spares *spares, struct nx_error *err);
/* Removes everything below folder. */
int nx_upload_spool_clear(const char *folder, struct nx_error *err);
