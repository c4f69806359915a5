/* The gradient of the weights on tile registers: dW[tap][c][k] = sum over pixels m of x[m under tap][c] * dy[m][k].
 *
 * The sum of one tile product runs over one pixel of 32 images, so x and dy are packed into "places", a pixel of a group of
 * images each (kernels/conv/amx_wgrad.h). A tap or a stride is then a choice of x's place; taps that fall into the
 * padding are left out. The operand with fewer channels is the first one, whose packing costs more. With few input
 * channels a row of the window is taken as a whole: x's row is packed channel by channel, with zeros in the padding, and
 * the tiles of neighbouring places overlap; dW's taps are then the rows of the window, and its channels S C.
 *
 * Here are the places and the products. The work is cut by the size of dW: a small one by parts of the pixels
 * (amx_wgrad_parts.c), a large one by blocks of channels (amx_wgrad_blocks.c). */
#include "layers/conv2d/amx_wgrad.h"

#include <string.h>

#define SIDE SMRI_AMX_WGRAD_SIDE
#define TILE SMRI_AMX_WGRAD_NUMBERS
#define PARTS_MIN 4
#define PARTS_MAX 8
#define PART_SUMS_BYTES ((size_t)640 << 10) /* of one part: has to leave room in the second-level cache */
#define SUMS_BYTES ((size_t)2 << 20)        /* of all parts, where they are more than PARTS_MIN */
#define UNIT_BYTES ((size_t)512 << 10)      /* packed places of a unit, likewise */
#define COLUMNS_BYTES ((size_t)512 << 10)   /* packed columns that a task of a packed group multiplies with each row block */
#define TASKS_WANTED 8

static size_t round_up(size_t n, size_t to) { return smri_chunk_count(n, to) * to; }

/* A 1x1 window without padding becomes one over just the pixels that it reads; if that is all of them, over one row. */
static void set_geometry(struct smri_amx_wgrad_job *job, const struct smri_conv2d *s) {
    job->N = s->N, job->H = s->H, job->W = s->W, job->R = s->R, job->S = s->S, job->K = s->K;
    job->P = smri_conv2d_out_rows(s), job->Q = smri_conv2d_out_cols(s);
    job->stride = s->stride, job->pad = s->pad;
    job->x = (struct smri_amx_wgrad_operand){.image = s->H * s->W * s->C, .row = s->W * s->C, .place = s->C};
    job->dy = (struct smri_amx_wgrad_operand){.image = job->P * job->Q * s->K, .row = job->Q * s->K, .place = s->K};
    if (s->R == 1 && s->S == 1 && s->pad == 0) {
        job->x.row *= s->stride, job->x.place *= s->stride;
        job->H = job->P, job->W = job->Q, job->stride = 1;
    }
    if (smri_conv2d_is_pointwise(s) && job->by_parts) job->Q = job->W = s->H * s->W, job->P = job->H = 1;
}

/* Columns of x under `n` outputs of a row. */
static size_t columns_under(const struct smri_amx_wgrad_job *job, size_t n) { return (n - 1) * job->stride + job->S; }

/* Sums of many parts cost memory traffic, few parts leave threads without work. */
static void set_parts(struct smri_amx_wgrad_job *job) {
    const size_t affordable = SUMS_BYTES / (job->sums_floats * sizeof(float));
    const size_t wanted = affordable < PARTS_MIN ? PARTS_MIN : smri_min(affordable, PARTS_MAX);
    job->part_units = smri_chunk_count(job->units, wanted);
    job->parts = smri_chunk_count(job->units, job->part_units);
}

/* Blocks of a task: as many columns as stay in the second-level cache, and rows so that there are tasks enough. */
static void set_tasks(struct smri_amx_wgrad_job *job) {
    const size_t column_bytes = 2 * TILE * sizeof(smri_bf16) * (job->x.rows ? job->P * job->Q : job->H * job->W);
    const size_t col_tasks = smri_chunk_count(job->col_blocks, COLUMNS_BYTES / column_bytes + 1);
    job->task_cols = smri_chunk_count(job->col_blocks, col_tasks);
    job->task_rows = smri_chunk_count(job->row_blocks, smri_chunk_count(TASKS_WANTED, col_tasks));
}

static struct smri_amx_wgrad_job new_job(const struct smri_conv2d *s) {
    struct smri_amx_wgrad_job job = {.kernels = &smri_kernels_get()->amx_wgrad};
    job.windows = s->C < SIDE && s->S > 1;
    job.taps = job.windows ? s->R : s->R * s->S;
    job.channels = job.windows ? s->S * s->C : s->C;
    const size_t x_tiles = smri_chunk_count(job.channels, SIDE), dy_tiles = smri_chunk_count(s->K, SIDE);
    const bool x_first = job.windows || x_tiles <= dy_tiles;
    job.row_blocks = smri_chunk_count(x_first ? x_tiles : dy_tiles, 2);
    job.col_blocks = smri_chunk_count(x_first ? dy_tiles : x_tiles, 2);
    job.sums_floats = job.taps * job.row_blocks * job.col_blocks * SMRI_AMX_WGRAD_BLOCK_SUMS;
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
                                 : SMRI_AMX_WGRAD_BLOCK_SUMS * sizeof(float);
    return job;
}

static const struct smri_amx_wgrad_operand *first_operand(const struct smri_amx_wgrad_job *job) {
    return job->x.rows ? &job->x : &job->dy;
}
static const struct smri_amx_wgrad_operand *second_operand(const struct smri_amx_wgrad_job *job) {
    return job->x.rows ? &job->dy : &job->x;
}

bool smri_conv2d_amx_supports_weights(const struct smri_conv2d *shape) {
    return shape->R <= SMRI_AMX_WGRAD_WINDOW_MAX && shape->S <= SMRI_AMX_WGRAD_WINDOW_MAX;
}

static size_t sums_bytes(const struct smri_amx_wgrad_job *job) {
    return job->by_parts ? job->parts * job->sums_floats * sizeof(float) : 0;
}

static size_t packed_bytes(const struct smri_amx_wgrad_job *job) {
    return job->by_parts ? 0 : (job->P * job->dy.packed_row + job->H * job->x.packed_row) * sizeof(smri_bf16);
}

static size_t job_bytes(void) { return smri_align(sizeof(struct smri_amx_wgrad_job) + sizeof(unsigned)); }

/* Shared: the job, for it may outlive the call, and its counter; the sums; what is packed. */
struct smri_workspace_bytes smri_conv2d_amx_wgrad_bytes(const struct smri_conv2d *shape) {
    const struct smri_amx_wgrad_job job = new_job(shape);
    return (struct smri_workspace_bytes){job_bytes() + sums_bytes(&job) + packed_bytes(&job), job.per_thread_bytes};
}

size_t smri_amx_wgrad_images_of(const struct smri_amx_wgrad_job *job, size_t group) {
    return smri_chunk_end(job->N, job->group_images, group) - group * job->group_images;
}

void smri_amx_wgrad_pack(const struct smri_amx_wgrad_job *job, const struct smri_amx_wgrad_operand *operand,
                         smri_bf16 *out, size_t group, size_t row, size_t col, size_t places) {
    const struct smri_wtile_pack pack = {
        .out = out,
        .out_place = operand->step,
        .in = operand->data + group * job->group_images * operand->image + row * operand->row + col * operand->place,
        .in_image = operand->image,
        .in_place = operand->place,
        .images = smri_amx_wgrad_images_of(job, group),
        .places = places,
        .channels = operand->channels,
        .rows = operand->rows,
    };
    job->kernels->pack(&pack);
}

/* Columns of x that a unit reads: those of the window's first to its last position, inside the image. */
static size_t first_column(const struct smri_amx_wgrad_job *job, size_t q) {
    return q * job->stride > job->pad ? q * job->stride - job->pad : 0;
}

static size_t end_column(const struct smri_amx_wgrad_job *job, size_t q_end) {
    const size_t end = (q_end - 1) * job->stride + job->S;
    return end <= job->pad ? 0 : smri_min(end - job->pad, job->W);
}

void smri_amx_wgrad_pack_x_row(const struct smri_amx_wgrad_job *job, smri_bf16 *out, const struct smri_amx_wgrad_unit *u,
                               size_t h) {
    const size_t begin = first_column(job, u->q), end = end_column(job, u->q_end);
    const size_t columns = end > begin ? end - begin : 0;
    if (!job->windows) {
        if (columns > 0) smri_amx_wgrad_pack(job, &job->x, out, u->group, h, begin, columns);
        return;
    }
    const size_t total = columns_under(job, u->q_end - u->q) * job->x.step;
    const size_t left = u->q * job->stride < job->pad ? smri_min((job->pad - u->q * job->stride) * job->x.step, total) : 0;
    const size_t inside = columns * job->x.step;
    memset(out, 0, left * sizeof *out);
    if (columns > 0) {
        struct smri_amx_wgrad_operand whole = job->x;
        whole.channels = columns * job->x.channels;
        smri_amx_wgrad_pack(job, &whole, out + left, u->group, h, begin, 1);
    }
    memset(out + left + inside, 0, (total - left - inside) * sizeof *out);
}

bool smri_amx_wgrad_row_under(const struct smri_amx_wgrad_job *job, size_t p, size_t r, size_t *h) {
    *h = p * job->stride + r - job->pad; /* wraps around below zero */
    return *h < job->H;
}

/* Outputs [q, q_end) of the row whose column meets the image at position s of the window. */
static void meet_image(const struct smri_amx_wgrad_job *job, size_t s, size_t *q, size_t *q_end) {
    const size_t first = s < job->pad ? smri_chunk_count(job->pad - s, job->stride) : 0;
    const size_t end = job->W + job->pad > s ? (job->W + job->pad - s - 1) / job->stride + 1 : 0;
    if (*q < first) *q = first;
    if (*q_end > end) *q_end = end;
}

struct smri_wtile_run smri_amx_wgrad_run_of(const struct smri_amx_wgrad_job *job, const struct smri_amx_wgrad_unit *u,
                                            size_t q, size_t q_end, size_t tap, const smri_bf16 *x, const smri_bf16 *dy) {
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

void smri_amx_wgrad_multiply(const struct smri_amx_wgrad_job *job, float *sums, size_t group, bool accumulate,
                             const struct smri_wtile_run *runs, size_t n_runs, size_t row_block, size_t col_block) {
    const struct smri_amx_wgrad_operand *first = first_operand(job), *second = second_operand(job);
    const struct smri_wtile_product product = {
        .sums = sums,
        .accumulate = accumulate,
        .pairs = smri_chunk_count(smri_amx_wgrad_images_of(job, group), 2),
        .runs = runs,
        .n_runs = n_runs,
        .a_step = first->step * first->places,
        .b_step = second->step * second->places,
        .a_tiles = smri_min(2, first->tiles - 2 * row_block),
        .b_tiles = smri_min(2, second->tiles - 2 * col_block),
    };
    job->kernels->product(&product);
}

void smri_amx_wgrad_finish(const struct smri_amx_wgrad_job *job, const float *sums, size_t tap, size_t row_block,
                           size_t col_block, bool accumulate) {
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

void smri_conv2d_amx_backward_weights(const struct smri_conv2d_call *call) {
    struct smri_amx_wgrad_job *job = call->workspace.shared;
    *job = new_job(call->shape);
    job->dw = call->out, job->x.data = call->x, job->dy.data = call->dy;
    job->parts_done = memset(job + 1, 0, sizeof(unsigned));
    job->sums = (float *)((char *)job + job_bytes());
    job->packed = (smri_bf16 *)((char *)job->sums + sums_bytes(job));
    job->per_thread = call->workspace.per_thread, job->per_thread_stride = call->workspace.per_thread_stride;
    (job->by_parts ? smri_amx_wgrad_begin_parts : smri_amx_wgrad_begin_blocks)(job, call->pool);
}
