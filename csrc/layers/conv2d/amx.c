/* bf16 convolution on the tile registers of AMX: products of bfloat16 pairs, sums in fp32, rounded once.
 *
 * First the weights are rounded and packed into panels, [block of 32 columns][slice of 32 channels][tap]; then tasks copy
 * their part of the source into the layout that amx_layout.c chose (nothing to copy for 1x1 with stride 1) and
 * multiply. Chunks and orders depend on the shape alone. */
#include "layers/conv2d/amx_layout.h"

#include <string.h>

#include "kernels/kernels.h"
#include "layers/conv2d/amx_wgrad.h"
#include "smri/memory.h"

struct job {
    const struct smri_conv2d *shape;
    const struct smri_amx_kernels *kernels;
    struct smri_amx_plan plan;
    smri_bf16 *result;
    const smri_bf16 *source;
    const float *w;
    bool accumulate, streamed;
    smri_bf16 *panels;
    char *per_thread;           /* each worker's taps, and its copy of a unit or of a block's pixels */
    size_t per_thread_stride;
    char *units;         /* when all are copied beforehand */
};

static size_t panels_bytes(const struct smri_amx_plan *p, size_t columns) {
    return smri_chunk_count(columns, SMRI_AMX_BLOCK) * smri_amx_block_bytes(p);
}

static size_t taps_bytes(const struct smri_conv2d *s) { return smri_align(2 * s->R * s->S * sizeof(struct smri_amx_tap)); }

/* The panels of one block of columns and one slice of channels. A row of the window counts as one tap with S C channels in
 * layout WINDOWS, which is how it lies in the packed weights anyway. */
static void pack_slice(const struct job *job, smri_bf16 *panel, size_t block, size_t slice) {
    const struct smri_amx_plan *p = &job->plan;
    const size_t C = job->shape->C, channels = p->layout == SMRI_AMX_WINDOWS ? job->shape->S * C : C;
    for (size_t tap = 0; tap < p->taps; tap++, panel += SMRI_AMX_PANEL) {
        if (p->backward) {
            const float *w = job->w + ((slice * p->taps + tap) * C + block * SMRI_AMX_BLOCK) * SMRI_AMX_BLOCK;
            job->kernels->pack_transposed(panel, w, smri_conv2d_block_width(C, block));
        } else {
            const float *w = job->w + ((block * p->taps + tap) * channels + slice * SMRI_AMX_SLICE) * SMRI_AMX_BLOCK;
            job->kernels->pack(panel, w, smri_conv2d_block_width(channels, slice));
        }
    }
}

static void pack_shared(void *context, size_t index, size_t worker) {
    const struct job *job = context;
    const size_t slices = job->plan.slices;
    pack_slice(job, job->panels + index * job->plan.taps * SMRI_AMX_PANEL, index / slices, index % slices);
}

/* Where a unit lies in the result: its first image, and the rows [begin, end) of each phase. */
struct place {
    size_t first_image, begin, end;
};

static struct place place_of(const struct smri_amx_plan *p, size_t unit) {
    const size_t strip = unit % p->strips, begin = strip * p->strip_rows;
    return (struct place){unit / p->strips * p->group, begin, smri_min(begin + p->strip_rows, p->rows.length)};
}

/* Positions [*begin, *end) of a plane's row that hold source pixels; the others of its `pitch` are padding. */
static void inside(const struct smri_amx_axis *a, size_t plane, size_t pitch, size_t *begin, size_t *end) {
    *begin = a->lead > plane ? smri_min(smri_chunk_count(a->lead - plane, a->source_step), pitch) : 0;
    const size_t past = a->source + a->lead; /* position * step + plane must stay below */
    *end = past > plane ? smri_min(smri_chunk_count(past - plane, a->source_step), pitch) : 0;
    if (*end < *begin) *end = *begin;
}

static void zero_positions(const struct smri_amx_plan *p, char *row, size_t begin, size_t end) {
    for (size_t slice = 0; slice < p->slices; slice++)
        for (size_t j = begin; j < end; j++)
            memset(row + slice * p->slice_stride + j * p->group * SMRI_AMX_SLICE_BYTES, 0, SMRI_AMX_SLICE_BYTES);
}

/* One row of one plane of image `n`, written at `row`; u is the source's row, if `is_inside`. */
static void copy_row(const struct job *job, char *row, size_t n, size_t u, bool is_inside, size_t col_plane) {
    const struct smri_amx_plan *p = &job->plan;
    size_t begin, end;
    inside(&p->cols, col_plane, p->pitch, &begin, &end);
    if (!is_inside) begin = end = p->pitch;
    if (!p->exact) {
        zero_positions(p, row, 0, begin);
        zero_positions(p, row, end, p->pitch);
    }
    if (begin == end) return;
    const size_t v = begin * p->cols.source_step + col_plane - p->cols.lead, position = p->group * SMRI_AMX_SLICE_BYTES;
    const smri_bf16 *in = job->source + ((n * p->rows.source + u) * p->cols.source + v) * p->source_channels;
    job->kernels->slice(row + begin * position, position, p->slice_stride, in, p->cols.source_step * p->source_channels,
                        end - begin, p->source_channels);
}

static void copy_slices(const struct job *job, char *unit, const struct place *place, size_t image) {
    const struct smri_amx_plan *p = &job->plan;
    const size_t row_bytes = p->pitch * p->group * SMRI_AMX_SLICE_BYTES;
    char *row = unit + image * SMRI_AMX_SLICE_BYTES;
    for (size_t row_plane = 0; row_plane < p->rows.planes; row_plane++)
        for (size_t col_plane = 0; col_plane < p->cols.planes; col_plane++)
            for (size_t i = 0; i < p->plane_rows; i++, row += row_bytes) {
                const size_t u = (place->begin + i) * p->rows.source_step + row_plane;
                const bool is_inside = u >= p->rows.lead && u - p->rows.lead < p->rows.source;
                copy_row(job, row, place->first_image + image, is_inside ? u - p->rows.lead : 0, is_inside, col_plane);
            }
}

/* Layout WINDOWS: padded rows of all channels, as they lie, and zeros for what the last pixels' slices read beyond. */
static void copy_windows(const struct job *job, char *unit, const struct place *place) {
    const struct smri_amx_plan *p = &job->plan;
    const size_t pixel = p->source_channels * sizeof(smri_bf16), pad = p->rows.lead;
    const size_t begin = smri_min(p->cols.lead, p->pitch), end = smri_min(p->cols.lead + p->cols.source, p->pitch);
    for (size_t i = 0; i < p->plane_rows; i++, unit += p->pitch * pixel) {
        const size_t u = place->begin * p->rows.stride + i;
        memset(unit, 0, begin * pixel);
        memset(unit + end * pixel, 0, (p->pitch - end) * pixel);
        if (u < pad || u - pad >= p->rows.source) {
            memset(unit + begin * pixel, 0, (end - begin) * pixel);
        } else {
            const size_t first = (place->first_image * p->rows.source + u - pad) * p->cols.source;
            memcpy(unit + begin * pixel, job->source + first * p->source_channels, (end - begin) * pixel);
        }
    }
    memset(unit, 0, p->unit_bytes - p->plane_rows * p->pitch * pixel);
}

/* One image of a unit; a last group may have fewer than others, and what lies there instead does not matter. */
static void copy_image(const struct job *job, char *unit, const struct place *place, size_t image) {
    if (place->first_image + image >= job->plan.images) return;
    if (job->plan.layout == SMRI_AMX_WINDOWS)
        copy_windows(job, unit, place);
    else
        copy_slices(job, unit, place, image);
}

static void copy_shared(void *context, size_t index, size_t worker) {
    const struct job *job = context;
    const size_t unit = index / job->plan.group;
    const struct place place = place_of(&job->plan, unit);
    copy_image(job, job->units + unit * job->plan.unit_bytes, &place, index % job->plan.group);
}

/* The taps of one phase; `row` and `col` name a place in it whose misses are left out, when the plan is exact. */
static size_t list_taps(const struct smri_amx_plan *p, struct smri_amx_tap *taps, size_t row_phase, size_t col_phase,
                        size_t row, size_t col) {
    size_t n = 0, row_plane, col_plane, i, j;
    if (p->layout == SMRI_AMX_WINDOWS) {
        for (; n < p->taps; n++)
            taps[n] = (struct smri_amx_tap){n * p->pitch * p->source_channels * sizeof(smri_bf16), n};
        return n;
    }
    for (size_t r = 0; r < p->rows.window; r++) {
        if (!smri_amx_tap_of(&p->rows, row_phase, r, &row_plane, &i)) continue;
        const size_t u = (row + i) * p->rows.source_step + row_plane;
        if (p->exact && (u < p->rows.lead || u - p->rows.lead >= p->rows.source)) continue;
        for (size_t s = 0; s < p->cols.window; s++) {
            if (!smri_amx_tap_of(&p->cols, col_phase, s, &col_plane, &j)) continue;
            const size_t v = (col + j) * p->cols.source_step + col_plane;
            if (p->exact && (v < p->cols.lead || v - p->cols.lead >= p->cols.source)) continue;
            const size_t plane = row_plane * p->cols.planes + col_plane;
            const size_t position = ((plane * p->plane_rows + i) * p->pitch + j) * p->group;
            taps[n++] = (struct smri_amx_tap){position * SMRI_AMX_SLICE_BYTES, r * p->cols.window + s};
        }
    }
    return n;
}

/* The part of a task that its products share: result channels [first, last), the panels of `first`, scratch. */
struct task {
    size_t unit, first, last;
    const smri_bf16 *panels;
    struct smri_amx_tap *taps;
    char *copy;
};

/* Panels that only one task uses are packed by that task, and go no further than its second-level cache. */
static struct task begin_task(const struct job *job, size_t index, size_t worker) {
    const struct smri_amx_plan *p = &job->plan;
    const size_t group = index % p->col_groups;
    struct task task = {.unit = index / p->col_groups, .first = group * p->task_cols};
    task.last = smri_chunk_end(p->result_channels, p->task_cols, group);
    char *scratch = job->per_thread + worker * job->per_thread_stride;
    task.taps = (void *)scratch, scratch += taps_bytes(job->shape);
    const size_t first_block = task.first / SMRI_AMX_BLOCK, slice_numbers = p->taps * SMRI_AMX_PANEL;
    if (p->units > 1) {
        task.panels = job->panels + first_block * p->slices * slice_numbers;
    } else {
        smri_bf16 *panels = (smri_bf16 *)scratch;
        for (size_t i = 0; i < smri_chunk_count(task.last - task.first, SMRI_AMX_BLOCK) * p->slices; i++)
            pack_slice(job, panels + i * slice_numbers, first_block + i / p->slices, i % p->slices);
        task.panels = panels, scratch += panels_bytes(p, p->task_cols);
    }
    task.copy = p->shared ? job->units + task.unit * p->unit_bytes : scratch;
    job->kernels->begin();
    return task;
}

/* One phase of one unit. */
struct walk {
    struct place place;
    size_t row_phase, col_phase, rows, cols; /* rows from place.begin, and columns, of this phase */
    size_t row_halves, halves;
};

static size_t position_of(const struct smri_amx_plan *p, const struct walk *walk, size_t half) {
    if (p->linear) return half * SMRI_AMX_HALF;
    return half / walk->row_halves * p->pitch * p->group + half % walk->row_halves * SMRI_AMX_HALF;
}

/* Points a half of the product at half number `index` of the walk; NULL for positions that are no result pixels. Returns
 * the first pixel's row and column. */
static void place_half(const struct job *job, const struct walk *walk, struct smri_amx_product *t, size_t half, size_t index,
                       const char *unit, size_t *row, size_t *col) {
    const struct smri_amx_plan *p = &job->plan;
    smri_bf16 **out = t->out + half * SMRI_AMX_HALF;
    const size_t row_positions = p->pitch * p->group;
    const size_t position = position_of(p, walk, index);
    size_t i = position / row_positions, j = position % row_positions / p->group, g = position % p->group;
    t->source[half] = unit + position * p->pixel_stride;
    if (p->taps == 1) t->next[half] = unit + position_of(p, walk, index + 2) * p->pixel_stride;
    *row = walk->place.begin + i, *col = j;
    for (size_t k = 0; k < SMRI_AMX_HALF; k++) {
        const size_t n = walk->place.first_image + g;
        const size_t h = (walk->place.begin + i) * p->rows.result_step + walk->row_phase;
        const size_t w = j * p->cols.result_step + walk->col_phase;
        const bool real = index < walk->halves && i < walk->rows && j < walk->cols && n < p->images;
        out[k] = real ? job->result + ((n * p->rows.result + h) * p->cols.result + w) * p->result_channels : NULL;
        if (++g < p->group) continue;
        g = 0, j++;
        if (j == p->pitch) j = 0, i = p->linear ? i + 1 : walk->rows; /* by rows, the next one has its own halves */
    }
}

/* Restricts a product to the result channels [begin, end); out points to channel 0. */
static void multiply_columns(const struct job *job, const struct task *task, const struct smri_amx_product *whole,
                             size_t begin, size_t end) {
    struct smri_amx_product t = *whole;
    for (size_t i = 0; i < SMRI_AMX_PIXELS; i++)
        if (t.out[i] != NULL) t.out[i] += begin;
    t.cols = end - begin;
    t.weights = task->panels + (begin - task->first) / SMRI_AMX_BLOCK * t.block_panels * SMRI_AMX_PANEL;
    job->kernels->product(&t);
}

static struct smri_amx_product new_product(const struct job *job, const struct smri_amx_tap *taps) {
    const struct smri_amx_plan *p = &job->plan;
    return (struct smri_amx_product){.pixel_stride = p->pixel_stride,
                                       .slice_stride = p->slice_stride,
                                       .taps = taps,
                                       .slices = p->slices,
                                       .block_panels = p->slices * p->taps,
                                       .slice_panels = p->taps,
                                       .accumulate = job->accumulate,
                                       .streamed = job->streamed};
}

static void multiply_phase(const struct job *job, const struct task *task, struct walk *walk, size_t begin, size_t end) {
    const struct smri_amx_plan *p = &job->plan;
    const size_t rows = smri_amx_phase_length(&p->rows, walk->row_phase);
    walk->rows = smri_min(rows, walk->place.end) - smri_min(rows, walk->place.begin);
    walk->cols = smri_amx_phase_length(&p->cols, walk->col_phase);
    if (walk->rows == 0 || walk->cols == 0) return;
    walk->row_halves = smri_chunk_count(walk->cols * p->group, SMRI_AMX_HALF);
    walk->halves = p->linear ? smri_chunk_count(((walk->rows - 1) * p->pitch + walk->cols) * p->group, SMRI_AMX_HALF)
                             : walk->rows * walk->row_halves;
    struct smri_amx_product t = new_product(job, task->taps);
    if (!p->exact) t.n_taps = list_taps(p, task->taps, walk->row_phase, walk->col_phase, 0, 0);
    for (size_t half = 0; half < walk->halves; half += 2) {
        size_t row, col, unused;
        place_half(job, walk, &t, 0, half, task->copy, &row, &col);
        place_half(job, walk, &t, 1, half + 1, task->copy, &unused, &unused);
        if (p->exact) t.n_taps = list_taps(p, task->taps, walk->row_phase, walk->col_phase, row, col);
        multiply_columns(job, task, &t, begin, end);
    }
}

static void run_unit(void *context, size_t index, size_t worker) {
    const struct job *job = context;
    const struct smri_amx_plan *p = &job->plan;
    const struct task task = begin_task(job, index, worker);
    struct walk walk = {.place = place_of(p, task.unit)};
    for (size_t image = 0; image < p->group && !p->shared; image++) copy_image(job, task.copy, &walk.place, image);
    for (size_t begin = task.first; begin < task.last; begin += p->panel_cols)
        for (walk.row_phase = 0; walk.row_phase < p->rows.result_step; walk.row_phase++)
            for (walk.col_phase = 0; walk.col_phase < p->cols.result_step; walk.col_phase++)
                multiply_phase(job, &task, &walk, begin, smri_min(begin + p->panel_cols, task.last));
    job->kernels->end();
}

/* Points a product at the pixels from `at` on. Registers are loaded whole, so the last pixels are copied to `tail`. */
static void place_pixels(const struct job *job, struct smri_amx_product *t, size_t at, size_t end, char *tail) {
    const struct smri_amx_plan *p = &job->plan;
    const smri_bf16 *source = job->source + at * p->source_channels;
    t->n_taps = 1, t->source[0] = (const char *)source;
    if (end - at < SMRI_AMX_PIXELS) {
        t->pixel_stride = SMRI_AMX_SLICE_BYTES, t->slice_stride = SMRI_AMX_PIXELS * SMRI_AMX_SLICE_BYTES;
        job->kernels->slice(tail, t->pixel_stride, t->slice_stride, source, p->source_channels, end - at, p->source_channels);
        t->source[0] = tail;
    }
    t->source[1] = t->source[0] + SMRI_AMX_HALF * t->pixel_stride;
    for (size_t half = 0; half < 2; half++) t->next[half] = t->source[half] + SMRI_AMX_PIXELS * t->pixel_stride;
    for (size_t i = 0; i < SMRI_AMX_PIXELS; i++)
        t->out[i] = at + i < end ? job->result + (at + i) * p->result_channels : NULL;
}

static void run_pointwise(void *context, size_t index, size_t worker) {
    const struct job *job = context;
    const struct smri_amx_plan *p = &job->plan;
    const struct task task = begin_task(job, index, worker);
    const size_t pixels = p->images * p->rows.result * p->cols.result;
    const size_t first = task.unit * p->chunk_rows, end = smri_min(first + p->chunk_rows, pixels);
    const struct smri_amx_tap tap = {0, 0};
    for (size_t begin = task.first; begin < task.last; begin += p->panel_cols)
        for (size_t at = first; at < end; at += SMRI_AMX_PIXELS) {
            struct smri_amx_product t = new_product(job, &tap);
            place_pixels(job, &t, at, end, task.copy);
            multiply_columns(job, &task, &t, begin, smri_min(begin + p->panel_cols, task.last));
        }
    job->kernels->end();
}

static size_t per_thread_bytes(const struct smri_amx_plan *p, const struct smri_conv2d *shape) {
    const size_t panels = p->units > 1 ? 0 : panels_bytes(p, p->task_cols);
    return taps_bytes(shape) + panels + (p->shared ? 0 : smri_align(p->unit_bytes));
}

static size_t shared_panels_bytes(const struct smri_amx_plan *p) {
    return p->units > 1 ? panels_bytes(p, p->result_channels) : 0;
}

static struct smri_workspace_bytes workspace_bytes(enum smri_conv2d_direction direction, const struct smri_conv2d *shape) {
    if (direction == SMRI_CONV2D_BACKWARD_WEIGHTS) return smri_conv2d_amx_wgrad_bytes(shape);
    const struct smri_amx_plan plan = smri_amx_plan_of(direction == SMRI_CONV2D_BACKWARD_DATA, shape);
    const size_t units = plan.shared ? plan.units * plan.unit_bytes : 0;
    return (struct smri_workspace_bytes){shared_panels_bytes(&plan) + units, per_thread_bytes(&plan, shape)};
}

/* Shared: panels, and units. */
static void run(bool backward, const void *source, const struct smri_conv2d_call *call) {
    struct job job = {.shape = call->shape, .plan = smri_amx_plan_of(backward, call->shape), .result = call->out,
                      .source = source, .w = call->w, .accumulate = call->accumulate};
    const struct smri_amx_plan *p = &job.plan;
    const size_t numbers = p->images * p->rows.result * p->cols.result * p->result_channels;
    job.kernels = &smri_kernels_get()->amx;
    job.streamed = !job.accumulate && smri_is_streamed(numbers * sizeof(smri_bf16));
    job.panels = call->workspace.shared;
    job.units = (char *)call->workspace.shared + shared_panels_bytes(p);
    job.per_thread = call->workspace.per_thread, job.per_thread_stride = call->workspace.per_thread_stride;
    const size_t blocks = smri_chunk_count(p->result_channels, SMRI_AMX_BLOCK);
    if (p->units > 1) smri_pool_run(call->pool, blocks * p->slices, pack_shared, &job);
    if (p->shared) smri_pool_run(call->pool, p->units * p->group, copy_shared, &job);
    const bool pointwise = p->layout == SMRI_AMX_POINTWISE;
    smri_pool_run(call->pool, p->units * p->col_groups, pointwise ? run_pointwise : run_unit, &job);
}

static void forward(const struct smri_conv2d_call *call) { run(false, call->x, call); }
static void backward_data(const struct smri_conv2d_call *call) { run(true, call->dy, call); }

/* The reference kernels compute the same products everywhere, so any machine can test this file. The gradient of the weights
 * takes windows of up to 16 x 16. */
static bool supports(enum smri_conv2d_direction direction, const struct smri_conv2d *shape) {
    if (shape->precision != SMRI_BF16) return false;
    if (direction != SMRI_CONV2D_BACKWARD_WEIGHTS) return true;
    return smri_conv2d_amx_supports_weights(shape);
}

const struct smri_conv2d_ops smri_conv2d_amx_ops = {
    .name = "amx", .supports = supports, .workspace_bytes = workspace_bytes, .forward = forward,
    .backward_data = backward_data, .backward_weights_begin = smri_conv2d_amx_backward_weights,
};
