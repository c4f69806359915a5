/* Bilinear resizing with antialiasing, what Pillow calls BILINEAR: a triangle filter of half-width max(1, scale), in each
 * axis, cut at the image's border and normalised. Equal sizes copy. */
#ifndef SMRI_RESIZE_H
#define SMRI_RESIZE_H

#include <stddef.h>
#include <stdint.h>

#include "smri/api.h"
#include "smri/pool.h"
#include "smri/status.h"

SMRI_API_BEGIN

struct smri_resize {
    size_t N, H, W, C;
    size_t rows, cols; /* of the result */
};

/* out[N][rows][cols][C] from in[N][H][W][C], which do not overlap. uint8 works in 22-bit fixed point and rounds after each
 * axis, as Pillow does. SMRI_SHAPE for a size of 0 or above 2^24, SMRI_MEMORY. */
smri_status smri_resize_u8(uint8_t *out, const uint8_t *in, const struct smri_resize *shape, smri_pool *pool);
smri_status smri_resize_f32(float *out, const float *in, const struct smri_resize *shape, smri_pool *pool);

SMRI_API_END

#endif
