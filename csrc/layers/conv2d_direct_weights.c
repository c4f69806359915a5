/* The gradient of the weights by register tiles: dW[tap][c][k] = sum over pixels m of x[m under tap][c] * dy[m][k].
 *
 * Both operands run along m, which is the sum. A task owns some input channels, up to 256 output channels and a part of
 * the pixels, and goes through its pixels in chunks that fit the second-level cache: dy's columns are packed once a chunk
 * (two blocks of 32 side by side, as the kernel reads them), and x's rows under each tap are packed beside them, with
 * zeros in the padding. A 1x1 window over few channels needs no packing of x: its rows lie one after the other.
 *
 * Where the weights are small and the pixels many (early layers), the parts of the pixels are summed apart and then
 * added in ascending order; how many parts depends on the shape alone. */
#include <string.h>

#include "kernels/kernels.h"
#include "layers/conv2d_direct.h"
#include "smri/memory.h"

#define CHUNK_PIXELS 192
#define CHANNELS_PER_TASK 256 /* a multiple of SMRI_CONV_ROWS */
#define PAIRS_PER_TASK 4
#define COLS_PER_TASK (PAIRS_PER_TASK * SMRI_CONV_COLS)
#define TASKS_WANTED 16
#define PART_PIXELS_MIN 512
#define PARTS_BYTES_MAX ((size_t)8 << 20)
#define UNPACKED_CHANNELS_MAX 128 /* rows up to 512 bytes: a chunk of them does not collide in the first-level cache */
#define REDUCE_FLOATS 16384

struct job {
    const struct smri_conv2d *shape;
    const struct smri_conv_kernels *kernels;
    bool in_place, windows; /* x is read where it lies; whole windows are packed */
    bool dy_in_place;       /* dy is one panel already */
    size_t P, Q, pixels;
    size_t taps, rows;      /* taps and input rows of dW as the tasks see them: (1, R S C) with windows */
    size_t channel_groups, column_groups, parts, part_pixels;
    size_t panel_stride;    /* floats from one packed pixel of x to the next */
    size_t weights_floats;  /* of packed dW */
    float *dw, *partial;    /* partial[parts - 1]: part 0 goes to dw */
    const float *x, *dy;
    char *scratch;
    size_t worker_bytes;
};

static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

static struct job new_job(const struct smri_conv2d *s) {
    struct job job = {.shape = s, .kernels = &smri_kernels_get()->conv};
    job.P = smri_conv2d_out_rows(s), job.Q = smri_conv2d_out_cols(s);
    job.pixels = s->N * job.P * job.Q;
    job.windows = s->C < SMRI_CONV2D_PACK_BELOW && !smri_conv2d_is_pointwise(s);
    job.in_place = smri_conv2d_is_pointwise(s) && s->C <= UNPACKED_CHANNELS_MAX;
    job.dy_in_place = s->K == SMRI_CONV_BLOCK || s->K == SMRI_CONV_COLS;
    job.taps = job.windows ? 1 : s->R * s->S;
    job.rows = job.windows ? s->R * s->S * s->C : s->C;
    job.channel_groups = smri_chunk_count(job.rows, CHANNELS_PER_TASK);
    job.column_groups = smri_chunk_count(s->K, COLS_PER_TASK);
    /* an odd number of cache lines, so that a column of the panel spreads over the sets of the first-level cache */
    job.panel_stride = smaller(job.rows, CHANNELS_PER_TASK) / 32 * 32 + 16 + (job.rows % 32 > 16 ? 32 : 0);
    job.weights_floats = smri_conv2d_packed_size(s);
    const size_t tasks = job.channel_groups * job.column_groups;
    size_t parts = smri_chunk_count(TASKS_WANTED, tasks);
    parts = smaller(parts, job.pixels / PART_PIXELS_MIN);
    parts = smaller(parts, PARTS_BYTES_MAX / (job.weights_floats * sizeof(float)));
    if (parts == 0) parts = 1;
    job.part_pixels = smri_chunk_count(smri_chunk_count(job.pixels, parts), CHUNK_PIXELS) * CHUNK_PIXELS;
    job.parts = smri_chunk_count(job.pixels, job.part_pixels);
    job.worker_bytes = CHUNK_PIXELS * (COLS_PER_TASK + (job.in_place ? 0 : job.panel_stride)) * sizeof(float);
    if (job.windows) job.worker_bytes += smri_align(job.rows * sizeof(float)); /* one window */
    return job;
}

size_t smri_conv2d_direct_weights_bytes(const struct smri_conv2d *shape, size_t n_threads) {
    const struct job job = new_job(shape);
    return n_threads * job.worker_bytes + (job.parts - 1) * job.weights_floats * sizeof(float);
}

static size_t panel_width(size_t cols) { return cols > SMRI_CONV_BLOCK ? SMRI_CONV_COLS : SMRI_CONV_BLOCK; }

/* Columns [k, k_end) of dy's rows [m, m_end) as panels [pair][m][64 or 32], zeros beyond k_end. Rows are read whole, one
 * after the other, as the hardware's prefetcher likes it. */
static void pack_dy(const struct job *job, float *panels, size_t m, size_t m_end, size_t k, size_t k_end) {
    const size_t depth = m_end - m;
    for (size_t row = 0; row < depth; row++) {
        const float *from = job->dy + (m + row) * job->shape->K;
        float *panel = panels;
        for (size_t col = k; col < k_end; col += SMRI_CONV_COLS) {
            const size_t left = smaller(k_end - col, SMRI_CONV_COLS), width = panel_width(left);
            float *to = panel + row * width;
            job->kernels->copy(to, 0, from + col, 0, 1, left);
            for (size_t i = left; i < width; i++) to[i] = 0.0f;
            panel += depth * width;
        }
    }
}

/* Channels [c, c_end) of the pixels of x under `tap` of output pixels [m, m_end), one after the other. */
static void pack_x(const struct job *job, float *panel, size_t tap, size_t m, size_t m_end, size_t c, size_t c_end) {
    const struct smri_conv2d *s = job->shape;
    size_t q = m % job->Q, p = m / job->Q % job->P, n = m / job->Q / job->P;
    for (; m < m_end; m++, panel += job->panel_stride) {
        const size_t h = p * s->stride + tap / s->S - s->pad, w = q * s->stride + tap % s->S - s->pad;
        if (h < s->H && w < s->W)
            job->kernels->copy(panel, 0, job->x + ((n * s->H + h) * s->W + w) * s->C + c, 0, 1, c_end - c);
        else
            memset(panel, 0, (c_end - c) * sizeof *panel);
        if (++q == job->Q) q = 0, p++;
        if (p == job->P) p = 0, n++;
    }
}

/* Entries [c, c_end) of the windows of output pixels [m, m_end); `window` has room for a whole one. */
static void pack_windows(const struct job *job, float *panel, float *window, size_t m, size_t m_end, size_t c, size_t c_end) {
    const bool whole = c == 0 && c_end == job->rows;
    size_t q = m % job->Q, p = m / job->Q % job->P, n = m / job->Q / job->P;
    for (; m < m_end; m++, panel += job->panel_stride) {
        smri_conv2d_pack_window(whole ? panel : window, job->x, job->shape, job->kernels, n, p, q);
        if (!whole) job->kernels->copy(panel, 0, window + c, 0, 1, c_end - c);
        if (++q == job->Q) q = 0, p++;
        if (p == job->P) p = 0, n++;
    }
}

struct task {
    size_t c, c_end, k, k_end; /* the part of dW */
    float *dw;                 /* whole dW, or the partial sum */
};

/* Adds one chunk's products for one tap: a is [m][lda] from channel task->c on. */
static void add_chunk(const struct job *job, const struct task *task, size_t tap, const float *a, size_t lda,
                      const float *panel, size_t depth, bool accumulate) {
    const size_t block_floats = job->taps * job->rows * SMRI_CONV_BLOCK;
    for (size_t k = task->k; k < task->k_end; k += SMRI_CONV_COLS) {
        const size_t blocks = panel_width(task->k_end - k) / SMRI_CONV_BLOCK;
        float *dw = task->dw + k / SMRI_CONV_BLOCK * block_floats + tap * job->rows * SMRI_CONV_BLOCK;
        for (size_t c = task->c; c < task->c_end; c += SMRI_CONV_ROWS) {
            const struct smri_conv_outer outer = {
                .out = dw + c * SMRI_CONV_BLOCK,
                .block_stride = block_floats,
                .rows = smaller(task->c_end - c, SMRI_CONV_ROWS),
                .blocks = blocks,
                .accumulate = accumulate,
                .a = a + (c - task->c),
                .lda = lda,
                .b = panel,
                .depth = depth,
            };
            job->kernels->outer(&outer);
        }
        panel += depth * blocks * SMRI_CONV_BLOCK;
    }
}

/* The padding of the last block holds sums of x times 0, which is NaN for infinite x; the contract says zero. */
static void clear_padding(const struct job *job, const struct task *task) {
    const size_t lanes = task->k_end % SMRI_CONV_BLOCK, block_floats = job->taps * job->rows * SMRI_CONV_BLOCK;
    if (lanes == 0) return;
    for (size_t tap = 0; tap < job->taps; tap++)
        for (size_t c = task->c; c < task->c_end; c++) {
            float *row = task->dw + task->k_end / SMRI_CONV_BLOCK * block_floats + (tap * job->rows + c) * SMRI_CONV_BLOCK;
            for (size_t i = lanes; i < SMRI_CONV_BLOCK; i++) row[i] = 0.0f;
        }
}

static void run_task(void *context, size_t index, size_t worker) {
    const struct job *job = context;
    const size_t channel_group = index % job->channel_groups;
    const size_t column_group = index / job->channel_groups % job->column_groups;
    const size_t part = index / job->channel_groups / job->column_groups;
    const struct task task = {
        channel_group * CHANNELS_PER_TASK, smri_chunk_end(job->rows, CHANNELS_PER_TASK, channel_group),
        column_group * COLS_PER_TASK, smri_chunk_end(job->shape->K, COLS_PER_TASK, column_group),
        part == 0 ? job->dw : job->partial + (part - 1) * job->weights_floats,
    };
    float *dy_panel = (float *)(job->scratch + worker * job->worker_bytes);
    float *x_panel = dy_panel + CHUNK_PIXELS * COLS_PER_TASK, *window = x_panel + CHUNK_PIXELS * job->panel_stride;
    const size_t begin = part * job->part_pixels, end = smri_chunk_end(job->pixels, job->part_pixels, part);
    for (size_t m = begin; m < end; m += CHUNK_PIXELS) {
        const size_t m_end = smaller(m + CHUNK_PIXELS, end);
        const float *dy = dy_panel;
        if (job->dy_in_place)
            dy = job->dy + m * job->shape->K;
        else
            pack_dy(job, dy_panel, m, m_end, task.k, task.k_end);
        for (size_t tap = 0; tap < job->taps; tap++) {
            if (job->in_place) {
                add_chunk(job, &task, tap, job->x + m * job->rows + task.c, job->rows, dy, m_end - m, m > begin);
                continue;
            }
            if (job->windows)
                pack_windows(job, x_panel, window, m, m_end, task.c, task.c_end);
            else
                pack_x(job, x_panel, tap, m, m_end, task.c, task.c_end);
            add_chunk(job, &task, tap, x_panel, job->panel_stride, dy, m_end - m, m > begin);
        }
    }
    clear_padding(job, &task);
}

static void add_parts(void *context, size_t index, size_t worker) {
    (void)worker;
    const struct job *job = context;
    const size_t begin = index * REDUCE_FLOATS, end = smri_chunk_end(job->weights_floats, REDUCE_FLOATS, index);
    for (size_t part = 1; part < job->parts; part++) {
        const float *restrict partial = job->partial + (part - 1) * job->weights_floats;
        float *restrict dw = job->dw;
        for (size_t i = begin; i < end; i++) dw[i] += partial[i];
    }
}

void smri_conv2d_direct_backward_weights(float *dw, const void *x, const void *dy, const struct smri_conv2d *shape,
                                         void *workspace, smri_pool *pool) {
    struct job job = new_job(shape);
    job.dw = dw, job.x = x, job.dy = dy;
    job.scratch = workspace;
    job.partial = (float *)(job.scratch + smri_pool_size(pool) * job.worker_bytes);
    smri_pool_run(pool, job.channel_groups * job.column_groups * job.parts, run_task, &job);
    if (job.parts > 1) smri_pool_run(pool, smri_chunk_count(job.weights_floats, REDUCE_FLOATS), add_parts, &job);
}
