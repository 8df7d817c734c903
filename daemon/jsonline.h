// An impression as a line of JSON, turned into columns (base/columns.h) as the decoder does it for Avro: for
// `freshet score`, and for what a person types.
//
// A path ("user_id", "categorical.brand") walks through objects. Categorical: a string (its bytes), an
// integer or a boolean (eight bytes), or an array of these; null or absent: no key. Numeric: a number or a
// boolean; else NaN.
#ifndef DAEMON_JSONLINE_H
#define DAEMON_JSONLINE_H

#include "base/columns.h"
#include "base/error.h"
#include "trainer/descriptor.h"

// Appends the columns of one line to `columns` (cleared first). BASE_EFORMAT: not JSON, not an object, a
// value of a type that its column cannot take (the text names the path).
int daemon_jsonline_columns(const char *line, size_t size, const struct trainer_descriptor *descriptor,
                            struct base_buffer *columns, struct base_error *error);

// Puts the string at `path` of a line into `text` (cleared first); false: there is none.
bool daemon_jsonline_string(const char *line, size_t size, const char *path, struct base_buffer *text);

#endif
