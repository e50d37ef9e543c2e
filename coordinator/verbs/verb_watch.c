/* Verb watch: follows a run to its end, live on a terminal, as plain lines elsewhere. */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/mailbox.h"
#include "coordinator/store/run_store.h"
#include "coordinator/verbs/coordinator_verb.h"
#include "coordinator/verbs/operator_client.h"

#define PATIENCE (120 * NX_SECOND) /* for a coordinator that went away */

/* One watching; what arrives is posted to the main thread, which prints. */
struct watch {
  struct nx_operator operator_;
  struct nx_mailbox *box;
  bool terminal;
  bool over, good; /* the run has ended; as planned */
  char last_note[512];
  uint32_t n_partial; /* rounds without some member */
  uint64_t shown;     /* the last sealed round that was printed */
};

/* What came: an event's bytes, or the end of the stream. */
struct arrival {
  struct nx_buffer bytes;
  int code; /* < 0: the stream is over */
  char text[256];
};

static void free_arrival(void *memory) {
  struct arrival *arrival = memory;
  nx_buffer_finish(&arrival->bytes);
  free(arrival);
}

static void post(struct watch *watch, struct nx_bytes bytes, int code, const char *text) {
  struct arrival *arrival = calloc(1, sizeof *arrival);
  if (!arrival)
    return;
  arrival->code = code;
  snprintf(arrival->text, sizeof arrival->text, "%s", text ? text : "");
  if (nx_buffer_append(&arrival->bytes, bytes.data, bytes.size, NULL) < 0 ||
      nx_mailbox_post(watch->box, arrival) < 0)
    free_arrival(arrival);
}

static void on_message(void *context, struct nx_rpc_call *call, struct nx_bytes message) {
  post(context, message, 0, NULL);
  nx_rpc_call_receive(call);
}

static void on_closed(void *context, struct nx_rpc_call *call, enum nx_rpc_status status,
                      const char *text) {
  int code = nx_rpc_status_code(status);
  (void)call;
  post(context, nx_bytes(NULL, 0), code ? code : NX_E_PEER, text);
}

/* --- lines ------------------------------------------------------------------------------ */

static const char *kind_name(uint32_t kind) {
  return kind == 1 ? "statistics" : kind == 2 ? "train" : "evaluate";
}

static void clear_line(const struct watch *watch) {
  if (watch->terminal)
    fputs("\r\033[K", stdout);
}

static void append_figure(char *line, size_t size, const char *name, double value) {
  size_t n = strlen(line);
  if (!isnan(value))
    snprintf(line + n, size - n, "  %s %.4f", name, value);
}

static void print_sealed(struct watch *watch, const struct nx_admin_event *event) {
  const struct nx_admin_sealed *s = &event->sealed;
  if (s->round <= watch->shown)
    return; /* told again after the line was cut */
  watch->shown = s->round;
  char line[256], recovered[48] = "", without[NX_ADMIN_TEXT_SIZE + 16] = "";
  if (s->without[0])
    snprintf(without, sizeof without, "  without %s", s->without);
  watch->n_partial += s->without[0] != 0;
  if (s->n_recovered)
    snprintf(recovered, sizeof recovered, ", %u recovered", s->n_recovered);
  snprintf(line, sizeof line, "round %3llu/%llu  %-10s  %u of %u%s",
           (unsigned long long)(s->round - event->status.first_round + 1),
           (unsigned long long)event->status.n_rounds, kind_name(s->kind), s->n_survivors,
           event->status.n_members, recovered);
  append_figure(line, sizeof line, "loss", s->train_loss);
  append_figure(line, sizeof line, "held-out", s->held_out_loss);
  append_figure(line, sizeof line, "AUROC", s->auroc);
  append_figure(line, sizeof line, "calibration error", s->calibration_error);
  append_figure(line, sizeof line, "R squared", s->r_squared);
  append_figure(line, sizeof line, "correlation", s->correlation);
  clear_line(watch);
  printf("%s  %.2f MB  %.1f s%s\n", line, (double)s->bytes_up / 1e6, s->seconds, without);
}

/* From the rounds so far; "" before the first. */
static void guess_left(const struct nx_admin_status *s, char *out, size_t size) {
  out[0] = 0;
  if (!s->n_sealed || s->n_sealed >= s->n_rounds)
    return;
  double spent = (double)(nx_clock_unix() - s->started) / 1e9;
  double left = spent * (double)(s->n_rounds - s->n_sealed) / (double)s->n_sealed;
  snprintf(out, size, "  about %d:%02d left", (int)left / 60, (int)left % 60);
}

static int columns(void) {
  struct winsize size;
  return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 10 ? size.ws_col : 80;
}

/* The live line: where the run is now. */
static void draw(const struct watch *watch, const struct nx_admin_status *s) {
  char line[640], left[48];
  if (!watch->terminal)
    return;
  guess_left(s, left, sizeof left);
  if (s->round)
    snprintf(line, sizeof line, "round %llu/%llu %s: %s %u of %u  members %u  %.1f MB up%s",
             (unsigned long long)(s->round - s->first_round + 1), (unsigned long long)s->n_rounds,
             kind_name(s->kind), s->phase, s->n_done, s->n_cohort, s->n_connected,
             (double)s->bytes_up / 1e6, left);
  else
    snprintf(line, sizeof line, "%s%s%s", s->run_state ? s->phase : "no run yet",
             s->note[0] ? ": " : "", s->note);
  printf("\r\033[K%.*s", columns() - 1, line);
}

static void print_note(struct watch *watch, const struct nx_admin_status *s) {
  if (!s->note[0] || !strcmp(s->note, watch->last_note))
    return;
  snprintf(watch->last_note, sizeof watch->last_note, "%s", s->note);
  if (watch->terminal && !s->round)
    return; /* the live line says it */
  clear_line(watch);
  printf("%s\n", s->note);
}

static void print_end(struct watch *watch, const struct nx_admin_status *s) {
  char hex[NX_HASH_HEX_SIZE];
  int seconds = (int)((s->ended - s->started) / NX_SECOND);
  watch->over = true;
  watch->good = s->run_state == NX_RUN_FINISHED;
  nx_hash_hex(&s->model, hex);
  clear_line(watch);
  printf("run %s after %llu of %llu rounds in %d:%02d; %u dropouts recovered; model %.16s…\n",
         nx_run_state_name((enum nx_run_state)s->run_state), (unsigned long long)s->n_sealed,
         (unsigned long long)s->n_rounds, seconds / 60, seconds % 60, s->n_recovered, hex);
  if (watch->n_partial)
    printf(
        "%u of the rounds shown here are without some members, as their lines say; which sites a\n"
        "model rests on: neurox-coordinator export, then neurox-audit model FILE\n",
        watch->n_partial);
}

static int show(struct watch *watch, struct nx_bytes bytes, struct nx_error *err) {
  _cleanup_(nx_arena_destroyp) struct nx_arena *arena = NULL;
  struct nx_admin_event event;
  int r = nx_arena_create(NX_ADMIN_ARENA, &arena, err);
  if (r < 0 || (r = nx_admin_event_decode(bytes, arena, &event, err)) < 0)
    return r;
  if (event.has_sealed)
    print_sealed(watch, &event);
  if (!event.has_status || (event.has_sealed && event.status.ended))
    return 0; /* history of a run that is over: its end follows */
  print_note(watch, &event.status);
  if (event.status.run_state && event.status.ended)
    print_end(watch, &event.status);
  else
    draw(watch, &event.status);
  fflush(stdout);
  return 0;
}

/* --- following ----------------------------------------------------------------------------- */

static int open_stream(struct watch *watch, struct nx_rpc_call **call_out, struct nx_error *err) {
  static const struct nx_rpc_handlers handlers = {.on_message = on_message, .on_closed = on_closed};
  _cleanup_(nx_buffer_finish) struct nx_buffer request = {0};
  struct nx_admin_request nothing = {0};
  int r = nx_admin_request_encode(&nothing, &request, err);
  if (r < 0 || (r = nx_rpc_client_open(watch->operator_.client, NX_METHOD_ADMIN_WATCH, &handlers,
                                       watch, NX_NEVER, call_out, err)) < 0)
    return r;
  if ((r = nx_rpc_call_send(*call_out, &request, err)) < 0)
    return r;
  nx_rpc_call_finish(*call_out, NX_RPC_OK, NULL);
  nx_rpc_call_receive(*call_out);
  return 0;
}

/* One stream to its end. 0 when the run is over, 1 when something was heard before the
 * coordinator went away. */
static int follow_once(struct watch *watch, struct nx_error *err) {
  _cleanup_(nx_rpc_call_unrefp) struct nx_rpc_call *call = NULL;
  bool heard = false;
  int r = open_stream(watch, &call, err);
  while (r == 0 && !watch->over) {
    struct arrival *arrival = nx_mailbox_wait(watch->box, NX_NEVER);
    if (!arrival)
      break;
    if (arrival->code < 0) {
      r = nx_fail(err, arrival->code, "%s", arrival->text);
    } else {
      heard = true;
      r = show(watch, nx_buffer_view(&arrival->bytes), err);
    }
    free_arrival(arrival);
  }
  if (watch->over)
    nx_rpc_call_cancel(call);
  return r == NX_E_PEER && heard ? 1 : r;
}

/* A coordinator that is started again goes on, and so do we. */
static int follow(struct watch *watch, struct nx_error *err) {
  struct nx_rng rng;
  int64_t give_up = nx_clock_monotonic();
  nx_rng_init(&rng, (uint64_t)nx_clock_unix(), (uint64_t)getpid());
  for (unsigned attempt = 0;; attempt++) {
    int r = follow_once(watch, err);
    if (r == 1) {
      clear_line(watch);
      printf("the coordinator went away: trying again\n");
      fflush(stdout);
      give_up = nx_clock_monotonic() + PATIENCE;
      attempt = 0;
    } else if (r != NX_E_PEER || nx_clock_monotonic() >= give_up) {
      return r < 0 ? nx_operator_explain(&watch->operator_, r, err) : r;
    }
    nx_clock_sleep(nx_rpc_backoff(attempt, NX_SECOND / 2, 5 * NX_SECOND, &rng));
  }
}

static int run_watch(int argc, char *const *argv, struct nx_error *err) {
  const char *given = NX_COORDINATOR_HOME, *words;
  const struct nx_option options[] = {{.name = "home", .value = &given}};
  struct watch watch = {.terminal = isatty(STDOUT_FILENO)};
  char home[NX_PATH_SIZE];
  size_t n_words;
  if (nx_options_parse(argc, argv, options, 1, &words, 0, &n_words, err) < 0 ||
      nx_verb_home(given, home, err) < 0)
    return NX_VERB_USAGE;
  int r = nx_mailbox_create(1024, free_arrival, &watch.box, err);
  if (r == 0)
    r = nx_operator_open(home, &watch.operator_, err);
  if (r == 0)
    r = follow(&watch, err);
  nx_operator_close(&watch.operator_);
  nx_mailbox_destroy(watch.box);
  if (r < 0)
    return nx_error_prefix(err, r, "watch");
  return watch.good ? 0 : nx_fail(err, NX_E_STATE, "the run did not finish: %s", watch.last_note);
}

const struct nx_coordinator_verb nx_coordinator_watch = {
    .name = "watch",
    .summary = "follow the run until it ends",
    .help =
        "usage: neurox-coordinator watch\n\n"
        "One line for every sealed round: members in the sum, mean losses, AUROC (from summed\n"
        "histograms), bytes uploaded, seconds; and on a terminal a live line with the phase and\n"
        "the time left. Survives a restart of the coordinator. Ends with the run: exit code 0\n"
        "when it finished, 1 when it was stopped or failed. Without a run it waits for "
        "one.\n\n" NX_HELP_COORDINATOR_HOME,
    .run = run_watch,
};
