/* The pixel kernels compiled for the baseline instruction set; the code and its reasons are in pixels_loops.h. */
#define SMRI_ISA ref
#include "kernels/pixels/pixels_loops.h"
