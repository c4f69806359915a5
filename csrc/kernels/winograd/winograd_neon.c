/* Winograd's transforms for NEON, with 8 channels in two registers; the code is in winograd_tiles.h. */
#define SMRI_ISA neon
#include "kernels/lanes.h"
#include "kernels/winograd/winograd_tiles.h"
