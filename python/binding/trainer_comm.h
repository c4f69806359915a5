/* A Python object with rank, size, gather, begin_sum, finish_sums and agree (learning/_ranks.py) as the core's smri_comm. */
#ifndef SMRI_BINDING_TRAINER_COMM_H
#define SMRI_BINDING_TRAINER_COMM_H

#include "network_object.h"
#include "smri/comm.h"

struct smri_python_comm {
    PyObject *ranks; /* owned; NULL: one process */
    struct smri_interrupt *interrupt; /* of the call that runs */
    struct smri_comm comm;
};

/* Fills in all but `interrupt`; 0, or -1 with an exception. */
int smri_python_comm_init(struct smri_python_comm *self, PyObject *ranks);

/* Adds `tree_sum` to the module. */
int smri_bind_tree_sum(PyObject *module);

#endif
