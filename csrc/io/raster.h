/* What a format's decoder hands to image.c: samples as the file has them, widened to 8 or 16 bits. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "smri/status.h"

struct raster {
    size_t H, W;
    size_t C;      /* 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha */
    unsigned bits; /* 8, or 16 in the machine's byte order */
    void *samples; /* [H][W][C], from malloc */
    unsigned stated_bits; /* what the file says about the bits that mean something (PNG's sBIT); 0: nothing */
    bool extraneous;      /* bytes that belong to nothing lay before a marker of the header; the pixels are whole */
};

struct limits {
    size_t side_px, pixels;
    size_t bytes; /* that a decoder may take beside the raster */
};

/* SMRI_OK if an image of H x W may be decoded, SMRI_DECODE otherwise; and the allocation of its samples. */
smri_status raster_check(size_t H, size_t W, const struct limits *limits, const char *name);
smri_status raster_alloc(struct raster *out, const char *name);

/* On failure out->samples is NULL. */
smri_status jpeg_decode(struct raster *out, const uint8_t *bytes, size_t n, const char *name, const struct limits *limits);
smri_status png_decode(struct raster *out, const uint8_t *bytes, size_t n, const char *name, const struct limits *limits);

/* `name`, or its last 200 bytes: a path of 4096 must not push the fact out of the message. */
const char *message_name(const char *name);
