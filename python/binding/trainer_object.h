/* The type Trainer, for the files that implement it: trainer.c, and trainer_state.c. */
#ifndef SMRI_BINDING_TRAINER_OBJECT_H
#define SMRI_BINDING_TRAINER_OBJECT_H

#include "network_object.h"
#include "smri/trainer.h"
#include "trainer_comm.h"

struct smri_trainer_object {
    PyObject_HEAD
    struct smri_network_object *network; /* owned: the core's trainer borrows its network and pool */
    struct smri_python_comm comm;        /* borrowed by the trainer too */
    smri_trainer *trainer;
};

/* Methods and a property: gradients(), state(), tensor(name), load(state) and table. */
PyObject *smri_trainer_copy_gradients(PyObject *trainer, PyObject *ignored);
PyObject *smri_trainer_copy_state(PyObject *trainer, PyObject *ignored);
PyObject *smri_trainer_copy_tensor(PyObject *trainer, PyObject *name);
PyObject *smri_trainer_load_state(PyObject *trainer, PyObject *state);
PyObject *smri_trainer_table(PyObject *trainer, void *ignored);

#endif
