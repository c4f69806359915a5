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

#include "layers/conv2d/winograd_job.h"

/* Tuned on a core with 48 KiB and 2 MiB of cache at 213 GFLOP/s; figures in kernels/README.md. A panel of weights of
 * one point, DEPTH x 64 floats, has to stay in the first-level cache while the rows of V pass by; U (0.59 MB at all
 * points), V and M of one chunk in the second, which loses 12 % when they do not. The tiles are multiples of six. */
#define DEPTH SMRI_WINOGRAD_CHANNELS
#define TILES_SHARED_U 24
/* Up to this many products C K the transformed weights (36 floats each) are shared: 128 x 128. */
#define SHARED_U_LIMIT ((size_t)16384)

static size_t weights_stride(size_t depth) { return depth * SMRI_WINOGRAD_COLS + SMRI_WINOGRAD_SKEW; }

/* Everything that depends on the shape only. Shared are an edge of zeros and the shared panels. */
static struct smri_winograd_job plan(bool transposed, const struct smri_conv2d *s) {
    struct smri_winograd_job job = {.kernels = smri_kernels_get(), .transposed = transposed, .w_channels = s->C};
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
    job.tiles = smri_min(job.share_weights ? TILES_SHARED_U : SMRI_WINOGRAD_TILES_MAX, job.grid.total);
    job.n_chunks = smri_chunk_count(job.in.C, job.depth);
    job.n_pairs = smri_chunk_count(job.out.C, SMRI_WINOGRAD_COLS);
    job.n_blocks = smri_chunk_count(job.grid.total, job.tiles);
    const size_t v = smri_winograd_panel(job.tiles, job.depth), u = SMRI_WINOGRAD_POINTS * weights_stride(job.depth);
    job.panel_floats = job.share_weights ? u : v;
    job.m_floats = smri_winograd_panel(job.tiles, SMRI_WINOGRAD_COLS);
    job.own_floats = job.m_floats + smri_winograd_lanes(job.out.C) + (job.share_weights ? job.n_chunks * v : u);
    return job;
}

static size_t shared_panels(const struct smri_winograd_job *job) {
    return (job->share_weights ? job->n_pairs : job->n_blocks) * job->n_chunks;
}

static struct smri_workspace_bytes forward_bytes(bool transposed, const struct smri_conv2d *s) {
    const struct smri_winograd_job job = plan(transposed, s);
    const size_t edge = smri_winograd_lanes(job.in.C);
    return (struct smri_workspace_bytes){(edge + shared_panels(&job) * job.panel_floats) * sizeof(float),
                                                job.own_floats * sizeof(float)};
}

void smri_winograd_weights_block(const struct smri_winograd_job *job, float *u, size_t pair, size_t b, size_t chunk) {
    const size_t first = chunk * job->depth, depth = smri_winograd_chunk_channels(job, chunk), C = job->w_channels;
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

static void fetch(const void *p, size_t bytes) {
    for (size_t at = 0; at < bytes; at += SMRI_ALIGNMENT) __builtin_prefetch((const char *)p + at, 0, 2);
}

/* The part of the fetching that belongs to one of `steps` products. */
static void prefetch_share(const struct smri_prefetch_list *list, size_t step, size_t steps) {
    if (list == NULL) return;
    const size_t share = (list->count + steps - 1) / steps;
    for (size_t i = step * share; i < (step + 1) * share && i < list->count; i++)
        fetch((const char *)list->pieces[i] + list->skip, list->bytes);
}

void smri_winograd_multiply(const struct smri_winograd_job *job, float *m, const float *v, size_t panel_tiles,
                            const float *u, size_t tiles, size_t depth, size_t cols, bool accumulate,
                            const struct smri_prefetch_list *outputs, const struct smri_prefetch_list *operands) {
    const size_t v_stride = smri_winograd_stride(panel_tiles, depth), lanes = smri_winograd_lanes(depth);
    const size_t m_stride = smri_winograd_stride(tiles, SMRI_WINOGRAD_COLS);
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

void smri_winograd_tile_pixels(const struct smri_winograd_job *job, void **pixels,
                               const struct smri_winograd_tensor *tensor, size_t begin, size_t end) {
    struct smri_winograd_tensor unpadded = *tensor;
    unpadded.pad = 0;
    for (size_t tile = begin; tile < end; tile++, pixels += SMRI_WINOGRAD_OUT * SMRI_WINOGRAD_OUT)
        smri_winograd_pixels(pixels, &unpadded, &job->grid, tile, SMRI_WINOGRAD_OUT, 0);
}

void smri_winograd_store_outputs(const struct smri_winograd_job *job, void *const *pixels, const float *m, size_t tiles,
                                 size_t pair) {
    const size_t channels = smri_winograd_pair_channels(job, pair);
    struct smri_epilogue epilogue = job->epilogue;
    if (epilogue.scale != NULL) epilogue.scale += pair * SMRI_WINOGRAD_COLS, epilogue.shift += pair * SMRI_WINOGRAD_COLS;
    for (size_t tile = 0; tile < tiles; tile++, m += SMRI_WINOGRAD_COLS, pixels += SMRI_WINOGRAD_OUT * SMRI_WINOGRAD_OUT)
        job->kernels->winograd[job->out.precision].output(pixels, pair * SMRI_WINOGRAD_COLS, m,
                                                          smri_winograd_stride(tiles, SMRI_WINOGRAD_COLS),
                                                          channels, job->accumulate, epilogue);
}

static void run(struct smri_winograd_job *job, const void *in, const struct smri_conv2d_call *call) {
    const size_t edge = smri_winograd_lanes(job->in.C);
    job->in.data = (char *)in; /* read only: the type is shared with the output's */
    job->in.edge = memset(call->workspace.shared, 0, edge * sizeof(float));
    job->out.data = call->out;
    job->w = call->w;
    job->shared = (float *)call->workspace.shared + edge;
    job->per_thread = call->workspace.per_thread, job->per_thread_stride = call->workspace.per_thread_stride;
    (job->share_weights ? smri_winograd_share_weights : smri_winograd_share_inputs)(job, call->pool);
}

static void forward(const struct smri_conv2d_call *call) {
    struct smri_winograd_job job = plan(false, call->shape);
    if (call->epilogue != NULL) {
        job.accumulate = call->epilogue->accumulate;
        job.epilogue = (struct smri_epilogue){call->epilogue->scale, call->epilogue->shift, call->epilogue->relu};
    }
    run(&job, call->x, call);
}

static void backward_data(const struct smri_conv2d_call *call) {
    struct smri_winograd_job job = plan(true, call->shape);
    job.accumulate = call->accumulate;
    run(&job, call->dy, call);
}

static bool supports(enum smri_conv2d_direction direction, const struct smri_conv2d *s) {
    return s->R == 3 && s->S == 3 && s->stride == 1 && s->pad <= 2;
}

static struct smri_workspace_bytes workspace_bytes(enum smri_conv2d_direction direction, const struct smri_conv2d *shape) {
    if (direction == SMRI_CONV2D_BACKWARD_WEIGHTS) return smri_winograd_backward_weights_bytes(shape);
    return forward_bytes(direction == SMRI_CONV2D_BACKWARD_DATA, shape);
}

const struct smri_conv2d_ops smri_conv2d_winograd_ops = {
    .name = "winograd", .supports = supports, .workspace_bytes = workspace_bytes, .forward = forward,
    .backward_data = backward_data, .backward_weights_begin = smri_winograd_backward_weights, .has_epilogue = true,
};
