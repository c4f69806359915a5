/* The thread pool: a fixed set of threads that run the tasks 0 .. n-1 of jobs.
 *
 * Work is cut by the shape of the problem, never by the number of threads, so a task's result must not depend on which
 * worker runs it; then the same input gives the same bits with any pool. The calling thread is worker 0 and takes part.
 * A pool belongs to one caller at a time and is not reentrant. After fork() the child's first job starts new threads. */
#ifndef SMRI_POOL_H
#define SMRI_POOL_H

#include <stdbool.h>
#include <stddef.h>

#include "smri/api.h"
#include "smri/status.h"

SMRI_API_BEGIN

#define SMRI_MAX_THREADS 256

typedef struct smri_pool smri_pool;

/* A task: `index` in [0, n_tasks), `worker` in [0, smri_pool_size). */
typedef void (*smri_task)(void *context, size_t index, size_t worker);

/* Tasks [begin, end), never empty, in any order or all at once. */
typedef void (*smri_range_task)(void *context, size_t begin, size_t end, size_t worker);

/* Processors this process may use: the affinity mask, cut down by the cgroup's CPU quota; at least 1. */
size_t smri_cpu_count(void);

/* The least CPU quota of the cgroups that `membership` (as /proc/self/cgroup) names below `mount`, and of all above them, in
 * whole processors, at least 1; SIZE_MAX without one. */
size_t smri_cgroup_cpus(const char *membership, const char *mount);

/* n_threads = 0 means smri_cpu_count(). Free with smri_pool_destroy (NULL is fine). */
smri_status smri_pool_create(smri_pool **out, size_t n_threads);
void smri_pool_destroy(smri_pool *pool);

/* Whether pools keep their workers off the caller's processor by setting their affinity (the default). Holds for threads that
 * are started from now on; for whoever places threads himself (taskset, a batch system, another library's pinning). */
void smri_pool_set_pinning(bool pins);

/* Threads of the pool, the caller included; a NULL pool is one thread. */
size_t smri_pool_size(const smri_pool *pool);

/* Runs task(context, i, worker) for every i in [0, n_tasks), and returns when all are done. Worker w of W
 * begins with tasks n_tasks * w / W and up, so let neighbouring tasks write neighbouring results: then the next job finds
 * them in the caches of the worker that needs them. A NULL pool runs all of them in the calling thread. */
void smri_pool_run(smri_pool *pool, size_t n_tasks, smri_task task, void *context);

/* The same for tasks that cost less side by side: ranges of `most` tasks, and of fewer and fewer towards the end, where small
 * ones let all workers finish together (guided self-scheduling, Polychronopoulos and Kuck, 1987, within each part). */
void smri_pool_run_ranges(smri_pool *pool, size_t n_tasks, size_t most, smri_range_task task, void *context);

/* The same, but it may return while workers still run. Keep `context` valid, and start only independent jobs, until
 * smri_pool_finish. */
void smri_pool_begin_ranges(smri_pool *pool, size_t n_tasks, size_t most, smri_range_task task, void *context);

/* How many jobs have begun (a number that may wrap); and waits until the first `begun` of them are done. */
unsigned smri_pool_begun(const smri_pool *pool);
void smri_pool_finish(smri_pool *pool, unsigned begun);

/* The half-open range of part `index` when n items are cut into pieces of `grain`: a helper for tasks. */
static inline size_t smri_chunk_count(size_t n, size_t grain) { return n / grain + (n % grain != 0); }
static inline size_t smri_chunk_end(size_t n, size_t grain, size_t index) {
    return n - index * grain < grain ? n : (index + 1) * grain;
}

SMRI_API_END

#endif
