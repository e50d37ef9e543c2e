/* Transport: one update uploaded over loopback under mutual TLS 1.3, sender and receiver as
 * processes of their own.
 *
 *   bytes   the stream alone                     limit: TLS 1.3 by OpenSSL over one socket
 *   whole   decoded, hashed into its Merkle tree, spooled to disk, added to the ring sum; `files`
 *           says whether into fresh files, as in a first round, or over those of an attempt
 *           before, as in all later ones under keep_uploads: round
 *
 *     bench-transport [--json FILE] [--quick] [--mib N] [--runs N] [--stage bytes|whole]
 *
 * The spool lies in TMPDIR: a disk slower than the rest is seen by a second run in memory
 * (/dev/shm). A stream's SHA-256 is compared at both ends first; in `whole` the spool checks every
 * upload against the root that the sender computed, and the sum is compared lane by lane. */
#include <arpa/inet.h>
#include <errno.h>
#include <malloc.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/mailbox.h"
#include "common/pool.h"
#include "common/size.h"
#include "coordinator/aggregate/ring_sum.h"
#include "proto/codec/codec_round.h"
#include "proto/codec/methods.h"
#include "tests/bench/bench.h"
#include "tests/support/tls_fixture.h"

#define RUNS_MAX 16
#define CHUNKS_AHEAD 4 /* as in coordinator/upload_service.c */

static struct tls_fixture tls;
static size_t upload_bytes;
static char folder[NX_PATH_SIZE]; /* of the spool: in TMPDIR, or /tmp */

static void die(const char *what) {
  bench_fail("%s: %s", what, strerror(errno));
}

/* Peak resident set of this process, bytes. */
static uint64_t peak_rss(void) {
  char line[256];
  unsigned long kb = 0;
  FILE *file = fopen("/proc/self/status", "r");
  while (file && fgets(line, sizeof line, file))
    if (sscanf(line, "VmHWM: %lu", &kb) == 1)
      break;
  if (file)
    fclose(file);
  return (uint64_t)kb << 10;
}

/* --- receiver: a server process -------------------------------------------------------- */

struct answer { /* in the response, both ends being this program */
  uint64_t bytes, peak_rss;
  uint8_t hash[32]; /* of the bytes, or of the summed lanes */
};

struct intake {
  struct nx_sha256 sha;
  bool hashing;
  uint64_t bytes;
  struct nx_upload_writer *writer;
  struct nx_hash root;
  atomic_uint ahead; /* messages that wait for the thread that writes files */
};

struct receiver {
  struct nx_mailbox *files;
  pthread_t thread;
  struct nx_pool *pool;
  struct nx_upload_spares spares;
  struct nx_upload_spool spool;
  struct nx_ring_sum *sum;
  uint32_t attempt, next_member;
};

static void answer_with(struct nx_rpc_call *call, const struct answer *answer) {
  struct nx_buffer message = {0};
  struct nx_error err = {0};
  bench_must(nx_buffer_append(&message, answer, sizeof *answer, &err), &err);
  bench_must(nx_rpc_call_send(call, &message, &err), &err);
  nx_rpc_call_finish(call, NX_RPC_OK, NULL);
}

/* As in the coordinator the transport's thread puts nothing together. */
static void on_bytes(void *context, struct nx_rpc_call *call, struct nx_rpc_message *message) {
  struct intake *intake = context;
  intake->bytes += nx_rpc_message_size(message);
  nx_rpc_message_destroy(message);
  nx_rpc_call_receive(call);
}

static void on_hashed(void *context, struct nx_rpc_call *call, struct nx_rpc_message *message) {
  struct intake *intake = context;
  struct nx_buffer bytes = {0};
  struct nx_error err = {0};
  bench_must(nx_rpc_message_append(message, &bytes, &err), &err);
  nx_sha256_update(&intake->sha, bytes.data, bytes.size);
  nx_buffer_finish(&bytes);
  on_bytes(context, call, message);
}

static void on_bytes_end(void *context, struct nx_rpc_call *call) {
  struct intake *intake = context;
  struct answer answer = {.bytes = intake->bytes, .peak_rss = peak_rss()};
  if (intake->hashing) {
    struct nx_hash hash = nx_sha256_final(&intake->sha);
    memcpy(answer.hash, hash.bytes, sizeof answer.hash);
  }
  answer_with(call, &answer);
}

static struct receiver receiver;

/* A message on its way to the thread that writes files, as in the coordinator. */
struct task {
  struct intake *intake;
  struct nx_rpc_call *call;
  struct nx_rpc_message *message;
  void (*end)(struct intake *intake, struct nx_rpc_call *call); /* NULL: a part */
};

static void take_part(struct intake *intake, struct nx_rpc_call *call,
                      struct nx_rpc_message *message) {
  _cleanup_(nx_buffer_finish) struct nx_buffer bytes = {0};
  struct nx_upload_part part;
  struct nx_error err = {0};
  bench_must(nx_rpc_message_append(message, &bytes, &err), &err);
  bench_must(nx_upload_part_decode(nx_buffer_view(&bytes), NULL, &part, &err), &err);
  if (part.is_header)
    memcpy(intake->root.bytes, part.header.data, sizeof intake->root.bytes);
  else
    bench_must(nx_upload_writer_write(intake->writer, part.offset, part.data, &err), &err);
  atomic_fetch_sub(&intake->ahead, 1);
  nx_rpc_call_receive(call);
}

static void take_end(struct intake *intake, struct nx_rpc_call *call) {
  struct answer answer = {.bytes = nx_upload_writer_size(intake->writer)};
  struct nx_error err = {0};
  bench_must(nx_upload_writer_commit(intake->writer, &intake->root, &err), &err);
  bench_must(nx_ring_sum_add(receiver.sum, receiver.next_member, &err), &err);
  answer.peak_rss = peak_rss();
  answer_with(call, &answer);
}

/* What everybody sends, over and over: a chunk of bytes that differ. */
static uint8_t pattern_byte(size_t i) {
  return (uint8_t)(i % NX_CHUNK_SIZE * 2654435761u >> 24);
}

#define STRIDE ((size_t)1 << 18)

/* Every member uploaded the same lanes. */
static void verify_sum(void) {
  const uint32_t *lanes = nx_ring_sum_lanes(receiver.sum);
  for (size_t i = 0; i < upload_bytes / 4; i++) {
    uint32_t lane = 0;
    for (size_t b = 0; b < 4; b++)
      lane |= (uint32_t)pattern_byte(4 * i + b) << (8 * b);
    if (lanes[i] != lane * receiver.next_member)
      bench_fail("lane %zu of the sum is wrong", i);
    if (i % STRIDE == STRIDE - 1) /* looking at it must not count as the receiver's memory */
      madvise((void *)(uintptr_t)(lanes + i + 1 - STRIDE), STRIDE * sizeof *lanes, MADV_DONTNEED);
  }
}

static void begin_attempt(void) {
  const struct nx_upload_layout layout = {.n_lanes = upload_bytes / 4, .ring_bits = 32};
  struct nx_error err = {0};
  receiver.next_member = 0;
  bench_must(nx_upload_spool_init(&receiver.spool, folder, 1, ++receiver.attempt, &layout, &err),
             &err);
  receiver.spool.spares = &receiver.spares;
  bench_must(nx_ring_sum_create(&receiver.spool, receiver.pool, &receiver.sum, &err), &err);
}

static void end_attempt(void) {
  struct nx_error err = {0};
  verify_sum();
  nx_ring_sum_destroy(nx_steal(&receiver.sum));
  bench_must(nx_upload_spool_remove(folder, 1, receiver.attempt, &receiver.spares, &err), &err);
}

static void next_attempt(struct intake *intake, struct nx_rpc_call *call) {
  struct answer answer = {.bytes = intake->bytes};
  end_attempt();
  begin_attempt();
  answer_with(call, &answer);
}

static void *write_files(void *context) {
  struct task *task;
  (void)context;
  while ((task = nx_mailbox_wait(receiver.files, NX_NEVER))) {
    if (task->end)
      task->end(task->intake, task->call);
    else
      take_part(task->intake, task->call, task->message);
    nx_rpc_message_destroy(task->message);
    nx_rpc_call_unref(task->call);
    free(task);
  }
  return NULL;
}

static void post(struct intake *intake, struct nx_rpc_call *call, struct nx_rpc_message *message,
                 void (*end)(struct intake *intake, struct nx_rpc_call *call)) {
  struct task *task = calloc(1, sizeof *task);
  struct nx_error err = {0};
  if (!task)
    die("calloc");
  task->intake = intake;
  task->call = nx_rpc_call_ref(call);
  task->end = end;
  task->message = message;
  bench_must(nx_mailbox_post(receiver.files, task), &err);
}

static void on_part(void *context, struct nx_rpc_call *call, struct nx_rpc_message *message) {
  struct intake *intake = context;
  bool more = atomic_fetch_add(&intake->ahead, 1) + 1 < CHUNKS_AHEAD;
  post(intake, call, message, NULL);
  if (more)
    nx_rpc_call_receive(call);
}

static void on_parts_end(void *context, struct nx_rpc_call *call) {
  post(context, call, NULL, take_end);
}

static void on_next(void *context, struct nx_rpc_call *call) {
  post(context, call, NULL, next_attempt);
}

static void on_gone(void *context, struct nx_rpc_call *call, enum nx_rpc_status status,
                    const char *text) {
  struct intake *intake = context;
  (void)call, (void)status, (void)text;
  nx_upload_writer_destroy(intake->writer);
  free(intake);
}

static struct intake *new_intake(bool hashing) {
  struct intake *intake = calloc(1, sizeof *intake);
  if (!intake)
    die("calloc");
  nx_sha256_init(&intake->sha);
  intake->hashing = hashing;
  return intake;
}

static enum nx_rpc_status open_bytes(void *context, struct nx_rpc_call *call,
                                     struct nx_rpc_handlers *out, void **call_context,
                                     const char **text) {
  (void)context, (void)text;
  *out = (struct nx_rpc_handlers){
      .on_taken = on_bytes, .on_half_closed = on_bytes_end, .on_closed = on_gone};
  *call_context = new_intake(false);
  nx_rpc_call_receive(call);
  return NX_RPC_OK;
}

static enum nx_rpc_status open_hashed(void *context, struct nx_rpc_call *call,
                                      struct nx_rpc_handlers *out, void **call_context,
                                      const char **text) {
  enum nx_rpc_status status = open_bytes(context, call, out, call_context, text);
  ((struct intake *)*call_context)->hashing = true;
  out->on_taken = on_hashed;
  return status;
}

static enum nx_rpc_status open_whole(void *context, struct nx_rpc_call *call,
                                     struct nx_rpc_handlers *out, void **call_context,
                                     const char **text) {
  static const struct nx_rpc_handlers handlers = {
      .on_taken = on_part, .on_half_closed = on_parts_end, .on_closed = on_gone};
  struct intake *intake = new_intake(false);
  struct nx_error err = {0};
  (void)context, (void)text;
  bench_must(nx_upload_writer_create(&receiver.spool, ++receiver.next_member, receiver.sum,
                                     &intake->writer, &err),
             &err);
  *out = handlers;
  *call_context = intake;
  nx_rpc_call_receive(call);
  return NX_RPC_OK;
}

static enum nx_rpc_status open_next(void *context, struct nx_rpc_call *call,
                                    struct nx_rpc_handlers *out, void **call_context,
                                    const char **text) {
  enum nx_rpc_status status = open_bytes(context, call, out, call_context, text);
  out->on_half_closed = on_next;
  return status;
}

static void prepare_whole(void) {
  struct nx_error err = {0};
  bench_must(nx_pool_create(1, &receiver.pool, &err), &err);
  bench_must(nx_upload_spares_init(&receiver.spares, folder, &err), &err);
  begin_attempt();
  bench_must(nx_mailbox_create(64, NULL, &receiver.files, &err), &err);
  if (pthread_create(&receiver.thread, NULL, write_files, NULL))
    die("pthread_create");
}

/* Serves until the parent writes to the pipe `stop`, or is gone. */
static void receive(int stop, int port_out, bool whole) {
  static const struct nx_rpc_method methods[] = {{"/bench/Bytes", open_bytes},
                                                 {"/bench/Hashed", open_hashed},
                                                 {"/bench/Whole", open_whole},
                                                 {"/bench/Next", open_next}};
  char end;
  if (whole)
    prepare_whole();
  struct nx_rpc_server *server = tls_serve(&tls, "127.0.0.1:0", methods, 4, NULL);
  uint16_t port = nx_rpc_server_port(server);
  if (write(port_out, &port, sizeof port) != sizeof port)
    die("write");
  if (read(stop, &end, 1) < 0)
    die("read");
  nx_rpc_server_destroy(server);
  if (whole) {
    nx_mailbox_close(receiver.files);
    pthread_join(receiver.thread, NULL);
    nx_mailbox_destroy(receiver.files);
    end_attempt();
  }
  nx_pool_destroy(receiver.pool);
  exit(0);
}

struct process {
  pid_t id;
  int stop;
  uint16_t port;
};

/* In a process of its own, forked before this one starts any thread. */
static struct process start_process(void (*body)(int stop, int port_out, bool whole), bool whole) {
  int stop[2], port[2];
  struct process process;
  fflush(stdout);
  if (pipe(stop) || pipe(port) || (process.id = fork()) < 0)
    die("fork");
  if (!process.id) {
    close(stop[1]);
    close(port[0]);
    body(stop[0], port[1], whole);
  }
  close(stop[0]);
  close(port[1]);
  if (read(port[0], &process.port, sizeof process.port) != sizeof process.port)
    die("the receiver did not start");
  close(port[0]);
  process.stop = stop[1];
  return process;
}

static void stop_process(const struct process *process) {
  int status;
  if (write(process->stop, "", 1) != 1)
    die("write");
  close(process->stop);
  if (waitpid(process->id, &status, 0) < 0 || status)
    die("the receiver failed");
}

/* --- sender ---------------------------------------------------------------------------- */

struct sending {
  pthread_mutex_t lock;
  pthread_cond_t changed;
  bool writable, closed, answered;
  enum nx_rpc_status status;
  struct answer answer;
};

static void on_writable(void *context, struct nx_rpc_call *call) {
  struct sending *sending = context;
  (void)call;
  pthread_mutex_lock(&sending->lock);
  sending->writable = true;
  pthread_cond_signal(&sending->changed);
  pthread_mutex_unlock(&sending->lock);
}

static void on_answer(void *context, struct nx_rpc_call *call, struct nx_bytes message) {
  struct sending *sending = context;
  (void)call;
  if (message.size == sizeof sending->answer) {
    memcpy(&sending->answer, message.data, message.size);
    sending->answered = true;
  }
}

static void on_over(void *context, struct nx_rpc_call *call, enum nx_rpc_status status,
                    const char *text) {
  struct sending *sending = context;
  (void)call;
  if (status != NX_RPC_OK)
    fprintf(stderr, "bench-transport: the upload ended with %d: %s\n", (int)status, text);
  pthread_mutex_lock(&sending->lock);
  sending->closed = true;
  sending->status = status;
  pthread_cond_signal(&sending->changed);
  pthread_mutex_unlock(&sending->lock);
}

static void send_paced(struct sending *sending, struct nx_rpc_call *call,
                       struct nx_buffer *message) {
  struct nx_error err = {0};
  pthread_mutex_lock(&sending->lock);
  while (nx_rpc_call_queued(call) > ((size_t)1 << 20) && !sending->closed) {
    sending->writable = false;
    if (nx_rpc_call_queued(call) > ((size_t)1 << 20))
      while (!sending->writable && !sending->closed)
        pthread_cond_wait(&sending->changed, &sending->lock);
  }
  pthread_mutex_unlock(&sending->lock);
  bench_must(nx_rpc_call_send(call, message, &err), &err);
}

/* Sends `size` bytes that repeat `pattern` in chunks; gives the seconds it took. */
static double upload(struct nx_rpc_client *client, const char *path, const uint8_t *pattern,
                     size_t size, size_t chunk, const struct nx_hash *root,
                     struct answer *answer_out) {
  static const struct nx_rpc_handlers handlers = {
      .on_message = on_answer, .on_writable = on_writable, .on_closed = on_over};
  struct sending sending = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
  struct nx_rpc_call *call = NULL;
  struct nx_error err = {0};
  int64_t begin = nx_clock_monotonic();
  bench_must(nx_rpc_client_open(client, path, &handlers, &sending, NX_NEVER, &call, &err), &err);
  nx_rpc_call_receive(call);
  if (root) {
    struct nx_buffer message = {0};
    const struct nx_upload_part part = {.is_header = true,
                                        .header = nx_bytes(root->bytes, sizeof root->bytes)};
    bench_must(nx_upload_part_encode(&part, &message, &err), &err);
    send_paced(&sending, call, &message);
  }
  for (size_t offset = 0; offset < size; offset += chunk) {
    struct nx_bytes data = nx_bytes(pattern, NX_MIN(chunk, size - offset));
    const struct nx_upload_part part = {.offset = offset, .data = data};
    struct nx_buffer message = {0};
    bench_must(root ? nx_upload_part_encode(&part, &message, &err)
                    : nx_buffer_append(&message, data.data, data.size, &err),
               &err);
    send_paced(&sending, call, &message);
  }
  nx_rpc_call_finish(call, NX_RPC_OK, NULL);
  pthread_mutex_lock(&sending.lock);
  while (!sending.closed)
    pthread_cond_wait(&sending.changed, &sending.lock);
  pthread_mutex_unlock(&sending.lock);
  nx_rpc_call_unref(call);
  if (sending.status != NX_RPC_OK || !sending.answered || sending.answer.bytes != size)
    bench_fail("%s: %llu of %zu bytes arrived", path, (unsigned long long)sending.answer.bytes,
               size);
  *answer_out = sending.answer;
  return (double)(nx_clock_monotonic() - begin) * 1e-9;
}

/* --- the limit: OpenSSL over a socket ---------------------------------------------------- */

static SSL_CTX *raw_context(bool server) {
  SSL_CTX *context = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
  if (!context || !SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) ||
      !SSL_CTX_set_ciphersuites(context, "TLS_AES_128_GCM_SHA256"))
    die("SSL_CTX");
  if (server) {
    BIO *certificate =
            BIO_new_mem_buf(tls.server_certificate.data, (int)tls.server_certificate.size),
        *key = BIO_new_mem_buf(tls.server_key.data, (int)tls.server_key.size);
    X509 *x = PEM_read_bio_X509(certificate, NULL, NULL, NULL);
    EVP_PKEY *k = PEM_read_bio_PrivateKey(key, NULL, NULL, NULL);
    if (SSL_CTX_use_certificate(context, x) != 1 || SSL_CTX_use_PrivateKey(context, k) != 1)
      die("SSL_CTX_use");
    X509_free(x);
    EVP_PKEY_free(k);
    BIO_free(certificate);
    BIO_free(key);
  }
  return context;
}

static void raw_receive(int stop, int port_out, bool whole) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof address;
  static uint8_t room[1 << 20];
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  (void)stop, (void)whole;
  if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 8) ||
      getsockname(listener, (struct sockaddr *)&address, &size))
    die("listen");
  uint16_t port = ntohs(address.sin_port);
  if (write(port_out, &port, sizeof port) != sizeof port)
    die("write");
  SSL_CTX *context = raw_context(true);
  for (;;) {
    int fd = accept(listener, NULL, NULL);
    SSL *ssl = SSL_new(context);
    uint64_t bytes = 0, total = 0;
    int n;
    SSL_set_fd(ssl, fd);
    if (SSL_accept(ssl) != 1 || SSL_read(ssl, &total, sizeof total) != sizeof total)
      die("SSL_accept");
    if (!total)
      exit(0);
    while (bytes < total && (n = SSL_read(ssl, room, sizeof room)) > 0)
      bytes += (uint64_t)n;
    if (SSL_write(ssl, &bytes, sizeof bytes) != sizeof bytes)
      die("SSL_write");
    SSL_free(ssl);
    close(fd);
  }
}

/* size 0 tells the receiver to go. */
static double raw_upload(uint16_t port, const uint8_t *pattern, uint64_t size, size_t chunk) {
  struct sockaddr_in address = {
      .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  SSL_CTX *context = raw_context(false);
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  uint64_t bytes = 0;
  int64_t begin = nx_clock_monotonic();
  if (connect(fd, (struct sockaddr *)&address, sizeof address))
    die("connect");
  SSL *ssl = SSL_new(context);
  SSL_set_fd(ssl, fd);
  if (SSL_connect(ssl) != 1 || SSL_write(ssl, &size, sizeof size) != sizeof size)
    die("SSL_connect");
  for (uint64_t sent = 0; sent < size;) {
    int n = SSL_write(ssl, pattern, (int)NX_MIN((uint64_t)chunk, size - sent));
    if (n <= 0)
      die("SSL_write");
    sent += (uint64_t)n;
  }
  if (size && (SSL_read(ssl, &bytes, sizeof bytes) != sizeof bytes || bytes != size))
    die("SSL_read");
  SSL_free(ssl);
  SSL_CTX_free(context);
  close(fd);
  return (double)(nx_clock_monotonic() - begin) * 1e-9;
}

/* --- the bench --------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double median(double *values, int n) {
  qsort(values, (size_t)n, sizeof *values, by_value);
  return values[n / 2];
}

/* What one upload took: of the clock, and of the processors at either end. */
struct timing {
  double seconds, sender, receiver;
};

static double processor_seconds(pid_t process) {
  clockid_t clock = CLOCK_PROCESS_CPUTIME_ID;
  struct timespec t;
  if ((process && clock_getcpuclockid(process, &clock)) || clock_gettime(clock, &t))
    die("clock_getcpuclockid");
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static struct timing begin_timing(pid_t receiver_id) {
  return (struct timing){.sender = processor_seconds(0),
                         .receiver = processor_seconds(receiver_id)};
}

static void end_timing(struct timing *timing, pid_t receiver_id, double seconds) {
  timing->seconds = seconds;
  timing->sender = processor_seconds(0) - timing->sender;
  timing->receiver = processor_seconds(receiver_id) - timing->receiver;
}

/* Medians, each by itself. */
static struct timing median_timing(const struct timing *timings, int n) {
  double seconds[RUNS_MAX], sender[RUNS_MAX], receiving[RUNS_MAX];
  for (int i = 0; i < n; i++)
    seconds[i] = timings[i].seconds, sender[i] = timings[i].sender,
    receiving[i] = timings[i].receiver;
  return (struct timing){median(seconds, n), median(sender, n), median(receiving, n)};
}

static void report(struct bench *bench, const char *stage, size_t chunk, const char *files,
                   struct timing took, struct timing limit, uint64_t rss) {
  double gb = (double)upload_bytes * 1e-9;
  struct bench_row row = {.keys = {{.name = "stage", .text = stage},
                                   {.name = "chunk_kib", .number = (double)(chunk >> 10)},
                                   {.name = "mib", .number = (double)(upload_bytes >> 20)},
                                   {.name = files ? "files" : NULL, .text = files}},
                          .metric = "upload_gb_per_s",
                          .value = gb / took.seconds,
                          .unit = "GB/s",
                          .limit = "TLS 1.3 loopback, OpenSSL",
                          .limit_value = gb / limit.seconds};
  bench_add(bench, &row);
  row.metric = "sender_cpu_s_per_gb", row.unit = "s/GB";
  row.value = took.sender / gb, row.limit_value = limit.sender / gb;
  bench_add(bench, &row);
  row.metric = "receiver_cpu_s_per_gb";
  row.value = took.receiver / gb, row.limit_value = limit.receiver / gb;
  bench_add(bench, &row);
  row.metric = "receiver_rss_mb", row.unit = "MB";
  row.value = (double)rss / 1e6;
  row.limit = NULL;
  bench_add(bench, &row);
}

static void verify_stream(struct nx_rpc_client *client, const uint8_t *pattern) {
  struct nx_sha256 sha;
  struct answer answer;
  size_t size = (size_t)20 << 20, chunk = NX_CHUNK_SIZE;
  nx_sha256_init(&sha);
  for (size_t i = 0; i < size; i += chunk)
    nx_sha256_update(&sha, pattern, chunk);
  struct nx_hash expected = nx_sha256_final(&sha);
  upload(client, "/bench/Hashed", pattern, size, chunk, NULL, &answer);
  if (memcmp(answer.hash, expected.bytes, sizeof answer.hash))
    bench_fail("other bytes arrived than were sent");
}

/* The root of an upload that repeats the pattern: what whole-stage headers announce. */
static struct nx_hash repeated_root(const uint8_t *pattern) {
  const struct nx_upload_layout layout = {.n_lanes = upload_bytes / 4, .ring_bits = 32};
  size_t n = nx_upload_tiles(&layout), tile = nx_upload_tile_size(32);
  struct nx_hash *leaves = malloc(n * sizeof *leaves), root;
  for (size_t i = 0; i < n; i++)
    leaves[i] = nx_merkle_leaf(nx_bytes(pattern + i * tile % NX_CHUNK_SIZE, tile));
  root = nx_merkle_root(leaves, n);
  free(leaves);
  return root;
}

struct settings {
  size_t mib;
  int runs;
  const char *stage; /* NULL: all */
};

static struct settings settings_of(int argc, char **argv, bool quick) {
  struct settings settings = {.mib = quick ? 64 : 1024, .runs = quick ? 1 : 3};
  for (int i = 1; i + 1 < argc; i += 2) {
    if (!strcmp(argv[i], "--mib"))
      settings.mib = strtoul(argv[i + 1], NULL, 10);
    else if (!strcmp(argv[i], "--runs"))
      settings.runs = atoi(argv[i + 1]);
    else if (!strcmp(argv[i], "--stage"))
      settings.stage = argv[i + 1];
    else
      argc = 0;
  }
  if (settings.stage && strcmp(settings.stage, "bytes") && strcmp(settings.stage, "whole"))
    argc = 0;
  if (argc % 2 == 0 || settings.mib < 1 || settings.mib > 4096 || settings.runs < 1 ||
      settings.runs > RUNS_MAX) {
    fprintf(stderr,
            "bench-transport: --mib takes 1 to 4096, --runs 1 to %d, --stage bytes or whole\n",
            RUNS_MAX);
    exit(2);
  }
  return settings;
}

static const struct stage {
  const char *name, *path;
  size_t chunk;
  bool whole;
} stages[] = {{"bytes", "/bench/Bytes", (size_t)64 << 10, false},
              {"bytes", "/bench/Bytes", NX_CHUNK_SIZE, false},
              {"bytes", "/bench/Bytes", (size_t)1 << 20, false},
              {"whole", "/bench/Whole", NX_CHUNK_SIZE, true}};

#define STAGES (sizeof stages / sizeof *stages)

static bool is_wanted(const struct settings *settings, const struct stage *stage) {
  return !settings->stage || !strcmp(settings->stage, stage->name);
}

/* Each run has one of the limit right before it: a machine that is busy otherwise weighs on both.
 * The ratio is of the medians. */
static void time_uploads(struct bench *bench, const struct stage *stage, const char *files,
                         struct nx_rpc_client *client, const struct process *raw,
                         const struct process *process, const uint8_t *pattern, int runs) {
  struct nx_hash root = repeated_root(pattern);
  struct answer answer = {0};
  struct timing took[RUNS_MAX], limit[RUNS_MAX];
  for (int i = 0; i < runs; i++) {
    limit[i] = begin_timing(raw->id);
    end_timing(&limit[i], raw->id, raw_upload(raw->port, pattern, upload_bytes, (size_t)1 << 20));
    took[i] = begin_timing(process->id);
    end_timing(&took[i], process->id,
               upload(client, stage->path, pattern, upload_bytes, stage->chunk,
                      stage->whole ? &root : NULL, &answer));
  }
  report(bench, stage->name, stage->chunk, files, median_timing(took, runs),
         median_timing(limit, runs), answer.peak_rss);
}

/* The first attempt over its files finds few of their pages in memory: it is not timed. */
static void time_recycled(struct bench *bench, const struct stage *stage,
                          struct nx_rpc_client *client, const struct process *raw,
                          const struct process *process, const uint8_t *pattern, int runs) {
  struct nx_hash root = repeated_root(pattern);
  struct answer answer;
  upload(client, "/bench/Next", pattern, 0, 1, NULL, &answer);
  for (int i = 0; i < runs; i++)
    upload(client, stage->path, pattern, upload_bytes, stage->chunk, &root, &answer);
  upload(client, "/bench/Next", pattern, 0, 1, NULL, &answer);
  time_uploads(bench, stage, "recycled", client, raw, process, pattern, runs);
}

static void time_stage(struct bench *bench, const struct stage *stage, const struct process *raw,
                       const struct process *process, const uint8_t *pattern, int runs) {
  struct nx_rpc_client *client = tls_dial(&tls, process->port);
  verify_stream(client, pattern);
  time_uploads(bench, stage, stage->whole ? "fresh" : NULL, client, raw, process, pattern, runs);
  if (stage->whole)
    time_recycled(bench, stage, client, raw, process, pattern, runs);
  nx_rpc_client_destroy(client);
  stop_process(process);
}

int main(int argc, char **argv) {
  struct bench *bench =
      bench_begin("transport", "[--mib N] [--runs N] [--stage bytes|whole]", &argc, argv);
  const struct settings settings = settings_of(argc, argv, bench_is_quick(bench));
  struct process receivers[STAGES];
  signal(SIGPIPE, SIG_IGN);
  mallopt(M_ARENA_MAX, 2); /* as nodes and the coordinator do, at either end */
  mallopt(M_MMAP_THRESHOLD, 2 << 20);
  mallopt(M_TRIM_THRESHOLD, 4 << 20);
  upload_bytes = settings.mib << 20;
  const char *parent = getenv("TMPDIR");
  struct nx_error bad = {0};
  bench_must(nx_path_join(folder, parent ? parent : "/tmp", "nx-bench-transport-XXXXXX", &bad),
             &bad);
  if (!mkdtemp(folder))
    die(folder);
  tls_fixture_init(&tls);
  _cleanup_free_ uint8_t *pattern = malloc((size_t)1 << 20);
  for (size_t i = 0; i < (size_t)1 << 20; i++)
    pattern[i] = pattern_byte(i);
  struct process raw = start_process(raw_receive, false);
  for (size_t i = 0; i < STAGES; i++) /* one each, so that peaks are apart */
    if (is_wanted(&settings, &stages[i]))
      receivers[i] = start_process(receive, stages[i].whole);
  for (size_t i = 0; i < STAGES; i++)
    if (is_wanted(&settings, &stages[i]))
      time_stage(bench, &stages[i], &raw, &receivers[i], pattern, settings.runs);
  raw_upload(raw.port, pattern, 0, 1);
  close(raw.stop);
  waitpid(raw.id, NULL, 0);
  struct nx_error err = {0};
  bench_must(nx_upload_spool_clear(folder, &err), &err);
  rmdir(folder);
  tls_fixture_finish(&tls);
  return bench_end(bench);
}
