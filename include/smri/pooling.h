/* Max pooling and global average pooling on NHWC activations, which are stored in the precision that is named. */
#ifndef SMRI_POOLING_H
#define SMRI_POOLING_H

#include <stddef.h>
#include <stdint.h>

#include "smri/api.h"
#include "smri/pool.h"
#include "smri/precision.h"

SMRI_API_BEGIN

struct smri_maxpool2d {
    size_t N, H, W, C;
    size_t window, stride, pad; /* pad < window; padding never wins */
    enum smri_precision precision;
};

/* SMRI_ARGUMENT, SMRI_SHAPE or SMRI_MEMORY unless the window is 1 to 16 and fits the padded image, and no size overflows. */
smri_status smri_maxpool2d_check(const struct smri_maxpool2d *shape);

size_t smri_maxpool2d_out_rows(const struct smri_maxpool2d *shape);
size_t smri_maxpool2d_out_cols(const struct smri_maxpool2d *shape);

/* y[N][P][Q][C]; argmax[N][P][Q][C] is the winner's place in the window, r * window + s, the first one on ties and NaN if
 * any is NaN (PyTorch's rule). argmax may be NULL. */
void smri_maxpool2d_forward(void *y, uint8_t *argmax, const void *x, const struct smri_maxpool2d *shape, smri_pool *pool);

/* dx[N][H][W][C], overwritten. */
void smri_maxpool2d_backward(void *dx, const void *dy, const uint8_t *argmax, const struct smri_maxpool2d *shape,
                             smri_pool *pool);

/* y[N][C] = mean over `pixels` of x[N][pixels][C]; and its gradient, dx overwritten. The precision is that of x and dx; the
 * side of the head is fp32. */
void smri_avgpool_forward(float *y, const void *x, size_t N, size_t pixels, size_t C, enum smri_precision precision,
                          smri_pool *pool);
void smri_avgpool_backward(void *dx, const float *dy, size_t N, size_t pixels, size_t C, enum smri_precision precision,
                           smri_pool *pool);

SMRI_API_END

#endif
