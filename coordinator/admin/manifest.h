/* The manifest of members at the coordinator: sealed at the first start with everyone who has
 * enrolled by then, signed with the coordinator's identity, and never changed afterwards. */
#pragma once

#include "coordinator/admin/federation.h"

/* Seals it. NX_E_STATE: fewer than three have enrolled; NX_E_EXISTS: it is sealed already. */
int nx_manifest_seal(struct nx_federation *federation, struct nx_error *err);

/* Reads the sealed one: exact bytes appended, its signature, its hash. NX_E_NOT_FOUND while
 * members may still be invited; NX_E_CRYPTO or NX_E_FORMAT when the store was tampered with. */
int nx_manifest_recall(struct nx_federation *federation, struct nx_buffer *bytes_out,
                       struct nx_signature *signature_out, struct nx_hash *hash_out,
                       struct nx_error *err);
