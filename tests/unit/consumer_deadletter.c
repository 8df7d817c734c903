// Dead letters, read back with Avro C.
#include <avro.h>
#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/bytes.h"
#include "consumer/deadletter.h"

static struct base_error error;
static char directory[64];

static void directory_make(void)
{
    snprintf(directory, sizeof directory, "/tmp/freshet_deadletter_XXXXXX");
    cr_assert(mkdtemp(directory));
}

static void directory_drop(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", directory);
    cr_assert_eq(system(command), 0);
}

TestSuite(consumer_deadletter, .init = directory_make, .fini = directory_drop);

// The files in order of their names.
static int files(struct dirent ***entries)
{
    int count = scandir(directory, entries, NULL, alphasort);
    int kept = 0;
    for (int i = 0; i < count; i++) {
        if ((*entries)[i]->d_name[0] == '.') {
            free((*entries)[i]);
        } else {
            (*entries)[kept++] = (*entries)[i];
        }
    }
    return kept;
}

static void files_free(struct dirent **entries, int count)
{
    for (int i = 0; i < count; i++) {
        free(entries[i]);
    }
    free(entries);
}

static int64_t long_of(avro_value_t *record, const char *name)
{
    avro_value_t field, branch = {0};
    int64_t value = INT64_MIN;
    int32_t narrow = 0;
    cr_assert_eq(avro_value_get_by_name(record, name, &field, NULL), 0);
    if (avro_value_get_type(&field) == AVRO_INT32) {
        avro_value_get_int(&field, &narrow);
        return narrow;
    }
    if (avro_value_get_type(&field) == AVRO_UNION) {
        avro_value_get_current_branch(&field, &branch);
        field = branch;
    }
    if (avro_value_get_type(&field) != AVRO_NULL) {
        avro_value_get_long(&field, &value);
    }
    return value;
}

static struct base_span bytes_of(avro_value_t *record, const char *name)
{
    avro_value_t field, branch = {0};
    const void *data = NULL;
    const char *text;
    size_t size = 0;
    cr_assert_eq(avro_value_get_by_name(record, name, &field, NULL), 0);
    if (avro_value_get_type(&field) == AVRO_STRING) {
        avro_value_get_string(&field, &text, &size);
        return base_span_make(text, size - 1);
    }
    avro_value_get_current_branch(&field, &branch);
    if (avro_value_get_type(&branch) == AVRO_BYTES) {
        avro_value_get_bytes(&branch, &data, &size);
    }
    return base_span_make(data, size);
}

// Calls `look` with every letter of a file; their number.
static int read_file(const char *name, void (*look)(avro_value_t *record, int number))
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    avro_file_reader_t reader;
    cr_assert_eq(avro_file_reader(path, &reader), 0, "%s", avro_strerror());
    avro_schema_t schema = avro_file_reader_get_writer_schema(reader);
    avro_value_iface_t *class = avro_generic_class_from_schema(schema);
    avro_value_t record;
    avro_generic_value_new(class, &record);
    int count = 0;
    while (avro_file_reader_read_value(reader, &record) == 0) {
        if (look) {
            look(&record, count);
        }
        count++;
    }
    avro_value_decref(&record);
    avro_value_iface_decref(class);
    avro_schema_decref(schema);
    avro_file_reader_close(reader);
    return count;
}

static void look_two(avro_value_t *record, int number)
{
    cr_assert(base_span_equal(bytes_of(record, "topic"), base_span_string("clicks")));
    cr_assert_eq(long_of(record, "partition"), 5);
    cr_assert_eq(long_of(record, "offset"), INT64_C(1) << 40);
    cr_assert_eq(long_of(record, "wall_time"), 1700000000000 + number);
    cr_assert(
        base_span_equal(bytes_of(record, "reason"), base_span_string(number ? "tombstone" : "garbage")));
    if (number == 0) {
        cr_assert_eq(long_of(record, "timestamp"), 99);
        cr_assert(base_span_equal(bytes_of(record, "key"), base_span_make("k\0y", 3)));
        cr_assert(base_span_equal(bytes_of(record, "value"), base_span_make("", 0)));
    } else {
        cr_assert_eq(long_of(record, "timestamp"), INT64_MIN);
        cr_assert_null(bytes_of(record, "key").data);
        cr_assert_null(bytes_of(record, "value").data);
    }
}

Test(consumer_deadletter, letters_as_they_came)
{
    char inner[128];
    struct dirent **entries;
    snprintf(inner, sizeof inner, "%s/new", directory);
    struct consumer_deadletter *deadletter = consumer_deadletter_new(inner, 1 << 20, &error);
    cr_assert(deadletter, "%s", error.text);
    snprintf(directory, sizeof directory, "%.63s", inner);
    int count = files(&entries);
    cr_assert_eq(count, 0, "no letter, no file");
    files_free(entries, count);
    cr_assert_eq(consumer_deadletter_sync(deadletter, &error), 0);
    struct consumer_message message = {.rank = 1,
                                       .lane = 5,
                                       .offset = INT64_C(1) << 40,
                                       .timestamp = 99,
                                       .key = base_span_make("k\0y", 3),
                                       .value = base_span_make("", 0)};
    cr_assert_eq(consumer_deadletter_add(deadletter, "clicks", &message, "garbage", 1700000000000, &error),
                 0);
    message.timestamp = -1;
    message.key = message.value = (struct base_span){0};
    cr_assert_eq(consumer_deadletter_add(deadletter, "clicks", &message, "tombstone", 1700000000001, &error),
                 0);
    cr_assert_eq(consumer_deadletter_sync(deadletter, &error), 0, "%s", error.text);
    cr_assert_eq(consumer_deadletter_count(deadletter), 2);
    count = files(&entries);
    cr_assert_eq(count, 1);
    // What was synced is there before the file is closed.
    cr_assert_eq(read_file(entries[0]->d_name, look_two), 2);
    files_free(entries, count);
    consumer_deadletter_free(deadletter);
    *strrchr(directory, '/') = '\0';
}

Test(consumer_deadletter, a_new_file_at_each_open_and_each_bound)
{
    char value[1000] = {1};
    struct consumer_message message = {.value = base_span_make(value, sizeof value)};
    int letters = 0;
    for (int open = 0; open < 3; open++) {
        struct consumer_deadletter *deadletter = consumer_deadletter_new(directory, 2500, &error);
        for (int i = 0; i < 5; i++) {
            cr_assert_eq(consumer_deadletter_add(deadletter, "t", &message, "r", 7, &error), 0, "%s",
                         error.text);
        }
        consumer_deadletter_free(deadletter);
    }
    struct dirent **entries;
    int count = files(&entries);
    cr_assert_eq(count, 9, "2 + 2 + 1 letters, three times: %d", count);
    for (int i = 0; i < count; i++) {
        letters += read_file(entries[i]->d_name, NULL);
    }
    cr_assert_eq(letters, 15);
    cr_assert_str_eq(entries[0]->d_name, "0000000000007-00000.avro");
    files_free(entries, count);
}

Test(consumer_deadletter, a_letter_larger_than_a_block)
{
    size_t size = 9 << 20;
    char *value = base_alloc_zeroed(size, 1);
    struct consumer_message large = {.value = base_span_make(value, size)};
    struct consumer_message small = {.value = base_span_make(value, 10)};
    struct consumer_deadletter *deadletter = consumer_deadletter_new(directory, 1 << 20, &error);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(consumer_deadletter_add(deadletter, "t", &small, "r", 1, &error), 0);
        cr_assert_eq(consumer_deadletter_add(deadletter, "t", &large, "r", 1, &error), 0, "%s", error.text);
    }
    consumer_deadletter_free(deadletter);
    struct dirent **entries;
    int letters = 0, count = files(&entries);
    for (int i = 0; i < count; i++) {
        letters += read_file(entries[i]->d_name, NULL);
    }
    cr_assert_eq(letters, 4);
    files_free(entries, count);
    free(value);
}

Test(consumer_deadletter, a_disk_that_fails_is_told)
{
    struct consumer_message message = {.value = base_span_make("x", 1)};
    cr_assert_null(consumer_deadletter_new("/proc/no/such", 1, &error));
    cr_assert_eq(error.code, BASE_EIO);
    cr_assert_null(consumer_deadletter_new(directory, 0, &error));
    cr_assert_eq(error.code, BASE_EINVAL);
    struct consumer_deadletter *deadletter = consumer_deadletter_new(directory, 100, &error);
    cr_assert_eq(rmdir(directory), 0);
    cr_assert_eq(consumer_deadletter_add(deadletter, "t", &message, "r", 1, &error), -1);
    cr_assert_eq(error.code, BASE_EIO, "%s", error.text);
    cr_assert_eq(consumer_deadletter_count(deadletter), 0);
    consumer_deadletter_free(deadletter);
    consumer_deadletter_free(NULL);
}
