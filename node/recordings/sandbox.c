#include "node/recordings/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/file.h"
#include "common/size.h"
#include "node/recordings/sandbox_wire.h"

#define PATIENCE_MS 60000

struct child {
  pid_t pid;
  int socket, window;
  uint8_t *memory; /* the window, SANDBOX_WINDOW_SIZE bytes */
  char format[32];
};

const char *nx_sandbox_reader(char *out) {
  ssize_t n = readlink("/proc/self/exe", out, NX_PATH_SIZE - 16);
  if (n <= 0)
    return NULL;
  out[n] = 0;
  char *slash = strrchr(out, '/');
  if (!slash)
    return NULL;
  strcpy(slash + 1, "neurox-reader");
  return access(out, X_OK) == 0 ? out : NULL;
}

static void close_sandboxed(struct nx_recording *recording) {
  struct child *child = recording->state;
  if (!child)
    return;
  if (child->pid > 0) {
    kill(child->pid, SIGKILL);
    while (waitpid(child->pid, NULL, 0) < 0 && errno == EINTR)
      ;
  }
  if (child->socket >= 0)
    close(child->socket);
  if (child->window >= 0)
    close(child->window);
  if (child->memory)
    munmap(child->memory, SANDBOX_WINDOW_SIZE);
  free(child);
}

/* The child is gone or silent: says how, so that a person can act. */
static int mourn(struct child *child, bool silent, struct nx_error *err) {
  int status = 0;
  if (silent)
    kill(child->pid, SIGKILL);
  while (waitpid(child->pid, &status, 0) < 0 && errno == EINTR)
    ;
  child->pid = -1;
  if (silent)
    return nx_fail(err, NX_E_FORMAT, "its reader hung for %d s: take the file out",
                   PATIENCE_MS / 1000);
  if (WIFSIGNALED(status))
    return nx_fail(err, NX_E_FORMAT, "its reader was stopped by signal %d (%s): take the file out",
                   WTERMSIG(status), strsignal(WTERMSIG(status)));
  return nx_fail(err, NX_E_FORMAT, "its reader ended with code %d: take the file out",
                 WEXITSTATUS(status));
}

/* Opens the sibling a child asked for and answers. */
static int serve_sibling(struct nx_recording *recording, struct sandbox_reply *reply) {
  const struct child *child = recording->state;
  struct nx_error why = {0};
  struct sandbox_reply answer = {.op = SANDBOX_SIBLING};
  _cleanup_fd_ int fd = -1;
  reply->text[sizeof reply->text - 1] = 0;
  answer.code = nx_recording_note_beside(recording, reply->text, &why);
  if (!answer.code)
    answer.code = nx_recording_open_beside(recording->path, reply->text, &fd, &why);
  snprintf(answer.text, sizeof answer.text, "%s", why.text);
  return sandbox_send(child->socket, &answer, sizeof answer, fd);
}

/* Waits for DONE, serving siblings on the way. */
static int await(struct nx_recording *recording, struct nx_error *err) {
  struct child *child = recording->state;
  for (;;) {
    struct sandbox_reply reply;
    struct pollfd ready = {child->socket, POLLIN, 0};
    int n, fd = -1;
    do
      n = poll(&ready, 1, PATIENCE_MS);
    while (n < 0 && errno == EINTR);
    if (n == 0)
      return mourn(child, true, err);
    if (sandbox_receive(child->socket, &reply, sizeof reply, &fd) < 0)
      return mourn(child, false, err);
    if (fd >= 0)
      close(fd);
    if (reply.op == SANDBOX_SIBLING && serve_sibling(recording, &reply) == 0)
      continue;
    if (reply.op != SANDBOX_DONE)
      return mourn(child, true, err);
    reply.text[sizeof reply.text - 1] = 0;
    if (reply.code >= 0)
      return 0;
    return nx_fail(err, reply.code >= NX_E_UNSUPPORTED ? reply.code : NX_E_FORMAT, "%s",
                   reply.text);
  }
}

static bool is_text(const char *text, size_t size) {
  return memchr(text, 0, size) != NULL;
}

/* The child may have been taken over: nothing it says is believed unchecked. */
static int check_channel(const struct nx_channel *c, struct nx_error *err) {
  bool good = is_text(c->name, sizeof c->name) && is_text(c->unit, sizeof c->unit) &&
              (unsigned)c->type <= NX_CHANNEL_BEHAVIOUR && (unsigned)c->frame <= NX_FRAME_MNI &&
              isfinite(c->rate_hz) && c->rate_hz >= 0 && c->n_samples < UINT64_C(1) << 48;
  for (int i = 0; i < 3; i++)
    good = good && isfinite(c->position_m[i]);
  return good ? 0 : nx_fail(err, NX_E_FORMAT, "its reader described a channel that cannot be");
}

static int check_event(const struct nx_event *event, struct nx_error *err) {
  if (isfinite(event->onset_s) && isfinite(event->duration_s) &&
      is_text(event->text, sizeof event->text))
    return 0;
  return nx_fail(err, NX_E_FORMAT, "its reader described an event that cannot be");
}

static int take_info(struct nx_recording *recording, struct child *child, struct nx_error *err) {
  struct sandbox_info info;
  const uint8_t *at = child->memory + sizeof info;
  memcpy(&info, child->memory, sizeof info);
  if (info.n_channels > NX_RECORDING_CHANNELS || info.n_events > NX_RECORDING_EVENTS ||
      !isfinite(info.duration_s) || !isfinite(info.origin_s) || info.n_parts < 1 ||
      !is_text(info.format, sizeof info.format) || !is_text(info.identity, sizeof info.identity))
    return nx_fail(err, NX_E_FORMAT, "its reader described what cannot be");
  recording->channels = calloc(info.n_channels + 1, sizeof *recording->channels);
  recording->events = calloc(info.n_events + 1, sizeof *recording->events);
  if (!recording->channels || !recording->events)
    return nx_fail(err, NX_E_NOMEM, "out of memory");
  memcpy(recording->channels, at, info.n_channels * sizeof *recording->channels);
  at += info.n_channels * sizeof *recording->channels;
  memcpy(recording->events, at, info.n_events * sizeof *recording->events);
  for (size_t i = 0; i < info.n_channels; i++)
    if (check_channel(&recording->channels[i], err) < 0)
      return NX_E_FORMAT;
  for (size_t i = 0; i < info.n_events; i++)
    if (check_event(&recording->events[i], err) < 0)
      return NX_E_FORMAT;
  memcpy(child->format, info.format, sizeof child->format);
  recording->info = (struct nx_recording_info){
      .format = child->format,
      .duration_s = info.duration_s,
      .origin_s = info.origin_s,
      .n_parts = info.n_parts,
      .n_channels = info.n_channels,
      .channels = recording->channels,
      .n_events = info.n_events,
      .events = recording->events,
      .events_dropped = info.events_dropped != 0,
      .truncated = info.truncated != 0,
      .discontinuous = info.discontinuous != 0,
      .synthetic = info.synthetic != 0,
  };
  memcpy(recording->info.identity, info.identity, sizeof info.identity);
  return 0;
}

static int read_sandboxed(struct nx_recording *recording, const uint32_t *channels,
                          size_t n_channels, uint64_t first, size_t n, float *out,
                          struct nx_error *err) {
  struct child *child = recording->state;
  _cleanup_free_ struct sandbox_request *request = calloc(1, sizeof *request);
  if (!request)
    return nx_fail(err, NX_E_NOMEM, "out of memory");
  if (child->pid <= 0)
    return nx_fail(err, NX_E_STATE, "its reader is gone");
  if (n_channels > NX_RECORDING_CHANNELS)
    return nx_fail(err, NX_E_INVALID, "more channels than there are");
  size_t most = SANDBOX_WINDOW_SIZE / sizeof(float) / n_channels;
  request->op = SANDBOX_READ;
  request->n_channels = (uint32_t)n_channels;
  memcpy(request->channels, channels, n_channels * sizeof *channels);
  for (size_t done = 0, now; done < n; done += now) {
    now = NX_MIN(most, n - done);
    request->first = first + done;
    request->n = now;
    if (sandbox_send(child->socket, request, sizeof *request, -1) < 0)
      return mourn(child, false, err);
    int r = await(recording, err);
    if (r < 0)
      return r;
    for (size_t c = 0; c < n_channels; c++)
      memcpy(out + c * n + done, child->memory + c * now * sizeof(float), now * sizeof(float));
  }
  return 0;
}

static const struct nx_format sandboxed = {
    .name = "sandboxed", .read = read_sandboxed, .close = close_sandboxed};

/* Three descriptors and no environment: that is all a child gets. */
static int spawn(const char *reader, const char *path, uint32_t part, int socket, int window,
                 int file, pid_t *pid_out, struct nx_error *err) {
  posix_spawn_file_actions_t actions;
  char number[16];
  snprintf(number, sizeof number, "%u", part);
  char *const arguments[] = {(char *)(uintptr_t) "neurox-reader", (char *)(uintptr_t)path, number,
                             NULL};
  char *const environment[] = {NULL};
  const int from[] = {socket, window, file};
  int high[3];
  int e = posix_spawn_file_actions_init(&actions);
  for (int i = 0; i < 3; i++) /* out of the way of 3, 4 and 5 first */
    high[i] = fcntl(from[i], F_DUPFD_CLOEXEC, 16);
  for (int i = 0; !e && i < 3; i++)
    e = posix_spawn_file_actions_addopen(&actions, i, "/dev/null", O_RDWR, 0);
  for (int i = 0; !e && i < 3; i++)
    e = posix_spawn_file_actions_adddup2(&actions, high[i], SANDBOX_SOCKET + i);
  if (!e)
    e = posix_spawn_file_actions_addclosefrom_np(&actions, SANDBOX_FILE + 1);
  if (!e)
    e = posix_spawn(pid_out, reader, &actions, NULL, arguments, environment);
  for (int i = 0; i < 3; i++)
    if (high[i] >= 0)
      close(high[i]);
  posix_spawn_file_actions_destroy(&actions);
  return e ? nx_fail_errno(err, e, "start %s", reader) : 0;
}

static int start(struct child *child, const char *reader, const char *path, uint32_t part, int file,
                 struct nx_error *err) {
  int pair[2];
  child->window = memfd_create("neurox-window", MFD_CLOEXEC);
  if (child->window < 0 || ftruncate(child->window, SANDBOX_WINDOW_SIZE))
    return nx_fail_errno(err, errno, "make the shared window");
  child->memory =
      mmap(NULL, SANDBOX_WINDOW_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, child->window, 0);
  if (child->memory == MAP_FAILED) {
    child->memory = NULL;
    return nx_fail_errno(err, errno, "map the shared window");
  }
  if (fcntl(child->window, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) &&
      errno != EINVAL && errno != EPERM)
    return nx_fail_errno(err, errno, "seal the shared window");
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
    return nx_fail_errno(err, errno, "make a socket pair");
  child->socket = pair[0];
  int r = spawn(reader, path, part, pair[1], child->window, file, &child->pid, err);
  close(pair[1]);
  return r;
}

int nx_recording_open_sandboxed(const char *reader, const char *name,
                                struct nx_recording **recording_out, struct nx_error *err) {
  char path[NX_PATH_SIZE];
  uint32_t part = nx_recording_split_part(name, path);
  _cleanup_(nx_recording_closep) struct nx_recording *recording = calloc(1, sizeof *recording);
  struct child *child = calloc(1, sizeof *child);
  struct stat status;
  if (!recording || !child) {
    free(child);
    return nx_fail(err, NX_E_NOMEM, "open %s: out of memory", path);
  }
  *child = (struct child){.pid = -1, .socket = -1, .window = -1};
  recording->fd = -1;
  recording->format = &sandboxed;
  recording->state = child;
  recording->path = strdup(path);
  int r = nx_recording_allowed(path, err);
  if (r < 0)
    return r;
  _cleanup_fd_ int file = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  if (file < 0 || !recording->path || fstat(file, &status))
    return nx_fail_errno(err, errno, "open %s", path);
  if (!S_ISREG(status.st_mode))
    return nx_fail(err, NX_E_INVALID, "%s is not a regular file: name a recording", path);
  r = start(child, reader, path, part, file, err);
  if (r < 0)
    return r;
  r = await(recording, err);
  if (r < 0) /* the child's words name the file already; ours do not */
    return err && strstr(err->text, path) ? r : nx_error_prefix(err, r, "%s", path);
  r = take_info(recording, child, err);
  if (r < 0)
    return nx_error_prefix(err, r, "%s", path);
  *recording_out = nx_steal(&recording);
  return 0;
}

int nx_recording_open_guarded(const char *path, struct nx_recording **recording_out,
                              struct nx_error *err) {
  char reader[NX_PATH_SIZE];
  const char *program = nx_sandbox_reader(reader);
  return program ? nx_recording_open_sandboxed(program, path, recording_out, err)
                 : nx_recording_open(path, recording_out, err);
}
