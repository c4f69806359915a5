/* A lock that Python may wait for: the GIL is dropped meanwhile, Ctrl-C ends the wait, a thread that holds it already gets an
 * error instead of waiting for itself, and in a forked child the threads of the parent hold nothing. Taken and returned with
 * the GIL, which guards what is not the mutex. */
#ifndef SMRI_BINDING_LOCK_H
#define SMRI_BINDING_LOCK_H

#include "binding.h"

#include <pthread.h>
#include <stdbool.h>
#include <sys/types.h>

struct smri_lock {
    pthread_mutex_t mutex;
    pid_t process;       /* in which the mutex means something */
    unsigned long owner; /* the thread that holds it; valid while `busy` */
    bool busy;
};

void smri_lock_init(struct smri_lock *lock);
void smri_lock_destroy(struct smri_lock *lock);

/* 0; or -1 with an exception: RuntimeError, "<what>: already in use by this thread", or that of a signal's handler. */
int smri_lock_enter(struct smri_lock *lock, const char *what);
void smri_lock_leave(struct smri_lock *lock);

#endif
