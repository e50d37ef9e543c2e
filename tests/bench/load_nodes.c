/* load_nodes HOME N: opens N connections to a running coordinator with the operator's
 * certificate (mutual TLS, one small call each, so that each is proved to work), prints
 * "open N" and holds them, idle, until its standard input ends. For bench load. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "coordinator/verbs/operator_client.h"
#include "proto/codec/methods.h"

#define MOST 20000

int main(int argc, char **argv) {
  struct nx_error err = {0};
  size_t n = argc == 3 ? strtoul(argv[2], NULL, 10) : 0;
  if (n == 0 || n > MOST) {
    fprintf(stderr, "usage: load_nodes HOME N (1 to %d connections)\n", MOST);
    return 2;
  }
  struct nx_operator *lines = calloc(n, sizeof *lines);
  if (!lines)
    return 1;
  for (size_t i = 0; i < n; i++) {
    struct nx_admin_status status;
    if (nx_operator_open(argv[1], &lines[i], &err) < 0 ||
        nx_operator_status(&lines[i], NX_METHOD_ADMIN_STATUS, nx_bytes(NULL, 0), &status, &err) <
            0) {
      fprintf(stderr, "load_nodes: connection %zu: %s\n", i + 1, err.text);
      return 1;
    }
  }
  printf("open %zu\n", n);
  fflush(stdout);
  char byte;
  while (read(STDIN_FILENO, &byte, 1) > 0 || errno == EINTR)
    ;
  for (size_t i = 0; i < n; i++)
    nx_operator_close(&lines[i]);
  free(lines);
  return 0;
}
