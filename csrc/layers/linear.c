/* The fully connected layer as matrix products, one single-threaded call of the BLAS for each tile. Tiles depend on the
 * shape only, so any pool gives the same bits; the bias gradient sums the rows in ascending order. */
#include "smri/linear.h"

#include "kernels/blas.h"

/* Rows and columns of the result in one task: with a batch of 32 to 64 and 128 to 32,768 features, large enough for the
 * BLAS to pack its operands profitably and small enough to leave tasks for some threads. */
#define TILE_ROWS 128
#define TILE_COLS 64
#define TILE_FEATURES 512
#define BIAS_COLS 1024

struct job {
    const struct smri_linear *shape;
    float *out;
    const float *a, *b;
};

size_t smri_linear_workspace_bytes(const struct smri_linear *shape, size_t n_threads) {
    return 0;
}

static void forward_tile(void *context, size_t index, size_t worker) {
    const struct job *job = context;
    const struct smri_linear *s = job->shape;
    const size_t tiles = smri_chunk_count(s->K, TILE_COLS);
    const size_t n = index / tiles * TILE_ROWS, n_end = smri_chunk_end(s->N, TILE_ROWS, index / tiles);
    const size_t k = index % tiles * TILE_COLS, k_end = smri_chunk_end(s->K, TILE_COLS, index % tiles);
    smri_sgemm(false, true, n_end - n, k_end - k, s->C, job->a + n * s->C, s->C, job->b + k * s->C, s->C,
               job->out + n * s->K + k, s->K, false);
}

static void backward_data_tile(void *context, size_t index, size_t worker) {
    const struct job *job = context;
    const struct smri_linear *s = job->shape;
    const size_t tiles = smri_chunk_count(s->C, TILE_FEATURES);
    const size_t n = index / tiles * TILE_ROWS, n_end = smri_chunk_end(s->N, TILE_ROWS, index / tiles);
    const size_t c = index % tiles * TILE_FEATURES, c_end = smri_chunk_end(s->C, TILE_FEATURES, index % tiles);
    smri_sgemm(false, false, n_end - n, c_end - c, s->K, job->a + n * s->K, s->K, job->b + c, s->C,
               job->out + n * s->C + c, s->C, false);
}

static void backward_weights_tile(void *context, size_t index, size_t worker) {
    const struct job *job = context;
    const struct smri_linear *s = job->shape;
    const size_t tiles = smri_chunk_count(s->C, TILE_FEATURES);
    const size_t k = index / tiles * TILE_ROWS, k_end = smri_chunk_end(s->K, TILE_ROWS, index / tiles);
    const size_t c = index % tiles * TILE_FEATURES, c_end = smri_chunk_end(s->C, TILE_FEATURES, index % tiles);
    smri_sgemm(true, false, k_end - k, c_end - c, s->N, job->a + k, s->K, job->b + c, s->C, job->out + k * s->C + c, s->C,
               false);
}

static void backward_bias_tile(void *context, size_t index, size_t worker) {
    const struct job *job = context;
    const struct smri_linear *s = job->shape;
    const size_t begin = index * BIAS_COLS, end = smri_chunk_end(s->K, BIAS_COLS, index);
    for (size_t k = begin; k < end; k++) job->out[k] = 0.0f;
    for (size_t n = 0; n < s->N; n++)
        for (size_t k = begin; k < end; k++) job->out[k] += job->a[n * s->K + k];
}

void smri_linear_forward(float *y, const float *x, const float *w, const float *b, const struct smri_linear *shape,
                         void *workspace, smri_pool *pool) {
    struct job job = {shape, y, x, w};
    smri_pool_run(pool, smri_chunk_count(shape->N, TILE_ROWS) * smri_chunk_count(shape->K, TILE_COLS), forward_tile, &job);
    if (b == NULL) return;
    for (size_t n = 0; n < shape->N; n++)
        for (size_t k = 0; k < shape->K; k++) y[n * shape->K + k] += b[k];
}

void smri_linear_backward(float *dx, float *dw, float *db, const float *dy, const float *x, const float *w,
                          const struct smri_linear *shape, void *workspace, smri_pool *pool) {
    const size_t feature_tiles = smri_chunk_count(shape->C, TILE_FEATURES);
    if (dx != NULL) {
        struct job job = {shape, dx, dy, w};
        smri_pool_run(pool, smri_chunk_count(shape->N, TILE_ROWS) * feature_tiles, backward_data_tile, &job);
    }
    if (dw != NULL) {
        struct job job = {shape, dw, dy, x};
        smri_pool_run(pool, smri_chunk_count(shape->K, TILE_ROWS) * feature_tiles, backward_weights_tile, &job);
    }
    if (db != NULL) {
        struct job bias = {shape, db, dy, NULL};
        smri_pool_run(pool, smri_chunk_count(shape->K, BIAS_COLS), backward_bias_tile, &bias);
    }
}
