/* Accepting without running out. gRPC core 1.51 stops listening for good when accept4() fails once
 * for want of descriptors or memory (src/core/lib/iomgr/tcp_server_posix.cc, on_read), and has no
 * bound on connections. So the accept4() that it calls is this one, which the dynamic linker
 * prefers to libc's: it turns away, by closing them, connections for which there is no room, keeps
 * descriptors back for our own files, and never says that it failed for a passing reason. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/size.h"
#include "proto/rpc/rpc_internal.h"
#include "proto/rpc/rpc_server.h"

#define KEPT_MOST 256 /* descriptors for files: an eighth of all, at most so many */

typedef int (*accept4_call)(int, struct sockaddr *, socklen_t *, int);

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static accept4_call libc_accept4;
static int spare = -1; /* given up for a moment to be able to turn somebody away */
static atomic_uint_fast64_t turned_away;

uint64_t nx_rpc_turned_away(void) {
  return atomic_load(&turned_away);
}

void nx_rpc_accept_prepare(void) {
  pthread_mutex_lock(&lock);
  if (!libc_accept4)
    *(void **)&libc_accept4 = dlsym(RTLD_NEXT, "accept4");
  if (spare < 0)
    spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
  pthread_mutex_unlock(&lock);
}

/* Descriptors are the lowest that are free, so a number tells how many there are. */
static bool is_one_too_many(int fd) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur == RLIM_INFINITY)
    return false;
  rlim_t kept = NX_MIN(limit.rlim_cur / 8, (rlim_t)KEPT_MOST);
  return (rlim_t)fd >= limit.rlim_cur - kept;
}

/* Takes the first of those who wait and hangs up. False: nobody waits, or nothing can be done. */
static bool turn_away(int listener) {
  pthread_mutex_lock(&lock);
  if (spare >= 0)
    close(spare);
  int fd = libc_accept4(listener, NULL, NULL, SOCK_CLOEXEC);
  if (fd >= 0) {
    close(fd);
    atomic_fetch_add(&turned_away, 1);
  }
  spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
  pthread_mutex_unlock(&lock);
  return fd >= 0;
}

/* accept(2): the peer, or the network, was gone before we came. */
static bool is_the_peers(int error) {
  return error == ECONNABORTED || error == EPROTO || error == ENETDOWN || error == ENOPROTOOPT ||
         error == EHOSTDOWN || error == ENONET || error == EHOSTUNREACH || error == EOPNOTSUPP ||
         error == ENETUNREACH || error == EPERM;
}

static bool is_want(int error) {
  return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

/* As accept4(2) of Linux, for every caller in the process. */
__attribute__((visibility("default"))) int accept4(int listener, struct sockaddr *restrict address,
                                                   socklen_t *restrict size, int flags) {
  socklen_t room = size ? *size : 0;
  if (!libc_accept4)
    nx_rpc_accept_prepare();
  for (;;) {
    if (size)
      *size = room;
    int fd = libc_accept4(listener, address, size, flags);
    if (fd >= 0 && !is_one_too_many(fd))
      return fd;
    if (fd >= 0) {
      close(fd);
      atomic_fetch_add(&turned_away, 1);
    } else if (is_want(errno)) {
      if (!turn_away(listener)) {
        errno = EAGAIN;
        return -1;
      }
    } else if (!is_the_peers(errno)) {
      return -1;
    }
  }
}
