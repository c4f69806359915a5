/* The convolution by its definition, one sum after the other: what every other method is compared with. One task is one
 * image (forward, backward-data) or one input channel of one block of weights. In bf16 operands are rounded as they are
 * read, sums are fp32 and results are rounded once. */
#include <string.h>

#include "kernels/elem.h"
#include "layers/conv2d/methods.h"

struct job {
    const struct smri_conv2d *shape;
    size_t P, Q;
    void *out;
    const void *a;
    const void *b; /* weights (forward, backward-data), or dy */
    bool accumulate;
};

static bool supports(enum smri_conv2d_direction direction, const struct smri_conv2d *shape) {
    return true;
}

static struct smri_workspace_bytes workspace_bytes(enum smri_conv2d_direction direction, const struct smri_conv2d *shape) {
    return (struct smri_workspace_bytes){0, 0};
}

static float load(const struct job *job, const void *activations, size_t i) {
    return number_at(activations, i, job->shape->precision);
}

static float load_weight(const struct job *job, size_t i) {
    const float weight = ((const float *)job->b)[i];
    return job->shape->precision == SMRI_BF16 ? smri_bf16_to_float(smri_bf16_from_float(weight)) : weight;
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
    const struct job *job = context;
    const struct smri_conv2d *s = job->shape;
    for (size_t p = 0; p < job->P; p++)
        for (size_t q = 0; q < job->Q; q++)
            for (size_t k = 0; k < s->K; k++) {
                float sum = 0.0f;
                FOR_WINDOW(s, p, q, r, t, h, w)
                    for (size_t c = 0; c < s->C; c++)
                        sum += load(job, job->a, ((n * s->H + h) * s->W + w) * s->C + c) *
                               load_weight(job, weight_index(s, k, r, t, c));
                set_number(job->out, ((n * job->P + p) * job->Q + q) * s->K + k, sum, s->precision);
            }
}

/* The output coordinate whose window reads input coordinate i at tap r; false if there is none. */
static bool reads(const struct smri_conv2d *s, size_t i, size_t r, size_t end, size_t *p) {
    const size_t shifted = i + s->pad - r; /* negative ones wrap to huge ones */
    *p = shifted / s->stride;
    return i + s->pad >= r && shifted % s->stride == 0 && *p < end;
}

static float gradient(const struct job *job, size_t n, size_t h, size_t w, size_t c) {
    const struct smri_conv2d *s = job->shape;
    float sum = 0.0f;
    for (size_t r = 0, p, q; r < s->R; r++) {
        if (!reads(s, h, r, job->P, &p)) continue;
        for (size_t t = 0; t < s->S; t++) {
            if (!reads(s, w, t, job->Q, &q)) continue;
            for (size_t k = 0; k < s->K; k++)
                sum += load(job, job->a, ((n * job->P + p) * job->Q + q) * s->K + k) *
                       load_weight(job, weight_index(s, k, r, t, c));
        }
    }
    return sum;
}

static void backward_data_image(void *context, size_t n, size_t worker) {
    const struct job *job = context;
    const struct smri_conv2d *s = job->shape;
    for (size_t h = 0; h < s->H; h++)
        for (size_t w = 0; w < s->W; w++)
            for (size_t c = 0; c < s->C; c++) {
                const size_t i = ((n * s->H + h) * s->W + w) * s->C + c;
                const float dx = gradient(job, n, h, w, c);
                set_number(job->out, i, job->accumulate ? load(job, job->out, i) + dx : dx, s->precision);
            }
}

static void backward_weights_channel(void *context, size_t index, size_t worker) {
    const struct job *job = context;
    const struct smri_conv2d *s = job->shape;
    const size_t k = index / s->C, c = index % s->C; /* k runs over the padding too */
    float *dw = job->out;
    for (size_t r = 0; r < s->R; r++)
        for (size_t t = 0; t < s->S; t++) dw[weight_index(s, k, r, t, c)] = 0.0f;
    if (k >= s->K) return;
    for (size_t n = 0; n < s->N; n++)
        for (size_t p = 0; p < job->P; p++)
            for (size_t q = 0; q < job->Q; q++) {
                const float dy = load(job, job->b, ((n * job->P + p) * job->Q + q) * s->K + k);
                FOR_WINDOW(s, p, q, r, t, h, w)
                    dw[weight_index(s, k, r, t, c)] += dy * load(job, job->a, ((n * s->H + h) * s->W + w) * s->C + c);
            }
}

static struct job new_job(const struct smri_conv2d_call *call, const void *a, const void *b) {
    const struct smri_conv2d *shape = call->shape;
    return (struct job){shape, smri_conv2d_out_rows(shape), smri_conv2d_out_cols(shape), call->out, a, b, call->accumulate};
}

static void forward(const struct smri_conv2d_call *call) {
    struct job job = new_job(call, call->x, call->w);
    smri_pool_run(call->pool, call->shape->N, forward_image, &job);
}

static void backward_data(const struct smri_conv2d_call *call) {
    struct job job = new_job(call, call->dy, call->w);
    smri_pool_run(call->pool, call->shape->N, backward_data_image, &job);
}

static void backward_weights(const struct smri_conv2d_call *call) {
    struct job job = new_job(call, call->x, call->dy);
    const size_t channels = smri_conv2d_blocks(call->shape->K) * SMRI_CONV2D_BLOCK * call->shape->C;
    smri_pool_run(call->pool, channels, backward_weights_channel, &job);
}

const struct smri_conv2d_ops smri_conv2d_reference_ops = {
    .name = "reference", .supports = supports, .workspace_bytes = workspace_bytes, .forward = forward,
    .backward_data = backward_data, .backward_weights_begin = backward_weights,
};
