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

/* Nothing so far; the layers' workspaces are asked for alike. */
size_t smri_linear_workspace_bytes(const struct smri_linear *shape, size_t n_threads) { return 0; }

/* out[M][N] = A B, of which one or the other may be stored transposed, as for smri_sgemm. */
struct product {
    float *out;
    size_t M, N, depth;
    const float *a;
    size_t lda;
    bool a_transposed;
    const float *b;
    size_t ldb;
    bool b_transposed;
    size_t tile_cols;
};

static void product_tile(void *context, size_t index, size_t worker) {
    const struct product *p = context;
    const size_t tiles = smri_chunk_count(p->N, p->tile_cols), row = index / tiles, col = index % tiles;
    const size_t m = row * TILE_ROWS, m_end = smri_chunk_end(p->M, TILE_ROWS, row);
    const size_t n = col * p->tile_cols, n_end = smri_chunk_end(p->N, p->tile_cols, col);
    const float *a = p->a + (p->a_transposed ? m : m * p->lda), *b = p->b + (p->b_transposed ? n * p->ldb : n);
    smri_sgemm(p->a_transposed, p->b_transposed, m_end - m, n_end - n, p->depth, a, p->lda, b, p->ldb, p->out + m * p->N + n,
               p->N, false);
}

static void multiply(struct product product, smri_pool *pool) {
    const size_t tiles = smri_chunk_count(product.M, TILE_ROWS) * smri_chunk_count(product.N, product.tile_cols);
    smri_pool_run(pool, tiles, product_tile, &product);
}

struct bias_job {
    const struct smri_linear *shape;
    float *db;
    const float *dy;
};

static void bias_tile(void *context, size_t index, size_t worker) {
    const struct bias_job *job = context;
    const size_t K = job->shape->K, begin = index * BIAS_COLS, end = smri_chunk_end(K, BIAS_COLS, index);
    for (size_t k = begin; k < end; k++) job->db[k] = 0.0f;
    for (size_t n = 0; n < job->shape->N; n++)
        for (size_t k = begin; k < end; k++) job->db[k] += job->dy[n * K + k];
}

void smri_linear_forward(float *y, const float *x, const float *w, const float *b, const struct smri_linear *shape,
                         void *workspace, smri_pool *pool) {
    const size_t N = shape->N, C = shape->C, K = shape->K;
    multiply((struct product){y, N, K, C, x, C, false, w, C, true, TILE_COLS}, pool);
    if (b == NULL) return;
    for (size_t n = 0; n < N; n++)
        for (size_t k = 0; k < K; k++) y[n * K + k] += b[k];
}

void smri_linear_backward(float *dx, float *dw, float *db, const float *dy, const float *x, const float *w,
                          const struct smri_linear *shape, void *workspace, smri_pool *pool) {
    const size_t N = shape->N, C = shape->C, K = shape->K;
    if (dx != NULL) multiply((struct product){dx, N, C, K, dy, K, false, w, C, false, TILE_FEATURES}, pool);
    if (dw != NULL) multiply((struct product){dw, K, C, N, dy, K, true, x, C, false, TILE_FEATURES}, pool);
    if (db != NULL) smri_pool_run(pool, smri_chunk_count(K, BIAS_COLS), bias_tile, &(struct bias_job){shape, db, dy});
}
