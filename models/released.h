/* Released models: files that `neurox-coordinator export` wrote, with the list of sites that the
 * model rests on in their metadata, or as they were sealed. */
#pragma once

#include "common/bytes.h"
#include "common/error.h"

/* *sealed_out: the bytes that the members signed, whose SHA-256 names the model: the file without
 * its participation (they lie in `room` then), or the file itself when it has none. Looks at the
 * header alone and trusts nothing: what is no model file comes back as it is, for nx_model_load()
 * to refuse. */
int nx_released_sealed(struct nx_bytes file, struct nx_buffer *room, struct nx_bytes *sealed_out,
                       struct nx_error *err);
