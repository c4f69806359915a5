/* The conversions compiled for NEON; the code is in convert_loops.h. */
#define SMRI_ISA neon
#include "kernels/convert/convert_loops.h"
