/* Operator client: how an operator's verb talks to the running coordinator of --home, over
 * the same TLS as everybody, with the operator's certificate. */
#pragma once

#include "common/bytes.h"
#include "proto/codec/codec_admin.h"
#include "proto/rpc/rpc_client.h"

struct nx_operator {
  struct nx_rpc_client *client;
  char target[300];
};

/* Reads keys and address of the home; connects when it is used. */
int nx_operator_open(const char *home, struct nx_operator *out, struct nx_error *err);
void nx_operator_close(struct nx_operator *operator_); /* zeroed is fine */

/* One call; the response is appended. NX_E_PEER says to run serve. */
int nx_operator_call(struct nx_operator *operator_, const char *method, struct nx_bytes request,
                     struct nx_buffer *response, struct nx_error *err);
/* A method that answers with the status. */
int nx_operator_status(struct nx_operator *operator_, const char *method, struct nx_bytes request,
                       struct nx_admin_status *out, struct nx_error *err);
/* Puts words in front that help when the coordinator is away; returns code. */
int nx_operator_explain(const struct nx_operator *operator_, int code, struct nx_error *err);
