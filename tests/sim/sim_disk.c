#include "tests/sim/sim_disk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/sim.h"

#define NAME_SIZE 128

struct entry {
  char path[NAME_SIZE];
  struct sim_inode *now, *kept;
  bool folder;
};

static struct machine {
  struct entry *entries;
  size_t n, allocated;
  bool dead;  /* since a crash, or since it died inside a call */
  bool full;  /* until a boot finds that somebody made room */
  bool lying; /* a sync was swallowed since the last honest one */
  bool lied;  /* and a crash made it true */
} machines[SIM_MACHINES];

static struct sim *world;

static void *grown(void *block, size_t n, size_t size) {
  void *larger = reallocarray(block, n, size);
  if (!larger)
    abort();
  return larger;
}

/* --- inodes ------------------------------------------------------------------------------- */

void sim_disk_unref(struct sim_inode *inode) {
  if (!inode || --inode->references)
    return;
  free(inode->now);
  free(inode->kept);
  free(inode->pending);
  free(inode);
}

static struct sim_inode *ref(struct sim_inode *inode) {
  if (inode)
    inode->references++;
  return inode;
}

static void reserve(uint8_t **bytes, size_t *allocated, size_t size) {
  if (size <= *allocated)
    return;
  size_t larger = NX_MAX(2 * *allocated, NX_MAX(size, (size_t)256));
  *bytes = grown(*bytes, larger, 1);
  *allocated = larger;
}

static void resize_kept(struct sim_inode *inode, size_t size) {
  reserve(&inode->kept, &inode->kept_allocated, size);
  if (size > inode->kept_size)
    memset(inode->kept + inode->kept_size, 0, size - inode->kept_size);
  inode->kept_size = size;
}

static void note_pending(struct sim_inode *inode, uint64_t offset, uint64_t size) {
  if (inode->n_pending == inode->pending_allocated) {
    inode->pending_allocated = NX_MAX(2 * inode->pending_allocated, (size_t)4);
    inode->pending = grown(inode->pending, inode->pending_allocated, sizeof *inode->pending);
  }
  inode->pending[inode->n_pending++] = (struct sim_range){offset, size};
}

static void keep_range(struct sim_inode *inode, uint64_t offset, uint64_t size) {
  if (offset >= inode->size || !size)
    return;
  size = NX_MIN(size, (uint64_t)inode->size - offset);
  if (offset + size > inode->kept_size)
    resize_kept(inode, offset + size);
  memcpy(inode->kept + offset, inode->now + offset, size);
}

static void keep_all(struct sim_inode *inode) {
  for (size_t i = 0; i < inode->n_pending; i++)
    keep_range(inode, inode->pending[i].offset, inode->pending[i].size);
  resize_kept(inode, inode->size);
  inode->n_pending = 0;
}

/* What of the unsynced writes reached the platters: all, nothing or the beginning of each. */
static void keep_some(struct sim_inode *inode) {
  for (size_t i = 0; i < inode->n_pending; i++) {
    struct sim_range range = inode->pending[i];
    uint64_t lot = nx_rng_below(&world->disk_rng, 3);
    if (lot)
      keep_range(inode, range.offset,
                 lot == 1 ? range.size : nx_rng_below(&world->disk_rng, range.size + 1));
  }
  inode->n_pending = 0;
  reserve(&inode->now, &inode->allocated, inode->kept_size);
  if (inode->kept_size)
    memcpy(inode->now, inode->kept, inode->kept_size);
  inode->size = inode->kept_size;
}

/* --- names -------------------------------------------------------------------------------- */

int sim_disk_machine(const char *path) {
  if (!world || strncmp(path, SIM_DISK_PREFIX, sizeof SIM_DISK_PREFIX - 1))
    return -1;
  return (int)strtoul(path + sizeof SIM_DISK_PREFIX - 1, NULL, 10) % SIM_MACHINES;
}

static struct entry *lookup(struct machine *m, const char *path) {
  for (size_t i = 0; i < m->n; i++)
    if (!strcmp(m->entries[i].path, path))
      return &m->entries[i];
  return NULL;
}

static struct entry *enter(struct machine *m, const char *path) {
  struct entry *entry = lookup(m, path);
  if (entry)
    return entry;
  if (m->n == m->allocated) {
    m->allocated = NX_MAX(2 * m->allocated, (size_t)8);
    m->entries = grown(m->entries, m->allocated, sizeof *m->entries);
  }
  entry = &m->entries[m->n++];
  *entry = (struct entry){0};
  if (snprintf(entry->path, sizeof entry->path, "%s", path) >= (int)sizeof entry->path)
    abort();
  return entry;
}

static void drop(struct entry *entry) {
  sim_disk_unref(entry->now);
  sim_disk_unref(entry->kept);
  entry->now = entry->kept = NULL;
}

/* Entries that name nothing any more. */
static void sweep(struct machine *m) {
  size_t n = 0;
  for (size_t i = 0; i < m->n; i++)
    if (m->entries[i].now || m->entries[i].kept || m->entries[i].folder)
      m->entries[n++] = m->entries[i];
  m->n = n;
}

struct sim_inode *sim_disk_find(int machine, const char *path) {
  struct entry *entry = lookup(&machines[machine], path);
  return entry ? entry->now : NULL;
}

bool sim_disk_is_folder(int machine, const char *path) {
  struct entry *entry = lookup(&machines[machine], path);
  return entry && entry->folder;
}

static bool is_below(const char *path, const char *folder) {
  size_t n = strlen(folder);
  return !strncmp(path, folder, n) && path[n] == '/' && !strchr(path + n + 1, '/');
}

const char *sim_disk_list(int machine, const char *folder, size_t index) {
  const struct machine *m = &machines[machine];
  for (size_t i = 0; i < m->n; i++) {
    const struct entry *entry = &m->entries[i];
    if ((entry->now || entry->folder) && is_below(entry->path, folder) && !index--)
      return entry->path + strlen(folder) + 1;
  }
  return NULL;
}

/* --- faults ------------------------------------------------------------------------------- */

static const struct sim_disk_faults *faults_of(uint32_t machine) {
  return machine ? &world->faults.node_disk : &world->faults.coordinator_disk;
}

static bool chance(enum sim_fault fault, double p) {
  return sim_fault_strikes(world, fault, p, &world->disk_rng);
}

/* Before a call that changes something: 0, or why it does not come about. */
static int trouble(uint32_t machine, bool writes) {
  struct machine *m = &machines[machine];
  const struct sim_disk_faults *faults = faults_of(machine);
  if (m->dead)
    return -EIO;
  if (++world->totals.disk_calls == world->settings.tear_at ||
      chance(SIM_FAULT_TEAR, faults->tear)) {
    m->dead = true;
    return -EIO;
  }
  if (writes && (m->full || chance(SIM_FAULT_FULL, faults->full))) {
    m->full = true;
    return -ENOSPC;
  }
  return chance(SIM_FAULT_EIO, faults->error) ? -EIO : 0;
}

/* --- calls -------------------------------------------------------------------------------- */

static void put(struct sim_inode *inode, uint64_t offset, const void *data, size_t size) {
  reserve(&inode->now, &inode->allocated, offset + size);
  if (offset > inode->size)
    memset(inode->now + inode->size, 0, offset - inode->size);
  if (size)
    memcpy(inode->now + offset, data, size);
  inode->size = NX_MAX(inode->size, offset + size);
  note_pending(inode, offset, size);
}

int sim_disk_write(int machine, struct sim_inode *inode, uint64_t offset, const void *data,
                   size_t size) {
  bool alive = !machines[machine].dead;
  int r = trouble((uint32_t)machine, true);
  if (r == 0)
    put(inode, offset, data, size);
  else if (alive) /* it died, or stopped, somewhere in the middle */
    put(inode, offset, data, nx_rng_below(&world->disk_rng, size + 1));
  return r;
}

int sim_disk_truncate(int machine, struct sim_inode *inode, uint64_t size) {
  int r = trouble((uint32_t)machine, false);
  if (r < 0)
    return r;
  if (size > inode->size) {
    reserve(&inode->now, &inode->allocated, size);
    memset(inode->now + inode->size, 0, size - inode->size);
  }
  inode->size = size;
  return 0;
}

int sim_disk_sync(int machine, struct sim_inode *inode) {
  struct machine *m = &machines[machine];
  int r = trouble((uint32_t)machine, false);
  if (r < 0)
    return r;
  bool may_lie = machine <= 1; /* one member of all: a round bears n_C of them */
  if (may_lie && chance(SIM_FAULT_LIE, faults_of((uint32_t)machine)->lie)) {
    m->lying = true;
    return 0;
  }
  keep_all(inode);
  return 0;
}

int sim_disk_sync_folder(int machine, const char *path) {
  struct machine *m = &machines[machine];
  int r = trouble((uint32_t)machine, false);
  for (size_t i = 0; i < m->n && r == 0; i++) {
    struct entry *entry = &m->entries[i];
    if (!is_below(entry->path, path) || entry->now == entry->kept)
      continue;
    sim_disk_unref(entry->kept);
    entry->kept = ref(entry->now);
  }
  if (r == 0)
    sweep(m);
  return r;
}

struct sim_inode *sim_disk_make(int machine, const char *path) {
  struct entry *entry = enter(&machines[machine], path);
  struct sim_inode *inode = calloc(1, sizeof *inode);
  if (!inode)
    abort();
  sim_disk_unref(entry->now);
  inode->references = 1;
  return entry->now = inode;
}

int sim_disk_rename(int machine, const char *from, const char *to) {
  struct machine *m = &machines[machine];
  int r = trouble((uint32_t)machine, false);
  if (r < 0)
    return r;
  if (!sim_disk_find(machine, from))
    return -ENOENT;
  struct entry *target = enter(m, to); /* may move the entries */
  struct entry *source = lookup(m, from);
  sim_disk_unref(target->now);
  target->now = nx_steal(&source->now);
  return 0;
}

int sim_disk_link(int machine, const char *from, const char *to) {
  struct sim_inode *inode = sim_disk_find(machine, from);
  int r = trouble((uint32_t)machine, false);
  if (r < 0)
    return r;
  if (!inode)
    return -ENOENT;
  struct entry *target = enter(&machines[machine], to);
  if (target->now)
    return -EEXIST;
  target->now = ref(inode);
  return 0;
}

int sim_disk_unlink(int machine, const char *path) {
  struct machine *m = &machines[machine];
  struct entry *entry = lookup(m, path);
  if (!entry || !entry->now)
    return m->dead ? -EIO : -ENOENT;
  int r = trouble((uint32_t)machine, false);
  if (r < 0)
    return r;
  sim_disk_unref(nx_steal(&entry->now));
  return 0;
}

/* A folder is there at once and for good: all of ours are made before anything is in them. */
int sim_disk_make_folder(int machine, const char *path) {
  struct machine *m = &machines[machine];
  if (m->dead)
    return -EIO;
  if (sim_disk_is_folder(machine, path))
    return -EEXIST;
  enter(m, path)->folder = true;
  return 0;
}

/* --- what happens to a machine -------------------------------------------------------------- */

void sim_disk_wipe(uint32_t machine) {
  struct machine *m = &machines[machine];
  for (size_t i = 0; i < m->n; i++)
    drop(&m->entries[i]);
  free(m->entries);
  *m = (struct machine){0};
}

void sim_disk_world(struct sim *sim) {
  for (uint32_t i = 0; i < SIM_MACHINES; i++)
    sim_disk_wipe(i);
  world = sim;
}

static void cut_power(struct machine *m) {
  for (size_t i = 0; i < m->n; i++) {
    struct entry *entry = &m->entries[i];
    if (entry->now == entry->kept)
      continue;
    bool named = nx_rng_below(&world->disk_rng, 2); /* did the new name get there? */
    struct sim_inode **loser = named ? &entry->kept : &entry->now;
    sim_disk_unref(*loser);
    *loser = ref(named ? entry->now : entry->kept);
  }
  for (size_t i = 0; i < m->n; i++)
    if (m->entries[i].now)
      keep_some(m->entries[i].now);
  m->lied |= m->lying;
  m->lying = false;
  sweep(m);
}

void sim_disk_crash(uint32_t machine, bool power) {
  machines[machine].dead = true;
  if (power)
    cut_power(&machines[machine]);
}

void sim_disk_boot(uint32_t machine) {
  machines[machine].dead = false;
  if (machines[machine].full)
    machines[machine].full = nx_rng_below(&world->disk_rng, 2);
}

bool sim_disk_is_dead(uint32_t machine) {
  return machines[machine].dead;
}

bool sim_disk_has_lied(uint32_t machine) {
  return machines[machine].lied;
}

bool sim_disk_rot(uint32_t machine, const char *name, size_t skip) {
  struct sim_inode *inode = sim_disk_find((int)machine, name);
  if (!inode || inode->size <= skip)
    return false;
  size_t at = skip + nx_rng_below(&world->disk_rng, inode->size - skip);
  inode->now[at] ^= (uint8_t)(1u << nx_rng_below(&world->disk_rng, 8));
  note_pending(inode, at, 1);
  keep_all(inode);
  return true;
}
