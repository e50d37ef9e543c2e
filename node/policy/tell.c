#include "node/policy/tell.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"

#define AT_ONCE_MOST 4u
#define TIMEOUT_SECONDS 30u
#define LAST_WAIT (2 * NX_SECOND)

struct nx_teller {
  pthread_mutex_t lock;
  pthread_cond_t changed;
  char site[65];
  unsigned running; /* under the lock, as is stop_at */
  int64_t stop_at;  /* monotonic; 0: goes on */
};

/* One command, with copies of all it needs. */
struct telling {
  struct nx_teller *teller;
  char **argv;
  char *environment[6];
  char *input;
  char event[32];
  int64_t timeout;
};

static void destroy(struct telling *telling) {
  for (char **word = telling->argv; word && *word; word++)
    free(*word);
  free(telling->argv);
  for (char **word = telling->environment; *word; word++)
    free(*word);
  free(telling->input);
  free(telling);
}

static void complain(const struct telling *telling, const char *why) {
  NX_LOG(NX_LOG_WARNING, "tell.failed", NX_STR("event", telling->event),
         NX_STR("command", telling->argv[0]), NX_STR("why", why));
}

/* ---- running it ---------------------------------------------------------------------------- */

static int spawn(const struct telling *telling, pid_t *pid_out, int *input_out) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  sigset_t none, all;
  int ends[2];
  if (pipe2(ends, O_CLOEXEC))
    return errno;
  fcntl(ends[1], F_SETFL, O_NONBLOCK);
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[0], 0);
  posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_addclosefrom_np(&actions, 3);
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes,
                           POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  int e = posix_spawn(pid_out, telling->argv[0], &actions, &attributes, telling->argv,
                      (char *const *)telling->environment);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[0]);
  if (e)
    close(ends[1]);
  else
    *input_out = ends[1];
  return e;
}

static bool must_end(struct nx_teller *teller, int64_t until) {
  pthread_mutex_lock(&teller->lock);
  if (teller->stop_at && teller->stop_at < until)
    until = teller->stop_at;
  pthread_mutex_unlock(&teller->lock);
  return nx_clock_monotonic() >= until;
}

/* Feeds it and waits for it; true when it ended by itself. */
static bool attend(const struct telling *telling, pid_t pid, int input, int *status_out) {
  int64_t until = nx_clock_monotonic() + telling->timeout;
  size_t done = 0, size = strlen(telling->input);
  bool open = true;
  for (;;) {
    ssize_t n = open && done < size ? write(input, telling->input + done, size - done) : 0;
    done += n > 0 ? (size_t)n : 0;
    if (open && (done == size || (n < 0 && errno != EAGAIN && errno != EINTR))) {
      close(input); /* it has all of it, or does not read */
      open = false;
    }
    bool ended = waitpid(pid, status_out, WNOHANG) == pid;
    if (ended || must_end(telling->teller, until)) {
      if (open)
        close(input);
      return ended;
    }
    nx_clock_sleep(20 * NX_MILLISECOND);
  }
}

static void carry_out(const struct telling *telling) {
  char why[80];
  pid_t pid;
  int input = -1, status = 0, e = spawn(telling, &pid, &input);
  if (e) {
    complain(telling, strerror(e));
    return;
  }
  if (!attend(telling, pid, input, &status)) {
    kill(-pid, SIGKILL);
    waitpid(pid, &status, 0);
    complain(telling, "it took too long and was killed");
    return;
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
    NX_LOG(NX_LOG_DEBUG, "tell.done", NX_STR("event", telling->event));
    return;
  }
  snprintf(why, sizeof why, WIFEXITED(status) ? "it ended with %d" : "it was ended by signal %d",
           WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
  complain(telling, why);
}

static void *run(void *context) {
  struct telling *telling = context;
  struct nx_teller *teller = telling->teller;
  carry_out(telling);
  destroy(telling);
  pthread_mutex_lock(&teller->lock);
  teller->running--;
  pthread_cond_broadcast(&teller->changed);
  pthread_mutex_unlock(&teller->lock);
  return NULL;
}

/* ---- what it is told ------------------------------------------------------------------------ */

static char *json_of(const struct nx_teller *teller, const char *event, const char *text) {
  char time[21];
  cJSON *object = cJSON_CreateObject();
  nx_clock_format(nx_clock_unix(), time);
  cJSON_AddStringToObject(object, "event", event);
  cJSON_AddStringToObject(object, "site", teller->site);
  cJSON_AddStringToObject(object, "time", time);
  cJSON_AddStringToObject(object, "text", text);
  char *out = cJSON_PrintUnformatted(object);
  cJSON_Delete(object);
  return out;
}

static char *variable(const char *name, const char *value) {
  char *out = NULL;
  return asprintf(&out, "%s=%s", name, value) < 0 ? NULL : out;
}

static bool fill(struct telling *telling, const struct nx_teller *teller,
                 const struct nx_site_policy_tell *tell, const char *event, const char *text) {
  const char *path = getenv("PATH"), *language = getenv("LANG");
  telling->environment[0] = variable("PATH", path ? path : "/usr/bin:/bin");
  telling->environment[1] = variable("LANG", language ? language : "C.UTF-8");
  telling->environment[2] = variable("NEUROX_EVENT", event);
  telling->environment[3] = variable("NEUROX_SITE", teller->site);
  telling->environment[4] = variable("NEUROX_TEXT", text);
  if (!tell->mail_to)
    telling->input = json_of(teller, event, text);
  else if (asprintf(&telling->input,
                    "To: %s\nSubject: [neurox %s] %s\nContent-Type: text/plain; charset=utf-8\n\n"
                    "%s\n",
                    tell->mail_to, teller->site, event, text) < 0)
    telling->input = NULL;
  telling->argv = calloc(tell->n_command + 1u, sizeof *telling->argv);
  for (uint32_t i = 0; telling->argv && i < tell->n_command; i++)
    if (!(telling->argv[i] = strdup(tell->command[i])))
      return false;
  snprintf(telling->event, sizeof telling->event, "%s", event);
  telling->timeout =
      (tell->timeout_seconds ? tell->timeout_seconds : TIMEOUT_SECONDS) * (int64_t)NX_SECOND;
  return telling->input && telling->argv && telling->environment[4];
}

static bool start(struct nx_teller *teller, struct telling *telling) {
  pthread_t thread;
  pthread_mutex_lock(&teller->lock);
  bool may = teller->running < AT_ONCE_MOST && !teller->stop_at &&
             pthread_create(&thread, NULL, run, telling) == 0;
  teller->running += may;
  pthread_mutex_unlock(&teller->lock);
  if (may)
    pthread_detach(thread);
  return may;
}

void nx_tell(struct nx_teller *teller, const struct nx_site_policy_tell *tell, const char *event,
             const char *text) {
  if (!tell || !teller)
    return;
  struct telling *telling = calloc(1, sizeof *telling);
  if (!telling)
    return;
  telling->teller = teller;
  if (fill(telling, teller, tell, event, text) && start(teller, telling))
    return;
  NX_LOG(NX_LOG_WARNING, "tell.dropped", NX_STR("event", event),
         NX_STR("why", "others are still being told, or memory is short"));
  destroy(telling);
}

int nx_teller_create(const char *site, struct nx_teller **teller_out, struct nx_error *err) {
  struct nx_teller *teller = calloc(1, sizeof *teller);
  if (!teller)
    return nx_fail(err, NX_E_NOMEM, "out of memory");
  pthread_mutex_init(&teller->lock, NULL);
  pthread_cond_init(&teller->changed, NULL);
  snprintf(teller->site, sizeof teller->site, "%s", site);
  *teller_out = teller;
  return 0;
}

void nx_teller_destroy(struct nx_teller *teller) {
  if (!teller)
    return;
  pthread_mutex_lock(&teller->lock);
  teller->stop_at = nx_clock_monotonic() + LAST_WAIT;
  while (teller->running)
    pthread_cond_wait(&teller->changed, &teller->lock);
  pthread_mutex_unlock(&teller->lock);
  pthread_cond_destroy(&teller->changed);
  pthread_mutex_destroy(&teller->lock);
  free(teller);
}
