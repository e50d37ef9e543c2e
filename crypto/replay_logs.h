/* Replay logs: whether a replayed round is the one that a log tells of. */
#pragma once

#include "crypto/audit_reader.h"
#include "crypto/replay.h"

struct nx_replay_told {
  uint64_t uploads; /* upload.sent and upload.received of this attempt */
  uint64_t sums;    /* sum.checked and round.opened_sum */
};

/* Reads a log (verify it first: this only reads) for entries of the replay's round and
 * attempt. NX_E_CRYPTO when one names an upload root that is not among the members' (of that
 * member, where it says whose), or another sum. told_out counts what it found. */
int nx_replay_compare_log(const struct nx_replay *replay, const char *log,
                          struct nx_replay_told *told_out, struct nx_error *err);
