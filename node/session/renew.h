/* Renew: asks for the node's next certificate over the running connection. The key stays (the
 * manifest pins it), both keys sign, and what comes back is believed only as far as the roots
 * that this node already trusts vouch for it. */
#pragma once

#include "crypto/sign.h"
#include "proto/rpc/rpc_client.h"

struct nx_renew_keys {
  struct nx_bytes key_pem; /* the TLS key */
  struct nx_bytes roots;   /* PEM: believed until now */
  const struct nx_identity *identity;
};

/* Told once, on a thread of the transport; response: an encoded RenewResponse, or code < 0 and
 * text says why. The bytes live during the call. */
typedef void (*nx_renew_told)(void *context, int code, const char *text, struct nx_bytes response);

/* Asks and returns at once. */
int nx_renew_ask(struct nx_rpc_client *client, const struct nx_renew_keys *keys, const char *name,
                 nx_renew_told told, void *context, struct nx_error *err);

/* What came, checked at `now` (Unix seconds): the certificate is for our key, every announced
 * root is ours or vouched for by one of ours, and the certificate holds under what was
 * announced. Appends both as PEM. NX_E_PROTOCOL, NX_E_CRYPTO. */
int nx_renew_read(const struct nx_renew_keys *keys, struct nx_bytes response, int64_t now,
                  struct nx_buffer *certificate_out, struct nx_buffer *roots_out,
                  struct nx_error *err);
