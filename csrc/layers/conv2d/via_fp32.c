/* bf16 convolution on any CPU: activations widened to fp32, weights rounded to bf16, the best fp32 method on the copies,
 * results rounded. Products of bfloat16 numbers are exact in fp32, so this is what bf16 instructions compute, up to the
 * order of the fp32 sums (and Winograd's rounding where that is the method). It costs fp32's time plus the conversions. */
#include "layers/conv2d/methods.h"
#include "layers/convert.h"
#include "smri/memory.h"

static size_t floats_bytes(size_t n) { return smri_align(n * sizeof(float)); }

static struct smri_conv2d widened(const struct smri_conv2d *shape) {
    struct smri_conv2d wide = *shape;
    wide.precision = SMRI_FP32;
    return wide;
}

/* In front of the fp32 convolution's workspace: x, y and the weights. */
static size_t copies_bytes(const struct smri_conv2d *s) {
    return floats_bytes(smri_conv2d_x_numbers(s)) + floats_bytes(smri_conv2d_y_numbers(s)) +
           floats_bytes(smri_conv2d_packed_size(s));
}

static struct smri_workspace_bytes workspace_bytes(enum smri_conv2d_direction direction, const struct smri_conv2d *shape) {
    const struct smri_conv2d wide = widened(shape);
    struct smri_workspace_bytes bytes = smri_conv2d_workspace_bytes(SMRI_CONV2D_AUTO, direction, false, &wide);
    bytes.shared += copies_bytes(shape);
    return bytes;
}

/* The fp32 convolution that is run, on copies of what the direction reads; `shape` is where its shape is put. */
static struct smri_conv2d_call widen(struct smri_conv2d *shape, enum smri_conv2d_direction direction,
                                     const struct smri_conv2d_call *call) {
    *shape = widened(call->shape);
    const size_t x_numbers = smri_conv2d_x_numbers(shape), y_numbers = smri_conv2d_y_numbers(shape);
    char *const x = call->workspace.shared, *const y = x + floats_bytes(x_numbers), *const w = y + floats_bytes(y_numbers);
    if (direction != SMRI_CONV2D_BACKWARD_DATA) smri_convert(SMRI_WIDEN, x, call->x, x_numbers, call->pool);
    if (direction != SMRI_CONV2D_FORWARD) smri_convert(SMRI_WIDEN, y, call->dy, y_numbers, call->pool);
    if (direction != SMRI_CONV2D_BACKWARD_WEIGHTS)
        smri_convert(SMRI_ROUND, w, call->w, smri_conv2d_packed_size(shape), call->pool);
    return (struct smri_conv2d_call){.shape = shape, .x = x, .dy = y, .w = (const float *)w, .pool = call->pool,
                                     .workspace = smri_workspace_behind(&call->workspace, copies_bytes(shape))};
}

static void forward(const struct smri_conv2d_call *call) {
    struct smri_conv2d shape;
    struct smri_conv2d_call wide = widen(&shape, SMRI_CONV2D_FORWARD, call);
    wide.out = (void *)wide.dy; /* y's place, which is ours */
    smri_conv2d_forward(&wide);
    smri_convert(SMRI_NARROW, call->out, wide.out, smri_conv2d_y_numbers(&shape), call->pool);
}

static void backward_data(const struct smri_conv2d_call *call) {
    struct smri_conv2d shape;
    struct smri_conv2d_call wide = widen(&shape, SMRI_CONV2D_BACKWARD_DATA, call);
    wide.out = (void *)wide.x;
    smri_conv2d_backward_data(&wide);
    smri_convert(call->accumulate ? SMRI_ADD : SMRI_NARROW, call->out, wide.out, smri_conv2d_x_numbers(&shape), call->pool);
}

static void backward_weights(const struct smri_conv2d_call *call) {
    struct smri_conv2d shape;
    struct smri_conv2d_call wide = widen(&shape, SMRI_CONV2D_BACKWARD_WEIGHTS, call);
    wide.out = call->out;
    smri_conv2d_backward_weights_begin(&wide);
}

const struct smri_conv2d_ops smri_conv2d_via_fp32_ops = {
    .name = "via_fp32", .supports = smri_conv2d_takes_bf16, .workspace_bytes = workspace_bytes, .forward = forward,
    .backward_data = backward_data, .backward_weights_begin = backward_weights,
};
