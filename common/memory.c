#include "common/memory.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/file.h"
#include "common/size.h"

#define LINE 4096

/* The number behind `key` at the start of a line of the file; SIZE_MAX: none, or no number. */
static size_t number_in(const char *root, const char *path, const char *key) {
  char full[NX_PATH_SIZE * 2], line[LINE];
  unsigned long long value;
  snprintf(full, sizeof full, "%s%s", root, path);
  _cleanup_file_ FILE *file = fopen(full, "re");
  while (file && fgets(line, sizeof line, file))
    if (!strncmp(line, key, strlen(key)) && sscanf(line + strlen(key), "%llu", &value) == 1)
      return (size_t)value;
  return SIZE_MAX;
}

size_t nx_memory_resident(void) {
  size_t kb = number_in("", "/proc/self/status", "VmRSS:");
  return kb == SIZE_MAX ? 0 : kb << 10;
}

struct version {
  const char *folder, *most, *now, *cached; /* cached: pages of files that the kernel can drop */
};
static const struct version second = {"/sys/fs/cgroup", "memory.max", "memory.current",
                                      "inactive_file "};
static const struct version first = {"/sys/fs/cgroup/memory", "memory.limit_in_bytes",
                                     "memory.usage_in_bytes", "total_inactive_file "};

/* What a group has left; SIZE_MAX: no limit. */
static size_t left_in(const char *root, const struct version *v, const char *group) {
  char path[NX_PATH_SIZE * 2];
  snprintf(path, sizeof path, "%s%s/%s", v->folder, group, v->most);
  size_t most = number_in(root, path, "");
  snprintf(path, sizeof path, "%s%s/%s", v->folder, group, v->now);
  size_t now = number_in(root, path, "");
  snprintf(path, sizeof path, "%s%s/memory.stat", v->folder, group);
  size_t cached = number_in(root, path, v->cached);
  if (most == SIZE_MAX || now == SIZE_MAX)
    return SIZE_MAX;
  now -= NX_MIN(now, cached == SIZE_MAX ? 0 : cached);
  return most - NX_MIN(most, now);
}

/* The least that is left in the group or one above it. */
static size_t left_in_all(const char *root, const struct version *v, char *group) {
  size_t least = SIZE_MAX;
  group[strcspn(group, "\n")] = 0;
  if (!strcmp(group, "/"))
    *group = 0;
  for (;;) {
    size_t left = left_in(root, v, group);
    least = NX_MIN(least, left);
    char *slash = strrchr(group, '/');
    if (!slash)
      return least;
    *slash = 0;
  }
}

static size_t left_in_groups(const char *root) {
  char path[NX_PATH_SIZE * 2], line[LINE];
  size_t least = SIZE_MAX;
  snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
  _cleanup_file_ FILE *file = fopen(path, "re");
  while (file && fgets(line, sizeof line, file)) {
    char *memory = strstr(line, ":memory:");
    size_t left = !strncmp(line, "0::", 3) ? left_in_all(root, &second, line + 3)
                  : memory                 ? left_in_all(root, &first, memory + 8)
                                           : SIZE_MAX;
    least = NX_MIN(least, left);
  }
  return least;
}

size_t nx_memory_room(const char *root) {
  size_t kb = number_in(root, "/proc/meminfo", "MemAvailable:"), groups = left_in_groups(root);
  size_t left = NX_MIN(kb > SIZE_MAX >> 10 ? SIZE_MAX : kb << 10, groups), sum;
  if (left == SIZE_MAX)
    return 0;
  return nx_size_add(left, nx_memory_resident(), &sum) ? sum : 0;
}
