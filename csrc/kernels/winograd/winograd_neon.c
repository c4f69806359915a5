/* Winograd's transforms for NEON, with 8 channels in two registers; the code is in winograd_tiles.h. */
#include "kernels/lanes.h"
#include "kernels/winograd/winograd.h"
#include "kernels/winograd/winograd_tiles.h"

void smri_winograd_kernels_neon(struct smri_winograd_kernels tables[SMRI_PRECISIONS]) { fill(tables); }
