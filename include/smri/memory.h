/* Checked sizes and aligned allocation. */
#ifndef SMRI_MEMORY_H
#define SMRI_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

#include "smri/api.h"
#include "smri/pool.h"
#include "smri/status.h"

SMRI_API_BEGIN

#define SMRI_ALIGNMENT 64 /* a cache line, and the widest vector */

/* a * b and a + b into *out; false, with *out untouched, when the result does not fit size_t. */
static inline bool smri_size_mul(size_t a, size_t b, size_t *out) { return !__builtin_mul_overflow(a, b, out); }
static inline bool smri_size_add(size_t a, size_t b, size_t *out) { return !__builtin_add_overflow(a, b, out); }

/* Product of `count` sizes into *out; SMRI_MEMORY naming `what` when it overflows. */
smri_status smri_size_product(size_t *out, const char *what, size_t count, const size_t *sizes);

/* n rounded up to a multiple of SMRI_ALIGNMENT bytes. n must be below SIZE_MAX - 63. */
static inline size_t smri_align(size_t n) { return (n + SMRI_ALIGNMENT - 1) & ~(size_t)(SMRI_ALIGNMENT - 1); }

/* 64-byte aligned memory, zeroed; *out is NULL for 0 bytes. Large blocks are backed by huge pages where the kernel
 * offers them. Free with smri_aligned_free. */
smri_status smri_aligned_alloc(void **out, size_t bytes, const char *what);
void smri_aligned_free(void *p);

/* The same for what the threads of a pool share: they write the zeros, 2 MiB here and 2 MiB there. A machine with several
 * memory nodes puts a page next to the thread that first wrote to it, so all nodes get their share. */
smri_status smri_aligned_alloc_shared(void **out, size_t bytes, const char *what, smri_pool *pool);

SMRI_API_END

#endif
