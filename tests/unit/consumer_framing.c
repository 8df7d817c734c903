// Framings: each form, each too short, each wrong.
#include <criterion/criterion.h>

#include "consumer/framing.h"

static struct base_error error;

static int parse(enum consumer_framing framing, const void *bytes, size_t size, struct consumer_frame *frame)
{
    return consumer_framing_parse(framing, base_span_make(bytes, size), frame, &error);
}

Test(consumer_framing, confluent)
{
    struct consumer_frame frame;
    const char bytes[] = "\x00\x01\x02\xf3\x04rest";
    cr_assert_eq(parse(CONSUMER_FRAMING_CONFLUENT, bytes, 9, &frame), 0);
    cr_assert_eq(frame.schema, 0x0102f304);
    cr_assert(base_span_equal(frame.body, base_span_string("rest")));
    cr_assert_eq(parse(CONSUMER_FRAMING_CONFLUENT, bytes, 5, &frame), 0);
    cr_assert_eq(frame.body.size, 0);
    for (size_t size = 0; size < 5; size++) {
        cr_assert_eq(parse(CONSUMER_FRAMING_CONFLUENT, bytes, size, &frame), -1);
        cr_assert_eq(error.code, BASE_EFORMAT);
    }
    cr_assert_eq(parse(CONSUMER_FRAMING_CONFLUENT, "\x01\x00\x00\x00\x01", 5, &frame), -1);
}

Test(consumer_framing, single_object)
{
    struct consumer_frame frame;
    const char bytes[] = "\xc3\x01\x01\x02\x03\x04\x05\x06\x07\xf8rest";
    cr_assert_eq(parse(CONSUMER_FRAMING_SINGLE_OBJECT, bytes, 14, &frame), 0);
    cr_assert_eq(frame.schema, UINT64_C(0xf807060504030201));
    cr_assert(base_span_equal(frame.body, base_span_string("rest")));
    for (size_t size = 0; size < 10; size++) {
        cr_assert_eq(parse(CONSUMER_FRAMING_SINGLE_OBJECT, bytes, size, &frame), -1);
    }
    cr_assert_eq(parse(CONSUMER_FRAMING_SINGLE_OBJECT, "\xc3\x02\1\2\3\4\5\6\7\1rest", 14, &frame), -1);
}

Test(consumer_framing, bare)
{
    struct consumer_frame frame;
    cr_assert_eq(parse(CONSUMER_FRAMING_BARE, "\x00\x01", 2, &frame), 0);
    cr_assert_eq(frame.schema, 0);
    cr_assert_eq(frame.body.size, 2);
}
