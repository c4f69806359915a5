/* PNG encoding by libpng into memory; the file is written by smri_file_replace, all or nothing. Gray and RGB of 8 bits,
 * gray of 16. No time, no text: the same pixels give the same bytes. */
#include "smri/image.h"

#include <png.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "smri/memory.h"

struct sink {
    uint8_t *bytes;
    size_t n, capacity;
    smri_status status;
    bool refused; /* memory, by the system */
};

static void on_error(png_structp png, png_const_charp text) {
    struct sink *sink = png_get_error_ptr(png);
    if (sink->refused) sink->status = smri_fail(SMRI_MEMORY, "PNG: memory refused by the system");
    if (sink->status == SMRI_OK) sink->status = smri_fail(SMRI_ARGUMENT, "PNG: %s", text);
    png_longjmp(png, 1);
}

static png_voidp on_alloc(png_structp png, png_alloc_size_t n) {
    struct sink *sink = png_get_mem_ptr(png);
    void *memory = malloc(n);
    if (memory == NULL && n > 0) sink->refused = true;
    return memory;
}

static void on_free(png_structp png, png_voidp memory) {
    free(memory);
}

static void on_warning(png_structp png, png_const_charp text) { (void)png, (void)text; }

static void on_write(png_structp png, png_bytep bytes, size_t n) {
    struct sink *sink = png_get_io_ptr(png);
    if (n > sink->capacity - sink->n) {
        const size_t capacity = 2 * sink->capacity + n + 4096;
        uint8_t *grown = realloc(sink->bytes, capacity);
        if (grown == NULL) {
            sink->status = smri_fail(SMRI_MEMORY, "PNG: %zu bytes refused by the system", capacity);
            png_longjmp(png, 1);
        }
        sink->bytes = grown;
        sink->capacity = capacity;
    }
    memcpy(sink->bytes + sink->n, bytes, n);
    sink->n += n;
}

static void on_flush(png_structp png) { (void)png; }

static smri_status check(const struct smri_png *png) {
    if (png->C != 1 && png->C != 3) return smri_fail(SMRI_SHAPE, "PNG: expected 1 or 3 channels, got %zu", png->C);
    if (png->bits != 8 && !(png->bits == 16 && png->C == 1))
        return smri_fail(SMRI_ARGUMENT, "PNG: expected 8 bits, or 16 for one channel, got %u for %zu", png->bits, png->C);
    if (png->compression < 0 || png->compression > 9)
        return smri_fail(SMRI_ARGUMENT, "PNG: expected compression 0 to 9, got %d", png->compression);
    if (png->H == 0 || png->W == 0 || png->H > SMRI_MAX_SIDE_PX || png->W > SMRI_MAX_SIDE_PX)
        return smri_fail(SMRI_SHAPE, "PNG: expected 1 to %zu pixels a side, got %zu x %zu", SMRI_MAX_SIDE_PX, png->H, png->W);
    return SMRI_OK;
}

static smri_status encode(png_structp writer, png_infop info, struct sink *sink, const struct smri_png *png) {
    if (setjmp(png_jmpbuf(writer))) return sink->status;
    png_set_write_fn(writer, sink, on_write, on_flush);
    png_set_compression_level(writer, png->compression);
    png_set_IHDR(writer, info, (png_uint_32)png->W, (png_uint_32)png->H, (int)png->bits,
                 png->C == 1 ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
                 PNG_FILTER_TYPE_DEFAULT);
    png_write_info(writer, info);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    if (png->bits == 16) png_set_swap(writer);
#endif
    const size_t stride = png->W * png->C * (png->bits / 8);
    for (size_t h = 0; h < png->H; h++) png_write_row(writer, (png_const_bytep)png->pixels + h * stride);
    png_write_end(writer, info);
    return SMRI_OK;
}

smri_status smri_png_encode(uint8_t **out, size_t *n_bytes, const struct smri_png *png) {
    *out = NULL;
    *n_bytes = 0;
    smri_status status = check(png);
    if (status != SMRI_OK) return status;
    struct sink sink = {0};
    png_structp writer =
        png_create_write_struct_2(PNG_LIBPNG_VER_STRING, &sink, on_error, on_warning, &sink, on_alloc, on_free);
    png_infop info = writer != NULL ? png_create_info_struct(writer) : NULL;
    if (info == NULL) status = smri_fail(SMRI_MEMORY, "PNG: memory refused by the system");
    else status = encode(writer, info, &sink, png);
    png_destroy_write_struct(&writer, &info);
    if (status != SMRI_OK) {
        free(sink.bytes);
        return status;
    }
    *out = sink.bytes;
    *n_bytes = sink.n;
    return SMRI_OK;
}

smri_status smri_png_write(const char *path, const struct smri_png *png, bool sync) {
    uint8_t *bytes;
    size_t n_bytes;
    smri_status status = smri_png_encode(&bytes, &n_bytes, png);
    if (status != SMRI_OK) return status;
    status = smri_file_replace(path, bytes, n_bytes, sync);
    free(bytes);
    return status;
}
