/* Batch normalisation's kernels compiled for NEON; the code and its reasons are in batchnorm_loops.h. */
#define SMRI_ISA neon
#include "kernels/batchnorm/batchnorm_loops.h"
