/* Aligned allocation. Blocks of 4 MiB and more begin on a huge page and are offered to transparent huge pages: a training
 * step walks hundreds of megabytes of activations, and 4 KiB pages cost it TLB misses in every kernel. */
#define _GNU_SOURCE
#include "smri/memory.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define HUGE_PAGE ((size_t)2 << 20)

smri_status smri_size_product(size_t *out, const char *what, size_t count, const size_t *sizes) {
    size_t product = 1;
    for (size_t i = 0; i < count; i++)
        if (!smri_size_mul(product, sizes[i], &product))
            return smri_fail(SMRI_MEMORY, "%s: the size overflows this machine's address range", what);
    *out = product;
    return SMRI_OK;
}

smri_status smri_aligned_alloc(void **out, size_t bytes, const char *what) {
    *out = NULL;
    if (bytes == 0) return SMRI_OK;
    const bool huge = bytes >= 2 * HUGE_PAGE;
    const size_t alignment = huge ? HUGE_PAGE : SMRI_ALIGNMENT;
    size_t rounded;
    if (!smri_size_add(bytes, alignment - 1, &rounded))
        return smri_fail(SMRI_MEMORY, "%s: the size overflows this machine's address range", what);
    rounded &= ~(alignment - 1);
    void *p = aligned_alloc(alignment, rounded);
    if (p == NULL) return smri_fail(SMRI_MEMORY, "%s: %.1f MiB refused by the system", what, (double)bytes / 1048576.0);
    if (huge) (void)madvise(p, rounded, MADV_HUGEPAGE); /* advice: a refusal costs speed only */
    memset(p, 0, rounded);
    *out = p;
    return SMRI_OK;
}

void smri_aligned_free(void *p) { free(p); }
