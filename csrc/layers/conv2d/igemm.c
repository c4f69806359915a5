/* Convolution by register tiles that read their inputs where they lie, forward and backward-data, in either precision.
 *
 * Both directions gather: a pixel of the result is a sum over taps of (a pixel of the source) x (a matrix of weights).
 * Six pixels of the result form a tile; for every tap each of them has a pointer to its source pixel, or to zeros where
 * the tap falls into the padding or between the strides, and a tap that all six miss is left out. So stride, padding and
 * backward-data's sub-pixel phases are only a matter of pointers, and one kernel serves all of it.
 *
 * The order of the pixels decides who shares a tile. Backward-data takes one phase (row and column modulo the stride)
 * after the other. Images of at most 8 x 8 put the images innermost, so that a tile is one place in six images and
 * padded taps are skipped exactly; larger ones go row by row.
 *
 * A task is a chunk of pixels and 64 output columns; neither depends on the pool, which hands out a chunk's tasks together
 * but for the last ones. */
#include "layers/conv2d/igemm.h"

#include <stdint.h>
#include <string.h>

#include "kernels/kernels.h"
#include "smri/memory.h"

/* A chunk of source pixels should stay in a second-level cache beside the panel of weights that passes over it; where pixels
 * are one row, beside what is fetched for the next chunk and for whoever looks at the result, too. Zen 4, 1x1 layers
 * of a step of ResNet-50 in ms, forward and backward-data, by numbers and rows at most: 131072 and 192 207.9 + 232.0,
 * 65536 and 192 207.5 + 231.3, 49152 and 96 206.0 + 226.6, 32768 and 96 206.2 + 227.7, 16384 and 48 207.6 + 230.5. */
#define CHUNK_NUMBERS ((size_t)131072)
#define CHUNK_ROWS_MIN 48
#define CHUNK_ROWS_MAX 192
#define POINTWISE_NUMBERS ((size_t)49152)
#define POINTWISE_ROWS_MIN 24
#define POINTWISE_ROWS_MAX 96
#define SMALL_IMAGE 8
#define WORD_BYTES 4 /* of weights: a float, or a pair */

enum mode { POINTWISE, TAPS, PACKED };

struct job {
    const struct smri_conv2d *shape;
    const struct smri_kernels *kernels;
    enum mode mode;
    bool backward, images_innermost, accumulate, streamed;
    size_t I, J, U, V;         /* rows and columns of the result and of the source */
    size_t depth, cols, step;  /* source channels, result channels, phases in each direction */
    size_t pixels, chunk_rows, chunks;
    size_t col_tasks;          /* of one chunk */
    size_t number_bytes;       /* of the result and the source */
    size_t tap_depth;          /* source channels of one tap as the kernel sees it */
    size_t tap_words;          /* rows of one tap's weights: channels, or pairs of them */
    size_t taps;               /* at most, in a tile */
    size_t block_stride;
    char *out;
    const char *source, *weights;
    const char *zeros;         /* one source pixel */
    struct smri_epilogue epilogue;
    const size_t *row_offsets, *col_offsets; /* see tabulate_offsets */
    char *per_thread; /* each worker's tiles, with their taps and windows; then its room */
    size_t per_thread_stride, tiles_bytes;
    const struct smri_conv2d_fusion *fusion;
};

/* A pixel of the result. */
struct pixel {
    size_t n, i, j;
};

static size_t phase_size(size_t size, size_t phase, size_t step) { return phase < size ? (size - phase - 1) / step + 1 : 0; }

static struct pixel pixel_at(const struct job *job, size_t position) {
    const size_t N = job->shape->N;
    size_t phase = 0, rows = 0, cols = 0;
    for (;; phase++) {
        rows = phase_size(job->I, phase / job->step, job->step), cols = phase_size(job->J, phase % job->step, job->step);
        if (position < N * rows * cols) break;
        position -= N * rows * cols;
    }
    struct pixel c;
    if (job->images_innermost) {
        c.n = position % N, position /= N;
        c.j = position % cols, c.i = position / cols;
    } else {
        c.j = position % cols, position /= cols;
        c.i = position % rows, c.n = position / rows;
    }
    c.i = c.i * job->step + phase / job->step, c.j = c.j * job->step + phase % job->step;
    return c;
}

/* The source row (or column) under tap r of result row i; SMRI_CONV2D_NOWHERE in the padding and between the strides. */
static size_t source_index(const struct job *job, size_t i, size_t r, size_t size) {
    const size_t stride = job->shape->stride, pad = job->shape->pad;
    size_t u;
    if (!job->backward) {
        u = i * stride + r - pad; /* wraps to huge when negative */
    } else {
        if (i + pad < r || (i + pad - r) % stride != 0) return SMRI_CONV2D_NOWHERE;
        u = (i + pad - r) / stride;
    }
    return u < size ? u : SMRI_CONV2D_NOWHERE;
}

/* Fills row_offsets[I][R] and col_offsets[J][S], in bytes: a source pixel is image + row + column. */
static void tabulate_offsets(const struct job *job, size_t *row_offsets, size_t *col_offsets) {
    const size_t pixel = job->depth * job->number_bytes;
    for (size_t i = 0; i < job->I; i++)
        for (size_t r = 0; r < job->shape->R; r++) {
            const size_t u = source_index(job, i, r, job->U);
            *row_offsets++ = u == SMRI_CONV2D_NOWHERE ? SMRI_CONV2D_NOWHERE : u * job->V * pixel;
        }
    for (size_t j = 0; j < job->J; j++)
        for (size_t s = 0; s < job->shape->S; s++) {
            const size_t v = source_index(job, j, s, job->V);
            *col_offsets++ = v == SMRI_CONV2D_NOWHERE ? SMRI_CONV2D_NOWHERE : v * pixel;
        }
}

/* The taps of the tile whose pixels are at[0 .. rows), written to `taps`; returns how many there are. */
static size_t list_taps(const struct job *job, struct smri_conv_tap *taps, const struct pixel *at, size_t rows) {
    const size_t R = job->shape->R, S = job->shape->S, image = job->U * job->V * job->depth * job->number_bytes;
    const char *images[SMRI_CONV_ROWS];
    const size_t *row_offsets[SMRI_CONV_ROWS], *col_offsets[SMRI_CONV_ROWS];
    for (size_t i = 0; i < rows; i++) {
        images[i] = job->source + at[i].n * image;
        row_offsets[i] = job->row_offsets + at[i].i * R, col_offsets[i] = job->col_offsets + at[i].j * S;
    }
    size_t n_taps = 0;
    for (size_t r = 0; r < R; r++)
        for (size_t s = 0; s < S; s++) {
            bool any = false;
            for (size_t i = 0; i < rows; i++) {
                const size_t row = row_offsets[i][r], col = col_offsets[i][s];
                const bool hit = row != SMRI_CONV2D_NOWHERE && col != SMRI_CONV2D_NOWHERE;
                any |= hit;
                taps[n_taps].rows[i] = hit ? images[i] + row + col : job->zeros;
            }
            taps[n_taps].weights = (r * S + s) * job->tap_words * SMRI_CONV_BLOCK;
            n_taps += any; /* else the entry is written again */
        }
    return n_taps;
}

/* Taps [*first, *last) of `window` hit an image of `size` when the window begins at `begin` of the padded image. */
static void inside(size_t *first, size_t *last, size_t begin, size_t window, size_t size, size_t pad) {
    *first = begin < pad ? pad - begin : 0;
    *last = pad + size <= begin ? 0 : pad + size - begin;
    if (*first > window) *first = window;
    if (*last > window) *last = window;
    if (*last < *first) *last = *first;
}

void smri_conv2d_pack_window(void *out, const void *x, const struct smri_conv2d *s, const struct smri_kernels *kernels,
                             size_t n, size_t p, size_t q) {
    size_t r, r_end, t, t_end;
    inside(&r, &r_end, p * s->stride, s->R, s->H, s->pad);
    inside(&t, &t_end, q * s->stride, s->S, s->W, s->pad);
    const size_t row = s->S * s->C, numbers = (t_end - t) * s->C;
    if (numbers < row || r_end - r < s->R) memset(out, 0, s->R * row * smri_precision_bytes(s->precision));
    if (numbers == 0 || r == r_end) return;
    const size_t h = p * s->stride + r - s->pad, w = q * s->stride + t - s->pad;
    const size_t to = r * row + t * s->C, from = ((n * s->H + h) * s->W + w) * s->C;
    if (s->precision == SMRI_BF16)
        kernels->bf16_dot2.copy((smri_bf16 *)out + to, row, (const smri_bf16 *)x + from, s->W * s->C, r_end - r, numbers);
    else
        kernels->conv.copy((float *)out + to, row, (const float *)x + from, s->W * s->C, r_end - r, numbers);
}

static size_t room_bytes(const struct job *job) {
    return job->mode == POINTWISE ? smri_align(job->chunk_rows * job->depth * job->number_bytes) : 0;
}

/* Fills the tile at `position` but for its columns. `packed` has room for its windows in mode PACKED; its source
 * pixels lie at `pixels` in mode POINTWISE. */
static void prepare_tile(const struct job *job, struct smri_conv_tile *tile, struct smri_conv_tap *taps, char *packed,
                         const char *pixels, size_t position, size_t rows) {
    const size_t out_bytes = job->cols * job->number_bytes, source_bytes = job->depth * job->number_bytes;
    tile->rows = rows, tile->taps = taps, tile->depth = job->tap_depth, tile->n_taps = 1;
    tile->accumulate = job->accumulate, tile->streamed = job->streamed, tile->block_stride = job->block_stride;
    tile->epilogue = job->epilogue, tile->prefetch_rate = 0;
    if (job->mode == POINTWISE) {
        for (size_t i = 0; i < rows; i++) {
            tile->out[i] = job->out + (position + i) * out_bytes;
            taps->rows[i] = pixels + i * source_bytes;
        }
        taps->weights = 0;
        return;
    }
    struct pixel at[SMRI_CONV_ROWS];
    for (size_t i = 0; i < rows; i++) {
        at[i] = pixel_at(job, position + i);
        tile->out[i] = job->out + ((at[i].n * job->I + at[i].i) * job->J + at[i].j) * out_bytes;
    }
    if (job->mode == TAPS) {
        tile->n_taps = list_taps(job, taps, at, rows);
        return;
    }
    for (size_t i = 0; i < rows; i++, packed += job->tap_depth * job->number_bytes) {
        smri_conv2d_pack_window(packed, job->source, job->shape, job->kernels, at[i].n, at[i].i, at[i].j);
        taps->rows[i] = packed;
    }
    taps->weights = 0;
}

static bool is_made(const struct job *job) { return job->fusion != NULL && job->fusion->produce_src != NULL; }
static bool is_watched(const struct job *job) { return job->fusion != NULL && job->fusion->consume_dst != NULL; }

/* Memory to be fetched while a chunk is multiplied, in this order, evenly over the calls of the kernel. */
struct prefetch_queue {
    struct smri_prefetch_stream streams[3];
    size_t n, at, rate;
};

static void enqueue_rows(struct prefetch_queue *queue, const void *tensor, size_t first, size_t rows, size_t stride,
                         size_t begin, size_t bytes) {
    if (tensor == NULL || bytes == 0) return;
    const char *at = (const char *)tensor + first * stride + begin;
    if (bytes == stride) bytes *= rows, rows = 1;
    queue->streams[queue->n++] = (struct smri_prefetch_stream){at, smri_chunk_count(bytes, 64), stride, rows, 0};
}

/* What will be looked at beside this chunk's columns, then what the next chunk begins with. */
static void fill_queue(const struct job *job, struct prefetch_queue *queue, size_t chunk, size_t column, size_t last) {
    queue->n = queue->at = queue->rate = 0;
    if (job->mode != POINTWISE) return;
    const struct smri_conv2d_fusion *fusion = job->fusion;
    const size_t begin = chunk * job->chunk_rows, end = smri_chunk_end(job->pixels, job->chunk_rows, chunk);
    const size_t bytes = job->number_bytes, pixel = job->depth * bytes;
    if (is_watched(job))
        enqueue_rows(queue, fusion->consumer_reads, begin, end - begin, job->cols * bytes, column * bytes,
                     (last - column) * bytes);
    if (chunk + 1 < job->chunks) {
        const size_t next = smri_chunk_end(job->pixels, job->chunk_rows, chunk + 1) - end;
        if (is_made(job))
            for (size_t i = 0; i < 2; i++) enqueue_rows(queue, fusion->producer_reads[i], end, next, pixel, 0, pixel);
        else
            enqueue_rows(queue, job->source, end, next, pixel, 0, pixel);
    }
    size_t lines = 0;
    for (size_t i = 0; i < queue->n; i++) lines += queue->streams[i].lines * queue->streams[i].rows;
    const size_t calls = smri_chunk_count(end - begin, SMRI_CONV_ROWS) * smri_chunk_count(last - column, SMRI_CONV_COLS);
    const size_t steps = calls * (job->tap_words / 4);
    if (steps > 0) queue->rate = smri_chunk_count(lines, steps);
}

static void prefetch_next(struct prefetch_queue *queue, struct smri_conv_tile *tile) {
    while (queue->at < queue->n && queue->streams[queue->at].rows == 0) queue->at++;
    if (queue->at == queue->n) return;
    tile->prefetch = &queue->streams[queue->at], tile->prefetch_rate = queue->rate;
}

/* Columns [column, last) of one chunk. Whoever has the first ones keeps what is made of the source. */
static void run_chunk(const struct job *job, size_t chunk, size_t column, size_t last, size_t worker) {
    const size_t begin = chunk * job->chunk_rows, end = smri_chunk_end(job->pixels, job->chunk_rows, chunk);
    const size_t n_tiles = smri_chunk_count(end - begin, SMRI_CONV_ROWS);
    struct smri_conv_tile *tiles = (void *)(job->per_thread + worker * job->per_thread_stride);
    const size_t most_tiles = job->chunk_rows / SMRI_CONV_ROWS;
    struct smri_conv_tap *taps = (void *)(tiles + most_tiles);
    char *packed = (void *)(taps + most_tiles * job->taps);
    const size_t packed_tile_bytes = SMRI_CONV_ROWS * job->tap_depth * job->number_bytes;
    const size_t pixel_bytes = job->depth * job->number_bytes;
    const char *pixels = NULL; /* POINTWISE */
    const struct smri_conv2d_fusion *fusion = job->fusion;
    if (is_made(job)) {
        char *room = (char *)tiles + job->tiles_bytes;
        fusion->produce_src(fusion->producer, room, begin, end - begin, column == 0);
        pixels = room;
    } else if (job->mode == POINTWISE) pixels = job->source + begin * pixel_bytes;
    for (size_t t = 0; t < n_tiles; t++) {
        const size_t position = begin + t * SMRI_CONV_ROWS;
        const size_t rows = smri_min(end - position, SMRI_CONV_ROWS);
        prepare_tile(job, &tiles[t], taps + t * job->taps, packed + t * packed_tile_bytes,
                     pixels != NULL ? pixels + t * SMRI_CONV_ROWS * pixel_bytes : NULL, position, rows);
    }
    void (*const compute)(const struct smri_conv_tile *) =
        job->shape->precision == SMRI_BF16 ? job->kernels->bf16_dot2.tile : job->kernels->conv.tile;
    struct prefetch_queue queue;
    fill_queue(job, &queue, chunk, column, last);
    for (size_t col = column; col < last; col += SMRI_CONV_COLS)
        for (size_t t = 0; t < n_tiles; t++) {
            struct smri_conv_tile tile = tiles[t];
            prefetch_next(&queue, &tile);
            for (size_t i = 0; i < tile.rows; i++) tile.out[i] = (char *)tile.out[i] + col * job->number_bytes;
            if (job->epilogue.scale != NULL) tile.epilogue.scale += col, tile.epilogue.shift += col;
            tile.cols = smri_min(last - col, SMRI_CONV_COLS);
            tile.weights = job->weights + col / SMRI_CONV_BLOCK * job->block_stride * WORD_BYTES;
            compute(&tile);
        }
    if (job->streamed) smri_store_fence();
    if (is_watched(job)) fusion->consume_dst(fusion->consumer, begin, end - begin, column, last - column);
}

static void run_tasks(void *context, size_t begin, size_t end, size_t worker) {
    const struct job *job = context;
    while (begin < end) {
        const size_t chunk = begin / job->col_tasks, first = begin % job->col_tasks;
        const size_t count = smri_min(end - begin, job->col_tasks - first);
        const size_t last = smri_min((first + count) * SMRI_CONV_COLS, job->cols);
        run_chunk(job, chunk, first * SMRI_CONV_COLS, last, worker);
        begin += count;
    }
}

static size_t clamp(size_t value, size_t low, size_t high) { return value < low ? low : value > high ? high : value; }

static struct job new_job(bool backward, const struct smri_conv2d *s) {
    const size_t P = smri_conv2d_out_rows(s), Q = smri_conv2d_out_cols(s);
    struct job job = {.shape = s, .kernels = smri_kernels_get(), .backward = backward};
    job.I = backward ? s->H : P, job.J = backward ? s->W : Q;
    job.U = backward ? P : s->H, job.V = backward ? Q : s->W;
    job.depth = backward ? s->K : s->C, job.cols = backward ? s->C : s->K;
    job.step = backward ? s->stride : 1;
    job.mode = smri_conv2d_is_pointwise(s) ? POINTWISE : !backward && smri_conv2d_packs_windows(s) ? PACKED : TAPS;
    job.number_bytes = smri_precision_bytes(s->precision);
    job.images_innermost = job.mode == TAPS && job.I <= SMALL_IMAGE && job.J <= SMALL_IMAGE;
    job.pixels = s->N * job.I * job.J;
    job.taps = job.mode == TAPS ? s->R * s->S : 1;
    job.tap_depth = job.mode == PACKED ? s->R * s->S * s->C : job.depth;
    job.tap_words = s->precision == SMRI_BF16 ? smri_conv2d_pairs(job.tap_depth) : job.tap_depth;
    job.block_stride = (job.mode == PACKED ? 1 : s->R * s->S) * job.tap_words * SMRI_CONV_BLOCK;
    /* An even number of nearly equal chunks, so that the halves of two threads are the same pixels in every operation. */
    const size_t rows = job.mode == POINTWISE
                            ? clamp(POINTWISE_NUMBERS / job.depth, POINTWISE_ROWS_MIN, POINTWISE_ROWS_MAX)
                            : clamp(CHUNK_NUMBERS / job.tap_depth, CHUNK_ROWS_MIN, CHUNK_ROWS_MAX);
    size_t chunks = smri_chunk_count(job.pixels, rows);
    if (chunks > 1) chunks += chunks % 2;
    job.chunk_rows = smri_chunk_count(job.pixels, chunks * SMRI_CONV_ROWS) * SMRI_CONV_ROWS;
    job.chunks = smri_chunk_count(job.pixels, job.chunk_rows);
    job.col_tasks = smri_chunk_count(job.cols, SMRI_CONV_COLS);
    const size_t tiles = job.chunk_rows / SMRI_CONV_ROWS;
    job.tiles_bytes = tiles * (sizeof(struct smri_conv_tile) + job.taps * sizeof(struct smri_conv_tap));
    if (job.mode == PACKED) job.tiles_bytes += job.chunk_rows * job.tap_depth * job.number_bytes;
    job.tiles_bytes = smri_align(job.tiles_bytes);
    return job;
}

static size_t zeros_bytes(const struct job *job) { return smri_align(job->depth * job->number_bytes); }

static size_t offsets_bytes(const struct job *job) {
    return smri_align((job->I * job->shape->R + job->J * job->shape->S) * sizeof(size_t));
}

static bool is_backward(enum smri_conv2d_direction direction) { return direction == SMRI_CONV2D_BACKWARD_DATA; }

struct smri_workspace_bytes smri_conv2d_gather_bytes(enum smri_conv2d_direction direction, const struct smri_conv2d *shape) {
    const struct job job = new_job(is_backward(direction), shape);
    return (struct smri_workspace_bytes){zeros_bytes(&job) + offsets_bytes(&job), job.tiles_bytes + room_bytes(&job)};
}

/* Elsewhere the pixels of a chunk do not follow each other. */
size_t smri_conv2d_gather_part_rows(enum smri_conv2d_direction direction, const struct smri_conv2d *shape) {
    const struct job job = new_job(is_backward(direction), shape);
    return job.mode == POINTWISE ? job.chunk_rows : 0;
}

void smri_conv2d_gather(enum smri_conv2d_direction direction, const void *weights, const struct smri_conv2d_call *call) {
    const struct smri_conv2d *shape = call->shape;
    struct job job = new_job(is_backward(direction), shape);
    job.out = call->out, job.source = job.backward ? call->dy : call->x, job.weights = weights;
    job.accumulate = call->accumulate, job.fusion = call->fusion;
    const struct smri_conv2d_epilogue *epilogue = call->epilogue;
    if (epilogue != NULL) {
        job.accumulate = epilogue->accumulate;
        job.epilogue = (struct smri_epilogue){epilogue->scale, epilogue->shift, epilogue->relu};
    }
    /* In fp32, whose 16 results fill a line; not when someone is about to read them. */
    job.streamed = !job.accumulate && !is_watched(&job) && shape->precision == SMRI_FP32 &&
                   smri_is_streamed(job.pixels * job.cols * sizeof(float));
    job.zeros = memset(call->workspace.shared, 0, job.depth * job.number_bytes);
    size_t *offsets = (size_t *)((char *)call->workspace.shared + zeros_bytes(&job));
    job.row_offsets = offsets, job.col_offsets = offsets + job.I * shape->R;
    if (job.mode == TAPS) tabulate_offsets(&job, offsets, offsets + job.I * shape->R);
    job.per_thread = call->workspace.per_thread, job.per_thread_stride = call->workspace.per_thread_stride;
    smri_pool_run_ranges(call->pool, job.chunks * job.col_tasks, job.col_tasks, run_tasks, &job);
}

struct transposition {
    const struct smri_conv2d *shape;
    const struct smri_conv_kernels *kernels;
    float *out;
    const float *w;
};

static void transpose_block(void *context, size_t index, size_t worker) {
    const struct transposition *t = context;
    const struct smri_conv2d *s = t->shape;
    const size_t K_blocks = smri_conv2d_blocks(s->K), taps = s->R * s->S;
    const size_t c_block = index / K_blocks, k_block = index % K_blocks;
    for (size_t tap = 0; tap < taps; tap++)
        t->kernels->transpose(t->out + ((c_block * taps + tap) * s->K + k_block * SMRI_CONV_BLOCK) * SMRI_CONV_BLOCK,
                              t->w + ((k_block * taps + tap) * s->C + c_block * SMRI_CONV_BLOCK) * SMRI_CONV_BLOCK,
                              smri_conv2d_block_width(s->C, c_block), smri_conv2d_block_width(s->K, k_block));
}

void smri_conv2d_transpose_weights(float *out, const float *w, const struct smri_conv2d *shape, smri_pool *pool) {
    struct transposition t = {shape, &smri_kernels_get()->conv, out, w};
    smri_pool_run(pool, smri_conv2d_blocks(shape->C) * smri_conv2d_blocks(shape->K), transpose_block, &t);
}

static size_t transposed_bytes(const struct smri_conv2d *s) {
    return smri_align(smri_conv2d_blocks(s->C) * s->R * s->S * s->K * SMRI_CONV_BLOCK * sizeof(float));
}

static struct smri_workspace_bytes workspace_bytes(enum smri_conv2d_direction direction, const struct smri_conv2d *shape) {
    if (direction == SMRI_CONV2D_BACKWARD_WEIGHTS) return smri_conv2d_igemm_wgrad_bytes(shape);
    struct smri_workspace_bytes bytes = smri_conv2d_gather_bytes(direction, shape);
    if (direction == SMRI_CONV2D_BACKWARD_DATA) bytes.shared += transposed_bytes(shape);
    return bytes;
}

static void forward(const struct smri_conv2d_call *call) { smri_conv2d_gather(SMRI_CONV2D_FORWARD, call->w, call); }

static void backward_data(const struct smri_conv2d_call *whole) {
    struct smri_conv2d_call call = *whole;
    float *transposed = call.workspace.shared;
    call.workspace = smri_workspace_behind(&call.workspace, transposed_bytes(call.shape));
    smri_conv2d_transpose_weights(transposed, call.w, call.shape, call.pool);
    smri_conv2d_gather(SMRI_CONV2D_BACKWARD_DATA, transposed, &call);
}

const struct smri_conv2d_ops smri_conv2d_igemm_ops = {
    .name = "igemm", .supports = smri_conv2d_takes_fp32, .workspace_bytes = workspace_bytes, .forward = forward,
    .backward_data = backward_data, .backward_weights_begin = smri_conv2d_igemm_backward_weights, .has_epilogue = true,
    .part_rows = smri_conv2d_gather_part_rows,
};
