// Sample files, read back with Avro C.
#include <avro.h>
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "consumer/samplefile.h"

static struct base_error error;
static char path[64];

static void path_make(void)
{
    snprintf(path, sizeof path, "/tmp/freshet_samples_XXXXXX");
    int file = mkstemp(path);
    cr_assert(file >= 0);
    close(file);
    unlink(path);
}

static void path_drop(void)
{
    unlink(path);
}

TestSuite(consumer_samplefile, .init = path_make, .fini = path_drop);

static avro_value_t get(avro_value_t *record, const char *name)
{
    avro_value_t field;
    cr_assert_eq(avro_value_get_by_name(record, name, &field, NULL), 0, "%s", name);
    return field;
}

static avro_value_t branch_of(avro_value_t value)
{
    avro_value_t branch = {0};
    cr_assert_eq(avro_value_get_current_branch(&value, &branch), 0);
    return branch;
}

static int64_t long_of(avro_value_t *record, const char *name)
{
    avro_value_t field = get(record, name);
    int64_t value = 0;
    int32_t narrow = 0;
    if (avro_value_get_type(&field) == AVRO_INT32) {
        avro_value_get_int(&field, &narrow);
        return narrow;
    }
    cr_assert_eq(avro_value_get_long(&field, &value), 0);
    return value;
}

static const char *const tasks[] = {"click", "purchase"};
static const char *const categorical[] = {"brand", "user", "empty"};
static const char *const numeric[] = {"price", "age"};

static void check_tasks(avro_value_t *record, const struct base_sample *sample)
{
    avro_value_t array = get(record, "tasks"), task, field;
    size_t size = 0;
    avro_value_get_size(&array, &size);
    cr_assert_eq(size, 2);
    for (size_t i = 0; i < 2; i++) {
        const char *name = NULL;
        int mask = 0;
        float weight = 0;
        avro_value_get_by_index(&array, i, &task, NULL);
        field = get(&task, "name");
        avro_value_get_string(&field, &name, &size);
        cr_assert_str_eq(name, tasks[i]);
        cr_assert_eq(long_of(&task, "label"), sample->label[i]);
        field = get(&task, "mask");
        avro_value_get_boolean(&field, &mask);
        cr_assert_eq(mask, sample->mask >> i & 1);
        field = get(&task, "weight");
        avro_value_get_float(&field, &weight);
        cr_assert_eq(weight, sample->weight[i]);
        field = get(&task, "value");
        int branch = -1;
        avro_value_get_discriminant(&field, &branch);
        cr_assert_eq(branch, sample->label[i] && !isnan(sample->value[i]), "task %zu", i);
        if (branch == 1) {
            float value = 0;
            field = branch_of(field);
            avro_value_get_float(&field, &value);
            cr_assert_eq(value, sample->value[i]);
        }
    }
}

static void check_features(avro_value_t *record)
{
    avro_value_t features = branch_of(get(record, "features")), map, list, item;
    size_t size = 0;
    int64_t key = 0;
    double price = 0;
    map = get(&features, "categorical");
    avro_value_get_size(&map, &size);
    cr_assert_eq(size, 3);
    list = get(&map, "brand");
    avro_value_get_size(&list, &size);
    cr_assert_eq(size, 2);
    avro_value_get_by_index(&list, 1, &item, NULL);
    avro_value_get_long(&item, &key);
    cr_assert_eq((uint64_t)key, UINT64_C(0xfedcba9876543210));
    list = get(&map, "empty");
    avro_value_get_size(&list, &size);
    cr_assert_eq(size, 0);
    map = get(&features, "numeric");
    avro_value_get_size(&map, &size);
    cr_assert_eq(size, 1, "NaN is absent");
    item = get(&map, "price");
    avro_value_get_double(&item, &price);
    cr_assert_eq(price, 2.5);
}

// Writes and reads back `count` samples.
static void round_trip(const char *codec, bool features, int count)
{
    uint16_t counts[4] = {2, 1, 0, 0};
    double numbers[2] = {2.5, NAN};
    uint64_t keys[3] = {1, UINT64_C(0xfedcba9876543210), 3};
    union {
        uint64_t align;
        uint8_t bytes[48];
    } columns;
    memcpy(columns.bytes, counts, 8);
    memcpy(columns.bytes + 8, numbers, 16);
    memcpy(columns.bytes + 24, keys, 24);
    struct consumer_samplefile_config config = {.path = path,
                                                .codec = codec,
                                                .tasks = 2,
                                                .task_names = tasks,
                                                .features = features,
                                                .layout = {.categorical = 3, .numeric = 2},
                                                .categorical = categorical,
                                                .numeric = numeric};
    struct base_sample sample = {.due_time = -5,
                                 .event_time = 1700000000000,
                                 .lane = 4000,
                                 .kind = BASE_D2,
                                 .mask = 2,
                                 .label = {0, 1},
                                 .weight = {0, 0.25f},
                                 .value = {7, count % 2 ? NAN : 12.5f}, // without a label it is no value
                                 .impression_id = base_span_string("h\xc3\xa9"),
                                 .columns = base_span_make(columns.bytes, 48)};
    struct consumer_samplefile *samplefile = consumer_samplefile_create(&config, &error);
    cr_assert(samplefile, "%s", error.text);
    for (int i = 0; i < count; i++) {
        sample.sequence = (uint64_t)i;
        cr_assert_eq(consumer_samplefile_add(samplefile, &sample, i - 10, &error), 0, "%s", error.text);
    }
    cr_assert_eq(consumer_samplefile_close(samplefile, &error), 0, "%s", error.text);

    avro_file_reader_t reader;
    avro_value_t record;
    cr_assert_eq(avro_file_reader(path, &reader), 0, "%s", avro_strerror());
    avro_schema_t schema = avro_file_reader_get_writer_schema(reader);
    avro_value_iface_t *class = avro_generic_class_from_schema(schema);
    avro_generic_value_new(class, &record);
    int number = 0;
    for (; avro_file_reader_read_value(reader, &record) == 0; number++) {
        const char *text = NULL;
        size_t size = 0;
        int symbol = 0;
        avro_value_t field = branch_of(get(&record, "impression_id"));
        cr_assert_eq(avro_value_get_string(&field, &text, &size), 0);
        cr_assert_str_eq(text, "h\xc3\xa9");
        cr_assert_eq(long_of(&record, "lane"), 4000);
        cr_assert_eq(long_of(&record, "sequence"), number);
        cr_assert_eq(long_of(&record, "tick"), number - 10);
        cr_assert_eq(long_of(&record, "due_time"), -5);
        cr_assert_eq(long_of(&record, "event_time"), 1700000000000);
        field = get(&record, "kind");
        avro_value_get_enum(&field, &symbol);
        cr_assert_str_eq(avro_schema_enum_get(avro_value_get_schema(&field), symbol),
                         base_kind_name(BASE_D2));
        check_tasks(&record, &sample);
        if (features) {
            check_features(&record);
        } else {
            field = branch_of(get(&record, "features"));
            cr_assert_eq(avro_value_get_type(&field), AVRO_NULL);
        }
    }
    cr_assert_eq(number, count);
    avro_value_decref(&record);
    avro_value_iface_decref(class);
    avro_schema_decref(schema);
    avro_file_reader_close(reader);
}

Test(consumer_samplefile, comes_back)
{
    round_trip("null", false, 3);
}

Test(consumer_samplefile, comes_back_with_features_over_many_blocks)
{
    round_trip("null", true, 3000);
}

Test(consumer_samplefile, comes_back_deflated)
{
    round_trip("deflate", true, 3000);
}

Test(consumer_samplefile, comes_back_empty)
{
    round_trip("deflate", false, 0);
}

Test(consumer_samplefile, an_id_that_is_no_text_is_bytes)
{
    const struct {
        const char *id;
        bool text;
    } cases[] = {
        {"", true},
        {"plain", true},
        {"\xe2\x82\xac\xf0\x9f\x98\x80\xf4\x8f\xbf\xbf\xed\x9f\xbf", true},
        {"\xff", false},
        {"a\x80", false},
        {"\xc3", false},
        {"\xc0\x80", false},         // a long form
        {"\xe0\x9f\x80", false},     // a long form
        {"\xed\xa0\x80", false},     // a surrogate
        {"\xf4\x90\x80\x80", false}, // above U+10FFFF
        {"\xf0\x8f\xbf\xbf", false}, // a long form
        {"\xe2\x82", false},
    };
    size_t count = sizeof cases / sizeof *cases;
    struct consumer_samplefile_config config = {
        .path = path, .codec = "null", .tasks = 2, .task_names = tasks};
    struct consumer_samplefile *samplefile = consumer_samplefile_create(&config, &error);
    for (size_t i = 0; i < count; i++) {
        struct base_sample sample = {.impression_id = base_span_string(cases[i].id)};
        cr_assert_eq(consumer_samplefile_add(samplefile, &sample, 0, &error), 0);
    }
    cr_assert_eq(consumer_samplefile_close(samplefile, &error), 0);
    avro_file_reader_t reader;
    avro_value_t record;
    cr_assert_eq(avro_file_reader(path, &reader), 0);
    avro_schema_t schema = avro_file_reader_get_writer_schema(reader);
    avro_value_iface_t *class = avro_generic_class_from_schema(schema);
    avro_generic_value_new(class, &record);
    for (size_t i = 0; i < count; i++) {
        cr_assert_eq(avro_file_reader_read_value(reader, &record), 0);
        avro_value_t field = branch_of(get(&record, "impression_id"));
        cr_assert_eq(avro_value_get_type(&field) == AVRO_STRING, cases[i].text, "%zu", i);
    }
    avro_value_decref(&record);
    avro_value_iface_decref(class);
    avro_schema_decref(schema);
    avro_file_reader_close(reader);
}

Test(consumer_samplefile, what_is_refused)
{
    struct consumer_samplefile_config config = {.path = path,
                                                .codec = "nonsense",
                                                .tasks = 2,
                                                .task_names = tasks,
                                                .features = true,
                                                .layout = {.categorical = 3, .numeric = 2},
                                                .categorical = categorical,
                                                .numeric = numeric};
    cr_assert_null(consumer_samplefile_create(&config, &error));
    cr_assert_eq(error.code, BASE_EINVAL, "%s", error.text);
    cr_assert_eq(access(path, F_OK), -1, "nothing is left");
    config.codec = "null";
    config.tasks = BASE_TASKS_MAX + 1;
    cr_assert_null(consumer_samplefile_create(&config, &error));
    config.tasks = 2;
    struct consumer_samplefile *samplefile = consumer_samplefile_create(&config, &error);
    cr_assert(samplefile);
    cr_assert_null(consumer_samplefile_create(&config, &error));
    cr_assert_eq(error.code, BASE_ECONFLICT);
    struct base_sample sample = {.impression_id = base_span_string("x")};
    cr_assert_eq(consumer_samplefile_add(samplefile, &sample, 0, &error), -1);
    cr_assert_eq(error.code, BASE_EFORMAT);
    cr_assert_eq(consumer_samplefile_close(samplefile, &error), 0);
    config.path = "/proc/no/such";
    cr_assert_null(consumer_samplefile_create(&config, &error));
    cr_assert_eq(error.code, BASE_EIO);
    cr_assert_eq(consumer_samplefile_close(NULL, &error), 0);
}
