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

const char *smri_conv2d_method_name(enum smri_conv2d_method method) { return methods[method]->name; }

bool smri_conv2d_supports(enum smri_conv2d_method method, enum smri_conv2d_direction direction,
                          const struct smri_conv2d *shape) {
    return methods[method]->supports(direction, shape);
}

struct smri_workspace_bytes smri_conv2d_method_workspace_bytes(enum smri_conv2d_method method,
                                                               enum smri_conv2d_direction direction,
                                                               const struct smri_conv2d *shape) {
    return methods[method]->workspace_bytes(direction, shape);
}

static size_t x_bytes(const struct smri_conv2d *shape) {
    return smri_align(shape->N * shape->H * shape->W * shape->C * smri_precision_bytes(shape->precision));
}

static bool has_prologue(enum smri_conv2d_method method, const struct smri_conv2d *shape) {
    return methods[method]->has_prologue != NULL && methods[method]->has_prologue(shape);
}

struct smri_workspace_bytes smri_conv2d_method_prologue_bytes(enum smri_conv2d_method method,
                                                              const struct smri_conv2d *shape) {
    struct smri_workspace_bytes bytes = methods[method]->workspace_bytes(SMRI_CONV2D_FORWARD, shape);
    if (!has_prologue(method, shape)) bytes.shared += x_bytes(shape);
    return bytes;
}

/* A smaller batch may need more: it may be computed by another method, or be cut into more parts. So each is asked. */
struct smri_workspace_bytes smri_conv2d_workspace_bytes(const struct smri_conv2d *shape) {
    struct smri_workspace_bytes largest = {0, 0};
    struct smri_conv2d part = *shape;
    for (part.N = 1; part.N <= shape->N; part.N++)
        for (int direction = SMRI_CONV2D_FORWARD; direction <= SMRI_CONV2D_BACKWARD_WEIGHTS; direction++)
            smri_workspace_enlarge(
                &largest, smri_conv2d_method_workspace_bytes(smri_conv2d_choose(direction, &part), direction, &part));
    return largest;
}

/* The same of forward alone, which needs as much as `bytes_of` says. */
static struct smri_workspace_bytes largest_forward(
    struct smri_workspace_bytes (*bytes_of)(enum smri_conv2d_method, const struct smri_conv2d *),
    const struct smri_conv2d *shape) {
    struct smri_workspace_bytes largest = {0, 0};
    struct smri_conv2d part = *shape;
    for (part.N = 1; part.N <= shape->N; part.N++)
        smri_workspace_enlarge(&largest, bytes_of(smri_conv2d_choose(SMRI_CONV2D_FORWARD, &part), &part));
    return largest;
}

struct smri_workspace_bytes smri_conv2d_prologue_workspace_bytes(const struct smri_conv2d *shape) {
    return largest_forward(smri_conv2d_method_prologue_bytes, shape);
}

/* A method that does not apply the prologue itself multiplies a copy of x, in front of its workspace, that a pass makes. */
void smri_conv2d_forward_by(enum smri_conv2d_method method, void *y, const void *x, const float *w,
                            const struct smri_conv2d_prologue *prologue, const struct smri_conv2d_fusion *fusion,
                            const struct smri_conv2d *shape, const struct smri_workspace *workspace, smri_pool *pool) {
    assert(smri_conv2d_supports(method, SMRI_CONV2D_FORWARD, shape));
    assert(fusion == NULL || smri_conv2d_method_part_rows(method, SMRI_CONV2D_FORWARD, shape) > 0);
    assert(prologue == NULL || fusion == NULL || fusion->produce_src == NULL);
    struct smri_conv2d_fused_args fused = {.prologue = prologue, .fusion = fusion};
    if (prologue == NULL || has_prologue(method, shape)) {
        methods[method]->forward(y, x, w, &fused, shape, workspace, pool);
        return;
    }
    const struct smri_batchnorm2d panel = {prologue->groups, shape->N / prologue->groups * shape->H * shape->W, shape->C,
                                           shape->precision};
    const struct smri_scale_shift_add_relu terms = {.x = x, .scale = prologue->scale, .shift = prologue->shift, .relu = true};
    smri_scale_shift_add_relu(workspace->shared, &terms, &panel, pool);
    fused.prologue = NULL;
    const struct smri_workspace behind = smri_workspace_behind(workspace, x_bytes(shape));
    methods[method]->forward(y, workspace->shared, w, &fused, shape, &behind, pool);
}

static size_t y_bytes(const struct smri_conv2d *shape) {
    const size_t pixels = shape->N * smri_conv2d_out_rows(shape) * smri_conv2d_out_cols(shape);
    return smri_align(pixels * shape->K * smri_precision_bytes(shape->precision));
}

struct smri_workspace_bytes smri_conv2d_method_epilogue_bytes(enum smri_conv2d_method method,
                                                              const struct smri_conv2d *shape) {
    struct smri_workspace_bytes bytes = methods[method]->workspace_bytes(SMRI_CONV2D_FORWARD, shape);
    if (!methods[method]->has_epilogue) bytes.shared += y_bytes(shape);
    return bytes;
}

struct smri_workspace_bytes smri_conv2d_epilogue_workspace_bytes(const struct smri_conv2d *shape) {
    return largest_forward(smri_conv2d_method_epilogue_bytes, shape);
}

/* A method without an epilogue leaves its result in front of its workspace, and a pass over it does the rest. */
void smri_conv2d_forward_epilogue_by(enum smri_conv2d_method method, void *y, const void *x, const float *w,
                                     const struct smri_conv2d_epilogue *epilogue, const struct smri_conv2d *shape,
                                     const struct smri_workspace *workspace, smri_pool *pool) {
    assert(smri_conv2d_supports(method, SMRI_CONV2D_FORWARD, shape));
    struct smri_conv2d_fused_args fused = {.epilogue = epilogue};
    if (methods[method]->has_epilogue) {
        methods[method]->forward(y, x, w, &fused, shape, workspace, pool);
        return;
    }
    fused.epilogue = NULL;
    const struct smri_workspace behind = smri_workspace_behind(workspace, y_bytes(shape));
    methods[method]->forward(workspace->shared, x, w, &fused, shape, &behind, pool);
    const size_t rows = shape->N * smri_conv2d_out_rows(shape) * smri_conv2d_out_cols(shape);
    const struct smri_batchnorm2d panel = {1, rows, shape->K, shape->precision};
    const struct smri_scale_shift_add_relu terms = {.x = workspace->shared, .residual = epilogue->accumulate ? y : NULL,
                                      .scale = epilogue->scale, .shift = epilogue->shift, .relu = epilogue->relu};
    smri_scale_shift_add_relu(y, &terms, &panel, pool);
}

size_t smri_conv2d_method_part_rows(enum smri_conv2d_method method, enum smri_conv2d_direction direction,
                                    const struct smri_conv2d *shape) {
    if (methods[method]->part_rows == NULL || direction == SMRI_CONV2D_BACKWARD_WEIGHTS) return 0;
    return methods[method]->part_rows(direction == SMRI_CONV2D_BACKWARD_DATA, shape);
}

void smri_conv2d_backward_data_by(enum smri_conv2d_method method, void *dx, const void *dy, const float *w,
                                  bool accumulate, const struct smri_conv2d_fusion *fusion,
                                  const struct smri_conv2d *shape, const struct smri_workspace *workspace, smri_pool *pool) {
    assert(smri_conv2d_supports(method, SMRI_CONV2D_BACKWARD_DATA, shape));
    assert(fusion == NULL || smri_conv2d_method_part_rows(method, SMRI_CONV2D_BACKWARD_DATA, shape) > 0);
    methods[method]->backward_data(dx, dy, w, accumulate, fusion, shape, workspace, pool);
}

void smri_conv2d_backward_weights_by(enum smri_conv2d_method method, float *dw, const void *x, const void *dy,
                                     const struct smri_conv2d *shape, const struct smri_workspace *workspace,
                                         smri_pool *pool) {
    assert(smri_conv2d_supports(method, SMRI_CONV2D_BACKWARD_WEIGHTS, shape));
    methods[method]->backward_weights(dw, x, dy, shape, workspace, pool);
}

void smri_conv2d_forward(void *y, const void *x, const float *w, const struct smri_conv2d_prologue *prologue,
                         const struct smri_conv2d_fusion *fusion, const struct smri_conv2d *shape,
                         const struct smri_workspace *workspace, smri_pool *pool) {
    smri_conv2d_forward_by(smri_conv2d_choose(SMRI_CONV2D_FORWARD, shape), y, x, w, prologue, fusion, shape, workspace, pool);
}

void smri_conv2d_forward_epilogue(void *y, const void *x, const float *w, const struct smri_conv2d_epilogue *epilogue,
                                  const struct smri_conv2d *shape, const struct smri_workspace *workspace, smri_pool *pool) {
    smri_conv2d_forward_epilogue_by(smri_conv2d_choose(SMRI_CONV2D_FORWARD, shape), y, x, w, epilogue, shape, workspace,
                                    pool);
}

size_t smri_conv2d_part_rows(enum smri_conv2d_direction direction, const struct smri_conv2d *shape) {
    return smri_conv2d_method_part_rows(smri_conv2d_choose(direction, shape), direction, shape);
}

void smri_conv2d_backward_data(void *dx, const void *dy, const float *w, bool accumulate,
                               const struct smri_conv2d_fusion *fusion, const struct smri_conv2d *shape,
                               const struct smri_workspace *workspace, smri_pool *pool) {
    smri_conv2d_backward_data_by(smri_conv2d_choose(SMRI_CONV2D_BACKWARD_DATA, shape), dx, dy, w, accumulate, fusion, shape,
                                 workspace, pool);
}

void smri_conv2d_backward_weights(float *dw, const void *x, const void *dy, const struct smri_conv2d *shape,
                                  const struct smri_workspace *workspace, smri_pool *pool) {
    smri_conv2d_backward_weights_by(smri_conv2d_choose(SMRI_CONV2D_BACKWARD_WEIGHTS, shape), dw, x, dy, shape, workspace,
                                    pool);
}
