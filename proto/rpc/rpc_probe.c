/* Who opens TLS on the way: when a server's certificate is not of the federation's CA, a second
 * look at the line, with a handshake that believes anybody and sends nothing, says whose name the
 * certificate bears. A hospital's inspecting firewall puts its own there, and the steward's
 * network people know it by that name. */
#include <ctype.h>
#include <netdb.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/file.h"
#include "proto/rpc/rpc_internal.h"

#define PATIENCE_S 3
#define HOST_SIZE 256

struct place {
  char host[HOST_SIZE], port[8];
};

/* "host:7443", "[::1]:7443", "http://user@proxy:3128/" */
static bool parse_place(const char *text, struct place *out) {
  const char *scheme = strstr(text, "://");
  if (scheme)
    text = scheme + 3;
  const char *at = strrchr(text, '@');
  if (at)
    text = at + 1;
  const char *end = text[0] == '[' ? strchr(text, ']') : strrchr(text, ':');
  const char *port = end && *end == ']' ? end + 1 : end;
  if (!end || *port != ':')
    return false;
  const char *begin = text + (text[0] == '[');
  size_t size = (size_t)(end - begin), digits = strspn(port + 1, "0123456789");
  if (size == 0 || size >= sizeof out->host || digits == 0 || digits >= sizeof out->port)
    return false;
  memcpy(out->host, begin, size);
  out->host[size] = 0;
  memcpy(out->port, port + 1, digits);
  out->port[digits] = 0;
  return true;
}

static bool connect_in_time(int fd, const struct addrinfo *address) {
  struct pollfd pollfd = {.fd = fd, .events = POLLOUT};
  const struct timeval patience = {.tv_sec = PATIENCE_S};
  int error = 0;
  socklen_t size = sizeof error;
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  /* SO_SNDTIMEO bounds connect(), too. */
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  if (connect(fd, address->ai_addr, address->ai_addrlen))
    return false;
  return poll(&pollfd, 1, PATIENCE_S * 1000) == 1 &&
         getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0;
}

static int dial(const struct place *place) {
  const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
  struct addrinfo *found = NULL;
  int fd = -1;
  if (getaddrinfo(place->host, place->port, &hints, &found))
    return -1;
  for (const struct addrinfo *a = found; a && fd < 0; a = a->ai_next) {
    fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && !connect_in_time(fd, a))
      nx_cleanup_fd(&fd), fd = -1;
  }
  freeaddrinfo(found);
  return fd;
}

/* "CONNECT" (RFC 9110, 9.3.6), byte by byte so that nothing of TLS is swallowed. */
static bool pass_proxy(int fd, const struct place *target) {
  char text[2 * HOST_SIZE + 64];
  bool v6 = strchr(target->host, ':') != NULL;
  int n = snprintf(text, sizeof text, "CONNECT %s%s%s:%s HTTP/1.1\r\nHost: %s%s%s:%s\r\n\r\n",
                   v6 ? "[" : "", target->host, v6 ? "]" : "", target->port, v6 ? "[" : "",
                   target->host, v6 ? "]" : "", target->port);
  if (send(fd, text, (size_t)n, MSG_NOSIGNAL) != n)
    return false;
  size_t size = 0;
  char answer[4096];
  while (size < sizeof answer - 1 && recv(fd, answer + size, 1, 0) == 1) {
    answer[++size] = 0;
    if (size >= 4 && !memcmp(answer + size - 4, "\r\n\r\n", 4))
      return !strncmp(answer, "HTTP/1.", 7) && !strncmp(answer + 8, " 2", 2);
  }
  return false;
}

static void keep_printable(char *text) {
  for (; *text; text++)
    if (!isprint((unsigned char)*text) || *text == '"')
      *text = '?';
}

/* What the certificate says of who made it: organisation, then name. */
static bool name_issuer(const X509 *certificate, char *out, size_t size) {
  const X509_NAME *issuer = X509_get_issuer_name(certificate);
  char organisation[64] = "", name[64] = "";
  X509_NAME_get_text_by_NID(issuer, NID_organizationName, organisation, sizeof organisation);
  X509_NAME_get_text_by_NID(issuer, NID_commonName, name, sizeof name);
  keep_printable(organisation);
  keep_printable(name);
  if (!*organisation && !*name)
    return false;
  snprintf(out, size, "%s%s%s", organisation, *organisation && *name ? ", " : "", name);
  return true;
}

static bool look(int fd, const struct place *target, char *out, size_t size) {
  SSL_CTX *context = SSL_CTX_new(TLS_client_method());
  SSL *line = context ? SSL_new(context) : NULL;
  bool named = false;
  if (line && SSL_set_fd(line, fd) == 1) {
    SSL_set_verify(line, SSL_VERIFY_NONE, NULL);
    SSL_set_tlsext_host_name(line, target->host);
    /* The certificate comes before the server asks for ours, so that a handshake which fails
     * for want of one has shown it. */
    SSL_connect(line);
    X509 *certificate = SSL_get1_peer_certificate(line);
    named = certificate && name_issuer(certificate, out, size);
    X509_free(certificate);
  }
  SSL_free(line);
  SSL_CTX_free(context);
  return named;
}

bool nx_rpc_probe_issuer(const char *target_text, const char *proxy_text, char *out, size_t size) {
  struct place target, proxy;
  bool proxied = proxy_text && *proxy_text;
  if (!parse_place(target_text, &target) || (proxied && !parse_place(proxy_text, &proxy)))
    return false;
  _cleanup_(nx_cleanup_fd) int fd = dial(proxied ? &proxy : &target);
  return fd >= 0 && (!proxied || pass_proxy(fd, &target)) && look(fd, &target, out, size);
}
