/* Replay: an opened sum, computed once more from the masked uploads that a coordinator kept.
 *
 * A record lies beside the uploads of an attempt, a folder of files named by member id:
 *
 *   replay.rec  "NXREPLY1" | u64 round | u32 attempt | u32 ring bits | u64 lanes | u64 counters
 *               | T3 | SHA-256 of the opened sum | u32 n | n * (u32 member | upload root)
 *               | u32 k | k * (u8 subtract | 32-byte mask key) | SHA-256 of all before
 *
 * The mask keys are those that M10 told every member: the self masks of U3 and the pair masks
 * of who dropped out. Pair masks between survivors are not among them, so uploads stay masked.
 * Verification binds three things: that the uploads are those whose roots T3 certified, that
 * they add up to this sum and no other (a coordinator that altered one tile would need keys
 * whose streams differ by just that), and, through the members' own audit logs
 * (crypto/replay_logs.h), that these roots and this sum are what the members signed and saw.
 * One thread; memory does not grow with the vector. */
#pragma once

#include "crypto/mask.h"
#include "crypto/threshold.h"
#include "crypto/upload.h"

#define NX_REPLAY_FILE "replay.rec"

struct nx_replay_member {
  uint32_t id;
  struct nx_hash root;
};

struct nx_replay {
  uint64_t round;
  uint32_t attempt;
  struct nx_upload_layout layout;
  struct nx_hash t3;
  struct nx_hash sum; /* of n_lanes u32 then n_aux u64, little-endian: what M10 names */
  size_t n_members;   /* U3, ids ascending */
  struct nx_replay_member members[NX_MEMBERS_MAX];
};

/* Writes folder/replay.rec, mode 0600, atomically. mask: what was applied to the sum. */
int nx_replay_write(const char *folder, const struct nx_replay *replay, const struct nx_mask *mask,
                    struct nx_error *err);

/* Where a claimed sum differs from the true one. */
struct nx_replay_tiles {
  size_t n, n_bad, first_bad;
};

/* Reads folder/replay.rec and the uploads. sum_path NULL, or a file with the opened sum as
 * the coordinator gave it out: then tiles_out says which tiles are false. 0; NX_E_CRYPTO when
 * an upload or the sum is not what it should be; NX_E_FORMAT, NX_E_NOT_FOUND, NX_E_IO. The
 * record is in replay_out whenever it could be read. tiles_out may be NULL. */
int nx_replay_verify(const char *folder, const char *sum_path, struct nx_replay *replay_out,
                     struct nx_replay_tiles *tiles_out, struct nx_error *err);
