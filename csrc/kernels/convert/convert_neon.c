/* The conversions compiled for NEON; the code is in convert_loops.h. */
#include "kernels/convert/convert_loops.h"

void smri_convert_kernels_neon(struct smri_convert_kernels *table) { fill(table); }
