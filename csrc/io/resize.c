/* Separable resizing: columns first into rows of the new width, then rows; an axis whose size stays is skipped. One task
 * an image. The uint8 path multiplies by weights rounded to 22 fractional bits (8 + 22 + 2 = 32: sign and sum fit) and
 * rounds to 8 bits after each axis. */
#include "smri/resize.h"

#include <stdlib.h>
#include <string.h>

#include "io/taps.h"
#include "smri/memory.h"

#define PRECISION_BITS 22
#define MAX_SIZE ((size_t)1 << 24)

struct axis {
    size_t n_in, n_out, taps;
    int32_t *first;  /* [n_out] */
    double *weights; /* [n_out][taps] */
    void *scaled;    /* the same as int32_t or float */
};

static void axis_free(struct axis *axis) {
    free(axis->first);
    free(axis->weights);
    free(axis->scaled);
}

static smri_status axis_init(struct axis *axis, size_t n_in, size_t n_out, bool fixed_point) {
    *axis = (struct axis){.n_in = n_in, .n_out = n_out, .taps = taps_count(n_in, n_out)};
    size_t count = 0;
    if (!smri_size_mul(n_out, axis->taps, &count) || count > SIZE_MAX / sizeof(double))
        return smri_fail(SMRI_MEMORY, "resize: the size overflows this machine's address range");
    axis->first = malloc(n_out * sizeof *axis->first);
    axis->weights = malloc(count * sizeof *axis->weights);
    axis->scaled = malloc(count * 4);
    if (axis->first == NULL || axis->weights == NULL || axis->scaled == NULL) {
        axis_free(axis);
        return smri_fail(SMRI_MEMORY, "resize: %zu weights refused by the system", count);
    }
    taps_fill(axis->first, axis->weights, n_in, n_out);
    for (size_t i = 0; i < count; i++) {
        if (fixed_point) ((int32_t *)axis->scaled)[i] = (int32_t)(axis->weights[i] * (1 << PRECISION_BITS) + 0.5);
        else ((float *)axis->scaled)[i] = (float)axis->weights[i];
    }
    return SMRI_OK;
}

struct job {
    void *out;
    const void *in;
    char *middle; /* one plane [H][cols][C] for each worker */
    size_t middle_bytes;
    const struct smri_resize *shape;
    struct axis columns, rows;
};

static uint8_t clip(int32_t sum) {
    const int32_t value = sum >> PRECISION_BITS;
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

/* out[o] = the sum over t of weights[w + t] in[i + t step], of bytes or of floats; `bytes` is a constant at every call. */
static inline void weigh(void *out, size_t o, const void *in, size_t i, size_t step, const struct axis *axis, size_t w,
                         bool bytes) {
    int32_t whole = 1 << (PRECISION_BITS - 1);
    float sum = 0.0f;
    for (size_t t = 0; t < axis->taps; t++) {
        if (bytes) whole += ((const int32_t *)axis->scaled)[w + t] * ((const uint8_t *)in)[i + t * step];
        else sum += ((const float *)axis->scaled)[w + t] * ((const float *)in)[i + t * step];
    }
    if (bytes) ((uint8_t *)out)[o] = clip(whole);
    else ((float *)out)[o] = sum;
}

static inline void columns(void *out, const void *in, const struct axis *axis, size_t H, size_t C, bool bytes) {
    for (size_t h = 0, o = 0; h < H; h++)
        for (size_t x = 0; x < axis->n_out; x++)
            for (size_t c = 0; c < C; c++, o++) {
                const size_t from = (h * axis->n_in + (size_t)axis->first[x]) * C + c;
                weigh(out, o, in, from, C, axis, x * axis->taps, bytes);
            }
}

static inline void rows(void *out, const void *in, const struct axis *axis, size_t stride, bool bytes) {
    for (size_t y = 0; y < axis->n_out; y++)
        for (size_t i = 0; i < stride; i++)
            weigh(out, y * stride + i, in, (size_t)axis->first[y] * stride + i, stride, axis, y * axis->taps, bytes);
}

static inline void resize_image(const struct job *job, size_t n, size_t worker, bool bytes) {
    const struct smri_resize *s = job->shape;
    const size_t item = bytes ? 1 : sizeof(float);
    const char *in = (const char *)job->in + n * s->H * s->W * s->C * item;
    char *out = (char *)job->out + n * s->rows * s->cols * s->C * item;
    char *middle = job->middle + worker * job->middle_bytes;
    if (s->rows == s->H && s->cols == s->W) memcpy(out, in, s->H * s->W * s->C * item);
    else if (s->rows == s->H) columns(out, in, &job->columns, s->H, s->C, bytes);
    else if (s->cols == s->W) rows(out, in, &job->rows, s->W * s->C, bytes);
    else {
        columns(middle, in, &job->columns, s->H, s->C, bytes);
        rows(out, middle, &job->rows, s->cols * s->C, bytes);
    }
}

static void resize_u8_task(void *context, size_t n, size_t worker) { resize_image(context, n, worker, true); }
static void resize_f32_task(void *context, size_t n, size_t worker) { resize_image(context, n, worker, false); }

static smri_status resize(void *out, const void *in, const struct smri_resize *shape, smri_pool *pool, size_t item) {
    const size_t sides[] = {shape->H, shape->W, shape->C, shape->rows, shape->cols};
    for (size_t i = 0; i < 5; i++)
        if (sides[i] == 0 || sides[i] > MAX_SIZE)
            return smri_fail(SMRI_SHAPE, "resize: expected sizes of 1 to %zu, got %zu x %zu x %zu to %zu x %zu", MAX_SIZE,
                             shape->H, shape->W, shape->C, shape->rows, shape->cols);
    struct job job = {.out = out, .in = in, .shape = shape};
    const size_t sizes[] = {shape->H, shape->cols, shape->C, item};
    smri_status status = smri_size_product(&job.middle_bytes, "resize", 4, sizes);
    if (status == SMRI_OK) status = axis_init(&job.columns, shape->W, shape->cols, item == 1);
    if (status != SMRI_OK) return status;
    if ((status = axis_init(&job.rows, shape->H, shape->rows, item == 1)) == SMRI_OK) {
        job.middle_bytes = smri_align(job.middle_bytes);
        job.middle = calloc(smri_pool_size(pool), job.middle_bytes);
        if (job.middle == NULL)
            status = smri_fail(SMRI_MEMORY, "resize: %zu bytes a thread refused by the system", job.middle_bytes);
        else smri_pool_run(pool, shape->N, item == 1 ? resize_u8_task : resize_f32_task, &job);
        free(job.middle);
        axis_free(&job.rows);
    }
    axis_free(&job.columns);
    return status;
}

smri_status smri_resize_u8(uint8_t *out, const uint8_t *in, const struct smri_resize *shape, smri_pool *pool) {
    return resize(out, in, shape, pool, 1);
}

smri_status smri_resize_f32(float *out, const float *in, const struct smri_resize *shape, smri_pool *pool) {
    return resize(out, in, shape, pool, sizeof(float));
}
