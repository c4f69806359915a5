#include "smri/version.h"

#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)

const char *smri_version(void) {
    return TEXT(SMRI_VERSION_MAJOR) "." TEXT(SMRI_VERSION_MINOR) "." TEXT(SMRI_VERSION_PATCH);
}
