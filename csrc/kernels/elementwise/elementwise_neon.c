/* ReLU and dropout compiled for NEON; the code is in elementwise_loops.h. */
#define SMRI_ISA neon
#include "kernels/elementwise/elementwise_loops.h"
