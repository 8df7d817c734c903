// Hashes against known values of XXH3, and the canonical bytes of a slot's key.
#include "base/hash.h"

#include <criterion/criterion.h>

Test(hash, known_values)
{
    // If these change, so does every key of every published model.
    cr_assert_eq(base_hash_bytes(base_span_string(""), 0), 0x2d06800538d394c2u);
    cr_assert_eq(base_hash_bytes(base_span_string("a"), 0), 0xe6c632b61e964e1fu);
    cr_assert_eq(base_hash_bytes(base_span_string("abc"), 0), 0x78af5f94892f3950u);
}

// XXH3 has a branch for each of these ranges. The values are those of Python's xxhash.
Test(hash, known_values_of_every_range_of_lengths)
{
    static const struct {
        size_t size;
        uint64_t plain, seeded; // 42
    } known[] = {
        {3, 0x15f7093b173d005c, 0x0322c472f9dd3c8a},    {8, 0xdec6a9a43575982e, 0xb18293e9a9982b58},
        {16, 0x7e484c18d74895d0, 0x0126fe5707ca8f2b},   {100, 0x8c97158042fbf926, 0x4ca5c3a331119e67},
        {240, 0xccc7375172c41f03, 0x4b05be6354f2e1c7},  {241, 0x0b3b630948ce4a00, 0x015f3bb61c188b1a},
        {1024, 0x23bc880ebf0d29c6, 0x7123704382c38bc0}, {2000, 0x19eb4cda7a0f1a0d, 0x384fe6154d85eec9},
    };
    uint8_t bytes[2000];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)(i * 31 + 7);
    }
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        struct base_span span = base_span_make(bytes, known[i].size);
        cr_assert_eq(base_hash_bytes(span, 0), known[i].plain, "of %zu bytes", known[i].size);
        cr_assert_eq(base_hash_bytes(span, 42), known[i].seeded, "of %zu bytes, seeded", known[i].size);
    }
}

Test(hash, slot_keys_are_salted_bytes)
{
    uint64_t salt = base_hash_slot_salt("brand");
    cr_assert_eq(salt, base_hash_bytes(base_span_string("brand"), 0));
    cr_assert_eq(base_hash_slot_bytes(salt, base_span_string("acme")),
                 base_hash_bytes(base_span_string("acme"), salt));
    cr_assert_neq(base_hash_slot_bytes(salt, base_span_string("acme")),
                  base_hash_slot_bytes(base_hash_slot_salt("shop"), base_span_string("acme")));
}

Test(hash, integers_are_eight_bytes_little_endian)
{
    uint64_t salt = base_hash_slot_salt("age");
    cr_assert_eq(base_hash_slot_integer(salt, 258),
                 base_hash_bytes(base_span_make("\2\1\0\0\0\0\0\0", 8), salt));
    cr_assert_eq(base_hash_slot_integer(salt, -2),
                 base_hash_bytes(base_span_make("\xfe\xff\xff\xff\xff\xff\xff\xff", 8), salt));
    cr_assert_neq(base_hash_slot_integer(salt, 0), base_hash_slot_integer(salt, 1));
}

Test(hash, running_hash_is_that_of_the_concatenation)
{
    uint8_t bytes[1000];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)(i * 7);
    }
    for (size_t piece = 1; piece < 400; piece += 37) {
        struct base_hasher *hasher = base_hasher_new();
        cr_assert_not_null(hasher);
        for (size_t at = 0; at < sizeof bytes; at += piece) {
            size_t size = sizeof bytes - at < piece ? sizeof bytes - at : piece;
            base_hasher_update(hasher, bytes + at, size);
        }
        cr_assert_eq(base_hasher_digest(hasher), base_hash_bytes(base_span_make(bytes, sizeof bytes), 0));
        base_hasher_update(hasher, "more", 4);
        cr_assert_neq(base_hasher_digest(hasher), base_hash_bytes(base_span_make(bytes, sizeof bytes), 0));
        base_hasher_free(hasher);
    }
    base_hasher_free(NULL);
}

// The values are those of Python's xxhash over the packed keys.
Test(hash, keys_of_combinations)
{
    uint64_t salt = base_hash_slot_salt("user x item");
    cr_assert_eq(salt, 0x3805731d68299a9bu);
    cr_assert_eq(base_hash_slot_keys(salt, (uint64_t[]){1, 0xfedcba9876543210u}, 2), 0x372f7e70ba2d1c4bu);
    cr_assert_eq(base_hash_slot_keys(salt, (uint64_t[]){1, 2, 3, 4}, 4), 0x45b250d34545e28fu);
    cr_assert_neq(base_hash_slot_keys(salt, (uint64_t[]){1, 2}, 2),
                  base_hash_slot_keys(salt, (uint64_t[]){2, 1}, 2));
}
