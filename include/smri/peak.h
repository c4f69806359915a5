/* The most arithmetic that this machine can do: what a speed is to be compared with. */
#ifndef SMRI_PEAK_H
#define SMRI_PEAK_H

#include "smri/api.h"
#include "smri/pool.h"
#include "smri/precision.h"

SMRI_API_BEGIN

struct smri_rates {
    double best, mean;
};

/* Floating-point operations a second of all threads together, a multiply and an add counting as two: the best and the mean of
 * short jobs of independent products on registers, repeated for about `seconds`. With SMRI_BF16 products of bfloat16 numbers,
 * by the instructions of the instruction set in use. */
struct smri_rates smri_peak_flops(enum smri_precision precision, double seconds, smri_pool *pool);

SMRI_API_END

#endif
