/* The gradient of the weights by register tiles: dW[tap][c][k] = sum over pixels m of x[m under tap][c] * dy[m][k], in
 * either precision.
 *
 * Both operands run along m, which is the sum. A task is up to 256 input channels, 64 output channels and a part of the
 * pixels; up to four neighbours are run side by side, and go through their pixels in chunks that fit the second-level cache:
 * dy's columns are packed once a chunk (two blocks of 32 side by side, as the kernel reads them), and x's rows under each tap
 * are packed beside them, with zeros in the padding. A 1x1 window may do without packing x: its rows lie one after the other.
 * In bf16 a row of a panel is two neighbouring pixels, number by number beside each other (kernels/conv/bf16_dot2.h), so that
 * everything is packed; a last odd pixel has zeros beside it.
 *
 * Where the weights are small and the pixels many (early layers), the parts of the pixels are summed apart, and added in
 * ascending order by whoever does the last of them; how many parts depends on the shape alone. */
#include <stdatomic.h>
#include <string.h>

#include "kernels/kernels.h"
#include "layers/conv2d/igemm.h"
#include "smri/cpu.h"
#include "smri/memory.h"

/* of a panel, at most: 24 KiB of dy stay in the first-level cache; 128 is as fast, 192 takes 4 % longer */
#define CHUNK_ROWS 96
#define CHUNK_GRAIN 8 /* pixels: chunks and parts are multiples, so that they are even and nearly equal */
#define CHANNELS_PER_TASK 256 /* a multiple of SMRI_CONV_ROWS */
#define TASKS_PER_RUN 4
#define COLS_PER_RUN (TASKS_PER_RUN * SMRI_CONV_COLS)
#define RUNS_WANTED 16
#define PART_PIXELS_MIN 512
#define PARTS_BYTES_MAX ((size_t)10 << 20) /* four parts of 256 x 256 x 3 x 3: three would leave one of two threads idle */
#define UNPACKED_CHANNELS_MAX 128 /* rows up to 512 bytes: a chunk of them does not collide in the first-level cache */
#define WORD_BYTES 4
#define STEPS 4 /* of the kernel, between two requests for memory ahead */

struct job {
    struct smri_conv2d shape;
    const struct smri_kernels *kernels;
    bool in_place, windows; /* x is read where it lies; whole windows are packed */
    size_t P, Q, pixels;
    size_t taps, rows;      /* taps and input rows of dW as the tasks see them: (1, R S C) with windows */
    size_t channel_groups, column_tasks, parts, part_pixels;
    size_t pixels_per_row;  /* of a panel: 1, or 2 in bf16 */
    size_t chunk_pixels;    /* CHUNK_ROWS rows or a little less, so that the chunks of a part are equal */
    size_t panel_stride;    /* words of 4 bytes from one row of x's panel to the next: floats, or pairs */
    size_t weights_floats;  /* of packed dW */
    float *dw, *partial;    /* partial[parts - 1]: part 0 goes to dw */
    _Atomic unsigned *parts_done; /* [channel_groups][column_tasks] */
    const void *x, *dy;
    char *per_thread;     /* each worker's panels */
    size_t per_thread_stride, per_thread_bytes;
};

/* Whether the rows of a 1x1 window over C channels are multiplied where they lie. The bits are the same. Zen 4 gains 4
 * to 12 % where a core of the Sapphire Rapids class lost 10 to 30. */
static bool reads_in_place(size_t C) { return C <= UNPACKED_CHANNELS_MAX || smri_cpu_has_fast_bf16_dot2(); }

static size_t rounded(size_t pixels) { return smri_chunk_count(pixels, CHUNK_GRAIN) * CHUNK_GRAIN; }

static struct job new_job(const struct smri_conv2d *s) {
    struct job job = {.shape = *s, .kernels = smri_kernels_get()};
    const bool pairs = s->precision == SMRI_BF16;
    job.P = smri_conv2d_out_rows(s), job.Q = smri_conv2d_out_cols(s);
    job.pixels = s->N * job.P * job.Q;
    job.windows = smri_conv2d_packs_windows(s);
    job.pixels_per_row = pairs ? 2 : 1;
    job.in_place = !pairs && smri_conv2d_is_pointwise(s) && reads_in_place(s->C);
    job.taps = job.windows ? 1 : s->R * s->S;
    job.rows = job.windows ? s->R * s->S * s->C : s->C;
    job.channel_groups = smri_chunk_count(job.rows, CHANNELS_PER_TASK);
    job.column_tasks = smri_chunk_count(s->K, SMRI_CONV_COLS);
    /* an odd number of cache lines, so that a column of the panel spreads over the sets of the first-level cache */
    job.panel_stride = smri_min(job.rows, CHANNELS_PER_TASK) / 32 * 32 + 16 + (job.rows % 32 > 16 ? 32 : 0);
    job.weights_floats = smri_conv2d_packed_size(s);
    const size_t runs = job.channel_groups * smri_chunk_count(job.column_tasks, TASKS_PER_RUN);
    size_t parts = smri_chunk_count(RUNS_WANTED, runs);
    parts = smri_min(parts, job.pixels / PART_PIXELS_MIN);
    parts = smri_min(parts, PARTS_BYTES_MAX / (job.weights_floats * sizeof(float)));
    if (parts == 0) parts = 1;
    job.part_pixels = rounded(smri_chunk_count(job.pixels, parts));
    job.parts = smri_chunk_count(job.pixels, job.part_pixels);
    const size_t chunks = smri_chunk_count(job.part_pixels, CHUNK_ROWS * job.pixels_per_row);
    job.chunk_pixels = rounded(smri_chunk_count(job.part_pixels, chunks));
    job.per_thread_bytes = CHUNK_ROWS * (COLS_PER_RUN + (job.in_place ? 0 : job.panel_stride)) * WORD_BYTES;
    if (job.windows) job.per_thread_bytes += smri_align(job.rows * WORD_BYTES); /* the windows of one row */
    return job;
}

static size_t counters_bytes(const struct job *job) {
    return smri_align(job->channel_groups * job->column_tasks * sizeof *job->parts_done);
}

/* Shared: the job, for it may outlive the call; its counters; the partial sums. */
struct smri_workspace_bytes smri_conv2d_igemm_wgrad_bytes(const struct smri_conv2d *shape) {
    const struct job job = new_job(shape);
    const size_t partial = (job.parts - 1) * job.weights_floats * sizeof(float);
    return (struct smri_workspace_bytes){smri_align(sizeof job) + counters_bytes(&job) + partial, job.per_thread_bytes};
}

static size_t panel_width(size_t cols) { return cols > SMRI_CONV_BLOCK ? SMRI_CONV_COLS : SMRI_CONV_BLOCK; }

/* Writes n words of a panel's row from that many numbers of one pixel, or of two; NULL counts as zeros. */
static void pack_row(const struct job *job, char *panel, const void *first, const void *second, size_t n) {
    if (job->pixels_per_row == 2)
        job->kernels->bf16_dot2.interleave((uint32_t *)panel, first, second, n);
    else if (first != NULL)
        job->kernels->conv.copy((float *)panel, 0, first, 0, 1, n);
    else
        memset(panel, 0, n * WORD_BYTES);
}

static const void *number_at(const struct job *job, const void *numbers, size_t index) {
    return (const char *)numbers + index * smri_precision_bytes(job->shape.precision);
}

/* Columns [k, k_end) of dy's pixels [m, m_end) as panels [pair of blocks][row][64 or 32], zeros beyond k_end. Pixels are
 * read whole, one after the other, as the hardware's prefetcher likes it. */
static void pack_dy(const struct job *job, char *panels, size_t m, size_t m_end, size_t k, size_t k_end) {
    const size_t K = job->shape.K, depth = smri_chunk_count(m_end - m, job->pixels_per_row);
    for (size_t row = 0; row < depth; row++, m += job->pixels_per_row) {
        char *panel = panels;
        for (size_t col = k; col < k_end; col += SMRI_CONV_COLS) {
            const size_t left = smri_min(k_end - col, SMRI_CONV_COLS), width = panel_width(left);
            char *to = panel + row * width * WORD_BYTES;
            const void *second = m + 1 < m_end ? number_at(job, job->dy, (m + 1) * K + col) : NULL;
            pack_row(job, to, number_at(job, job->dy, m * K + col), second, left);
            if (left < width) memset(to + left * WORD_BYTES, 0, (width - left) * WORD_BYTES);
            panel += depth * width * WORD_BYTES;
        }
    }
}

/* Channel c of the pixel of x under tap (r, t) of an output pixel, or NULL in the padding. */
static const void *under_tap(const struct job *job, struct smri_conv2d_cursor at, size_t r, size_t t, size_t c) {
    const size_t pixel = smri_conv2d_pixel_under(&job->shape, at, r, t);
    return pixel != SMRI_CONV2D_NOWHERE ? number_at(job, job->x, pixel * job->shape.C + c) : NULL;
}

/* Channels [c, c_end) of the pixels of x under `tap` of output pixels [m, m_end), row by row. */
static void pack_x(const struct job *job, char *panel, size_t tap, size_t m, size_t m_end, size_t c, size_t c_end) {
    const size_t r = tap / job->shape.S, t = tap % job->shape.S;
    struct smri_conv2d_cursor at = smri_conv2d_cursor_at(job->P, job->Q, m);
    for (; m < m_end; m += job->pixels_per_row, panel += job->panel_stride * WORD_BYTES) {
        const void *first = under_tap(job, at, r, t, c), *second = NULL;
        smri_conv2d_advance(&at, job->P, job->Q);
        if (job->pixels_per_row == 2 && m + 1 < m_end) {
            second = under_tap(job, at, r, t, c);
            smri_conv2d_advance(&at, job->P, job->Q);
        }
        pack_row(job, panel, first, second, c_end - c);
    }
}

/* Entries [c, c_end) of the windows of output pixels [m, m_end); `windows` has room for those of a row. */
static void pack_windows(const struct job *job, char *panel, char *windows, size_t m, size_t m_end, size_t c, size_t c_end) {
    const size_t window_bytes = job->rows * smri_precision_bytes(job->shape.precision);
    struct smri_conv2d_cursor at = smri_conv2d_cursor_at(job->P, job->Q, m);
    for (; m < m_end; m += job->pixels_per_row, panel += job->panel_stride * WORD_BYTES) {
        const size_t pixels = smri_min(job->pixels_per_row, m_end - m);
        for (size_t i = 0; i < pixels; i++, smri_conv2d_advance(&at, job->P, job->Q))
            smri_conv2d_pack_window(windows + i * window_bytes, job->x, &job->shape, job->kernels, at.n, at.p, at.q);
        const void *second = pixels == 2 ? number_at(job, windows + window_bytes, c) : NULL;
        pack_row(job, panel, number_at(job, windows, c), second, c_end - c);
    }
}

/* The part of dW and of the pixels that one task or a run of them owns. */
struct range {
    size_t part;
    size_t c, c_end, k, k_end;
    size_t m, m_end;
};

static size_t task_count(const struct job *job) { return job->parts * job->channel_groups * job->column_tasks; }

/* The run that begins with task `begin`, not beyond `end`. */
static struct range range_of(const struct job *job, size_t begin, size_t end) {
    const size_t first = begin % job->column_tasks, count = smri_min(end - begin, TASKS_PER_RUN);
    const size_t last = smri_min(first + count, job->column_tasks);
    const size_t channel_group = begin / job->column_tasks % job->channel_groups;
    const size_t part = begin / job->column_tasks / job->channel_groups;
    return (struct range){
        .part = part,
        .c = channel_group * CHANNELS_PER_TASK,
        .c_end = smri_chunk_end(job->rows, CHANNELS_PER_TASK, channel_group),
        .k = first * SMRI_CONV_COLS,
        .k_end = smri_min(last * SMRI_CONV_COLS, job->shape.K),
        .m = part * job->part_pixels,
        .m_end = smri_chunk_end(job->pixels, job->part_pixels, part),
    };
}

struct run {
    struct range at;
    float *dw;                 /* whole dW, or the partial sum */
    struct smri_prefetch_stream prefetch[2]; /* dy and x of the next chunk, fetched while this one is multiplied */
    size_t prefetch_rate;
};

/* `pixels` rows of an array with `width` numbers a pixel: numbers [begin, end) of each, from pixel m on. */
static struct smri_prefetch_stream rows_stream(const struct job *job, const void *numbers, size_t width, size_t m,
                                               size_t pixels, size_t begin, size_t end) {
    const size_t bytes = smri_precision_bytes(job->shape.precision);
    return (struct smri_prefetch_stream){.row = number_at(job, numbers, m * width + begin),
                                         .lines = smri_chunk_count((end - begin) * bytes, SMRI_ALIGNMENT),
                                         .stride = width * bytes,
                                         .rows = pixels};
}

/* The whole rows of x that the windows of output pixels [m, m_end) see, one after the other. */
static struct smri_prefetch_stream windows_stream(const struct job *job, size_t m, size_t m_end, size_t c, size_t c_end) {
    const struct smri_conv2d *s = &job->shape;
    const struct smri_conv2d_cursor from = smri_conv2d_cursor_at(job->P, job->Q, m);
    const struct smri_conv2d_cursor to = smri_conv2d_cursor_at(job->P, job->Q, m_end - 1);
    const size_t top = from.p * s->stride, bottom = to.p * s->stride + s->R; /* in the padded image */
    const size_t first = (from.n * s->H + (top > s->pad ? top - s->pad : 0)) * s->W;
    const size_t end = (to.n * s->H + smri_min(bottom > s->pad ? bottom - s->pad : 0, s->H)) * s->W;
    return rows_stream(job, job->x, s->C, first, end > first ? end - first : 0, c, c_end);
}

/* Memory is slower than the kernel only while it packs, which is a quarter to a third of the time of early layers. So the
 * kernel fetches the chunk after this one (of `depth` rows), the same run's or the next one's, evenly over its calls: 1.1
 * to 1.25 times faster. */
static void fill_queue(const struct job *job, struct run *run, const struct range *next, size_t m, size_t depth) {
    const struct smri_conv2d *s = &job->shape;
    const size_t m_end = smri_min(m + job->chunk_pixels, next->m_end);
    run->prefetch[0] = rows_stream(job, job->dy, s->K, m, m_end - m, next->k, next->k_end);
    run->prefetch[1] = smri_conv2d_is_pointwise(s) ? rows_stream(job, job->x, s->C, m, m_end - m, next->c, next->c_end)
                     : job->windows              ? windows_stream(job, m, m_end, 0, s->C)
                                                 : windows_stream(job, m, m_end, next->c, next->c_end);
    const size_t lines = run->prefetch[0].lines * run->prefetch[0].rows + run->prefetch[1].lines * run->prefetch[1].rows;
    const size_t calls = job->taps * smri_chunk_count(run->at.k_end - run->at.k, SMRI_CONV_COLS) *
                         smri_chunk_count(run->at.c_end - run->at.c, SMRI_CONV_ROWS);
    const size_t steps = calls * smri_chunk_count(depth, STEPS);
    run->prefetch_rate = lines < steps ? lines > 0 : (lines + steps / 2) / steps;
}

/* Adds one chunk's products for one tap: a is [depth][lda] words from channel run->c on. */
static void add_chunk(const struct job *job, struct run *run, size_t tap, const void *a, size_t lda,
                      const void *panel, size_t depth, bool accumulate) {
    const size_t block_floats = job->taps * job->rows * SMRI_CONV_BLOCK;
    void (*const compute)(const struct smri_gemm_tn *) =
        job->pixels_per_row == 2 ? job->kernels->bf16_dot2.gemm_tn : job->kernels->conv.gemm_tn;
    const char *b = panel;
    for (size_t k = run->at.k; k < run->at.k_end; k += SMRI_CONV_COLS) {
        const size_t blocks = panel_width(run->at.k_end - k) / SMRI_CONV_BLOCK;
        float *dw = run->dw + k / SMRI_CONV_BLOCK * block_floats + tap * job->rows * SMRI_CONV_BLOCK;
        for (size_t c = run->at.c; c < run->at.c_end; c += SMRI_CONV_ROWS) {
            const struct smri_gemm_tn call = {
                .out = dw + c * SMRI_CONV_BLOCK,
                .block_stride = block_floats,
                .rows = smri_min(run->at.c_end - c, SMRI_CONV_ROWS),
                .blocks = blocks,
                .accumulate = accumulate,
                .a = (const char *)a + (c - run->at.c) * WORD_BYTES,
                .lda = lda,
                .b = b,
                .depth = depth,
                .prefetch = &run->prefetch[run->prefetch[0].rows > 0 ? 0 : 1],
                .prefetch_rate = run->prefetch_rate,
            };
            compute(&call);
        }
        b += depth * blocks * SMRI_CONV_BLOCK * WORD_BYTES;
    }
}

/* The padding of the last block holds sums of x times 0, which is NaN for infinite x; the contract says zero. */
static void clear_padding(const struct job *job, const struct run *run) {
    const size_t lanes = run->at.k_end % SMRI_CONV_BLOCK, block_floats = job->taps * job->rows * SMRI_CONV_BLOCK;
    if (lanes == 0) return;
    for (size_t tap = 0; tap < job->taps; tap++)
        for (size_t c = run->at.c; c < run->at.c_end; c++) {
            float *row = run->dw + run->at.k_end / SMRI_CONV_BLOCK * block_floats + (tap * job->rows + c) * SMRI_CONV_BLOCK;
            for (size_t i = lanes; i < SMRI_CONV_BLOCK; i++) row[i] = 0.0f;
        }
}

/* `next` is where the worker will probably go on. */
static void multiply(const struct job *job, struct range at, const struct range *next, size_t worker) {
    struct run run = {.at = at, .dw = at.part == 0 ? job->dw : job->partial + (at.part - 1) * job->weights_floats};
    char *dy_panel = job->per_thread + worker * job->per_thread_stride;
    char *x_panel = dy_panel + CHUNK_ROWS * COLS_PER_RUN * WORD_BYTES;
    char *windows = x_panel + CHUNK_ROWS * job->panel_stride * WORD_BYTES;
    for (size_t m = at.m; m < at.m_end; m += job->chunk_pixels) {
        const size_t m_end = smri_min(m + job->chunk_pixels, at.m_end);
        const size_t depth = smri_chunk_count(m_end - m, job->pixels_per_row);
        pack_dy(job, dy_panel, m, m_end, at.k, at.k_end);
        run.prefetch_rate = 0;
        if (m_end < at.m_end)
            fill_queue(job, &run, &at, m_end, depth);
        else if (next != NULL)
            fill_queue(job, &run, next, next->m, depth);
        for (size_t tap = 0; tap < job->taps; tap++) {
            if (job->in_place) {
                add_chunk(job, &run, tap, number_at(job, job->x, m * job->rows + at.c), job->rows, dy_panel, depth, m > at.m);
                continue;
            }
            if (job->windows)
                pack_windows(job, x_panel, windows, m, m_end, at.c, at.c_end);
            else
                pack_x(job, x_panel, tap, m, m_end, at.c, at.c_end);
            add_chunk(job, &run, tap, x_panel, job->panel_stride, dy_panel, depth, m > at.m);
        }
    }
    clear_padding(job, &run);
}

/* The parts of one task's weights, added up in ascending order. */
static void add_parts(const struct job *job, const struct range *at, size_t k) {
    const size_t blocks = panel_width(at->k_end - k) / SMRI_CONV_BLOCK;
    for (size_t row = 0; row < blocks * job->taps; row++) {
        const size_t rows = (k / SMRI_CONV_BLOCK * job->taps + row) * job->rows;
        for (size_t i = rows + at->c; i < rows + at->c_end; i++) {
            float sum[SMRI_CONV_BLOCK];
            memcpy(sum, job->dw + i * SMRI_CONV_BLOCK, sizeof sum);
            for (size_t part = 1; part < job->parts; part++) {
                const float *partial = job->partial + (part - 1) * job->weights_floats + i * SMRI_CONV_BLOCK;
                for (size_t j = 0; j < SMRI_CONV_BLOCK; j++) sum[j] += partial[j];
            }
            memcpy(job->dw + i * SMRI_CONV_BLOCK, sum, sizeof sum);
        }
    }
}

/* Whoever does the last part of a task's weights adds them up. */
static void count_part(const struct job *job, const struct range *at) {
    const size_t group = at->c / CHANNELS_PER_TASK;
    for (size_t k = at->k; k < at->k_end; k += SMRI_CONV_COLS) {
        _Atomic unsigned *done = &job->parts_done[group * job->column_tasks + k / SMRI_CONV_COLS];
        if (atomic_fetch_add_explicit(done, 1, memory_order_acq_rel) + 1 == job->parts) add_parts(job, at, k);
    }
}

static void run_tasks(void *context, size_t begin, size_t end, size_t worker) {
    const struct job *job = context;
    const size_t count = task_count(job);
    while (begin < end) {
        const struct range at = range_of(job, begin, end);
        begin += smri_chunk_count(at.k_end - at.k, SMRI_CONV_COLS);
        const struct range next = range_of(job, begin < count ? begin : 0, count);
        multiply(job, at, begin < count ? &next : NULL, worker);
        if (job->parts > 1) count_part(job, &at);
    }
}

void smri_conv2d_igemm_backward_weights(const struct smri_conv2d_call *call) {
    struct job *job = call->workspace.shared;
    *job = new_job(call->shape);
    job->dw = call->out, job->x = call->x, job->dy = call->dy;
    job->per_thread = call->workspace.per_thread, job->per_thread_stride = call->workspace.per_thread_stride;
    char *after = (char *)job + smri_align(sizeof *job);
    job->parts_done = memset(after, 0, counters_bytes(job));
    job->partial = (float *)(after + counters_bytes(job));
    smri_pool_begin_ranges(call->pool, task_count(job), TASKS_PER_RUN, run_tasks, job);
}
