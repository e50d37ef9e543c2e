/* Roles: what each kind of certificate may call. One table, here, in docs/operations.md and
 * nowhere else (tests/unit/admin/test-roles.c compares the two). A method that is not in the
 * table answers nobody; a certificate that is not in the store has no role. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum nx_role {
  NX_ROLE_NONE = 0,
  NX_ROLE_NODE = 1 << 0,
  NX_ROLE_OPERATOR = 1 << 1,
  NX_ROLE_RESEARCHER = 1 << 2,
  NX_ROLE_AUDITOR = 1 << 3,
};

struct nx_role_rule {
  const char *method; /* "/neurox.v1.Admin/Start" */
  unsigned roles;     /* enum nx_role, or-ed */
  const char *words;  /* what it does, for people */
};

extern const struct nx_role_rule nx_role_rules[];
extern const size_t nx_role_n_rules;

bool nx_role_may(enum nx_role role, const char *method);
/* "node", "operator", "researcher", "auditor"; "nobody" otherwise. */
const char *nx_role_name(enum nx_role role);
/* NX_ROLE_NONE when there is no such role that can be granted: node is not, sites enrol. */
enum nx_role nx_role_to_grant(const char *name);
