/* Augmented views of images, and plain batches, from a decoded uint8 cache.
 *
 * A view is a function of (image, options, seed, epoch, sample, view) and of nothing else: not of the batch, the threads or
 * the instruction set. Its parameters are always all drawn, 32 words of one stream in the order of struct smri_view, so
 * that switching one augmentation on or off changes no other. */
#ifndef SMRI_AUGMENT_H
#define SMRI_AUGMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "smri/api.h"
#include "smri/pool.h"
#include "smri/status.h"

SMRI_API_BEGIN

#define SMRI_MAX_CHANNELS 3

/* A range is drawn from uniformly on [low, high]. The values of smri_augment_identity change nothing. */
struct smri_augment {
    size_t rows, cols;     /* of the view; 0, 0 keeps the image's */
    float scale[2];        /* area of the crop by the image's area, in (0, 1]; {1, 1} takes the whole image */
    float ratio[2];        /* width by height of the crop, drawn log-uniformly */
    float flip_horizontal; /* probabilities */
    float flip_vertical;
    float rotation_deg; /* drawn from [-r, r], counter-clockwise as seen, about the crop's centre */
    float shift;        /* of the crop, drawn from [-s, s] times its width and height */
    float brightness[2]; /* v -> clip(b v) */
    float contrast[2];   /* v -> clip(m + c (v - m)), m the view's mean */
    float gamma[2];      /* v -> v^g */
    float blur_p;        /* probability of a Gaussian blur */
    float blur_sigma[2]; /* in pixels of the view; cut at 3 sigma, edges replicated */
    float noise_sd;      /* of white Gaussian noise, by image range; not clipped afterwards */
    float mean[SMRI_MAX_CHANNELS], std[SMRI_MAX_CHANNELS]; /* v -> (v - mean) / std, at the end */
};

/* What was drawn for one view, in the order of drawing (words 0-19: ten tries for the crop, two each). */
struct smri_view {
    size_t top, left, height, width; /* the crop; words 20, 21 are its place */
    bool flip_horizontal, flip_vertical;
    float rotation_deg;
    float shift_x, shift_y; /* by the crop's width and height; positive looks right and down */
    float brightness, contrast, gamma;
    float blur_sigma; /* 0: no blur. Two words: whether, and how much */
};

/* Every range at the value that changes nothing; mean 0, std 1. */
struct smri_augment smri_augment_identity(void);

/* SMRI_ARGUMENT naming the option that is outside its range. */
smri_status smri_augment_check(const struct smri_augment *options);

/* The crop is torchvision's RandomResizedCrop: area uniform in `scale`, ratio log-uniform, sides rounded, ten tries, then
 * the largest centred crop within `ratio`. Options must have passed smri_augment_check. */
void smri_augment_draw(struct smri_view *view, const struct smri_augment *options, size_t H, size_t W, uint64_t seed,
                       uint32_t epoch, uint64_t sample, uint32_t number);

/* Images to take and the names of their random streams. */
struct smri_batch {
    const uint8_t *images; /* [M][H][W][C], C = 1 or 3 */
    size_t M, H, W, C;
    const int64_t *indices; /* [n], each in [0, M) */
    const int64_t *samples; /* [n], the streams' names, in [0, 2^48); NULL: the indices */
    size_t n;
    uint64_t seed;
    uint32_t epoch, view;
};

/* out[n][rows][cols][C]: view `batch->view` of each image. One affine map (crop, resize, rotation, shift, flips) is sampled
 * linearly, antialiased where it shrinks; points outside of the image are 0. Then brightness, contrast, gamma, blur, noise,
 * normalisation. SMRI_ARGUMENT, SMRI_SHAPE, SMRI_MEMORY; out is untouched then. */
smri_status smri_augment_batch(float *out, const struct smri_batch *batch, const struct smri_augment *options,
                               smri_pool *pool);

/* out[n][H][W][C] = (pixel / 255 - mean[C]) / std[C]. The random names are not used. */
smri_status smri_gather_batch(float *out, const struct smri_batch *batch, const float *mean, const float *std,
                              smri_pool *pool);

SMRI_API_END

#endif
