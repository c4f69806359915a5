/* The convolution by its definition, one sum after the other: what every other method is compared with. One task is one
 * image (forward, backward-data) or one input channel of one block of weights. */
#include <string.h>

#include "layers/conv2d_methods.h"

struct job {
    const struct smri_conv2d *shape;
    size_t P, Q;
    float *out;
    const float *a, *b;
    bool accumulate;
};

static bool supports(enum smri_conv2d_direction direction, const struct smri_conv2d *shape) {
    (void)direction, (void)shape;
    return true;
}

static size_t workspace_bytes(enum smri_conv2d_direction direction, const struct smri_conv2d *shape, size_t n_threads) {
    (void)direction, (void)shape, (void)n_threads;
    return 0;
}

static size_t weight_index(const struct smri_conv2d *s, size_t k, size_t r, size_t q, size_t c) {
    const size_t block = k / SMRI_CONV2D_BLOCK, lane = k % SMRI_CONV2D_BLOCK;
    return (((block * s->R + r) * s->S + q) * s->C + c) * SMRI_CONV2D_BLOCK + lane;
}

/* Loops over the taps (r, t) and pixels (h, w) of x that the window at output pixel (p, q) covers; negative coordinates
 * wrap to huge ones. */
#define FOR_WINDOW(s, p, q, r, t, h, w)                                                       \
    for (size_t r = 0, h = (p) * (s)->stride - (s)->pad; r < (s)->R; r++, h++)                \
        for (size_t t = 0, w = (q) * (s)->stride - (s)->pad; t < (s)->S && h < (s)->H; t++, w++) \
            if (w < (s)->W)

static void forward_image(void *context, size_t n, size_t worker) {
    (void)worker;
    const struct job *job = context;
    const struct smri_conv2d *s = job->shape;
    for (size_t p = 0; p < job->P; p++)
        for (size_t q = 0; q < job->Q; q++)
            for (size_t k = 0; k < s->K; k++) {
                float sum = 0.0f;
                FOR_WINDOW(s, p, q, r, t, h, w)
                    for (size_t c = 0; c < s->C; c++)
                        sum += job->a[((n * s->H + h) * s->W + w) * s->C + c] * job->b[weight_index(s, k, r, t, c)];
                job->out[((n * job->P + p) * job->Q + q) * s->K + k] = sum;
            }
}

static void backward_data_image(void *context, size_t n, size_t worker) {
    (void)worker;
    const struct job *job = context;
    const struct smri_conv2d *s = job->shape;
    float *dx = job->out + n * s->H * s->W * s->C;
    if (!job->accumulate) memset(dx, 0, s->H * s->W * s->C * sizeof *dx);
    for (size_t p = 0; p < job->P; p++)
        for (size_t q = 0; q < job->Q; q++)
            for (size_t k = 0; k < s->K; k++) {
                const float dy = job->a[((n * job->P + p) * job->Q + q) * s->K + k];
                FOR_WINDOW(s, p, q, r, t, h, w)
                    for (size_t c = 0; c < s->C; c++)
                        dx[(h * s->W + w) * s->C + c] += dy * job->b[weight_index(s, k, r, t, c)];
            }
}

static void backward_weights_channel(void *context, size_t index, size_t worker) {
    (void)worker;
    const struct job *job = context;
    const struct smri_conv2d *s = job->shape;
    const size_t k = index / s->C, c = index % s->C; /* k runs over the padding too */
    for (size_t r = 0; r < s->R; r++)
        for (size_t t = 0; t < s->S; t++) job->out[weight_index(s, k, r, t, c)] = 0.0f;
    if (k >= s->K) return;
    for (size_t n = 0; n < s->N; n++)
        for (size_t p = 0; p < job->P; p++)
            for (size_t q = 0; q < job->Q; q++) {
                const float dy = job->b[((n * job->P + p) * job->Q + q) * s->K + k];
                FOR_WINDOW(s, p, q, r, t, h, w)
                    job->out[weight_index(s, k, r, t, c)] += dy * job->a[((n * s->H + h) * s->W + w) * s->C + c];
            }
}

static struct job new_job(float *out, const float *a, const float *b, bool accumulate, const struct smri_conv2d *shape) {
    return (struct job){shape, smri_conv2d_out_rows(shape), smri_conv2d_out_cols(shape), out, a, b, accumulate};
}

static void forward(float *y, const float *x, const float *w, const struct smri_conv2d *shape, void *workspace,
                    smri_pool *pool) {
    (void)workspace;
    struct job job = new_job(y, x, w, false, shape);
    smri_pool_run(pool, shape->N, forward_image, &job);
}

static void backward_data(float *dx, const float *dy, const float *w, bool accumulate, const struct smri_conv2d *shape,
                          void *workspace, smri_pool *pool) {
    (void)workspace;
    struct job job = new_job(dx, dy, w, accumulate, shape);
    smri_pool_run(pool, shape->N, backward_data_image, &job);
}

static void backward_weights(float *dw, const float *x, const float *dy, const struct smri_conv2d *shape, void *workspace,
                             smri_pool *pool) {
    (void)workspace;
    struct job job = new_job(dw, x, dy, false, shape);
    smri_pool_run(pool, smri_conv2d_blocks(shape->K) * SMRI_CONV2D_BLOCK * shape->C, backward_weights_channel, &job);
}

const struct smri_conv2d_ops smri_conv2d_reference_ops = {
    "reference", supports, workspace_bytes, forward, backward_data, backward_weights,
};
