/* Spectra compiled for the baseline instruction set; the code is in spectra_loops.h. */
#define SMRI_ISA ref
#include "registration/spectra_loops.h"
