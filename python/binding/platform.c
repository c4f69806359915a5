/* Area platform: what the machine and the build offer, the instruction set in use, and the shared thread pools. */
#include "binding.h"

#include <stdlib.h>
#include <string.h>

#include "smri/build.h"
#include "smri/cpu.h"
#include "smri/digest.h"
#include "smri/peak.h"
#include "smri/rng.h"
#include "state.h"

/* Numbers of threads whose pools are kept. A pool of the ninth is made in place of the one that was not used for longest: its
 * threads sleep, but each has a stack and a place in the system's tables. */
#define MOST_POOLS 8

/* Takes the pool with this many threads out of the list; NULL when there is none. */
static struct smri_shared_pool *unlink_pool(struct smri_state *state, size_t n_threads) {
    struct smri_shared_pool **at = &state->pools;
    while (*at != NULL && (*at)->n_threads != n_threads) at = &(*at)->next;
    struct smri_shared_pool *found = *at;
    if (found != NULL) *at = found->next;
    return found;
}

static void drop_oldest_pools(struct smri_state *state) {
    size_t kept = 0;
    for (struct smri_shared_pool **at = &state->pools; *at != NULL;) {
        struct smri_shared_pool *shared = *at;
        if (++kept <= MOST_POOLS || shared->users > 0) {
            at = &shared->next;
            continue;
        }
        *at = shared->next;
        smri_pool_destroy(shared->pool);
        smri_lock_destroy(&shared->lock);
        PyMem_Free(shared);
    }
}

static struct smri_shared_pool *new_pool(PyObject *module, size_t n_threads) {
    struct smri_shared_pool *shared = PyMem_Calloc(1, sizeof *shared);
    if (shared == NULL) return (struct smri_shared_pool *)PyErr_NoMemory();
    const smri_status status = smri_pool_create(&shared->pool, n_threads);
    if (status != SMRI_OK) {
        PyMem_Free(shared);
        return (struct smri_shared_pool *)smri_raise(module, status);
    }
    shared->n_threads = n_threads;
    smri_lock_init(&shared->lock);
    return shared;
}

smri_pool *smri_pool_borrow(PyObject *module, size_t n_threads, struct smri_shared_pool **lease) {
    struct smri_state *state = smri_state_of(module);
    if (n_threads == 0) n_threads = smri_cpu_count();
    struct smri_shared_pool *shared = unlink_pool(state, n_threads);
    if (shared == NULL && (shared = new_pool(module, n_threads)) == NULL) return NULL;
    shared->next = state->pools;
    state->pools = shared;
    shared->users++;
    drop_oldest_pools(state);
    if (smri_lock_enter(&shared->lock, "thread pool") < 0) {
        shared->users--;
        return NULL;
    }
    *lease = shared;
    return shared->pool;
}

void smri_pool_return(struct smri_shared_pool *lease) {
    lease->users--;
    smri_lock_leave(&lease->lock);
}

static PyObject *cpu_info(PyObject *module, PyObject *ignored) {
    (void)module, (void)ignored;
    return Py_BuildValue("{s:s,s:s,s:s,s:n,s:s,s:s,s:s}", "cpu", smri_cpu_name(), "isa_supported",
                         smri_isa_name(smri_isa_supported()), "isa", smri_isa_name(smri_isa_selected()), "threads",
                         (Py_ssize_t)smri_cpu_count(), "blas", smri_blas_name(), "png", smri_png_name(), "jpeg",
                         smri_jpeg_name());
}

static PyObject *measured_peak(PyObject *module, PyObject *arguments, PyObject *keywords) {
    static char *names[] = {"precision", "n_threads", "seconds", "mean", NULL};
    const char *name = "fp32";
    Py_ssize_t n_threads = 0;
    double seconds = 0.2;
    int mean = 0;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "|snd$p:measured_peak", names, &name, &n_threads, &seconds, &mean))
        return NULL;
    enum smri_precision precision;
    if (smri_parse_precision(name, &precision) < 0) return NULL;
    if (n_threads < 0 || !(seconds > 0.0 && seconds <= 60.0)) {
        PyErr_SetString(PyExc_ValueError, "measured_peak: expected n_threads of 0 or more and seconds in (0, 60]");
        return NULL;
    }
    struct smri_shared_pool *lease;
    smri_pool *pool = smri_pool_borrow(module, (size_t)n_threads, &lease);
    if (pool == NULL) return NULL;
    struct smri_rates flops;
    Py_BEGIN_ALLOW_THREADS;
    flops = smri_peak_flops(precision, seconds, pool);
    Py_END_ALLOW_THREADS;
    smri_pool_return(lease);
    return PyFloat_FromDouble(mean ? flops.mean : flops.best);
}

static PyObject *xxh64(PyObject *module, PyObject *arguments) {
    (void)module;
    Py_buffer data;
    if (!PyArg_ParseTuple(arguments, "y*", &data)) return NULL;
    uint64_t digest;
    Py_BEGIN_ALLOW_THREADS;
    digest = smri_xxh64(data.buf, (size_t)data.len, 0);
    Py_END_ALLOW_THREADS;
    PyBuffer_Release(&data);
    return PyLong_FromUnsignedLongLong(digest);
}

static PyMethodDef functions[] = {
    {"cpu_info", cpu_info, METH_NOARGS, "cpu_info() -> dict: cpu, isa_supported, isa, threads, blas, png, jpeg."},
    {"measured_peak", (PyCFunction)(void (*)(void))measured_peak, METH_VARARGS | METH_KEYWORDS,
     "measured_peak(precision='fp32', n_threads=0, seconds=0.2, *, mean=False) -> float: flop/s of products on registers, all "
     "threads: the best of short jobs, or their mean."},
    {"xxh64", xxh64, METH_VARARGS, "xxh64(data) -> int: a digest of 64 bits, for damage."},
    {NULL, NULL, 0, NULL},
};

/* SMRI_PIN_THREADS=0 leaves the placing of threads to the system. */
static int apply_pinning(void) {
    const char *pins = getenv("SMRI_PIN_THREADS");
    if (pins == NULL || pins[0] == '\0') return 0;
    if (strcmp(pins, "0") == 0 || strcmp(pins, "1") == 0) {
        smri_pool_set_pinning(pins[0] == '1');
        return 0;
    }
    PyErr_Format(PyExc_ImportError, "environment variable SMRI_PIN_THREADS: expected 0 or 1, got '%s'", pins);
    return -1;
}

/* SMRI_ISA caps the instruction set for the whole process. The core reads no environment, so the binding does. */
static int apply_isa(void) {
    const char *name = getenv("SMRI_ISA");
    if (name == NULL || name[0] == '\0') return 0;
    unsigned isa;
    smri_status status = smri_isa_parse(&isa, name);
    if (status == SMRI_OK) status = smri_isa_select(isa);
    if (status == SMRI_OK) return 0;
    PyErr_Format(PyExc_ImportError, "environment variable SMRI_ISA: %s", smri_message());
    return -1;
}

int smri_bind_platform(PyObject *module) {
    if (apply_isa() < 0 || apply_pinning() < 0) return -1;
    return PyModule_AddFunctions(module, functions);
}
