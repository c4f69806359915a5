/* What this build is made of, for reports and bug reports. */
#ifndef SMRI_BUILD_H
#define SMRI_BUILD_H

/* The matrix library: "OpenBLAS 0.3.34 ..." or "plain C". */
const char *smri_blas_name(void);

#endif
