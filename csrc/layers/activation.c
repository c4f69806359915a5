/* ReLU over flat arrays, in pieces of a fixed size. */
#include "smri/activation.h"

#include "kernels/kernels.h"

/* 128 KiB of each array: a few microseconds of memory traffic, long beside the hand-out of a task. */
#define GRAIN ((size_t)1 << 15)

struct relu_job {
    float *out;
    const float *in, *y; /* y: backward only */
    size_t n;
};

static void relu_task(void *context, size_t index, size_t worker) {
    const struct relu_job *job = context;
    const struct smri_elementwise_kernels *kernels = &smri_kernels_get()->elementwise;
    const size_t first = index * GRAIN, n = smri_chunk_end(job->n, GRAIN, index) - first;
    if (job->y == NULL) kernels->relu_fwd(job->out + first, job->in + first, n);
    else kernels->relu_bwd(job->out + first, job->in + first, job->y + first, n);
}

void smri_relu_forward(float *y, const float *x, size_t n, smri_pool *pool) {
    smri_pool_run(pool, smri_chunk_count(n, GRAIN), relu_task, &(struct relu_job){y, x, NULL, n});
}

void smri_relu_backward(float *dx, const float *dy, const float *y, size_t n, smri_pool *pool) {
    smri_pool_run(pool, smri_chunk_count(n, GRAIN), relu_task, &(struct relu_job){dx, dy, y, n});
}
