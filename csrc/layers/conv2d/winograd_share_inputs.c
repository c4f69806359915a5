/* Winograd's convolution with few tiles and many weights: transformed inputs V are made once, in a first pass, and streamed from
 * the third-level cache. A task makes the transformed weights U of its output channels, 64 of them. */
#include "layers/conv2d/winograd_job.h"

#define BLOCK_PARTS 3 /* the least that a thread takes of a block */
#define WEIGHTS_PIECE 64 /* floats */
#define WEIGHTS_PIECES (2 * SMRI_WINOGRAD_WINDOW * SMRI_WINOGRAD_CHANNELS * SMRI_CONV2D_BLOCK / WEIGHTS_PIECE)

static void weights_panel(const struct smri_winograd_job *job, float *u, size_t pair, size_t chunk) {
    const size_t blocks = smri_conv2d_blocks(smri_winograd_pair_channels(job, pair));
    for (size_t b = 0; b < blocks; b++) smri_winograd_weights_block(job, u, pair, b, chunk);
}

/* The packed weights of one chunk and one pair: for each block of 32 on the one side, for each tap, a run of channels
 * of the other side. Returns how many pieces there are. They are only read: outputs' pixels have the same type. */
static size_t weights_pieces(const struct smri_winograd_job *job, void **pieces, size_t pair, size_t chunk) {
    const size_t depth = smri_winograd_chunk_channels(job, chunk), channels = smri_winograd_pair_channels(job, pair);
    const size_t block = (job->transposed ? chunk * job->depth : pair * SMRI_WINOGRAD_COLS) / SMRI_CONV2D_BLOCK;
    const size_t blocks = smri_conv2d_blocks(job->transposed ? depth : channels);
    const size_t first = job->transposed ? pair * SMRI_WINOGRAD_COLS : chunk * job->depth,
        run = job->transposed ? channels : depth;
    const float *w = job->w + (block * SMRI_WINOGRAD_WINDOW * job->w_channels + first) * SMRI_CONV2D_BLOCK;
    size_t count = 0;
    for (size_t i = 0; i < blocks * SMRI_WINOGRAD_WINDOW; i++, w += job->w_channels * SMRI_CONV2D_BLOCK)
        for (size_t at = 0; at < run * SMRI_CONV2D_BLOCK; at += WEIGHTS_PIECE) pieces[count++] = (void *)(w + at);
    return count;
}

static void transform_inputs(void *context, size_t index, size_t worker) {
    const struct smri_winograd_job *job = context;
    const size_t block = index / job->n_chunks, chunk = index % job->n_chunks;
    smri_winograd_input_panel(job->shared + index * job->panel_floats, &job->in, &job->grid, block * job->tiles,
                              smri_winograd_block_end(job, block), chunk * job->depth,
                              smri_winograd_chunk_channels(job, chunk));
}

/* Tiles [begin, end) of one block, one pair of blocks of output channels. */
static void pair_of_tiles(const struct smri_winograd_job *job, size_t block, size_t begin, size_t end, size_t pair,
                          size_t worker) {
    float *m = smri_winograd_worker_m(job, worker), *u = smri_winograd_worker_panels(job, worker);
    const size_t first = block * job->tiles, block_tiles = smri_winograd_block_end(job, block) - first;
    const float *v = job->shared + block * job->n_chunks * job->panel_floats;
    void *out_pixels[SMRI_WINOGRAD_BLOCK_PIXELS], *w_pieces[WEIGHTS_PIECES];
    const struct smri_winograd_tensor out = smri_winograd_outputs_of(job, worker);
    smri_winograd_tile_pixels(job, out_pixels, &out, first + begin, first + end);
    const size_t bytes = smri_precision_bytes(job->out.precision);
    const struct smri_prefetch_list outputs = {out_pixels, (end - begin) * SMRI_WINOGRAD_OUT * SMRI_WINOGRAD_OUT,
                                          pair * SMRI_WINOGRAD_COLS * bytes, smri_winograd_pair_channels(job, pair) * bytes};
    for (size_t chunk = 0; chunk < job->n_chunks; chunk++) {
        const bool last = chunk + 1 == job->n_chunks;
        const size_t depth = smri_winograd_chunk_channels(job, chunk);
        struct smri_prefetch_list weights = {.pieces = w_pieces, .bytes = WEIGHTS_PIECE * sizeof(float)};
        if (!last) weights.count = weights_pieces(job, w_pieces, pair, chunk + 1);
        weights_panel(job, u, pair, chunk);
        smri_winograd_multiply(job, m, v + chunk * job->panel_floats + begin * smri_winograd_lanes(depth), block_tiles, u,
                               end - begin, depth, smri_winograd_padded_cols(job, pair), chunk > 0,
                               last ? &outputs : NULL, last ? NULL : &weights);
    }
    smri_winograd_store_outputs(job, out_pixels, m, end - begin, pair);
}

/* Tasks are [block][pair][part of the block]; those of one block and pair that come together transform their weights once. */
static void run_pairs(void *context, size_t begin, size_t end, size_t worker) {
    const struct smri_winograd_job *job = context;
    while (begin < end) {
        const size_t block = begin / BLOCK_PARTS / job->n_pairs, pair = begin / BLOCK_PARTS % job->n_pairs;
        const size_t tiles = smri_winograd_block_end(job, block) - block * job->tiles;
        const size_t part_tiles = smri_chunk_count(tiles, BLOCK_PARTS * SMRI_CONV_ROWS) * SMRI_CONV_ROWS;
        const size_t part = begin % BLOCK_PARTS, parts = smri_min(end - begin, BLOCK_PARTS - part);
        const size_t last = smri_min((part + parts) * part_tiles, tiles);
        if (part * part_tiles < last) pair_of_tiles(job, block, part * part_tiles, last, pair, worker);
        begin += parts;
    }
}

void smri_winograd_share_inputs(struct smri_winograd_job *job, smri_pool *pool) {
    smri_pool_run(pool, job->n_blocks * job->n_chunks, transform_inputs, job);
    smri_pool_run_ranges(pool, job->n_blocks * job->n_pairs * BLOCK_PARTS, BLOCK_PARTS, run_pairs, job);
}
