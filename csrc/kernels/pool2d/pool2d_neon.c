/* Pooling compiled for NEON; the code is in pool2d_loops.h. */
#define SMRI_ISA neon
#include "kernels/pool2d/pool2d_loops.h"
