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
    const struct smri_decode options = {.channels = files->channels};
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

struct job {
    uint8_t *out;
    struct smri_failure *failures;
    size_t H, W, C;
    const struct smri_files *files;
};

static smri_status decode_one(uint8_t *out, const struct job *job, const char *path) {
    const struct smri_decode options = {.channels = job->files->channels};
    struct smri_image image;
    smri_status status = smri_image_read(&image, path, &options);
    if (status != SMRI_OK) return status;
    const bool resizes = job->files->rows != 0;
    if (image.C != job->C || (!resizes && (image.H != job->H || image.W != job->W)))
        status = smri_fail(SMRI_SHAPE,
                           "%s: %zu x %zu x %zu (rows x columns x channels) where the first image has %zu x %zu x %zu",
                           message_name(path), image.H, image.W, image.C, resizes ? image.H : job->H,
                           resizes ? image.W : job->W, job->C);
    else if (image.H == job->H && image.W == job->W) memcpy(out, image.pixels, job->H * job->W * job->C);
    else {
        const struct smri_resize shape = {1, image.H, image.W, job->C, job->H, job->W};
        status = smri_resize_u8(out, image.pixels, &shape, NULL);
    }
    const int code = errno;
    smri_image_free(&image);
    errno = code;
    return status;
}

static void decode_task(void *context, size_t index, size_t worker) {
    (void)worker;
    const struct job *job = context;
    const size_t bytes = job->H * job->W * job->C;
    uint8_t *out = job->out + index * bytes;
    const smri_status status = decode_one(out, job, job->files->paths[index]);
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
