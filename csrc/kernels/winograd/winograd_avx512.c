/* Winograd's transforms with 16 channels in a vector; the code is in winograd_tiles.h. */
#define SMRI_ISA avx512
#include "kernels/lanes.h"
#include "kernels/winograd/winograd_tiles.h"
