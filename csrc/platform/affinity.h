/* Keeps a pool's workers off the processor on which their caller runs.
 *
 * Linux wakes a thread on the waker's own processor when no other looks idle, and in a virtual machine a halted processor
 * looks busy; there the two share one for the tens of milliseconds that the load balancer takes, while the other one sleeps.
 * On a guest with two of them half of the calls of a convolution of 2.7 ms took 5.3; in steps that follow each other, whose
 * workers do not sleep, it costs now and then 5 to 10 %. Elsewhere than on Linux nothing is pinned (affinity_none.c). */
#pragma once

#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stddef.h>

#include "smri/pool.h"

struct smri_affinity {
    bool pins;                   /* as smri_pool_set_pinning said when the threads were started */
    bool has_homes;              /* each worker has a processor of its own */
    int caller_cpu;              /* that the workers have been kept off; -1: none yet */
    int homes[SMRI_MAX_THREADS]; /* the workers' processors, when there is one for each */
#if defined(__linux__)
    cpu_set_t allowed; /* processors, at that time */
#endif
};

/* Notes which processors there are, before the workers start. */
void smri_affinity_init(struct smri_affinity *affinity);

#if defined(__linux__)
/* The processors of `set` for this process, to pin threads to, until it ends: true if no other process of this machine has
 * claimed any of them. Claims of this process do not disturb each other. Where the system does not say, true. */
bool smri_affinity_claim(const cpu_set_t *set);
#endif

/* Before a job begins, in the caller's thread: moves the workers out of its way, if it has come to another processor. */
void smri_affinity_make_way(struct smri_affinity *affinity, const pthread_t *workers, size_t n_workers);
