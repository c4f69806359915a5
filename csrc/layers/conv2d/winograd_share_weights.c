/* Winograd's convolution with many tiles and few weights: transformed weights U are made once, in a first pass, and streamed from
 * the third-level cache. A task makes the transformed inputs V of its tiles, for all output channels. */
#include "layers/conv2d/winograd_job.h"

/* Blocks of tiles are handed out in about this many runs: inside a run the next block's inputs are fetched ahead. */
#define RUNS 24

static void transform_weights(void *context, size_t index, size_t worker) {
    const struct smri_winograd_job *job = context;
    const size_t panel = index / 2, b = index % 2, pair = panel / job->n_chunks; /* of one or two blocks */
    if (b < smri_conv2d_blocks(smri_winograd_pair_channels(job, pair)))
        smri_winograd_weights_block(job, job->shared + panel * job->panel_floats, pair, b, panel % job->n_chunks);
}

/* Tiles [begin, end), all output channels; the inputs of tiles [end, next_end) are fetched. */
static void block_of_tiles(const struct smri_winograd_job *job, size_t begin, size_t end, size_t next_end, size_t worker) {
    float *m = smri_winograd_worker_m(job, worker), *v = smri_winograd_worker_panels(job, worker);
    const size_t bytes = smri_precision_bytes(job->out.precision);
    const size_t v_floats = smri_winograd_panel(job->tiles, job->depth);
    for (size_t chunk = 0; chunk < job->n_chunks; chunk++)
        smri_winograd_input_panel(v + chunk * v_floats, &job->in, &job->grid, begin, end, chunk * job->depth,
                                  smri_winograd_chunk_channels(job, chunk));

    void *out_pixels[SMRI_WINOGRAD_BLOCK_PIXELS], *in_pixels[SMRI_WINOGRAD_BLOCK_PIXELS];
    const struct smri_winograd_tensor out = smri_winograd_outputs_of(job, worker);
    smri_winograd_tile_pixels(job, out_pixels, &out, begin, end);
    smri_winograd_tile_pixels(job, in_pixels, &job->in, end, next_end);
    const size_t tile_pixels = SMRI_WINOGRAD_OUT * SMRI_WINOGRAD_OUT;
    struct smri_prefetch_list outputs = {.pieces = out_pixels, .count = (end - begin) * tile_pixels};
    struct smri_prefetch_list inputs = {.pieces = in_pixels, .count = (next_end - end) * tile_pixels};
    for (size_t pair = 0; pair < job->n_pairs; pair++) {
        outputs.skip = pair * SMRI_WINOGRAD_COLS * bytes, outputs.bytes = smri_winograd_pair_channels(job, pair) * bytes;
        for (size_t chunk = 0; chunk < job->n_chunks; chunk++) {
            const float *u = job->shared + (pair * job->n_chunks + chunk) * job->panel_floats;
            const size_t depth = smri_winograd_chunk_channels(job, chunk);
            inputs.skip = chunk * job->depth * bytes, inputs.bytes = depth * bytes;
            smri_winograd_multiply(job, m, v + chunk * v_floats, end - begin, u, end - begin, depth,
                                   smri_winograd_padded_cols(job, pair), chunk > 0,
                                   chunk + 1 == job->n_chunks ? &outputs : NULL, pair == 0 ? &inputs : NULL);
        }
        smri_winograd_store_outputs(job, out_pixels, m, end - begin, pair);
    }
}

/* Tasks are as many tiles as a product takes; those that come together are done a block at a time. */
static void run_blocks(void *context, size_t begin, size_t end, size_t worker) {
    const struct smri_winograd_job *job = context;
    const size_t last = smri_min(end * SMRI_CONV_ROWS, job->grid.total);
    for (size_t tile = begin * SMRI_CONV_ROWS; tile < last; tile += job->tiles) {
        const size_t stop = smri_min(tile + job->tiles, last);
        block_of_tiles(job, tile, stop, smri_min(stop + job->tiles, last), worker);
    }
}

void smri_winograd_share_weights(struct smri_winograd_job *job, smri_pool *pool) {
    smri_pool_run(pool, 2 * job->n_pairs * job->n_chunks, transform_weights, job);
    smri_pool_run_ranges(pool, smri_chunk_count(job->grid.total, SMRI_CONV_ROWS),
                         smri_chunk_count(job->n_blocks, RUNS) * smri_chunk_count(job->tiles, SMRI_CONV_ROWS), run_blocks, job);
}
