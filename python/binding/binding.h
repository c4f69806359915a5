/* What every file of the binding shares. The binding owns no numerics: it checks arguments, releases the GIL and calls the
 * core. One file per area; each adds its functions and types in its smri_bind_<area>(module). */
#ifndef SMRI_BINDING_H
#define SMRI_BINDING_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#define PY_ARRAY_UNIQUE_SYMBOL smri_array_api
#ifndef SMRI_BINDING_MODULE
#define NO_IMPORT_ARRAY
#endif
#include <numpy/arrayobject.h>
#include <stdbool.h>

#include "smri/pool.h"
#include "smri/precision.h"
#include "smri/status.h"

/* Raises the exception that belongs to `status` with smri_message() as its text, and returns NULL. An exception that is
 * already set (KeyboardInterrupt from a poll) is kept. The table is in errors.c. */
PyObject *smri_raise(PyObject *module, smri_status status);

/* A new reference to `object` as a C-contiguous, aligned array of exactly this type and `ndim` dimensions (-1: any), or
 * NULL with TypeError or ValueError that names `what`. float32 is never made silently from another type: a copy of a
 * training batch would cost time that nobody sees. */
PyArrayObject *smri_array(PyObject *object, int type, int ndim, const char *what);

/* The same, always a copy: for numbers that are checked here and used without the GIL, while another thread may write to the
 * caller's array. */
PyArrayObject *smri_array_copy(PyObject *object, int type, int ndim, const char *what);

/* A new array, zeroed or not. NULL with an exception set on failure. */
PyArrayObject *smri_new_array(int type, int ndim, const npy_intp *shape);

/* Whether two C-contiguous arrays share memory. */
bool smri_arrays_overlap(PyArrayObject *a, PyArrayObject *b);

static inline float *smri_floats(PyArrayObject *array) { return (float *)PyArray_DATA(array); }

/* ValueError "what: expected shape (a, b), got (c, d)" unless the array has that shape; -1 matches anything. 0 or -1. */
int smri_expect_shape(PyArrayObject *array, const char *what, int ndim, const npy_intp *shape);

/* The pool with that many threads (0: all processors), owned by the module and made at first use; NULL with an exception.
 * A pool serves one caller at a time: use it between smri_pool_borrow and smri_pool_return, which hold its lock; the
 * lock is taken without the GIL. */
struct smri_shared_pool;
smri_pool *smri_pool_borrow(PyObject *module, size_t n_threads, struct smri_shared_pool **lease);
void smri_pool_return(struct smri_shared_pool *lease);

/* ValueError unless n_threads >= 0. 0 or -1. */
static inline int smri_check_threads(Py_ssize_t n_threads) {
    if (n_threads >= 0) return 0;
    PyErr_Format(PyExc_ValueError, "n_threads: expected >= 0 (0: all processors), got %zd", n_threads);
    return -1;
}

/* "O&" converters: an unsigned number of 64 or 32 bits; OverflowError or ValueError for what does not fit, never a wrap. */
int smri_convert_u64(PyObject *object, void *out);
int smri_convert_u32(PyObject *object, void *out);

/* The precision called "fp32" or "bf16"; 0, or -1 with ValueError. And the type of its arrays: NPY_FLOAT32, or NPY_UINT16
 * for bfloat16, which NumPy has no type for. */
int smri_parse_precision(const char *name, enum smri_precision *precision);
int smri_precision_type(enum smri_precision precision);

/* Areas. Each returns 0, or -1 with an exception set. */
int smri_bind_errors(PyObject *module);
int smri_bind_platform(PyObject *module);
int smri_bind_precision(PyObject *module);
int smri_bind_io(PyObject *module);
int smri_bind_augmentation(PyObject *module);
int smri_bind_registration(PyObject *module);
int smri_bind_spectra(PyObject *module);
int smri_bind_layers_conv(PyObject *module);
int smri_bind_cam(PyObject *module);
int smri_bind_schedule(PyObject *module);
int smri_bind_network(PyObject *module);
int smri_bind_trainer(PyObject *module); /* after the network's */

#endif
