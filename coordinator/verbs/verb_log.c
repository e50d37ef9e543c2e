/* Verb log: the coordinator's audit log, fetched by whoever may audit. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/mailbox.h"
#include "coordinator/verbs/coordinator_verb.h"
#include "coordinator/verbs/operator_client.h"
#include "proto/codec/codec_model.h"

/* What came: a chunk's bytes, or the end of the stream. */
struct arrival {
  struct nx_buffer bytes;
  bool over;
  int code;
  char text[256];
};

static void free_arrival(void *memory) {
  struct arrival *arrival = memory;
  nx_buffer_finish(&arrival->bytes);
  free(arrival);
}

static void post(struct nx_mailbox *box, const struct arrival *what, struct nx_bytes bytes) {
  struct arrival *arrival = malloc(sizeof *arrival);
  if (!arrival)
    return;
  *arrival = *what;
  if (nx_buffer_append(&arrival->bytes, bytes.data, bytes.size, NULL) < 0 ||
      nx_mailbox_post(box, arrival) < 0)
    free_arrival(arrival);
}

static void on_message(void *context, struct nx_rpc_call *call, struct nx_bytes message) {
  post(context, &(struct arrival){0}, message);
  nx_rpc_call_receive(call);
}

static void on_closed(void *context, struct nx_rpc_call *call, enum nx_rpc_status status,
                      const char *text) {
  struct arrival end = {.over = true, .code = nx_rpc_status_code(status)};
  (void)call;
  snprintf(end.text, sizeof end.text, "%s", text ? text : "");
  post(context, &end, nx_bytes(NULL, 0));
}

static int take_chunk(FILE *out, struct nx_bytes bytes, struct nx_error *err) {
  struct nx_blob_chunk chunk;
  int r = nx_blob_chunk_decode(bytes, &chunk, err);
  if (r < 0)
    return r;
  if ((uint64_t)ftell(out) != chunk.offset)
    return nx_fail(err, NX_E_PROTOCOL, "a chunk is out of order");
  return fwrite(chunk.data.data, 1, chunk.data.size, out) == chunk.data.size
             ? 0
             : nx_fail(err, NX_E_IO, "the disk does not take it");
}

static int receive(struct nx_mailbox *box, FILE *out, struct nx_error *err) {
  for (int r = 0;;) {
    struct arrival *arrival = nx_mailbox_wait(box, NX_NEVER);
    bool over = arrival->over;
    if (over && r == 0 && arrival->code < 0)
      r = nx_fail(err, arrival->code, "%s", arrival->text);
    else if (!over && r == 0)
      r = take_chunk(out, nx_buffer_view(&arrival->bytes), err);
    free_arrival(arrival);
    if (over)
      return r;
  }
}

static int fetch(struct nx_operator *operator_, const char *name, FILE *out, struct nx_error *err) {
  static const struct nx_rpc_handlers handlers = {.on_message = on_message, .on_closed = on_closed};
  _cleanup_(nx_rpc_call_unrefp) struct nx_rpc_call *call = NULL;
  _cleanup_(nx_buffer_finish) struct nx_buffer bytes = {0};
  struct nx_admin_request request = {0};
  struct nx_mailbox *box = NULL;
  snprintf(request.reason, sizeof request.reason, "%s", name);
  int r = nx_admin_request_encode(&request, &bytes, err);
  if (r < 0 || (r = nx_mailbox_create(1 << 20, free_arrival, &box, err)) < 0)
    return r;
  r = nx_rpc_client_open(operator_->client, NX_METHOD_ADMIN_LOG, &handlers, box, NX_NEVER, &call,
                         err);
  if (r == 0) {
    nx_rpc_call_receive(call);
    if (nx_rpc_call_send(call, &bytes, NULL) < 0)
      nx_rpc_call_cancel(call);
    nx_rpc_call_finish(call, NX_RPC_OK, NULL);
    r = receive(box, out, err);
  }
  nx_mailbox_destroy(box);
  return r < 0 ? nx_operator_explain(operator_, r, err) : 0;
}

/* Checkpoints before entries: every entry that one covers is there then. */
static int fetch_all(struct nx_operator *operator_, const char *folder, struct nx_error *err) {
  static const char *const names[] = {"public.key", "checkpoints.log", "entries.log"};
  int r = nx_folder_create(folder, 0700, err);
  for (size_t i = 0; i < NX_ARRAY_LENGTH(names) && r == 0; i++) {
    char path[NX_PATH_SIZE];
    if ((r = nx_path_join(path, folder, names[i], err)) < 0)
      return r;
    FILE *out = fopen(path, "w");
    if (!out)
      return nx_fail(err, NX_E_IO, "cannot write %s", path);
    r = fetch(operator_, names[i], out, err);
    if (fclose(out) && r == 0)
      r = nx_fail(err, NX_E_IO, "cannot write %s", path);
  }
  return r;
}

static int run_log(int argc, char *const *argv, struct nx_error *err) {
  const char *given = NX_COORDINATOR_HOME, *out = "coordinator-log", *words;
  const struct nx_option options[] = {{.name = "home", .value = &given},
                                      {.name = "out", .value = &out}};
  struct nx_operator operator_ = {0};
  char home[NX_PATH_SIZE];
  size_t n_words;
  if (nx_options_parse(argc, argv, options, 2, &words, 0, &n_words, err) < 0 ||
      nx_verb_home(given, home, err) < 0)
    return NX_VERB_USAGE;
  int r = nx_operator_open(home, &operator_, err);
  if (r == 0)
    r = fetch_all(&operator_, out, err);
  nx_operator_close(&operator_);
  if (r < 0)
    return nx_error_prefix(err, r, "log");
  printf("log: %s\nNext: neurox-audit verify %s\n", out, out);
  return 0;
}

const struct nx_coordinator_verb nx_coordinator_log = {
    .name = "log",
    .summary = "fetch the coordinator's audit log, as an auditor may",
    .help = "usage: neurox-coordinator log [--out DIR]\n\n"
            "Copies the running coordinator's audit log into a folder, for neurox-audit. An\n"
            "auditor gives the folder that grant made as --home.\n\n" NX_HELP_COORDINATOR_HOME
            "  --out DIR       where to (default ./coordinator-log)\n",
    .run = run_log,
};
