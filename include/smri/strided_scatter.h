/* The backward-data of a 1x1 convolution with a stride: that of a compact one over the pixels that it looks at, spread
 * over the image, zero elsewhere. So zeros need not be written before the next gradient is added to them. */
#ifndef SMRI_STRIDED_SCATTER_H
#define SMRI_STRIDED_SCATTER_H

#include "smri/api.h"
#include "smri/conv2d.h"

SMRI_API_BEGIN

/* Whether a convolution is one of them, and the compact one, whose H and W are the rows and columns of the output. */
bool smri_conv2d_is_strided_pointwise(const struct smri_conv2d *shape);
struct smri_conv2d smri_conv2d_compact_pointwise(const struct smri_conv2d *shape);

/* dx[N][H][W][C] of the convolution `shape` from that of its compact one, [N][P][Q][C]. */
struct smri_strided_scatter {
    void *dx;
    const void *compact;
    const struct smri_conv2d *shape;
};

void smri_strided_scatter(const struct smri_strided_scatter *scatter, smri_pool *pool);

/* `channels` channels from `channel` on of `rows` pixels from pixel `first` of the batch on, for whoever adds to a part of dx
 * (smri_conv2d_fusion). `scatter` is a struct smri_strided_scatter. */
void smri_strided_scatter_part(void *scatter, size_t first, size_t rows, size_t channel, size_t channels);

SMRI_API_END

#endif
