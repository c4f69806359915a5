/* Multiply-adds on floats; the code is in peak_loops.h. */
#define SMRI_SINGLE_REGISTERS
#include "kernels/lanes.h"
#include "kernels/peak/peak_loops.h"
