/* Convolution in bfloat16 by indirect GEMM on pairs of numbers, for CPUs with AVX512_BF16 and without AMX; choose.c says for
 * which shapes. Activations are read where they lie; weights are rounded and paired once a call: two neighbouring channels of
 * the sum make one word (kernels/conv/bf16_dot2.h). The gradient of the weights pairs neighbouring pixels (igemm_wgrad.c). */
#include "layers/conv2d/igemm.h"
#include "smri/memory.h"

struct pairing {
    const struct smri_conv2d *shape;
    const struct smri_kernels *kernels;
    uint32_t *out;
    const float *w;
    size_t depth; /* rows of 32 weights in a tap, as the forward pass sees it */
};

static size_t tap_words(size_t depth) { return smri_conv2d_pairs(depth) * SMRI_CONV_BLOCK; }

/* [K/32][tap][C][32] floats to [K/32][tap][ceil(C/2)][32] pairs; `index` is a block and a tap. */
static void pair_tap(void *context, size_t index, size_t worker) {
    const struct pairing *p = context;
    p->kernels->bf16_dot2.weights(p->out + index * tap_words(p->depth), p->w + index * p->depth * SMRI_CONV_BLOCK, p->depth);
}

/* [K/32][tap][C][32] floats to [C/32][tap][ceil(K/2)][32] pairs, 32 x 32 at a time. */
static void pair_transposed(void *context, size_t index, size_t worker) {
    const struct pairing *p = context;
    const struct smri_conv2d *s = p->shape;
    const size_t K_blocks = smri_conv2d_blocks(s->K), taps = s->R * s->S;
    const size_t c_block = index / K_blocks, k_block = index % K_blocks;
    const size_t rows = smri_conv2d_block_width(s->C, c_block), cols = smri_conv2d_block_width(s->K, k_block);
    float block[SMRI_CONV_BLOCK * SMRI_CONV_BLOCK];
    for (size_t tap = 0; tap < taps; tap++) {
        const size_t from = (k_block * taps + tap) * s->C + c_block * SMRI_CONV_BLOCK;
        const size_t to = (c_block * taps + tap) * smri_conv2d_pairs(s->K) + k_block * SMRI_CONV_BLOCK / 2;
        p->kernels->conv.transpose(block, p->w + from * SMRI_CONV_BLOCK, rows, cols);
        p->kernels->bf16_dot2.weights(p->out + to * SMRI_CONV_BLOCK, block, cols);
    }
}

static size_t forward_depth(const struct smri_conv2d *s) {
    return smri_conv2d_packs_windows(s) ? s->R * s->S * s->C : s->C;
}

static size_t forward_taps(const struct smri_conv2d *s) { return smri_conv2d_packs_windows(s) ? 1 : s->R * s->S; }

static size_t pairs_bytes(enum smri_conv2d_direction direction, const struct smri_conv2d *s) {
    const size_t words = direction == SMRI_CONV2D_BACKWARD_DATA
                             ? smri_conv2d_blocks(s->C) * s->R * s->S * tap_words(s->K)
                             : smri_conv2d_blocks(s->K) * forward_taps(s) * tap_words(forward_depth(s));
    return smri_align(words * sizeof(uint32_t));
}

static struct smri_workspace_bytes workspace_bytes(enum smri_conv2d_direction direction, const struct smri_conv2d *shape) {
    if (direction == SMRI_CONV2D_BACKWARD_WEIGHTS) return smri_conv2d_igemm_wgrad_bytes(shape);
    struct smri_workspace_bytes bytes = smri_conv2d_gather_bytes(direction, shape);
    bytes.shared += pairs_bytes(direction, shape);
    return bytes;
}

/* Pairs the weights by `tasks` calls of `task`, then multiplies. */
static void gather(enum smri_conv2d_direction direction, void (*task)(void *, size_t, size_t), size_t tasks,
                   const struct smri_conv2d_call *whole) {
    struct smri_conv2d_call call = *whole;
    struct pairing pairing = {call.shape, smri_kernels_get(), call.workspace.shared, call.w, forward_depth(call.shape)};
    smri_pool_run(call.pool, tasks, task, &pairing);
    call.workspace = smri_workspace_behind(&call.workspace, pairs_bytes(direction, call.shape));
    smri_conv2d_gather(direction, pairing.out, &call);
}

static void forward(const struct smri_conv2d_call *call) {
    const struct smri_conv2d *s = call->shape;
    gather(SMRI_CONV2D_FORWARD, pair_tap, smri_conv2d_blocks(s->K) * forward_taps(s), call);
}

static void backward_data(const struct smri_conv2d_call *call) {
    const struct smri_conv2d *s = call->shape;
    gather(SMRI_CONV2D_BACKWARD_DATA, pair_transposed, smri_conv2d_blocks(s->C) * smri_conv2d_blocks(s->K), call);
}

const struct smri_conv2d_ops smri_conv2d_bf16_dot2_ops = {
    .name = "bf16_dot2", .supports = smri_conv2d_takes_bf16, .workspace_bytes = workspace_bytes, .forward = forward,
    .backward_data = backward_data, .backward_weights_begin = smri_conv2d_igemm_backward_weights, .has_epilogue = true,
    .part_rows = smri_conv2d_gather_part_rows,
};
