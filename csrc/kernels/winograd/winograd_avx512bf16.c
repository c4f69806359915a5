/* Winograd's transforms with 16 channels in a vector and an instruction that rounds; the code is in winograd_tiles.h. */
#define SMRI_ISA avx512bf16
#include "kernels/lanes.h"
#include "kernels/winograd/winograd_tiles.h"
