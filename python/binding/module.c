/* The extension module: multi-phase initialisation, and nothing but the list of areas. */
#define SMRI_BINDING_MODULE
#include "binding.h"

#include "state.h"
#include "testing/testing.h"

static int execute(PyObject *module) {
    if (PyArray_ImportNumPyAPI() < 0) return -1;
    (void)smri_message(); /* this thread's message: memory for it is taken now, not when memory is what failed */
    static int (*const areas[])(PyObject *) = {
        smri_bind_errors,
        smri_bind_platform,
        smri_bind_precision,
        smri_bind_layers_conv,
        smri_bind_cam,
        smri_bind_schedule,
        smri_bind_io,
        smri_bind_registration,
        smri_bind_spectra,
        smri_bind_augmentation,
        smri_bind_network,
        smri_bind_trainer,
    };
    for (size_t i = 0; i < sizeof areas / sizeof *areas; i++)
        if (areas[i](module) < 0) return -1;
    return 0;
}

static int traverse(PyObject *module, visitproc visit, void *arg) {
    struct smri_state *state = smri_state_of(module);
    if (state != NULL) {
        Py_VISIT(state->decode_error);
        Py_VISIT(state->network_type);
    }
    return 0;
}

static int clear(PyObject *module) {
    struct smri_state *state = smri_state_of(module);
    if (state != NULL) {
        Py_CLEAR(state->decode_error);
        Py_CLEAR(state->network_type);
    }
    return 0;
}

static void destroy(void *module) {
    struct smri_state *state = smri_state_of(module);
    if (state == NULL) return;
    clear(module);
    while (state->pools != NULL) {
        struct smri_shared_pool *shared = state->pools;
        state->pools = shared->next;
        smri_pool_destroy(shared->pool);
        smri_lock_destroy(&shared->lock);
        PyMem_Free(shared);
    }
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, execute},
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "simclr_mri._core",
    .m_doc = "The C core of simclr_mri. The package's own modules are the documented way in.",
    .m_size = sizeof(struct smri_state),
    .m_slots = slots,
    .m_traverse = traverse,
    .m_clear = clear,
    .m_free = destroy,
};

PyMODINIT_FUNC PyInit__core(void);
PyMODINIT_FUNC PyInit__core(void) { return PyModuleDef_Init(&definition); }

#ifdef SMRI_TESTING
/* A second module, whose init function Python finds in the same file: it shares the core, and DecodeError. */
static int execute_testing(PyObject *module) {
    PyObject *core = PyImport_ImportModule("simclr_mri._core");
    if (core == NULL) return -1;
    struct smri_state *state = smri_state_of(module);
    state->decode_error = PyObject_GetAttrString(core, "DecodeError");
    Py_DECREF(core);
    if (state->decode_error == NULL) return -1;
    static int (*const areas[])(PyObject *) = {
        smri_bind_testing_platform,   smri_bind_testing_conv, smri_bind_testing_norm,         smri_bind_testing_losses,
        smri_bind_testing_optimizers, smri_bind_testing_io,   smri_bind_testing_augmentation,
    };
    for (size_t i = 0; i < sizeof areas / sizeof *areas; i++)
        if (areas[i](module) < 0) return -1;
    return 0;
}

static PyModuleDef_Slot testing_slots[] = {
    {Py_mod_exec, execute_testing},
    {0, NULL},
};

static struct PyModuleDef testing_definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_testing",
    .m_doc = "What only the tests of simclr_mri call.",
    .m_size = sizeof(struct smri_state),
    .m_slots = testing_slots,
    .m_traverse = traverse,
    .m_clear = clear,
    .m_free = destroy,
};

PyMODINIT_FUNC PyInit__testing(void);
PyMODINIT_FUNC PyInit__testing(void) { return PyModuleDef_Init(&testing_definition); }
#endif
