// The error object: filling, prefixing, cutting.
#include "base/error.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

Test(error, set_fills_everything)
{
    struct base_error error;
    memset(&error, 0xff, sizeof error);
    cr_assert_eq(base_error_set(&error, BASE_EINVAL, "slot %s: %d", "user", 7), -1);
    cr_assert_eq(error.code, BASE_EINVAL);
    cr_assert_not(error.retriable);
    cr_assert_not(error.fatal);
    cr_assert_str_eq(error.text, "slot user: 7");
}

Test(error, network_alone_is_retriable)
{
    struct base_error error;
    for (int code = BASE_OK; code <= BASE_ESTOPPED; code++) {
        base_error_set(&error, (enum base_error_code)code, "x");
        cr_assert_eq(error.retriable, code == BASE_ENETWORK);
    }
}

Test(error, long_text_is_cut)
{
    struct base_error error;
    char text[2 * BASE_ERROR_TEXT_MAX];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    base_error_set(&error, BASE_EIO, "%s", text);
    cr_assert_eq(strlen(error.text), BASE_ERROR_TEXT_MAX - 1);
    cr_assert_eq(base_error_set_errno(&error, BASE_EIO, ENOSPC, "%s", text), -1);
    cr_assert_eq(strlen(error.text), BASE_ERROR_TEXT_MAX - 1);
}

Test(error, errno_is_named)
{
    struct base_error error;
    cr_assert_eq(base_error_set_errno(&error, BASE_EIO, ENOENT, "open %s", "/x"), -1);
    cr_assert_eq(error.code, BASE_EIO);
    cr_assert_str_eq(error.text, "open /x: No such file or directory");
}

Test(error, prefix_keeps_code_and_marks)
{
    struct base_error error;
    base_error_set(&error, BASE_ENETWORK, "refused");
    error.fatal = true;
    cr_assert_eq(base_error_prefix(&error, "registry %d", 3), -1);
    cr_assert_str_eq(error.text, "registry 3: refused");
    cr_assert_eq(error.code, BASE_ENETWORK);
    cr_assert(error.retriable);
    cr_assert(error.fatal);
}

Test(error, prefix_cuts_the_old_text)
{
    struct base_error error;
    char text[BASE_ERROR_TEXT_MAX];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    base_error_set(&error, BASE_EIO, "%s", text);
    base_error_prefix(&error, "ab");
    cr_assert_eq(strlen(error.text), BASE_ERROR_TEXT_MAX - 1);
    cr_assert_eq(strncmp(error.text, "ab: xxx", 7), 0);
    base_error_prefix(&error, "%s", text); // a prefix that fills everything
    cr_assert_eq(strlen(error.text), BASE_ERROR_TEXT_MAX - 1);
}

Test(error, codes_have_names)
{
    cr_assert_str_eq(base_error_code_name(BASE_OK), "ok");
    cr_assert_str_eq(base_error_code_name(BASE_ENETWORK), "network");
    cr_assert_str_eq(base_error_code_name(BASE_ESTOPPED), "stopped");
    for (int code = BASE_OK; code <= BASE_ESTOPPED; code++) {
        cr_assert_str_neq(base_error_code_name((enum base_error_code)code), "unknown");
        for (int other = BASE_OK; other < code; other++) {
            cr_assert_str_neq(base_error_code_name((enum base_error_code)code),
                              base_error_code_name((enum base_error_code)other));
        }
    }
    cr_assert_str_eq(base_error_code_name((enum base_error_code)99), "unknown");
}
