/* Aligned allocation. Blocks of 4 MiB and more begin on a huge page and are offered to transparent huge pages: a training
 * step walks hundreds of megabytes of activations, and 4 KiB pages cost it TLB misses in every kernel. */
#define _GNU_SOURCE
#include "smri/memory.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define HUGE_PAGE ((size_t)2 << 20)

#if defined(_WIN32)
#include <malloc.h>
#define aligned_alloc(alignment, bytes) _aligned_malloc(bytes, alignment)
#define aligned_free _aligned_free
#else
#include <sys/mman.h>
#define aligned_free free
#endif

/* Advice: a refusal costs speed only. macOS and Windows have no such advice. */
static void advise_huge_pages(void *p, size_t bytes) {
#if defined(MADV_HUGEPAGE)
    (void)madvise(p, bytes, MADV_HUGEPAGE);
#endif
}

smri_status smri_size_product(size_t *out, const char *what, size_t count, const size_t *sizes) {
    size_t product = 1;
    for (size_t i = 0; i < count; i++)
        if (!smri_size_mul(product, sizes[i], &product))
            return smri_fail(SMRI_MEMORY, "%s: the size overflows this machine's address range", what);
    *out = product;
    return SMRI_OK;
}

/* Memory that nothing has written to; *rounded is its length. */
static smri_status allocate(void **out, size_t *rounded, size_t bytes, const char *what) {
    *out = NULL;
    const bool huge = bytes >= 2 * HUGE_PAGE;
    const size_t alignment = huge ? HUGE_PAGE : SMRI_ALIGNMENT;
    *rounded = 0;
    if (!smri_size_add(bytes, alignment - 1, rounded))
        return smri_fail(SMRI_MEMORY, "%s: the size overflows this machine's address range", what);
    *rounded &= ~(alignment - 1);
    void *p = aligned_alloc(alignment, *rounded);
    if (p == NULL) return smri_fail(SMRI_MEMORY, "%s: %.1f MiB refused by the system", what, (double)bytes / 1048576.0);
    if (huge) advise_huge_pages(p, *rounded);
    *out = p;
    return SMRI_OK;
}

smri_status smri_aligned_alloc(void **out, size_t bytes, const char *what) {
    size_t rounded;
    const smri_status status = bytes > 0 ? allocate(out, &rounded, bytes, what) : SMRI_OK;
    if (bytes == 0) *out = NULL;
    else if (status == SMRI_OK) memset(*out, 0, rounded);
    return status;
}

struct zero_job {
    char *memory;
    size_t n_pages, n_threads, n_turns;
};

/* A thread takes neighbouring tasks, mostly; these are pages `n_threads` apart. */
static void zero_page(void *context, size_t index, size_t worker) {
    const struct zero_job *job = context;
    const size_t page = index % job->n_turns * job->n_threads + index / job->n_turns;
    if (page < job->n_pages) memset(job->memory + page * HUGE_PAGE, 0, HUGE_PAGE);
}

smri_status smri_aligned_alloc_shared(void **out, size_t bytes, const char *what, smri_pool *pool) {
    if (bytes < 2 * HUGE_PAGE) return smri_aligned_alloc(out, bytes, what);
    size_t rounded;
    const smri_status status = allocate(out, &rounded, bytes, what);
    if (status != SMRI_OK) return status;
    struct zero_job job = {.memory = *out, .n_pages = rounded / HUGE_PAGE, .n_threads = smri_pool_size(pool)};
    job.n_turns = smri_chunk_count(job.n_pages, job.n_threads);
    smri_pool_run(pool, job.n_turns * job.n_threads, zero_page, &job);
    return SMRI_OK;
}

void smri_aligned_free(void *p) { aligned_free(p); }
