/* Spectra compiled for AVX2; the code is in spectra_loops.h. */
#define SMRI_ISA avx2
#include "registration/spectra_loops.h"
