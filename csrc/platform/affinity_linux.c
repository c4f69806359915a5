/* Where there is just one processor for each thread, each worker has its own, and only the one that the caller meets moves,
 * to where the caller comes from; else any processor but the caller's will do. So it is also where another process has
 * pinned its workers to these processors: two that share one would wait for each other while others idle. */
#if defined(__linux__)
#define _GNU_SOURCE
#include "platform/affinity.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

static atomic_bool pinning = true;

void smri_pool_set_pinning(bool pins) { atomic_store(&pinning, pins); }

/* A process claims a processor by a lock on a byte of /dev/null, which everybody may open and which has none: locks end with
 * the process, leave nothing behind, and need no agreement but this number. A forked child asks for itself. */
#define FIRST_BYTE ((off_t)0x736d7269) /* "smri" */

static pthread_mutex_t claiming = PTHREAD_MUTEX_INITIALIZER;
static int claims = -1; /* open file; -1: none */
static pid_t claimer;

static bool try_claim(int file, int cpu, short kind) {
    struct flock lock = {.l_type = kind, .l_whence = SEEK_SET, .l_start = FIRST_BYTE + cpu, .l_len = 1};
    return fcntl(file, F_OFD_SETLK, &lock) == 0 || (errno != EAGAIN && errno != EACCES);
}

bool smri_affinity_claim(const cpu_set_t *set) {
    pthread_mutex_lock(&claiming);
    if (claims < 0 || claimer != getpid()) {
        claims = open("/dev/null", O_RDWR | O_CLOEXEC);
        claimer = getpid();
    }
    int cpu = 0;
    bool free = true;
    for (; claims >= 0 && cpu < CPU_SETSIZE && free; cpu++)
        if (CPU_ISSET(cpu, set)) free = try_claim(claims, cpu, F_WRLCK);
    /* All or none; those in front may be claims of an earlier call, which nothing holds on to: its threads stay as they are. */
    for (cpu -= 2; !free && cpu >= 0; cpu--)
        if (CPU_ISSET(cpu, set)) try_claim(claims, cpu, F_UNLCK);
    pthread_mutex_unlock(&claiming);
    return free;
}

void smri_affinity_init(struct smri_affinity *affinity) {
    affinity->pins = atomic_load(&pinning);
    affinity->caller_cpu = -1;
    affinity->has_homes = false;
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
    if (before < 0) affinity->has_homes = n_workers + 1 == (size_t)n_cpus && smri_affinity_claim(&affinity->allowed);
    if (!affinity->has_homes) {
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
#endif
