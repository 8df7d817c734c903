// Columns: the features of an impression as the consumer extracts them and the trainer reads them, as flat
// bytes that can lie in a log, a minibatch or a file.
//
// A layout says how many categorical and numeric columns there are. The bytes, all 8-byte aligned:
//   uint16 count[categorical], padded with zeros to 8 bytes    how many keys each categorical column has
//   double numeric[numeric]                                    NaN: null or absent
//   uint64 key[sum of counts]                                  column after column, values in record order
// Host byte order: logs are read by the machine that wrote them.
#ifndef BASE_COLUMNS_H
#define BASE_COLUMNS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

enum {
    BASE_CATEGORICAL_MAX = 256,  // categorical columns of a model
    BASE_NUMERIC_MAX = 256,      // numeric columns of a model
    BASE_COLUMN_KEYS_MAX = 1024, // keys of one categorical column of one impression; more are cut, counted
};

struct base_columns_layout {
    uint32_t categorical;
    uint32_t numeric;
};

// Borrowed views into the bytes.
struct base_columns {
    const uint16_t *count; // [categorical]
    const double *numeric; // [numeric]
    const uint64_t *keys;  // [total]
    uint32_t total;
};

// Bytes before the keys.
size_t base_columns_header_size(struct base_columns_layout layout);

// Views `bytes` (8-byte aligned) as columns. False, `columns` untouched, if the size does not fit the counts
// or a count is above BASE_COLUMN_KEYS_MAX.
bool base_columns_view(struct base_span bytes, struct base_columns_layout layout,
                       struct base_columns *columns);

#endif
