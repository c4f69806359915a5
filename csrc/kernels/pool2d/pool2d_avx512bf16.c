/* Pooling's kernels with the instruction that rounds to bfloat16; the code is in pool2d_loops.h. */
#define SMRI_ISA avx512bf16
#include "kernels/pool2d/pool2d_loops.h"
