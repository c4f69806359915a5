/* Dropout (Srivastava et al., JMLR 2014) in the inverted form, scaled in training. The mask is recomputed from its name
 * wherever it is needed, which costs less than to store and read it. */
#include "smri/activation.h"

#include <assert.h>
#include <math.h>

#include "kernels/kernels.h"
#include "smri/rng.h"

struct dropout_job {
    float *y;
    const float *x;
    const struct smri_dropout *dropout;
    size_t C;
    uint32_t threshold; /* words of at least so much keep their element */
    float factor;
};

static void row_task(void *context, size_t index, size_t worker) {
    const struct dropout_job *job = context;
    struct smri_rng rng;
    const size_t row_in_batch = job->dropout->first_row + index;
    smri_rng_init(&rng, job->dropout->seed, job->dropout->step, row_in_batch, job->dropout->layer, SMRI_FOR_DROPOUT);
    smri_kernels_get()->random.keep(job->y + index * job->C, job->x + index * job->C, job->C, &rng, job->threshold,
                                    job->factor);
}

void smri_dropout_apply(float *y, const float *x, const struct smri_dropout *dropout, size_t N, size_t C, smri_pool *pool) {
    assert(dropout->p >= 0.0f && dropout->p < 1.0f && dropout->layer < 256);
    const double p = (double)dropout->p;
    struct dropout_job job = {y, x, dropout, C, (uint32_t)ceil(p * 0x1p32), (float)(1.0 / (1.0 - p))};
    smri_pool_run(pool, N, row_task, &job);
}
