/* Conversions of flat arrays, in pieces of a fixed size. */
#include "smri/convert.h"

#include "kernels/kernels.h"

#define GRAIN ((size_t)1 << 15) /* 192 KiB read and written */

struct convert_job {
    void *out;
    const void *in;
    size_t n;
};

static void widen_task(void *context, size_t index, size_t worker) {
    const struct convert_job *job = context;
    const size_t first = index * GRAIN, n = smri_chunk_end(job->n, GRAIN, index) - first;
    smri_kernels_get()->convert.widen((float *)job->out + first, (const smri_bf16 *)job->in + first, n);
}

static void narrow_task(void *context, size_t index, size_t worker) {
    const struct convert_job *job = context;
    const size_t first = index * GRAIN, n = smri_chunk_end(job->n, GRAIN, index) - first;
    smri_kernels_get()->convert.narrow((smri_bf16 *)job->out + first, (const float *)job->in + first, n);
}

void smri_widen(float *out, const smri_bf16 *in, size_t n, smri_pool *pool) {
    struct convert_job job = {out, in, n};
    smri_pool_run(pool, smri_chunk_count(n, GRAIN), widen_task, &job);
}

void smri_narrow(smri_bf16 *out, const float *in, size_t n, smri_pool *pool) {
    struct convert_job job = {out, in, n};
    smri_pool_run(pool, smri_chunk_count(n, GRAIN), narrow_task, &job);
}
