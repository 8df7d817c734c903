// Views of columns: every size that does not fit is refused.
#include "base/columns.h"

#include <criterion/criterion.h>

struct example {
    uint16_t count[4]; // 3 categorical columns, padded to 8 bytes
    double numeric[2];
    uint64_t keys[4];
};

static const struct base_columns_layout layout = {.categorical = 3, .numeric = 2};

Test(columns, header_sizes_are_padded)
{
    cr_assert_eq(base_columns_header_size((struct base_columns_layout){0, 0}), 0);
    cr_assert_eq(base_columns_header_size((struct base_columns_layout){1, 0}), 8);
    cr_assert_eq(base_columns_header_size((struct base_columns_layout){4, 1}), 16);
    cr_assert_eq(base_columns_header_size((struct base_columns_layout){5, 1}), 24);
    cr_assert_eq(base_columns_header_size(layout), 24);
    cr_assert_eq(
        base_columns_header_size((struct base_columns_layout){BASE_CATEGORICAL_MAX, BASE_NUMERIC_MAX}),
        2 * 256 + 8 * 256);
}

Test(columns, a_view_finds_everything)
{
    struct example example = {{1, 0, 3, 0}, {0.5, -2}, {11, 21, 22, 23}};
    struct base_columns columns;
    cr_assert(base_columns_view(base_span_make(&example, sizeof example), layout, &columns));
    cr_assert_eq(columns.count, example.count);
    cr_assert_eq(columns.numeric[1], -2);
    cr_assert_eq(columns.total, 4);
    cr_assert_eq(columns.keys[0], 11);
    cr_assert_eq(columns.keys[3], 23);
}

Test(columns, any_other_size_is_refused)
{
    struct example example[2] = {{{1, 0, 3, 0}, {0, 0}, {1, 2, 3, 4}}};
    for (size_t size = 0; size <= sizeof example; size++) {
        struct base_columns columns = {.total = 99};
        bool fits = base_columns_view(base_span_make(example, size), layout, &columns);
        cr_assert_eq(fits, size == sizeof example[0]);
        cr_assert_eq(columns.total, fits ? 4 : 99);
    }
}

Test(columns, too_many_keys_are_refused)
{
    static struct {
        uint16_t count[4];
        double numeric[2];
        uint64_t keys[BASE_COLUMN_KEYS_MAX + 1];
    } large;
    struct base_columns columns;
    large.count[1] = BASE_COLUMN_KEYS_MAX;
    cr_assert(base_columns_view(base_span_make(&large, sizeof large - 8), layout, &columns));
    large.count[1]++;
    cr_assert_not(base_columns_view(base_span_make(&large, sizeof large), layout, &columns));
}

Test(columns, empty_layout)
{
    static const uint64_t nothing;
    struct base_columns columns;
    struct base_columns_layout none = {0, 0};
    cr_assert(base_columns_view(base_span_make(&nothing, 0), none, &columns));
    cr_assert_eq(columns.total, 0);
    cr_assert_not(base_columns_view(base_span_make(&nothing, 8), none, &columns));
}
