// A section: one framed, checksummed piece of saved state, in a buffer that may hold many.
//
//   8 bytes   magic      what it is ("FRSHLANE")
//   uint32    version    of its format
//   uint64    size       of the payload
//   bytes     payload
//   uint64    checksum   XXH3 of all of the above
//
// Little-endian. Every piece of a cut is one, so that a flipped bit or a piece in the wrong place is an error
// that names it.
#ifndef BASE_SECTION_H
#define BASE_SECTION_H

#include "base/bytes.h"
#include "base/error.h"

// Begins a section; what is appended until base_section_end is its payload. Returns a mark for the end.
// Sections may be nested. `magic` has 8 characters.
size_t base_section_begin(struct base_buffer *buffer, const char *magic, uint32_t version);
void base_section_end(struct base_buffer *buffer, size_t mark);

// Takes a section off `from` and makes `payload` a reader of it. `what` names the thing in errors. Errors,
// with `from` and `payload` untouched: BASE_EFORMAT (cut short, another magic, a version above `version`, a
// checksum that does not fit).
int base_section_open(struct base_reader *from, const char *magic, uint32_t version,
                      struct base_reader *payload, const char *what, struct base_error *error);
// The payload was read to its end and not beyond. Errors: BASE_EFORMAT.
int base_section_close(const struct base_reader *payload, const char *what, struct base_error *error);

// A span with its size before it (uint64; null: all bits set), and back: borrowed, null for null and, with
// reader->failed set, beyond the end.
void base_section_put_span(struct base_buffer *buffer, struct base_span span);
struct base_span base_section_get_span(struct base_reader *reader);

#endif
