/* Memory: how much this process has, and how much it may come to have before the machine, or the
 * control group that it runs in, has no more. Linux only; swap is not counted. Any thread. */
#pragma once

#include <stddef.h>

/* Bytes that are resident now; 0: not known. */
size_t nx_memory_resident(void);
/* Bytes that may be resident: what is now, and what the machine has left, or less where a control
 * group (either version, and those above it) has less left. 0: not known. root: "" for the
 * machine's own /proc and /sys; a folder with others in tests. */
size_t nx_memory_room(const char *root);
