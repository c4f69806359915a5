/* The Network object as its trainers see it: the core's network, its pool, and the lock that lets one caller in. */
#ifndef SMRI_BINDING_NETWORK_OBJECT_H
#define SMRI_BINDING_NETWORK_OBJECT_H

#include "binding.h"

#include <time.h>

#include "lock.h"
#include "smri/cpu.h"
#include "smri/plan.h"

struct smri_network_object {
    PyObject_HEAD
    smri_network *network;
    smri_pool *pool;
    smri_plan *infer; /* cached; NULL until the first forward */
    struct smri_plan_config infer_config;
    unsigned infer_isa;
    struct smri_lock lock;
};

/* The type, for isinstance checks: in the module's state. */
PyObject *smri_network_type(PyObject *module);

/* Lets this thread in, waiting for another one without the GIL; Ctrl-C ends the wait. -1 with an exception set, which it
 * is too when this thread is in already (a signal handler that runs within a step). */
int smri_network_enter(struct smri_network_object *self);
void smri_network_leave(struct smri_network_object *self);

/* What a long call without the GIL asks between two layers: at most every 50 ms it takes the GIL back and lets Python
 * run its signal handlers. Begin drops the GIL, end takes it. */
struct smri_interrupt {
    PyThreadState *state;
    struct timespec last;
};
struct smri_poll smri_interrupt_begin(struct smri_interrupt *interrupt);
void smri_interrupt_end(struct smri_interrupt *interrupt);

/* "O&" converters: a size (0 or more), an enum smri_precision from its name. */
int smri_convert_size(PyObject *object, void *out);
int smri_convert_precision(PyObject *object, void *out);

/* Argument parsing knows no keyword that is both keyword-only and required: TypeError unless all of `names` are there. */
int smri_require_keywords(PyObject *keywords, const char *const *names);

/* A new array with one row of the table in PyTorch's layout, from `arena` (buffers: the network's own). */
PyObject *smri_param_array(const smri_network *network, size_t row, const float *arena);

/* Where the table has this name, or SIZE_MAX; a row's shape as a tuple. */
size_t smri_param_number(const smri_network *network, const char *name);
PyObject *smri_param_shape(const struct smri_parameter *row);

/* Methods and properties of the type that network_weights.c has: table, n_parameters, state(), tensor(), load(). */
PyObject *smri_network_get_table(PyObject *object, void *ignored);
PyObject *smri_network_get_size(PyObject *object, void *ignored);
PyObject *smri_network_get_state(PyObject *object, PyObject *ignored);
PyObject *smri_network_get_tensor(PyObject *object, PyObject *name);
PyObject *smri_network_load(PyObject *object, PyObject *arguments, PyObject *keywords);

/* images as a checked float32 array (n, H, W, C) that fits the network; a new reference. */
PyArrayObject *smri_images_array(PyObject *object, const smri_network *network, const char *what);

/* A list of (op, layer, seconds, flops), for times of a plan. */
PyObject *smri_times_list(const struct smri_op_time *times, size_t count);

#endif
