/* Replay record: the bytes of replay.rec. Internal. */
#pragma once

#include "crypto/replay.h"

int nx_replay_record_write(const struct nx_replay *replay, const struct nx_mask *mask,
                           struct nx_buffer *out, struct nx_error *err);
/* mask_out: destroy it. NX_E_FORMAT says what is wrong. */
int nx_replay_record_parse(struct nx_bytes bytes, struct nx_replay *replay_out,
                           struct nx_mask **mask_out, struct nx_error *err);
