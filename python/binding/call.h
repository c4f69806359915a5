/* One call from Python into a layer: the arrays it holds, the pool and the workspace it borrows, and the first error. After
 * an error every further step does nothing, so that a function reads straight down:
 *
 *     struct smri_call call = {.module = module};
 *     const float *x = smri_call_in(&call, x_object, "x", 2, shape);
 *     float *y = smri_call_out(&call, out_object, "out", 2, shape);
 *     if (smri_call_begin(&call, n_threads, workspace_bytes)) ...the GIL is released here...;
 *     return smri_call_end(&call); */
#ifndef SMRI_BINDING_CALL_H
#define SMRI_BINDING_CALL_H

#include "binding.h"

#include <stdbool.h>

struct smri_call {
    PyObject *module;
    PyArrayObject *held[20], *results[6];
    bool writes[20];         /* whether held[i] is the caller's and is written to */
    const void *in_place[2]; /* inputs whose memory an output may be, whole; NULL: none */
    size_t n_held, n_results;
    bool failed;
    smri_pool *pool;
    struct smri_shared_pool *lease;
    void *workspace;
    PyThreadState *thread;
};

/* The data of a float32 argument; NULL after an error, and for None or an absent argument, which is no error here. In
 * `shape`, -1 matches any size and is replaced by the one found; ndim -1: any shape, `shape` unused. */
const float *smri_call_in(struct smri_call *call, PyObject *object, const char *what, int ndim, npy_intp *shape);

/* The caller's memory for a call to work in, of at least `bytes`; NULL for None, when the call takes its own. */
void *smri_call_workspace(struct smri_call *call, PyObject *object, size_t bytes);

/* The same for an argument that must be there, and for one that the call overwrites. */
const float *smri_call_need(struct smri_call *call, PyObject *object, const char *what, int ndim, npy_intp *shape);
float *smri_call_inout(struct smri_call *call, PyObject *object, const char *what, int ndim, npy_intp *shape);

/* An argument of another dtype; required. Whole numbers are copied: they are classes and places, which are checked before the
 * GIL is dropped and must not change afterwards. */
const void *smri_call_typed(struct smri_call *call, PyObject *object, const char *what, int type, int ndim, npy_intp *shape);

/* Activations, float32, or uint16 for bfloat16: `*precision` becomes the array's. */
const void *smri_call_activations(struct smri_call *call, PyObject *object, const char *what, int ndim, npy_intp *shape,
                                  enum smri_precision *precision);

/* Activations that the call changes and does not return; NULL for None, as in smri_call_in. */
void *smri_call_inout_activations(struct smri_call *call, PyObject *object, const char *what, int ndim, npy_intp *shape,
                                  enum smri_precision precision);

/* A result: activations of a known precision, into the array given as `object`, or a new one when that is None or absent. */
void *smri_call_out_activations(struct smri_call *call, PyObject *object, const char *what, int ndim, const npy_intp *shape,
                                enum smri_precision precision);

/* The same in float32. Results come back in this order. */
float *smri_call_out(struct smri_call *call, PyObject *object, const char *what, int ndim, const npy_intp *shape);
void *smri_call_new(struct smri_call *call, int type, int ndim, const npy_intp *shape);

/* ValueError with this text, unless `condition`. */
void smri_call_check(struct smri_call *call, bool condition, const char *format, ...);

/* Borrows the pool and the workspace and releases the GIL; false after an error, such as an array to write to that shares
 * memory with another one. */
bool smri_call_begin(struct smri_call *call, Py_ssize_t n_threads, size_t workspace_bytes);

/* Takes the GIL and returns what was borrowed; a status other than SMRI_OK becomes the error. Idempotent. */
void smri_call_finish(struct smri_call *call, smri_status status);

/* Finishes, and drops every reference: None, the one result, or a tuple of them; NULL after an error. */
PyObject *smri_call_end(struct smri_call *call);

/* The same, with `scalars` (stolen; a tuple) before the results in one tuple. */
PyObject *smri_call_end_with(struct smri_call *call, PyObject *scalars);

#endif
