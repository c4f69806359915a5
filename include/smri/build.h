/* What this build is made of, for reports and bug reports. */
#ifndef SMRI_BUILD_H
#define SMRI_BUILD_H

#include "smri/api.h"

SMRI_API_BEGIN

/* The matrix library: "OpenBLAS 0.3.34 ..." or "plain C". */
const char *smri_blas_name(void);

/* The codecs in use: libpng's version at run time; libjpeg-turbo's (or another libjpeg's) at build time. */
const char *smri_png_name(void);
const char *smri_jpeg_name(void);

SMRI_API_END

#endif
