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

static void columns_u8(uint8_t *out, const uint8_t *in, const struct axis *axis, size_t H, size_t C) {
    const int32_t *scaled = axis->scaled;
    for (size_t h = 0; h < H; h++, in += axis->n_in * C)
        for (size_t x = 0; x < axis->n_out; x++)
            for (size_t c = 0; c < C; c++) {
                const uint8_t *from = in + (size_t)axis->first[x] * C + c;
                int32_t sum = 1 << (PRECISION_BITS - 1);
                for (size_t t = 0; t < axis->taps; t++) sum += scaled[x * axis->taps + t] * from[t * C];
                *out++ = clip(sum);
            }
}

static void rows_u8(uint8_t *out, const uint8_t *in, const struct axis *axis, size_t stride) {
    const int32_t *scaled = axis->scaled;
    for (size_t y = 0; y < axis->n_out; y++, out += stride) {
        const uint8_t *from = in + (size_t)axis->first[y] * stride;
        for (size_t i = 0; i < stride; i++) {
            int32_t sum = 1 << (PRECISION_BITS - 1);
            for (size_t t = 0; t < axis->taps; t++) sum += scaled[y * axis->taps + t] * from[t * stride + i];
            out[i] = clip(sum);
        }
    }
}

static void columns_f32(float *out, const float *in, const struct axis *axis, size_t H, size_t C) {
    const float *scaled = axis->scaled;
    for (size_t h = 0; h < H; h++, in += axis->n_in * C)
        for (size_t x = 0; x < axis->n_out; x++)
            for (size_t c = 0; c < C; c++) {
                const float *from = in + (size_t)axis->first[x] * C + c;
                float sum = 0.0f;
                for (size_t t = 0; t < axis->taps; t++) sum += scaled[x * axis->taps + t] * from[t * C];
                *out++ = sum;
            }
}

static void rows_f32(float *out, const float *in, const struct axis *axis, size_t stride) {
    const float *scaled = axis->scaled;
    for (size_t y = 0; y < axis->n_out; y++, out += stride) {
        const float *from = in + (size_t)axis->first[y] * stride;
        for (size_t i = 0; i < stride; i++) {
            float sum = 0.0f;
            for (size_t t = 0; t < axis->taps; t++) sum += scaled[y * axis->taps + t] * from[t * stride + i];
            out[i] = sum;
        }
    }
}

static void resize_u8_task(void *context, size_t n, size_t worker) {
    const struct job *job = context;
    const struct smri_resize *s = job->shape;
    const uint8_t *in = (const uint8_t *)job->in + n * s->H * s->W * s->C;
    uint8_t *out = (uint8_t *)job->out + n * s->rows * s->cols * s->C;
    uint8_t *middle = (uint8_t *)(job->middle + worker * job->middle_bytes);
    if (s->rows == s->H && s->cols == s->W) memcpy(out, in, s->H * s->W * s->C);
    else if (s->rows == s->H) columns_u8(out, in, &job->columns, s->H, s->C);
    else if (s->cols == s->W) rows_u8(out, in, &job->rows, s->W * s->C);
    else {
        columns_u8(middle, in, &job->columns, s->H, s->C);
        rows_u8(out, middle, &job->rows, s->cols * s->C);
    }
}

static void resize_f32_task(void *context, size_t n, size_t worker) {
    const struct job *job = context;
    const struct smri_resize *s = job->shape;
    const float *in = (const float *)job->in + n * s->H * s->W * s->C;
    float *out = (float *)job->out + n * s->rows * s->cols * s->C;
    float *middle = (float *)(job->middle + worker * job->middle_bytes);
    if (s->rows == s->H && s->cols == s->W) memcpy(out, in, s->H * s->W * s->C * sizeof *out);
    else if (s->rows == s->H) columns_f32(out, in, &job->columns, s->H, s->C);
    else if (s->cols == s->W) rows_f32(out, in, &job->rows, s->W * s->C);
    else {
        columns_f32(middle, in, &job->columns, s->H, s->C);
        rows_f32(out, middle, &job->rows, s->cols * s->C);
    }
}

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
