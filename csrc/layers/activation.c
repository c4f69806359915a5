/* ReLU over flat arrays, in pieces of a fixed size. The head is small: plain loops, which compilers vectorise, do. */
#include "smri/activation.h"

/* 128 KiB of each array: a few microseconds of memory traffic, long beside the hand-out of a task. */
#define GRAIN ((size_t)1 << 15)

struct relu_job {
    float *out;
    const float *in, *y; /* y: backward only */
    size_t n;
};

static void relu_task(void *context, size_t index, size_t worker) {
    const struct relu_job *job = context;
    const size_t first = index * GRAIN, end = smri_chunk_end(job->n, GRAIN, index);
    if (job->y == NULL)
        for (size_t i = first; i < end; i++) job->out[i] = job->in[i] < 0.0f ? 0.0f : job->in[i];
    else
        for (size_t i = first; i < end; i++) job->out[i] = job->y[i] > 0.0f ? job->in[i] : 0.0f;
}

void smri_relu_forward(float *y, const float *x, size_t n, smri_pool *pool) {
    smri_pool_run(pool, smri_chunk_count(n, GRAIN), relu_task, &(struct relu_job){y, x, NULL, n});
}

void smri_relu_backward(float *dx, const float *dy, const float *y, size_t n, smri_pool *pool) {
    smri_pool_run(pool, smri_chunk_count(n, GRAIN), relu_task, &(struct relu_job){dx, dy, y, n});
}
