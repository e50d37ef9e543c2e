/* neurox-live-fuzz: a stateful fuzzer that stands outside. It drives a running coordinator over
 * mutual TLS with conversations that a real node once said (recorded.h), mutated from a seed:
 * messages are lost, doubled, swapped, taken from another conversation, sent to another method,
 * cut, and have bytes changed, before they are signed (with the site's own key) or after. In
 * between an honest Hello must be answered by a Welcome.
 *
 *     neurox-live-fuzz --site HOME --hub HOME --recording FILE [--enrol HOST:PORT]
 *                      [--seconds 10] [--seed 1]
 *
 * --site    a member's home: its keys are the liar's
 * --hub     the coordinator's: a third of the calls are an operator's or an auditor's questions
 * --enrol   the enrolment port, where no certificate is needed
 * The seed decides what is said; what comes of it also hangs on the coordinator. Prints what
 * was done and how it was answered; then has far too many calls at once, of which some must be told
 * to try again later. Ends with 1 when the coordinator does not answer as it should. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/clock.h"
#include "common/options.h"
#include "common/rng.h"
#include "common/size.h"
#include "coordinator/verbs/operator_client.h"
#include "node/node_config.h"
#include "node/node_home.h"
#include "proto/codec/codec_round.h"
#include "proto/codec/codec_session.h"
#include "proto/codec/methods.h"
#include "tests/support/recorded.h"

#define MESSAGES_MOST 64
#define MESSAGE_MOST ((size_t)1 << 20) /* one that grew further is cut */
#define ANSWER_MS 40                   /* how long an answer is waited for */
#define PROBE_EVERY (1 * NX_SECOND)
#define PROBE_PATIENCE (30 * NX_SECOND)
#define STATUSES 17

struct liar {
  struct nx_rng rng;
  struct recording recording;
  struct nx_identity *identity;
  struct nx_rpc_client *site, *nobody; /* nobody NULL: the enrolment port is let be */
  struct nx_operator hub;
  char address[300]; /* of the coordinator */
  uint32_t member;
  uint64_t executions, messages, signed_anew, answers, ends[STATUSES], silences, probes;
};

static const char *const questions[] = {
    NX_METHOD_ADMIN_STATUS, NX_METHOD_ADMIN_MEMBERS, NX_METHOD_ADMIN_WATCH,  NX_METHOD_ADMIN_LOG,
    NX_METHOD_ADMIN_SUBMIT, NX_METHOD_BLOB_FETCH,    NX_METHOD_SESSION_OPEN, NX_METHOD_ROUND_UPLOAD,
};
static const char *const methods[] = {
    NX_METHOD_SESSION_OPEN, NX_METHOD_IDENTITY_RENEW,
    NX_METHOD_ROUND_UPLOAD, NX_METHOD_ROUND_FETCH_TILES,
    NX_METHOD_BLOB_FETCH,   NX_METHOD_ADMIN_STATUS,
    NX_METHOD_ENROL,        "/neurox.v1.Session/Nothing",
};

static void give_up(const char *what, const struct nx_error *err) {
  fprintf(stderr, "neurox-live-fuzz: %s: %s\n", what, err->text);
  exit(2);
}

static bool one_in(struct liar *liar, uint64_t n) {
  return nx_rng_below(&liar->rng, n) == 0;
}

/* --- one call ------------------------------------------------------------------------------- */

struct line {
  pthread_mutex_t lock;
  pthread_cond_t changed;
  uint64_t heard;
  bool closed, hinted; /* hinted: turned away for now, and told so */
  enum nx_rpc_status status;
};

static void on_message(void *context, struct nx_rpc_call *call, struct nx_bytes message) {
  struct line *line = context;
  (void)message;
  pthread_mutex_lock(&line->lock);
  line->heard++;
  pthread_cond_broadcast(&line->changed);
  pthread_mutex_unlock(&line->lock);
  nx_rpc_call_receive(call);
}

static void on_closed(void *context, struct nx_rpc_call *call, enum nx_rpc_status status,
                      const char *text) {
  struct line *line = context;
  (void)call;
  pthread_mutex_lock(&line->lock);
  line->closed = true;
  line->status = status;
  line->hinted = status == NX_RPC_RESOURCE_EXHAUSTED && text && strstr(text, NX_RPC_TRY_LATER);
  pthread_cond_broadcast(&line->changed);
  pthread_mutex_unlock(&line->lock);
}

static void line_init(struct line *line) {
  pthread_condattr_t attributes;
  *line = (struct line){0};
  pthread_mutex_init(&line->lock, NULL);
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_cond_init(&line->changed, &attributes);
  pthread_condattr_destroy(&attributes);
}

/* Until the call is over, or (for_a_word) something was heard, or the time has passed. */
static bool line_wait(struct line *line, bool for_a_word, int64_t patience) {
  int64_t at = nx_clock_monotonic() + patience;
  const struct timespec until = {at / NX_SECOND, at % NX_SECOND};
  int e = 0;
  pthread_mutex_lock(&line->lock);
  while (!e && !line->closed && !(for_a_word && line->heard))
    e = pthread_cond_timedwait(&line->changed, &line->lock, &until);
  bool came = for_a_word ? line->heard > 0 : line->closed;
  pthread_mutex_unlock(&line->lock);
  return came;
}

static void line_end(struct line *line, struct nx_rpc_call *call) {
  nx_rpc_call_cancel(call);
  pthread_mutex_lock(&line->lock);
  while (!line->closed)
    pthread_cond_wait(&line->changed, &line->lock);
  pthread_mutex_unlock(&line->lock);
  nx_rpc_call_unref(call);
  pthread_cond_destroy(&line->changed);
  pthread_mutex_destroy(&line->lock);
}

static const struct nx_rpc_handlers handlers = {.on_message = on_message, .on_closed = on_closed};

/* --- what is said ----------------------------------------------------------------------------- */

static struct nx_buffer copy_of(struct nx_bytes bytes) {
  struct nx_buffer copy = {0};
  if (nx_buffer_append(&copy, bytes.data, NX_MIN(bytes.size, MESSAGE_MOST), NULL) < 0)
    abort();
  return copy;
}

static const struct recorded *any_message(struct liar *liar) {
  return &liar->recording.messages[nx_rng_below(&liar->rng, liar->recording.n)];
}

static void splice(struct liar *liar, struct nx_buffer *bytes) {
  struct nx_bytes other = any_message(liar)->message;
  size_t from = other.size ? nx_rng_below(&liar->rng, other.size) : 0;
  size_t n = NX_MIN(other.size - from, (size_t)1 + nx_rng_below(&liar->rng, 256));
  if (bytes->size + n < MESSAGE_MOST && nx_buffer_append(bytes, other.data + from, n, NULL) < 0)
    abort();
}

static void bend(struct liar *liar, struct nx_buffer *bytes) {
  static const uint8_t odd[] = {0, 1, 0x7f, 0x80, 0xff};
  for (uint64_t n = 1 + nx_rng_below(&liar->rng, 4); n; n--) {
    size_t at = bytes->size ? nx_rng_below(&liar->rng, bytes->size) : 0;
    switch (bytes->size ? nx_rng_below(&liar->rng, 8) : 7) {
    case 0:
      bytes->size = at;
      break;
    case 1: /* a piece is gone */
      memmove(bytes->data + at, bytes->data + at + (bytes->size - at) / 2,
              bytes->size - at - (bytes->size - at) / 2);
      bytes->size -= (bytes->size - at) / 2;
      break;
    case 2:
      bytes->data[at] = odd[nx_rng_below(&liar->rng, sizeof odd)];
      break;
    case 3:
      bytes->data[at] = (uint8_t)nx_rng_u64(&liar->rng);
      break;
    case 7:
      splice(liar, bytes);
      break;
    default:
      bytes->data[at] ^= (uint8_t)(1u << nx_rng_below(&liar->rng, 8));
      break;
    }
  }
}

/* The body is changed, then signed: what only a member can say. */
static const uint8_t types[] = {100, 101, 102, 103, 104, 105, 106, 107, 108, 109,
                                110, 111, 120, 121, 122, 130, 131, 132, 133};

static bool sign_anew(struct liar *liar, struct nx_bytes encoded, struct nx_buffer *out) {
  _cleanup_(nx_arena_destroyp) struct nx_arena *arena = NULL;
  struct nx_signed_message said;
  if (nx_arena_create((size_t)16 << 20, &arena, NULL) < 0 ||
      nx_signed_message_decode(encoded, arena, &said, NULL) < 0)
    return false;
  struct nx_buffer body = copy_of(said.body);
  uint32_t type = one_in(liar, 8) ? types[nx_rng_below(&liar->rng, sizeof types)] : said.type;
  uint32_t signer = one_in(liar, 16) ? (uint32_t)nx_rng_below(&liar->rng, 6) : liar->member;
  if (!one_in(liar, 4))
    bend(liar, &body);
  bool made = nx_signed_message_make(liar->identity, signer, type, nx_buffer_view(&body),
                                     said.detached, out, NULL) == 0;
  nx_buffer_finish(&body);
  liar->signed_anew += made;
  return made;
}

static bool sign_session_anew(struct liar *liar, struct nx_buffer *message) {
  _cleanup_(nx_arena_destroyp) struct nx_arena *arena = NULL;
  _cleanup_(nx_buffer_finish) struct nx_buffer inner = {0};
  struct nx_session_message said;
  if (nx_arena_create((size_t)16 << 20, &arena, NULL) < 0 ||
      nx_session_up_decode(nx_buffer_view(message), arena, &said, NULL) < 0 ||
      said.kind != NX_SESSION_KIND_SIGNED || !sign_anew(liar, said.signed_message, &inner))
    return false;
  struct nx_buffer out = {0};
  said.signed_message = nx_buffer_view(&inner);
  bool made = nx_session_up_encode(&said, &out, NULL) == 0;
  if (made) {
    nx_buffer_finish(message);
    *message = out;
  } else {
    nx_buffer_finish(&out);
  }
  return made;
}

static bool sign_upload_anew(struct liar *liar, struct nx_buffer *message) {
  _cleanup_(nx_arena_destroyp) struct nx_arena *arena = NULL;
  _cleanup_(nx_buffer_finish) struct nx_buffer inner = {0};
  struct nx_upload_part part;
  if (nx_arena_create((size_t)16 << 20, &arena, NULL) < 0 ||
      nx_upload_part_decode(nx_buffer_view(message), arena, &part, NULL) < 0 || !part.is_header ||
      !sign_anew(liar, part.header, &inner))
    return false;
  struct nx_buffer out = {0};
  part.header = nx_buffer_view(&inner);
  bool made = nx_upload_part_encode(&part, &out, NULL) == 0;
  if (made) {
    nx_buffer_finish(message);
    *message = out;
  } else {
    nx_buffer_finish(&out);
  }
  return made;
}

static struct nx_buffer say(struct liar *liar, struct nx_bytes original) {
  struct nx_buffer message = copy_of(original);
  switch (nx_rng_below(&liar->rng, 4)) {
  case 0:
    break;
  case 1:
    if (sign_session_anew(liar, &message) || sign_upload_anew(liar, &message))
      break;
    bend(liar, &message);
    break;
  default:
    bend(liar, &message);
    break;
  }
  return message;
}

/* --- a conversation --------------------------------------------------------------------------- */

/* The messages of one recorded stream, some lost, doubled, moved or replaced. */
static size_t choose(struct liar *liar, const struct recorded *out[MESSAGES_MOST]) {
  uint32_t stream = any_message(liar)->stream;
  size_t n = 0;
  for (size_t i = 0; i < liar->recording.n && n < MESSAGES_MOST; i++) {
    const struct recorded *message = &liar->recording.messages[i];
    if (message->stream != stream || (n && one_in(liar, 8)))
      continue;
    out[n++] = one_in(liar, 8) ? any_message(liar) : message;
    if (n < MESSAGES_MOST && one_in(liar, 8)) {
      out[n] = out[n - 1];
      n++;
    }
  }
  if (n > 2 && one_in(liar, 2)) {
    size_t a = nx_rng_below(&liar->rng, n), b = nx_rng_below(&liar->rng, n);
    const struct recorded *moved = out[a];
    out[a] = out[b];
    out[b] = moved;
  }
  return n > 1 && one_in(liar, 3) ? 1 + nx_rng_below(&liar->rng, n) : n;
}

static void converse(struct liar *liar, struct nx_rpc_client *client, const char *path,
                     const struct recorded **script, size_t n) {
  struct nx_rpc_call *call;
  struct nx_error err = {0};
  struct line line;
  line_init(&line);
  if (nx_rpc_client_open(client, path, &handlers, &line, NX_NEVER, &call, &err) < 0)
    give_up(path, &err);
  nx_rpc_call_receive(call);
  bool plain_first = one_in(liar, 2); /* a Hello as it should be, so that the rest is heard */
  for (size_t i = 0; i < n; i++) {
    struct nx_buffer message =
        i == 0 && plain_first ? copy_of(script[0]->message) : say(liar, script[i]->message);
    liar->messages++;
    if (nx_rpc_call_send(call, &message, NULL) < 0)
      break;
  }
  if (!one_in(liar, 8)) {
    nx_rpc_call_finish(call, NX_RPC_OK, NULL);
    line_wait(&line, false, ANSWER_MS * NX_MILLISECOND);
  }
  pthread_mutex_lock(&line.lock);
  liar->answers += line.heard;
  if (line.closed)
    liar->ends[(size_t)line.status % STATUSES]++;
  else
    liar->silences++;
  pthread_mutex_unlock(&line.lock);
  line_end(&line, call);
  liar->executions++;
}

static const char *path_of(const struct recorded *message, char out[64]) {
  size_t n = NX_MIN(message->path.size, (size_t)63);
  memcpy(out, message->path.data, n);
  out[n] = 0;
  return out;
}

static void lie_once(struct liar *liar, char path[64]) {
  const struct recorded *script[MESSAGES_MOST];
  size_t n = choose(liar, script);
  struct nx_rpc_client *client = liar->site;
  const char *method = path_of(script[0], path);
  uint64_t who = nx_rng_below(&liar->rng, 9);
  if (who < 2) {
    client = liar->hub.client;
    method = questions[nx_rng_below(&liar->rng, NX_ARRAY_LENGTH(questions))];
    n = NX_MIN(n, (size_t)2);
  } else if (who == 2 && liar->nobody) {
    client = liar->nobody;
    method = NX_METHOD_ENROL;
    n = 1;
  } else if (one_in(liar, 8)) {
    method = methods[nx_rng_below(&liar->rng, NX_ARRAY_LENGTH(methods))];
  }
  converse(liar, client, method, script, n);
}

/* The recorded Hello, as it was: whoever can answer nothing else answers that. */
static bool is_answered(struct liar *liar) {
  struct nx_rpc_call *call;
  struct nx_error err = {0};
  struct line line;
  line_init(&line);
  if (nx_rpc_client_open(liar->site, NX_METHOD_SESSION_OPEN, &handlers, &line, NX_NEVER, &call,
                         &err) < 0)
    give_up("the probe", &err);
  nx_rpc_call_receive(call);
  for (size_t i = 0; i < liar->recording.n; i++)
    if (liar->recording.messages[i].path.size == strlen(NX_METHOD_SESSION_OPEN) &&
        !memcmp(liar->recording.messages[i].path.data, NX_METHOD_SESSION_OPEN,
                strlen(NX_METHOD_SESSION_OPEN))) {
      struct nx_buffer hello = copy_of(liar->recording.messages[i].message);
      nx_rpc_call_send(call, &hello, NULL);
      break;
    }
  bool answered = line_wait(&line, true, PROBE_PATIENCE);
  line_end(&line, call);
  liar->probes++;
  return answered;
}

static bool lie_for(struct liar *liar, int64_t seconds) {
  int64_t end = nx_clock_monotonic() + seconds * NX_SECOND, probe = 0;
  char path[64];
  while (nx_clock_monotonic() < end) {
    lie_once(liar, path);
    if (nx_clock_monotonic() < probe)
      continue;
    if (!is_answered(liar))
      return false;
    probe = nx_clock_monotonic() + PROBE_EVERY;
  }
  return is_answered(liar);
}

/* --- too much at once ---------------------------------------------------------------------------
 */

static struct nx_rpc_client *dial(const char *home, const char *address, bool with_certificate);

/* More calls than one member may have, over connections enough to carry them. Those that are too
 * many are told to come again; the others are let be. Returns how many were told. */
static unsigned overload(const char *home, const char *address) {
  enum { CLIENTS = 4, EACH = 30 };
  static struct line lines[CLIENTS * EACH];
  struct nx_rpc_call *calls[CLIENTS * EACH];
  struct nx_rpc_client *clients[CLIENTS];
  struct nx_error err = {0};
  unsigned told = 0;
  for (int i = 0; i < CLIENTS * EACH; i++) {
    if (i % EACH == 0)
      clients[i / EACH] = dial(home, address, true);
    line_init(&lines[i]);
    if (nx_rpc_client_open(clients[i / EACH], NX_METHOD_ROUND_UPLOAD, &handlers, &lines[i],
                           NX_NEVER, &calls[i], &err) < 0)
      give_up("overload", &err);
  }
  int64_t end = nx_clock_monotonic() + PROBE_PATIENCE;
  while (!told && nx_clock_monotonic() < end)
    for (int i = 0; i < CLIENTS * EACH; i++) {
      line_wait(&lines[i], false, NX_MILLISECOND);
      pthread_mutex_lock(&lines[i].lock);
      told += lines[i].hinted;
      pthread_mutex_unlock(&lines[i].lock);
    }
  for (int i = 0; i < CLIENTS * EACH; i++)
    line_end(&lines[i], calls[i]);
  for (int i = 0; i < CLIENTS; i++)
    nx_rpc_client_destroy(clients[i]);
  return told;
}

/* --- beginning and end --------------------------------------------------------------------------
 */

static struct nx_rpc_client *dial(const char *home, const char *address, bool with_certificate) {
  _cleanup_(nx_buffer_finish) struct nx_buffer ca = {0}, certificate = {0};
  _cleanup_(nx_buffer_wipe) struct nx_buffer key = {0};
  struct nx_rpc_client *client = NULL;
  struct nx_error err = {0};
  int r = nx_home_read(home, NX_HOME_CA, 1 << 16, &ca, &err);
  if (r == 0)
    r = nx_home_read(home, NX_HOME_TLS_CERTIFICATE, 1 << 16, &certificate, &err);
  if (r == 0)
    r = nx_home_read(home, NX_HOME_TLS_KEY, 1 << 16, &key, &err);
  const struct nx_rpc_client_config config = {
      .target = address,
      .ca = nx_buffer_view(&ca),
      .certificate = with_certificate ? nx_buffer_view(&certificate) : nx_bytes(NULL, 0),
      .key = with_certificate ? nx_buffer_view(&key) : nx_bytes(NULL, 0),
      .message_cap = NX_MESSAGE_CAP_MAIN};
  if (r == 0)
    r = nx_rpc_client_create(&config, &client, &err);
  if (r < 0)
    give_up(address, &err);
  return client;
}

static void arm(struct liar *liar, const char *site, const char *hub, const char *recording,
                const char *enrol) {
  _cleanup_(nx_node_config_destroyp) struct nx_node_config *config = NULL;
  _cleanup_(nx_home_federation_destroyp) struct nx_home_federation *federation = NULL;
  struct nx_error err = {0};
  char path[NX_PATH_SIZE];
  if (nx_path_join(path, site, NX_HOME_CONFIG, &err) < 0 ||
      nx_node_config_load(path, &config, &err) < 0 ||
      nx_home_read_federation(site, &federation, &err) < 0 ||
      nx_path_join(path, site, NX_HOME_IDENTITY, &err) < 0 ||
      nx_identity_load(path, NULL, &liar->identity, &err) < 0)
    give_up(site, &err);
  liar->member = federation->member;
  if (!recording_read(recording, &liar->recording, &err) || !liar->recording.n)
    give_up(recording, &err);
  if (nx_operator_open(hub, &liar->hub, &err) < 0)
    give_up(hub, &err);
  snprintf(liar->address, sizeof liar->address, "%s", config->coordinator);
  liar->site = dial(site, config->coordinator, true);
  liar->nobody = enrol ? dial(site, enrol, false) : NULL;
}

static void disarm(struct liar *liar) {
  nx_rpc_client_destroy(liar->site);
  nx_rpc_client_destroy(liar->nobody);
  nx_operator_close(&liar->hub);
  nx_identity_destroy(liar->identity);
  recording_finish(&liar->recording);
}

static void report(const struct liar *liar, uint64_t seed, uint64_t seconds) {
  printf("live fuzz: seed %llu, %llu s, %llu executions of %llu messages (%llu signed anew), "
         "%llu answers, %llu probes answered\nended:",
         (unsigned long long)seed, (unsigned long long)seconds,
         (unsigned long long)liar->executions, (unsigned long long)liar->messages,
         (unsigned long long)liar->signed_anew, (unsigned long long)liar->answers,
         (unsigned long long)liar->probes);
  for (size_t i = 0; i < STATUSES; i++)
    if (liar->ends[i])
      printf(" status %zu: %llu,", i, (unsigned long long)liar->ends[i]);
  printf(" hung up on: %llu\n", (unsigned long long)liar->silences);
}

int main(int argc, char **argv) {
  const char *site = NULL, *hub = NULL, *recording = NULL, *enrol = NULL, *seconds = "10",
             *seed = "1", *words[1];
  const struct nx_option options[] = {{"site", &site, NULL},           {"hub", &hub, NULL},
                                      {"recording", &recording, NULL}, {"enrol", &enrol, NULL},
                                      {"seconds", &seconds, NULL},     {"seed", &seed, NULL}};
  struct liar liar = {0};
  struct nx_error err = {0};
  uint64_t n_seconds = 0, n_seed = 0;
  size_t n = 0;
  if (nx_options_parse(argc - 1, argv + 1, options, NX_ARRAY_LENGTH(options), words, 0, &n, &err) <
          0 ||
      nx_option_number("seconds", seconds, 1, 86400, &n_seconds, &err) < 0 ||
      nx_option_number("seed", seed, 0, UINT64_MAX, &n_seed, &err) < 0)
    give_up("options", &err);
  if (!site || !hub || !recording)
    give_up("options", &(struct nx_error){.text = "--site, --hub and --recording are needed"});
  nx_rng_init(&liar.rng, n_seed, 0);
  arm(&liar, site, hub, recording, enrol);
  bool well = lie_for(&liar, (int64_t)n_seconds);
  report(&liar, n_seed, n_seconds);
  unsigned told = well ? overload(site, liar.address) : 0;
  bool still = told && is_answered(&liar);
  printf("overload: %u of 120 calls at once were told to come again\n", told);
  if (well && !still)
    fprintf(stderr, "neurox-live-fuzz: nobody was turned away with a hint, or nothing is answered "
                    "afterwards\n");
  if (!well)
    fprintf(stderr, "neurox-live-fuzz: an honest Hello was not answered within %d s\n",
            (int)(PROBE_PATIENCE / NX_SECOND));
  disarm(&liar);
  return well && still ? 0 : 1;
}
