/* Multiply-adds compiled for NEON; the code is in peak_loops.h. */
#define SMRI_ISA neon
#include "kernels/lanes_neon4.h"
#include "kernels/peak/peak_loops.h"
