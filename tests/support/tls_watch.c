/* neurox-tls-watch: a logging proxy that stands between our processes and judges what it
 * sees. Every byte both ways must be a TLS record, every server hello must choose TLS 1.3,
 * and after it nothing but protected records may pass. It changes nothing.
 *
 *     neurox-tls-watch TARGET_PORT REPORT      prints "PORT n", serves until SIGTERM, then
 *                                              writes "connections=… bytes=… violations=… up=…"
 *                                              (up: of bytes, those to TARGET_PORT)
 *
 * Both ends are on 127.0.0.1. RFC 8446 sections 4.1.3, 4.2.1 and 5.1. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PAIRS 64
#define PIECE 65536

enum { CHANGE_CIPHER_SPEC = 20, ALERT = 21, HANDSHAKE = 22, APPLICATION_DATA = 23 };

/* One direction of one connection: where in a TLS record the next byte lies. */
struct flow {
  int from, to;
  uint8_t header[5];
  size_t header_size, body_left;
  uint8_t hello[512]; /* the beginning of the first handshake record */
  size_t hello_size;
  bool from_server, greeted, judged;
};

struct pair {
  struct flow flows[2];
  bool used;
};

static struct pair pairs[PAIRS];
static unsigned long connections, violations;
static unsigned long long bytes, bytes_up;
static volatile sig_atomic_t stop;

static void on_term(int number) {
  (void)number;
  stop = 1;
}

static void violation(const char *what) {
  violations++;
  fprintf(stderr, "neurox-tls-watch: %s\n", what);
}

/* Does a server hello carry supported_versions = 0x0304? */
static bool chooses_tls13(const uint8_t *hello, size_t size) {
  size_t at = 4 + 2 + 32; /* handshake header, legacy version, random */
  if (size < at + 1 || hello[0] != 2)
    return false;
  at += 1u + hello[at] + 2 + 1 + 2; /* session id, cipher suite, compression, length */
  while (at + 4 <= size) {
    unsigned type = (unsigned)hello[at] << 8 | hello[at + 1];
    unsigned length = (unsigned)hello[at + 2] << 8 | hello[at + 3];
    if (type == 43 && length == 2 && at + 6 <= size)
      return hello[at + 4] == 3 && hello[at + 5] == 4;
    at += 4 + length;
  }
  return false;
}

static void judge_header(struct flow *flow) {
  uint8_t type = flow->header[0];
  size_t length = (size_t)flow->header[3] << 8 | flow->header[4];
  if (type < CHANGE_CIPHER_SPEC || type > APPLICATION_DATA || flow->header[1] != 3 ||
      length > 16384 + 256)
    violation("bytes that are no TLS record");
  else if (flow->greeted && type == HANDSHAKE)
    violation("a handshake in clear after the hello");
  flow->body_left = length;
}

static void judge_hello(struct flow *flow) {
  flow->judged = true;
  if (flow->from_server && !chooses_tls13(flow->hello, flow->hello_size))
    violation("a server hello that does not choose TLS 1.3");
}

static void watch(struct flow *flow, const uint8_t *data, size_t size) {
  while (size) {
    if (!flow->body_left) {
      flow->header[flow->header_size++] = *data++;
      size--;
      if (flow->header_size == sizeof flow->header) {
        judge_header(flow);
        flow->header_size = 0;
      }
      continue;
    }
    size_t n = size < flow->body_left ? size : flow->body_left;
    if (!flow->greeted && flow->header[0] == HANDSHAKE) {
      size_t keep = sizeof flow->hello - flow->hello_size;
      keep = n < keep ? n : keep;
      memcpy(flow->hello + flow->hello_size, data, keep);
      flow->hello_size += keep;
    }
    flow->body_left -= n;
    data += n;
    size -= n;
    if (!flow->body_left && !flow->greeted && flow->header[0] == HANDSHAKE) {
      flow->greeted = true;
      judge_hello(flow);
    }
  }
}

static void close_pair(struct pair *pair) {
  close(pair->flows[0].from);
  close(pair->flows[0].to);
  pair->used = false;
}

static bool forward(struct flow *flow) {
  static uint8_t piece[PIECE];
  ssize_t n = read(flow->from, piece, sizeof piece);
  if (n <= 0)
    return false;
  bytes += (unsigned long long)n;
  bytes_up += flow->from_server ? 0 : (unsigned long long)n;
  watch(flow, piece, (size_t)n);
  for (ssize_t done = 0; done < n;) {
    ssize_t w = write(flow->to, piece + done, (size_t)(n - done));
    if (w < 0 && errno != EINTR)
      return false;
    done += w > 0 ? w : 0;
  }
  return true;
}

static int dial(uint16_t port) {
  struct sockaddr_in address = {
      .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address)) {
    close(fd);
    return -1;
  }
  return fd;
}

static void accept_pair(int listener, uint16_t target) {
  int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC), server;
  struct pair *pair = pairs;
  if (client < 0)
    return;
  while (pair < pairs + PAIRS && pair->used)
    pair++;
  if (pair == pairs + PAIRS || (server = dial(target)) < 0) {
    close(client);
    return;
  }
  connections++;
  *pair = (struct pair){.used = true,
                        .flows = {{.from = client, .to = server},
                                  {.from = server, .to = client, .from_server = true}}};
}

static int listen_somewhere(void) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof address;
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 64) ||
      getsockname(fd, (struct sockaddr *)&address, &size)) {
    perror("neurox-tls-watch: listen");
    exit(1);
  }
  printf("PORT %u\n", ntohs(address.sin_port));
  fflush(stdout);
  return fd;
}

static void serve(int listener, uint16_t target) {
  struct pollfd fds[1 + 2 * PAIRS] = {{.fd = listener, .events = POLLIN}};
  for (int i = 0; i < PAIRS; i++)
    for (int side = 0; side < 2; side++)
      fds[1 + 2 * i + side] =
          (struct pollfd){.fd = pairs[i].used ? pairs[i].flows[side].from : -1, .events = POLLIN};
  if (poll(fds, 1 + 2 * PAIRS, 200) <= 0)
    return;
  for (int i = 0; i < PAIRS; i++)
    for (int side = 0; side < 2; side++)
      if (pairs[i].used && fds[1 + 2 * i + side].revents && !forward(&pairs[i].flows[side]))
        close_pair(&pairs[i]);
  if (fds[0].revents)
    accept_pair(listener, target);
}

int main(int argc, char **argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: neurox-tls-watch TARGET_PORT REPORT\n");
    return 2;
  }
  signal(SIGTERM, on_term);
  signal(SIGPIPE, SIG_IGN);
  int listener = listen_somewhere();
  while (!stop)
    serve(listener, (uint16_t)atoi(argv[1]));
  FILE *report = fopen(argv[2], "w");
  if (!report || fprintf(report, "connections=%lu bytes=%llu violations=%lu up=%llu\n", connections,
                         bytes, violations, bytes_up) < 0) {
    perror(argv[2]);
    return 1;
  }
  return fclose(report) || violations ? 1 : 0;
}
