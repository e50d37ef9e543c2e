/* Egress: what left this building. Every message of the node's line passes a meter (rpc_client.h)
 * before it is handed to the transport; here it is counted by round and kind, with a running
 * digest, and held against the caps of the policy. Nothing of the line goes around it.
 *
 *   HOME/egress/open                 rows of what is not in a receipt yet; written before the
 *                                    message is sent (survives kill -9; fsynced with a receipt)
 *   HOME/egress/receipt-00000001.json  one for each round, and for what is outside of rounds at
 *                                    the end of a connection's day or of the process
 *
 * A receipt's SHA-256 is in the audit log (egress.receipt), so that neurox-audit can tell whether
 * one was changed, added or taken away. Bytes are those of the messages; HTTP/2 frames, TLS records
 * and TCP come on top of it. A message is counted when it is handed over: one that was dropped
 * because the line broke counts, too.
 *
 * digest: d = SHA-256(d before | SHA-256(message)), from 32 zeros, over the messages of one row. */
#pragma once

#include "crypto/audit_log.h"
#include "proto/rpc/rpc_client.h"

struct nx_egress;

/* folder is made when missing; what a killed process left open is taken up. audit_folder: of the
 * log, to see whether a receipt that was being written is in it. */
int nx_egress_open(const char *folder, const char *audit_folder, const char *site,
                   struct nx_egress **egress_out, struct nx_error *err);
void nx_egress_destroy(struct nx_egress *egress); /* NULL is fine */
NX_DEFINE_CLEANUP(struct nx_egress *, nx_egress_destroy)

/* For nx_rpc_client_config. Refuses (NX_E_DENIED) what would exceed a cap. Any thread. */
struct nx_rpc_meter nx_egress_meter(struct nx_egress *egress);

/* What this thread sends from now on belongs to this round; 0: outside of rounds. */
void nx_egress_about(uint64_t round, uint32_t attempt);

/* Bytes; 0: no cap. Any thread. */
void nx_egress_caps(struct nx_egress *egress, uint64_t round_bytes, uint64_t day_bytes);
/* To whom: SHA-256 of the key of the certificate that the other end proved. */
void nx_egress_destination(struct nx_egress *egress, const struct nx_hash *spki);
/* In the last 24 hours and the begun one before them. */
uint64_t nx_egress_day_bytes(struct nx_egress *egress);
/* True once since a cap stopped something; the rule in words. */
bool nx_egress_was_stopped(struct nx_egress *egress, char words[NX_ERROR_TEXT_SIZE]);

/* Makes receipts, durable and in the log, of rounds up to this one. outside: also of what
 * belongs to no round. */
int nx_egress_close(struct nx_egress *egress, uint64_t up_to_round, bool outside,
                    struct nx_audit_log *log, struct nx_error *err);

/* What a kind of message is for, in words; never NULL. */
const char *nx_egress_purpose(const char *kind);
