/* Batch normalisation (Ioffe and Szegedy, ICML 2015), cut into the passes that a training step needs.
 *
 *     y = gamma * (x - mean) / sqrt(var + eps) + beta  =  scale * x + shift        per channel
 *
 * Activations are [groups][rows][C]: rows = images * height * width of one group. Each group has statistics of its own,
 * which is how the two views of SimCLR go through the network in one pass and are still normalised apart. Activations and
 * their gradients (const void *, void *) are stored in the shape's precision; everything that belongs to a channel is fp32,
 * and so is the arithmetic: one rounding, at the store. */
#ifndef SMRI_BATCHNORM2D_H
#define SMRI_BATCHNORM2D_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "smri/api.h"
#include "smri/pool.h"
#include "smri/precision.h"

SMRI_API_BEGIN

struct smri_batchnorm2d {
    size_t groups, rows, C;
    enum smri_precision precision;
};

size_t smri_batchnorm2d_workspace_bytes(const struct smri_batchnorm2d *shape, size_t n_threads);

/* mean[groups][C] and biased var[groups][C] of x, overwritten. Sums run in a stated order: same bits for any pool.
 * part_rows > 0: x is not read, since smri_batchnorm2d_moments_part has left what is needed of all its parts in the
 * workspace. */
void smri_batchnorm2d_statistics(float *mean, float *var, const void *x, const struct smri_batchnorm2d *shape,
                                 size_t part_rows, void *workspace, smri_pool *pool);

/* running = (1 - momentum) * running + momentum * batch, for each group in turn; the running variance takes the unbiased
 * estimate, var * rows / (rows - 1), as PyTorch's does. */
void smri_batchnorm2d_update_running(float *running_mean, float *running_var, const float *mean, const float *var,
                                     float momentum, const struct smri_batchnorm2d *shape);

/* scale[groups][C] = gamma / sqrt(var + eps), shift = beta - mean * scale; mean and var are [groups][C], gamma and beta [C].
 * With running statistics call it with groups = 1. */
void smri_batchnorm2d_fold(float *scale, float *shift, const float *gamma, const float *beta, const float *mean,
                           const float *var, float eps, const struct smri_batchnorm2d *shape);

/* Where a ReLU let through, one bit for each number: rows of so many bytes, bit c % 8 of byte c / 8 for channel c. */
static inline size_t smri_mask_bytes(size_t C) { return (C + 7) / 8; }

/* scale * x + shift, plus residual_scale * residual + residual_shift, or plus residual as it is when residual_scale is NULL,
 * or nothing when residual is NULL; then max(0, .) when relu. Activations are [groups][rows][C]. */
struct smri_scale_shift_add_relu {
    const void *x, *residual;
    const float *scale, *shift, *residual_scale, *residual_shift;
    bool relu;
    uint8_t *mask; /* with relu; unless NULL set to where y > 0: [groups][rows][smri_mask_bytes(C)] */
};

/* y may be x or residual. */
void smri_scale_shift_add_relu(void *y, const struct smri_scale_shift_add_relu *terms,
                               const struct smri_batchnorm2d *shape, smri_pool *pool);

/* Rows of the same map for whoever reads y next (smri_conv2d_fusion): `rows` of all groups from row `first` on are written to
 * `part`, one after the other; with `keep` to y and the mask, too. y is none of the terms. `map` is a struct
 * smri_scale_shift_call. */
struct smri_scale_shift_call {
    void *y;
    const struct smri_scale_shift_add_relu *terms;
    const struct smri_batchnorm2d *shape;
};
void smri_scale_shift_produce(void *map, void *part, size_t first, size_t rows, bool keep);

/* What a gradient is computed from. dy is the gradient of one of
 *     y = scale * x + shift
 *     max(0, y)             relu: the mask is recomputed from x
 *     max(0, y + other)     mask, as smri_scale_shift_add_relu left it. dy times the mask is then written to ds: it is
 * the gradient of
 *                           `other`, too. ds may be dy. */
struct smri_batchnorm2d_gradient {
    const void *dy, *x;
    const float *gamma, *mean, *var, *scale, *shift;
    float eps;
    bool relu;
    const uint8_t *mask;
    void *ds;
};

/* Gradient with batch statistics. dx may be dy, or ds where that is not needed. dgamma[C] and dbeta[C] sum over all groups.
 * All outputs are overwritten. It makes two passes: sums, which also write ds, then dx. part_rows > 0: without the first one,
 * since the sums of all parts of so many rows are in the workspace already. dx NULL: without the second one, which
 * smri_batchnorm2d_make_dx will do from what is in the workspace then. */
void smri_batchnorm2d_backward(void *dx, float *dgamma, float *dbeta, const struct smri_batchnorm2d_gradient *from,
                               const struct smri_batchnorm2d *shape, size_t part_rows, void *workspace, smri_pool *pool);

/* Passes part by part, for whoever has a part in a cache (smri_conv2d_fusion), in any order and from any threads, with
 * the same result. `parts` is a struct smri_batchnorm2d_parts. A part to be summed is `rows` rows of all groups from row
 * `first` on, which is a multiple of parts->rows, and at most so many; columns [channel, channel + channels).
 *   moments_part  the sums of statistics, for who makes x.
 *   sum_part      the first pass of backward, for who makes dy.
 *   make_dx       the second one, for who reads dx, which is neither dy nor ds: any rows of dx are written to `part`,
 * one after
 *                 the other; with `keep` to dx, too. parts->rows is what smri_batchnorm2d_backward was called with. */
struct smri_batchnorm2d_parts {
    void *dx;                                     /* of make_dx */
    const struct smri_batchnorm2d_gradient *from; /* for moments_part its x alone */
    const struct smri_batchnorm2d *shape;
    size_t rows;
    void *workspace;
};
void smri_batchnorm2d_moments_part(void *parts, size_t first, size_t rows, size_t channel, size_t channels);
void smri_batchnorm2d_sum_part(void *parts, size_t first, size_t rows, size_t channel, size_t channels);
void smri_batchnorm2d_make_dx(void *parts, void *part, size_t first, size_t rows, bool keep);
size_t smri_batchnorm2d_parts_workspace_bytes(const struct smri_batchnorm2d *shape, size_t part_rows);

/* The same with fixed (running) statistics, where mean and var do not depend on x: dx = scale * dy. groups = 1 and
 * mean, var, scale, shift are [C]; gamma is not read. dgamma and dbeta may be NULL. */
void smri_batchnorm2d_backward_fixed(void *dx, float *dgamma, float *dbeta, const struct smri_batchnorm2d_gradient *from,
                                     const struct smri_batchnorm2d *shape, void *workspace, smri_pool *pool);

SMRI_API_END

#endif
