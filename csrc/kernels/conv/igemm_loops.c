/* The convolution kernels on floats, for vectors of any width: the tiles of igemm_tile.h and the movers of data. */
#define SMRI_SINGLE_REGISTERS
#include "kernels/lanes.h"

#define SMRI_IGEMM_PRECISION SMRI_FP32

SMRI_INLINE floats broadcast(const void *row, size_t i) { return vset1(((const float *)row)[i]); }
SMRI_INLINE floats broadcast_last(const void *row, size_t i) { return broadcast(row, i); }
SMRI_INLINE floats multiply_add(floats x, floats w, floats sum) { return vfma(x, w, sum); }

#include "kernels/conv/igemm_tile.h"

#define SMRI_UNROLL_LANES _Pragma("GCC unroll 16")

/* Squares of a vector's side, each transposed in registers. */
static void transpose(float *out, const float *in, size_t rows, size_t cols) {
    for (size_t j = 0; j < cols; j += SMRI_LANES)
        for (size_t i = 0; i < SMRI_CONV_BLOCK; i += SMRI_LANES) {
            floats r[SMRI_LANES];
            SMRI_UNROLL_LANES for (size_t k = 0; k < SMRI_LANES; k++)
                r[k] = i + k < rows ? vload(in, (i + k) * SMRI_CONV_BLOCK + j, SMRI_LANES, SMRI_FP32) : vset1(0.0f);
            vtranspose(r);
            SMRI_UNROLL_LANES for (size_t k = 0; k < SMRI_LANES; k++)
                if (j + k < cols) vstore(out, (j + k) * SMRI_CONV_BLOCK + i, r[k], SMRI_LANES, SMRI_FP32);
        }
}

SMRI_INLINE void copy_lanes(float *restrict out, const float *restrict in, size_t n) {
    vstore(out, 0, vload(in, 0, n, SMRI_FP32), n, SMRI_FP32);
}

static void copy(float *restrict out, size_t out_stride, const float *restrict in, size_t in_stride, size_t rows, size_t n) {
    if (n < SMRI_LANES) { /* a row of the stem's window is one masked load and store */
        for (size_t r = 0; r < rows; r++) copy_lanes(out + r * out_stride, in + r * in_stride, n);
        return;
    }
    for (size_t r = 0; r < rows; r++, out += out_stride, in += in_stride) {
        size_t i = 0;
        _Pragma("GCC unroll 4") for (; i + SMRI_LANES <= n; i += SMRI_LANES) copy_lanes(out + i, in + i, SMRI_LANES);
        if (i < n) copy_lanes(out + i, in + i, n - i);
    }
}

void SMRI_FILLER(smri_conv_kernels)(struct smri_conv_kernels *kernels) {
    *kernels = (struct smri_conv_kernels){tile, gemm_tn, transpose, copy};
}
