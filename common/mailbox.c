#include "common/mailbox.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "common/clock.h"
#include "common/size.h"

struct nx_mailbox {
  pthread_mutex_t lock;
  pthread_cond_t changed;
  void (*free_message)(void *);
  size_t capacity, first, count;
  bool closed;
  void *messages[];
};

int nx_mailbox_create(size_t capacity, void (*free_message)(void *message),
                      struct nx_mailbox **mailbox_out, struct nx_error *err) {
  size_t bytes;
  struct nx_mailbox *mailbox = NULL;
  if (nx_size_mul(capacity, sizeof(void *), &bytes) && nx_size_add(bytes, sizeof *mailbox, &bytes))
    mailbox = calloc(1, bytes);
  if (!mailbox)
    return nx_fail(err, NX_E_NOMEM, "out of memory for a mailbox of %zu messages", capacity);
  pthread_condattr_t attributes;
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_cond_init(&mailbox->changed, &attributes);
  pthread_condattr_destroy(&attributes);
  pthread_mutex_init(&mailbox->lock, NULL);
  mailbox->capacity = capacity;
  mailbox->free_message = free_message;
  *mailbox_out = mailbox;
  return 0;
}

int nx_mailbox_post(struct nx_mailbox *mailbox, void *message) {
  int r = 0;
  pthread_mutex_lock(&mailbox->lock);
  if (mailbox->closed)
    r = NX_E_STATE;
  else if (mailbox->count == mailbox->capacity)
    r = NX_E_LIMIT;
  else
    mailbox->messages[(mailbox->first + mailbox->count++) % mailbox->capacity] = message;
  pthread_cond_signal(&mailbox->changed);
  pthread_mutex_unlock(&mailbox->lock);
  return r;
}

void *nx_mailbox_wait(struct nx_mailbox *mailbox, int64_t deadline) {
  void *message = NULL;
  int r = 0;
  struct timespec until = {deadline / NX_SECOND, deadline % NX_SECOND};
  pthread_mutex_lock(&mailbox->lock);
  while (!mailbox->count && !mailbox->closed && r != ETIMEDOUT)
    r = deadline == NX_NEVER ? pthread_cond_wait(&mailbox->changed, &mailbox->lock)
                             : pthread_cond_timedwait(&mailbox->changed, &mailbox->lock, &until);
  if (mailbox->count) {
    message = mailbox->messages[mailbox->first];
    mailbox->first = (mailbox->first + 1) % mailbox->capacity;
    mailbox->count--;
  }
  pthread_mutex_unlock(&mailbox->lock);
  return message;
}

bool nx_mailbox_is_closed(struct nx_mailbox *mailbox) {
  pthread_mutex_lock(&mailbox->lock);
  bool closed = mailbox->closed;
  pthread_mutex_unlock(&mailbox->lock);
  return closed;
}

void nx_mailbox_close(struct nx_mailbox *mailbox) {
  pthread_mutex_lock(&mailbox->lock);
  mailbox->closed = true;
  pthread_cond_broadcast(&mailbox->changed);
  pthread_mutex_unlock(&mailbox->lock);
}

void nx_mailbox_destroy(struct nx_mailbox *mailbox) {
  if (!mailbox)
    return;
  for (; mailbox->count; mailbox->count--) {
    if (mailbox->free_message)
      mailbox->free_message(mailbox->messages[mailbox->first]);
    mailbox->first = (mailbox->first + 1) % mailbox->capacity;
  }
  pthread_cond_destroy(&mailbox->changed);
  pthread_mutex_destroy(&mailbox->lock);
  free(mailbox);
}
