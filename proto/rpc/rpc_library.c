/* Starting gRPC the one way we want it: TLS 1.3 only, quiet, counted. */
#include <grpc/support/log.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "proto/rpc/rpc_internal.h"
#include "proto/rpc/rpc_server.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned started;

static void (*refused)(void *context, const char *why);
static void *refused_context;

void nx_rpc_on_refused_handshake(void (*told)(void *context, const char *why), void *context) {
  pthread_mutex_lock(&lock);
  refused = told;
  refused_context = context;
  pthread_mutex_unlock(&lock);
}

/* gRPC tells of a failed handshake in its log and nowhere else. */
static void hear_log(gpr_log_func_args *line) {
  const char *at = strstr(line->message, "Handshake failed with fatal error ");
  if (!at)
    return;
  const char *words = strstr(at, "SSL routines:");
  words = words ? words + strlen("SSL routines:") : at;
  pthread_mutex_lock(&lock);
  if (refused)
    refused(refused_context, words + strspn(words, ": "));
  pthread_mutex_unlock(&lock);
}

void nx_rpc_library_start(void) {
  pthread_mutex_lock(&lock);
  if (!started++) {
    /* There is no call for a least TLS version. Our certificates are P-256 keys, so with
     * only an RSA suite left TLS 1.2 finds no cipher, and the 1.3 suites do not depend on
     * this list. */
    setenv("GRPC_SSL_CIPHER_SUITES", "ECDHE-RSA-AES128-GCM-SHA256", 1);
    bool debug = getenv("NEUROX_RPC_DEBUG") != NULL;
    gpr_set_log_verbosity(debug ? GPR_LOG_SEVERITY_DEBUG : GPR_LOG_SEVERITY_ERROR);
    if (!debug)
      gpr_set_log_function(hear_log);
    signal(SIGPIPE, SIG_IGN); /* rpc_probe.c writes to lines that may be gone */
    grpc_init();
  }
  pthread_mutex_unlock(&lock);
}

void nx_rpc_library_stop(void) {
  pthread_mutex_lock(&lock);
  if (!--started)
    grpc_shutdown_blocking();
  pthread_mutex_unlock(&lock);
}
