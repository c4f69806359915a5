/* Batch normalisation on NHWC activations (Ioffe and Szegedy, ICML 2015, algorithm 1 and the gradients of section 3).
 *
 * A group's rows x C panel is cut into tiles of fixed size. A reduction leaves one partial result for each tile and
 * channel, in double; the partial results are merged in ascending order, so the bits do not depend on the pool. Means
 * and squared deviations merge by Chan, Golub and LeVeque (1979): no difference of two large sums anywhere. */
#include "smri/batchnorm2d.h"

#include <assert.h>
#include <math.h>

#include "kernels/kernels.h"
#include "smri/memory.h"

/* A tile of a reduction is at most 256 columns wide (2 KiB of double sums stay in the first-level cache beside the rows) and
 * holds about 2^16 numbers: the partial results of smaller ones take long to merge, those of larger ones would not balance
 * threads on small layers. A tile of a map holds 2^15: it leaves nothing to merge. */
#define TILE_COLUMNS ((size_t)256)
#define TILE_SUMMED ((size_t)1 << 16)
#define TILE_MAPPED ((size_t)1 << 15)
#define MERGED_COLUMNS ((size_t)64) /* columns that one task merges */

static bool is_large(const struct smri_batchnorm2d *shape) {
    return smri_is_streamed(shape->groups * shape->rows * shape->C * smri_precision_bytes(shape->precision));
}

static const struct smri_norm_kernels *kernels_of(const struct smri_batchnorm2d *shape) {
    return &smri_kernels_get()->norm[shape->precision];
}

struct cut {
    size_t rows, row_tiles, column_tiles; /* rows of a tile; tiles of one group */
};

static struct cut cut_for_sums(const struct smri_batchnorm2d *shape) {
    const size_t columns = shape->C < TILE_COLUMNS ? shape->C : TILE_COLUMNS;
    size_t rows = TILE_SUMMED / columns;
    rows = rows < 8 ? 8 : rows / 8 * 8; /* the kernels take eight rows at a time */
    return (struct cut){rows, smri_chunk_count(shape->rows, rows), smri_chunk_count(shape->C, TILE_COLUMNS)};
}

/* Parts of a given size may reach from one group into the next, where they are cut: a group has one more of them then. */
static struct cut cut_in_parts(const struct smri_batchnorm2d *shape, size_t part_rows) {
    return (struct cut){part_rows, smri_chunk_count(shape->rows, part_rows) + (shape->groups > 1), 1};
}

static struct cut cut_for_maps(const struct smri_batchnorm2d *shape) {
    const size_t rows = shape->C < TILE_MAPPED ? TILE_MAPPED / shape->C : 1;
    return (struct cut){rows, smri_chunk_count(shape->rows, rows), 1};
}

static size_t tile_count(const struct smri_batchnorm2d *shape, const struct cut *cut) {
    return shape->groups * cut->row_tiles * cut->column_tiles;
}

/* One tile: its group, its rows and columns, and where it begins in x[groups][rows][C]. */
struct tile {
    size_t group, row_tile, rows, column, columns, offset;
};

static struct tile tile_at(const struct smri_batchnorm2d *shape, const struct cut *cut, size_t index) {
    struct tile tile;
    tile.column = index % cut->column_tiles * TILE_COLUMNS;
    tile.columns = shape->C;
    if (cut->column_tiles > 1)
        tile.columns = shape->C - tile.column < TILE_COLUMNS ? shape->C - tile.column : TILE_COLUMNS;
    index /= cut->column_tiles;
    tile.row_tile = index % cut->row_tiles;
    tile.group = index / cut->row_tiles;
    const size_t first = tile.row_tile * cut->rows;
    tile.rows = smri_chunk_end(shape->rows, cut->rows, tile.row_tile) - first;
    tile.offset = (tile.group * shape->rows + first) * shape->C + tile.column;
    return tile;
}

/* All columns of the rows from `first` on, of all groups, that lie in the group of the first one, `end` at most. */
static struct tile rows_of_group(const struct smri_batchnorm2d *shape, size_t first, size_t end) {
    const size_t group = first / shape->rows, group_end = (group + 1) * shape->rows;
    return (struct tile){.group = group, .rows = (end < group_end ? end : group_end) - first, .columns = shape->C,
                         .offset = first * shape->C};
}

/* The workspace: two partial sums for each row tile, group and channel, then the merged sums and the factors of dx. */
struct space {
    double *first, *second;         /* [groups][row_tiles][C] */
    double *sum_dy, *sum_dyx;       /* [groups][C] */
    float *dy_factor, *x_factor, *constant;
};

static struct space carve(void *workspace, const struct smri_batchnorm2d *shape, const struct cut *cut) {
    const size_t channels = shape->groups * shape->C, partial = channels * cut->row_tiles;
    struct space space;
    space.first = workspace;
    space.second = space.first + partial;
    space.sum_dy = space.second + partial;
    space.sum_dyx = space.sum_dy + channels;
    space.dy_factor = (float *)(space.sum_dyx + channels);
    space.x_factor = space.dy_factor + channels;
    space.constant = space.x_factor + channels;
    return space;
}

static size_t space_bytes(const struct smri_batchnorm2d *shape, struct cut cut) {
    const size_t channels = shape->groups * shape->C;
    return 2 * channels * (cut.row_tiles + 1) * sizeof(double) + 3 * channels * sizeof(float);
}

size_t smri_batchnorm2d_workspace_bytes(const struct smri_batchnorm2d *shape, size_t n_threads) {
    (void)n_threads;
    return space_bytes(shape, cut_for_sums(shape));
}

size_t smri_batchnorm2d_parts_workspace_bytes(const struct smri_batchnorm2d *shape, size_t part_rows) {
    return space_bytes(shape, cut_in_parts(shape, part_rows));
}

/* Some columns of one group, whose partial results one task merges. */
struct columns {
    size_t group, first, end;
    const double *sums, *others; /* [row_tiles][C], both */
    double *total, *other_total; /* [C], both */
};

static size_t merge_count(const struct smri_batchnorm2d *shape) {
    return shape->groups * smri_chunk_count(shape->C, MERGED_COLUMNS);
}

static struct columns columns_at(const struct smri_batchnorm2d *shape, const struct cut *cut, const struct space *space,
                                 size_t index) {
    const size_t parts = smri_chunk_count(shape->C, MERGED_COLUMNS), part = index % parts, group = index / parts;
    const size_t partial = group * cut->row_tiles * shape->C, channel = group * shape->C;
    return (struct columns){group,
                            part * MERGED_COLUMNS,
                            smri_chunk_end(shape->C, MERGED_COLUMNS, part),
                            space->first + partial,
                            space->second + partial,
                            space->sum_dy + channel,
                            space->sum_dyx + channel};
}

struct statistics_job {
    const struct smri_batchnorm2d *shape;
    struct cut cut;
    struct space space;
    const void *x;
    float *mean, *var;
};

static void statistics_task(void *context, size_t index, size_t worker) {
    (void)worker;
    const struct statistics_job *job = context;
    const size_t C = job->shape->C;
    const struct tile tile = tile_at(job->shape, &job->cut, index);
    const size_t out = (tile.group * job->cut.row_tiles + tile.row_tile) * C + tile.column;
    kernels_of(job->shape)->moments(job->space.first + out, job->space.second + out,
                                    smri_numbers_from(job->x, tile.offset, job->shape->precision), tile.rows, tile.columns, C);
}

/* Merges the row tiles: mean = sum n_k mean_k / n, m2 = sum m2_k + n_k (mean_k - mean)^2. */
static void merge_moments(void *context, size_t index, size_t worker) {
    (void)worker;
    const struct statistics_job *job = context;
    const size_t C = job->shape->C, rows = job->shape->rows;
    const struct columns at = columns_at(job->shape, &job->cut, &job->space, index);
    for (size_t c = at.first; c < at.end; c++) at.total[c] = at.other_total[c] = 0.0;
    for (size_t k = 0; k < job->cut.row_tiles; k++) {
        const double n = (double)(smri_chunk_end(rows, job->cut.rows, k) - k * job->cut.rows);
        for (size_t c = at.first; c < at.end; c++) at.total[c] += n * at.sums[k * C + c];
    }
    for (size_t c = at.first; c < at.end; c++) at.total[c] /= (double)rows;
    for (size_t k = 0; k < job->cut.row_tiles; k++) {
        const double n = (double)(smri_chunk_end(rows, job->cut.rows, k) - k * job->cut.rows);
        for (size_t c = at.first; c < at.end; c++) {
            const double apart = at.sums[k * C + c] - at.total[c];
            at.other_total[c] += at.others[k * C + c] + n * apart * apart;
        }
    }
    for (size_t c = at.first; c < at.end; c++) {
        job->mean[at.group * C + c] = (float)at.total[c];
        job->var[at.group * C + c] = (float)(at.other_total[c] / (double)rows);
    }
}

void smri_batchnorm2d_statistics(float *mean, float *var, const void *x, const struct smri_batchnorm2d *shape,
                                 void *workspace, smri_pool *pool) {
    assert(shape->groups > 0 && shape->rows > 0 && shape->C > 0);
    struct statistics_job job = {.shape = shape, .cut = cut_for_sums(shape), .x = x, .mean = mean, .var = var};
    job.space = carve(workspace, shape, &job.cut);
    smri_pool_run(pool, tile_count(shape, &job.cut), statistics_task, &job);
    smri_pool_run(pool, merge_count(shape), merge_moments, &job);
}

void smri_batchnorm2d_update_running(float *running_mean, float *running_var, const float *mean, const float *var,
                                     float momentum, const struct smri_batchnorm2d *shape) {
    const double unbiased = shape->rows > 1 ? (double)shape->rows / (double)(shape->rows - 1) : 1.0;
    for (size_t i = 0; i < shape->groups * shape->C; i++) {
        const size_t c = i % shape->C;
        running_mean[c] = (1.0f - momentum) * running_mean[c] + momentum * mean[i];
        running_var[c] = (1.0f - momentum) * running_var[c] + momentum * (float)(var[i] * unbiased);
    }
}

void smri_batchnorm2d_fold(float *scale, float *shift, const float *gamma, const float *beta, const float *mean,
                           const float *var, float eps, const struct smri_batchnorm2d *shape) {
    for (size_t i = 0; i < shape->groups * shape->C; i++) {
        const size_t c = i % shape->C;
        const double factor = (double)gamma[c] / sqrt((double)var[i] + (double)eps);
        scale[i] = (float)factor;
        /* from the rounded factor: scale * mean + shift is then beta, whatever the size of the mean */
        shift[i] = (float)((double)beta[c] - (double)mean[i] * (double)scale[i]);
    }
}

struct affine_job {
    const struct smri_batchnorm2d *shape;
    struct cut cut;
    struct smri_affine_rows whole; /* all rows of all groups */
};

static struct affine_job affine_of(void *y, const struct smri_affine *terms, const struct smri_batchnorm2d *shape) {
    assert(terms->mask == NULL || terms->relu);
    struct affine_job job = {.shape = shape, .cut = cut_for_maps(shape)};
    job.whole = (struct smri_affine_rows){.y = y, .x = terms->x, .scale = terms->scale, .shift = terms->shift,
                                          .relu = terms->relu, .mask = terms->mask};
    if (terms->residual != NULL) {
        job.whole.residual = terms->residual;
        job.whole.residual_scale = terms->residual_scale;
        job.whole.residual_shift = terms->residual_shift;
    }
    job.whole.C = job.whole.stride = shape->C;
    job.whole.mask_stride = smri_mask_bytes(shape->C);
    job.whole.stream = is_large(shape) && y != terms->x && y != terms->residual;
    return job;
}

static struct smri_affine_rows affine_part(const struct affine_job *job, const struct tile *tile) {
    const size_t channel = tile->group * job->shape->C;
    const enum smri_precision precision = job->shape->precision;
    struct smri_affine_rows part = job->whole;
    part.y = smri_numbers_into(part.y, tile->offset, precision);
    part.x = smri_numbers_from(part.x, tile->offset, precision);
    part.scale += channel;
    part.shift += channel;
    if (part.residual != NULL) part.residual = smri_numbers_from(part.residual, tile->offset, precision);
    if (part.residual_scale != NULL) part.residual_scale += channel, part.residual_shift += channel;
    if (part.mask != NULL) part.mask += tile->offset / job->shape->C * part.mask_stride;
    part.rows = tile->rows;
    return part;
}

static void affine_task(void *context, size_t index, size_t worker) {
    (void)worker;
    const struct affine_job *job = context;
    const struct tile tile = tile_at(job->shape, &job->cut, index);
    const struct smri_affine_rows part = affine_part(job, &tile);
    kernels_of(job->shape)->affine(&part);
}

void smri_affine(void *y, const struct smri_affine *terms, const struct smri_batchnorm2d *shape, smri_pool *pool) {
    struct affine_job job = affine_of(y, terms, shape);
    smri_pool_run(pool, tile_count(shape, &job.cut), affine_task, &job);
}

void smri_affine_make(void *map, void *part, size_t first, size_t rows, bool keep) {
    const struct smri_affine_map *of = map;
    const struct smri_batchnorm2d *shape = of->shape;
    const struct affine_job job = affine_of(of->y, of->terms, shape);
    for (const size_t end = first + rows; first < end;) {
        const struct tile tile = rows_of_group(shape, first, end);
        struct smri_affine_rows at = affine_part(&job, &tile);
        at.copy = keep ? at.y : NULL, at.y = part;
        if (!keep) at.mask = NULL, at.stream = false;
        kernels_of(shape)->affine(&at);
        part = smri_numbers_into(part, tile.rows * shape->C, shape->precision);
        first += tile.rows;
    }
}

struct backward_job {
    const struct smri_batchnorm2d *shape;
    struct cut cut;
    bool in_parts; /* the cut is someone else's */
    struct space space;
    struct smri_norm_gradient whole;
    void *dx;
    struct smri_norm_dx factors;
};

static struct smri_norm_gradient gradient_part(const struct backward_job *job, const struct tile *tile) {
    const size_t channel = tile->group * job->shape->C + tile->column;
    struct smri_norm_gradient part = job->whole;
    part.dy = smri_numbers_from(part.dy, tile->offset, job->shape->precision);
    part.x = smri_numbers_from(part.x, tile->offset, job->shape->precision);
    part.mean += channel;
    if (part.scale != NULL) part.scale += channel, part.shift += channel;
    if (part.mask != NULL) {
        part.mask += (tile->offset / job->shape->C) * part.mask_stride + tile->column / 8;
        part.ds = smri_numbers_into(part.ds, tile->offset, job->shape->precision);
    }
    part.rows = tile->rows;
    part.C = tile->columns;
    return part;
}

static void sum_tile(const struct backward_job *job, const struct tile *tile) {
    const struct smri_norm_gradient part = gradient_part(job, tile);
    const size_t out = (tile->group * job->cut.row_tiles + tile->row_tile) * job->shape->C + tile->column;
    kernels_of(job->shape)->gradient_sums(job->space.first + out, job->space.second + out, &part);
}

static void sums_task(void *context, size_t index, size_t worker) {
    (void)worker;
    const struct backward_job *job = context;
    const struct tile tile = tile_at(job->shape, &job->cut, index);
    sum_tile(job, &tile);
}

static void dx_tile(void *dx, void *copy, const struct backward_job *job, const struct tile *tile) {
    const struct smri_norm_gradient part = gradient_part(job, tile);
    const size_t channel = tile->group * job->shape->C;
    struct smri_norm_dx factors = job->factors;
    factors.dy_factor += channel;
    if (factors.x_factor != NULL) factors.x_factor += channel, factors.constant += channel;
    factors.copy = copy;
    kernels_of(job->shape)->gradient_dx(dx, &part, &factors);
}

static void dx_task(void *context, size_t index, size_t worker) {
    (void)worker;
    const struct backward_job *job = context;
    const struct tile tile = tile_at(job->shape, &job->cut, index);
    dx_tile(smri_numbers_into(job->dx, tile.offset, job->shape->precision), NULL, job, &tile);
}

/* The part in which a row of all rows lies, counted from the first one of its group. */
static size_t part_of(const struct backward_job *job, size_t group, size_t row) {
    return row / job->cut.rows - group * job->shape->rows / job->cut.rows;
}

static size_t tiles_of(const struct backward_job *job, size_t group) {
    return job->in_parts ? part_of(job, group, (group + 1) * job->shape->rows - 1) + 1 : job->cut.row_tiles;
}

static void merge_sums(void *context, size_t index, size_t worker) {
    (void)worker;
    const struct backward_job *job = context;
    const size_t C = job->shape->C;
    const struct columns at = columns_at(job->shape, &job->cut, &job->space, index);
    for (size_t c = at.first; c < at.end; c++) at.total[c] = at.other_total[c] = 0.0;
    for (size_t k = 0; k < tiles_of(job, at.group); k++)
        for (size_t c = at.first; c < at.end; c++) {
            at.total[c] += at.sums[k * C + c];
            at.other_total[c] += at.others[k * C + c];
        }
}

/* sum_dy and sum_dyx of every group into the workspace. */
static void reduce_gradient(struct backward_job *job, smri_pool *pool) {
    if (!job->in_parts) smri_pool_run(pool, tile_count(job->shape, &job->cut), sums_task, job);
    smri_pool_run(pool, merge_count(job->shape), merge_sums, job);
}

static void sum_parameters(float *dgamma, float *dbeta, const struct backward_job *job, const float *var, float eps) {
    const size_t C = job->shape->C;
    for (size_t c = 0; c < C; c++) {
        double gamma_total = 0.0, beta_total = 0.0;
        for (size_t i = c; i < job->shape->groups * C; i += C) {
            beta_total += job->space.sum_dy[i];
            gamma_total += job->space.sum_dyx[i] / sqrt((double)var[i] + (double)eps);
        }
        if (dgamma != NULL) dgamma[c] = (float)gamma_total;
        if (dbeta != NULL) dbeta[c] = (float)beta_total;
    }
}

static struct backward_job backward_of(void *dx, const struct smri_batchnorm2d_gradient *from,
                                       const struct smri_batchnorm2d *shape, size_t part_rows, void *workspace) {
    assert(shape->groups > 0 && shape->rows > 0 && shape->C > 0 && !(from->relu && from->mask != NULL));
    struct backward_job job = {.shape = shape, .in_parts = part_rows > 0, .dx = dx};
    job.cut = job.in_parts ? cut_in_parts(shape, part_rows) : cut_for_sums(shape);
    job.space = carve(workspace, shape, &job.cut);
    job.whole = (struct smri_norm_gradient){.dy = from->dy, .x = from->x, .mean = from->mean, .mask = from->mask,
                                            .ds = from->ds, .C = shape->C, .stride = shape->C};
    job.whole.mask_stride = smri_mask_bytes(shape->C);
    if (from->relu) job.whole.scale = from->scale, job.whole.shift = from->shift;
    return job;
}

void smri_batchnorm2d_sum_part(void *parts, size_t first, size_t rows, size_t channel, size_t channels) {
    const struct smri_batchnorm2d_parts *of = parts;
    const struct smri_batchnorm2d *shape = of->shape;
    const struct backward_job job = backward_of(NULL, of->from, shape, of->rows, of->workspace);
    for (const size_t end = first + rows; first < end;) {
        struct tile tile = rows_of_group(shape, first, end);
        tile.row_tile = part_of(&job, tile.group, first);
        tile.column = channel, tile.columns = channels, tile.offset += channel;
        sum_tile(&job, &tile);
        first += tile.rows;
    }
}

/* What the sums have masked already is read from where they left it. */
static void prepare_dx(struct backward_job *job) {
    if (job->whole.mask != NULL) job->whole.dy = job->whole.ds, job->whole.mask = NULL;
    job->factors.stream = is_large(job->shape) && job->dx != job->whole.dy;
}

/* dx from the factors. */
static void write_dx(struct backward_job *job, smri_pool *pool) {
    prepare_dx(job);
    job->cut = cut_for_maps(job->shape);
    smri_pool_run(pool, tile_count(job->shape, &job->cut), dx_task, job);
}

static struct smri_norm_dx batch_factors(const struct space *space) {
    return (struct smri_norm_dx){.dy_factor = space->dy_factor, .x_factor = space->x_factor, .constant = space->constant};
}

void smri_batchnorm2d_make_dx(void *parts, void *part, size_t first, size_t rows, bool keep) {
    const struct smri_batchnorm2d_parts *of = parts;
    const struct smri_batchnorm2d *shape = of->shape;
    struct backward_job job = backward_of(of->dx, of->from, shape, of->rows, of->workspace);
    job.factors = batch_factors(&job.space);
    prepare_dx(&job);
    for (const size_t end = first + rows; first < end;) {
        const struct tile tile = rows_of_group(shape, first, end);
        dx_tile(part, keep ? smri_numbers_into(of->dx, tile.offset, shape->precision) : NULL, &job, &tile);
        part = smri_numbers_into(part, tile.rows * shape->C, shape->precision);
        first += tile.rows;
    }
}

/* With s = 1 / sqrt(var + eps), xhat = (x - mean) s and n rows in a group:
 *     dx = gamma s (dy - mean of dy - xhat mean of (dy xhat)). */
void smri_batchnorm2d_backward(void *dx, float *dgamma, float *dbeta, const struct smri_batchnorm2d_gradient *from,
                               const struct smri_batchnorm2d *shape, size_t part_rows, void *workspace, smri_pool *pool) {
    struct backward_job job = backward_of(dx, from, shape, part_rows, workspace);
    reduce_gradient(&job, pool);
    sum_parameters(dgamma, dbeta, &job, from->var, from->eps);
    const struct space *space = &job.space;
    for (size_t i = 0; i < shape->groups * shape->C; i++) {
        const double inverse_variance = 1.0 / ((double)from->var[i] + (double)from->eps);
        const double factor = (double)from->gamma[i % shape->C] * sqrt(inverse_variance);
        space->dy_factor[i] = (float)factor;
        space->x_factor[i] = (float)(-factor * inverse_variance * space->sum_dyx[i] / (double)shape->rows);
        space->constant[i] = (float)(-factor * space->sum_dy[i] / (double)shape->rows);
    }
    if (dx == NULL) return;
    job.factors = batch_factors(space);
    write_dx(&job, pool);
}

void smri_batchnorm2d_backward_fixed(void *dx, float *dgamma, float *dbeta, const struct smri_batchnorm2d_gradient *from,
                                     const struct smri_batchnorm2d *shape, void *workspace, smri_pool *pool) {
    assert(shape->groups == 1);
    struct backward_job job = backward_of(dx, from, shape, 0, workspace);
    if (dgamma != NULL || dbeta != NULL || from->mask != NULL) {
        reduce_gradient(&job, pool);
        sum_parameters(dgamma, dbeta, &job, from->var, from->eps);
    }
    job.factors.dy_factor = from->scale;
    write_dx(&job, pool);
}
