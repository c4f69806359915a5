/* Fully connected layer: y[N][K] = x[N][C] w^T + b, with w[K][C] and b[K] as PyTorch stores them. */
#ifndef SMRI_LINEAR_H
#define SMRI_LINEAR_H

#include <stdbool.h>
#include <stddef.h>

#include "smri/api.h"
#include "smri/pool.h"

SMRI_API_BEGIN

struct smri_linear {
    size_t N, C, K; /* rows, features in, features out */
};

size_t smri_linear_workspace_bytes(const struct smri_linear *shape, size_t n_threads);

/* y is overwritten; b may be NULL. */
void smri_linear_forward(float *y, const float *x, const float *w, const float *b, const struct smri_linear *shape,
                         void *workspace, smri_pool *pool);

/* dx[N][C], dw[K][C], db[K]: overwritten; each may be NULL, not wanted. dy[N][K]. */
void smri_linear_backward(float *dx, float *dw, float *db, const float *dy, const float *x, const float *w,
                          const struct smri_linear *shape, void *workspace, smri_pool *pool);

SMRI_API_END

#endif
