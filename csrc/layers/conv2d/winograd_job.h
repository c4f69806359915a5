/* Shared by the two orders of Winograd's forward and backward-data; winograd.c says what they are. */
#pragma once

#include "layers/conv2d/winograd.h"

#define SMRI_WINOGRAD_TILES_MAX 66 /* of a block, of either order; winograd.c has the figures */
#define SMRI_WINOGRAD_BLOCK_PIXELS (SMRI_WINOGRAD_TILES_MAX * SMRI_WINOGRAD_OUT * SMRI_WINOGRAD_OUT)

struct smri_winograd_job {
    const struct smri_kernels *kernels;
    struct smri_winograd_grid grid;
    struct smri_winograd_tensor in, out; /* out has no padding */
    const float *w;
    size_t w_channels;           /* the C of the packed weights */
    bool transposed, accumulate; /* backward-data */
    struct smri_epilogue epilogue;
    bool share_weights;          /* else V is shared */
    size_t depth, tiles;         /* of one panel */
    size_t n_chunks, n_pairs, n_blocks;
    float *shared;               /* panels of U [pair][chunk] or of V [block][chunk] */
    char *per_thread;            /* each worker's M, edge to write to, and panels */
    size_t per_thread_stride, own_floats, m_floats, panel_floats;
};

static inline size_t smri_winograd_chunk_channels(const struct smri_winograd_job *job, size_t chunk) {
    return smri_min(job->depth, job->in.C - chunk * job->depth);
}

static inline size_t smri_winograd_pair_channels(const struct smri_winograd_job *job, size_t pair) {
    return smri_min(SMRI_WINOGRAD_COLS, job->out.C - pair * SMRI_WINOGRAD_COLS);
}

static inline size_t smri_winograd_block_end(const struct smri_winograd_job *job, size_t block) {
    return smri_min((block + 1) * job->tiles, job->grid.total);
}

static inline size_t smri_winograd_padded_cols(const struct smri_winograd_job *job, size_t pair) {
    return smri_conv2d_blocks(smri_winograd_pair_channels(job, pair)) * SMRI_CONV2D_BLOCK;
}

static inline float *smri_winograd_worker_m(const struct smri_winograd_job *job, size_t worker) {
    return (float *)(job->per_thread + worker * job->per_thread_stride);
}
static inline float *smri_winograd_worker_edge(const struct smri_winograd_job *job, size_t worker) {
    return smri_winograd_worker_m(job, worker) + job->m_floats;
}
static inline float *smri_winograd_worker_panels(const struct smri_winograd_job *job, size_t worker) {
    return smri_winograd_worker_edge(job, worker) + smri_winograd_lanes(job->out.C);
}

static inline struct smri_winograd_tensor smri_winograd_outputs_of(const struct smri_winograd_job *job, size_t worker) {
    struct smri_winograd_tensor out = job->out;
    out.edge = smri_winograd_worker_edge(job, worker);
    return out;
}

/* Memory that will be needed soon, in pieces: the products, which leave the memory idle, fetch `bytes` of each into
 * the second-level cache (forward: 4 to 10 %). */
struct smri_prefetch_list {
    void *const *pieces;
    size_t count, skip, bytes; /* the first `skip` bytes of each piece are left out */
};

/* u[point][block of 32][channel][32] = G g G^T: the input channels of one chunk, a block of the output channels of one
 * pair. */
void smri_winograd_weights_block(const struct smri_winograd_job *job, float *u, size_t pair, size_t b, size_t chunk);

/* m[point][tile][64] (+)= v[point][tile][channel] u[point][channel][64] for `tiles` of the panel's tiles. */
void smri_winograd_multiply(const struct smri_winograd_job *job, float *m, const float *v, size_t panel_tiles,
                            const float *u, size_t tiles, size_t depth, size_t cols, bool accumulate,
                            const struct smri_prefetch_list *outputs, const struct smri_prefetch_list *operands);

/* pixels[tile - begin][4 * 4] of the tiles' outputs, or of the inputs at the same places: most of the 6 x 6, each once. */
void smri_winograd_tile_pixels(const struct smri_winograd_job *job, void **pixels,
                               const struct smri_winograd_tensor *tensor, size_t begin, size_t end);

/* The outputs of some tiles and one pair from M. */
void smri_winograd_store_outputs(const struct smri_winograd_job *job, void *const *pixels, const float *m, size_t tiles,
                                 size_t pair);

/* winograd_share_weights.c: many tiles, few weights. winograd_share_inputs.c: few tiles, many weights. */
void smri_winograd_share_weights(struct smri_winograd_job *job, smri_pool *pool);
void smri_winograd_share_inputs(struct smri_winograd_job *job, smri_pool *pool);
