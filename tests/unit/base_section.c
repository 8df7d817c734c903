// Tests of saved sections: what is read is what was written, and every cut, flip and mix-up is an error that
// names it.
#include "base/section.h"

#include <criterion/criterion.h>

static struct base_error error;

static const char magic[] = "FRSHTEST";

// A section with a number and two spans, then `after` bytes of something else.
static void write_section(struct base_buffer *buffer, size_t after)
{
    size_t mark = base_section_begin(buffer, magic, 3);
    base_buffer_u32(buffer, 17);
    base_section_put_span(buffer, base_span_string("seventeen"));
    base_section_put_span(buffer, (struct base_span){0});
    base_section_end(buffer, mark);
    for (size_t i = 0; i < after; i++) {
        base_buffer_u8(buffer, 9);
    }
}

static void expect_refused(struct base_span bytes, const char *name, uint32_t version, const char *text)
{
    struct base_reader from = {bytes, false};
    struct base_reader payload = {{(const uint8_t *)"untouched", 9}, false};
    error = (struct base_error){0};
    cr_assert_eq(base_section_open(&from, name, version, &payload, "the thing", &error), -1);
    cr_assert_eq(error.code, BASE_EFORMAT);
    cr_assert(strstr(error.text, "the thing") && strstr(error.text, text), "%s", error.text);
    cr_assert(from.rest.data == bytes.data && from.rest.size == bytes.size && !from.failed);
    cr_assert_eq(payload.rest.size, 9, "outputs are untouched");
}

Test(section, what_is_read_is_what_was_written)
{
    struct base_buffer buffer = {0};
    base_buffer_u8(&buffer, 1);
    write_section(&buffer, 5);
    struct base_reader from = {base_buffer_span(&buffer), false};
    struct base_reader payload;
    cr_assert_eq(base_reader_u8(&from), 1);
    cr_assert_eq(base_section_open(&from, magic, 3, &payload, "it", &error), 0, "%s", error.text);
    cr_assert_eq(from.rest.size, 5);
    cr_assert_eq(base_reader_u32(&payload), 17);
    cr_assert_eq(base_section_close(&payload, "it", &error), -1, "there is more");
    cr_assert(strstr(error.text, "longer"), "%s", error.text);
    cr_assert(base_span_equal(base_section_get_span(&payload), base_span_string("seventeen")));
    struct base_span null = base_section_get_span(&payload);
    cr_assert(!null.data && !payload.failed);
    cr_assert_eq(base_section_close(&payload, "it", &error), 0);
    base_reader_u8(&payload);
    cr_assert_eq(base_section_close(&payload, "it", &error), -1);
    cr_assert(strstr(error.text, "shorter"), "%s", error.text);
    base_buffer_free(&buffer);
}

Test(section, the_empty_span_is_not_null_and_a_size_beyond_the_end_fails)
{
    struct base_buffer buffer = {0};
    base_section_put_span(&buffer, base_span_string(""));
    base_section_put_span(&buffer, base_span_string("abc"));
    struct base_reader reader = {base_buffer_span(&buffer), false};
    struct base_span empty = base_section_get_span(&reader);
    cr_assert(empty.data && empty.size == 0);
    reader.rest.size--;
    struct base_span beyond = base_section_get_span(&reader);
    cr_assert(!beyond.data && reader.failed);
    base_buffer_free(&buffer);
}

Test(section, sections_nest)
{
    struct base_buffer buffer = {0};
    size_t outer = base_section_begin(&buffer, "FRSHOUTR", 1);
    write_section(&buffer, 0);
    write_section(&buffer, 0);
    base_section_end(&buffer, outer);
    struct base_reader from = {base_buffer_span(&buffer), false};
    struct base_reader payload, inner;
    cr_assert_eq(base_section_open(&from, "FRSHOUTR", 1, &payload, "it", &error), 0);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(base_section_open(&payload, magic, 3, &inner, "it", &error), 0);
        cr_assert_eq(base_reader_u32(&inner), 17);
    }
    cr_assert_eq(base_section_close(&payload, "it", &error), 0);
    base_buffer_free(&buffer);
}

Test(section, every_cut_and_every_flipped_bit_is_found)
{
    struct base_buffer buffer = {0};
    write_section(&buffer, 0);
    for (size_t size = 0; size < buffer.size; size++) {
        expect_refused(base_span_make(buffer.data, size), magic, 3, "cut short");
    }
    for (size_t bit = 0; bit < 8 * buffer.size; bit++) {
        buffer.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        expect_refused(base_buffer_span(&buffer), magic, 3, "the thing");
        buffer.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    base_buffer_free(&buffer);
}

Test(section, another_magic_and_a_later_version_are_named)
{
    struct base_buffer buffer = {0};
    write_section(&buffer, 0);
    expect_refused(base_buffer_span(&buffer), "FRSHLANE", 3, "does not begin with FRSHLANE");
    expect_refused(base_buffer_span(&buffer), magic, 2, "version 3");
    struct base_reader from = {base_buffer_span(&buffer), false};
    struct base_reader payload;
    cr_assert_eq(base_section_open(&from, magic, 4, &payload, "it", &error), 0, "an earlier one is read");
    base_buffer_clear(&buffer);
    base_section_end(&buffer, base_section_begin(&buffer, magic, 0));
    expect_refused(base_buffer_span(&buffer), magic, 3, "version 0");
    base_buffer_free(&buffer);
}
