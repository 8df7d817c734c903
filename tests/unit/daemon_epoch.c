// EPOCH: comes back, is absent at first, and damage is seen.
#include "daemon/epoch.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support_directory.h"

Test(epoch, comes_back)
{
    char directory[SUPPORT_DIRECTORY_MAX], longest[5000];
    struct base_error error;
    uint64_t epoch = 7;
    support_directory_make(directory);
    cr_assert_eq(daemon_epoch_read(directory, &epoch, &error), 0);
    cr_assert_eq(epoch, 0);
    for (uint64_t written = 1; written < UINT64_C(1) << 50; written *= 3) {
        cr_assert_eq(daemon_epoch_write(NULL, directory, written, &error), 0, "%s", error.text);
        cr_assert_eq(daemon_epoch_read(directory, &epoch, &error), 0, "%s", error.text);
        cr_assert_eq(epoch, written);
    }
    support_directory_remove(directory);
    cr_assert_eq(daemon_epoch_write(NULL, directory, 1, &error), -1, "the directory is gone");
    cr_assert_eq(error.code, BASE_EIO);
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    cr_assert_eq(daemon_epoch_write(NULL, longest, 1, &error), -1);
    cr_assert_eq(error.code, BASE_ELIMIT);
    cr_assert_eq(daemon_epoch_read(longest, &epoch, &error), -1);
    cr_assert_eq(error.code, BASE_ELIMIT);
}

// Any flipped bit, and any other length.
Test(epoch, damage_is_seen)
{
    char directory[SUPPORT_DIRECTORY_MAX], path[SUPPORT_DIRECTORY_MAX + 16];
    uint8_t bytes[5000] = {0};
    struct base_error error;
    uint64_t epoch = 7;
    support_directory_make(directory);
    snprintf(path, sizeof path, "%s/EPOCH", directory);
    cr_assert_eq(daemon_epoch_write(NULL, directory, 12345, &error), 0, "%s", error.text);
    FILE *file = fopen(path, "r");
    size_t size = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    cr_assert(size > 8 && size < 100);
    for (size_t i = 0; i <= size; i++) {
        bytes[i] ^= i < size ? 4 : 0;
        file = fopen(path, "w");
        fwrite(bytes, 1, i < size ? size : size - 1, file);
        fclose(file);
        bytes[i] ^= i < size ? 4 : 0;
        cr_assert_eq(daemon_epoch_read(directory, &epoch, &error), -1, "byte %zu", i);
        cr_assert_eq(error.code, BASE_EFORMAT);
        cr_assert_not_null(strstr(error.text, "EPOCH"));
    }
    file = fopen(path, "w");
    fwrite(bytes, 1, sizeof bytes, file);
    fclose(file);
    cr_assert_eq(daemon_epoch_read(directory, &epoch, &error), -1);
    cr_assert_eq(error.code, BASE_EFORMAT, "%s", error.text);
    unlink(path);
    mkdir(path, 0700);
    cr_assert_eq(daemon_epoch_read(directory, &epoch, &error), -1);
    cr_assert_eq(error.code, BASE_EIO);
    cr_assert_eq(epoch, 7, "untouched on failure");
    support_directory_remove(directory);
}
