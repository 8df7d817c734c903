// Columns: bounds-checked views of an impression's features. See columns.h.
#include "base/columns.h"

#include <assert.h>

size_t base_columns_header_size(struct base_columns_layout layout)
{
    size_t counts = (layout.categorical * sizeof(uint16_t) + 7) / 8 * 8;
    return counts + layout.numeric * sizeof(double);
}

bool base_columns_view(struct base_span bytes, struct base_columns_layout layout,
                       struct base_columns *columns)
{
    assert((uintptr_t)bytes.data % 8 == 0);
    size_t header = base_columns_header_size(layout);
    if (bytes.size < header) {
        return false;
    }
    const uint16_t *count = (const void *)bytes.data;
    uint32_t total = 0;
    for (uint32_t i = 0; i < layout.categorical; i++) {
        if (count[i] > BASE_COLUMN_KEYS_MAX) {
            return false;
        }
        total += count[i];
    }
    if (bytes.size != header + total * sizeof(uint64_t)) {
        return false;
    }
    columns->count = count;
    columns->numeric = (const void *)(bytes.data + header - layout.numeric * sizeof(double));
    columns->keys = (const void *)(bytes.data + header);
    columns->total = total;
    return true;
}
