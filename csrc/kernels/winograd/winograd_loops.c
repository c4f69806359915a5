/* Winograd's transforms with a vector of channels; the code is in winograd_tiles.h. */
#include "kernels/lanes.h"
#include "kernels/winograd/winograd_tiles.h"
