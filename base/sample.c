// Names of a sample's kinds. See sample.h.
#include "base/sample.h"

#include <assert.h>

const char *base_kind_name(enum base_kind kind)
{
    static const char *const names[BASE_KINDS] = {"N0", "C1", "L", "D2", "F3"};
    assert((unsigned)kind < BASE_KINDS);
    return names[kind];
}
