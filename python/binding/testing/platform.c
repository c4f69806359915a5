/* Tests' area platform: instruction sets, cgroups and random streams. */
#include "../binding.h"

#include "smri/cpu.h"
#include "smri/rng.h"
#include "testing.h"

static PyObject *cgroup_cpus(PyObject *module, PyObject *arguments) {
    (void)module;
    const char *membership, *mount;
    if (!PyArg_ParseTuple(arguments, "ss", &membership, &mount)) return NULL;
    const size_t count = smri_cgroup_cpus(membership, mount);
    return count == SIZE_MAX ? Py_NewRef(Py_None) : PyLong_FromSize_t(count);
}

static PyObject *set_isa(PyObject *module, PyObject *argument) {
    const char *name = PyUnicode_AsUTF8AndSize(argument, NULL);
    if (name == NULL) return NULL;
    unsigned isa;
    smri_status status = smri_isa_parse(&isa, name);
    if (status == SMRI_OK) status = smri_isa_select(isa);
    if (status != SMRI_OK) return smri_raise(module, status);
    Py_RETURN_NONE;
}

static PyObject *random_words(PyObject *module, PyObject *arguments, PyObject *keywords) {
    (void)module;
    static char *names[] = {"n", "seed", "epoch", "sample", "view", "purpose", NULL};
    Py_ssize_t n;
    uint64_t seed, sample = 0;
    uint32_t epoch = 0, view = 0, purpose = SMRI_FOR_AUGMENT;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "nO&|O&O&O&O&", names, &n, smri_convert_u64, &seed, smri_convert_u32,
                                     &epoch, smri_convert_u64, &sample, smri_convert_u32, &view, smri_convert_u32, &purpose))
        return NULL;
    if (n < 0 || view > 255 || purpose > 255 || sample >> 48 != 0) {
        PyErr_SetString(PyExc_ValueError, "random_words: expected n >= 0, view and purpose below 256, sample below 2**48");
        return NULL;
    }
    const npy_intp shape = n;
    PyArrayObject *words = smri_new_array(NPY_UINT32, 1, &shape);
    if (words == NULL) return NULL;
    struct smri_rng rng;
    smri_rng_init(&rng, seed, epoch, sample, view, (enum smri_purpose)purpose);
    uint32_t *out = PyArray_DATA(words);
    for (npy_intp i = 0; i < n; i++) out[i] = smri_rng_u32(&rng);
    return (PyObject *)words;
}

static PyObject *random_normals(PyObject *module, PyObject *arguments) {
    (void)module;
    PyObject *array;
    uint64_t seed;
    unsigned skipped;
    if (!PyArg_ParseTuple(arguments, "O!O&I", &PyArray_Type, &array, smri_convert_u64, &seed, &skipped)) return NULL;
    PyArrayObject *out = (PyArrayObject *)array;
    if (PyArray_TYPE(out) != NPY_FLOAT32 || !PyArray_ISCARRAY(out)) {
        PyErr_SetString(PyExc_TypeError, "random_normals: expected a writable, contiguous array of float32");
        return NULL;
    }
    struct smri_rng rng;
    smri_rng_init(&rng, seed, 0, 0, 0, SMRI_FOR_INIT);
    while (skipped-- > 0) smri_rng_u32(&rng);
    smri_rng_normals(PyArray_DATA(out), (size_t)PyArray_SIZE(out), &rng);
    return PyLong_FromUnsignedLong(smri_rng_u32(&rng));
}

static PyMethodDef functions[] = {
    {"cgroup_cpus", cgroup_cpus, METH_VARARGS,
     "cgroup_cpus(membership, mount) -> int or None: the least CPU quota of the cgroups in such files."},
    {"set_isa", set_isa, METH_O, "set_isa(name): cap the kernels at ref, avx2, avx512, avx512bf16 or amx."},
    {"random_words", (PyCFunction)(void (*)(void))random_words, METH_VARARGS | METH_KEYWORDS,
     "random_words(n, seed, epoch=0, sample=0, view=0, purpose=2) -> uint32 array: the first n words of a stream."},
    {"random_normals", random_normals, METH_VARARGS,
     "random_normals(out, seed, skipped) -> int: fills out after so many words of a stream; the word that comes next."},
    {NULL, NULL, 0, NULL},
};

int smri_bind_testing_platform(PyObject *module) { return PyModule_AddFunctions(module, functions); }
