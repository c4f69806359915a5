/* Pooling forward by lists of taps: for each pixel the layer finds the places of the window that exist, and the kernel
 * reduces that many vectors of C channels. The padding is never read and never wins. Backward of the maximum is a gather,
 * row by row (each input pixel asks the windows that cover it), so rows can be cut among threads and sums keep their
 * order. */
#include "smri/pooling.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "kernels/elem.h"
#include "kernels/kernels.h"
#include "smri/memory.h"

smri_status smri_maxpool2d_check(const struct smri_maxpool2d *shape) {
    if (shape->window == 0 || shape->window > SMRI_MAX_WINDOW || shape->stride == 0 || shape->pad >= shape->window)
        return smri_fail(SMRI_ARGUMENT,
                         "max pool: expected a window of 1 to %d, a stride above 0 and a pad below the window, got %zu, %zu "
                         "and %zu",
                         SMRI_MAX_WINDOW, shape->window, shape->stride, shape->pad);
    if (shape->H == 0 || shape->W == 0 || shape->C == 0)
        return smri_fail(SMRI_SHAPE, "max pool: expected no empty dimension, got %zu rows, %zu columns and %zu channels",
                         shape->H, shape->W, shape->C);
    if (shape->H > SIZE_MAX / 4 || shape->W > SIZE_MAX / 4)
        return smri_fail(SMRI_MEMORY, "max pool: an image of %zu x %zu is too large", shape->H, shape->W);
    if (shape->H + 2 * shape->pad < shape->window || shape->W + 2 * shape->pad < shape->window)
        return smri_fail(SMRI_SHAPE, "max pool: the window of %zu is larger than the image of %zu x %zu padded by %zu",
                         shape->window, shape->H, shape->W, shape->pad);
    size_t bytes;
    return smri_size_product(&bytes, "max pool", 5, (size_t[]){shape->N, shape->H, shape->W, shape->C, sizeof(float)});
}

static size_t out_size(size_t in, const struct smri_maxpool2d *shape) {
    assert(shape->window > 0 && shape->stride > 0 && shape->pad < shape->window && in + 2 * shape->pad >= shape->window);
    return (in + 2 * shape->pad - shape->window) / shape->stride + 1;
}

size_t smri_maxpool2d_out_rows(const struct smri_maxpool2d *shape) { return out_size(shape->H, shape); }
size_t smri_maxpool2d_out_cols(const struct smri_maxpool2d *shape) { return out_size(shape->W, shape); }

/* Numbers of the larger side, x or dx, that a task covers, in whole rows. */
#define GRAIN ((size_t)1 << 15)

struct maxpool_job {
    const struct smri_maxpool2d *shape;
    size_t P, Q;
    size_t rows, rows_a_task; /* of the output, in all images */
    void *out;             /* y, or dx */
    const void *in;        /* x, or dy */
    uint8_t *argmax;       /* forward; may be NULL */
    const uint8_t *places; /* backward: the same array, read */
};

struct taps {
    const void *value[SMRI_MAX_TAPS];
    uint8_t place[SMRI_MAX_TAPS];
    size_t count;
};

/* The half-open range of window places r for which `origin + r - pad` is inside [0, size). */
static void inside(size_t *first, size_t *last, size_t origin, size_t size, const struct smri_maxpool2d *shape) {
    *first = origin < shape->pad ? shape->pad - origin : 0;
    const size_t room = size + shape->pad - origin;
    *last = room < shape->window ? room : shape->window;
}

static void forward_row(const struct maxpool_job *job, size_t index) {
    const struct smri_maxpool2d *shape = job->shape;
    const size_t n = index / job->P, p = index % job->P, C = shape->C;
    const enum smri_precision precision = shape->precision;
    const void *image = smri_elem_const(job->in, n * shape->H * shape->W * C, precision);
    const struct smri_pool2d_kernels *kernels = &smri_kernels_get()->pool2d[precision];
    size_t r_first, r_last, s_first, s_last;
    inside(&r_first, &r_last, p * shape->stride, shape->H, shape);
    struct taps taps;
    for (size_t q = 0; q < job->Q; q++) {
        inside(&s_first, &s_last, q * shape->stride, shape->W, shape);
        taps.count = 0;
        for (size_t r = r_first; r < r_last; r++) {
            const size_t h = p * shape->stride + r - shape->pad;
            for (size_t s = s_first; s < s_last; s++) {
                const size_t pixel = h * shape->W + q * shape->stride + s - shape->pad;
                taps.value[taps.count] = smri_elem_const(image, pixel * C, precision);
                taps.place[taps.count++] = (uint8_t)(r * shape->window + s);
            }
        }
        const size_t out = (index * job->Q + q) * C;
        uint8_t *argmax = job->argmax != NULL ? job->argmax + out : NULL;
        kernels->max_fwd(smri_elem(job->out, out, precision), argmax, taps.value, taps.place, taps.count, C);
    }
}

static void forward_task(void *context, size_t index, size_t worker) {
    const struct maxpool_job *job = context;
    const size_t end = smri_chunk_end(job->rows, job->rows_a_task, index);
    for (size_t row = index * job->rows_a_task; row < end; row++) forward_row(job, row);
}

static void run_rows(struct maxpool_job *job, size_t rows, size_t numbers_a_row, smri_task task, smri_pool *pool) {
    job->rows = rows;
    job->rows_a_task = numbers_a_row < GRAIN ? GRAIN / numbers_a_row : 1;
    smri_pool_run(pool, smri_chunk_count(rows, job->rows_a_task), task, job);
}

void smri_maxpool2d_forward(void *y, uint8_t *argmax, const void *x, const struct smri_maxpool2d *shape,
                            smri_pool *pool) {
    assert(shape->window <= SMRI_MAX_WINDOW);
    struct maxpool_job job = {.shape = shape, .out = y, .in = x, .argmax = argmax};
    job.P = smri_maxpool2d_out_rows(shape);
    job.Q = smri_maxpool2d_out_cols(shape);
    const size_t rows_read = shape->stride < shape->H ? shape->stride : shape->H; /* a stride may be any number */
    run_rows(&job, shape->N * job.P, rows_read * shape->W * shape->C, forward_task, pool);
}

static void backward_row(const struct maxpool_job *job, size_t index) {
    const struct smri_maxpool2d *shape = job->shape;
    const size_t n = index / shape->H, h = index % shape->H, C = shape->C;
    const enum smri_precision precision = shape->precision;
    const struct smri_windows rows = {shape->window, shape->stride, shape->pad, job->P};
    struct smri_max_row row = {.W = shape->W, .C = C, .columns = {shape->window, shape->stride, shape->pad, job->Q}};
    row.dx = smri_elem(job->out, index * shape->W * C, precision);
    row.stream = smri_is_streamed(shape->N * shape->H * shape->W * C * smri_precision_bytes(precision));
    size_t first = 0, last = 0;
    smri_windows_advance(&first, &last, h, &rows);
    for (size_t p = first; p < last; p++) {
        const size_t from = (n * job->P + p) * job->Q * C, i = row.n_rows++;
        row.dy[i] = smri_elem_const(job->in, from, precision);
        row.place[i] = job->places + from;
        row.first_place[i] = (h + shape->pad - p * shape->stride) * shape->window;
    }
    smri_kernels_get()->pool2d[precision].max_bwd(&row);
}

static void backward_task(void *context, size_t index, size_t worker) {
    const struct maxpool_job *job = context;
    const size_t end = smri_chunk_end(job->rows, job->rows_a_task, index);
    for (size_t row = index * job->rows_a_task; row < end; row++) backward_row(job, row);
}

void smri_maxpool2d_backward(void *dx, const void *dy, const uint8_t *argmax, const struct smri_maxpool2d *shape,
                             smri_pool *pool) {
    assert(shape->window <= SMRI_MAX_WINDOW);
    struct maxpool_job job = {.shape = shape, .out = dx, .in = dy, .places = argmax};
    job.P = smri_maxpool2d_out_rows(shape);
    job.Q = smri_maxpool2d_out_cols(shape);
    run_rows(&job, shape->N * shape->H, shape->W * shape->C, backward_task, pool);
}

struct avgpool_job {
    void *out;
    const void *in;
    size_t pixels, C;
    enum smri_precision precision;
};

static void average_image(void *context, size_t n, size_t worker) {
    const struct avgpool_job *job = context;
    const void *x = smri_elem_const(job->in, n * job->pixels * job->C, job->precision);
    smri_kernels_get()->pool2d[job->precision].column_sum((float *)job->out + n * job->C, x, 1.0f / (float)job->pixels,
                                                          job->pixels, job->C, job->C);
}

void smri_avgpool_forward(float *y, const void *x, size_t N, size_t pixels, size_t C, enum smri_precision precision,
                          smri_pool *pool) {
    assert(pixels > 0);
    struct avgpool_job job = {y, x, pixels, C, precision};
    smri_pool_run(pool, N, average_image, &job);
}

static void spread_image(void *context, size_t n, size_t worker) {
    const struct avgpool_job *job = context;
    const float factor = 1.0f / (float)job->pixels;
    const float *dy = (const float *)job->in + n * job->C;
    void *dx = smri_elem(job->out, n * job->pixels * job->C, job->precision);
    for (size_t c = 0; c < job->C; c++) set_number(dx, c, factor * dy[c], job->precision);
    for (size_t pixel = 1; pixel < job->pixels; pixel++)
        memcpy(smri_elem(dx, pixel * job->C, job->precision), dx, job->C * smri_precision_bytes(job->precision));
}

void smri_avgpool_backward(void *dx, const float *dy, size_t N, size_t pixels, size_t C, enum smri_precision precision,
                           smri_pool *pool) {
    struct avgpool_job job = {dx, dy, pixels, C, precision};
    smri_pool_run(pool, N, spread_image, &job);
}
