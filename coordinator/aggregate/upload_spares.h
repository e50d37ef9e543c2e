/* Upload spares: files of uploads that nobody wants any more, to be overwritten by later ones.
 *
 *   uploads/spare/N
 *
 * A file that was written before takes new bytes without the file system having to find, note and
 * clear room for them, and its sync need not wait for a journal. What a spare holds is never read:
 * it becomes an upload's part under a name of its own, with a mark for each tile that has come
 * since (upload_spool.c). Only this process's own spares are used: a name that a power cut brought
 * back might be that of an upload.
 *
 * There are never more than the last attempts used at once, and none when the disk is short. Plain
 * data, nothing to release. The thread that creates and deletes spools. */
#pragma once

#include <stdbool.h>

#include "common/file.h"

#define NX_UPLOAD_SPARES_MOST 255

struct nx_upload_spares {
  char folder[NX_PATH_SIZE];
  uint64_t size;   /* bytes of each */
  uint32_t next;   /* the name of the next one */
  size_t n, n_put; /* here, and put here since they were last cut down */
  uint32_t names[NX_UPLOAD_SPARES_MOST];
};

/* uploads: the folder of all uploads. What an earlier process left is removed. */
int nx_upload_spares_init(struct nx_upload_spares *spares, const char *uploads,
                          struct nx_error *err);
/* The file becomes a spare, or is removed: it is gone when this returns 0. */
int nx_upload_spares_put(struct nx_upload_spares *spares, const char *path, struct nx_error *err);
/* A spare of exactly that size, which becomes the file `path`. False: there is none. */
bool nx_upload_spares_take(struct nx_upload_spares *spares, uint64_t size, const char *path);
/* An attempt is over: what is more than was put here since the last one that put any goes. */
void nx_upload_spares_cut(struct nx_upload_spares *spares);
/* Removes all of them when the disk has less room than they take. */
void nx_upload_spares_make_room(struct nx_upload_spares *spares);
/* Removes all of them. */
void nx_upload_spares_clear(struct nx_upload_spares *spares);
