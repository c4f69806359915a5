/* The one dispatch table. Each family has its own struct of function pointers and its own header; `_ref` fills every slot,
 * and each instruction set above it overwrites only the slots it improves. Layers reach kernels through this table only. */
#ifndef SMRI_KERNELS_H
#define SMRI_KERNELS_H

struct smri_kernels {
    int unused; /* the families' structs come here: conv, norm, elementwise, optimizer */
};

/* The table of the level that smri_isa_selected() names. */
const struct smri_kernels *smri_kernels_get(void);

#endif
