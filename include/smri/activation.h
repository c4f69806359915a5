/* Element-wise layers of the head, which is fp32: ReLU and dropout. The trunk's ReLUs are part of batchnorm2d.h. */
#ifndef SMRI_ACTIVATION_H
#define SMRI_ACTIVATION_H

#include <stddef.h>
#include <stdint.h>

#include "smri/api.h"
#include "smri/pool.h"

SMRI_API_BEGIN

/* y = max(0, x), NaN kept; y may be x. */
void smri_relu_forward(float *y, const float *x, size_t n, smri_pool *pool);

/* dx = dy where y > 0, else 0; dx may be dy. `y` is the forward output. */
void smri_relu_backward(float *dx, const float *dy, const float *y, size_t n, smri_pool *pool);

/* Which mask: a pure function of these, so forward, backward and SAM's second pass agree without storing it. */
struct smri_dropout {
    float p; /* probability of zero, in [0, 1) */
    uint64_t seed;
    uint32_t step;
    uint32_t layer;   /* below 256 */
    size_t first_row; /* of x in the whole batch, where that comes in parts */
};

/* y = x * mask / (1 - p) over [N][C]; its own gradient too. y may be x. Row n draws from stream (seed, step,
 * first_row + n, layer). */
void smri_dropout_apply(float *y, const float *x, const struct smri_dropout *dropout, size_t N, size_t C, smri_pool *pool);

SMRI_API_END

#endif
