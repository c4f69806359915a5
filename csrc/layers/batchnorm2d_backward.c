/* Batch normalisation's gradient (Ioffe and Szegedy, ICML 2015, section 3): sums over the rows, then dx from them,
 * each a pass over all tiles, or part by part while whoever makes dy, or reads dx, has a part in a cache. */
#include <assert.h>
#include <math.h>

#include "layers/batchnorm2d_tiles.h"

struct backward_job {
    const struct smri_batchnorm2d *shape;
    struct cut cut;
    struct space space;
    struct smri_batchnorm_gradient whole;
    void *dx;
    struct smri_batchnorm_dx factors;
};

static struct smri_batchnorm_gradient gradient_part(const struct backward_job *job, const struct tile *tile) {
    const size_t channel = tile->group * job->shape->C + tile->column;
    struct smri_batchnorm_gradient part = job->whole;
    part.dy = smri_elem_const(part.dy, tile->offset, job->shape->precision);
    part.x = smri_elem_const(part.x, tile->offset, job->shape->precision);
    part.mean += channel;
    if (part.scale != NULL) part.scale += channel, part.shift += channel;
    if (part.mask != NULL) {
        part.mask += (tile->offset / job->shape->C) * part.mask_stride + tile->column / 8;
        part.ds = smri_elem(part.ds, tile->offset, job->shape->precision);
    }
    part.rows = tile->rows;
    part.C = tile->columns;
    return part;
}

static void sum_tile(const struct backward_job *job, const struct tile *tile) {
    const struct smri_batchnorm_gradient part = gradient_part(job, tile);
    const size_t out = partial_at(job->shape, &job->cut, tile);
    kernels_of(job->shape)->gradient_sums(job->space.first + out, job->space.second + out, &part);
}

static void sums_task(void *context, size_t index, size_t worker) {
    const struct backward_job *job = context;
    const struct tile tile = tile_at(job->shape, &job->cut, index);
    sum_tile(job, &tile);
}

static void dx_tile(void *dx, void *copy, const struct backward_job *job, const struct tile *tile) {
    const struct smri_batchnorm_gradient part = gradient_part(job, tile);
    const size_t channel = tile->group * job->shape->C;
    struct smri_batchnorm_dx factors = job->factors;
    factors.dy_factor += channel;
    if (factors.x_factor != NULL) factors.x_factor += channel, factors.constant += channel;
    factors.copy = copy;
    kernels_of(job->shape)->gradient_dx(dx, &part, &factors);
}

static void dx_task(void *context, size_t index, size_t worker) {
    const struct backward_job *job = context;
    const struct tile tile = tile_at(job->shape, &job->cut, index);
    dx_tile(smri_elem(job->dx, tile.offset, job->shape->precision), NULL, job, &tile);
}

static void merge_sums(void *context, size_t index, size_t worker) {
    const struct backward_job *job = context;
    const size_t C = job->shape->C;
    const struct columns at = columns_at(job->shape, &job->cut, &job->space, index);
    for (size_t c = at.first; c < at.end; c++) at.total[c] = at.other_total[c] = 0.0;
    const size_t tiles = row_tiles_of(job->shape, &job->cut, at.group);
    for (size_t k = 0; k < tiles; k++)
        for (size_t c = at.first; c < at.end; c++) {
            at.total[c] += at.sums[k * C + c];
            at.other_total[c] += at.others[k * C + c];
        }
}

/* sum_dy and sum_dyx of every group into the workspace. */
static void reduce_gradient(struct backward_job *job, smri_pool *pool) {
    if (!job->cut.in_parts) smri_pool_run(pool, tile_count(job->shape, &job->cut), sums_task, job);
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
    struct backward_job job = {.shape = shape, .cut = cut_for(shape, part_rows), .dx = dx};
    job.space = carve(workspace, shape, &job.cut);
    job.whole = (struct smri_batchnorm_gradient){.dy = from->dy, .x = from->x, .mean = from->mean, .mask = from->mask,
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
        const struct tile tile = tile_of_rows(shape, &job.cut, first, end, channel, channels);
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

static struct smri_batchnorm_dx batch_factors(const struct space *space) {
    return (struct smri_batchnorm_dx){.dy_factor = space->dy_factor, .x_factor = space->x_factor,
                                      .constant = space->constant};
}

void smri_batchnorm2d_make_dx(void *parts, void *part, size_t first, size_t rows, bool keep) {
    const struct smri_batchnorm2d_parts *of = parts;
    const struct smri_batchnorm2d *shape = of->shape;
    struct backward_job job = backward_of(of->dx, of->from, shape, of->rows, of->workspace);
    job.factors = batch_factors(&job.space);
    prepare_dx(&job);
    for (const size_t end = first + rows; first < end;) {
        const struct tile tile = tile_of_rows(shape, &job.cut, first, end, 0, shape->C);
        dx_tile(part, keep ? smri_elem(of->dx, tile.offset, shape->precision) : NULL, &job, &tile);
        part = smri_elem(part, tile.rows * shape->C, shape->precision);
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
