/* Optimizers over one flat array: SGD, AdamW, and the two moves of SAM and ASAM. The network's padding floats stay zero
 * under all of them. `weights` is overwritten by the step from `start`, or from itself when start is NULL: under SAM, start
 * is the copy from before the perturbation, so that undoing it costs no pass of its own. Arrays must not overlap. */
#ifndef SMRI_OPTIMIZER_H
#define SMRI_OPTIMIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "smri/api.h"
#include "smri/pool.h"

SMRI_API_BEGIN

/* torch.optim.SGD: g += decay * w; m = momentum * m + g; w -= lr * (nesterov ? g + momentum * m : m). A zeroed m before
 * the first step gives PyTorch's first step; m may be NULL when momentum is 0. */
struct smri_sgd {
    float lr, momentum, weight_decay;
    bool nesterov;
    const float *start;
};
void smri_sgd_step(float *weights, float *m, const float *gradients, const struct smri_sgd *options, size_t n,
                   smri_pool *pool);

/* LARS (You, Gitman, Ginsburg, "Large batch training of convolutional networks", arXiv:1708.03888, equation 6) of one tensor:
 * g' = r (g + decay * w) with r = trust * |w| / (|g| + decay * |w|), or 1 where |w| or |g| is 0; m = momentum * m + g';
 * w -= lr * m. The same bits with every number of threads and instruction set. */
struct smri_lars {
    float lr, momentum, weight_decay, trust;
    const float *start;
};
void smri_lars_step(float *weights, float *m, const float *gradients, const struct smri_lars *options, size_t n,
                    smri_pool *pool);

/* AdamW (Loshchilov and Hutter, ICLR 2019; torch.optim.AdamW): `step` counts from 1. */
struct smri_adamw {
    double lr, beta1, beta2, eps, weight_decay; /* double: 1 - 0.999f is off by 1e-5 of itself */
    uint64_t step;
    const float *start;
};
void smri_adamw_step(float *weights, float *m, float *v, const float *gradients, const struct smri_adamw *options,
                     size_t n, smri_pool *pool);

/* sum of g^2, or of ((|w| + eta) g)^2 when adaptive, in double and in a stated order. */
double smri_gradient_norm2(const float *gradients, const float *weights, bool adaptive, float eta, size_t n,
                           smri_pool *pool);

/* SAM (Foret et al., ICLR 2021, equation 2) and ASAM (Kwon et al., ICML 2021, equation 5, T_w = diag(|w| + eta)):
 * copy = weights (copy may be NULL), then weights += rho / (norm + 1e-12) * (adaptive ? (|w| + eta)^2 : 1) * g, with norm =
 * sqrt(smri_gradient_norm2). The step that follows takes `copy` as its start. */
void smri_sam_perturb(float *weights, float *copy, const float *gradients, float rho, double norm, bool adaptive, float eta,
                      size_t n, smri_pool *pool);

SMRI_API_END

#endif
