/* NT-Xent and its gradient in closed form (Chen et al., ICML 2020, section 2.1). With M = 2 n_pairs rows, unit rows u and
 * s = u u^T / temperature, p(i) the positive of i, and the sums over the columns that row i counts:
 *
 *     loss     = (1 / M) sum over i of (lse_i - s_ip),   lse_i = log sum exp s_ij
 *     dloss/du = w u,   w_ij = (exp(s_ij - lse_i) + exp(s_ij - lse_j) - 2 [j = p(i)]) / (M temperature)
 *     dloss/dz = (du - (du . u) u) / |z|
 *
 * w uses the symmetry of s and of "counts", so that no column sums are needed. s is kept whole, M x M, in bands of rows
 * which are the tasks; each product of a band is one single-threaded matrix product, so bits do not depend on the pool. */
#include "smri/loss.h"

#include <math.h>

#include "kernels/blas.h"
#include "kernels/kernels.h"
#include "smri/memory.h"

/* Rows of one task. 64 x 2048 similarities are 512 KiB, half of a second-level cache; 64 pairs make two tasks. */
#define BAND ((size_t)64)
#define SMALLEST_NORM 1e-12

struct ntxent_job {
    const float *z;
    float *dz;
    const struct smri_ntxent *options;
    size_t n_pairs, M, D;
    float *u, *s, *du, *lse;    /* [M][D], [M][M], [M][D], [M] */
    float *standard, *scale;    /* [M][D], [D]: z when it is standardised */
    double *norm, *row_loss;    /* [M], [M] */
};

static void carve(struct ntxent_job *job, void *workspace) {
    job->norm = workspace;
    job->row_loss = job->norm + job->M;
    job->u = (float *)(job->row_loss + job->M);
    job->du = job->u + job->M * job->D;
    job->s = job->du + job->M * job->D;
    job->lse = job->s + job->M * job->M;
    job->standard = job->lse + job->M;
    job->scale = job->standard + job->M * job->D;
}

smri_status smri_ntxent_workspace_bytes(size_t *bytes, size_t n_pairs, size_t D) {
    /* What carve() needs is less than 4 (M + D + 8)^2 floats; that bound is what must not overflow. */
    size_t M, columns, bound;
    if (!smri_size_mul(n_pairs, 2, &M) || !smri_size_add(M, D, &columns) || !smri_size_add(columns, 8, &columns))
        return smri_fail(SMRI_MEMORY, "loss workspace: the size overflows this machine's address range");
    const smri_status status = smri_size_product(&bound, "loss workspace", 3, (size_t[]){columns, columns, 4 * sizeof(float)});
    if (status != SMRI_OK) return status;
    *bytes = 2 * M * sizeof(double) + (3 * M * D + M * M + M + D) * sizeof(float);
    return SMRI_OK;
}

static size_t positive_of(const struct ntxent_job *job, size_t i) {
    return i < job->n_pairs ? i + job->n_pairs : i - job->n_pairs;
}

static void normalise_row(void *context, size_t i, size_t worker) {
    const struct ntxent_job *job = context;
    const float *z = job->z + i * job->D;
    double sum = 0.0; /* in double the square of no float overflows */
    for (size_t d = 0; d < job->D; d++) sum += (double)z[d] * (double)z[d];
    const double norm = sqrt(sum);
    job->norm[i] = norm < SMALLEST_NORM ? SMALLEST_NORM : norm;
    for (size_t d = 0; d < job->D; d++) job->u[i * job->D + d] = (float)((double)z[d] / job->norm[i]);
}

/* Columns that row i does not count get -infinity, whose exponential is exactly 0. */
static void exclude(const struct ntxent_job *job, float *s, size_t i) {
    const int32_t *groups = job->options->groups;
    const size_t positive = positive_of(job, i);
    s[i] = -INFINITY;
    if (groups == NULL) return;
    for (size_t j = 0; j < job->M; j++)
        if (groups[j] == groups[i] && j != positive) s[j] = -INFINITY;
}

static void similarity_band(void *context, size_t index, size_t worker) {
    const struct ntxent_job *job = context;
    const struct smri_softmax_kernels *kernels = &smri_kernels_get()->softmax;
    const size_t first = index * BAND, last = smri_chunk_end(job->M, BAND, index), M = job->M, D = job->D;
    smri_sgemm(false, true, last - first, M, D, job->u + first * D, D, job->u, D, job->s + first * M, M, false);
    const float sharpness = 1.0f / job->options->temperature;
    for (size_t i = first; i < last; i++) {
        float *s = job->s + i * M;
        for (size_t j = 0; j < M; j++) s[j] *= sharpness;
        exclude(job, s, i);
        const float shift = kernels->max(s, M);
        const double lse = (double)shift + log(kernels->exp_sum(s, shift, M));
        job->lse[i] = (float)lse;
        job->row_loss[i] = lse - (double)s[positive_of(job, i)];
    }
}

/* dz = (du - (du . u) u) / |z|; a norm held at its smallest value is constant, and du alone remains. */
static void project_row(const struct ntxent_job *job, size_t i) {
    const float *u = job->u + i * job->D, *du = job->du + i * job->D;
    double along = 0.0;
    if (job->norm[i] != SMALLEST_NORM)
        for (size_t d = 0; d < job->D; d++) along += (double)du[d] * (double)u[d];
    for (size_t d = 0; d < job->D; d++)
        job->dz[i * job->D + d] = (float)(((double)du[d] - along * (double)u[d]) / job->norm[i]);
}

static void gradient_band(void *context, size_t index, size_t worker) {
    const struct ntxent_job *job = context;
    const size_t first = index * BAND, last = smri_chunk_end(job->M, BAND, index), M = job->M, D = job->D;
    const float factor = 1.0f / ((float)M * job->options->temperature);
    for (size_t i = first; i < last; i++) {
        float *s = job->s + i * M;
        smri_kernels_get()->softmax.pair_weights(s, s, job->lse[i], job->lse, factor, M);
        s[positive_of(job, i)] -= 2.0f * factor;
    }
    smri_sgemm(false, false, last - first, D, M, job->s + first * M, M, job->u, D, job->du + first * D, D, false);
    for (size_t i = first; i < last; i++) project_row(job, i);
}

smri_status smri_ntxent(double *loss, float *dz, const float *z, size_t n_pairs, size_t D,
                        const struct smri_ntxent *options, void *workspace, smri_pool *pool) {
    if (n_pairs == 0 || D == 0)
        return smri_fail(SMRI_ARGUMENT, "NT-Xent: expected at least one pair and one dimension, got %zu and %zu", n_pairs, D);
    if (!(options->temperature > 0.0f) || !isfinite(options->temperature))
        return smri_fail(SMRI_ARGUMENT, "temperature: expected a value above 0, got %g", (double)options->temperature);
    struct ntxent_job job = {.z = z, .dz = dz, .options = options, .n_pairs = n_pairs, .M = 2 * n_pairs, .D = D};
    carve(&job, workspace);
    const size_t bands = smri_chunk_count(job.M, BAND);
    if (options->standardize) {
        smri_standardize(job.standard, job.scale, z, job.M, D, pool);
        job.z = job.standard;
    }
    smri_pool_run(pool, job.M, normalise_row, &job);
    smri_pool_run(pool, bands, similarity_band, &job);
    double total = 0.0;
    for (size_t i = 0; i < job.M; i++) total += job.row_loss[i];
    *loss = total / (double)job.M;
    if (dz != NULL) smri_pool_run(pool, bands, gradient_band, &job);
    if (dz != NULL && options->standardize) smri_standardize_backward(dz, dz, job.standard, job.scale, job.M, D, pool);
    return SMRI_OK;
}
