/* Options and draws of an augmentation, and the batch on the pool: one task a view. The 32 words of a view's stream are
 * all taken whatever the options, ten tries for the crop included; pixel noise has a stream of its own. */
#include "smri/augment.h"

#include <math.h>
#include <string.h>

#include "io/view.h"
#include "kernels/kernels.h"
#include "smri/memory.h"
#include "smri/rng.h"

#define MAX_SIDE ((size_t)1 << 15) /* an image offset, even in a plane of floats, fits int32 */
#define MAX_SIGMA 64.0f
#define CROP_TRIES 10

struct smri_augment smri_augment_identity(void) {
    return (struct smri_augment){.scale = {1, 1}, .ratio = {1, 1}, .brightness = {1, 1}, .contrast = {1, 1},
                                 .gamma = {1, 1}, .blur_sigma = {1, 1}, .std = {1, 1, 1}};
}

/* NaN fails every comparison that is written positively. */
static smri_status check_range(const char *name, const float range[2], float low, float high) {
    if (range[0] >= low && range[0] <= range[1] && range[1] <= high) return SMRI_OK;
    return smri_fail(SMRI_ARGUMENT, "%s: expected %g <= low <= high <= %g, got (%g, %g)", name, (double)low, (double)high,
                     (double)range[0], (double)range[1]);
}

static smri_status check_value(const char *name, float value, float low, float high) {
    if (value >= low && value <= high) return SMRI_OK;
    return smri_fail(SMRI_ARGUMENT, "%s: expected %g to %g, got %g", name, (double)low, (double)high, (double)value);
}

smri_status smri_augment_check(const struct smri_augment *options) {
    const struct {
        const char *name;
        const float *range;
        float low, high;
    } ranges[] = {
        {"scale", options->scale, 1e-6f, 1.0f},          {"ratio", options->ratio, 1e-3f, 1e3f},
        {"brightness", options->brightness, 0.0f, 1e3f}, {"contrast", options->contrast, 0.0f, 1e3f},
        {"gamma", options->gamma, 1e-3f, 1e3f},          {"blur_sigma", options->blur_sigma, 1e-3f, MAX_SIGMA},
    };
    const struct {
        const char *name;
        float value, low, high;
    } values[] = {
        {"flip_horizontal", options->flip_horizontal, 0.0f, 1.0f}, {"flip_vertical", options->flip_vertical, 0.0f, 1.0f},
        {"rotation_deg", options->rotation_deg, 0.0f, 180.0f},     {"shift", options->shift, 0.0f, 1.0f},
        {"blur_p", options->blur_p, 0.0f, 1.0f},                   {"noise_sd", options->noise_sd, 0.0f, 1e3f},
    };
    smri_status status = SMRI_OK;
    for (size_t i = 0; status == SMRI_OK && i < sizeof ranges / sizeof *ranges; i++)
        status = check_range(ranges[i].name, ranges[i].range, ranges[i].low, ranges[i].high);
    for (size_t i = 0; status == SMRI_OK && i < sizeof values / sizeof *values; i++)
        status = check_value(values[i].name, values[i].value, values[i].low, values[i].high);
    for (size_t c = 0; status == SMRI_OK && c < SMRI_MAX_CHANNELS; c++) {
        status = check_value("mean", options->mean[c], -1e6f, 1e6f);
        if (status == SMRI_OK) status = check_value("std", options->std[c], 1e-6f, 1e6f);
    }
    if (status != SMRI_OK) return status;
    if ((options->rows == 0) != (options->cols == 0) || options->rows > MAX_SIDE || options->cols > MAX_SIDE)
        return smri_fail(SMRI_ARGUMENT, "size: expected 1 to %zu rows and columns, got %zu x %zu", MAX_SIDE, options->rows,
                         options->cols);
    return SMRI_OK;
}

/* The largest centred crop whose ratio is in range. */
static void centre_crop(struct smri_view *view, const float ratio[2], size_t H, size_t W) {
    const double whole = (double)W / (double)H;
    double height = (double)H, width = (double)W;
    if (whole < (double)ratio[0]) height = round(width / (double)ratio[0]);
    else if (whole > (double)ratio[1]) width = round(height * (double)ratio[1]);
    view->height = height >= 1.0 ? (size_t)height : 1;
    view->width = width >= 1.0 ? (size_t)width : 1;
    view->top = (H - view->height) / 2;
    view->left = (W - view->width) / 2;
}

static void draw_crop(struct smri_view *view, const struct smri_augment *options, size_t H, size_t W, struct smri_rng *rng) {
    const double log_low = log((double)options->ratio[0]), log_high = log((double)options->ratio[1]);
    bool found = false;
    for (int try = 0; try < CROP_TRIES; try++) {
        const double share = (double)smri_rng_between(rng, options->scale[0], options->scale[1]);
        const double ratio = exp(log_low + (log_high - log_low) * (double)smri_rng_uniform(rng));
        const double area = share * (double)H * (double)W;
        const double width = round(sqrt(area * ratio)), height = round(sqrt(area / ratio));
        if (found || !(width >= 1.0 && width <= (double)W && height >= 1.0 && height <= (double)H)) continue;
        view->height = (size_t)height;
        view->width = (size_t)width;
        found = true;
    }
    const double down = (double)smri_rng_uniform(rng), across = (double)smri_rng_uniform(rng);
    if (options->scale[0] == 1.0f) { /* no crop was asked for: a ratio must not cut the image either */
        *view = (struct smri_view){.height = H, .width = W};
    } else if (found) {
        view->top = (size_t)(down * (double)(H - view->height + 1));
        view->left = (size_t)(across * (double)(W - view->width + 1));
    } else centre_crop(view, options->ratio, H, W);
}

void smri_augment_draw(struct smri_view *view, const struct smri_augment *options, size_t H, size_t W, uint64_t seed,
                       uint32_t epoch, uint64_t sample, uint32_t number) {
    struct smri_rng rng;
    smri_rng_init(&rng, seed, epoch, sample, number, SMRI_FOR_AUGMENT);
    *view = (struct smri_view){0};
    draw_crop(view, options, H, W, &rng);
    view->flip_horizontal = smri_rng_uniform(&rng) < options->flip_horizontal;
    view->flip_vertical = smri_rng_uniform(&rng) < options->flip_vertical;
    view->rotation_deg = smri_rng_between(&rng, -options->rotation_deg, options->rotation_deg);
    view->shift_x = smri_rng_between(&rng, -options->shift, options->shift);
    view->shift_y = smri_rng_between(&rng, -options->shift, options->shift);
    view->brightness = smri_rng_between(&rng, options->brightness[0], options->brightness[1]);
    view->contrast = smri_rng_between(&rng, options->contrast[0], options->contrast[1]);
    view->gamma = smri_rng_between(&rng, options->gamma[0], options->gamma[1]);
    const bool blurs = smri_rng_uniform(&rng) < options->blur_p;
    const float sigma = smri_rng_between(&rng, options->blur_sigma[0], options->blur_sigma[1]);
    view->blur_sigma = blurs ? sigma : 0.0f;
}

/* The mean and the deviation of every element of a row, so that one loop serves any number of channels. */
struct normaliser {
    float *mean, *std; /* [line] each, in one block at `mean` */
    bool identity;
    size_t line;
};

static smri_status normaliser_init(struct normaliser *out, const float *mean, const float *std, size_t cols, size_t C) {
    void *block;
    *out = (struct normaliser){.identity = true, .line = cols * C};
    const smri_status status = smri_aligned_alloc(&block, 2 * out->line * sizeof(float), "normalisation");
    if (status != SMRI_OK) return status;
    out->mean = block;
    out->std = out->mean + out->line;
    for (size_t i = 0; i < out->line; i++) {
        out->mean[i] = mean[i % C];
        out->std[i] = std[i % C];
        out->identity &= mean[i % C] == 0.0f && std[i % C] == 1.0f;
    }
    return SMRI_OK;
}

static void normalise(float *out, const struct normaliser *by, size_t rows, const struct smri_pixel_kernels *kernels) {
    for (size_t y = 0; !by->identity && y < rows; y++)
        kernels->normalise(out + y * by->line, by->mean, by->std, by->line);
}

struct job {
    float *out;
    const struct smri_batch *batch;
    const struct smri_augment *options;
    struct view_shape shape;
    size_t max_radius, workspace_bytes;
    char *workspace; /* workspace_bytes for each worker */
    struct normaliser normaliser;
    const struct smri_pixel_kernels *kernels;
};

static void augment_task(void *context, size_t index, size_t worker) {
    const struct job *job = context;
    const struct smri_batch *batch = job->batch;
    const struct view_shape *s = &job->shape;
    const size_t n = s->rows * s->cols * s->C;
    const uint8_t *image = batch->images + (size_t)batch->indices[index] * s->H * s->W * s->C;
    const uint64_t sample = (uint64_t)(batch->samples != NULL ? batch->samples : batch->indices)[index];
    float *out = job->out + index * n;
    struct view_workspace workspace;
    struct smri_view view;
    view_workspace_carve(&workspace, job->workspace + worker * job->workspace_bytes, s, job->max_radius);
    smri_augment_draw(&view, job->options, s->H, s->W, batch->seed, batch->epoch, sample, batch->view);
    view_render(out, image, &view, s, &workspace, job->kernels);
    if (job->options->noise_sd > 0.0f) {
        struct smri_rng rng;
        smri_rng_init(&rng, batch->seed, batch->epoch, sample, batch->view, SMRI_FOR_NOISE);
        job->kernels->add_noise(out, n, job->options->noise_sd, &rng);
    }
    normalise(out, &job->normaliser, s->rows, job->kernels);
}

static smri_status check_batch(const struct smri_batch *batch) {
    if (batch->C != 1 && batch->C != 3) return smri_fail(SMRI_SHAPE, "images: expected 1 or 3 channels, got %zu", batch->C);
    if (batch->H == 0 || batch->W == 0 || batch->H > MAX_SIDE || batch->W > MAX_SIDE)
        return smri_fail(SMRI_SHAPE, "images: expected 1 to %zu rows and columns, got %zu x %zu", MAX_SIDE, batch->H, batch->W);
    if (batch->view > 255) return smri_fail(SMRI_ARGUMENT, "view: expected 0 to 255, got %u", batch->view);
    for (size_t i = 0; i < batch->n; i++) {
        if (batch->indices[i] < 0 || (uint64_t)batch->indices[i] >= batch->M)
            return smri_fail(SMRI_ARGUMENT, "indices[%zu]: expected at least 0 and below %zu, got %lld", i, batch->M,
                             (long long)batch->indices[i]);
        if (batch->samples != NULL && (batch->samples[i] < 0 || batch->samples[i] >> 48 != 0))
            return smri_fail(SMRI_ARGUMENT, "samples[%zu]: expected 0 to 2**48 - 1, got %lld", i, (long long)batch->samples[i]);
    }
    return SMRI_OK;
}

smri_status smri_augment_batch(float *out, const struct smri_batch *batch, const struct smri_augment *options,
                               smri_pool *pool) {
    smri_status status = smri_augment_check(options);
    if (status == SMRI_OK) status = check_batch(batch);
    if (status != SMRI_OK) return status;
    struct job job = {.out = out, .batch = batch, .options = options, .kernels = &smri_kernels_get()->pixels};
    job.shape = (struct view_shape){batch->H, batch->W, batch->C, options->rows != 0 ? options->rows : batch->H,
                                    options->cols != 0 ? options->cols : batch->W};
    job.max_radius = options->blur_p > 0.0f ? blur_radius(options->blur_sigma[1]) : 0;
    size_t bytes;
    void *block;
    if ((status = view_workspace_bytes(&job.workspace_bytes, &job.shape, job.max_radius)) != SMRI_OK) return status;
    if (!smri_size_mul(job.workspace_bytes, smri_pool_size(pool), &bytes))
        return smri_fail(SMRI_MEMORY, "augmentation workspace: the size overflows");
    if ((status = smri_aligned_alloc(&block, bytes, "augmentation workspace")) != SMRI_OK) return status;
    job.workspace = block;
    status = normaliser_init(&job.normaliser, options->mean, options->std, job.shape.cols, job.shape.C);
    if (status == SMRI_OK) smri_pool_run(pool, batch->n, augment_task, &job);
    smri_aligned_free(job.normaliser.mean);
    smri_aligned_free(block);
    return status;
}

static void gather_task(void *context, size_t index, size_t worker) {
    const struct job *job = context;
    const size_t n = job->shape.H * job->shape.W * job->shape.C;
    float *out = job->out + index * n;
    job->kernels->scale_u8(out, job->batch->images + (size_t)job->batch->indices[index] * n, n);
    normalise(out, &job->normaliser, job->shape.H, job->kernels);
}

smri_status smri_gather_batch(float *out, const struct smri_batch *batch, const float *mean, const float *std,
                              smri_pool *pool) {
    smri_status status = check_batch(batch);
    for (size_t c = 0; status == SMRI_OK && c < batch->C; c++) {
        status = check_value("mean", mean[c], -1e6f, 1e6f);
        if (status == SMRI_OK) status = check_value("std", std[c], 1e-6f, 1e6f);
    }
    if (status != SMRI_OK) return status;
    struct job job = {.out = out, .batch = batch, .kernels = &smri_kernels_get()->pixels};
    job.shape = (struct view_shape){batch->H, batch->W, batch->C, batch->H, batch->W};
    status = normaliser_init(&job.normaliser, mean, std, batch->W, batch->C);
    if (status == SMRI_OK) smri_pool_run(pool, batch->n, gather_task, &job);
    smri_aligned_free(job.normaliser.mean);
    return status;
}
