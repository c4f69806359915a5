/* The convolution layer's public face: sizes, the packed layout, and the call of the chosen method. */
#include "smri/conv2d.h"

#include <assert.h>
#include <stdint.h>

#include "layers/conv2d/methods.h"
#include "smri/batchnorm2d.h"
#include "smri/memory.h"

size_t smri_conv2d_out_rows(const struct smri_conv2d *shape) {
    return (shape->H + 2 * shape->pad - shape->R) / shape->stride + 1;
}

size_t smri_conv2d_out_cols(const struct smri_conv2d *shape) {
    return (shape->W + 2 * shape->pad - shape->S) / shape->stride + 1;
}

/* Indices and byte counts stay below 2^62 / 64: room for the factor that a method's workspace adds. */
#define LARGEST_TENSOR ((size_t)1 << 50)
#define LARGEST_SIDE ((size_t)1 << 30)

smri_status smri_conv2d_check(const struct smri_conv2d *shape) {
    const size_t sizes[] = {shape->N, shape->H, shape->W, shape->C, shape->K, shape->R, shape->S, shape->stride};
    static const char *const names[] = {"N", "H", "W", "C", "K", "R", "S", "stride"};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        if (sizes[i] == 0) return smri_fail(SMRI_SHAPE, "conv2d: expected %s > 0, got 0", names[i]);
        if (sizes[i] > LARGEST_SIDE) return smri_fail(SMRI_MEMORY, "conv2d: %s = %zu is too large", names[i], sizes[i]);
    }
    if (shape->pad > LARGEST_SIDE) return smri_fail(SMRI_MEMORY, "conv2d: pad = %zu is too large", shape->pad);
    if (shape->R > shape->H + 2 * shape->pad || shape->S > shape->W + 2 * shape->pad)
        return smri_fail(SMRI_SHAPE, "conv2d: the window %zu x %zu does not fit an image of %zu x %zu padded by %zu",
                         shape->R, shape->S, shape->H, shape->W, shape->pad);
    const size_t tensors[][4] = {
        {shape->N, shape->H + 2 * shape->pad, shape->W + 2 * shape->pad, shape->C},
        {shape->N, smri_conv2d_out_rows(shape), smri_conv2d_out_cols(shape), shape->K + SMRI_CONV2D_BLOCK},
        {shape->K + SMRI_CONV2D_BLOCK, shape->R, shape->S, shape->C + SMRI_CONV2D_BLOCK},
    };
    for (size_t i = 0; i < 3; i++) {
        size_t size;
        const smri_status status = smri_size_product(&size, "conv2d", 4, tensors[i]);
        if (status != SMRI_OK) return status;
        if (size > LARGEST_TENSOR) return smri_fail(SMRI_MEMORY, "conv2d: a tensor of %zu floats is too large", size);
    }
    return SMRI_OK;
}

size_t smri_conv2d_packed_size(const struct smri_conv2d *shape) {
    return smri_conv2d_blocks(shape->K) * shape->R * shape->S * shape->C * SMRI_CONV2D_BLOCK;
}

void smri_conv2d_pack(float *packed, const float *kcrs, const struct smri_conv2d *shape) {
    const size_t taps = shape->R * shape->S, C = shape->C;
    for (size_t block = 0; block < smri_conv2d_blocks(shape->K); block++)
        for (size_t tap = 0; tap < taps; tap++)
            for (size_t c = 0; c < C; c++)
                for (size_t i = 0; i < SMRI_CONV2D_BLOCK; i++) {
                    const size_t k = block * SMRI_CONV2D_BLOCK + i;
                    *packed++ = k < shape->K ? kcrs[(k * C + c) * taps + tap] : 0.0f;
                }
}

void smri_conv2d_unpack(float *kcrs, const float *packed, const struct smri_conv2d *shape) {
    const size_t taps = shape->R * shape->S, C = shape->C;
    for (size_t k = 0; k < shape->K; k++) {
        const float *column = packed + k / SMRI_CONV2D_BLOCK * taps * C * SMRI_CONV2D_BLOCK + k % SMRI_CONV2D_BLOCK;
        for (size_t c = 0; c < C; c++)
            for (size_t tap = 0; tap < taps; tap++) *kcrs++ = column[(tap * C + c) * SMRI_CONV2D_BLOCK];
    }
}

static const struct smri_conv2d_ops *const methods[SMRI_CONV2D_METHODS] = {
    [SMRI_CONV2D_REFERENCE] = &smri_conv2d_reference_ops,
    [SMRI_CONV2D_IM2COL] = &smri_conv2d_im2col_ops,
    [SMRI_CONV2D_IGEMM] = &smri_conv2d_igemm_ops,
    [SMRI_CONV2D_WINOGRAD] = &smri_conv2d_winograd_ops,
    [SMRI_CONV2D_AMX] = &smri_conv2d_amx_ops,
    [SMRI_CONV2D_BF16_DOT2] = &smri_conv2d_bf16_dot2_ops,
    [SMRI_CONV2D_VIA_FP32] = &smri_conv2d_via_fp32_ops,
};

const char *smri_conv2d_method_name(enum smri_conv2d_method method) {
    return method == SMRI_CONV2D_AUTO ? "auto" : methods[method]->name;
}

const struct smri_conv2d_ops *smri_conv2d_ops_of(enum smri_conv2d_method method, enum smri_conv2d_direction direction,
                                                 const struct smri_conv2d *shape) {
    return methods[method == SMRI_CONV2D_AUTO ? smri_conv2d_choose(direction, shape) : method];
}

bool smri_conv2d_supports(enum smri_conv2d_method method, enum smri_conv2d_direction direction,
                          const struct smri_conv2d *shape) {
    return smri_conv2d_ops_of(method, direction, shape)->supports(direction, shape);
}

size_t smri_conv2d_part_rows(enum smri_conv2d_method method, enum smri_conv2d_direction direction,
                             const struct smri_conv2d *shape) {
    const struct smri_conv2d_ops *ops = smri_conv2d_ops_of(method, direction, shape);
    if (ops->part_rows == NULL || direction == SMRI_CONV2D_BACKWARD_WEIGHTS) return 0;
    return ops->part_rows(direction, shape);
}

/* Room for what a pass behind the method reads. */
static size_t y_bytes(const struct smri_conv2d *shape) {
    return smri_align(smri_conv2d_y_numbers(shape) * smri_precision_bytes(shape->precision));
}

struct smri_workspace_bytes smri_conv2d_workspace_bytes(enum smri_conv2d_method method, enum smri_conv2d_direction direction,
                                                        bool with_epilogue, const struct smri_conv2d *shape) {
    const struct smri_conv2d_ops *ops = smri_conv2d_ops_of(method, direction, shape);
    struct smri_workspace_bytes bytes = ops->workspace_bytes(direction, shape);
    if (with_epilogue && !ops->has_epilogue) bytes.shared += y_bytes(shape);
    return bytes;
}

/* A method without an epilogue leaves its result in front of its workspace, and a pass over it does the rest. */
static void forward_before_epilogue(const struct smri_conv2d_ops *ops, const struct smri_conv2d_call *whole) {
    struct smri_conv2d_call call = *whole;
    const struct smri_conv2d *shape = call.shape;
    const struct smri_conv2d_epilogue *epilogue = call.epilogue;
    call.out = call.workspace.shared, call.epilogue = NULL;
    call.workspace = smri_workspace_behind(&call.workspace, y_bytes(shape));
    ops->forward(&call);
    const struct smri_batchnorm2d panel = {1, smri_conv2d_y_numbers(shape) / shape->K, shape->K, shape->precision};
    const struct smri_scale_shift_add_relu terms = {.x = call.out, .residual = epilogue->accumulate ? whole->out : NULL,
                                                    .scale = epilogue->scale, .shift = epilogue->shift,
                                                    .relu = epilogue->relu};
    smri_scale_shift_add_relu(whole->out, &terms, &panel, call.pool);
}

static const struct smri_conv2d_ops *checked_ops(const struct smri_conv2d_call *call, enum smri_conv2d_direction direction) {
    const struct smri_conv2d_ops *ops = smri_conv2d_ops_of(call->method, direction, call->shape);
    assert(ops->supports(direction, call->shape));
    assert(!call->accumulate || direction == SMRI_CONV2D_BACKWARD_DATA);
    assert(call->fusion == NULL || smri_conv2d_part_rows(call->method, direction, call->shape) > 0);
    assert(call->epilogue == NULL || call->fusion == NULL);
    return ops;
}

void smri_conv2d_forward(const struct smri_conv2d_call *call) {
    const struct smri_conv2d_ops *ops = checked_ops(call, SMRI_CONV2D_FORWARD);
    if (call->epilogue != NULL && !ops->has_epilogue) forward_before_epilogue(ops, call);
    else ops->forward(call);
}

void smri_conv2d_backward_data(const struct smri_conv2d_call *call) {
    checked_ops(call, SMRI_CONV2D_BACKWARD_DATA)->backward_data(call);
}

void smri_conv2d_backward_weights_begin(const struct smri_conv2d_call *call) {
    checked_ops(call, SMRI_CONV2D_BACKWARD_WEIGHTS)->backward_weights_begin(call);
}

void smri_conv2d_backward_weights(const struct smri_conv2d_call *call) {
    smri_conv2d_backward_weights_begin(call);
    smri_pool_finish(call->pool, smri_pool_begun(call->pool));
}
