/* PNG by libpng's low-level interface (W3C PNG, third edition). Palette, 1, 2 and 4 bits and tRNS are expanded by the
 * library; compositing and the change of channels are image.c's.
 *
 * Every ancillary chunk but tRNS is skipped unread (its checksum is still verified): text and colour profiles hold
 * compressed data that nobody here needs. What the library calls a benign error is an error. Chunks may be as long as the
 * file: pixels are inflated as they are read, and what is skipped is never held. */
#include "io/raster.h"

#include <png.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "smri/build.h"

#define SMALLEST_LIMIT ((png_alloc_size_t)8 << 20)

struct source {
    const uint8_t *bytes;
    size_t n, at;
    const char *name;
    smri_status status;
    bool refused; /* memory, by the system: whatever the library says next comes from that and not from the file */
    png_bytep *rows;
};

static void on_error(png_structp png, png_const_charp text) {
    struct source *source = png_get_error_ptr(png);
    if (source->refused) source->status = smri_fail(SMRI_MEMORY, "%s: memory refused while decoding", source->name);
    if (source->status == SMRI_OK) source->status = smri_fail(SMRI_DECODE, "%s: corrupt PNG data (%s)", source->name, text);
    png_longjmp(png, 1);
}

static png_voidp on_alloc(png_structp png, png_alloc_size_t n) {
    struct source *source = png_get_mem_ptr(png);
    void *memory = malloc(n);
    if (memory == NULL && n > 0) source->refused = true;
    return memory;
}

static void on_free(png_structp png, png_voidp memory) {
    free(memory);
}

static void on_warning(png_structp png, png_const_charp text) { (void)png, (void)text; }

static void on_read(png_structp png, png_bytep out, size_t n) {
    struct source *source = png_get_io_ptr(png);
    if (n > source->n - source->at) {
        source->status = smri_fail(SMRI_DECODE, "%s: truncated PNG data (ends after %zu bytes)", source->name, source->n);
        png_longjmp(png, 1);
    }
    memcpy(out, source->bytes + source->at, n);
    source->at += n;
}

static void configure(png_structp png, struct source *source, const struct limits *limits) {
    static const png_byte skipped[] =
        "bKGD\0cHRM\0eXIf\0gAMA\0hIST\0iCCP\0iTXt\0oFFs\0pCAL\0pHYs\0sBIT\0sCAL\0sPLT\0sRGB\0sTER\0tEXt\0tIME\0zTXt";
    png_set_read_fn(png, source, on_read);
    const png_uint_32 side = limits->side_px < PNG_UINT_31_MAX ? (png_uint_32)limits->side_px : PNG_UINT_31_MAX;
    png_set_user_limits(png, side, side);
    png_set_chunk_cache_max(png, 128);
    png_set_chunk_malloc_max(png, source->n > SMALLEST_LIMIT ? source->n : SMALLEST_LIMIT);
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, skipped, (int)(sizeof skipped / 5));
    png_set_crc_action(png, PNG_CRC_ERROR_QUIT, PNG_CRC_ERROR_QUIT);
    png_set_benign_errors(png, 0);
}

/* The largest count of sBIT, which is skipped by the library since a bad one is no reason to refuse the pixels. Chunks are
 * 4 bytes of length, 4 of name, the data and 4 of checksum; those before the first IDAT are walked. */
static unsigned stated_bits(const struct source *source) {
    size_t at = 8;
    while (source->n - at >= 12) {
        const uint8_t *chunk = source->bytes + at;
        const size_t length = (size_t)chunk[0] << 24 | (size_t)chunk[1] << 16 | (size_t)chunk[2] << 8 | chunk[3];
        if (length > source->n - at - 12 || memcmp(chunk + 4, "IDAT", 4) == 0) return 0;
        if (memcmp(chunk + 4, "sBIT", 4) == 0) {
            unsigned most = 0;
            for (size_t i = 0; i < length && i < 3; i++) most = chunk[8 + i] > most ? chunk[8 + i] : most;
            return most;
        }
        at += length + 12;
    }
    return 0;
}

static smri_status read_pixels(png_structp png, png_infop info, struct source *source, struct raster *out,
                               const struct limits *limits) {
    png_read_info(png, info);
    out->H = png_get_image_height(png, info);
    out->W = png_get_image_width(png, info);
    smri_status status = raster_check(out->H, out->W, limits, source->name);
    if (status != SMRI_OK) return status;
    png_set_expand(png);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    if (png_get_bit_depth(png, info) == 16) png_set_swap(png);
#endif
    png_set_interlace_handling(png);
    png_read_update_info(png, info);
    out->C = png_get_channels(png, info);
    out->bits = png_get_bit_depth(png, info);
    out->stated_bits = out->bits == 16 ? stated_bits(source) : 0;
    if ((status = raster_alloc(out, source->name)) != SMRI_OK) return status;
    const size_t stride = png_get_rowbytes(png, info);
    source->rows = malloc(out->H * sizeof *source->rows);
    if (source->rows == NULL) return smri_fail(SMRI_MEMORY, "%s: memory refused while decoding", source->name);
    for (size_t h = 0; h < out->H; h++) source->rows[h] = (png_bytep)out->samples + h * stride;
    png_read_image(png, source->rows);
    png_read_end(png, NULL); /* verifies what follows the pixels: the stream's checksum and the end chunk */
    return SMRI_OK;
}

/* Everything that changes after setjmp lives behind pointers, so that longjmp finds it as it was left. */
static smri_status decode(png_structp png, png_infop info, struct source *source, struct raster *out,
                          const struct limits *limits) {
    if (setjmp(png_jmpbuf(png))) return source->status;
    configure(png, source, limits);
    return read_pixels(png, info, source, out, limits);
}

smri_status png_decode(struct raster *out, const uint8_t *bytes, size_t n, const char *name, const struct limits *limits) {
    struct source source = {.bytes = bytes, .n = n, .name = name};
    smri_status status = SMRI_MEMORY;
    out->samples = NULL;
    png_structp png =
        png_create_read_struct_2(PNG_LIBPNG_VER_STRING, &source, on_error, on_warning, &source, on_alloc, on_free);
    png_infop info = png != NULL ? png_create_info_struct(png) : NULL;
    if (info == NULL) smri_fail(SMRI_MEMORY, "%s: memory refused while decoding", name);
    else status = decode(png, info, &source, out, limits);
    png_destroy_read_struct(&png, &info, NULL);
    free(source.rows);
    if (status != SMRI_OK) {
        free(out->samples);
        out->samples = NULL;
    }
    return status;
}

const char *smri_png_name(void) { return png_get_libpng_ver(NULL); }
