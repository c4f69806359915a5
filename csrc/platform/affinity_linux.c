/* Where there is just one processor for each thread, each worker has its own, and only the one that the caller meets moves,
 * to where the caller comes from; else any processor but the caller's will do. */
#define _GNU_SOURCE
#include "platform/affinity.h"

#include <stdatomic.h>

static atomic_bool pinning = true;

void smri_pool_set_pinning(bool pins) { atomic_store(&pinning, pins); }

void smri_affinity_init(struct smri_affinity *affinity) {
    affinity->pins = atomic_load(&pinning);
    affinity->caller_cpu = -1;
    if (sched_getaffinity(0, sizeof affinity->allowed, &affinity->allowed) != 0) CPU_ZERO(&affinity->allowed);
}

static void send(pthread_t worker, const cpu_set_t *set) {
    (void)pthread_setaffinity_np(worker, sizeof *set, set); /* a refusal costs speed only */
}

static void send_home(struct smri_affinity *affinity, const pthread_t *workers, size_t worker, int cpu) {
    cpu_set_t home;
    CPU_ZERO(&home);
    CPU_SET(cpu, &home);
    affinity->homes[worker] = cpu;
    send(workers[worker], &home);
}

void smri_affinity_make_way(struct smri_affinity *affinity, const pthread_t *workers, size_t n_workers) {
    if (!affinity->pins) return;
    const int cpu = sched_getcpu(), before = affinity->caller_cpu, n_cpus = CPU_COUNT(&affinity->allowed);
    if (cpu < 0 || cpu == before || !CPU_ISSET(cpu, &affinity->allowed) || n_cpus < 2) return;
    affinity->caller_cpu = cpu;
    if (n_workers + 1 != (size_t)n_cpus) {
        cpu_set_t others = affinity->allowed;
        CPU_CLR(cpu, &others);
        for (size_t i = 0; i < n_workers; i++) send(workers[i], &others);
    } else if (before < 0) {
        int home = 0;
        for (size_t i = 0; i < n_workers; i++, home++) {
            while (home == cpu || !CPU_ISSET(home, &affinity->allowed)) home++;
            send_home(affinity, workers, i, home);
        }
    } else {
        for (size_t i = 0; i < n_workers; i++)
            if (affinity->homes[i] == cpu) send_home(affinity, workers, i, before);
    }
}
