/* The layout of the tiles method. Forward and backward-data are the same gather: a pixel of the result is a sum over taps of
 * (a pixel of the source) x (a matrix of weights). A register holds 16 pixels whose sources lie at equal distances for
 * every tap, so the source is copied once into a layout in which they do:
 *
 *   - padding becomes zeros; rows and columns modulo the stride become planes, so that strided taps are neighbours;
 *   - backward-data takes the phases (row and column modulo the stride) of the result one after the other;
 *   - `group` images lie innermost: 16 neighbours are 16 columns of one image, 8 columns of two, ... or one place in 16
 *     images. That fills registers where rows are short, and with 32 images leaves out the taps in the padding.
 *
 * The copy is cut into slices of 32 channels, 64 bytes, so that 16 neighbours are 1 KiB without holes; a task's copy stays
 * in a second-level cache. With few channels (the stem) a row of the window, S C numbers, is contiguous in the image as it
 * is: then a tap is a whole row of the window, and neighbouring pixels' rows overlap. */
#include "layers/conv2d/amx_layout.h"

#include "smri/memory.h"

#define WINDOWS_BELOW 16                    /* channels */
#define STRIP_BYTES ((size_t)384 << 10)     /* of a unit with one image: a fifth of a second-level cache */
#define GROUP_BYTES ((size_t)2 << 20)       /* of a unit with several */
#define CACHED_BYTES ((size_t)768 << 10)    /* weights that stay in a second-level cache from one unit to the next */
#define PASSING_BYTES ((size_t)3 << 20)     /* beyond that, weights that come from the next cache every time */
#define PANEL_READ 7.0   /* a panel of 2 KiB at 20 GB/s, in multiplications of 16 pixels by 32 x 32 weights: 14 ns */
#define SLICE_COPIED 1.4 /* 64 bytes written and read again at 6 GB/s, in the same */
#define PANEL_BYTES ((size_t)512 << 10)     /* weights that pass over a task's pixels at a time */
#define TASKS_WANTED 16
#define UNITS_ENOUGH 8                      /* else result channels are divided among tasks as well */
#define CHUNK_ROWS_MIN 128
#define CHUNK_ROWS_MAX 512
#define CHUNK_BYTES ((size_t)1 << 20)       /* source of a task whose weights pass by */

static struct smri_amx_axis new_axis(bool backward, size_t in, size_t out, size_t window, size_t stride, size_t pad) {
    struct smri_amx_axis a = {.window = window, .stride = stride, .pad = pad, .backward = backward};
    if (backward) {
        /* Result pixel h = i stride + phase takes dy at (h + pad - r) / stride: between -lead and reach - lead + i. */
        a.result = in, a.source = out, a.result_step = stride, a.source_step = a.planes = 1;
        a.lead = window - 1 > pad ? (window - 1 - pad) / stride : 0;
        a.reach = a.lead + (stride - 1 + pad) / stride;
    } else {
        a.result = out, a.source = in, a.result_step = 1, a.source_step = stride;
        a.planes = stride < window ? stride : window;
        a.lead = pad, a.reach = (window - 1) / stride;
    }
    a.length = smri_amx_phase_length(&a, 0);
    return a;
}

bool smri_amx_tap_of(const struct smri_amx_axis *a, size_t phase, size_t r, size_t *plane, size_t *offset) {
    if (!a->backward) {
        *plane = r % a->stride, *offset = r / a->stride;
        return true;
    }
    const size_t shifted = phase + a->pad + a->lead * a->stride; /* not below r: see lead */
    *plane = 0, *offset = shifted < r ? 0 : (shifted - r) / a->stride;
    return shifted >= r && (shifted - r) % a->stride == 0;
}

/* Pairs of a result pixel and a tap that hits the source. */
static size_t count_hits(const struct smri_amx_axis *a) {
    size_t hits = 0;
    for (size_t r = 0; r < a->window; r++)
        for (size_t i = 0; i < a->result; i++) {
            const size_t at = a->backward ? i + a->pad : i * a->stride + r;
            if (a->backward)
                hits += at >= r && (at - r) % a->stride == 0 && (at - r) / a->stride < a->source;
            else
                hits += at >= a->pad && at - a->pad < a->source;
        }
    return hits;
}

static size_t halves_by_row(const struct smri_amx_plan *p, size_t rows) {
    return rows * smri_chunk_count(p->cols.length * p->group, SMRI_AMX_HALF);
}

static size_t halves_linear(const struct smri_amx_plan *p, size_t rows) {
    return smri_chunk_count(((rows - 1) * p->pitch + p->cols.length) * p->group, SMRI_AMX_HALF);
}

/* Positions and bytes of a unit for the plan's group and strip_rows. */
static void size_unit(struct smri_amx_plan *p) {
    if (p->layout == SMRI_AMX_WINDOWS) {
        const size_t pixel = p->source_channels * sizeof(smri_bf16);
        p->pitch = (p->cols.result - 1) * p->cols.stride + p->cols.window;
        p->plane_rows = (p->strip_rows - 1) * p->rows.stride + p->rows.window;
        p->pixel_stride = p->cols.stride * pixel, p->slice_stride = SMRI_AMX_SLICE_BYTES;
        const size_t overrun = SMRI_AMX_HALF * p->pixel_stride + p->slices * SMRI_AMX_SLICE_BYTES;
        p->unit_bytes = smri_align(p->plane_rows * p->pitch * pixel + overrun);
    } else {
        const size_t planes = p->rows.planes * p->cols.planes;
        p->pitch = p->cols.length + p->cols.reach;
        p->plane_rows = p->strip_rows + p->rows.reach;
        p->pixel_stride = SMRI_AMX_SLICE_BYTES;
        p->slice_stride = (planes * p->plane_rows * p->pitch * p->group + SMRI_AMX_HALF) * SMRI_AMX_SLICE_BYTES;
        p->unit_bytes = p->slices * p->slice_stride;
    }
    p->linear = p->group < SMRI_AMX_HALF && halves_linear(p, p->strip_rows) < halves_by_row(p, p->strip_rows);
}

static size_t weights_bytes(const struct smri_amx_plan *p) {
    return smri_chunk_count(p->result_channels, SMRI_AMX_BLOCK) * smri_amx_block_bytes(p);
}

/* The part of the weights that every unit reads from beyond a second-level cache. */
static double weights_missed(const struct smri_amx_plan *p) {
    const size_t bytes = weights_bytes(p);
    if (bytes <= CACHED_BYTES) return 0.0;
    return bytes - CACHED_BYTES < PASSING_BYTES ? (double)(bytes - CACHED_BYTES) / (double)PASSING_BYTES : 1.0;
}

/* The cost of all images with the plan's group, in multiplications of 16 pixels by 32 x 32 weights, for one slice of
 * channels and one block of result channels. */
static double cost_of(const struct smri_amx_plan *p, size_t images) {
    const size_t units = smri_chunk_count(images, p->group);
    double cost = PANEL_READ * weights_missed(p) * (double)(units * p->taps);
    if (units < UNITS_ENOUGH) {
        const size_t blocks = smri_chunk_count(p->result_channels, SMRI_AMX_BLOCK);
        cost += SLICE_COPIED * (double)(images * p->rows.source * p->cols.source) / (double)blocks;
    }
    if (p->group == SMRI_AMX_PIXELS) return cost + 2.0 * (double)units * (double)(count_hits(&p->rows) *
                                                                                  count_hits(&p->cols));
    const size_t halves = p->linear ? halves_linear(p, p->strip_rows) : halves_by_row(p, p->strip_rows);
    return cost + 2.0 * (double)(units * smri_chunk_count(halves, 2) * p->taps);
}

/* Bytes of a unit that products read: exact ones skip the padding. */
static size_t cached_bytes(const struct smri_amx_plan *p) {
    if (p->group < SMRI_AMX_PIXELS) return p->unit_bytes;
    return p->group * p->rows.source * p->cols.source * p->slices * SMRI_AMX_SLICE_BYTES;
}

static void choose_group(struct smri_amx_plan *p) {
    const size_t images = p->images < SMRI_AMX_IMAGES_COUNTED ? p->images : SMRI_AMX_IMAGES_COUNTED;
    p->group = 1, p->strip_rows = p->rows.length;
    size_unit(p);
    size_t best = 1;
    double least = cost_of(p, images);
    for (size_t group = 2; group <= SMRI_AMX_PIXELS && p->layout == SMRI_AMX_SLICES; group *= 2) {
        p->group = group, size_unit(p);
        if (cached_bytes(p) > GROUP_BYTES) break;
        const double cost = cost_of(p, images);
        if (cost < 0.95 * least) best = group, least = cost;
    }
    p->group = best, p->exact = best == SMRI_AMX_PIXELS;
    size_unit(p);
}

static void choose_strips(struct smri_amx_plan *p) {
    p->strips = 1;
    while (p->group == 1 && p->unit_bytes > STRIP_BYTES && p->strip_rows > 1) {
        p->strips *= 2;
        p->strip_rows = smri_chunk_count(p->rows.length, p->strips);
        size_unit(p);
    }
    p->strips = smri_chunk_count(p->rows.length, p->strip_rows);
    p->units = smri_chunk_count(p->images, p->group) * p->strips;
}

static void choose_columns(struct smri_amx_plan *p) {
    const size_t blocks = smri_chunk_count(p->result_channels, SMRI_AMX_BLOCK);
    const size_t wanted = p->units < UNITS_ENOUGH ? smri_chunk_count(TASKS_WANTED, p->units) : 1;
    const size_t task_blocks = smri_chunk_count(blocks, wanted < blocks ? wanted : blocks);
    p->task_cols = task_blocks * SMRI_AMX_BLOCK;
    p->col_groups = smri_chunk_count(blocks, task_blocks);
    const size_t block_bytes = smri_amx_block_bytes(p);
    const size_t panel_blocks = block_bytes < PANEL_BYTES ? PANEL_BYTES / block_bytes : 1;
    p->panel_cols = (panel_blocks < task_blocks ? panel_blocks : task_blocks) * SMRI_AMX_BLOCK;
    p->shared = p->layout != SMRI_AMX_POINTWISE && p->col_groups > 1;
}

static void plan_pointwise(struct smri_amx_plan *p) {
    const size_t pixels = p->images * p->rows.result * p->cols.result, pixel = p->source_channels * sizeof(smri_bf16);
    size_t chunk = weights_bytes(p) > CACHED_BYTES ? CHUNK_BYTES / pixel : smri_chunk_count(pixels, TASKS_WANTED);
    if (chunk < CHUNK_ROWS_MIN) chunk = CHUNK_ROWS_MIN;
    if (chunk > CHUNK_ROWS_MAX) chunk = CHUNK_ROWS_MAX;
    p->pixel_stride = pixel, p->slice_stride = SMRI_AMX_SLICE_BYTES;
    p->chunk_rows = smri_chunk_count(chunk, SMRI_AMX_PIXELS) * SMRI_AMX_PIXELS;
    p->units = smri_chunk_count(pixels, p->chunk_rows);
    p->unit_bytes = SMRI_AMX_PIXELS * p->pixel_stride; /* the last pixels, copied */
}

struct smri_amx_plan smri_amx_plan_of(bool backward, const struct smri_conv2d *s) {
    struct smri_amx_plan p = {.backward = backward, .images = s->N};
    p.rows = new_axis(backward, s->H, smri_conv2d_out_rows(s), s->R, s->stride, s->pad);
    p.cols = new_axis(backward, s->W, smri_conv2d_out_cols(s), s->S, s->stride, s->pad);
    p.source_channels = backward ? s->K : s->C, p.result_channels = backward ? s->C : s->K;
    if (smri_conv2d_is_pointwise(s) && p.source_channels % SMRI_AMX_SLICE == 0)
        p.layout = SMRI_AMX_POINTWISE;
    else
        p.layout = !backward && s->S > 1 && s->C < WINDOWS_BELOW ? SMRI_AMX_WINDOWS : SMRI_AMX_SLICES;
    p.taps = p.layout == SMRI_AMX_WINDOWS ? s->R : s->R * s->S;
    p.slices = smri_chunk_count(p.source_channels * (p.layout == SMRI_AMX_WINDOWS ? s->S : 1), SMRI_AMX_SLICE);
    if (p.layout == SMRI_AMX_POINTWISE) {
        plan_pointwise(&p);
    } else {
        choose_group(&p);
        choose_strips(&p);
    }
    choose_columns(&p);
    return p;
}
