// Leaks are looked for in the processes that run a test, not in the one that starts them: there Criterion
// loses 48 bytes of its own now and then (libcriterion.so.3.0, its runner). A test's process is boxfort's.
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SUPPORT_LSAN
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define SUPPORT_LSAN
#endif

#ifdef SUPPORT_LSAN
#include <errno.h>
#include <string.h>

int __lsan_is_turned_off(void); // sanitizer/lsan_interface.h

int __lsan_is_turned_off(void)
{
    return strcmp(program_invocation_short_name, "boxfort-worker") != 0;
}
#else
typedef int support_lsan_unused; // a translation unit may not be empty
#endif
