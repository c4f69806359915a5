/* Lifetimes to offsets: which values share bytes of the arena.
 *
 * Largest value first, each at the lowest offset of the tightest gap that no already placed value with an overlapping
 * life occupies ("greedy by size", Pisarchyk and Lee, "Efficient memory management for deep neural net inference", 2020,
 * section 4.3). The result is near the lower bound, the most bytes that live at once, but need not reach it. */
#include "program.h"

#include <stdlib.h>

#include "smri/memory.h"

struct piece {
    struct smri_value *value;
    short index;
};

static int larger_first(const void *a, const void *b) {
    const struct piece *p = a, *q = b;
    if (p->value->bytes != q->value->bytes) return p->value->bytes < q->value->bytes ? 1 : -1;
    return p->index - q->index; /* a stable order: the layout must not depend on qsort */
}

static int lower_first(const void *a, const void *b) {
    const struct piece *p = a, *q = b;
    if (p->value->offset != q->value->offset) return p->value->offset < q->value->offset ? -1 : 1;
    return p->index - q->index;
}

static bool live_together(const struct smri_value *a, const struct smri_value *b) {
    return a->first <= b->last && b->first <= a->last;
}

/* The tightest gap between the neighbours (sorted by offset) that holds `bytes`, or the end of the last one. */
static size_t find_gap(const struct piece *neighbours, size_t count, size_t bytes) {
    size_t end = 0, best = 0, best_gap = SIZE_MAX;
    for (size_t i = 0; i < count; i++) {
        const struct smri_value *value = neighbours[i].value;
        if (value->offset > end && value->offset - end >= bytes && value->offset - end < best_gap) {
            best = end;
            best_gap = value->offset - end;
        }
        if (value->offset + value->bytes > end) end = value->offset + value->bytes;
    }
    return best_gap != SIZE_MAX ? best : end;
}

smri_status smri_program_lay_out(struct smri_program *program) {
    struct piece pieces[SMRI_VALUES_MAX], neighbours[SMRI_VALUES_MAX];
    size_t n_pieces = 0, total = 0;
    for (short i = SMRI_VALUE_FIRST; i < program->n_values; i++) {
        struct smri_value *value = &program->values[i];
        if (value->first > value->last) continue;
        if (value->bytes > SIZE_MAX - SMRI_ALIGNMENT || !smri_size_add(total, smri_align(value->bytes), &total))
            return smri_fail(SMRI_MEMORY, "activations: the size overflows this machine's address range");
        value->bytes = smri_align(value->bytes);
        pieces[n_pieces++] = (struct piece){value, i};
    }
    qsort(pieces, n_pieces, sizeof *pieces, larger_first);
    program->arena_bytes = 0;
    for (size_t i = 0; i < n_pieces; i++) {
        struct smri_value *value = pieces[i].value;
        size_t count = 0;
        for (size_t j = 0; j < i; j++)
            if (live_together(value, pieces[j].value)) neighbours[count++] = pieces[j];
        qsort(neighbours, count, sizeof *neighbours, lower_first);
        value->offset = find_gap(neighbours, count, value->bytes);
        if (value->offset + value->bytes > program->arena_bytes) program->arena_bytes = value->offset + value->bytes;
    }
    return SMRI_OK;
}
