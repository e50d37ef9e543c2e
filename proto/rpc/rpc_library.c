/* Starting gRPC the one way we want it: TLS 1.3 only, quiet, counted. */
#include <grpc/support/log.h>
#include <signal.h>
#include <stdlib.h>

#include "proto/rpc/rpc_internal.h"
#include "proto/rpc/rpc_server.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned started;

void nx_rpc_library_start(void) {
  pthread_mutex_lock(&lock);
  if (!started++) {
    /* There is no call for a least TLS version. Our certificates are P-256 keys, so with
     * only an RSA suite left TLS 1.2 finds no cipher, and the 1.3 suites do not depend on
     * this list. */
    setenv("GRPC_SSL_CIPHER_SUITES", "ECDHE-RSA-AES128-GCM-SHA256", 1);
    gpr_set_log_verbosity(getenv("NEUROX_RPC_DEBUG")
                              ? GPR_LOG_SEVERITY_DEBUG
                              : (gpr_log_severity)(GPR_LOG_SEVERITY_ERROR + 1));
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
