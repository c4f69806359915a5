/* Kernels over the flat arrays of parameters; the constants of a step are folded beforehand. Pointers need no alignment
 * beyond a float's. w may be `base`; nothing else may overlap. With `stream`, an output that is no input (w, when it is not
 * `base`, or `copy`) may bypass the caches. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "kernels/family.h"

/* g' = g + decay * base; m = momentum * m + g'; w = base - lr * (nesterov ? g' + momentum * m : m).
 * Without momentum m may be NULL and w = base - lr * g'. */
struct smri_sgd_constants {
    float lr, momentum, decay;
    bool nesterov, stream;
};

/* m += (1 - beta1) (g - m); v = beta2 v + (1 - beta2) g^2; w = keep * base - rate * m / (sqrt(v) * root + eps), where
 * keep = 1 - lr * decay, rate = lr / (1 - beta1^t), root = 1 / sqrt(1 - beta2^t). */
struct smri_adamw_constants {
    float one_minus_beta1, beta2, one_minus_beta2, keep, rate, root, eps;
    bool stream;
};

struct smri_optimizer_kernels {
    void (*sgd)(float *w, float *m, const float *base, const float *g, const struct smri_sgd_constants *k, size_t n);
    void (*adamw)(float *w, float *m, float *v, const float *base, const float *g, const struct smri_adamw_constants *k,
                  size_t n);
    /* Sum of g^2, or of ((|w| + eta) g)^2 when w is not NULL. */
    double (*norm2)(const float *g, const float *w, float eta, size_t n);
    /* copy = w (unless NULL), then w += step * (adaptive ? (|w| + eta)^2 : 1) * g. */
    void (*perturb)(float *w, float *copy, const float *g, float step, bool adaptive, float eta, bool stream, size_t n);
};

SMRI_DECLARE_FILLERS(smri_optimizer_kernels, struct smri_optimizer_kernels);
