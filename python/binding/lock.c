/* The wait is cut into pieces of 50 ms, between which signals are looked for. */
#define _GNU_SOURCE
#include "lock.h"

#include <time.h>
#include <unistd.h>

void smri_lock_init(struct smri_lock *lock) {
    pthread_mutex_init(&lock->mutex, NULL);
    lock->process = getpid();
    lock->busy = false;
}

void smri_lock_destroy(struct smri_lock *lock) {
    if (lock->process == getpid()) pthread_mutex_destroy(&lock->mutex);
}

/* After fork() only the thread that forked is there: what any other held is free, though its mutex says that it is not. */
static void forget_parent(struct smri_lock *lock) {
    const pid_t process = getpid();
    if (lock->process == process) return;
    if (lock->busy && lock->owner == PyThread_get_thread_ident()) return;
    smri_lock_init(lock);
}

static bool wait_50_ms(pthread_mutex_t *mutex) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += 50 * 1000 * 1000;
    if (until.tv_nsec >= 1000 * 1000 * 1000) until.tv_sec++, until.tv_nsec -= 1000 * 1000 * 1000;
    bool taken;
    Py_BEGIN_ALLOW_THREADS;
    taken = pthread_mutex_timedlock(mutex, &until) == 0;
    Py_END_ALLOW_THREADS;
    return taken;
}

int smri_lock_enter(struct smri_lock *lock, const char *what) {
    forget_parent(lock);
    while (pthread_mutex_trylock(&lock->mutex) != 0) {
        if (lock->busy && lock->owner == PyThread_get_thread_ident()) {
            PyErr_Format(PyExc_RuntimeError, "%s: already in use by this thread (called from a signal handler?)", what);
            return -1;
        }
        if (wait_50_ms(&lock->mutex)) break;
        if (PyErr_CheckSignals() < 0) return -1;
        forget_parent(lock); /* a handler may have forked */
    }
    lock->owner = PyThread_get_thread_ident();
    lock->busy = true;
    return 0;
}

void smri_lock_leave(struct smri_lock *lock) {
    lock->busy = false;
    pthread_mutex_unlock(&lock->mutex);
}
