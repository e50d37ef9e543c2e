/* Participation check: an auditor's look at what a model version says of its making
 * (coordinator/verbs/participation.h writes it). Offline, with the logs of the federation:
 *
 *   the file without the participation hashes to the model that the members signed
 *   every round begins with the version that the one before it made, its parent
 *   every M11 signature is by the member's key that the participation names
 *   a mark "withdrawn" is signed by the site that set it, and about one of these rounds' models
 *   a log's round.opened or round.joined names the same plan and parent, round.committed the same
 *   sites, model.sealed the same model and sum,
 *   member.enrolled the same keys */
#pragma once

#include "crypto/audit_reader.h"

struct nx_participation; /* parsed */

/* path: a model with the participation in it, or the JSON file beside it.
 * NX_E_FORMAT, NX_E_CRYPTO (the file is not the signed model; a signature is false). */
int nx_participation_open(const char *path, struct nx_participation **out, struct nx_error *err);
void nx_participation_close(struct nx_participation *participation);
NX_DEFINE_CLEANUP(struct nx_participation *, nx_participation_close)

struct nx_participation_told {
  uint64_t rounds, signatures; /* in it, and checked */
  uint64_t compared;           /* entries of logs that agree */
};
/* Verifies the log, then compares; NX_E_CRYPTO names the entry that says otherwise. */
int nx_participation_compare_log(const struct nx_participation *participation, const char *log,
                                 struct nx_participation_told *told, struct nx_error *err);
void nx_participation_count(const struct nx_participation *participation,
                            struct nx_participation_told *told);
/* Plan, parent, clipping and privacy, then a line a round: "round   7 train: 2 of 3 sites: …". */
void nx_participation_print(const struct nx_participation *participation);
