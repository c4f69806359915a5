/* A convolution's sizes, as Python gives them. */
#ifndef SMRI_BINDING_CONV2D_SHAPE_H
#define SMRI_BINDING_CONV2D_SHAPE_H

#include "binding.h"

#include "smri/conv2d.h"

/* The tuple (N, H, W, C, K, R, S, stride, pad) and the precision's name; 0, or -1 with an exception set. */
int smri_parse_conv2d(PyObject *module, PyObject *tuple, const char *precision_name, struct smri_conv2d *shape);

#endif
