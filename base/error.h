// The one error object. The caller supplies it; a function that fails fills it, returns -1 and leaves its
// other outputs untouched. Library code neither logs nor exits: the edge (daemon/) prints the text once.
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include <stdbool.h>

enum base_error_code {
    BASE_OK = 0,
    BASE_EINVAL,    // an argument or a setting that cannot be
    BASE_EFORMAT,   // bytes that are not what their format says
    BASE_EIO,       // a file or a device failed
    BASE_ENOMEM,    // memory ran out
    BASE_ELIMIT,    // a named bound was reached
    BASE_ENETWORK,  // a peer could not be reached or did not answer in time
    BASE_EREFUSED,  // a peer answered no
    BASE_ECONFLICT, // somebody else's newer state stands in the way
    BASE_ENOTFOUND, // the named thing does not exist
    BASE_ESTOPPED,  // a stop was asked for meanwhile
};

enum { BASE_ERROR_TEXT_MAX = 512 };

struct base_error {
    enum base_error_code code;
    bool retriable;                 // the same call may succeed later
    bool fatal;                     // the process must not go on
    char text[BASE_ERROR_TEXT_MAX]; // one sentence that names the thing
};

// Fills `error`; retriable follows from the code (BASE_ENETWORK), fatal is false. Always returns -1, so
// that `return base_error_set(...)` reads well. A text too long is cut.
int base_error_set(struct base_error *error, enum base_error_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

// As base_error_set, and appends ": " and the text of the errno value `number`.
int base_error_set_errno(struct base_error *error, enum base_error_code code, int number, const char *format,
                         ...) __attribute__((format(printf, 4, 5)));

// Puts "<prefix>: " before the text that is there; code and marks stay. Returns -1.
int base_error_prefix(struct base_error *error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

// The code's name for logs ("network").
const char *base_error_code_name(enum base_error_code code);

#endif
