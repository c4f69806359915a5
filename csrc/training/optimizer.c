/* The optimizers' passes on the pool: pieces of a fixed size, sums of pieces added in ascending order. */
#include "smri/optimizer.h"

#include <assert.h>
#include <math.h>

#include "kernels/kernels.h"

/* 64 KiB of each of up to six arrays. */
#define GRAIN ((size_t)1 << 14)
/* Partial sums of a norm: pieces grow beyond GRAIN when there would be more. */
#define MAX_SUMS 1024

struct step_job {
    float *weights, *m, *v; /* v: AdamW's */
    const float *start, *gradients;
    struct smri_sgd_constants sgd;
    struct smri_adamw_constants adamw;
    size_t n;
};

static void step_task(void *context, size_t index, size_t worker) {
    const struct step_job *job = context;
    const struct smri_optimizer_kernels *kernels = &smri_kernels_get()->optimizer;
    const size_t first = index * GRAIN, n = smri_chunk_end(job->n, GRAIN, index) - first;
    float *w = job->weights + first, *m = job->m != NULL ? job->m + first : NULL;
    const float *start = job->start + first, *g = job->gradients + first;
    if (job->v != NULL) kernels->adamw(w, m, job->v + first, start, g, &job->adamw, n);
    else kernels->sgd(w, m, start, g, &job->sgd, n);
}

void smri_sgd_step(float *weights, float *m, const float *gradients, const struct smri_sgd *options, size_t n,
                   smri_pool *pool) {
    assert(m != NULL || options->momentum == 0.0f);
    struct step_job job = {.weights = weights, .gradients = gradients, .n = n};
    job.m = options->momentum != 0.0f ? m : NULL;
    job.start = options->start != NULL ? options->start : weights;
    job.sgd = (struct smri_sgd_constants){.lr = options->lr,
                                          .momentum = options->momentum,
                                          .decay = options->weight_decay,
                                          .nesterov = options->nesterov,
                                          .stream = smri_is_streamed(n * sizeof(float))};
    smri_pool_run(pool, smri_chunk_count(n, GRAIN), step_task, &job);
}

void smri_adamw_step(float *weights, float *m, float *v, const float *gradients, const struct smri_adamw *options,
                     size_t n, smri_pool *pool) {
    assert(options->step >= 1);
    const double lr = options->lr, beta1 = options->beta1, beta2 = options->beta2;
    struct step_job job = {.weights = weights, .m = m, .v = v, .gradients = gradients, .n = n};
    job.start = options->start != NULL ? options->start : weights;
    job.adamw = (struct smri_adamw_constants){
        .one_minus_beta1 = (float)(1.0 - beta1),
        .beta2 = (float)beta2,
        .one_minus_beta2 = (float)(1.0 - beta2),
        .keep = (float)(1.0 - lr * options->weight_decay),
        .rate = (float)(lr / (1.0 - pow(beta1, (double)options->step))),
        .root = (float)(1.0 / sqrt(1.0 - pow(beta2, (double)options->step))),
        .eps = (float)options->eps,
        .stream = smri_is_streamed(n * sizeof(float)),
    };
    smri_pool_run(pool, smri_chunk_count(n, GRAIN), step_task, &job);
}

struct norm_job {
    const float *gradients, *weights;
    float eta;
    size_t n, grain;
    double sums[MAX_SUMS];
};

static void norm_task(void *context, size_t index, size_t worker) {
    struct norm_job *job = context;
    const size_t first = index * job->grain, n = smri_chunk_end(job->n, job->grain, index) - first;
    job->sums[index] = smri_kernels_get()->optimizer.norm2(
        job->gradients + first, job->weights != NULL ? job->weights + first : NULL, job->eta, n);
}

double smri_gradient_norm2(const float *gradients, const float *weights, bool adaptive, float eta, size_t n,
                           smri_pool *pool) {
    struct norm_job job = {gradients, adaptive ? weights : NULL, eta, n, GRAIN, {0}};
    if (smri_chunk_count(n, GRAIN) > MAX_SUMS) job.grain = smri_chunk_count(n, MAX_SUMS);
    const size_t count = smri_chunk_count(n, job.grain);
    smri_pool_run(pool, count, norm_task, &job);
    double total = 0.0;
    for (size_t i = 0; i < count; i++) total += job.sums[i];
    return total;
}

struct lars_job {
    float *weights, *m;
    const float *start, *gradients;
    float lr, momentum, decay, rate;
    size_t n;
};

/* Plain code, which the compiler vectorises: the pass is bound by memory. */
static void lars_task(void *context, size_t index, size_t worker) {
    const struct lars_job *job = context;
    const size_t end = smri_chunk_end(job->n, GRAIN, index);
    for (size_t i = index * GRAIN; i < end; i++) {
        const float w = job->start[i], step = job->rate * (job->gradients[i] + job->decay * w);
        job->m[i] = job->momentum * job->m[i] + step;
        job->weights[i] = w - job->lr * job->m[i];
    }
}

void smri_lars_step(float *weights, float *m, const float *gradients, const struct smri_lars *options, size_t n,
                    smri_pool *pool) {
    const float *start = options->start != NULL ? options->start : weights;
    const double decay = options->weight_decay;
    const double of_weights = sqrt(smri_gradient_norm2(start, NULL, false, 0.0f, n, pool));
    const double of_gradients = sqrt(smri_gradient_norm2(gradients, NULL, false, 0.0f, n, pool));
    const bool adapts = of_weights > 0.0 && of_gradients > 0.0;
    const double rate = adapts ? options->trust * of_weights / (of_gradients + decay * of_weights) : 1.0;
    struct lars_job job = {.weights = weights, .m = m, .start = start, .gradients = gradients, .n = n};
    job.lr = options->lr, job.momentum = options->momentum, job.decay = options->weight_decay, job.rate = (float)rate;
    smri_pool_run(pool, smri_chunk_count(n, GRAIN), lars_task, &job);
}

struct perturb_job {
    float *weights, *copy;
    const float *gradients;
    float step, eta;
    bool adaptive;
    size_t n;
};

static void perturb_task(void *context, size_t index, size_t worker) {
    const struct perturb_job *job = context;
    const size_t first = index * GRAIN, n = smri_chunk_end(job->n, GRAIN, index) - first;
    smri_kernels_get()->optimizer.perturb(job->weights + first, job->copy != NULL ? job->copy + first : NULL,
                                          job->gradients + first, job->step, job->adaptive, job->eta,
                                          smri_is_streamed(job->n * sizeof(float)), n);
}

void smri_sam_perturb(float *weights, float *copy, const float *gradients, float rho, double norm, bool adaptive, float eta,
                      size_t n, smri_pool *pool) {
    struct perturb_job job = {weights, copy, gradients, (float)((double)rho / (norm + 1e-12)), eta, adaptive, n};
    smri_pool_run(pool, smri_chunk_count(n, GRAIN), perturb_task, &job);
}
