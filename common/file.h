/* File: whole files read under a cap, replaced atomically, folders locked. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "common/bytes.h"
#include "common/error.h"

#define NX_PATH_SIZE 4096

/* Joins with one '/', NX_E_LIMIT when longer than NX_PATH_SIZE - 1. */
int nx_path_join(char out[NX_PATH_SIZE], const char *folder, const char *name,
                 struct nx_error *err);
bool nx_path_exists(const char *path);

/* Appends the file's bytes to out; NX_E_LIMIT when larger than cap. */
int nx_file_read(const char *path, size_t cap, struct nx_buffer *out, struct nx_error *err);
/* Writes path.tmp-PID, fsyncs, renames over path, fsyncs the folder: after a crash
 * either the old bytes or the new ones are there. */
int nx_file_replace(const char *path, struct nx_bytes bytes, mode_t mode, struct nx_error *err);
/* The same, but NX_E_EXISTS when path is already there. */
int nx_file_create(const char *path, struct nx_bytes bytes, mode_t mode, struct nx_error *err);
/* Writes all of it at the descriptor's place; path is for the error's text. */
int nx_file_write_all(int fd, struct nx_bytes bytes, const char *path, struct nx_error *err);
int nx_file_sync_folder_of(const char *path, struct nx_error *err);

/* Creates the folder; an existing one is fine. Parents must exist. */
int nx_folder_create(const char *path, mode_t mode, struct nx_error *err);
/* Files and folders in it whose names begin with no dot; 0 when it cannot be read. */
size_t nx_folder_count(const char *path);
/* Takes path/.lock for this process or fails with NX_E_STATE ("another … is running
 * here"); the lock goes when the returned descriptor is closed. */
int nx_folder_lock(const char *path, int *fd_out, struct nx_error *err);
