#include "smri/strided_scatter.h"

#include <assert.h>
#include <string.h>

#include "kernels/kernels.h"

#define GRAIN ((size_t)1 << 15) /* numbers of a task */

bool smri_conv2d_is_strided_pointwise(const struct smri_conv2d *shape) {
    return shape->R == 1 && shape->S == 1 && shape->pad == 0 && shape->stride > 1;
}

struct smri_conv2d smri_conv2d_compact_pointwise(const struct smri_conv2d *shape) {
    assert(smri_conv2d_is_strided_pointwise(shape));
    struct smri_conv2d compact = *shape;
    compact.H = smri_conv2d_out_rows(shape), compact.W = smri_conv2d_out_cols(shape), compact.stride = 1;
    return compact;
}

void smri_strided_scatter_part(void *scatter, size_t first, size_t rows, size_t channel, size_t channels) {
    const struct smri_strided_scatter *of = scatter;
    const struct smri_conv2d *s = of->shape;
    const size_t P = smri_conv2d_out_rows(s), Q = smri_conv2d_out_cols(s);
    const size_t bytes = channels * smri_precision_bytes(s->precision);
    size_t w = first % s->W, h = first / s->W % s->H, n = first / s->W / s->H;
    for (size_t pixel = first; pixel < first + rows; pixel++) {
        void *dx = smri_elem(of->dx, pixel * s->C + channel, s->precision);
        if (h % s->stride == 0 && w % s->stride == 0) {
            const size_t from = (n * P + h / s->stride) * Q + w / s->stride;
            memcpy(dx, smri_elem_const(of->compact, from * s->C + channel, s->precision), bytes);
        } else {
            memset(dx, 0, bytes);
        }
        if (++w < s->W) continue;
        w = 0;
        if (++h < s->H) continue;
        h = 0, n++;
    }
}

struct scatter_job {
    const struct smri_strided_scatter *scatter;
    size_t pixels, pixels_a_task;
};

static void scatter_task(void *context, size_t index, size_t worker) {
    const struct scatter_job *job = context;
    const size_t first = index * job->pixels_a_task, end = smri_chunk_end(job->pixels, job->pixels_a_task, index);
    struct smri_strided_scatter scatter = *job->scatter;
    smri_strided_scatter_part(&scatter, first, end - first, 0, scatter.shape->C);
}

void smri_strided_scatter(const struct smri_strided_scatter *scatter, smri_pool *pool) {
    const struct smri_conv2d *s = scatter->shape;
    struct scatter_job job = {scatter, s->N * s->H * s->W, s->C < GRAIN ? GRAIN / s->C : 1};
    smri_pool_run(pool, smri_chunk_count(job.pixels, job.pixels_a_task), scatter_task, &job);
}
