/* Participation: which sites a model version rests on, as JSON that travels with it.
 *
 *   {"neurox_participation": 1, "model": SHA-256, "round": 22, "header_bytes": n,
 *    "federation": {"id", "name", "coordinator", "manifest"}, "members": [{"id", "name",
 *    "identity"}], "plan": {"sha256", "name"}, "start": …, "clipping": {…},
 *    "rounds": [{"round", "attempt", "kind", "parent", "model", "sum", "t3", "cohort": n,
 *                "sites": [ids], "recovered": n, "signatures": [{"member", "signature"}]}],
 *    "parent": SHA-256, "privacy": {"mechanism", "epsilon", …}}
 *
 * A round's parent is the version that it began with: the model of the round before, for a run's
 * first round the plan's model 0. The version's own parent is its last round's.
 *
 * "sites" are those whose updates are in the round's sum: nobody else's are. Signatures are M11,
 * over round, attempt, t3 and model, by the keys under "members". neurox-audit model checks it
 * (crypto/participation_check.h). */
#pragma once

#include "coordinator/admin/federation.h"

/* With "withdrawn": [{"member", "body", "signature"}] where a site said that a version among its rounds
 * stands on somebody who withdrew later: its signature as "withdrawn", over the body (site.proto). */

/* Of the model after `round`. all: the signatures of every round, not of the last alone. */
int nx_participation_write(struct nx_federation *federation, uint64_t round, size_t header_bytes,
                           bool all, struct nx_buffer *json_out, struct nx_error *err);
/* Puts the text into the file's __metadata__ under "neurox_participation" and changes nothing
 * else: taken out again the file is byte for byte what the members signed. */
int nx_participation_embed(struct nx_bytes model, struct nx_bytes json, struct nx_buffer *out,
                           struct nx_error *err);
/* Bytes of a safetensors file's header. */
int nx_participation_header_bytes(struct nx_bytes model, size_t *out, struct nx_error *err);
