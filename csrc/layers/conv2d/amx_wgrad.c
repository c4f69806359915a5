/* The gradient of the weights on tile registers: dW[tap][c][k] = sum over pixels m of x[m under tap][c] * dy[m][k].
 *
 * The sum of one tile product runs over one pixel of 32 images, so x and dy are packed into "places", a pixel of a group of
 * images each (kernels/conv/amx_wgrad.h). A tap or a stride is then a choice of x's place; taps that fall into the
 * padding are left out. The operand with fewer channels is the first one, whose packing costs more. With few input
 * channels a row of the window is taken as a whole: x's row is packed channel by channel, with zeros in the padding, and
 * the tiles of neighbouring places overlap; dW's taps are then the rows of the window, and its channels S C.
 *
 * Two ways to cut the work, by the size of dW. Small (early layers): a task owns a part of the pixels, packs them unit by
 * unit (a piece of a row of outputs, and the rows of x under it, the last R of which are kept) and adds to sums of its
 * own; whoever does the last part adds them, in ascending order. Large: all of a group is packed first, and a task
 * owns some channels of both sides, whose sums stay in registers over all pixels. */
#include "layers/conv2d/amx.h"

#include <stdatomic.h>
#include <string.h>

#include "kernels/kernels.h"
#include "smri/memory.h"

#define SIDE SMRI_AMX_WGRAD_SIDE
#define TILE SMRI_AMX_WGRAD_NUMBERS
#define BLOCK_SUMS (4 * SMRI_AMX_WGRAD_SUMS) /* a product's sums: 2 x 2 tiles */
#define WINDOW_MAX 16
#define PLACES 8 /* in one product: 2 x 8 KiB of each operand, in the first-level cache; 16 and more are 5 % slower */
#define PARTS_MIN 4
#define PARTS_MAX 8
#define PART_SUMS_BYTES ((size_t)640 << 10) /* of one part: has to leave room in the second-level cache */
#define SUMS_BYTES ((size_t)2 << 20)        /* of all parts, where they are more than PARTS_MIN */
#define UNIT_BYTES ((size_t)512 << 10)      /* packed places of a unit, likewise */
#define COLUMNS_BYTES ((size_t)512 << 10)   /* packed columns that a task of a packed group multiplies with each row block */
#define TASKS_WANTED 8
#define RUNS 64

/* One of x and dy. Strides and sizes count numbers. */
struct operand {
    const smri_bf16 *data;
    size_t image, row, place; /* strides of the tensor, whose pixels have */
    size_t channels;
    size_t tiles, step; /* of a packed place */
    size_t places;      /* from one output to the next */
    size_t packed_row;  /* room for a unit's row */
    bool rows;          /* packed as first operand */
};

struct job {
    const struct smri_amx_wgrad_kernels *kernels;
    size_t N, H, W, P, Q, R, S, stride, pad, K; /* as the tasks see them: a 1x1 window has no stride */
    bool windows;
    size_t taps, channels; /* of dW: (R, S C) with windows */
    size_t group_images, groups;
    struct operand x, dy;
    size_t row_blocks, col_blocks; /* pairs of tiles of the first and the second operand */
    size_t sums_floats;            /* of all dW */
    bool by_parts;
    size_t chunk, chunks, units;   /* outputs of a unit; units in a row; and in all */
    size_t parts, part_units;
    size_t task_rows, task_cols; /* blocks of a task of a packed group */
    size_t group; /* in work */
    float *dw, *sums;
    _Atomic unsigned *parts_done;
    smri_bf16 *packed; /* the group, unless the work is cut by parts */
    char *per_thread;         /* each worker's packed unit, or the sums of a block */
    size_t per_thread_stride, per_thread_bytes;
};

static size_t round_up(size_t n, size_t to) { return smri_chunk_count(n, to) * to; }

/* A 1x1 window without padding becomes one over just the pixels that it reads; if that is all of them, over one row. */
static void set_geometry(struct job *job, const struct smri_conv2d *s) {
    job->N = s->N, job->H = s->H, job->W = s->W, job->R = s->R, job->S = s->S, job->K = s->K;
    job->P = smri_conv2d_out_rows(s), job->Q = smri_conv2d_out_cols(s);
    job->stride = s->stride, job->pad = s->pad;
    job->x = (struct operand){.image = s->H * s->W * s->C, .row = s->W * s->C, .place = s->C};
    job->dy = (struct operand){.image = job->P * job->Q * s->K, .row = job->Q * s->K, .place = s->K};
    if (s->R == 1 && s->S == 1 && s->pad == 0) {
        job->x.row *= s->stride, job->x.place *= s->stride;
        job->H = job->P, job->W = job->Q, job->stride = 1;
    }
    if (smri_conv2d_is_pointwise(s) && job->by_parts) job->Q = job->W = s->H * s->W, job->P = job->H = 1;
}

/* Columns of x under `n` outputs of a row. */
static size_t columns_under(const struct job *job, size_t n) { return (n - 1) * job->stride + job->S; }

/* Sums of many parts cost memory traffic, few parts leave threads without work. */
static void set_parts(struct job *job) {
    const size_t affordable = SUMS_BYTES / (job->sums_floats * sizeof(float));
    const size_t wanted = affordable < PARTS_MIN ? PARTS_MIN : smri_min(affordable, PARTS_MAX);
    job->part_units = smri_chunk_count(job->units, wanted);
    job->parts = smri_chunk_count(job->units, job->part_units);
}

/* Blocks of a task: as many columns as stay in the second-level cache, and rows so that there are tasks enough. */
static void set_tasks(struct job *job) {
    const size_t column_bytes = 2 * TILE * sizeof(smri_bf16) * (job->x.rows ? job->P * job->Q : job->H * job->W);
    const size_t col_tasks = smri_chunk_count(job->col_blocks, COLUMNS_BYTES / column_bytes + 1);
    job->task_cols = smri_chunk_count(job->col_blocks, col_tasks);
    job->task_rows = smri_chunk_count(job->row_blocks, smri_chunk_count(TASKS_WANTED, col_tasks));
}

static struct job new_job(const struct smri_conv2d *s) {
    struct job job = {.kernels = &smri_kernels_get()->amx_wgrad};
    job.windows = s->C < SIDE && s->S > 1;
    job.taps = job.windows ? s->R : s->R * s->S;
    job.channels = job.windows ? s->S * s->C : s->C;
    const size_t x_tiles = smri_chunk_count(job.channels, SIDE), dy_tiles = smri_chunk_count(s->K, SIDE);
    const bool x_first = job.windows || x_tiles <= dy_tiles;
    job.row_blocks = smri_chunk_count(x_first ? x_tiles : dy_tiles, 2);
    job.col_blocks = smri_chunk_count(x_first ? dy_tiles : x_tiles, 2);
    job.sums_floats = job.taps * job.row_blocks * job.col_blocks * BLOCK_SUMS;
    job.by_parts = job.sums_floats * sizeof(float) <= PART_SUMS_BYTES;
    set_geometry(&job, s);
    job.x.tiles = x_tiles, job.dy.tiles = dy_tiles;
    job.x.channels = s->C, job.dy.channels = s->K;
    job.x.rows = x_first, job.dy.rows = !x_first;
    job.x.places = job.stride, job.dy.places = 1;
    job.x.step = job.windows ? s->C * SMRI_AMX_WGRAD_IMAGES : x_tiles * TILE;
    job.dy.step = dy_tiles * TILE;
    job.groups = smri_chunk_count(s->N, SMRI_AMX_WGRAD_IMAGES);
    job.group_images = round_up(smri_chunk_count(s->N, job.groups), 2);

    const size_t outputs_bytes = (job.dy.step + job.R * job.stride * job.x.step) * sizeof(smri_bf16);
    job.chunk = job.by_parts ? smri_min(job.Q, round_up(UNIT_BYTES / outputs_bytes + 1, 8)) : job.Q;
    job.chunks = smri_chunk_count(job.Q, job.chunk);
    job.units = job.groups * job.P * job.chunks;
    set_parts(&job);
    set_tasks(&job);
    const size_t columns = columns_under(&job, job.chunk);
    job.dy.packed_row = job.chunk * job.dy.step;
    job.x.packed_row = job.windows ? (columns * s->C + SIDE) * SMRI_AMX_WGRAD_IMAGES : smri_min(columns, job.W) * job.x.step;
    job.per_thread_bytes = job.by_parts ? (job.dy.packed_row + job.R * job.x.packed_row) * sizeof(smri_bf16)
                                 : BLOCK_SUMS * sizeof(float);
    return job;
}

static const struct operand *first_operand(const struct job *job) { return job->x.rows ? &job->x : &job->dy; }
static const struct operand *second_operand(const struct job *job) { return job->x.rows ? &job->dy : &job->x; }

bool smri_conv2d_amx_supports_weights(const struct smri_conv2d *shape) {
    return shape->R <= WINDOW_MAX && shape->S <= WINDOW_MAX;
}

static size_t sums_bytes(const struct job *job) {
    return job->by_parts ? job->parts * job->sums_floats * sizeof(float) : 0;
}

static size_t packed_bytes(const struct job *job) {
    return job->by_parts ? 0 : (job->P * job->dy.packed_row + job->H * job->x.packed_row) * sizeof(smri_bf16);
}

static size_t job_bytes(void) { return smri_align(sizeof(struct job) + sizeof(unsigned)); }

/* Shared: the job, for it may outlive the call, and its counter; the sums; what is packed. */
struct smri_workspace_bytes smri_conv2d_amx_wgrad_bytes(const struct smri_conv2d *shape) {
    const struct job job = new_job(shape);
    return (struct smri_workspace_bytes){job_bytes() + sums_bytes(&job) + packed_bytes(&job), job.per_thread_bytes};
}

/* A piece of a row of outputs, of one group. */
struct unit {
    size_t group, p, q, q_end;
};

static struct unit unit_of(const struct job *job, size_t index) {
    const size_t chunk = index % job->chunks, row = index / job->chunks;
    return (struct unit){row / job->P, row % job->P, chunk * job->chunk, smri_chunk_end(job->Q, job->chunk, chunk)};
}

static size_t images_of(const struct job *job, size_t group) {
    return smri_chunk_end(job->N, job->group_images, group) - group * job->group_images;
}

/* `places` places of an operand from column `col` of row `row` on. */
static void pack(const struct job *job, const struct operand *operand, smri_bf16 *out, size_t group, size_t row, size_t col,
                 size_t places) {
    const struct smri_wtile_pack pack = {
        .out = out,
        .out_place = operand->step,
        .in = operand->data + group * job->group_images * operand->image + row * operand->row + col * operand->place,
        .in_image = operand->image,
        .in_place = operand->place,
        .images = images_of(job, group),
        .places = places,
        .channels = operand->channels,
        .rows = operand->rows,
    };
    job->kernels->pack(&pack);
}

/* Columns of x that a unit reads: those of the window's first to its last position, inside the image. */
static size_t first_column(const struct job *job, size_t q) {
    return q * job->stride > job->pad ? q * job->stride - job->pad : 0;
}

static size_t end_column(const struct job *job, size_t q_end) {
    const size_t end = (q_end - 1) * job->stride + job->S;
    return end <= job->pad ? 0 : smri_min(end - job->pad, job->W);
}

/* Row h of x under the unit. With windows the row is one place of many channels, between zeros. */
static void pack_x_row(const struct job *job, smri_bf16 *out, const struct unit *u, size_t h) {
    const size_t begin = first_column(job, u->q), end = end_column(job, u->q_end);
    const size_t columns = end > begin ? end - begin : 0;
    if (!job->windows) {
        if (columns > 0) pack(job, &job->x, out, u->group, h, begin, columns);
        return;
    }
    const size_t total = columns_under(job, u->q_end - u->q) * job->x.step;
    const size_t left = u->q * job->stride < job->pad ? smri_min((job->pad - u->q * job->stride) * job->x.step, total) : 0;
    const size_t inside = columns * job->x.step;
    memset(out, 0, left * sizeof *out);
    if (columns > 0) {
        struct operand whole = job->x;
        whole.channels = columns * job->x.channels;
        pack(job, &whole, out + left, u->group, h, begin, 1);
    }
    memset(out + left + inside, 0, (total - left - inside) * sizeof *out);
}

/* Whether tap row r of output row p lies in the image, and which row it is. */
static bool row_under(const struct job *job, size_t p, size_t r, size_t *h) {
    *h = p * job->stride + r - job->pad; /* wraps around below zero */
    return *h < job->H;
}

/* Outputs [q, q_end) of the row whose column meets the image at position s of the window. */
static void meet_image(const struct job *job, size_t s, size_t *q, size_t *q_end) {
    const size_t first = s < job->pad ? smri_chunk_count(job->pad - s, job->stride) : 0;
    const size_t end = job->W + job->pad > s ? (job->W + job->pad - s - 1) / job->stride + 1 : 0;
    if (*q < first) *q = first;
    if (*q_end > end) *q_end = end;
}

/* The run of one tap over outputs [q, q_end) of a unit, from its packed row of x and dy: `places` is 0 where the tap
 * misses the image. */
static struct smri_wtile_run run_of(const struct job *job, const struct unit *u, size_t q, size_t q_end, size_t tap,
                                    const smri_bf16 *x, const smri_bf16 *dy) {
    if (job->windows) {
        x += (q - u->q) * job->stride * job->x.step;
    } else {
        const size_t s = tap % job->S;
        meet_image(job, s, &q, &q_end);
        if (q >= q_end) return (struct smri_wtile_run){0};
        x += (q * job->stride + s - job->pad - first_column(job, u->q)) * job->x.step;
    }
    dy += (q - u->q) * job->dy.step;
    return (struct smri_wtile_run){job->x.rows ? x : dy, job->x.rows ? dy : x, q_end - q};
}

static void multiply(const struct job *job, float *sums, size_t group, bool accumulate, const struct smri_wtile_run *runs,
                     size_t n_runs, size_t row_block, size_t col_block) {
    const struct operand *first = first_operand(job), *second = second_operand(job);
    const struct smri_wtile_product product = {
        .sums = sums,
        .accumulate = accumulate,
        .pairs = smri_chunk_count(images_of(job, group), 2),
        .runs = runs,
        .n_runs = n_runs,
        .a_step = first->step * first->places,
        .b_step = second->step * second->places,
        .a_tiles = smri_min(2, first->tiles - 2 * row_block),
        .b_tiles = smri_min(2, second->tiles - 2 * col_block),
    };
    job->kernels->product(&product);
}

/* dW of one block from its sums, or from all parts' sums. */
static void finish(const struct job *job, const float *sums, size_t tap, size_t row_block, size_t col_block,
                   bool accumulate) {
    for (size_t tile = 0; tile < 4; tile++) {
        const size_t row = 2 * row_block + tile / 2, col = 2 * col_block + tile % 2;
        const size_t c = SIDE * (job->x.rows ? row : col), k = SIDE * (job->x.rows ? col : row);
        if (c >= job->channels || k >= round_up(job->K, SMRI_CONV2D_BLOCK)) continue;
        const struct smri_wtile_finish finish = {
            .out = job->dw + ((k / SMRI_CONV2D_BLOCK * job->taps + tap) * job->channels + c) * SMRI_CONV2D_BLOCK +
                   k % SMRI_CONV2D_BLOCK,
            .in = sums + tile * SMRI_AMX_WGRAD_SUMS,
            .part_stride = job->sums_floats,
            .parts = job->by_parts ? job->parts : 1,
            .rows = smri_min(SIDE, job->channels - c),
            .cols = k < job->K ? smri_min(SIDE, job->K - k) : 0,
            .transposed = !job->x.rows,
            .accumulate = accumulate,
        };
        job->kernels->finish(&finish);
    }
}

/* Adds the products of outputs [q, q_end) of a unit for one row of taps and all channels; x is the row under them. The
 * taps come last, as they read the same places, which then lie in the first-level cache. */
static void add_row_of_taps(const struct job *job, const struct unit *u, size_t q, size_t q_end, size_t r, float *sums,
                            const smri_bf16 *x, const smri_bf16 *dy) {
    const size_t taps = job->taps / job->R, blocks = job->row_blocks * job->col_blocks;
    struct smri_wtile_run runs[WINDOW_MAX];
    for (size_t s = 0; s < taps; s++) runs[s] = run_of(job, u, q, q_end, s, x, dy);
    for (size_t i = 0; i < job->row_blocks; i++)
        for (size_t j = 0; j < job->col_blocks; j++)
            for (size_t s = 0; s < taps; s++) {
                if (runs[s].places == 0) continue;
                const struct smri_wtile_run run = {runs[s].a + 2 * i * TILE, runs[s].b + 2 * j * TILE, runs[s].places};
                const size_t block = (r * taps + s) * blocks + i * job->col_blocks + j;
                multiply(job, sums + block * BLOCK_SUMS, u->group, true, &run, 1, i, j);
            }
}

/* Adds a unit's products for all taps and channels to a part's sums; row h % R of x is packed row h. */
static void add_unit(const struct job *job, const struct unit *u, float *sums, const smri_bf16 *x, const smri_bf16 *dy) {
    for (size_t q = u->q; q < u->q_end; q += PLACES)
        for (size_t r = 0; r < job->R; r++) {
            size_t h;
            if (!row_under(job, u->p, r, &h)) continue;
            add_row_of_taps(job, u, q, smri_min(q + PLACES, u->q_end), r, sums, x + h % job->R * job->x.packed_row, dy);
        }
}

static void sum_part(const struct job *job, size_t part, size_t worker) {
    float *sums = job->sums + part * job->sums_floats;
    smri_bf16 *dy = (smri_bf16 *)(job->per_thread + worker * job->per_thread_stride), *x = dy + job->dy.packed_row;
    size_t kept[WINDOW_MAX]; /* which row of x each place of the ring holds, over all images and chunks */
    for (size_t r = 0; r < job->R; r++) kept[r] = SIZE_MAX;
    memset(sums, 0, job->sums_floats * sizeof *sums);
    const size_t begin = part * job->part_units, end = smri_chunk_end(job->units, job->part_units, part);
    size_t group = SIZE_MAX;
    for (size_t index = begin; index < end; index++) {
        const struct unit u = unit_of(job, index);
        if (u.group != group) job->kernels->begin(images_of(job, u.group));
        group = u.group;
        pack(job, &job->dy, dy, u.group, u.p, u.q, u.q_end - u.q);
        for (size_t r = 0; r < job->R; r++) {
            size_t h;
            if (!row_under(job, u.p, r, &h)) continue;
            const size_t key = (u.group * job->H + h) * job->chunks + index % job->chunks;
            if (kept[h % job->R] != key) pack_x_row(job, x + h % job->R * job->x.packed_row, &u, h);
            kept[h % job->R] = key;
        }
        add_unit(job, &u, sums, x, dy);
    }
    job->kernels->end();
}

/* dW: the sum of the parts. */
static void add_parts(const struct job *job) {
    const float *sums = job->sums;
    for (size_t row = 0; row < job->taps * job->row_blocks; row++)
        for (size_t j = 0; j < job->col_blocks; j++, sums += BLOCK_SUMS)
            finish(job, sums, row / job->row_blocks, row % job->row_blocks, j, false);
    job->kernels->end();
}

static void run_parts(void *context, size_t begin, size_t end, size_t worker) {
    const struct job *job = context;
    for (; begin < end; begin++) {
        sum_part(job, begin, worker);
        if (atomic_fetch_add_explicit(job->parts_done, 1, memory_order_acq_rel) + 1 == job->parts) add_parts(job);
    }
}

/* Packs one row of dy or, after those, of x, for all tasks. */
static void pack_group(void *context, size_t index, size_t worker) {
    (void)worker;
    const struct job *job = context;
    smri_bf16 *dy = job->packed, *x = dy + job->P * job->dy.packed_row;
    const struct unit u = {job->group, index, 0, job->Q};
    if (index < job->P)
        pack(job, &job->dy, dy + index * job->dy.packed_row, u.group, index, 0, job->Q);
    else
        pack_x_row(job, x + (index - job->P) * job->x.packed_row, &u, index - job->P);
}

/* Sums of one block over the packed group. */
static void sum_block(const struct job *job, float *sums, size_t tap, size_t row_block, size_t col_block) {
    const smri_bf16 *dy = job->packed, *x = dy + job->P * job->dy.packed_row;
    struct smri_wtile_run runs[RUNS];
    size_t n = 0;
    bool accumulate = false;
    for (size_t p = 0; p < job->P; p++) {
        size_t h;
        if (row_under(job, p, tap / (job->taps / job->R), &h)) {
            const struct unit u = {job->group, p, 0, job->Q};
            runs[n] = run_of(job, &u, 0, job->Q, tap, x + h * job->x.packed_row, dy + p * job->dy.packed_row);
            if (runs[n].places > 0) runs[n].a += 2 * row_block * TILE, runs[n].b += 2 * col_block * TILE, n++;
        }
        if (n < RUNS && p + 1 < job->P) continue;
        multiply(job, sums, job->group, accumulate, runs, n, row_block, col_block);
        accumulate = true, n = 0;
    }
}

static void sum_blocks(const struct job *job, size_t index, size_t worker) {
    float *sums = (float *)(job->per_thread + worker * job->per_thread_stride);
    const size_t col_tasks = smri_chunk_count(job->col_blocks, job->task_cols);
    const size_t i = index / col_tasks, j = index % col_tasks;
    const size_t i_end = smri_chunk_end(job->row_blocks, job->task_rows, i);
    const size_t j_end = smri_chunk_end(job->col_blocks, job->task_cols, j);
    job->kernels->begin(images_of(job, job->group));
    for (size_t row = i * job->task_rows; row < i_end; row++)
        for (size_t tap = 0; tap < job->taps; tap++)
            for (size_t col = j * job->task_cols; col < j_end; col++) {
                sum_block(job, sums, tap, row, col);
                finish(job, sums, tap, row, col, job->group > 0);
            }
    job->kernels->end();
}

static void run_blocks(void *context, size_t begin, size_t end, size_t worker) {
    for (; begin < end; begin++) sum_blocks(context, begin, worker);
}

void smri_conv2d_amx_backward_weights(const struct smri_conv2d_call *call) {
    struct job *job = call->workspace.shared;
    *job = new_job(call->shape);
    job->dw = call->out, job->x.data = call->x, job->dy.data = call->dy;
    job->parts_done = memset(job + 1, 0, sizeof(unsigned));
    job->sums = (float *)((char *)job + job_bytes());
    job->packed = (smri_bf16 *)((char *)job->sums + sums_bytes(job));
    job->per_thread = call->workspace.per_thread, job->per_thread_stride = call->workspace.per_thread_stride;
    if (job->by_parts) {
        smri_pool_begin_ranges(call->pool, job->parts, 1, run_parts, job);
        return;
    }
    const size_t row_tasks = smri_chunk_count(job->row_blocks, job->task_rows);
    const size_t tasks = row_tasks * smri_chunk_count(job->col_blocks, job->task_cols);
    for (;; job->group++) {
        smri_pool_run(call->pool, job->P + job->H, pack_group, job);
        if (job->group + 1 == job->groups) break;
        smri_pool_run_ranges(call->pool, tasks, 1, run_blocks, job);
    }
    smri_pool_begin_ranges(call->pool, tasks, 1, run_blocks, job);
}
