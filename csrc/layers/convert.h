/* All conversions between the precisions, in pieces on the pool. */
#pragma once

#include "kernels/convert/convert.h"
#include "smri/pool.h"

void smri_convert(enum smri_conversion conversion, void *out, const void *in, size_t n, smri_pool *pool);
