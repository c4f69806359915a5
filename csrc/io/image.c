/* The way from a file's bytes to the pixels asked for: the format is told by its first bytes, a decoder makes a raster,
 * and one loop composites, changes the channels and scales. Rounding is to nearest everywhere, and 8-bit luma is the
 * fixed-point sum that Pillow uses, so that both give the same gray levels. */
#include "smri/image.h"

#include <stdlib.h>
#include <string.h>

#include "io/raster.h"
#include "smri/memory.h"

const char *message_name(const char *name) {
    const size_t length = strlen(name);
    if (length <= 200) return name;
    name += length - 200;
    while (((unsigned char)*name & 0xC0) == 0x80) name++; /* not within a character of UTF-8 */
    return name;
}

smri_status raster_check(size_t H, size_t W, const struct limits *limits, const char *name) {
    if (H == 0 || W == 0) return smri_fail(SMRI_DECODE, "%s: an image without pixels (%zu x %zu)", name, H, W);
    if (H > limits->side_px || W > limits->side_px)
        return smri_fail(SMRI_DECODE, "%s: %zu x %zu pixels, expected at most %zu a side: raise max_side", name, H, W,
                         limits->side_px);
    if (H > limits->pixels / W)
        return smri_fail(SMRI_DECODE, "%s: %zu x %zu pixels, expected at most %zu in all: raise max_pixels", name, H, W,
                         limits->pixels);
    return SMRI_OK;
}

smri_status raster_alloc(struct raster *out, const char *name) {
    size_t bytes;
    const size_t sizes[] = {out->H, out->W, out->C, out->bits / 8};
    const smri_status status = smri_size_product(&bytes, name, 4, sizes);
    if (status != SMRI_OK) return status;
    out->samples = malloc(bytes); /* not zeroed: a header that promises more than the data holds costs no pages */
    if (out->samples == NULL) return smri_fail(SMRI_MEMORY, "%s: %zu bytes refused by the system", name, bytes);
    return SMRI_OK;
}

static uint32_t sample_at(const struct raster *raster, size_t index) {
    return raster->bits == 8 ? ((const uint8_t *)raster->samples)[index] : ((const uint16_t *)raster->samples)[index];
}

/* One pixel composited over black, in the raster's own bits. */
static void load_pixel(uint32_t rgb[3], size_t *colours, const struct raster *raster, size_t pixel) {
    const uint32_t top = raster->bits == 8 ? 255 : 65535;
    const size_t at = pixel * raster->C;
    *colours = raster->C >= 3 ? 3 : 1;
    for (size_t c = 0; c < *colours; c++) rgb[c] = sample_at(raster, at + c);
    if (raster->C == 2 || raster->C == 4) {
        const uint64_t alpha = sample_at(raster, at + *colours);
        for (size_t c = 0; c < *colours; c++) rgb[c] = (uint32_t)((rgb[c] * alpha + top / 2) / top);
    }
}

/* The values that become black and, `span` above it, white. */
struct range {
    uint32_t low, span;
};

static uint32_t above_low(uint32_t value, const struct range *range) {
    const uint32_t above = value > range->low ? value - range->low : 0;
    return above < range->span ? above : range->span;
}

static uint8_t to_8_bits(uint32_t value, const struct range *range) {
    return (uint8_t)((above_low(value, range) * (uint64_t)510 + range->span) / (2 * range->span));
}

static uint8_t luma(uint32_t r, uint32_t g, uint32_t b) {
    return (uint8_t)((r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16);
}

static void store_u8(uint8_t *out, size_t C, const uint32_t rgb[3], size_t colours, const struct range *range) {
    uint32_t v[3];
    for (size_t c = 0; c < colours; c++) v[c] = to_8_bits(rgb[c], range);
    if (C == colours)
        for (size_t c = 0; c < C; c++) out[c] = (uint8_t)v[c];
    else if (C == 3) out[0] = out[1] = out[2] = (uint8_t)v[0];
    else out[0] = luma(v[0], v[1], v[2]);
}

static void store_f32(float *out, size_t C, const uint32_t rgb[3], size_t colours, const struct range *range) {
    const float top = (float)range->span;
    float v[3];
    for (size_t c = 0; c < colours; c++) v[c] = (float)above_low(rgb[c], range) / top;
    if (C == colours)
        for (size_t c = 0; c < C; c++) out[c] = v[c];
    else if (C == 3) out[0] = out[1] = out[2] = v[0];
    else out[0] = 0.299f * v[0] + 0.587f * v[1] + 0.114f * v[2];
}

/* Opaque 8 bits to the other number of channels: the two conversions that whole folders go through. */
static void convert_plain(uint8_t *restrict out, const uint8_t *restrict in, size_t pixels, bool to_gray) {
    if (to_gray)
        for (size_t i = 0; i < pixels; i++) out[i] = luma(in[3 * i], in[3 * i + 1], in[3 * i + 2]);
    else
        for (size_t i = 0; i < pixels; i++) out[3 * i] = out[3 * i + 1] = out[3 * i + 2] = in[i];
}

/* counts[2^bits] of all colours of all pixels. */
static void count_samples(uint32_t *counts, const struct raster *raster) {
    for (size_t i = 0; i < raster->H * raster->W; i++) {
        uint32_t rgb[3];
        size_t colours;
        load_pixel(rgb, &colours, raster, i);
        for (size_t c = 0; c < colours; c++) counts[rgb[c]]++;
    }
}

/* The least value that at least share / 100 of all samples do not exceed. */
static uint32_t percentile(const uint32_t *counts, size_t n_values, uint64_t total, uint64_t share) {
    uint64_t sum = 0;
    for (size_t value = 0; value < n_values; value++)
        if ((sum += counts[value]) * 100 >= total * share) return (uint32_t)value;
    return (uint32_t)n_values - 1;
}

/* The range asked for, and the facts about a file of 16 bits. */
static smri_status choose_range(struct range *out, struct smri_image_facts *facts, const struct raster *raster,
                                const struct smri_decode *options, const char *name) {
    const size_t n_values = (size_t)1 << raster->bits;
    *out = (struct range){0, (uint32_t)n_values - 1};
    *facts = (struct smri_image_facts){(uint16_t)raster->bits, (uint16_t)raster->stated_bits, 0, 255, raster->extraneous};
    if (options->range == SMRI_RANGE_GIVEN) *out = (struct range){options->low, options->high - options->low};
    if (raster->bits == 8 && options->range != SMRI_RANGE_PERCENTILE) return SMRI_OK;
    uint32_t *counts = calloc(n_values, sizeof *counts);
    if (counts == NULL) return smri_fail(SMRI_MEMORY, "%s: memory refused while decoding", name);
    count_samples(counts, raster);
    const uint64_t total = (uint64_t)raster->H * raster->W * (raster->C >= 3 ? 3 : 1);
    if (raster->bits == 16) {
        facts->low = (uint16_t)percentile(counts, n_values, total, 0);
        while (counts[facts->low] == 0) facts->low++;
        facts->high = (uint16_t)percentile(counts, n_values, total, 100);
    }
    const uint32_t low = percentile(counts, n_values, total, 1), high = percentile(counts, n_values, total, 99);
    if (options->range == SMRI_RANGE_PERCENTILE && low < high) *out = (struct range){low, high - low};
    free(counts);
    return SMRI_OK;
}

static smri_status convert(struct smri_image *out, struct raster *raster, const struct smri_decode *options, const char *name) {
    const size_t colours = raster->C >= 3 ? 3 : 1;
    const size_t C = options->channels != 0 ? options->channels : colours;
    struct range range;
    *out = (struct smri_image){.H = raster->H, .W = raster->W, .C = C, .is_float = options->as_float};
    smri_status status = choose_range(&range, &out->facts, raster, options, name);
    if (status != SMRI_OK) return status;
    const bool as_it_is = !options->as_float && raster->bits == 8 && range.low == 0 && range.span == 255;
    if (as_it_is && raster->C == C) { /* the usual case: the samples are the pixels */
        out->pixels = raster->samples;
        raster->samples = NULL;
        return SMRI_OK;
    }
    size_t bytes;
    const size_t sizes[] = {raster->H, raster->W, C, options->as_float ? sizeof(float) : 1};
    if ((status = smri_size_product(&bytes, name, 4, sizes)) != SMRI_OK) return status;
    out->pixels = malloc(bytes);
    if (out->pixels == NULL) return smri_fail(SMRI_MEMORY, "%s: %zu bytes refused by the system", name, bytes);
    const size_t pixels = raster->H * raster->W;
    if (as_it_is && raster->C == colours) {
        convert_plain(out->pixels, raster->samples, pixels, C == 1);
        return SMRI_OK;
    }
    for (size_t i = 0; i < pixels; i++) {
        uint32_t rgb[3];
        size_t found;
        load_pixel(rgb, &found, raster, i);
        if (options->as_float) store_f32((float *)out->pixels + i * C, C, rgb, found, &range);
        else store_u8((uint8_t *)out->pixels + i * C, C, rgb, found, &range);
    }
    return SMRI_OK;
}

static smri_status unknown_format(const uint8_t *bytes, size_t n, const char *name) {
    if (n == 0) return smri_fail(SMRI_DECODE, "%s: an empty file", name);
    uint8_t head[4] = {0};
    memcpy(head, bytes, n < 4 ? n : 4);
    if (n < 4) return smri_fail(SMRI_DECODE, "%s: not a JPEG or PNG file (%zu bytes, begins with %02X)", name, n, head[0]);
    return smri_fail(SMRI_DECODE, "%s: not a JPEG or PNG file (begins with %02X %02X %02X %02X)", name, head[0], head[1],
                     head[2], head[3]);
}

#define BASE_BYTES ((size_t)16 << 20)  /* tables, rows and whatever else does not grow with the image */
#define BYTES_A_PIXEL 8                /* RGB and alpha of 16 bits; the coefficients of a progressive JPEG take 6 */

static size_t bytes_for(size_t pixels) {
    return pixels > (SIZE_MAX - BASE_BYTES) / BYTES_A_PIXEL ? SIZE_MAX : BASE_BYTES + BYTES_A_PIXEL * pixels;
}

static struct limits limits_of(const struct smri_decode *options) {
    const size_t pixels = options->max_pixels != 0 ? options->max_pixels : SMRI_MAX_PIXELS;
    return (struct limits){options->max_side_px != 0 ? options->max_side_px : SMRI_MAX_SIDE_PX, pixels, bytes_for(pixels)};
}

smri_status smri_image_decode(struct smri_image *out, const void *bytes, size_t n_bytes, const char *name,
                              const struct smri_decode *options) {
    static const uint8_t png_magic[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};
    static const uint8_t jpeg_magic[3] = {0xFF, 0xD8, 0xFF};
    *out = (struct smri_image){0};
    name = message_name(name);
    if (options->channels != 0 && options->channels != 1 && options->channels != 3)
        return smri_fail(SMRI_ARGUMENT, "channels: expected 0 (keep), 1 or 3, got %zu", options->channels);
    if (options->range == SMRI_RANGE_GIVEN && (options->low >= options->high || options->high > UINT16_MAX))
        return smri_fail(SMRI_ARGUMENT, "range: expected 0 <= low < high <= 65535, got %u and %u", options->low, options->high);
    const struct limits limits = limits_of(options);
    struct raster raster = {0};
    smri_status status;
    if (n_bytes >= sizeof jpeg_magic && memcmp(bytes, jpeg_magic, sizeof jpeg_magic) == 0)
        status = jpeg_decode(&raster, bytes, n_bytes, name, &limits);
    else if (n_bytes >= sizeof png_magic && memcmp(bytes, png_magic, sizeof png_magic) == 0)
        status = png_decode(&raster, bytes, n_bytes, name, &limits);
    else return unknown_format(bytes, n_bytes, name);
    if (status == SMRI_OK) status = convert(out, &raster, options, name);
    free(raster.samples);
    if (status != SMRI_OK) *out = (struct smri_image){0};
    return status;
}

smri_status smri_image_read(struct smri_image *out, const char *path, const struct smri_decode *options) {
    uint8_t *bytes;
    size_t n_bytes;
    *out = (struct smri_image){0};
    smri_status status = smri_file_read(&bytes, &n_bytes, path, limits_of(options).bytes);
    if (status != SMRI_OK) return status;
    status = smri_image_decode(out, bytes, n_bytes, path, options);
    free(bytes);
    return status;
}

void smri_image_free(struct smri_image *image) {
    free(image->pixels);
    *image = (struct smri_image){0};
}
