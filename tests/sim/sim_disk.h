/* Simulated disk: one per machine, in memory. The linker puts it under open(), write(),
 * fsync(), rename() … (sim_disk_calls.c) for paths below /sim/MACHINE/, and SQLite gets it as
 * its VFS (sim_disk_sqlite.c), so that the real journal, run store and upload spool run on it.
 *
 * What is written but not synced is lost, torn or kept when the power goes, as the seed has it;
 * a new name is sure only once its folder is synced. Machines die in the middle of a write,
 * disks are full, answer EIO, lie about fsync, and rot. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct sim;

#define SIM_DISK_PREFIX "/sim/"
#define SIM_MACHINES 256 /* 0 the coordinator, then the nodes */

/* Whose seed decides. NULL: no world, all disks are wiped. */
void sim_disk_world(struct sim *sim);
void sim_disk_wipe(uint32_t machine);
/* The process is gone, in a power cut with all that was not synced. Every call fails until
 * sim_disk_boot(). */
void sim_disk_crash(uint32_t machine, bool power);
void sim_disk_boot(uint32_t machine);
/* True once the machine died inside a call. */
bool sim_disk_is_dead(uint32_t machine);
/* One bit of the file turns over; false when there is no such file or it is empty. */
bool sim_disk_rot(uint32_t machine, const char *name, size_t skip);
/* The disk says "synced" and has not; true when a crash since has lost something so. */
bool sim_disk_has_lied(uint32_t machine);
void sim_disk_register_sqlite(void);

/* --- for the calls ------------------------------------------------------------------------ */

struct sim_range {
  uint64_t offset, size;
};

struct sim_inode {
  uint8_t *now, *kept; /* as a process sees it; as the platters have it */
  size_t size, allocated, kept_size, kept_allocated;
  struct sim_range *pending; /* written since the last sync */
  size_t n_pending, pending_allocated;
  uint32_t references;
};

/* The machine of a path, or -1 when it is a real one. */
int sim_disk_machine(const char *path);
struct sim_inode *sim_disk_find(int machine, const char *path);
struct sim_inode *sim_disk_make(int machine, const char *path);
void sim_disk_unref(struct sim_inode *inode);
/* Each answers 0 or a negative errno. */
int sim_disk_write(int machine, struct sim_inode *inode, uint64_t offset, const void *data,
                   size_t size);
int sim_disk_truncate(int machine, struct sim_inode *inode, uint64_t size);
int sim_disk_sync(int machine, struct sim_inode *inode);
int sim_disk_sync_folder(int machine, const char *path);
int sim_disk_rename(int machine, const char *from, const char *to);
int sim_disk_link(int machine, const char *from, const char *to);
int sim_disk_unlink(int machine, const char *path);
int sim_disk_make_folder(int machine, const char *path);
bool sim_disk_is_folder(int machine, const char *path);
/* The index-th name below the folder, or NULL. */
const char *sim_disk_list(int machine, const char *folder, size_t index);
