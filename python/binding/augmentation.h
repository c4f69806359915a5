/* Options of augmentation, as Python gives them. */
#ifndef SMRI_BINDING_AUGMENTATION_H
#define SMRI_BINDING_AUGMENTATION_H

#include "binding.h"

#include "smri/augment.h"

/* Splits the keywords: options go to *options, the rest to a new dictionary, which is returned; NULL with an exception set. */
PyObject *smri_split_augment_keywords(struct smri_augment *options, PyObject *keywords);

#endif
