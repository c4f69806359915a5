/* libFuzzer targets for csrc/io, one program; -DTARGET= chooses: DECODE (bytes of a JPEG or PNG), FILES (the same by path, with a
 * list of two), WRITE (pixels to a PNG and back) or RESIZE. The first bytes of an input are options. Failures are statuses:
 * only a crash, a leak, a hang, undefined behaviour or pixels that do not come back end the program.
 *
 * A mutation breaks the checksums of a PNG's chunks, and nothing behind them would be reached: the mutator repairs them. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <zlib.h>

#include "smri/image.h"
#include "smri/resize.h"

#define DECODE 0
#define FILES 1
#define WRITE 2
#define RESIZE 3

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define OPTIONS 3 /* bytes before the file */

static struct smri_decode options_of(const uint8_t *data) {
    static const size_t channels[] = {0, 1, 3, 2};
    struct smri_decode options = {.channels = channels[data[0] & 3], .as_float = (data[0] & 4) != 0};
    options.max_pixels = (data[0] & 8) != 0 ? 1 << 12 : 1 << 16;
    options.max_side_px = (data[0] & 16) != 0 ? 50 : 0;
    options.range = (enum smri_range)(data[1] % 3);
    options.low = data[1];
    options.high = data[1] + data[2];
    return options;
}

static void decode(const uint8_t *data, size_t size) {
    if (size < OPTIONS) return;
    const struct smri_decode options = options_of(data);
    struct smri_image image;
    if (smri_image_decode(&image, data + OPTIONS, size - OPTIONS, "input", &options) == SMRI_OK) {
        const size_t bytes = image.H * image.W * image.C * (image.is_float ? sizeof(float) : 1);
        volatile uint8_t sum = 0; /* reads every byte: memory that was never written is found by the sanitizer for it */
        for (size_t i = 0; i < bytes; i++) sum ^= ((const uint8_t *)image.pixels)[i];
    }
    smri_image_free(&image);
}

static void files(const uint8_t *data, size_t size) {
    if (size < OPTIONS) return;
    char path[64];
    snprintf(path, sizeof path, "/tmp/smri_fuzz_%ld", (long)getpid());
    FILE *file = fopen(path, "wb");
    if (file == NULL) return;
    fwrite(data + OPTIONS, 1, size - OPTIONS, file);
    fclose(file);
    const char *const paths[] = {path, "/nowhere", path};
    struct smri_image_facts facts[3];
    struct smri_failure failures[3] = {{0}};
    const struct smri_decode options = options_of(data);
    const struct smri_files list = {.paths = paths,
                                    .n = 3,
                                    .channels = options.channels == 2 ? 0 : options.channels,
                                    .fit = (enum smri_fit)(data[2] % 3),
                                    .range = options.range,
                                    .low = options.low,
                                    .high = options.high,
                                    .facts = facts,
                                    .rows = (data[0] & 32) != 0 ? 1 + data[2] % 40 : 0,
                                    .cols = (data[0] & 32) != 0 ? 1 + data[1] % 40 : 0,
                                    .max_pixels = 1 << 14};
    size_t H, W, C;
    smri_files_shape(&H, &W, &C, &list);
    uint8_t *out = malloc(3 * H * W * C + 1);
    if (out != NULL) smri_files_decode(out, failures, H, W, C, &list, NULL);
    smri_failures_free(failures, 3);
    free(out);
    unlink(path);
}

static void write_png(const uint8_t *data, size_t size) {
    if (size < 4) return;
    struct smri_png png = {.H = data[0] % 40, .W = data[1] % 40, .C = data[2] % 4, .bits = (data[2] & 4) != 0 ? 16 : 8};
    png.compression = data[3] % 12 - 1;
    const size_t bytes = png.H * png.W * png.C * (png.bits / 8);
    uint8_t *pixels = calloc(bytes + 2, 1);
    if (pixels == NULL) return;
    memcpy(pixels, data + 4, size - 4 < bytes ? size - 4 : bytes);
    png.pixels = pixels;
    char path[64];
    snprintf(path, sizeof path, "/tmp/smri_fuzz_%ld.png", (long)getpid());
    struct smri_image image;
    if (smri_png_write(path, &png) == SMRI_OK) {
        const smri_status status = smri_image_read(&image, path, &(struct smri_decode){0});
        if (status != SMRI_OK || image.H != png.H || image.W != png.W || image.C != png.C) abort();
        if (png.bits == 8 && memcmp(image.pixels, pixels, bytes) != 0) abort();
        smri_image_free(&image);
        unlink(path);
    }
    free(pixels);
}

static void resize(const uint8_t *data, size_t size) {
    if (size < 7) return;
    const struct smri_resize shape = {data[0] % 3, data[1] % 50, data[2] % 50, 1 + data[3] % 4, data[4] % 70, data[5] % 70};
    const size_t in = shape.N * shape.H * shape.W * shape.C, out = shape.N * shape.rows * shape.cols * shape.C;
    float *from = calloc(in + 1, sizeof(float)), *to = calloc(out + 1, sizeof(float));
    if (from != NULL && to != NULL) {
        memcpy(from, data + 7, size - 7 < in * sizeof(float) ? size - 7 : in * sizeof(float));
        if ((data[6] & 1) != 0) smri_resize_f32(to, from, &shape, NULL);
        else smri_resize_u8((uint8_t *)to, (const uint8_t *)from, &shape, NULL);
    }
    free(from);
    free(to);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    switch (TARGET) {
    case DECODE: decode(data, size); break;
    case FILES: files(data, size); break;
    case WRITE: write_png(data, size); break;
    default: resize(data, size); break;
    }
    return 0;
}

#if TARGET == DECODE || TARGET == FILES
static uint32_t big_endian(const uint8_t *at) {
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static void repair_checksums(uint8_t *png, size_t size) {
    static const uint8_t magic[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};
    if (size < sizeof magic || memcmp(png, magic, sizeof magic) != 0) return;
    for (size_t at = sizeof magic; size - at >= 12;) {
        const size_t length = big_endian(png + at);
        if (length > size - at - 12) return;
        const uint32_t crc = (uint32_t)crc32(0, png + at + 4, (uInt)(length + 4));
        for (size_t i = 0; i < 4; i++) png[at + 8 + length + i] = (uint8_t)(crc >> (24 - 8 * i));
        at += 12 + length;
    }
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed) {
    size = LLVMFuzzerMutate(data, size, most);
    if (size > OPTIONS && seed % 8 != 0) repair_checksums(data + OPTIONS, size - OPTIONS);
    return size;
}
#endif
