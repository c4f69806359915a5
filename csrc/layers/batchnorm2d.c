/* Batch normalisation on NHWC activations, forward (Ioffe and Szegedy, ICML 2015, algorithm 1), and the scale_shift
 * maps that it comes to. Means and squared deviations of tiles merge by Chan, Golub and LeVeque (1979): no difference of
 * two large sums anywhere. */
#include <assert.h>
#include <math.h>

#include "layers/batchnorm2d_tiles.h"

size_t smri_batchnorm2d_workspace_bytes(const struct smri_batchnorm2d *shape, size_t n_threads) {
    return space_bytes(shape, cut_for_sums(shape));
}

size_t smri_batchnorm2d_parts_workspace_bytes(const struct smri_batchnorm2d *shape, size_t part_rows) {
    return space_bytes(shape, cut_in_parts(shape, part_rows));
}

struct statistics_job {
    const struct smri_batchnorm2d *shape;
    struct cut cut;
    struct space space;
    const void *x;
    float *mean, *var;
};

static void moments_of(const struct statistics_job *job, const struct tile *tile) {
    const size_t out = partial_at(job->shape, &job->cut, tile);
    const void *x = smri_elem_const(job->x, tile->offset, job->shape->precision);
    kernels_of(job->shape)->moments(job->space.first + out, job->space.second + out, x, tile->rows, tile->columns,
                                    job->shape->C);
}

static void statistics_task(void *context, size_t index, size_t worker) {
    const struct statistics_job *job = context;
    const struct tile tile = tile_at(job->shape, &job->cut, index);
    moments_of(job, &tile);
}

void smri_batchnorm2d_moments_part(void *parts, size_t first, size_t rows, size_t channel, size_t channels) {
    const struct smri_batchnorm2d_parts *of = parts;
    struct statistics_job job = {.shape = of->shape, .cut = cut_in_parts(of->shape, of->rows), .x = of->from->x};
    job.space = carve(of->workspace, of->shape, &job.cut);
    for (const size_t end = first + rows; first < end;) {
        const struct tile tile = tile_of_rows(of->shape, &job.cut, first, end, channel, channels);
        moments_of(&job, &tile);
        first += tile.rows;
    }
}

/* Merges the row tiles: mean = sum n_k mean_k / n, m2 = sum m2_k + n_k (mean_k - mean)^2. */
static void merge_moments(void *context, size_t index, size_t worker) {
    const struct statistics_job *job = context;
    const size_t C = job->shape->C, rows = job->shape->rows;
    const struct columns at = columns_at(job->shape, &job->cut, &job->space, index);
    const size_t tiles = row_tiles_of(job->shape, &job->cut, at.group);
    for (size_t c = at.first; c < at.end; c++) at.total[c] = at.other_total[c] = 0.0;
    for (size_t k = 0; k < tiles; k++) {
        const struct rows of = rows_of(job->shape, &job->cut, at.group, k);
        const double n = (double)(of.end - of.first);
        for (size_t c = at.first; c < at.end; c++) at.total[c] += n * at.sums[k * C + c];
    }
    for (size_t c = at.first; c < at.end; c++) at.total[c] /= (double)rows;
    for (size_t k = 0; k < tiles; k++) {
        const struct rows of = rows_of(job->shape, &job->cut, at.group, k);
        const double n = (double)(of.end - of.first);
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
                                 size_t part_rows, void *workspace, smri_pool *pool) {
    assert(shape->groups > 0 && shape->rows > 0 && shape->C > 0);
    struct statistics_job job = {.shape = shape, .cut = cut_for(shape, part_rows), .x = x, .mean = mean, .var = var};
    job.space = carve(workspace, shape, &job.cut);
    if (part_rows == 0) smri_pool_run(pool, tile_count(shape, &job.cut), statistics_task, &job);
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

struct scale_shift_job {
    const struct smri_batchnorm2d *shape;
    struct cut cut;
    struct smri_scale_shift_rows whole; /* all rows of all groups */
};

static struct scale_shift_job scale_shift_of(void *y, const struct smri_scale_shift_add_relu *terms,
                                             const struct smri_batchnorm2d *shape) {
    assert(terms->mask == NULL || terms->relu);
    struct scale_shift_job job = {.shape = shape, .cut = cut_for_maps(shape)};
    job.whole = (struct smri_scale_shift_rows){.y = y, .x = terms->x, .scale = terms->scale, .shift = terms->shift,
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

static struct smri_scale_shift_rows scale_shift_part(const struct scale_shift_job *job, const struct tile *tile) {
    const size_t channel = tile->group * job->shape->C;
    const enum smri_precision precision = job->shape->precision;
    struct smri_scale_shift_rows part = job->whole;
    part.y = smri_elem(part.y, tile->offset, precision);
    part.x = smri_elem_const(part.x, tile->offset, precision);
    part.scale += channel;
    part.shift += channel;
    if (part.residual != NULL) part.residual = smri_elem_const(part.residual, tile->offset, precision);
    if (part.residual_scale != NULL) part.residual_scale += channel, part.residual_shift += channel;
    if (part.mask != NULL) part.mask += tile->offset / job->shape->C * part.mask_stride;
    part.rows = tile->rows;
    return part;
}

static void scale_shift_task(void *context, size_t index, size_t worker) {
    const struct scale_shift_job *job = context;
    const struct tile tile = tile_at(job->shape, &job->cut, index);
    const struct smri_scale_shift_rows part = scale_shift_part(job, &tile);
    kernels_of(job->shape)->scale_shift(&part);
}

void smri_scale_shift_add_relu(void *y, const struct smri_scale_shift_add_relu *terms,
                               const struct smri_batchnorm2d *shape, smri_pool *pool) {
    struct scale_shift_job job = scale_shift_of(y, terms, shape);
    smri_pool_run(pool, tile_count(shape, &job.cut), scale_shift_task, &job);
}

void smri_scale_shift_produce(void *map, void *part, size_t first, size_t rows, bool keep) {
    const struct smri_scale_shift_call *of = map;
    const struct smri_batchnorm2d *shape = of->shape;
    const struct scale_shift_job job = scale_shift_of(of->y, of->terms, shape);
    for (const size_t end = first + rows; first < end;) {
        const struct tile tile = tile_of_rows(shape, &job.cut, first, end, 0, shape->C);
        struct smri_scale_shift_rows at = scale_shift_part(&job, &tile);
        at.copy = keep ? at.y : NULL, at.y = part;
        if (!keep) at.mask = NULL, at.stream = false;
        kernels_of(shape)->scale_shift(&at);
        part = smri_elem(part, tile.rows * shape->C, shape->precision);
        first += tile.rows;
    }
}
