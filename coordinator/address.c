#include "coordinator/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cleanup.h"

int nx_address_parse(const char *text, struct nx_address *out, struct nx_error *err) {
  const char *colon = strrchr(text, ':'), *host = text;
  size_t n = colon ? (size_t)(colon - text) : 0;
  *out = (struct nx_address){0};
  if (n >= 2 && host[0] == '[' && host[n - 1] == ']')
    host++, n -= 2;
  else if (n && memchr(host, ':', n))
    return nx_fail(err, NX_E_INVALID, "'%s': write an IPv6 host as [HOST]:PORT", text);
  if (!n || n >= sizeof out->host || strcspn(text, " '\"\\\t\r\n/") != strlen(text))
    return nx_fail(err, NX_E_INVALID, "'%s' is not HOST:PORT", text);
  char *end;
  unsigned long port = strtoul(colon + 1, &end, 10);
  if (colon[1] < '0' || colon[1] > '9' || *end || port > 65535)
    return nx_fail(err, NX_E_INVALID, "'%s': the port must be a number up to 65535", text);
  memcpy(out->host, host, n);
  out->port = (uint16_t)port;
  return 0;
}

void nx_address_format(const struct nx_address *address, char out[NX_ADDRESS_SIZE]) {
  const char *format = strchr(address->host, ':') ? "[%s]:%u" : "%s:%u";
  snprintf(out, NX_ADDRESS_SIZE, format, address->host, (unsigned)address->port);
}

bool nx_address_is_any(const struct nx_address *address) {
  return !strcmp(address->host, "0.0.0.0") || !strcmp(address->host, "::");
}

bool nx_address_is_numeric(const struct nx_address *address) {
  struct in6_addr room;
  return inet_pton(AF_INET, address->host, &room) == 1 ||
         inet_pton(AF_INET6, address->host, &room) == 1;
}

static int bind_once(const struct addrinfo *found, struct nx_address *address) {
  union {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
  } bound;
  socklen_t size = sizeof bound;
  _cleanup_fd_ int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0)
    return -errno;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
  /* A listener with SO_REUSEPORT would not stop a bind, a second listen does. */
  if (bind(fd, found->ai_addr, found->ai_addrlen) || listen(fd, 1) ||
      getsockname(fd, &bound.any, &size))
    return -errno;
  address->port = ntohs(found->ai_family == AF_INET6 ? bound.v6.sin6_port : bound.v4.sin_port);
  return 0;
}

int nx_address_probe(struct nx_address *address, struct nx_error *err) {
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *found = NULL;
  char port[8], text[NX_ADDRESS_SIZE];
  snprintf(port, sizeof port, "%u", (unsigned)address->port);
  nx_address_format(address, text);
  int e = getaddrinfo(address->host, port, &hints, &found);
  if (e)
    return nx_fail(err, NX_E_INVALID, "%s: %s", text, gai_strerror(e));
  e = bind_once(found, address);
  freeaddrinfo(found);
  if (e == -EADDRINUSE)
    return nx_fail(err, NX_E_STATE,
                   "port taken: another process listens on %s; stop it or choose another port",
                   text);
  if (e == -EADDRNOTAVAIL)
    return nx_fail(err, NX_E_INVALID, "%s is no address of this machine", text);
  return e ? nx_fail_errno(err, -e, "listen on %s", text) : 0;
}

bool nx_address_answers(const struct nx_address *address) {
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
  char port[8];
  snprintf(port, sizeof port, "%u", (unsigned)address->port);
  const char *host = !strcmp(address->host, "0.0.0.0") ? "127.0.0.1"
                     : !strcmp(address->host, "::")    ? "::1"
                                                       : address->host;
  if (getaddrinfo(host, port, &hints, &found))
    return false;
  _cleanup_fd_ int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  bool answers = fd >= 0 && connect(fd, found->ai_addr, found->ai_addrlen) == 0;
  freeaddrinfo(found);
  return answers;
}
