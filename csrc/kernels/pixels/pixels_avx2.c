/* The pixel kernels compiled for AVX2; the code and its reasons are in pixels_loops.h. */
#include "kernels/pixels/pixels_loops.h"

void smri_pixel_kernels_avx2(struct smri_pixel_kernels *table) { fill_with_loops(table); }
