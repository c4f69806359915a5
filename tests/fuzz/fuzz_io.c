/* libFuzzer targets for csrc/io, one program; -DTARGET= chooses: DECODE (bytes of a JPEG or PNG), FILES (the same by path, in a
 * list with paths that are no files), WRITE (pixels to a PNG and back) or RESIZE. The first bytes of an input are options; one of
 * them says which of the calls to the system is refused. Failures are statuses: only a crash, a leak, a hang, undefined behaviour
 * or pixels that do not come back end the program.
 *
 * A mutation breaks the checksums of a PNG's chunks, and nothing behind them would be reached: the mutator repairs them. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
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

#define OPTIONS 4 /* bytes before the file */

/* The linker puts these in front of the C library (--wrap): the n-th call after refuse(n) fails, 0 refuses none. */
static long calls_left;

static void refuse(long n) { calls_left = n; }

static int is_refused(int code) {
    if (calls_left == 0 || --calls_left != 0) return 0;
    errno = code;
    return 1;
}

#define WRAPPED(type, name, parameters, arguments, failed, code) \
    type __real_##name parameters;                               \
    type __wrap_##name parameters;                               \
    type __wrap_##name parameters { return is_refused(code) ? failed : __real_##name arguments; }

WRAPPED(void *, malloc, (size_t n), (n), NULL, ENOMEM)
WRAPPED(void *, calloc, (size_t n, size_t size), (n, size), NULL, ENOMEM)
WRAPPED(void *, realloc, (void *p, size_t n), (p, n), NULL, ENOMEM)
WRAPPED(char *, strdup, (const char *text), (text), NULL, ENOMEM)
WRAPPED(ssize_t, read, (int fd, void *bytes, size_t n), (fd, bytes, n), -1, n % 2 == 0 ? EINTR : EIO)
WRAPPED(ssize_t, write, (int fd, const void *bytes, size_t n), (fd, bytes, n), -1, n % 2 == 0 ? EINTR : ENOSPC)
WRAPPED(int, fstat, (int fd, struct stat *about), (fd, about), -1, EIO)
WRAPPED(int, fsync, (int fd), (fd), -1, EIO)
WRAPPED(int, rename, (const char *from, const char *to), (from, to), -1, EACCES)

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    const unsigned mode = (flags & O_CREAT) != 0 ? va_arg(rest, unsigned) : 0;
    va_end(rest);
    return is_refused((flags & O_EXCL) != 0 ? EEXIST : EMFILE) ? -1 : __real_open(path, flags, mode);
}

int __wrap_asprintf(char **out, const char *format, ...);
int __wrap_asprintf(char **out, const char *format, ...) {
    if (is_refused(ENOMEM)) return -1;
    va_list values;
    va_start(values, format);
    const int n = vasprintf(out, format, values);
    va_end(values);
    return n;
}

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
    refuse(data[3]);
    if (smri_image_decode(&image, data + OPTIONS, size - OPTIONS, "input", &options) == SMRI_OK) {
        const size_t bytes = image.H * image.W * image.C * (image.is_float ? sizeof(float) : 1);
        volatile uint8_t sum = 0; /* reads every byte: memory that was never written is found by the sanitizer for it */
        for (size_t i = 0; i < bytes; i++) sum ^= ((const uint8_t *)image.pixels)[i];
    }
    refuse(0);
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
    const char *const paths[] = {"/nowhere", "/", "/dev/null", path, path};
    enum { N = sizeof paths / sizeof paths[0] };
    struct smri_image_facts facts[N];
    struct smri_failure failures[N] = {{0}};
    const struct smri_decode options = options_of(data);
    const struct smri_files list = {.paths = paths,
                                    .n = N,
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
    uint8_t *out = malloc(N * H * W * C + 1);
    refuse(data[3]);
    if (out != NULL) smri_files_decode(out, failures, H, W, C, &list, NULL);
    refuse(0);
    smri_failures_free(failures, N);
    free(out);
    unlink(path);
}

/* Where a PNG is written to: a new file, one that exists, links to it (a chain, and one that leads to itself), a folder, a device. */
static const char *place(char *path, size_t size, unsigned kind) {
    static const char *const elsewhere[] = {"/tmp", "/dev/null"};
    char first[80], second[80];
    snprintf(path, size, "/tmp/smri_fuzz_%ld.png", (long)getpid());
    snprintf(first, sizeof first, "%s.1", path);
    snprintf(second, sizeof second, "%s.2", path);
    unlink(path), unlink(first), unlink(second);
    if (kind < 2) return elsewhere[kind];
    if (kind == 2) close(open(path, O_CREAT | O_WRONLY, 0640));
    if (kind > 3 && (symlink(second, first) != 0 || symlink(kind == 4 ? first : strrchr(path, '/') + 1, second) != 0)) abort();
    if (kind > 3) snprintf(path, size, "%s", first);
    return path;
}

static void write_png(const uint8_t *data, size_t size) {
    if (size < 6) return;
    struct smri_png png = {.H = data[0] % 40, .W = data[1] % 40, .C = data[2] % 4, .bits = (data[2] & 4) != 0 ? 16 : 8};
    png.compression = data[3] % 12 - 1;
    const size_t bytes = png.H * png.W * png.C * (png.bits / 8);
    uint8_t *pixels = calloc(bytes + 2, 1);
    if (pixels == NULL) return;
    memcpy(pixels, data + 6, size - 6 < bytes ? size - 6 : bytes);
    png.pixels = pixels;
    char name[100];
    const char *path = place(name, sizeof name, data[4] % 8);
    struct smri_image image;
    refuse(data[5]);
    const smri_status written = smri_png_write(path, &png, true);
    refuse(0);
    if (written == SMRI_OK) {
        const smri_status status = smri_image_read(&image, path, &(struct smri_decode){0});
        if (status != SMRI_OK || image.H != png.H || image.W != png.W || image.C != png.C) abort();
        if (png.bits == 8 && memcmp(image.pixels, pixels, bytes) != 0) abort();
        smri_image_free(&image);
    }
    place(name, sizeof name, 3); /* removes what was written */
    free(pixels);
}

static void resize(const uint8_t *data, size_t size) {
    if (size < 8) return;
    const struct smri_resize shape = {data[0] % 3, data[1] % 50, data[2] % 50, 1 + data[3] % 4, data[4] % 70, data[5] % 70};
    const size_t in = shape.N * shape.H * shape.W * shape.C, out = shape.N * shape.rows * shape.cols * shape.C;
    float *from = calloc(in + 1, sizeof(float)), *to = calloc(out + 1, sizeof(float));
    if (from != NULL && to != NULL) {
        memcpy(from, data + 8, size - 8 < in * sizeof(float) ? size - 8 : in * sizeof(float));
        refuse(data[7]);
        if ((data[6] & 1) != 0) smri_resize_f32(to, from, &shape, NULL);
        else smri_resize_u8((uint8_t *)to, (const uint8_t *)from, &shape, NULL);
        refuse(0);
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
