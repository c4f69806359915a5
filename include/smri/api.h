/* What every public header begins and ends with: C linkage for C++, and visibility in a shared library. */
#ifndef SMRI_API_H
#define SMRI_API_H

#ifdef __cplusplus
#define SMRI_EXTERN_C_BEGIN extern "C" {
#define SMRI_EXTERN_C_END }
#else
#define SMRI_EXTERN_C_BEGIN
#define SMRI_EXTERN_C_END
#endif

/* Defined while libsmri.so is built; everything else in it is hidden. The Python extension hides these, too. */
#if defined(SMRI_BUILD_SHARED)
#define SMRI_API_BEGIN SMRI_EXTERN_C_BEGIN _Pragma("GCC visibility push(default)")
#define SMRI_API_END _Pragma("GCC visibility pop") SMRI_EXTERN_C_END
#else
#define SMRI_API_BEGIN SMRI_EXTERN_C_BEGIN
#define SMRI_API_END SMRI_EXTERN_C_END
#endif

#endif
