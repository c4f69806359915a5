/* All conversions between the precisions, in pieces on the pool. */
#pragma once

#include <stddef.h>

#include "smri/pool.h"

/* From bf16 to fp32; to bf16; to bf16's numbers, still as fp32; and bf16 += fp32. */
enum smri_conversion { SMRI_WIDEN, SMRI_NARROW, SMRI_ROUND, SMRI_ADD };

void smri_convert(enum smri_conversion conversion, void *out, const void *in, size_t n, smri_pool *pool);
