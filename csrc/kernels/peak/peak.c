/* Many short jobs, divided as an operation's are. The best of them is the machine's peak: a busy neighbour or a clock
 * that has not risen yet spoils some of them, not all. Their mean is what was to be had meanwhile. */
#define _POSIX_C_SOURCE 200809L
#include "smri/peak.h"

#include <time.h>

#include "kernels/kernels.h"

#define JOB_S 0.001 /* long beside waking a thread (some 10 us), short beside the time slice of a busy machine (3 ms) */
#define PARTS 32    /* of each thread; who is done helps the others */

struct job {
    double (*run)(size_t rounds);
    size_t rounds;
};

static void run_rounds(void *context, size_t index, size_t worker) {
    const struct job *job = context;
    job->run(job->rounds);
}

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

struct smri_rates smri_peak_flops(enum smri_precision precision, double seconds, smri_pool *pool) {
    const struct smri_peak_kernels *kernels = &smri_kernels_get()->peak;
    struct job job = {precision == SMRI_BF16 ? kernels->bf16 : kernels->fp32, 32};
    const size_t n_parts = PARTS * smri_pool_size(pool);
    const double per_round = job.run(1) * (double)n_parts;
    double best = 0.0, operations = 0.0, time_s = 0.0;
    for (const double end = now_s() + seconds; operations == 0.0 || now_s() < end;) { /* one job at least */
        const double before = now_s();
        smri_pool_run(pool, n_parts, run_rounds, &job);
        const double elapsed = now_s() - before;
        if (elapsed < JOB_S) {
            job.rounds *= 2;
            continue;
        }
        const double done = per_round * (double)job.rounds;
        if (done / elapsed > best) best = done / elapsed;
        operations += done;
        time_s += elapsed;
    }
    return (struct smri_rates){best, time_s > 0.0 ? operations / time_s : 0.0};
}
