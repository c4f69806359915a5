/* Class activation maps (equations in the header). A stage has at most some thousand places and the maps are made for a few
 * images at a time, so this is plain code in double, one task an image. */
#include "smri/cam.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "smri/memory.h"

/* Power iteration stops when v moves by less than this, or after so many rounds. Activations behind a ReLU are close to
 * rank one and take 10 to 30; a matrix whose first two singular values nearly agree has no stable map anyway. */
#define EIGEN_TOLERANCE 1e-9
#define EIGEN_ROUNDS 1000

static const char *const names[SMRI_CAM_COUNT] = {"gradcam", "gradcam++", "hirescam", "layercam", "eigencam"};

const char *smri_cam_name(enum smri_cam_method method) {
    return (unsigned)method < SMRI_CAM_COUNT ? names[method] : "unknown";
}

smri_status smri_cam_parse(enum smri_cam_method *out, const char *name) {
    for (int i = 0; i < SMRI_CAM_COUNT; i++)
        if (strcmp(name, names[i]) == 0) {
            *out = (enum smri_cam_method)i;
            return SMRI_OK;
        }
    return smri_fail(SMRI_ARGUMENT, "unknown method '%s': expected gradcam, gradcam++, hirescam, layercam or eigencam", name);
}

/* Two vectors of C and one of places for each worker. */
static size_t doubles_of_worker(const struct smri_cam *shape) { return 2 * shape->C + shape->H * shape->W; }

smri_status smri_cam_workspace_bytes(size_t *bytes, const struct smri_cam *shape, size_t n_threads) {
    size_t places, doubles;
    if (!smri_size_mul(shape->H, shape->W, &places) || !smri_size_mul(shape->C, 2, &doubles) ||
        !smri_size_add(doubles, places, &doubles))
        return smri_fail(SMRI_MEMORY, "cam: the size overflows this machine's address range");
    return smri_size_product(bytes, "cam", 3, (size_t[]){n_threads > 0 ? n_threads : 1, doubles, sizeof(double)});
}

/* One image: P places of C channels. */
struct image {
    const float *A, *dA;
    size_t P, C;
    double *weights, *other; /* [C] */
    double *scores;          /* [P] */
};

static void mean_gradients(const struct image *image) {
    memset(image->weights, 0, image->C * sizeof(double));
    for (size_t p = 0; p < image->P; p++)
        for (size_t c = 0; c < image->C; c++) image->weights[c] += (double)image->dA[p * image->C + c];
    for (size_t c = 0; c < image->C; c++) image->weights[c] /= (double)image->P;
}

static void plus_plus_weights(const struct image *image) {
    double *sums = image->other;
    memset(sums, 0, image->C * sizeof(double));
    memset(image->weights, 0, image->C * sizeof(double));
    for (size_t p = 0; p < image->P; p++)
        for (size_t c = 0; c < image->C; c++) sums[c] += (double)image->A[p * image->C + c];
    for (size_t p = 0; p < image->P; p++)
        for (size_t c = 0; c < image->C; c++) {
            const double g = (double)image->dA[p * image->C + c];
            const double below = 2.0 + g * sums[c]; /* the fraction divided by g^2 */
            if (g > 0.0 && below != 0.0) image->weights[c] += g / below;
        }
}

/* scores = A weights */
static void weigh(const struct image *image) {
    for (size_t p = 0; p < image->P; p++) {
        double sum = 0.0;
        for (size_t c = 0; c < image->C; c++) sum += image->weights[c] * (double)image->A[p * image->C + c];
        image->scores[p] = sum;
    }
}

static void multiply_in_place(const struct image *image, bool positive_only) {
    for (size_t p = 0; p < image->P; p++) {
        double sum = 0.0;
        for (size_t c = 0; c < image->C; c++) {
            const double g = (double)image->dA[p * image->C + c];
            sum += (positive_only && g < 0.0 ? 0.0 : g) * (double)image->A[p * image->C + c];
        }
        image->scores[p] = sum;
    }
}

/* Scales v to length 1; false when it has none. */
static bool normalise_vector(double *v, size_t n) {
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) sum += v[i] * v[i];
    if (!(sum > 0.0)) return false;
    const double factor = 1.0 / sqrt(sum);
    for (size_t i = 0; i < n; i++) v[i] *= factor;
    return true;
}

/* The row of A with the largest norm starts the iteration: never zero unless A is, and never orthogonal to all of A. */
static void longest_row(const struct image *image) {
    double largest = -1.0;
    size_t best = 0;
    for (size_t p = 0; p < image->P; p++) {
        double sum = 0.0;
        for (size_t c = 0; c < image->C; c++) sum += (double)image->A[p * image->C + c] * (double)image->A[p * image->C + c];
        if (sum > largest) largest = sum, best = p;
    }
    for (size_t c = 0; c < image->C; c++) image->weights[c] = (double)image->A[best * image->C + c];
}

/* weights = the first right singular vector, by v <- A^T (A v); scores = A v with a non-negative sum. */
static void eigen_scores(const struct image *image) {
    double *v = image->weights, *next = image->other;
    longest_row(image);
    bool alive = normalise_vector(v, image->C);
    for (int round = 0; alive && round < EIGEN_ROUNDS; round++) {
        weigh(image);
        memset(next, 0, image->C * sizeof(double));
        for (size_t p = 0; p < image->P; p++)
            for (size_t c = 0; c < image->C; c++) next[c] += image->scores[p] * (double)image->A[p * image->C + c];
        alive = normalise_vector(next, image->C);
        double moved = 0.0;
        for (size_t c = 0; c < image->C; c++) moved = fmax(moved, fabs(next[c] - v[c]));
        memcpy(v, next, image->C * sizeof(double));
        if (moved < EIGEN_TOLERANCE) break;
    }
    weigh(image);
    double sum = 0.0;
    for (size_t p = 0; p < image->P; p++) sum += image->scores[p];
    if (sum < 0.0)
        for (size_t p = 0; p < image->P; p++) image->scores[p] = -image->scores[p];
}

static void score(const struct image *image, enum smri_cam_method method) {
    switch (method) {
    case SMRI_CAM_GRAD: mean_gradients(image), weigh(image); break;
    case SMRI_CAM_GRAD_PLUS_PLUS: plus_plus_weights(image), weigh(image); break;
    case SMRI_CAM_HIRES: multiply_in_place(image, false); break;
    case SMRI_CAM_LAYER: multiply_in_place(image, true); break;
    case SMRI_CAM_EIGEN: eigen_scores(image); break;
    case SMRI_CAM_COUNT: break;
    }
}

static void write_map(float *map, const struct image *image, bool normalise) {
    double low = INFINITY, high = -INFINITY;
    for (size_t p = 0; p < image->P; p++) {
        if (image->scores[p] < 0.0) image->scores[p] = 0.0; /* NaN stays */
        low = fmin(low, image->scores[p]);
        high = fmax(high, image->scores[p]);
    }
    if (!normalise) low = 0.0;
    const double factor = !normalise ? 1.0 : high > low ? 1.0 / (high - low) : 0.0;
    for (size_t p = 0; p < image->P; p++) map[p] = (float)((image->scores[p] - low) * factor);
}

struct cam_job {
    float *map;
    const float *A, *dA;
    const struct smri_cam *shape;
    double *workspace;
};

static void cam_task(void *context, size_t n, size_t worker) {
    const struct cam_job *job = context;
    const size_t P = job->shape->H * job->shape->W, C = job->shape->C;
    double *mine = job->workspace + worker * doubles_of_worker(job->shape);
    struct image image = {.A = job->A + n * P * C, .P = P, .C = C};
    if (job->dA != NULL) image.dA = job->dA + n * P * C;
    image.weights = mine;
    image.other = mine + C;
    image.scores = mine + 2 * C;
    score(&image, job->shape->method);
    write_map(job->map + n * P, &image, job->shape->normalise);
}

void smri_cam_map(float *map, const float *A, const float *dA, const struct smri_cam *shape, void *workspace,
                  smri_pool *pool) {
    assert(dA != NULL || shape->method == SMRI_CAM_EIGEN);
    struct cam_job job = {map, A, dA, shape, workspace};
    smri_pool_run(pool, shape->N, cam_task, &job);
}

struct upsample_job {
    float *out;
    const float *in;
    size_t h, w, H, W;
};

/* The source neighbours of target coordinate i and the weight of the second: (i + 1/2) n / N - 1/2, clamped at 0. */
static void neighbours(size_t *first, size_t *second, float *weight, size_t i, size_t from, size_t to) {
    const double at = fmax(((double)i + 0.5) * (double)from / (double)to - 0.5, 0.0);
    *first = (size_t)at < from - 1 ? (size_t)at : from - 1;
    *second = *first + 1 < from ? *first + 1 : *first;
    *weight = (float)(at - (double)*first);
}

static void upsample_image(void *context, size_t n, size_t worker) {
    const struct upsample_job *job = context;
    const float *in = job->in + n * job->h * job->w;
    for (size_t i = 0; i < job->H; i++) {
        size_t top, bottom, left, right;
        float down, across;
        neighbours(&top, &bottom, &down, i, job->h, job->H);
        for (size_t j = 0; j < job->W; j++) {
            neighbours(&left, &right, &across, j, job->w, job->W);
            const float upper = (1.0f - across) * in[top * job->w + left] + across * in[top * job->w + right];
            const float lower = (1.0f - across) * in[bottom * job->w + left] + across * in[bottom * job->w + right];
            job->out[(n * job->H + i) * job->W + j] = (1.0f - down) * upper + down * lower;
        }
    }
}

void smri_upsample_bilinear(float *out, const float *in, size_t N, size_t h, size_t w, size_t H, size_t W, smri_pool *pool) {
    assert(h > 0 && w > 0);
    struct upsample_job job = {out, in, h, w, H, W};
    smri_pool_run(pool, N, upsample_image, &job);
}
