// Lets Criterion run under ThreadSanitizer.
//
// Criterion hands data to its workers in shared memory at a fixed address, of which it draws bits 24 to 45 by
// rand_r, over 0x200000000000. ThreadSanitizer refuses most of the address space; of what Criterion may draw
// it leaves 0x550000000000 to 0x568000000000 to programs. Here rand_r draws from that; nothing else uses it.
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SUPPORT_TSAN
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define SUPPORT_TSAN
#endif

#ifdef SUPPORT_TSAN
#include <stdlib.h>

int rand_r(unsigned *seed)
{
    *seed = *seed * 1664525u + 1013904223u; // Knuth and Lewis
    return (int)(0x350000u + (*seed >> 8) % 0x17000u);
}
#else
typedef int support_tsan_unused; // a translation unit is not empty
#endif
