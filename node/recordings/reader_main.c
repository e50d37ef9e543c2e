/* neurox-reader: parses one recording inside of a sandbox (node/recordings/sandbox.h). Started
 * by the node with a socket, a shared window and the open file; of no use by hand. */
#include <errno.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/size.h"
#include "node/recordings/sandbox_wire.h"
#ifdef NEUROX_HDF5
#include "node/recordings/hdf5_format.h"
#endif

#define MEMORY_CAP ((rlim_t)2 << 30)
#define CPU_SECONDS 3600

#if defined(__SANITIZE_ADDRESS__)
#define LIMIT_MEMORY 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define LIMIT_MEMORY 0
#endif
#endif
#ifndef LIMIT_MEMORY
#define LIMIT_MEMORY 1
#endif

static int limit(void) {
  const struct rlimit none = {0, 0}, memory = {MEMORY_CAP, MEMORY_CAP};
  const struct rlimit cpu = {CPU_SECONDS, CPU_SECONDS};
  if (setrlimit(RLIMIT_CORE, &none) || setrlimit(RLIMIT_FSIZE, &none) ||
      setrlimit(RLIMIT_NPROC, &none) || setrlimit(RLIMIT_CPU, &cpu))
    return -errno;
  return LIMIT_MEMORY && setrlimit(RLIMIT_AS, &memory) ? -errno : 0;
}

/* What a parser needs: memory, the descriptors it was given, time. All else fails with EPERM;
 * what only an intruder would call ends the process. */
static int confine(void) {
  static const int allowed[] = {
      SCMP_SYS(read),
      SCMP_SYS(pread64),
      SCMP_SYS(lseek),
      SCMP_SYS(fstat),
      SCMP_SYS(newfstatat),
      SCMP_SYS(close),
      SCMP_SYS(brk),
      SCMP_SYS(munmap),
      SCMP_SYS(mremap),
      SCMP_SYS(madvise),
      SCMP_SYS(fcntl),
      SCMP_SYS(fadvise64),
      SCMP_SYS(sendmsg),
      SCMP_SYS(recvmsg),
      SCMP_SYS(getrandom),
      SCMP_SYS(futex),
      SCMP_SYS(clock_gettime),
      SCMP_SYS(gettimeofday),
      SCMP_SYS(exit),
      SCMP_SYS(exit_group),
      SCMP_SYS(rt_sigreturn),
      SCMP_SYS(rt_sigprocmask),
      SCMP_SYS(rt_sigaction),
      SCMP_SYS(sigaltstack),
      SCMP_SYS(getpid),
      SCMP_SYS(gettid),
      SCMP_SYS(sched_yield),
      SCMP_SYS(sched_getaffinity),
      SCMP_SYS(restart_syscall),
  };
  static const int deadly[] = {
      SCMP_SYS(execve), SCMP_SYS(execveat), SCMP_SYS(fork),   SCMP_SYS(vfork),
      SCMP_SYS(socket), SCMP_SYS(connect),  SCMP_SYS(bind),   SCMP_SYS(ptrace),
      SCMP_SYS(bpf),    SCMP_SYS(mount),    SCMP_SYS(unlink), SCMP_SYS(rename),
  };
  scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
  int e = filter ? 0 : -ENOMEM;
  for (size_t i = 0; !e && i < NX_ARRAY_LENGTH(allowed); i++)
    e = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0);
  for (size_t i = 0; !e && i < NX_ARRAY_LENGTH(deadly); i++)
    e = seccomp_rule_add(filter, SCMP_ACT_KILL_PROCESS, deadly[i], 0);
  if (!e)
    e = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
                         SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
  if (!e)
    e = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
                         SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
  if (!e)
    e = seccomp_load(filter);
  seccomp_release(filter);
  return e;
}

static void answer(int code, const struct nx_error *err) {
  struct sandbox_reply reply = {.op = SANDBOX_DONE, .code = code};
  snprintf(reply.text, sizeof reply.text, "%s", err->text);
  if (sandbox_send(SANDBOX_SOCKET, &reply, sizeof reply, -1) < 0)
    exit(1);
}

static int ask_sibling(void *context, const char *name, int *fd_out, struct nx_error *err) {
  struct sandbox_reply reply = {.op = SANDBOX_SIBLING};
  (void)context;
  snprintf(reply.text, sizeof reply.text, "%s", name);
  if (sandbox_send(SANDBOX_SOCKET, &reply, sizeof reply, -1) < 0 ||
      sandbox_receive(SANDBOX_SOCKET, &reply, sizeof reply, fd_out) < 0)
    return nx_fail(err, NX_E_PEER, "the node is gone");
  if (reply.code < 0)
    return nx_fail(err, reply.code, "%.*s", (int)sizeof reply.text - 1, reply.text);
  return *fd_out >= 0 ? 0 : nx_fail(err, NX_E_PEER, "the node sent no file");
}

static void describe(const struct nx_recording_info *info, uint8_t *window) {
  struct sandbox_info out = {
      .duration_s = info->duration_s,
      .origin_s = info->origin_s,
      .n_parts = info->n_parts,
      .n_channels = info->n_channels,
      .n_events = info->n_events,
      .events_dropped = info->events_dropped,
      .truncated = info->truncated,
      .discontinuous = info->discontinuous,
      .synthetic = info->synthetic,
  };
  snprintf(out.format, sizeof out.format, "%s", info->format);
  snprintf(out.identity, sizeof out.identity, "%s", info->identity);
  memcpy(window, &out, sizeof out);
  window += sizeof out;
  if (info->n_channels)
    memcpy(window, info->channels, info->n_channels * sizeof *info->channels);
  window += info->n_channels * sizeof *info->channels;
  if (info->n_events)
    memcpy(window, info->events, info->n_events * sizeof *info->events);
}

static int serve(struct nx_recording *recording, uint8_t *window) {
  static struct sandbox_request request;
  for (int fd; sandbox_receive(SANDBOX_SOCKET, &request, sizeof request, &fd) == 0;) {
    struct nx_error err = {0};
    size_t values;
    int r = NX_E_INVALID;
    if (request.op == SANDBOX_READ && request.n_channels <= NX_RECORDING_CHANNELS &&
        nx_size_mul(request.n_channels, request.n, &values) &&
        values <= SANDBOX_WINDOW_SIZE / sizeof(float))
      r = nx_recording_read(recording, request.channels, request.n_channels, request.first,
                            request.n, (float *)(void *)window, &err);
    answer(r, &err);
  }
  return 0;
}

_Static_assert(sizeof(struct sandbox_info) + NX_RECORDING_CHANNELS * sizeof(struct nx_channel) +
                       NX_RECORDING_EVENTS * sizeof(struct nx_event) <=
                   SANDBOX_WINDOW_SIZE,
               "a description fits into the window");

int main(int argc, char **argv) {
  struct nx_error err = {0};
  struct nx_recording *recording = NULL;
  if (argc != 3) {
    fprintf(stderr, "neurox-reader: started by neurox-node, not by hand\n");
    return 2;
  }
  uint8_t *window =
      mmap(NULL, SANDBOX_WINDOW_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, SANDBOX_WINDOW, 0);
  if (window == MAP_FAILED)
    return 2;
#ifdef NEUROX_HDF5
  nx_recording_add_hdf5();
#endif
  prctl(PR_SET_DUMPABLE, 0);
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || limit() || confine()) {
    nx_fail(&err, NX_E_UNSUPPORTED,
            "this kernel cannot confine the reader of recordings (seccomp): none is opened");
    answer(err.code, &err);
    return 1;
  }
  int r = nx_recording_open_fd(argv[1], (uint32_t)strtoul(argv[2], NULL, 10), SANDBOX_FILE,
                               ask_sibling, NULL, &recording, &err);
  if (!r)
    describe(nx_recording_info(recording), window);
  answer(r, &err);
  return r < 0 ? 1 : serve(recording, window);
}
