/* Audit members: follows the list of members through a log, from what its entries say:
 *
 *   member.listed      revision, id, name, identity, spki      one a member
 *   manifest.approved  revision, member, signature             one an approval
 *   manifest.revised   revision, manifest, previous, members   closes what stands above
 *
 * and checks that every revision after the first that is told was approved by at least t of the
 * members of the one before (crypto/member_list.h). */
#pragma once

#include "crypto/audit_reader.h"

#define NX_AUDIT_MEMBERS_MAX 255

struct nx_audit_member {
  uint32_t id;
  char name[NX_AUDIT_NAME_MAX + 1];
  struct nx_public_key identity;
  struct nx_hash spki;
};

struct nx_audit_members {
  bool known; /* false: the log tells of no list */
  uint64_t first, revision;
  struct nx_hash manifest;
  size_t n;
  struct nx_audit_member members[NX_AUDIT_MEMBERS_MAX]; /* in order of id */
};

/* Called for every revision once it has passed: what it is now, how many approved (0 for the
 * first that is told). */
typedef void (*nx_audit_members_seen)(void *context, const struct nx_audit_members *now,
                                      size_t n_approved);

/* Reads a log that was verified before. NX_E_CRYPTO names the revision that has too few
 * approvals, or does not follow from the one before; NX_E_FORMAT what is told badly. seen may
 * be NULL. */
int nx_audit_members(const char *log, struct nx_audit_members *out, nx_audit_members_seen seen,
                     void *context, struct nx_error *err);
