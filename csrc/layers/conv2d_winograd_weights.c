/* Winograd's convolution, backward-weights:
 *
 *     dw = G^T dU G,   dU[c][k] = sum over tiles of V[tile][c] .* D[tile][k],   V = B^T X B,   D = A dY A^T
 *
 * 36 matrix products over the tiles. A block is 64 input by 64 output channels at all points; its dU stays in the
 * second-level cache while the tiles pass in chunks. Few blocks: V and D are made where they are used, and the tiles are
 * cut into groups, each with a dU of its own, added up in ascending order. Many blocks: V and D are made once, for all. */
#include <string.h>

#include "layers/conv2d_winograd.h"

#define SIDE 64           /* input channels of a block */
#define TILES_PRIVATE 48  /* V, D and dU of one chunk: 0.44, 0.44 and 0.59 MB of a second-level cache of 2 MB */
#define TILES_SHARED 96
#define SHARED_LIMIT ((size_t)16384) /* products C K up to which V and D are private: 4 blocks */
#define MIN_TASKS 8       /* fewer blocks than this are multiplied by groups of tiles */
#define SUM_ROWS 8        /* input channels of one task that adds up groups */

struct job {
    const struct smri_kernels *kernels;
    const struct smri_conv2d *shape;
    struct smri_winograd_grid grid;
    struct smri_winograd_tensor x, dy;
    float *dw;
    bool shared;
    size_t tiles, n_chunks, n_groups, group_chunks;
    size_t n_sides, n_pairs; /* blocks along C and along K */
    size_t v_floats, d_floats;
    float *v, *d;    /* shared: panels [chunk][side] and [chunk][pair]; else one of each for each worker */
    float *products; /* dU: [group][block] where there are groups, else one for each worker */
};

#define PRODUCT_STRIDE (SIDE * PAIR + SKEW)
#define PRODUCT_FLOATS ((size_t)POINTS * PRODUCT_STRIDE)

static struct job plan(const struct smri_conv2d *s) {
    struct job job = {.kernels = smri_kernels_get(), .shape = s, .shared = s->C * s->K > SHARED_LIMIT};
    const size_t P = smri_conv2d_out_rows(s), Q = smri_conv2d_out_cols(s);
    job.grid = smri_winograd_grid(s->N, P, Q);
    job.x = (struct smri_winograd_tensor){.H = s->H, .W = s->W, .C = s->C, .pad = s->pad};
    job.dy = (struct smri_winograd_tensor){.H = P, .W = Q, .C = s->K};
    job.tiles = smri_winograd_min(job.shared ? TILES_SHARED : TILES_PRIVATE, job.grid.total);
    job.n_chunks = smri_chunk_count(job.grid.total, job.tiles);
    job.n_sides = smri_chunk_count(s->C, SIDE);
    job.n_pairs = smri_chunk_count(s->K, PAIR);
    const size_t wanted = job.shared ? 1 : smri_chunk_count(MIN_TASKS, job.n_sides * job.n_pairs);
    job.group_chunks = smri_chunk_count(job.n_chunks, wanted);
    job.n_groups = smri_chunk_count(job.n_chunks, job.group_chunks);
    job.v_floats = smri_winograd_panel(job.tiles, smri_winograd_min(SIDE, s->C));
    job.d_floats = smri_winograd_panel(job.tiles, smri_winograd_min(PAIR, s->K));
    return job;
}

static size_t edge_floats(const struct job *job) {
    return smri_winograd_lanes(job->shape->C > job->shape->K ? job->shape->C : job->shape->K);
}

/* Panels of V, panels of D, and products. */
static void counts(const struct job *job, size_t n_threads, size_t *v, size_t *d, size_t *products) {
    *v = job->shared ? job->n_chunks * job->n_sides : n_threads;
    *d = job->shared ? job->n_chunks * job->n_pairs : n_threads;
    *products = job->n_groups > 1 ? job->n_groups * job->n_sides * job->n_pairs : n_threads;
}

size_t smri_winograd_backward_weights_bytes(const struct smri_conv2d *shape, size_t n_threads) {
    const struct job job = plan(shape);
    size_t v, d, products;
    counts(&job, n_threads, &v, &d, &products);
    return (edge_floats(&job) + v * job.v_floats + d * job.d_floats + products * PRODUCT_FLOATS) * sizeof(float);
}

static size_t chunk_end(const struct job *job, size_t chunk) {
    return smri_winograd_min((chunk + 1) * job->tiles, job->grid.total);
}

static size_t side_channels(const struct job *job, size_t side) {
    return smri_winograd_min(SIDE, job->shape->C - side * SIDE);
}

static size_t pair_channels(const struct job *job, size_t pair) {
    return smri_winograd_min(PAIR, job->shape->K - pair * PAIR);
}

static void v_panel(const struct job *job, float *panel, size_t chunk, size_t side) {
    smri_winograd_input_panel(panel, &job->x, &job->grid, chunk * job->tiles, chunk_end(job, chunk), side * SIDE,
                              side_channels(job, side));
}

/* panel[point][tile][lanes of the pair's channels] of A dY A^T. */
static void d_panel(const struct job *job, float *panel, size_t chunk, size_t pair) {
    const size_t begin = chunk * job->tiles, end = chunk_end(job, chunk), channels = pair_channels(job, pair);
    const size_t stride = smri_winograd_stride(end - begin, channels);
    for (size_t tile = begin; tile < end; tile++, panel += smri_winograd_lanes(channels)) {
        float *pixels[OUT * OUT];
        smri_winograd_pixels(pixels, &job->dy, &job->grid, tile, OUT, pair * PAIR);
        job->kernels->winograd.gradient(panel, stride, (const float *const *)pixels, channels);
    }
}

static void share_panels(void *context, size_t index, size_t worker) {
    (void)worker;
    const struct job *job = context;
    const size_t v_panels = job->n_chunks * job->n_sides;
    if (index < v_panels) {
        v_panel(job, job->v + index * job->v_floats, index / job->n_sides, index % job->n_sides);
    } else {
        index -= v_panels;
        d_panel(job, job->d + index * job->d_floats, index / job->n_pairs, index % job->n_pairs);
    }
}

/* product[point][block of 32][channel][32] (+)= sum over tiles of v[point][tile][channel] d[point][tile][lane]. */
static void multiply(const struct job *job, float *product, const float *v, const float *d, size_t tiles,
                     size_t channels, size_t cols, bool accumulate) {
    const size_t v_stride = smri_winograd_stride(tiles, channels), d_stride = smri_winograd_stride(tiles, cols);
    for (size_t point = 0; point < POINTS; point++)
        for (size_t c = 0; c < channels; c += SMRI_CONV_ROWS) {
            const struct smri_conv_outer outer = {
                .out = product + point * PRODUCT_STRIDE + c * SMRI_CONV2D_BLOCK,
                .block_stride = SIDE * SMRI_CONV2D_BLOCK, .rows = smri_winograd_min(SMRI_CONV_ROWS, channels - c), .blocks = smri_conv2d_blocks(cols),
                .accumulate = accumulate, .a = v + point * v_stride + c, .lda = smri_winograd_lanes(channels),
                .b = d + point * d_stride, .depth = tiles,
            };
            job->kernels->conv.outer(&outer);
        }
}

/* dw of `rows` input channels from c on, in block b of a pair, from the product at 36 points `stride` floats apart. */
static void store_weights(const struct job *job, const float *product, size_t stride, size_t pair, size_t b, size_t c,
                          size_t rows) {
    const size_t tap_stride = job->shape->C * SMRI_CONV2D_BLOCK;
    float *dw = job->dw + (pair * 2 + b) * TAPS * tap_stride + c * SMRI_CONV2D_BLOCK;
    job->kernels->winograd.weights_gradient(dw, tap_stride, product, stride, rows * SMRI_CONV2D_BLOCK);
}

static void block_task(void *context, size_t index, size_t worker) {
    const struct job *job = context;
    const size_t side = index % job->n_sides, pair = index / job->n_sides % job->n_pairs;
    const size_t group = index / (job->n_sides * job->n_pairs);
    const size_t first = group * job->group_chunks, last = smri_winograd_min(first + job->group_chunks, job->n_chunks);
    const size_t channels = side_channels(job, side), cols = pair_channels(job, pair);
    float *product = job->products + (job->n_groups > 1 ? index : worker) * PRODUCT_FLOATS;
    for (size_t chunk = first; chunk < last; chunk++) {
        float *v = job->v + (job->shared ? chunk * job->n_sides + side : worker) * job->v_floats;
        float *d = job->d + (job->shared ? chunk * job->n_pairs + pair : worker) * job->d_floats;
        if (!job->shared) v_panel(job, v, chunk, side), d_panel(job, d, chunk, pair);
        multiply(job, product, v, d, chunk_end(job, chunk) - chunk * job->tiles, channels, cols, chunk > first);
    }
    if (job->n_groups == 1)
        for (size_t b = 0; b < smri_conv2d_blocks(cols); b++)
            store_weights(job, product + b * SIDE * SMRI_CONV2D_BLOCK, PRODUCT_STRIDE, pair, b, side * SIDE, channels);
}

/* Adds up the groups' products, SUM_ROWS input channels of one block of 32 output channels. */
static void sum_task(void *context, size_t index, size_t worker) {
    (void)worker;
    const struct job *job = context;
    const size_t pieces = SIDE / SUM_ROWS, blocks = job->n_sides * job->n_pairs;
    const size_t c = index % pieces * SUM_ROWS, b = index / pieces % 2, block = index / pieces / 2;
    const size_t side = block % job->n_sides, pair = block / job->n_sides, channels = side_channels(job, side);
    if (c >= channels || b >= smri_conv2d_blocks(pair_channels(job, pair))) return;
    const size_t rows = smri_winograd_min(SUM_ROWS, channels - c), count = rows * SMRI_CONV2D_BLOCK;
    float sum[POINTS][SUM_ROWS * SMRI_CONV2D_BLOCK];
    for (size_t point = 0; point < POINTS; point++) {
        const float *part = job->products + block * PRODUCT_FLOATS + point * PRODUCT_STRIDE +
                            (b * SIDE + c) * SMRI_CONV2D_BLOCK;
        memcpy(sum[point], part, count * sizeof(float));
        for (size_t group = 1; group < job->n_groups; group++) {
            part += blocks * PRODUCT_FLOATS;
            for (size_t i = 0; i < count; i++) sum[point][i] += part[i];
        }
    }
    store_weights(job, sum[0], SUM_ROWS * SMRI_CONV2D_BLOCK, pair, b, side * SIDE + c, rows);
}

void smri_winograd_backward_weights(float *dw, const float *x, const float *dy, const struct smri_conv2d *shape,
                                    void *workspace, smri_pool *pool) {
    struct job job = plan(shape);
    size_t v, d, products;
    counts(&job, smri_pool_size(pool), &v, &d, &products);
    memset(workspace, 0, edge_floats(&job) * sizeof(float));
    job.x.edge = job.dy.edge = workspace;
    job.x.data = (float *)x, job.dy.data = (float *)dy; /* read only: the type is shared with the forward's output */
    job.dw = dw;
    job.v = (float *)workspace + edge_floats(&job);
    job.d = job.v + v * job.v_floats;
    job.products = job.d + d * job.d_floats;
    const size_t blocks = job.n_sides * job.n_pairs;
    if (job.shared) smri_pool_run(pool, v + d, share_panels, &job);
    smri_pool_run(pool, job.n_groups * blocks, block_task, &job);
    if (job.n_groups > 1) smri_pool_run(pool, blocks * 2 * (SIDE / SUM_ROWS), sum_task, &job);
}
