/* Standardised columns: batch norm without parameters over the rows of a matrix (Ioffe and Szegedy, ICML 2015), y = (z
 * - mean) r with r = 1 / sqrt(var + eps), and its gradient
 *     dz = r (dy - mean of dy - y mean of (dy y))
 * with means over the rows of one column. A task is a strip of columns, whose sums run over the rows in order, in double. */
#include "smri/loss.h"

#include <math.h>

#include "smri/memory.h"

#define STRIP ((size_t)32) /* columns of a task: 128 bytes of each row; 128 dimensions make four tasks */
#define EPS 1e-5           /* PyTorch's */

struct strip_job {
    float *out, *scale; /* backward only reads scale */
    const float *in, *y;
    size_t rows, D;
};

static void forward_strip(void *context, size_t index, size_t worker) {
    const struct strip_job *job = context;
    const size_t first = index * STRIP, n = smri_chunk_end(job->D, STRIP, index) - first, D = job->D;
    const float *z = job->in + first;
    double mean[STRIP] = {0}, sum[STRIP] = {0};
    for (size_t i = 0; i < job->rows; i++)
        for (size_t d = 0; d < n; d++) mean[d] += (double)z[i * D + d];
    for (size_t d = 0; d < n; d++) mean[d] /= (double)job->rows;
    for (size_t i = 0; i < job->rows; i++)
        for (size_t d = 0; d < n; d++) sum[d] += ((double)z[i * D + d] - mean[d]) * ((double)z[i * D + d] - mean[d]);
    for (size_t d = 0; d < n; d++) sum[d] = 1.0 / sqrt(sum[d] / (double)job->rows + EPS);
    for (size_t d = 0; d < n; d++) job->scale[first + d] = (float)sum[d];
    for (size_t i = 0; i < job->rows; i++)
        for (size_t d = 0; d < n; d++) job->out[i * D + first + d] = (float)(((double)z[i * D + d] - mean[d]) * sum[d]);
}

static void backward_strip(void *context, size_t index, size_t worker) {
    const struct strip_job *job = context;
    const size_t first = index * STRIP, n = smri_chunk_end(job->D, STRIP, index) - first, D = job->D;
    const float *dy = job->in + first, *y = job->y + first;
    double mean[STRIP] = {0}, along[STRIP] = {0};
    for (size_t i = 0; i < job->rows; i++)
        for (size_t d = 0; d < n; d++) {
            mean[d] += (double)dy[i * D + d];
            along[d] += (double)dy[i * D + d] * (double)y[i * D + d];
        }
    for (size_t i = 0; i < job->rows; i++)
        for (size_t d = 0; d < n; d++) {
            const double part = (mean[d] + (double)y[i * D + d] * along[d]) / (double)job->rows;
            job->out[i * D + first + d] = (float)((double)job->scale[first + d] * ((double)dy[i * D + d] - part));
        }
}

void smri_standardize(float *y, float *scale, const float *z, size_t rows, size_t D, smri_pool *pool) {
    struct strip_job job = {.out = y, .scale = scale, .in = z, .rows = rows, .D = D};
    smri_pool_run(pool, smri_chunk_count(D, STRIP), forward_strip, &job);
}

void smri_standardize_backward(float *dz, const float *dy, const float *y, const float *scale, size_t rows, size_t D,
                               smri_pool *pool) {
    struct strip_job job = {.out = dz, .scale = (float *)scale, .in = dy, .y = y, .rows = rows, .D = D};
    smri_pool_run(pool, smri_chunk_count(D, STRIP), backward_strip, &job);
}
