/* A list of files as one uint8 array, one task a file. Nothing stops at the first bad file: each keeps its own message,
 * because whoever has 6,400 images wants the whole list of corrupt ones at once. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "io/raster.h"
#include "smri/image.h"
#include "smri/memory.h"
#include "smri/resize.h"

bool smri_files_shape(size_t *H, size_t *W, size_t *C, const struct smri_files *files) {
    const struct smri_decode options = {.channels = files->channels, .max_pixels = files->max_pixels};
    for (size_t i = 0; i < files->n; i++) {
        struct smri_image image;
        if (smri_image_read(&image, files->paths[i], &options) != SMRI_OK) continue;
        *H = files->rows != 0 ? files->rows : image.H;
        *W = files->cols != 0 ? files->cols : image.W;
        *C = image.C;
        smri_image_free(&image);
        return true;
    }
    *H = *W = 0;
    *C = files->channels;
    return false;
}

/* Rows and columns of an image of `in` that fills H x W by its shape, the other side shorter. */
static void inscribe(size_t size[2], size_t in_H, size_t in_W, size_t H, size_t W) {
    const bool wide = in_W * H > in_H * W;
    size[0] = wide ? (2 * in_H * W + in_W) / (2 * in_W) : H;
    size[1] = wide ? W : (2 * in_W * H + in_H) / (2 * in_H);
    if (size[0] == 0) size[0] = 1;
    if (size[1] == 0) size[1] = 1;
}

/* The whole image in the middle of black. */
static smri_status pad(uint8_t *out, const struct smri_image *image, size_t H, size_t W) {
    size_t size[2];
    inscribe(size, image->H, image->W, H, W);
    const size_t C = image->C, line = size[1] * C;
    uint8_t *small = malloc(size[0] * line);
    if (small == NULL) return smri_fail(SMRI_MEMORY, "resize: %zu bytes refused by the system", size[0] * line);
    const struct smri_resize shape = {1, image->H, image->W, C, size[0], size[1]};
    const smri_status status = smri_resize_u8(small, image->pixels, &shape, NULL);
    if (status == SMRI_OK) {
        memset(out, 0, H * W * C);
        uint8_t *corner = out + ((H - size[0]) / 2 * W + (W - size[1]) / 2) * C;
        for (size_t y = 0; y < size[0]; y++) memcpy(corner + y * W * C, small + y * line, line);
    }
    free(small);
    return status;
}

/* The largest centred part of the image that has the shape. */
static smri_status crop(uint8_t *out, const struct smri_image *image, size_t H, size_t W) {
    size_t size[2];
    const bool wide = image->W * H > image->H * W;
    inscribe(size, H, W, image->H, image->W);
    const size_t C = image->C, line = size[1] * C;
    const size_t top = wide ? 0 : (image->H - size[0]) / 2, left = wide ? (image->W - size[1]) / 2 : 0;
    uint8_t *middle = malloc(size[0] * line);
    if (middle == NULL) return smri_fail(SMRI_MEMORY, "resize: %zu bytes refused by the system", size[0] * line);
    for (size_t y = 0; y < size[0]; y++)
        memcpy(middle + y * line, (const uint8_t *)image->pixels + ((top + y) * image->W + left) * C, line);
    const struct smri_resize shape = {1, size[0], size[1], C, H, W};
    const smri_status status = smri_resize_u8(out, middle, &shape, NULL);
    free(middle);
    return status;
}

static smri_status fit(uint8_t *out, const struct smri_image *image, size_t H, size_t W, enum smri_fit how) {
    const struct smri_resize shape = {1, image->H, image->W, image->C, H, W};
    const bool same_shape = image->H * W == image->W * H;
    if (how == SMRI_FIT_STRETCH || same_shape) return smri_resize_u8(out, image->pixels, &shape, NULL);
    return how == SMRI_FIT_PAD ? pad(out, image, H, W) : crop(out, image, H, W);
}

struct job {
    uint8_t *out;
    struct smri_failure *failures;
    size_t H, W, C;
    const struct smri_files *files;
};

static smri_status decode_one(uint8_t *out, const struct job *job, size_t index) {
    const struct smri_files *files = job->files;
    const char *path = files->paths[index];
    const struct smri_decode options = {.channels = files->channels, .range = files->range, .low = files->low,
                                        .high = files->high, .max_pixels = files->max_pixels};
    struct smri_image image;
    smri_status status = smri_image_read(&image, path, &options);
    if (status != SMRI_OK) return status;
    if (files->facts != NULL) files->facts[index] = image.facts;
    const bool resizes = job->files->rows != 0;
    if (image.C != job->C || (!resizes && (image.H != job->H || image.W != job->W)))
        status = smri_fail(SMRI_SHAPE,
                           "%s: %zu x %zu x %zu (rows x columns x channels) where the first image has %zu x %zu x %zu",
                           message_name(path), image.H, image.W, image.C, resizes ? image.H : job->H,
                           resizes ? image.W : job->W, job->C);
    else if (image.H == job->H && image.W == job->W) memcpy(out, image.pixels, job->H * job->W * job->C);
    else status = fit(out, &image, job->H, job->W, files->fit);
    const int code = errno;
    smri_image_free(&image);
    errno = code;
    return status;
}

static void decode_task(void *context, size_t index, size_t worker) {
    const struct job *job = context;
    const size_t bytes = job->H * job->W * job->C;
    uint8_t *out = job->out + index * bytes;
    const smri_status status = decode_one(out, job, index);
    if (status == SMRI_OK) return;
    struct smri_failure *failure = &job->failures[index];
    failure->os_error = status == SMRI_IO ? errno : 0;
    failure->status = status;
    failure->message = strdup(smri_message());
    if (bytes > 0) memset(out, 0, bytes);
}

size_t smri_files_decode(uint8_t *out, struct smri_failure *failures, size_t H, size_t W, size_t C,
                         const struct smri_files *files, smri_pool *pool) {
    struct job job = {out, failures, H, W, C, files};
    smri_pool_run(pool, files->n, decode_task, &job);
    size_t failed = 0;
    for (size_t i = 0; i < files->n; i++) failed += failures[i].status != SMRI_OK;
    return failed;
}

void smri_failures_free(struct smri_failure *failures, size_t n) {
    for (size_t i = 0; i < n; i++) free(failures[i].message);
}
