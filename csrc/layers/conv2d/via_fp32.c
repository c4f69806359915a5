/* bf16 convolution on any CPU: activations widened to fp32, weights rounded to bf16, the best fp32 method on the copies,
 * results rounded. Products of bfloat16 numbers are exact in fp32, so this is what bf16 instructions compute, up to the
 * order of the fp32 sums (and Winograd's rounding where that is the method). It costs fp32's time plus the conversions. */
#include "kernels/kernels.h"
#include "layers/conv2d/methods.h"
#include "smri/memory.h"

#define GRAIN ((size_t)1 << 14) /* numbers a task converts */

enum conversion { WIDEN, NARROW, ROUND, ADD };

struct job {
    enum conversion conversion;
    void *out;
    const void *in;
    size_t n;
};

static void convert_part(void *context, size_t index, size_t worker) {
    (void)worker;
    const struct job *job = context;
    const struct smri_convert_kernels *kernels = &smri_kernels_get()->convert;
    const size_t begin = index * GRAIN, n = smri_chunk_end(job->n, GRAIN, index) - begin;
    switch (job->conversion) {
    case WIDEN: kernels->widen((float *)job->out + begin, (const smri_bf16 *)job->in + begin, n); break;
    case NARROW: kernels->narrow((smri_bf16 *)job->out + begin, (const float *)job->in + begin, n); break;
    case ROUND: kernels->round((float *)job->out + begin, (const float *)job->in + begin, n); break;
    case ADD: kernels->add((smri_bf16 *)job->out + begin, (const float *)job->in + begin, n); break;
    }
}

static void convert(enum conversion conversion, void *out, const void *in, size_t n, smri_pool *pool) {
    struct job job = {conversion, out, in, n};
    smri_pool_run(pool, smri_chunk_count(n, GRAIN), convert_part, &job);
}

/* The fp32 convolution that is run, and its pieces of the workspace. */
struct widened {
    struct smri_conv2d shape;
    size_t x_numbers, y_numbers;
    float *x, *y, *w;
    struct smri_workspace workspace;
};

static size_t floats_bytes(size_t n) { return smri_align(n * sizeof(float)); }

static size_t floats_in_all(const struct widened *wide) {
    return floats_bytes(wide->x_numbers) + floats_bytes(wide->y_numbers) +
        floats_bytes(smri_conv2d_packed_size(&wide->shape));
}

static struct widened widen_shape(const struct smri_conv2d *shape, const struct smri_workspace *workspace) {
    struct widened wide = {.shape = *shape};
    wide.shape.precision = SMRI_FP32;
    wide.x_numbers = shape->N * shape->H * shape->W * shape->C;
    wide.y_numbers = shape->N * smri_conv2d_out_rows(shape) * smri_conv2d_out_cols(shape) * shape->K;
    if (workspace == NULL) return wide;
    char *at = workspace->shared;
    wide.x = (float *)at;
    wide.y = (float *)(at += floats_bytes(wide.x_numbers));
    wide.w = (float *)(at += floats_bytes(wide.y_numbers));
    wide.workspace = smri_workspace_behind(workspace, floats_in_all(&wide));
    return wide;
}

static bool supports(enum smri_conv2d_direction direction, const struct smri_conv2d *shape) {
    (void)direction;
    return shape->precision == SMRI_BF16;
}

static struct smri_workspace_bytes workspace_bytes(enum smri_conv2d_direction direction, const struct smri_conv2d *shape) {
    const struct widened wide = widen_shape(shape, NULL);
    struct smri_workspace_bytes bytes =
        smri_conv2d_method_workspace_bytes(smri_conv2d_choose(direction, &wide.shape), direction, &wide.shape);
    bytes.shared += floats_in_all(&wide);
    return bytes;
}

static void forward(void *y, const void *x, const float *w, const struct smri_conv2d_fused_args *fused,
                    const struct smri_conv2d *shape, const struct smri_workspace *workspace, smri_pool *pool) {
    (void)fused;
    const struct widened wide = widen_shape(shape, workspace);
    convert(WIDEN, wide.x, x, wide.x_numbers, pool);
    convert(ROUND, wide.w, w, smri_conv2d_packed_size(shape), pool);
    smri_conv2d_forward(wide.y, wide.x, wide.w, NULL, NULL, &wide.shape, &wide.workspace, pool);
    convert(NARROW, y, wide.y, wide.y_numbers, pool);
}

static void backward_data(void *dx, const void *dy, const float *w, bool accumulate, const struct smri_conv2d_fusion *fusion,
                          const struct smri_conv2d *shape, const struct smri_workspace *workspace, smri_pool *pool) {
    (void)fusion;
    const struct widened wide = widen_shape(shape, workspace);
    convert(WIDEN, wide.y, dy, wide.y_numbers, pool);
    convert(ROUND, wide.w, w, smri_conv2d_packed_size(shape), pool);
    smri_conv2d_backward_data(wide.x, wide.y, wide.w, false, NULL, &wide.shape, &wide.workspace, pool);
    convert(accumulate ? ADD : NARROW, dx, wide.x, wide.x_numbers, pool);
}

static void backward_weights(float *dw, const void *x, const void *dy, const struct smri_conv2d *shape,
                             const struct smri_workspace *workspace, smri_pool *pool) {
    const struct widened wide = widen_shape(shape, workspace);
    convert(WIDEN, wide.x, x, wide.x_numbers, pool);
    convert(WIDEN, wide.y, dy, wide.y_numbers, pool);
    smri_conv2d_backward_weights(dw, wide.x, wide.y, &wide.shape, &wide.workspace, pool);
}

const struct smri_conv2d_ops smri_conv2d_via_fp32_ops = {
    "via_fp32", supports, workspace_bytes, forward, backward_data, backward_weights, false, NULL, NULL,
};
