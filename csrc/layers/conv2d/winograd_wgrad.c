/* Winograd's convolution, backward-weights:
 *
 *     dw = G^T dU G,   dU[c][k] = sum over tiles of V[tile][c] .* D[tile][k],   V = B^T X B,   D = A dY A^T
 *
 * 36 matrix products over the tiles. A block is 64 input by 64 output channels at all points; its dU stays in the
 * second-level cache while the tiles pass in chunks. V and D are made where they are used, once for each block: with
 * many blocks that is work done again, but streaming them from the third-level cache halves the speed of the products.
 * With few blocks the tiles are cut into groups, each with a dU of its own, which are added up in ascending order by whoever
 * does the last of a block's. */
#include <stdatomic.h>
#include <string.h>

#include "layers/conv2d/winograd.h"

#define SIDE 64     /* input channels of a block */
#define TILES 48    /* V, D and dU of one chunk: 0.44, 0.44 and 0.59 MB of a second-level cache of 2 MB */
#define TILES_GRAIN 4
#define MIN_TASKS 8 /* fewer blocks than this are multiplied by groups of tiles */
#define SUM_ROWS 8  /* input channels that are added up at a time */

struct job {
    const struct smri_kernels *kernels;
    struct smri_conv2d shape;
    struct smri_winograd_grid grid;
    struct smri_winograd_tensor x, dy;
    float *dw;
    size_t tiles, group_tiles, n_groups; /* of one chunk, of one group */
    size_t n_sides, n_pairs, n_blocks; /* blocks along C and along K, and their product */
    size_t v_floats, d_floats;
    char *per_thread;       /* each worker's V and D, and its product where there are no groups */
    size_t per_thread_stride;
    float *products; /* dU: [group][block] where there are groups */
    _Atomic unsigned *groups_done; /* of each block */
};

#define PRODUCT_STRIDE (SIDE * SMRI_WINOGRAD_COLS + SMRI_WINOGRAD_SKEW)
#define PRODUCT_FLOATS ((size_t)SMRI_WINOGRAD_POINTS * PRODUCT_STRIDE)

/* The size of each of `parts` parts of n tiles, a multiple of what the products unroll by. */
static size_t even_share(size_t n, size_t parts) {
    return smri_min(n, smri_chunk_count(n, parts * TILES_GRAIN) * TILES_GRAIN);
}

static struct job plan(const struct smri_conv2d *s) {
    struct job job = {.kernels = smri_kernels_get(), .shape = *s};
    const size_t P = smri_conv2d_out_rows(s), Q = smri_conv2d_out_cols(s);
    job.grid = smri_winograd_grid(s->N, P, Q);
    job.x = (struct smri_winograd_tensor){s->precision, .H = s->H, .W = s->W, .C = s->C, .pad = s->pad};
    job.dy = (struct smri_winograd_tensor){s->precision, .H = P, .W = Q, .C = s->K};
    job.n_sides = smri_chunk_count(s->C, SIDE);
    job.n_pairs = smri_chunk_count(s->K, SMRI_WINOGRAD_COLS);
    job.n_blocks = job.n_sides * job.n_pairs;
    /* equal groups of equal chunks: with chunks of 48 the last of eight groups of ResNet-50's first stage had one for six */
    job.group_tiles = even_share(job.grid.total, smri_chunk_count(MIN_TASKS, job.n_blocks));
    job.n_groups = smri_chunk_count(job.grid.total, job.group_tiles);
    job.tiles = even_share(job.group_tiles, smri_chunk_count(job.group_tiles, TILES));
    job.v_floats = smri_winograd_panel(job.tiles, smri_min(SIDE, s->C));
    job.d_floats = smri_winograd_panel(job.tiles, smri_min(SMRI_WINOGRAD_COLS, s->K));
    return job;
}

static size_t edge_floats(const struct job *job) {
    return smri_winograd_lanes(job->shape.C > job->shape.K ? job->shape.C : job->shape.K);
}

static size_t n_products(const struct job *job) { return job->n_groups > 1 ? job->n_groups * job->n_blocks : 0; }

static size_t counters_bytes(const struct job *job) { return smri_align(job->n_blocks * sizeof *job->groups_done); }

/* Shared: the job, for it may outlive the call; its counters; the edge; the products. */
struct smri_workspace_bytes smri_winograd_backward_weights_bytes(const struct smri_conv2d *shape) {
    const struct job job = plan(shape);
    const size_t shared = edge_floats(&job) + n_products(&job) * PRODUCT_FLOATS;
    const size_t per_thread = job.v_floats + job.d_floats + (job.n_groups > 1 ? 0 : PRODUCT_FLOATS);
    return (struct smri_workspace_bytes){smri_align(sizeof job) + counters_bytes(&job) + shared * sizeof(float),
                                                per_thread * sizeof(float)};
}

static size_t side_channels(const struct job *job, size_t side) {
    return smri_min(SIDE, job->shape.C - side * SIDE);
}

static size_t pair_channels(const struct job *job, size_t pair) {
    return smri_min(SMRI_WINOGRAD_COLS, job->shape.K - pair * SMRI_WINOGRAD_COLS);
}

/* panel[point][tile - begin][lanes of the pair's channels] of A dY A^T for the tiles [begin, end). */
static void gradient_panel(const struct job *job, float *panel, size_t begin, size_t end, size_t pair) {
    const size_t channels = pair_channels(job, pair);
    const size_t stride = smri_winograd_stride(end - begin, channels);
    for (size_t tile = begin; tile < end; tile++, panel += smri_winograd_lanes(channels)) {
        void *pixels[SMRI_WINOGRAD_OUT * SMRI_WINOGRAD_OUT];
        smri_winograd_pixels(pixels, &job->dy, &job->grid, tile, SMRI_WINOGRAD_OUT, pair * SMRI_WINOGRAD_COLS);
        job->kernels->winograd[job->dy.precision].gradient(panel, stride, (const void *const *)pixels, channels);
    }
}

/* product[point][block of 32][channel][32] (+)= sum over tiles of v[point][tile][channel] d[point][tile][lane]. */
static void multiply(const struct job *job, float *product, const float *v, const float *d, size_t tiles,
                     size_t channels, size_t cols, bool accumulate) {
    const size_t v_stride = smri_winograd_stride(tiles, channels), d_stride = smri_winograd_stride(tiles, cols);
    for (size_t point = 0; point < SMRI_WINOGRAD_POINTS; point++)
        for (size_t c = 0; c < channels; c += SMRI_CONV_ROWS) {
            const struct smri_gemm_tn call = {
                .out = product + point * PRODUCT_STRIDE + c * SMRI_CONV2D_BLOCK,
                .block_stride = SIDE * SMRI_CONV2D_BLOCK,
                .rows = smri_min(SMRI_CONV_ROWS, channels - c), .blocks = smri_conv2d_blocks(cols),
                .accumulate = accumulate, .a = v + point * v_stride + c, .lda = smri_winograd_lanes(channels),
                .b = d + point * d_stride, .depth = tiles,
            };
            job->kernels->conv.gemm_tn(&call);
        }
}

/* dw of `rows` input channels from c on, in block b of 32 of a pair, from `parts` products that are to be added up. */
static void store_weights(const struct job *job, const float *product, size_t parts, size_t pair, size_t b, size_t c,
                          size_t rows) {
    const size_t tap_stride = job->shape.C * SMRI_CONV2D_BLOCK;
    float *dw = job->dw + (pair * 2 + b) * SMRI_WINOGRAD_WINDOW * tap_stride + c * SMRI_CONV2D_BLOCK;
    product += (b * SIDE + c % SIDE) * SMRI_CONV2D_BLOCK;
    job->kernels->winograd[SMRI_FP32].weights_gradient(dw, tap_stride, product, PRODUCT_STRIDE, rows * SMRI_CONV2D_BLOCK,
                                                       parts, job->n_blocks * PRODUCT_FLOATS);
}

/* Adds up the groups' products of one block. */
static void add_groups(const struct job *job, size_t side, size_t pair) {
    const size_t block = pair * job->n_sides + side, channels = side_channels(job, side);
    for (size_t b = 0; b < smri_conv2d_blocks(pair_channels(job, pair)); b++)
        for (size_t row = 0; row < channels; row += SUM_ROWS)
            store_weights(job, job->products + block * PRODUCT_FLOATS, job->n_groups, pair, b, side * SIDE + row,
                          smri_min(SUM_ROWS, channels - row));
}

/* A block's products of one group of tiles; whoever does its last group adds them up. */
static void block_task(void *context, size_t index, size_t worker) {
    const struct job *job = context;
    const size_t side = index % job->n_sides, pair = index / job->n_sides % job->n_pairs;
    const size_t first = index / job->n_blocks * job->group_tiles;
    const size_t last = smri_min(first + job->group_tiles, job->grid.total);
    const size_t channels = side_channels(job, side), cols = pair_channels(job, pair);
    float *v = (float *)(job->per_thread + worker * job->per_thread_stride), *d = v + job->v_floats;
    float *product = job->n_groups > 1 ? job->products + index * PRODUCT_FLOATS : d + job->d_floats;
    for (size_t begin = first; begin < last; begin += job->tiles) {
        const size_t end = smri_min(begin + job->tiles, last);
        smri_winograd_input_panel(v, &job->x, &job->grid, begin, end, side * SIDE, channels);
        gradient_panel(job, d, begin, end, pair);
        multiply(job, product, v, d, end - begin, channels, cols, begin > first);
    }
    if (job->n_groups == 1)
        for (size_t b = 0; b < smri_conv2d_blocks(cols); b++)
            store_weights(job, product, 1, pair, b, side * SIDE, channels);
    else if (atomic_fetch_add_explicit(&job->groups_done[index % job->n_blocks], 1,
                                       memory_order_acq_rel) + 1 == job->n_groups)
        add_groups(job, side, pair);
}

static void run_tasks(void *context, size_t begin, size_t end, size_t worker) {
    for (; begin < end; begin++) block_task(context, begin, worker);
}

void smri_winograd_backward_weights(const struct smri_conv2d_call *call) {
    struct job *job = call->workspace.shared;
    *job = plan(call->shape);
    char *after = (char *)job + smri_align(sizeof *job);
    job->groups_done = memset(after, 0, counters_bytes(job));
    float *edge = memset(after + counters_bytes(job), 0, edge_floats(job) * sizeof(float));
    job->x.edge = job->dy.edge = edge;
    job->x.data = (char *)call->x, job->dy.data = (char *)call->dy; /* read only: the type is shared with the forward's output */
    job->dw = call->out;
    job->per_thread = call->workspace.per_thread, job->per_thread_stride = call->workspace.per_thread_stride;
    job->products = edge + edge_floats(job);
    smri_pool_begin_ranges(call->pool, job->n_groups * job->n_blocks, 1, run_tasks, job);
}
