/* Memory that a call works in, given by its caller, and 64-byte aligned. */
#ifndef SMRI_WORKSPACE_H
#define SMRI_WORKSPACE_H

#include <stddef.h>

#include "smri/api.h"

SMRI_API_BEGIN

/* What the threads share, and what is each thread's own: worker w's is at per_thread + w * per_thread_stride. Let that
 * be at the same place in every call, so that it stays in the worker's caches. Measured on ResNet-50 in bf16, where both
 * moved with the layers: two threads wrote what had last been in the other's cache, 0.4 ms a gradient of the weights with
 * two third-level caches, 6 % of a step. */
struct smri_workspace {
    void *shared;
    char *per_thread;
    size_t per_thread_stride;
};

/* How much that is: of all threads together, and of each. */
struct smri_workspace_bytes {
    size_t shared, per_thread;
};

/* What is left behind the first `bytes` of what is shared, a multiple of 64. */
static inline struct smri_workspace smri_workspace_behind(const struct smri_workspace *workspace, size_t bytes) {
    return (struct smri_workspace){(char *)workspace->shared + bytes, workspace->per_thread, workspace->per_thread_stride};
}

/* The least that both fit into. */
static inline void smri_workspace_enlarge(struct smri_workspace_bytes *largest, struct smri_workspace_bytes bytes) {
    if (bytes.shared > largest->shared) largest->shared = bytes.shared;
    if (bytes.per_thread > largest->per_thread) largest->per_thread = bytes.per_thread;
}

SMRI_API_END

#endif
