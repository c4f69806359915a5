/* Convolution as matrix products of the BLAS, one single-threaded call for each tile: every shape, every CPU.
 *
 * With M = N P Q output pixels and T = R S C, and X the matrix [M][T] of the windows ("im2col"):
 *     forward           Y[M][K]  = X W[T][K]
 *     backward-data     dX[M][T] = dY W^T, added up where windows overlap
 *     backward-weights  dW[T][K] = X^T dY
 * X is never stored: a tile of its rows is gathered, used for all blocks of 32 output channels, and forgotten. For a 1x1
 * window that touches every pixel once X is x itself. Tiles depend on the shape only, so any pool gives the same bits. */
#include <string.h>

#include "kernels/blas.h"
#include "layers/conv2d/methods.h"
#include "smri/memory.h"

/* A gathered tile should stay in a second-level cache together with the weights it meets: 512 KiB. */
#define TILE_FLOATS ((size_t)131072)
#define TILE_ROWS_MIN 16
#define TILE_ROWS_MAX 256
/* Blocks of output channels that share one gathered tile in backward-weights. */
#define BLOCKS_PER_TASK 4

struct job {
    const struct smri_conv2d *shape;
    size_t P, Q, pixels; /* pixels = N P Q */
    size_t window;       /* R S C */
    size_t tile_rows;
    float *out;
    const float *a, *b;
    bool accumulate, pointwise;
    char *per_thread; /* each worker's tile */
    size_t per_thread_stride;
};

static size_t tile_rows(size_t row_floats) {
    size_t rows = TILE_FLOATS / row_floats;
    if (rows < TILE_ROWS_MIN) rows = TILE_ROWS_MIN;
    return rows > TILE_ROWS_MAX ? TILE_ROWS_MAX : rows;
}

static size_t row_floats(enum smri_conv2d_direction direction, const struct smri_conv2d *s) {
    return direction == SMRI_CONV2D_BACKWARD_WEIGHTS ? s->C : s->R * s->S * s->C;
}

static struct smri_workspace_bytes workspace_bytes(enum smri_conv2d_direction direction, const struct smri_conv2d *shape) {
    const size_t floats = row_floats(direction, shape);
    const size_t tile = smri_conv2d_is_pointwise(shape) ? 0 : smri_align(tile_rows(floats) * floats * sizeof(float));
    return (struct smri_workspace_bytes){0, tile};
}

static struct job new_job(enum smri_conv2d_direction direction, const struct smri_conv2d_call *call) {
    const struct smri_conv2d *s = call->shape;
    struct job job = {.shape = s, .P = smri_conv2d_out_rows(s), .Q = smri_conv2d_out_cols(s), .out = call->out};
    job.accumulate = call->accumulate;
    job.per_thread = call->workspace.per_thread, job.per_thread_stride = call->workspace.per_thread_stride;
    job.pixels = s->N * job.P * job.Q;
    job.window = s->R * s->S * s->C;
    job.tile_rows = tile_rows(row_floats(direction, s));
    job.pointwise = smri_conv2d_is_pointwise(s);
    return job;
}

static float *worker_tile(const struct job *job, size_t worker) {
    return (float *)(job->per_thread + worker * job->per_thread_stride);
}

/* The input pixel under tap (r, t) of output pixel m; NULL in the padding. */
static const float *source(const struct job *job, const float *x, size_t m, size_t r, size_t t) {
    const size_t pixel = smri_conv2d_pixel_under(job->shape, smri_conv2d_cursor_at(job->P, job->Q, m), r, t);
    return pixel != SMRI_CONV2D_NOWHERE ? x + pixel * job->shape->C : NULL;
}

static void copy_pixel(float *to, const float *from, size_t C) {
    if (from != NULL)
        memcpy(to, from, C * sizeof *to);
    else
        memset(to, 0, C * sizeof *to);
}

static void forward_tile(void *context, size_t index, size_t worker) {
    const struct job *job = context;
    const struct smri_conv2d *s = job->shape;
    const size_t begin = index * job->tile_rows, end = smri_chunk_end(job->pixels, job->tile_rows, index);
    const float *windows = job->a + begin * s->C;
    if (!job->pointwise) {
        float *gathered = worker_tile(job, worker);
        windows = gathered;
        for (size_t m = begin; m < end; m++)
            for (size_t r = 0; r < s->R; r++)
                for (size_t t = 0; t < s->S; t++, gathered += s->C)
                    copy_pixel(gathered, source(job, job->a, m, r, t), s->C);
    }
    for (size_t block = 0; block < smri_conv2d_blocks(s->K); block++)
        smri_sgemm(false, false, end - begin, smri_conv2d_block_width(s->K, block), job->window, windows, job->window,
                   job->b + block * job->window * SMRI_CONV2D_BLOCK, SMRI_CONV2D_BLOCK,
                   job->out + begin * s->K + block * SMRI_CONV2D_BLOCK, s->K, false);
}

static void forward(const struct smri_conv2d_call *call) {
    struct job job = new_job(SMRI_CONV2D_FORWARD, call);
    job.a = call->x, job.b = call->w;
    smri_pool_run(call->pool, smri_chunk_count(job.pixels, job.tile_rows), forward_tile, &job);
}

/* The gradient of the windows of output pixels [begin, end). */
static void window_gradients(const struct job *job, float *out, bool accumulate, size_t begin, size_t end) {
    const size_t K = job->shape->K;
    for (size_t block = 0; block < smri_conv2d_blocks(K); block++)
        smri_sgemm(false, true, end - begin, job->window, smri_conv2d_block_width(K, block),
                   job->a + begin * K + block * SMRI_CONV2D_BLOCK, K,
                   job->b + block * job->window * SMRI_CONV2D_BLOCK, SMRI_CONV2D_BLOCK, out, job->window,
                   accumulate || block > 0);
}

static void backward_data_tile(void *context, size_t index, size_t worker) {
    const struct job *job = context;
    const size_t begin = index * job->tile_rows, end = smri_chunk_end(job->pixels, job->tile_rows, index);
    window_gradients(job, job->out + begin * job->shape->C, job->accumulate, begin, end);
}

static void backward_data_image(void *context, size_t n, size_t worker) {
    const struct job *job = context;
    const struct smri_conv2d *s = job->shape;
    const size_t image = s->H * s->W * s->C, pixels = job->P * job->Q;
    float *windows = worker_tile(job, worker);
    if (!job->accumulate) memset(job->out + n * image, 0, image * sizeof(float));
    for (size_t first = 0; first < pixels; first += job->tile_rows) {
        const size_t last = first + job->tile_rows < pixels ? first + job->tile_rows : pixels;
        window_gradients(job, windows, false, n * pixels + first, n * pixels + last);
        const float *from = windows;
        for (size_t m = n * pixels + first; m < n * pixels + last; m++)
            for (size_t r = 0; r < s->R; r++)
                for (size_t t = 0; t < s->S; t++, from += s->C) {
                    const float *pixel = source(job, job->out, m, r, t);
                    if (pixel == NULL) continue;
                    float *to = job->out + (pixel - job->out);
                    for (size_t c = 0; c < s->C; c++) to[c] += from[c];
                }
    }
}

static void backward_data(const struct smri_conv2d_call *call) {
    struct job job = new_job(SMRI_CONV2D_BACKWARD_DATA, call);
    job.a = call->dy, job.b = call->w;
    if (job.pointwise)
        smri_pool_run(call->pool, smri_chunk_count(job.pixels, job.tile_rows), backward_data_tile, &job);
    else
        smri_pool_run(call->pool, call->shape->N, backward_data_image, &job);
}

/* One task: one tap and a few blocks of output channels; the sum runs over the tiles of pixels in order. */
static void backward_weights_tap(void *context, size_t index, size_t worker) {
    const struct job *job = context;
    const struct smri_conv2d *s = job->shape;
    const size_t taps = s->R * s->S, tap = index % taps, block_size = s->C * SMRI_CONV2D_BLOCK;
    const size_t first = index / taps * BLOCKS_PER_TASK;
    const size_t last = smri_chunk_end(smri_conv2d_blocks(s->K), BLOCKS_PER_TASK, index / taps);
    for (size_t block = first; block < last; block++)
        memset(job->out + (block * taps + tap) * block_size, 0, block_size * sizeof(float));
    for (size_t begin = 0; begin < job->pixels; begin += job->tile_rows) {
        const size_t rows = job->pixels - begin < job->tile_rows ? job->pixels - begin : job->tile_rows;
        const float *pixels = job->a + begin * s->C;
        if (!job->pointwise) {
            float *gathered = worker_tile(job, worker);
            pixels = gathered;
            for (size_t m = begin; m < begin + rows; m++, gathered += s->C)
                copy_pixel(gathered, source(job, job->a, m, tap / s->S, tap % s->S), s->C);
        }
        for (size_t block = first; block < last; block++)
            smri_sgemm(true, false, s->C, smri_conv2d_block_width(s->K, block), rows, pixels, s->C,
                       job->b + begin * s->K + block * SMRI_CONV2D_BLOCK, s->K,
                       job->out + (block * taps + tap) * block_size, SMRI_CONV2D_BLOCK, true);
    }
}

static void backward_weights(const struct smri_conv2d_call *call) {
    struct job job = new_job(SMRI_CONV2D_BACKWARD_WEIGHTS, call);
    job.a = call->x, job.b = call->dy;
    const size_t groups = smri_chunk_count(smri_conv2d_blocks(call->shape->K), BLOCKS_PER_TASK);
    smri_pool_run(call->pool, groups * call->shape->R * call->shape->S, backward_weights_tap, &job);
}

const struct smri_conv2d_ops smri_conv2d_im2col_ops = {
    .name = "im2col", .supports = smri_conv2d_takes_fp32, .workspace_bytes = workspace_bytes, .forward = forward,
    .backward_data = backward_data, .backward_weights_begin = backward_weights,
};
