/* Address: "HOST:PORT" as people write it; an IPv6 host stands in brackets. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"

#define NX_ADDRESS_SIZE 272 /* "[" host "]:65535" and a zero */

struct nx_address {
  char host[256]; /* without brackets */
  uint16_t port;
};

/* Port 0 is fine here. NX_E_INVALID says what is wrong. */
int nx_address_parse(const char *text, struct nx_address *out, struct nx_error *err);
void nx_address_format(const struct nx_address *address, char out[NX_ADDRESS_SIZE]);
/* "0.0.0.0" or "::": every interface. */
bool nx_address_is_any(const struct nx_address *address);
/* A number, not a name. */
bool nx_address_is_numeric(const struct nx_address *address);
/* Whether the address can be bound now; port 0 is replaced by one that is free. NX_E_STATE
 * when the port is taken, NX_E_INVALID when the host is not one of this machine. */
int nx_address_probe(struct nx_address *address, struct nx_error *err);
/* Whether somebody accepts connections there; asked on this machine when it is "any". */
bool nx_address_answers(const struct nx_address *address);
