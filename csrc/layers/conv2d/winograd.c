/* Convolution of 3 x 3, stride 1, by Winograd's F(4x4, 3x3): forward and backward-data.
 *
 *     Y = A^T [ sum over c of U[k][c] .* V[c] ] A,   U = G g G^T,   V = B^T X B       (kernels/winograd/winograd.h)
 *
 * are 36 matrix products M[tiles][K] = V[tiles][C] U[C][K]. A task is a block of tiles and some output channels; its M
 * never leaves the second-level cache. Of V and U, the one that is used by few tasks is made where it is used
 * (again for each of them); the other is made once, in a first pass, and streamed from the third-level cache:
 *     many tiles, few weights:  U shared, V private        few tiles, many weights:  V shared, U private
 * Backward-data is the same with dy for x and the weights rotated by half a turn and transposed.
 *
 * In bf16 activations are widened and weights rounded as they are transformed, and results rounded as they are stored;
 * between that all is fp32 (transformed operands rounded to bf16 would cost an error of 2 %). */
#include <string.h>

#include "layers/conv2d/winograd.h"

/* Tuned on a core with 48 KiB and 2 MiB of cache at 213 GFLOP/s; figures in kernels/README.md. A panel of weights of
 * one point, DEPTH x 64 floats, has to stay in the first-level cache while the rows of V pass by; U (0.59 MB at all
 * points), V and M of one chunk in the second, which loses 12 % when they do not. The tiles are multiples of six. */
#define DEPTH SMRI_WINOGRAD_CHANNELS
#define TILES_SHARED_U 24
#define TILES_PRIVATE_U 66
/* Blocks of tiles are handed out in about this many runs, and parts of one at the end: inside a run the next block's inputs
 * are fetched ahead. */
#define RUNS 24
#define BLOCK_PARTS 3 /* where V is shared: the least that a thread takes of a block */
/* Up to this many products C K the transformed weights (36 floats each) are shared: 128 x 128. */
#define SHARED_U_LIMIT ((size_t)16384)

struct job {
    const struct smri_kernels *kernels;
    struct smri_winograd_grid grid;
    struct smri_winograd_tensor in, out; /* out has no padding */
    const float *w;
    size_t w_channels;            /* the C of the packed weights */
    bool transposed, accumulate;  /* backward-data */
    struct smri_epilogue epilogue;
    bool share_weights;                 /* else V is shared */
    size_t depth, tiles;          /* of one panel */
    size_t n_chunks, n_pairs, n_blocks;
    float *shared;                /* panels of U [pair][chunk] or of V [block][chunk] */
    char *per_thread;                    /* each worker's M, edge to write to, and panels */
    size_t per_thread_stride, own_floats, m_floats, panel_floats;
};

static size_t chunk_channels(const struct job *job, size_t chunk) {
    return smri_min(job->depth, job->in.C - chunk * job->depth);
}

static size_t pair_channels(const struct job *job, size_t pair) {
    return smri_min(SMRI_WINOGRAD_COLS, job->out.C - pair * SMRI_WINOGRAD_COLS);
}

static size_t block_end(const struct job *job, size_t block) {
    return smri_min((block + 1) * job->tiles, job->grid.total);
}

static size_t weights_stride(size_t depth) { return depth * SMRI_WINOGRAD_COLS + SMRI_WINOGRAD_SKEW; }

/* Everything that depends on the shape only. Shared are an edge of zeros and the shared panels. */
static struct job plan(bool transposed, const struct smri_conv2d *s) {
    struct job job = {.kernels = smri_kernels_get(), .transposed = transposed, .w_channels = s->C};
    const size_t P = smri_conv2d_out_rows(s), Q = smri_conv2d_out_cols(s);
    job.in = (struct smri_winograd_tensor){s->precision, .H = s->H, .W = s->W, .C = s->C, .pad = s->pad};
    job.out = (struct smri_winograd_tensor){s->precision, .H = P, .W = Q, .C = s->K};
    if (transposed) {
        job.in = (struct smri_winograd_tensor){s->precision, .H = P, .W = Q, .C = s->K, .pad = 2 - s->pad};
        job.out = (struct smri_winograd_tensor){s->precision, .H = s->H, .W = s->W, .C = s->C};
    }
    job.grid = smri_winograd_grid(s->N, job.out.H, job.out.W);
    job.share_weights = s->C * s->K <= SHARED_U_LIMIT;
    job.depth = smri_min(DEPTH, smri_winograd_lanes(job.in.C));
    job.tiles = smri_min(job.share_weights ? TILES_SHARED_U : TILES_PRIVATE_U, job.grid.total);
    job.n_chunks = smri_chunk_count(job.in.C, job.depth);
    job.n_pairs = smri_chunk_count(job.out.C, SMRI_WINOGRAD_COLS);
    job.n_blocks = smri_chunk_count(job.grid.total, job.tiles);
    const size_t v = smri_winograd_panel(job.tiles, job.depth), u = SMRI_WINOGRAD_POINTS * weights_stride(job.depth);
    job.panel_floats = job.share_weights ? u : v;
    job.m_floats = smri_winograd_panel(job.tiles, SMRI_WINOGRAD_COLS);
    job.own_floats = job.m_floats + smri_winograd_lanes(job.out.C) + (job.share_weights ? job.n_chunks * v : u);
    return job;
}

static size_t shared_panels(const struct job *job) {
    return (job->share_weights ? job->n_pairs : job->n_blocks) * job->n_chunks;
}

static struct smri_workspace_bytes forward_bytes(bool transposed, const struct smri_conv2d *s) {
    const struct job job = plan(transposed, s);
    const size_t edge = smri_winograd_lanes(job.in.C);
    return (struct smri_workspace_bytes){(edge + shared_panels(&job) * job.panel_floats) * sizeof(float),
                                                job.own_floats * sizeof(float)};
}

/* u[point][block of 32][channel][32] = G g G^T: the input channels of one chunk, a block of the output channels of one
 * pair. */
static void weights_block(const struct job *job, float *u, size_t pair, size_t b, size_t chunk) {
    const size_t first = chunk * job->depth, depth = chunk_channels(job, chunk), C = job->w_channels;
    const size_t tap_stride = C * SMRI_CONV2D_BLOCK, stride = weights_stride(depth);
    u += b * depth * SMRI_CONV2D_BLOCK;
    if (!job->transposed) {
        const float *w = job->w + (pair * 2 + b) * SMRI_WINOGRAD_WINDOW * tap_stride + first * SMRI_CONV2D_BLOCK;
        job->kernels->winograd[job->in.precision].weights(u, stride, w, tap_stride, depth * SMRI_CONV2D_BLOCK);
        return;
    }
    const size_t c = pair * SMRI_WINOGRAD_COLS + b * SMRI_CONV2D_BLOCK;
    for (size_t k = 0; k < depth; k += SMRI_CONV2D_BLOCK) {
        float turned[SMRI_WINOGRAD_WINDOW][SMRI_CONV2D_BLOCK * SMRI_CONV2D_BLOCK];
        const float *w = job->w + ((first + k) / SMRI_CONV2D_BLOCK * SMRI_WINOGRAD_WINDOW * C + c) * SMRI_CONV2D_BLOCK;
        const size_t cols = smri_min(depth - k, SMRI_CONV2D_BLOCK);
        const size_t rows = smri_min(C - c, SMRI_CONV2D_BLOCK);
        for (size_t tap = 0; tap < SMRI_WINOGRAD_WINDOW; tap++)
            job->kernels->conv.transpose(turned[SMRI_WINOGRAD_WINDOW - 1 - tap], w + tap * tap_stride, rows, cols);
        job->kernels->winograd[job->in.precision].weights(u + k * SMRI_CONV2D_BLOCK, stride, turned[0],
                                       SMRI_CONV2D_BLOCK * SMRI_CONV2D_BLOCK, cols * SMRI_CONV2D_BLOCK);
    }
}

static void weights_panel(const struct job *job, float *u, size_t pair, size_t chunk) {
    for (size_t b = 0; b < smri_conv2d_blocks(pair_channels(job, pair)); b++) weights_block(job, u, pair, b, chunk);
}

/* Memory that will be needed soon, in pieces: the products, which leave the memory idle, fetch `bytes` of each into
 * the second-level cache (forward: 4 to 10 %). */
struct prefetch_list {
    void *const *pieces;
    size_t count, skip, bytes; /* the first `skip` bytes of each piece are left out */
};

static void fetch(const void *p, size_t bytes) {
    for (size_t at = 0; at < bytes; at += SMRI_ALIGNMENT) __builtin_prefetch((const char *)p + at, 0, 2);
}

/* The part of the fetching that belongs to one of `steps` products. */
static void prefetch_share(const struct prefetch_list *list, size_t step, size_t steps) {
    if (list == NULL) return;
    const size_t share = (list->count + steps - 1) / steps;
    for (size_t i = step * share; i < (step + 1) * share && i < list->count; i++)
        fetch((const char *)list->pieces[i] + list->skip, list->bytes);
}

#define BLOCK_PIXELS (TILES_PRIVATE_U * SMRI_WINOGRAD_OUT * SMRI_WINOGRAD_OUT) /* at most, of either plan */
#define WEIGHTS_PIECE 64                            /* floats */
#define WEIGHTS_PIECES (2 * SMRI_WINOGRAD_WINDOW * DEPTH * SMRI_CONV2D_BLOCK / WEIGHTS_PIECE)

/* m[point][tile][64] (+)= v[point][tile][channel] u[point][channel][64] for `tiles` of the panel's tiles. */
static void multiply(const struct job *job, float *m, const float *v, size_t panel_tiles, const float *u, size_t tiles,
                     size_t depth, size_t cols, bool accumulate, const struct prefetch_list *outputs,
                     const struct prefetch_list *operands) {
    const size_t v_stride = smri_winograd_stride(panel_tiles, depth), m_stride = smri_winograd_stride(tiles,
                                                                                                      SMRI_WINOGRAD_COLS);
    const size_t lanes = smri_winograd_lanes(depth);
    const size_t steps = SMRI_WINOGRAD_POINTS * smri_chunk_count(tiles, SMRI_CONV_ROWS);
    size_t step = 0;
    for (size_t point = 0; point < SMRI_WINOGRAD_POINTS; point++)
        for (size_t tile = 0; tile < tiles; tile += SMRI_CONV_ROWS, step++) {
            struct smri_conv_tap tap = {.weights = 0};
            struct smri_conv_tile product = {
                .rows = smri_min(SMRI_CONV_ROWS, tiles - tile), .cols = cols, .accumulate = accumulate,
                .taps = &tap, .n_taps = 1, .depth = depth,
                .weights = u + point * weights_stride(depth), .block_stride = depth * SMRI_CONV2D_BLOCK,
            };
            for (size_t i = 0; i < product.rows; i++) {
                tap.rows[i] = v + point * v_stride + (tile + i) * lanes;
                product.out[i] = m + point * m_stride + (tile + i) * SMRI_WINOGRAD_COLS;
            }
            prefetch_share(outputs, step, steps);
            prefetch_share(operands, step, steps);
            if (!job->share_weights && point + 1 < SMRI_WINOGRAD_POINTS)
                fetch(v + (point + 1) * v_stride + tile * lanes, product.rows * lanes * sizeof(float));
            job->kernels->conv.tile(&product);
        }
}

/* pixels[tile - begin][4 * 4] of the tiles' outputs, or of the inputs at the same places: most of the 6 x 6, each once. */
static void tile_pixels(const struct job *job, void **pixels, const struct smri_winograd_tensor *tensor, size_t begin,
                        size_t end) {
    struct smri_winograd_tensor unpadded = *tensor;
    unpadded.pad = 0;
    for (size_t tile = begin; tile < end; tile++, pixels += SMRI_WINOGRAD_OUT * SMRI_WINOGRAD_OUT)
        smri_winograd_pixels(pixels, &unpadded, &job->grid, tile, SMRI_WINOGRAD_OUT, 0);
}

/* The packed weights of one chunk and one pair: for each block of 32 on the one side, for each tap, a run of channels
 * of the other side. Returns how many pieces there are. They are only read: outputs' pixels have the same type. */
static size_t weights_pieces(const struct job *job, void **pieces, size_t pair, size_t chunk) {
    const size_t depth = chunk_channels(job, chunk), channels = pair_channels(job, pair);
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

/* The outputs of some tiles and one pair from M. */
static void store_outputs(const struct job *job, void *const *pixels, const float *m, size_t tiles, size_t pair) {
    const size_t channels = pair_channels(job, pair);
    struct smri_epilogue epilogue = job->epilogue;
    if (epilogue.scale != NULL) epilogue.scale += pair * SMRI_WINOGRAD_COLS, epilogue.shift += pair * SMRI_WINOGRAD_COLS;
    for (size_t tile = 0; tile < tiles; tile++, m += SMRI_WINOGRAD_COLS, pixels += SMRI_WINOGRAD_OUT * SMRI_WINOGRAD_OUT)
        job->kernels->winograd[job->out.precision].output(pixels, pair * SMRI_WINOGRAD_COLS, m,
                                                          smri_winograd_stride(tiles, SMRI_WINOGRAD_COLS),
                                                          channels, job->accumulate, epilogue);
}

static size_t padded_cols(const struct job *job, size_t pair) {
    return smri_conv2d_blocks(pair_channels(job, pair)) * SMRI_CONV2D_BLOCK;
}

static void share_weights(void *context, size_t index, size_t worker) {
    (void)worker;
    const struct job *job = context;
    const size_t panel = index / 2, b = index % 2, pair = panel / job->n_chunks; /* of one or two blocks */
    if (b < smri_conv2d_blocks(pair_channels(job, pair)))
        weights_block(job, job->shared + panel * job->panel_floats, pair, b, panel % job->n_chunks);
}

static void share_inputs(void *context, size_t index, size_t worker) {
    (void)worker;
    const struct job *job = context;
    const size_t block = index / job->n_chunks, chunk = index % job->n_chunks;
    smri_winograd_input_panel(job->shared + index * job->panel_floats, &job->in, &job->grid, block * job->tiles,
                              block_end(job, block), chunk * job->depth, chunk_channels(job, chunk));
}

static float *worker_m(const struct job *job,
                       size_t worker) { return (float *)(job->per_thread + worker * job->per_thread_stride); }
static float *worker_edge(const struct job *job, size_t worker) { return worker_m(job, worker) + job->m_floats; }
static float *worker_panels(const struct job *job, size_t worker) {
    return worker_edge(job, worker) + smri_winograd_lanes(job->out.C);
}

static struct smri_winograd_tensor outputs_of(const struct job *job, size_t worker) {
    struct smri_winograd_tensor out = job->out;
    out.edge = worker_edge(job, worker);
    return out;
}

/* U shared: tiles [begin, end), all output channels; the inputs of tiles [end, next_end) are fetched. */
static void block_of_tiles(const struct job *job, size_t begin, size_t end, size_t next_end, size_t worker) {
    float *m = worker_m(job, worker), *v = worker_panels(job, worker);
    const size_t bytes = smri_precision_bytes(job->out.precision);
    const size_t v_floats = smri_winograd_panel(job->tiles, job->depth);
    for (size_t chunk = 0; chunk < job->n_chunks; chunk++)
        smri_winograd_input_panel(v + chunk * v_floats, &job->in, &job->grid, begin, end, chunk * job->depth,
                                  chunk_channels(job, chunk));

    void *out_pixels[BLOCK_PIXELS], *in_pixels[BLOCK_PIXELS];
    const struct smri_winograd_tensor out = outputs_of(job, worker);
    tile_pixels(job, out_pixels, &out, begin, end);
    tile_pixels(job, in_pixels, &job->in, end, next_end);
    struct prefetch_list outputs = {.pieces = out_pixels, .count = (end - begin) * SMRI_WINOGRAD_OUT * SMRI_WINOGRAD_OUT};
    struct prefetch_list inputs = {.pieces = in_pixels, .count = (next_end - end) * SMRI_WINOGRAD_OUT * SMRI_WINOGRAD_OUT};
    for (size_t pair = 0; pair < job->n_pairs; pair++) {
        outputs.skip = pair * SMRI_WINOGRAD_COLS * bytes, outputs.bytes = pair_channels(job, pair) * bytes;
        for (size_t chunk = 0; chunk < job->n_chunks; chunk++) {
            const float *u = job->shared + (pair * job->n_chunks + chunk) * job->panel_floats;
            const size_t depth = chunk_channels(job, chunk);
            inputs.skip = chunk * job->depth * bytes, inputs.bytes = depth * bytes;
            multiply(job, m, v + chunk * v_floats, end - begin, u, end - begin, depth, padded_cols(job, pair), chunk > 0,
                     chunk + 1 == job->n_chunks ? &outputs : NULL, pair == 0 ? &inputs : NULL);
        }
        store_outputs(job, out_pixels, m, end - begin, pair);
    }
}

/* Tasks are as many tiles as a product takes; those that come together are done a block at a time. */
static void run_blocks(void *context, size_t begin, size_t end, size_t worker) {
    const struct job *job = context;
    const size_t last = smri_min(end * SMRI_CONV_ROWS, job->grid.total);
    for (size_t tile = begin * SMRI_CONV_ROWS; tile < last; tile += job->tiles) {
        const size_t stop = smri_min(tile + job->tiles, last);
        block_of_tiles(job, tile, stop, smri_min(stop + job->tiles, last), worker);
    }
}

/* V shared: tiles [begin, end) of one block, one pair of blocks of output channels. */
static void pair_of_tiles(const struct job *job, size_t block, size_t begin, size_t end, size_t pair, size_t worker) {
    float *m = worker_m(job, worker), *u = worker_panels(job, worker);
    const size_t first = block * job->tiles, block_tiles = block_end(job, block) - first;
    const float *v = job->shared + block * job->n_chunks * job->panel_floats;
    void *out_pixels[BLOCK_PIXELS], *w_pieces[WEIGHTS_PIECES];
    const struct smri_winograd_tensor out = outputs_of(job, worker);
    tile_pixels(job, out_pixels, &out, first + begin, first + end);
    const size_t bytes = smri_precision_bytes(job->out.precision);
    const struct prefetch_list outputs = {out_pixels, (end - begin) * SMRI_WINOGRAD_OUT * SMRI_WINOGRAD_OUT,
                                          pair * SMRI_WINOGRAD_COLS * bytes, pair_channels(job, pair) * bytes};
    for (size_t chunk = 0; chunk < job->n_chunks; chunk++) {
        const bool last = chunk + 1 == job->n_chunks;
        const size_t depth = chunk_channels(job, chunk);
        struct prefetch_list weights = {.pieces = w_pieces, .bytes = WEIGHTS_PIECE * sizeof(float)};
        if (!last) weights.count = weights_pieces(job, w_pieces, pair, chunk + 1);
        weights_panel(job, u, pair, chunk);
        multiply(job, m, v + chunk * job->panel_floats + begin * smri_winograd_lanes(depth), block_tiles, u,
                 end - begin, depth,
                 padded_cols(job, pair), chunk > 0, last ? &outputs : NULL, last ? NULL : &weights);
    }
    store_outputs(job, out_pixels, m, end - begin, pair);
}

/* Tasks are [block][pair][part of the block]; those of one block and pair that come together transform their weights once. */
static void run_pairs(void *context, size_t begin, size_t end, size_t worker) {
    const struct job *job = context;
    while (begin < end) {
        const size_t block = begin / BLOCK_PARTS / job->n_pairs, pair = begin / BLOCK_PARTS % job->n_pairs;
        const size_t tiles = block_end(job, block) - block * job->tiles;
        const size_t part_tiles = smri_chunk_count(tiles, BLOCK_PARTS * SMRI_CONV_ROWS) * SMRI_CONV_ROWS;
        const size_t part = begin % BLOCK_PARTS, parts = smri_min(end - begin, BLOCK_PARTS - part);
        const size_t last = smri_min((part + parts) * part_tiles, tiles);
        if (part * part_tiles < last) pair_of_tiles(job, block, part * part_tiles, last, pair, worker);
        begin += parts;
    }
}

static void run(struct job *job, const void *in, const struct smri_conv2d_call *call) {
    const size_t edge = smri_winograd_lanes(job->in.C);
    job->in.data = (char *)in; /* read only: the type is shared with the output's */
    job->in.edge = memset(call->workspace.shared, 0, edge * sizeof(float));
    job->out.data = call->out;
    job->w = call->w;
    job->shared = (float *)call->workspace.shared + edge;
    job->per_thread = call->workspace.per_thread, job->per_thread_stride = call->workspace.per_thread_stride;
    if (job->share_weights) {
        smri_pool_run(call->pool, 2 * shared_panels(job), share_weights, job);
        smri_pool_run_ranges(call->pool, smri_chunk_count(job->grid.total, SMRI_CONV_ROWS),
                             smri_chunk_count(job->n_blocks, RUNS) * smri_chunk_count(job->tiles, SMRI_CONV_ROWS), run_blocks,
                             job);
    } else {
        smri_pool_run(call->pool, shared_panels(job), share_inputs, job);
        smri_pool_run_ranges(call->pool, job->n_blocks * job->n_pairs * BLOCK_PARTS, BLOCK_PARTS, run_pairs, job);
    }
}

static void forward(const struct smri_conv2d_call *call) {
    struct job job = plan(false, call->shape);
    job.in.prologue = call->prologue, job.in.shape = call->shape;
    if (call->epilogue != NULL) {
        job.accumulate = call->epilogue->accumulate;
        job.epilogue = (struct smri_epilogue){call->epilogue->scale, call->epilogue->shift, call->epilogue->relu};
    }
    run(&job, call->x, call);
}

static void backward_data(const struct smri_conv2d_call *call) {
    struct job job = plan(true, call->shape);
    job.accumulate = call->accumulate;
    run(&job, call->dy, call);
}

static bool supports(enum smri_conv2d_direction direction, const struct smri_conv2d *s) {
    (void)direction;
    return s->R == 3 && s->S == 3 && s->stride == 1 && s->pad <= 2;
}

static struct smri_workspace_bytes workspace_bytes(enum smri_conv2d_direction direction, const struct smri_conv2d *shape) {
    if (direction == SMRI_CONV2D_BACKWARD_WEIGHTS) return smri_winograd_backward_weights_bytes(shape);
    return forward_bytes(direction == SMRI_CONV2D_BACKWARD_DATA, shape);
}

static bool has_prologue(const struct smri_conv2d *shape) {
    (void)shape;
    return true; /* a tile's pixels are activated on the stack */
}

const struct smri_conv2d_ops smri_conv2d_winograd_ops = {
    .name = "winograd", .supports = supports, .workspace_bytes = workspace_bytes, .forward = forward,
    .backward_data = backward_data, .backward_weights_begin = smri_winograd_backward_weights, .has_epilogue = true,
    .has_prologue = has_prologue,
};
