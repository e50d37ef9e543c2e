/* Why a peer cannot be reached, in words for the person who must do something about it.
 * gRPC tells it as text only, so its texts are recognised by parts that have been stable. */
#include <stdio.h>

#include "common/size.h"
#include "proto/rpc/rpc_internal.h"

struct trouble {
  const char *part; /* of gRPC's or OpenSSL's text */
  const char *words;
};

/* Before there was a connection. */
static const struct trouble connecting[] = {
    {"Connection refused", "nothing listens there: is it running, and is the address right?"},
    {"DNS resolution failed", "its name is not known: check the address and this machine's DNS"},
    {"is not in peer certificate", "its certificate is for another name: use the address as it was "
                                   "given to the coordinator's init"},
    {"certificate verify failed",
     "it shows a certificate that this federation's CA did not sign: it is another server, or "
     "something between here and there opens TLS"},
    {"certificate has expired", "its certificate has expired: renew it, and check both clocks"},
    {"rong version number", "it does not speak TLS: is the port right?"},
    {"RONG_VERSION_NUMBER", "it does not speak TLS: is the port right?"},
    {"packet length too long", "it does not speak TLS: is the port right?"},
    {"http request", "it does not speak TLS: is the port right?"},
    {"alert", "it refused this side's certificate: is it valid, and of the same federation?"},
    {"Socket closed",
     "it closed the connection: does it take this side's certificate (valid, of the "
     "same federation)?"},
    {"Connection reset",
     "it closed the connection: does it take this side's certificate (valid, of "
     "the same federation)?"},
    {"etwork is unreachable", "there is no network route: is this machine connected?"},
    {"o route to host", "there is no network route: is this machine connected?"},
    {"HTTP proxy returned", "the HTTP proxy refuses to connect to it: allow CONNECT to this port"},
    {"imed out", "no answer in time: does a firewall drop the connection?"},
};

/* On one that there was. A server's own words are none of these. */
static const struct trouble connected[] = {
    {"Socket closed", "the other side went away"},
    {"Connection reset", "the other side went away"},
    {"Broken pipe", "the other side went away"},
    {"GOAWAY", "the other side closes it"},
    {"keepalive watchdog timeout", "no sign of life from the other side"},
    {"Deadline Exceeded", "no answer in time: is it overloaded, or does a firewall drop packets?"},
};

static const char *find(const struct trouble *troubles, size_t n, const char *text) {
  for (size_t i = 0; i < n; i++)
    if (strstr(text, troubles[i].part))
      return troubles[i].words;
  return NULL;
}

/* The usual stranger is a firewall that opens TLS: say its name, and what to ask for. */
static bool describe_stranger(const char *target, const char *proxy, const char *text, char *out,
                              size_t size) {
  char issuer[140];
  if (!strstr(text, "certificate verify failed") ||
      !nx_rpc_probe_issuer(target, proxy, issuer, sizeof issuer))
    return false;
  snprintf(out, size,
           "%s cannot be reached: what answers there shows a certificate made by \"%s\", not by "
           "this federation's CA. If that is a firewall that opens TLS, ask your network people to "
           "exempt this address; if it is another server, check the address",
           target, issuer);
  return true;
}

void nx_rpc_describe(const char *target, const char *proxy, const char *text, char *out,
                     size_t size) {
  bool never = strstr(text, "failed to connect") || strstr(text, "DNS resolution failed");
  const char *words = never ? find(connecting, NX_ARRAY_LENGTH(connecting), text)
                            : find(connected, NX_ARRAY_LENGTH(connected), text);
  if (never && describe_stranger(target, proxy, text, out, size))
    return;
  if (never)
    snprintf(out, size, "%s cannot be reached: %s", target, words ? words : text);
  else if (words)
    snprintf(out, size, "the line to %s is cut: %s", target, words);
  else
    snprintf(out, size, "%s", text); /* the server's own words */
}
