/* The module's state: no static objects, so that each interpreter has its own. */
#ifndef SMRI_BINDING_STATE_H
#define SMRI_BINDING_STATE_H

#include "binding.h"

#include "lock.h"

struct smri_shared_pool {
    struct smri_shared_pool *next;
    smri_pool *pool;
    size_t n_threads;
    size_t users; /* that hold it or wait for it */
    struct smri_lock lock;
};

struct smri_state {
    PyObject *decode_error;         /* simclr_mri.DecodeError, a ValueError */
    PyObject *network_type;         /* simclr_mri._core.Network */
    struct smri_shared_pool *pools; /* a list, the latest used first, at most one a number of threads; guarded by the GIL */
};

static inline struct smri_state *smri_state_of(PyObject *module) { return PyModule_GetState(module); }

#endif
