/* Multiply-adds on floats; the code is in multiply_adds.h. */
#define SMRI_SINGLE_REGISTERS
#include "kernels/lanes.h"
#include "kernels/peak/multiply_adds.h"
