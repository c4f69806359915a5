/* Winograd's transforms with 8 channels in a vector; the code is in winograd_tiles.h. */
#define SMRI_ISA avx2
#include "kernels/lanes.h"
#include "kernels/winograd/winograd_tiles.h"
