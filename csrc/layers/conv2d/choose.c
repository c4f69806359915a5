/* The one place that decides how a convolution is computed.
 *
 * Processor time of the direct method divided by Winograd's, one thread, a core with two 512-bit multiply-add ports,
 * 3 x 3 windows with stride 1 and padding 1, forward / backward-data / backward-weights:
 *     32 images, square, 128 channels   2 x 2: 0.29 / 0.35 / 0.65    3 x 3: 0.69 / 0.78 / 1.43   4 x 4: 1.28 / 1.30 / 2.46
 *                                       5 x 5: 0.81 / 0.78 / 0.84    6 x 6: 1.24 / 1.13 / 1.03   7 x 7: 1.55 / 1.40 / 1.47
 *                                       8 x 8: 1.89 / 1.71 / 1.76    9 x 9: 1.28 / 1.26 / 1.31   16 x 16: 1.92 / 1.91 / 2.08
 *     4 x 4, 512 channels               1 image: 0.41 / 0.81 / 0.43  4: 0.89 / 1.04 / 1.01       8: 1.23 / 1.26 / 1.45
 *     8 x 8, 256 channels               1 image: 0.85 / 0.97 / 0.96  2: 1.26 / 1.26 / 1.40       16: 1.80 / 1.95 / 2.40
 *     32 images of 16 x 16              3 channels: 0.84 / 0.97 / 1.02   16: 1.69 / 1.70 / 2.70         64: 2.12 / 2.04 / 2.48
 * So Winograd pays when most of its 4 x 4 tiles is image and there are tiles enough to repay the transformed weights.
 *
 * bf16 on tile registers where there are any. Without them, Winograd where it pays in fp32: it reads and writes bf16,
 * and on Zen 4 (236 GFLOP/s in fp32, 472 in pairs, two threads) it takes 3.8 to 4.5 ms for each 3 x 3 layer of
 * ResNet-50 where pairs take 4.3 to 7.5. Else pairs where they have twice the products of fp32: on Zen 4, and with
 * BFDOT by Arm's optimization guides (not measured). Where it has half of them (the core above: 105 against 210
 * GFLOP/s), pairs still save the passes that widen and narrow. Time of pairs divided by widened, forward /
 * backward-data / backward-weights, by the products for each number of x and y:
 *      32 (1x1 64 to 64 channels)         0.69 / 0.66 / 0.68     46 (7x7 1 to 64)       0.94 /      / 1.08
 *      51 (1x1 64 to 256)                 0.88 / 0.82 / 0.77     85 (1x1 256 to 128)    1.07 / 1.07 / 0.97
 *     102 (1x1 512 to 128)                1.14 / 1.07 / 1.00    171 (1x1 512 to 256)    1.31 / 1.32 / 1.18
 *     230 (3x3 stride 2 128 to 128)       1.38 / 1.35 / 1.26 */
#include "layers/conv2d/methods.h"
#include "smri/cpu.h"

#define WINOGRAD_TILE 4
#define WINOGRAD_CHANNELS_MIN 16
#define WINOGRAD_TILES_MIN 6
#define SLOW_DOT2_PRODUCTS_MAX 64.0

static bool winograd_pays(enum smri_conv2d_direction direction, const struct smri_conv2d *shape) {
    if (!smri_conv2d_supports(SMRI_CONV2D_WINOGRAD, direction, shape)) return false;
    const size_t P = smri_conv2d_out_rows(shape), Q = smri_conv2d_out_cols(shape);
    if (P < WINOGRAD_TILE || Q < WINOGRAD_TILE) return false;
    if (shape->C < WINOGRAD_CHANNELS_MIN || shape->K < WINOGRAD_CHANNELS_MIN) return false;
    const size_t tiles = smri_chunk_count(P, WINOGRAD_TILE) * smri_chunk_count(Q, WINOGRAD_TILE);
    const double used = (double)(P * Q) / (double)(tiles * WINOGRAD_TILE * WINOGRAD_TILE);
    return used > 0.55 && shape->N * tiles >= WINOGRAD_TILES_MIN;
}

/* Products for each number of x and y: what a convolution computes for what it moves. */
static double products_per_number(const struct smri_conv2d *s) {
    const double y = (double)(smri_conv2d_out_rows(s) * smri_conv2d_out_cols(s) * s->K);
    return y * (double)(s->R * s->S * s->C) / (y + (double)(s->H * s->W * s->C));
}

static enum smri_conv2d_method choose_bf16(enum smri_conv2d_direction direction, const struct smri_conv2d *shape) {
    if (smri_isa_uses(SMRI_ISA_AMX) && smri_conv2d_supports(SMRI_CONV2D_AMX, direction, shape))
        return SMRI_CONV2D_AMX;
    if (smri_isa_selected() != SMRI_ISA_REF && winograd_pays(direction, shape)) return SMRI_CONV2D_WINOGRAD;
    if (smri_isa_uses(SMRI_ISA_NEONBF16)) return SMRI_CONV2D_BF16_DOT2;
    if (!smri_isa_uses(SMRI_ISA_AVX512BF16)) return SMRI_CONV2D_VIA_FP32;
    const bool is_thin = products_per_number(shape) <= SLOW_DOT2_PRODUCTS_MAX;
    return is_thin || smri_cpu_has_fast_bf16_dot2() ? SMRI_CONV2D_BF16_DOT2 : SMRI_CONV2D_VIA_FP32;
}

enum smri_conv2d_method smri_conv2d_choose(enum smri_conv2d_direction direction, const struct smri_conv2d *shape) {
    if (shape->precision == SMRI_BF16) return choose_bf16(direction, shape);
    /* The register tiles have no portable vector form; the BLAS brings its own. */
    if (smri_isa_selected() == SMRI_ISA_REF) return SMRI_CONV2D_IM2COL;
    return winograd_pays(direction, shape) ? SMRI_CONV2D_WINOGRAD : SMRI_CONV2D_IGEMM;
}
