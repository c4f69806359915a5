/* Areas of the module `_testing`, which builds for development have in the extension's file: what tests alone call. */
#ifndef SMRI_BINDING_TESTING_H
#define SMRI_BINDING_TESTING_H

#include "../binding.h"

int smri_bind_testing_platform(PyObject *module);
int smri_bind_testing_conv(PyObject *module);
int smri_bind_testing_norm(PyObject *module);
int smri_bind_testing_losses(PyObject *module);
int smri_bind_testing_optimizers(PyObject *module);
int smri_bind_testing_io(PyObject *module);
int smri_bind_testing_augmentation(PyObject *module);

#endif
