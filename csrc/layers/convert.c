#include "layers/convert.h"

#include "kernels/kernels.h"
#include "smri/convert.h"

#define GRAIN ((size_t)1 << 15) /* 192 KiB read and written */

struct convert_job {
    enum smri_conversion conversion;
    void *out;
    const void *in;
    size_t n;
};

static void convert_task(void *context, size_t index, size_t worker) {
    const struct convert_job *job = context;
    const size_t first = index * GRAIN, n = smri_chunk_end(job->n, GRAIN, index) - first;
    const bool widens = job->conversion == SMRI_WIDEN, keeps_fp32 = widens || job->conversion == SMRI_ROUND;
    smri_kernels_get()->convert.by[job->conversion](smri_elem(job->out, first, keeps_fp32 ? SMRI_FP32 : SMRI_BF16),
                                                    smri_elem_const(job->in, first, widens ? SMRI_BF16 : SMRI_FP32), n);
}

void smri_convert(enum smri_conversion conversion, void *out, const void *in, size_t n, smri_pool *pool) {
    struct convert_job job = {conversion, out, in, n};
    smri_pool_run(pool, smri_chunk_count(n, GRAIN), convert_task, &job);
}

void smri_widen(float *out, const smri_bf16 *in, size_t n, smri_pool *pool) { smri_convert(SMRI_WIDEN, out, in, n, pool); }
void smri_narrow(smri_bf16 *out, const float *in, size_t n, smri_pool *pool) { smri_convert(SMRI_NARROW, out, in, n, pool); }
