/* What the convolution kernels do to a sum of an output channel before they store it:
 *
 *     scale * sum + shift, then plus the old result if that is accumulated to, then max(0, .) if relu
 *
 * in fp32, rounded once. It is the batch norm, the residual and the ReLU of inference, for the price of a few registers
 * instead of passes over memory. */
#pragma once

#include <stdbool.h>

struct smri_epilogue {
    const float *scale, *shift; /* of the first channel stored; scale NULL: the sum as it is */
    bool relu;
};
