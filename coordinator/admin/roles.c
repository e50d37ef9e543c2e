#include "coordinator/admin/roles.h"

#include <string.h>

#include "common/size.h"
#include "proto/codec/methods.h"

#define N NX_ROLE_NODE
#define O NX_ROLE_OPERATOR
#define R NX_ROLE_RESEARCHER
#define A NX_ROLE_AUDITOR

const struct nx_role_rule nx_role_rules[] = {
    {NX_METHOD_SESSION_OPEN, N, "take part in rounds"},
    {NX_METHOD_IDENTITY_RENEW, N, "renew the own certificate"},
    {NX_METHOD_ROUND_UPLOAD, N, "upload a masked update"},
    {NX_METHOD_ROUND_FETCH_TILES, N, "spot-check a sum"},
    {NX_METHOD_BLOB_FETCH, N | O | R, "fetch a model, a sum or a plan by its hash"},
    {NX_METHOD_ADMIN_SUBMIT, O | R, "submit a plan for members to read"},
    {NX_METHOD_ADMIN_START, O, "start or continue a run"},
    {NX_METHOD_ADMIN_PAUSE, O, "pause the run after its round"},
    {NX_METHOD_ADMIN_STOP, O, "stop the run after its round"},
    {NX_METHOD_ADMIN_STATUS, O | R | A, "see where the run is"},
    {NX_METHOD_ADMIN_WATCH, O | R | A, "follow the run"},
    {NX_METHOD_ADMIN_MEMBERS, O | A, "list the members"},
    {NX_METHOD_ADMIN_LOG, O | A, "fetch the coordinator's audit log"},
};
const size_t nx_role_n_rules = NX_ARRAY_LENGTH(nx_role_rules);

bool nx_role_may(enum nx_role role, const char *method) {
  for (size_t i = 0; i < nx_role_n_rules; i++)
    if (!strcmp(nx_role_rules[i].method, method))
      return (nx_role_rules[i].roles & role) != 0;
  return false;
}

static const struct {
  enum nx_role role;
  const char *name;
} names[] = {{N, "node"}, {O, "operator"}, {R, "researcher"}, {A, "auditor"}};

const char *nx_role_name(enum nx_role role) {
  for (size_t i = 0; i < NX_ARRAY_LENGTH(names); i++)
    if (names[i].role == role)
      return names[i].name;
  return "nobody";
}

enum nx_role nx_role_to_grant(const char *name) {
  for (size_t i = 0; i < NX_ARRAY_LENGTH(names); i++)
    if (names[i].role != N && !strcmp(names[i].name, name))
      return names[i].role;
  return NX_ROLE_NONE;
}
