/* The version of the library. */
#ifndef SMRI_VERSION_H
#define SMRI_VERSION_H

#include "smri/api.h"

#define SMRI_VERSION_MAJOR 0
#define SMRI_VERSION_MINOR 1
#define SMRI_VERSION_PATCH 0

SMRI_API_BEGIN

/* The version of the library that is running, "0.1.0"; the macros are of the headers that a program was compiled with. */
const char *smri_version(void);

SMRI_API_END

#endif
