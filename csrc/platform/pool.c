/* Workers that are awake join the jobs that are open, the oldest first, and one that wakes late misses them: the caller never
 * waits for a thread that the system has not scheduled, only for those that have begun a task. That is what keeps the
 * speed when other processes use the cores (a barrier over all threads waits for the slowest time slice).
 *
 * Each thread begins with a contiguous part of the tasks, the same part of every job, and helps the others from their ends
 * when it is done, a task or a run of tasks at a time. Tasks run along the images, so a thread finds what it wrote in its
 * own caches. That matters where two processors share no third-level cache, which a guest cannot see and which changes under
 * it: with one shared counter, which dealt tasks out like cards, a training step took 1135 ms there and 1030 where they do
 * share one.
 *
 * A job that nothing waits for (smri_pool_begin_ranges) need not end before the next one begins. The caller goes on
 * while others are at its last tasks, and leaves them the very last one, so that they do not wait for the caller either.
 * With the gradients of the weights begun like that, two threads wait for each other for 6 ms of a step's 580 where it was
 * 14.
 *
 * Idle workers spin for some microseconds, because a network's layers follow each other closely, and then sleep; so does
 * the caller while workers finish. Only who sleeps and who wakes a sleeper takes the mutex: a step of ResNet-50 has 540 jobs. */
#define _GNU_SOURCE
#include "smri/pool.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include "platform/affinity.h"
#include "platform/quiet_thread.h"
#include "smri/memory.h"

#if defined(__x86_64__)
#define spin_pause() __builtin_ia32_pause()
#else
#define spin_pause() ((void)0)
#endif

/* 90 us on a core whose pause takes 40 cycles, 370 us where it takes 140: longer than most waits for the last task of the
 * others. To sleep and be woken costs about 30 us; with an eighth of the limit that was 7 ms of a step of 610. */
#define SPIN_LIMIT 8000

/* A share packs two task numbers of 32 bits into one word. More tasks than that are run as several jobs, one after the other. */
#define JOB_TASKS_MAX ((size_t)UINT32_MAX)

/* Tasks that nobody has taken: the first in the lower half, the end in the upper. */
struct share {
    _Alignas(64) _Atomic uint64_t tasks;
};

/* One call's tasks. What is not atomic is written while the job is closed and nobody is inside. */
struct job {
    smri_range_task task;
    void *context;
    size_t first; /* what is added to the numbers in the shares */
    size_t most;  /* tasks in a range */
    struct share shares[SMRI_MAX_THREADS];
    _Alignas(64) _Atomic uint32_t state; /* OPEN or not, and how many workers are inside */
};

#define JOBS 4 /* unfinished at once; a power of two, so that their numbers may wrap */

struct smri_pool {
    size_t n_threads; /* the caller included */
    size_t n_started; /* threads[0 .. n_started) run */
    struct smri_affinity affinity;
    pid_t owner;      /* the process in which they run */
    pthread_t threads[SMRI_MAX_THREADS];

    struct job jobs[JOBS];         /* number n is jobs[n % JOBS] */
    _Alignas(64) _Atomic unsigned newest; /* number of the latest job, for workers that wait for the next one */
    _Atomic bool stop;

    /* A sleeper sets its flag, then re-checks the condition; a waker changes the condition, then checks the flag. Both are
     * sequentially consistent, so no wake-up is lost (Dekker). */
    _Atomic size_t sleepers;
    _Atomic bool caller_sleeps;
    pthread_mutex_t mutex;
    pthread_cond_t posted, finished;
};

struct worker {
    smri_pool *pool;
    size_t index;
};

static uint64_t pack_share(uint64_t first, uint64_t end) { return end << 32 | first; }

static void share_out(struct job *job, size_t n_tasks, size_t n_threads) {
    for (size_t i = 0; i < n_threads; i++)
        atomic_store_explicit(&job->shares[i].tasks, pack_share(n_tasks * i / n_threads, n_tasks * (i + 1) / n_threads),
                              memory_order_relaxed);
}

static size_t left_in(const struct share *share) {
    const uint64_t tasks = atomic_load_explicit(&share->tasks, memory_order_relaxed);
    return (tasks >> 32) - (uint32_t)tasks;
}

/* Takes the first or the last tasks of a share, at most half of it and never more than `most`; false when there are no more
 * than `spared`, which is 0 or 1. */
static bool take(struct share *share, bool last, size_t most, size_t spared, size_t *begin, size_t *end) {
    uint64_t tasks = atomic_load_explicit(&share->tasks, memory_order_relaxed), left;
    do {
        const size_t first = (uint32_t)tasks, beyond = tasks >> 32, half = (beyond - first + 1) / 2;
        const size_t count = half < most ? half : most;
        if (beyond - first <= spared) return false;
        *begin = last ? beyond - count : first;
        *end = *begin + count;
        left = last ? pack_share(first, *begin) : pack_share(*end, beyond);
    } while (!atomic_compare_exchange_weak_explicit(&share->tasks, &tasks, left, memory_order_relaxed, memory_order_relaxed));
    return true;
}

static void run_range(const struct job *job, size_t begin, size_t end, size_t worker) {
    job->task(job->context, job->first + begin, job->first + end, worker);
}

static void take_tasks(const smri_pool *pool, struct job *job, size_t worker, size_t spared) {
    const size_t n = pool->n_started + 1;
    size_t begin, end;
    while (take(&job->shares[worker], false, job->most, spared, &begin, &end)) run_range(job, begin, end, worker);
    for (size_t i = 1; i < n; i++)
        while (take(&job->shares[(worker + i) % n], true, job->most, spared, &begin, &end)) run_range(job, begin, end, worker);
}

#define OPEN 0x80000000u

static bool join(struct job *job) {
    uint32_t state = atomic_load_explicit(&job->state, memory_order_relaxed);
    do
        if ((state & OPEN) == 0) return false;
    while (!atomic_compare_exchange_weak_explicit(&job->state, &state, state + 1, memory_order_acquire,
                                                  memory_order_relaxed));
    return true;
}

/* The last one out of a closed job wakes the caller, if that sleeps. */
static void leave(smri_pool *pool, struct job *job) {
    if (atomic_fetch_sub(&job->state, 1) != 1 || !atomic_load(&pool->caller_sleeps)) return;
    pthread_mutex_lock(&pool->mutex);
    pthread_cond_signal(&pool->finished);
    pthread_mutex_unlock(&pool->mutex);
}

static void wake_workers(smri_pool *pool) {
    atomic_fetch_add(&pool->newest, 1);
    if (atomic_load(&pool->sleepers) == 0) return;
    pthread_mutex_lock(&pool->mutex);
    pthread_cond_broadcast(&pool->posted);
    pthread_mutex_unlock(&pool->mutex);
}

static void await_job(smri_pool *pool, unsigned seen) {
    for (int i = 0; i < SPIN_LIMIT; i++, spin_pause())
        if (atomic_load_explicit(&pool->newest, memory_order_acquire) != seen) return;
    pthread_mutex_lock(&pool->mutex);
    atomic_fetch_add(&pool->sleepers, 1);
    while (atomic_load(&pool->newest) == seen) pthread_cond_wait(&pool->posted, &pool->mutex);
    atomic_fetch_sub(&pool->sleepers, 1);
    pthread_mutex_unlock(&pool->mutex);
}

static void await_workers(smri_pool *pool, struct job *job) {
    for (int i = 0; i < SPIN_LIMIT; i++, spin_pause())
        if (atomic_load_explicit(&job->state, memory_order_acquire) == 0) return;
    pthread_mutex_lock(&pool->mutex);
    atomic_store(&pool->caller_sleeps, true);
    while (atomic_load(&job->state) != 0) pthread_cond_wait(&pool->finished, &pool->mutex);
    atomic_store(&pool->caller_sleeps, false);
    pthread_mutex_unlock(&pool->mutex);
}

/* Oldest job first. */
static void help(smri_pool *pool, unsigned newest, size_t worker) {
    for (unsigned i = JOBS; i-- > 0;) {
        struct job *job = &pool->jobs[(newest - i) % JOBS];
        if (!join(job)) continue;
        take_tasks(pool, job, worker, 0);
        leave(pool, job);
    }
}

static void *worker_main(void *argument) {
    const struct worker self = *(struct worker *)argument;
    free(argument);
    (void)smri_message(); /* the system makes room for it at the first use, and ends the process when it cannot */
    smri_pool *pool = self.pool;
    for (unsigned seen = 0;;) {
        await_job(pool, seen);
        if (atomic_load(&pool->stop)) return NULL;
        seen = atomic_load(&pool->newest);
        help(pool, seen, self.index);
    }
}

/* Starts what is missing; fewer threads than asked for cost speed and nothing else. */
static void start_threads(smri_pool *pool) {
    const pid_t pid = getpid();
    if (pool->owner == pid) return;
    pthread_mutex_init(&pool->mutex, NULL); /* in a forked child the parent's threads and their locks are gone */
    pthread_cond_init(&pool->posted, NULL);
    pthread_cond_init(&pool->finished, NULL);
    pool->owner = pid;
    pool->n_started = 0;
    smri_affinity_init(&pool->affinity);
    atomic_store(&pool->newest, 0);
    for (size_t i = 0; i < JOBS; i++) atomic_store(&pool->jobs[i].state, 0);
    atomic_store(&pool->stop, false);
    atomic_store(&pool->sleepers, 0);
    atomic_store(&pool->caller_sleeps, false);

    for (size_t i = 1; i < pool->n_threads; i++) {
        struct worker *worker = malloc(sizeof *worker);
        if (worker == NULL) break;
        *worker = (struct worker){pool, i};
        if (smri_thread_start(&pool->threads[pool->n_started], worker_main, worker) != 0) {
            free(worker);
            break;
        }
        pool->n_started++;
    }
}

smri_status smri_pool_create(smri_pool **out, size_t n_threads) {
    *out = NULL;
    if (n_threads > SMRI_MAX_THREADS)
        return smri_fail(SMRI_ARGUMENT, "n_threads: expected at most %d, got %zu", SMRI_MAX_THREADS, n_threads);
    void *memory;
    const smri_status status = smri_aligned_alloc(&memory, sizeof(smri_pool), "thread pool");
    if (status != SMRI_OK) return status;
    smri_pool *pool = memory;
    pool->n_threads = n_threads != 0 ? n_threads : smri_cpu_count();
    start_threads(pool);
    *out = pool;
    return SMRI_OK;
}

void smri_pool_destroy(smri_pool *pool) {
    if (pool == NULL) return;
    if (pool->owner == getpid()) {
        atomic_store(&pool->stop, true);
        wake_workers(pool);
        for (size_t i = 0; i < pool->n_started; i++) pthread_join(pool->threads[i], NULL);
        pthread_cond_destroy(&pool->posted);
        pthread_cond_destroy(&pool->finished);
        pthread_mutex_destroy(&pool->mutex);
    }
    smri_aligned_free(pool);
}

size_t smri_pool_size(const smri_pool *pool) { return pool != NULL ? pool->n_threads : 1; }

/* The caller does what is left, and waits for what others are at. */
static void finish(smri_pool *pool, struct job *job) {
    if (atomic_load_explicit(&job->state, memory_order_acquire) == 0) return;
    take_tasks(pool, job, 0, 0);
    atomic_fetch_and(&job->state, ~OPEN); /* whoever has not joined by now finds nothing to do */
    await_workers(pool, job);
}

/* A new job of the tasks first .. first + n_tasks - 1, or NULL when the caller has done all of them. */
static struct job *post(smri_pool *pool, size_t first, size_t n_tasks, size_t most, smri_range_task task, void *context) {
    assert(n_tasks <= JOB_TASKS_MAX && most > 0);
    if (pool != NULL && n_tasks > 1) start_threads(pool);
    if (pool == NULL || n_tasks <= 1 || pool->n_started == 0) {
        for (size_t i = 0; i < smri_chunk_count(n_tasks, most); i++)
            task(context, first + i * most, first + smri_chunk_end(n_tasks, most, i), 0);
        return NULL;
    }
    smri_affinity_make_way(&pool->affinity, pool->threads, pool->n_started);
    struct job *job = &pool->jobs[(atomic_load(&pool->newest) + 1) % JOBS];
    finish(pool, job);
    job->task = task;
    job->context = context;
    job->first = first;
    job->most = most;
    share_out(job, n_tasks, pool->n_started + 1);
    atomic_store_explicit(&job->state, OPEN, memory_order_release);
    wake_workers(pool);
    return job;
}

void smri_pool_run_ranges(smri_pool *pool, size_t n_tasks, size_t most, smri_range_task task, void *context) {
    for (size_t i = 0; i < smri_chunk_count(n_tasks, JOB_TASKS_MAX); i++) {
        const size_t first = i * JOB_TASKS_MAX, end = smri_chunk_end(n_tasks, JOB_TASKS_MAX, i);
        struct job *job = post(pool, first, end - first, most, task, context);
        if (job != NULL) finish(pool, job);
    }
}

static size_t tasks_left(const smri_pool *pool, const struct job *job) {
    size_t left = 0;
    for (size_t i = 0; i <= pool->n_started; i++) left += left_in(&job->shares[i]);
    return left;
}

/* Of every share one task is spared; then the caller takes its own, unless it is the last one and somebody is there to
 * take it. */
void smri_pool_begin_ranges(smri_pool *pool, size_t n_tasks, size_t most, smri_range_task task, void *context) {
    const size_t first = n_tasks > 0 ? (n_tasks - 1) / JOB_TASKS_MAX * JOB_TASKS_MAX : 0; /* the last job is begun */
    smri_pool_run_ranges(pool, first, most, task, context);
    struct job *job = post(pool, first, n_tasks - first, most, task, context);
    if (job == NULL) return;
    take_tasks(pool, job, 0, 1);
    size_t begin, end;
    const bool is_alone = atomic_load(&job->state) == OPEN;
    if (is_alone)
        take_tasks(pool, job, 0, 0);
    else if (tasks_left(pool, job) > 1 && take(&job->shares[0], false, 1, 0, &begin, &end))
        run_range(job, begin, end, 0);
    if (tasks_left(pool, job) == 0) atomic_fetch_and(&job->state, ~OPEN);
}

unsigned smri_pool_begun(const smri_pool *pool) { return pool != NULL ? atomic_load(&pool->newest) : 0; }

void smri_pool_finish(smri_pool *pool, unsigned begun) {
    if (pool == NULL) return;
    const unsigned newest = atomic_load(&pool->newest);
    for (unsigned i = JOBS; i-- > 0;)
        if ((int)(begun - (newest - i)) >= 0) finish(pool, &pool->jobs[(newest - i) % JOBS]);
}

struct single {
    smri_task task;
    void *context;
};

static void run_single(void *context, size_t begin, size_t end, size_t worker) {
    const struct single *single = context;
    single->task(single->context, begin, worker);
}

void smri_pool_run(smri_pool *pool, size_t n_tasks, smri_task task, void *context) {
    smri_pool_run_ranges(pool, n_tasks, 1, run_single, &(struct single){task, context});
}
