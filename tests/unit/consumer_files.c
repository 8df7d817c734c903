// The file source: container files read back record by record, lanes by name and by key, and what is wrong
// with files told by file and byte.
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "consumer/container.h"
#include "consumer/files.h"
#include "consumer/schema.h"
#include "consumer_ingest_world.h"

enum { PATH_SIZE = 300, BATCH = 1000 };

static struct base_error error;

// The schema of most tests: a key of each kind, and things to walk over.
static const char record_schema[] =
    "{\"type\":\"record\",\"name\":\"R\",\"fields\":["
    "{\"name\":\"number\",\"type\":\"long\"},"
    "{\"name\":\"tags\",\"type\":{\"type\":\"map\",\"values\":[\"null\",\"double\"]}},"
    "{\"name\":\"user\",\"type\":{\"type\":\"record\",\"name\":\"U\",\"fields\":["
    "{\"name\":\"id\",\"type\":[\"null\",\"string\"]},"
    "{\"name\":\"friends\",\"type\":{\"type\":\"array\",\"items\":\"int\"}}]}}]}";

static void put_record(struct base_buffer *buffer, int64_t number, const char *user)
{
    static const uint8_t half[8] = {0, 0, 0, 0, 0, 0, 0xe0, 0x3f};
    base_buffer_clear(buffer);
    consumer_schema_put_long(buffer, number);
    consumer_schema_put_long(buffer, 2);
    for (int i = 0; i < 2; i++) {
        consumer_schema_put_bytes(buffer, base_span_string(i ? "b" : "a"));
        consumer_schema_put_long(buffer, i);
        base_buffer_append(buffer, half, i ? sizeof half : 0);
    }
    consumer_schema_put_long(buffer, 0);
    consumer_schema_put_long(buffer, user != NULL);
    if (user) {
        consumer_schema_put_bytes(buffer, base_span_string(user));
    }
    consumer_schema_put_long(buffer, -3); // a block with its size
    consumer_schema_put_long(buffer, 3);
    base_buffer_append(buffer, "\x02\x04\x06", 3);
    consumer_schema_put_long(buffer, 0);
}

// ---- a directory of files ----

struct place {
    char root[SUPPORT_DIRECTORY_MAX];
    struct consumer_files_config config;
};

static void place_begin(struct place *place)
{
    char path[PATH_SIZE];
    *place = (struct place){.config = {.ranks = 1, .topics = {"t"}, .fetch = 1000}};
    support_directory_make(place->root);
    place->config.path = place->root;
    snprintf(path, sizeof path, "%s/t", place->root);
    cr_assert_eq(mkdir(path, 0755), 0);
}

static void place_end(struct place *place)
{
    world_remove_tree(place->root);
}

static const char *place_path(const struct place *place, const char *name)
{
    static char path[PATH_SIZE];
    snprintf(path, sizeof path, "%s/t/%s", place->root, name);
    return path;
}

// The user of record number i: few, so that lanes get several records of one.
static const char *user_of(int64_t i)
{
    static char user[16];
    snprintf(user, sizeof user, "user%lld", (long long)(i * 7 % 50));
    return i % 11 == 5 ? NULL : user;
}

// Records begin, begin + 1, ... into one file.
static void place_write(const struct place *place, const char *name, const char *codec, int64_t begin,
                        int count)
{
    struct base_buffer record = {0};
    struct consumer_container *container =
        consumer_container_create(place_path(place, name), record_schema, codec, 1 << 16, &error);
    cr_assert(container, "%s", error.text);
    for (int64_t i = begin; i < begin + count; i++) {
        put_record(&record, i, user_of(i));
        cr_assert_eq(consumer_container_append(container, base_buffer_span(&record), &error), 0);
    }
    cr_assert_eq(consumer_container_close(container, &error), 0);
    base_buffer_free(&record);
}

static struct consumer_source *place_open(const struct place *place)
{
    struct consumer_source *source = consumer_files_open(&place->config, &error);
    cr_assert(source, "%s", error.text);
    return source;
}

static int64_t record_number(struct base_span value)
{
    uint64_t bits = 0;
    for (size_t i = 0; i < value.size; i++) {
        bits |= (uint64_t)(value.data[i] & 0x7f) << (7 * i);
        if (!(value.data[i] & 0x80)) {
            break;
        }
    }
    return (int64_t)(bits >> 1) ^ -(int64_t)(bits & 1);
}

// Reads a partition to its end, `max` messages a poll, and checks the records against their own writing.
// Returns their count; numbers into `numbers` if given.
static int drain(struct consumer_source *source, uint32_t lane, int max, int64_t *numbers)
{
    struct consumer_message messages[BATCH];
    struct consumer_position position;
    struct base_buffer record = {0};
    int total = 0;
    for (;;) {
        int count = source->operations->poll(source, 0, lane, 0, messages, max, &error);
        cr_assert(count >= 0, "%s", error.text);
        cr_assert(count <= max);
        source->operations->position(source, 0, lane, &position);
        cr_assert_eq(position.finished, count == 0);
        if (count == 0) {
            break;
        }
        for (int i = 0; i < count; i++) {
            int64_t number = record_number(messages[i].value);
            put_record(&record, number, user_of(number));
            cr_assert(base_span_equal(messages[i].value, base_buffer_span(&record)));
            cr_assert(messages[i].bare);
            cr_assert_eq(messages[i].lane, lane);
            cr_assert_eq(messages[i].timestamp, -1);
            cr_assert_eq(messages[i].offset, position.next - count + i);
            cr_assert(strstr(source->operations->schema(source, messages[i].schema), "\"friends\""));
            if (numbers) {
                numbers[total] = number;
            }
            total++;
        }
    }
    cr_assert_eq(position.end, position.next);
    base_buffer_free(&record);
    return total;
}

// ---- lanes by name ----

Test(consumer_files, by_name)
{
    static int64_t numbers[20000];
    static const char *const codecs[] = {"null", "deflate"};
    for (int c = 0; c < 2; c++) {
        struct place place;
        place_begin(&place);
        place_write(&place, "part-00002.avro", codecs[c], 100, 9000);
        place_write(&place, "0.0002.avro", codecs[c], 50, 3);
        place_write(&place, "0.0001.avro", codecs[c], 10, 40);
        place_write(&place, "0.0003.avro", codecs[c], 0, 0); // no record
        struct consumer_source *source = place_open(&place);
        cr_assert_eq(source->lanes, 3);
        for (int max = 1; max <= BATCH; max += 333) {
            cr_assert_eq(drain(source, 2, max, numbers), max == 1 ? 9000 : 0, "once read it is read");
        }
        for (int i = 0; i < 9000; i++) {
            cr_assert_eq(numbers[i], 100 + i);
        }
        cr_assert_eq(drain(source, 0, 7, numbers), 43);
        cr_assert_eq(numbers[0], 10);
        cr_assert_eq(numbers[40], 50);
        cr_assert_eq(drain(source, 1, 7, numbers), 0, "a lane without a file is empty");
        char *statistics = source->operations->statistics(source);
        cr_assert(strstr(statistics, "\"files\": 4"));
        free(statistics);
        source->operations->wait(source, 1000); // does not wait
        source->operations->close(source);
        place_end(&place);
    }
}

Test(consumer_files, names)
{
    struct place place;
    place_begin(&place);
    place_write(&place, "events.7.avro", "null", 0, 1);     // no digit before the dot: the lane is 7
    place_write(&place, "run-2.000005.avro", "null", 0, 1); // a digit before it: lane 2
    fclose(fopen(place_path(&place, "_SUCCESS"), "w"));
    fclose(fopen(place_path(&place, ".hidden.avro"), "w"));
    struct consumer_source *source = place_open(&place);
    cr_assert_eq(source->lanes, 8);
    cr_assert_eq(drain(source, 7, 10, NULL), 1);
    cr_assert_eq(drain(source, 2, 10, NULL), 1);
    source->operations->close(source);
    static const char *const bad[] = {"events.avro", "4096.avro", "99999999999999999999999.avro"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        place_write(&place, bad[i], "null", 0, 1);
        cr_assert_null(consumer_files_open(&place.config, &error));
        cr_assert_eq(error.code, BASE_EINVAL);
        cr_assert(strstr(error.text, bad[i]), "%s", error.text);
        unlink(place_path(&place, bad[i]));
    }
    place_end(&place);
}

Test(consumer_files, from_an_offset)
{
    static int64_t numbers[20000];
    struct place place;
    place_begin(&place);
    place_write(&place, "0.0.avro", "deflate", 0, 9000);
    place_write(&place, "0.1.avro", "null", 9000, 10);
    place.config.offset_lanes = 1;
    static const int64_t offsets[] = {0, 1, 4000, 8999, 9000, 9001, 9010};
    for (size_t i = 0; i < sizeof offsets / sizeof offsets[0]; i++) {
        place.config.offsets = &offsets[i];
        struct consumer_source *source = place_open(&place);
        int count = drain(source, 0, BATCH, numbers);
        cr_assert_eq(count, 9010 - offsets[i]);
        cr_assert(count == 0 || numbers[0] == offsets[i], "%lld: %lld", (long long)offsets[i],
                  (long long)numbers[0]);
        source->operations->close(source);
    }
    static const int64_t beyond = 9011;
    struct consumer_message message;
    place.config.offsets = &beyond;
    struct consumer_source *source = place_open(&place);
    cr_assert_eq(source->operations->poll(source, 0, 0, 0, &message, 1, &error), -1);
    cr_assert_eq(error.code, BASE_ENOTFOUND);
    source->operations->close(source);
    static const int64_t negative = -1;
    place.config.offsets = &negative;
    cr_assert_null(consumer_files_open(&place.config, &error));
    place.config.offset_lanes = 2;
    cr_assert_null(consumer_files_open(&place.config, &error));
    cr_assert_eq(error.code, BASE_ECONFLICT);
    place_end(&place);
}

// ---- lanes by key ----

static uint32_t lane_of(int64_t number, uint32_t lanes)
{
    const char *user = user_of(number);
    struct base_span bytes = user ? base_span_string(user) : base_span_make(NULL, 0);
    return (uint32_t)(base_hash_bytes(bytes, 0) % lanes);
}

Test(consumer_files, by_key)
{
    static int64_t numbers[20000];
    for (uint32_t lanes = 1; lanes <= 9; lanes += 4) {
        struct place place;
        place_begin(&place);
        place_write(&place, "b.avro", "deflate", 6000, 6000);
        place_write(&place, "a.avro", "null", 0, 6000);
        place.config.lanes = lanes;
        place.config.key = "user.id";
        struct consumer_source *source = place_open(&place);
        cr_assert_eq(source->lanes, lanes);
        int total = 0;
        for (uint32_t lane = lanes; lane-- > 0;) {
            int count = drain(source, lane, 100, numbers);
            int64_t expected = 0;
            for (int i = 0; i < count; i++, expected++) {
                while (lane_of(expected, lanes) != lane) {
                    expected++;
                }
                cr_assert_eq(numbers[i], expected, "in the order of names and places, none left out");
            }
            total += count;
        }
        cr_assert_eq(total, 12000);
        source->operations->close(source);
        place_end(&place);
    }
}

Test(consumer_files, by_key_in_turns_and_from_offsets)
{
    enum { LANES = 5 };
    struct place place;
    static int64_t numbers[20000];
    struct consumer_message messages[64];
    int64_t offsets[LANES];
    place_begin(&place);
    place_write(&place, "a.avro", "deflate", 0, 12000);
    place.config.lanes = LANES;
    place.config.key = "user.id";
    struct consumer_source *source = place_open(&place);
    // Cursors far apart and close together, in a wild order: each lane still reads its own.
    for (int turn = 0; turn < 200; turn++) {
        uint32_t lane = (uint32_t)(turn * 7 % (turn < 100 ? 3 : LANES));
        int count = source->operations->poll(source, 0, lane, 0, messages, 1 + turn % 64, &error);
        cr_assert(count > 0);
        for (int i = 0; i < count; i++) {
            cr_assert_eq(lane_of(record_number(messages[i].value), LANES), lane);
        }
    }
    int rest[LANES];
    int64_t first[LANES];
    for (uint32_t lane = 0; lane < LANES; lane++) {
        struct consumer_position position;
        source->operations->position(source, 0, lane, &position);
        offsets[lane] = position.next;
        rest[lane] = drain(source, lane, 64, numbers);
        first[lane] = numbers[0];
    }
    source->operations->close(source);
    place.config.offsets = offsets;
    place.config.offset_lanes = LANES;
    source = place_open(&place);
    for (uint32_t lane = 0; lane < LANES; lane++) {
        cr_assert_eq(drain(source, lane, 64, numbers), rest[lane]);
        cr_assert_eq(numbers[0], first[lane]);
    }
    source->operations->close(source);
    place_end(&place);
}

Test(consumer_files, keys_that_do_not_serve)
{
    static const char *const keys[] = {"user",   "user.friends", "nobody", "user.nobody",
                                       "tags.a", "number.x",     ""};
    struct place place;
    place_begin(&place);
    place_write(&place, "a.avro", "null", 0, 1);
    place.config.lanes = 2;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        place.config.key = keys[i];
        cr_assert_null(consumer_files_open(&place.config, &error), "%s", keys[i]);
        cr_assert_eq(error.code, BASE_EINVAL);
    }
    place.config.key = "number";
    struct consumer_source *source = place_open(&place);
    static const uint8_t zero[8];
    uint32_t lane = (uint32_t)(base_hash_bytes(base_span_make(zero, 8), 0) % 2);
    cr_assert_eq(drain(source, lane, 10, NULL), 1, "an integer's eight bytes are hashed");
    source->operations->close(source);
    place_end(&place);
}

// ---- what is wrong with files ----

static void file_write(const char *path, const uint8_t *data, size_t size)
{
    FILE *file = fopen(path, "wb");
    cr_assert_eq(fwrite(data, 1, size, file), size);
    fclose(file);
}

static size_t file_read(const char *path, uint8_t *data, size_t size)
{
    FILE *file = fopen(path, "rb");
    size_t got = fread(data, 1, size, file);
    fclose(file);
    return got;
}

// Reads until the end or an error; true: the end.
static bool reads_through(const struct place *place, int *count)
{
    struct consumer_message messages[100];
    struct consumer_source *source = consumer_files_open(&place->config, &error);
    *count = 0;
    if (!source) {
        return false;
    }
    int got;
    while ((got = source->operations->poll(source, 0, 0, 0, messages, 100, &error)) > 0) {
        *count += got;
    }
    if (got < 0) { // and again
        struct base_error again;
        cr_assert_eq(source->operations->poll(source, 0, 0, 0, messages, 100, &again), -1);
        cr_assert_str_eq(error.text, again.text);
    }
    source->operations->close(source);
    return got == 0;
}

Test(consumer_files, cut_short_anywhere)
{
    static uint8_t data[1 << 16];
    static const char *const codecs[] = {"null", "deflate"};
    for (int c = 0; c < 2; c++) {
        struct place place;
        int count;
        place_begin(&place);
        place_write(&place, "0.avro", codecs[c], 0, 20);
        char path[PATH_SIZE];
        snprintf(path, sizeof path, "%s", place_path(&place, "0.avro"));
        size_t size = file_read(path, data, sizeof data);
        cr_assert(reads_through(&place, &count) && count == 20);
        int whole = 0;
        for (size_t cut = 0; cut < size; cut++) {
            file_write(path, data, cut);
            if (reads_through(&place, &count)) {
                whole++; // only the header: no block yet
                cr_assert_eq(count, 0);
            } else {
                cr_assert_eq(error.code, BASE_EFORMAT);
                cr_assert(strstr(error.text, "0.avro"), "%s", error.text);
                cr_assert_not(error.retriable);
            }
        }
        cr_assert_eq(whole, 1);
        place_end(&place);
    }
}

Test(consumer_files, any_byte_changed)
{
    static uint8_t data[1 << 16];
    static const char *const codecs[] = {"null", "deflate"};
    for (int c = 0; c < 2; c++) {
        struct place place;
        int count;
        place_begin(&place);
        place_write(&place, "0.avro", codecs[c], 0, 5);
        char path[PATH_SIZE];
        snprintf(path, sizeof path, "%s", place_path(&place, "0.avro"));
        size_t size = file_read(path, data, sizeof data);
        int found = 0;
        for (size_t at = 0; at < size; at++) {
            static const uint8_t flips[] = {0x01, 0x80, 0xff};
            for (size_t f = 0; f < sizeof flips; f++) {
                data[at] ^= flips[f];
                file_write(path, data, size);
                found += !reads_through(&place, &count); // never a crash; much is found, not all can be
                data[at] ^= flips[f];
            }
        }
        cr_assert(found > 200, "%d", found);
        place_end(&place);
    }
}

// A file of one block, by hand.
static void write_block(const struct place *place, const char *schema, const char *codec, int64_t records,
                        struct base_span block)
{
    struct base_buffer file = {0};
    static const uint8_t sync[16] = {1, 2, 3};
    base_buffer_append(&file, "Obj\1", 4);
    consumer_schema_put_long(&file, codec ? 3 : 2);
    consumer_schema_put_bytes(&file, base_span_string("avro.schema"));
    consumer_schema_put_bytes(&file, base_span_string(schema));
    consumer_schema_put_bytes(&file, base_span_string("other"));
    consumer_schema_put_bytes(&file, base_span_string("thing"));
    if (codec) {
        consumer_schema_put_bytes(&file, base_span_string("avro.codec"));
        consumer_schema_put_bytes(&file, base_span_string(codec));
    }
    consumer_schema_put_long(&file, 0);
    base_buffer_append(&file, sync, sizeof sync);
    consumer_schema_put_long(&file, records);
    consumer_schema_put_bytes(&file, block);
    base_buffer_append(&file, sync, sizeof sync);
    file_write(place_path(place, "0.avro"), file.data, file.size);
    base_buffer_free(&file);
}

Test(consumer_files, blocks_that_lie)
{
    static const char array_of_null[] = "{\"type\":\"array\",\"items\":\"null\"}";
    static const char list[] = "{\"type\":\"record\",\"name\":\"L\",\"fields\":["
                               "{\"name\":\"next\",\"type\":[\"null\",\"L\"]}]}";
    static const char fixed[] = "{\"type\":\"fixed\",\"name\":\"F\",\"size\":3}";
    static uint8_t deep[200];
    memset(deep, 2, sizeof deep);
    deep[sizeof deep - 1] = 0;
    static const struct {
        const char *schema;
        const char *codec;
        int64_t records;
        const char *bytes;
        size_t size;
        const char *says; // NULL: nothing is wrong
    } cases[] = {
        {"\"long\"", NULL, 2, "\x02\x04", 2, NULL},
        {"\"long\"", "null", 0, "", 0, NULL},
        {"\"long\"", NULL, 3, "\x02\x04", 2, "more records than bytes"},
        {"\"long\"", NULL, 1, "\x02\x04", 2, "left over"},
        {"\"long\"", NULL, 1, "\x80\x80", 2, "ends early"},
        {"\"long\"", NULL, 1, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 10, "more than 64 bits"},
        {"\"long\"", NULL, 1, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 10, NULL},
        {"\"long\"", NULL, -1, "\x02", 1, "no valid count"},
        {"\"string\"", NULL, 1, "\x01", 1, "negative length"},
        {"\"string\"", NULL, 1, "\x04y", 2, "ends early"},
        {"[\"null\",\"long\"]", NULL, 1, "\x04", 1, "union branch"},
        {"[\"null\",\"long\"]", NULL, 1, "\x01", 1, "union branch"},
        {array_of_null, NULL, 1, "\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00", 11, NULL},
        {"{\"type\":\"array\",\"items\":\"int\"}", NULL, 1, "\x10\x02\x02\x00", 4, "more items than bytes"},
        {"{\"type\":\"array\",\"items\":\"int\"}", NULL, 1, "\x01\x10\x02\x02\x00", 5, "wrong size"},
        {"{\"type\":\"map\",\"values\":\"null\"}", NULL, 1, "\x10\x02\x02\x00", 4, "more items than bytes"},
        {list, NULL, 1, (const char *)deep, sizeof deep, "too deep"},
        {fixed, NULL, 2, "abcdef", 6, NULL},
        {"\"boolean\"", NULL, 2, "\x00\x01", 2, NULL},
        {"\"float\"", NULL, 1, "abc", 3, "more records than bytes"},
        {"{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"A\"]}", NULL, 1, "\x00", 1, NULL},
        {"\"null\"", NULL, 1, "", 0, "no byte"},
        {"\"long\"", "deflate", 1, "\x02", 1, "does not decompress"},
        // As some writers leave it: three bytes of a checksum behind the stream.
        {"\"long\"", "deflate", 2, "\x63\x62\x01\x00\x00\x0a\x00", 7, NULL},
        {"\"long\"", "snappy", 1, "\x02", 1, "neither null nor deflate"},
        {"\"long", NULL, 1, "\x02", 1, "0.avro"},
        {"\"no such type\"", NULL, 1, "\x02", 1, "0.avro"},
    };
    struct place place;
    place_begin(&place);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int count;
        write_block(&place, cases[i].schema, cases[i].codec, cases[i].records,
                    base_span_make(cases[i].bytes, cases[i].size));
        bool fine = reads_through(&place, &count);
        cr_assert_eq(fine, cases[i].says == NULL, "case %zu: %s", i, error.text);
        if (fine) {
            cr_assert_eq(count, cases[i].records, "case %zu", i);
        } else {
            cr_assert(strstr(error.text, cases[i].says), "case %zu: %s", i, error.text);
            cr_assert(strstr(error.text, "0.avro"), "case %zu: %s", i, error.text);
        }
    }
    place_end(&place);
}

struct bits {
    struct base_buffer *buffer;
    unsigned held, count;
};

// A Huffman code: its most significant bit first.
static void put_code(struct bits *bits, unsigned code, unsigned size)
{
    while (size-- > 0) {
        bits->held |= ((code >> size) & 1) << bits->count++;
        if (bits->count == 8) {
            base_buffer_u8(bits->buffer, (uint8_t)bits->held);
            bits->held = bits->count = 0;
        }
    }
}

// 1.8 MB that stand for 284 MB of zeros: more than a block may have.
Test(consumer_files, a_block_that_explodes)
{
    struct place place;
    int count;
    place_begin(&place);
    struct base_buffer stream = {0};
    struct bits bits = {&stream, 3, 3}; // the last block, with fixed codes
    put_code(&bits, 0x30, 8);           // a literal 0
    for (int i = 0; i < 1100000; i++) {
        put_code(&bits, 0xc5, 8); // length 258
        put_code(&bits, 0, 5);    // distance 1
    }
    write_block(&place, "\"long\"", "deflate", 1, base_buffer_span(&stream));
    cr_assert_not(reads_through(&place, &count));
    cr_assert(strstr(error.text, "too large"), "%s", error.text);
    base_buffer_free(&stream);
    place_end(&place);
}

Test(consumer_files, places_that_are_not_there)
{
    struct place place;
    place_begin(&place);
    cr_assert_null(consumer_files_open(&place.config, &error));
    cr_assert_eq(error.code, BASE_ENOTFOUND, "no file");
    place.config.topics[0] = "u";
    cr_assert_null(consumer_files_open(&place.config, &error));
    cr_assert_eq(error.code, BASE_ENOTFOUND, "no directory");
    cr_assert(strstr(error.text, "/u"));
    place.config.topics[0] = "t";
    mkdir(place_path(&place, "0.avro"), 0755);
    cr_assert_null(consumer_files_open(&place.config, &error));
    cr_assert(strstr(error.text, "0.avro"));
    static const struct consumer_files_config bad[] = {
        {.ranks = 0, .fetch = 1},
        {.ranks = CONSUMER_TOPICS_MAX + 1, .fetch = 1},
        {.ranks = 1, .fetch = 0},
        {.ranks = 1, .fetch = 65537},
        {.ranks = 1, .fetch = 1, .lanes = CONSUMER_LANES_MAX + 1, .key = "k"},
        {.ranks = 1, .fetch = 1, .lanes = 2},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cr_assert_null(consumer_files_open(&bad[i], &error));
        cr_assert_eq(error.code, BASE_EINVAL, "case %zu", i);
    }
    place_end(&place);
}

// ---- the same content through files ----

// Writes a world's records as files by name, `files` a partition.
static void world_write(struct world *world, const char *root, uint32_t files, const char *codec)
{
    char path[PATH_SIZE];
    for (uint32_t rank = 0; rank < WORLD_RANKS; rank++) {
        snprintf(path, sizeof path, "%s/%s", root, world->config.topics[rank]);
        cr_assert_eq(mkdir(path, 0755), 0);
        for (uint32_t lane = 0; lane < world->source.lanes; lane++) {
            const struct world_partition *partition = &world->partitions[rank][lane];
            for (uint32_t f = 0; f < files; f++) {
                snprintf(path, sizeof path, "%s/%s/%u.%04u.avro", root, world->config.topics[rank], lane, f);
                struct consumer_container *container = consumer_container_create(
                    path, rank ? world_action_schema : world_impression_schema, codec, 1 << 16, &error);
                cr_assert(container, "%s", error.text);
                uint32_t end = partition->count * (f + 1) / files;
                for (uint32_t i = partition->count * f / files; i < end; i++) {
                    consumer_container_append(container, partition->records[i].value, &error);
                }
                cr_assert_eq(consumer_container_close(container, &error), 0);
            }
        }
    }
}

Test(consumer_files, ingest_makes_the_same_of_them)
{
    static const uint32_t fetches[] = {1, 10, 65536};
    char *expected = NULL;
    for (int i = -1; i < 3; i++) {
        struct world world;
        char root[SUPPORT_DIRECTORY_MAX];
        world_begin(&world, 3);
        world.config.finish = true;
        world_populate(&world, 11, 400, 10);
        if (i < 0) {
            world_open(&world);
            world_run(&world);
            expected = strdup(world_trace(&world));
            world_end(&world);
            continue;
        }
        support_directory_make(root);
        world_write(&world, root, (uint32_t)i * 2 + 1, i == 1 ? "deflate" : "null");
        struct consumer_files_config config = {
            .path = root,
            .ranks = WORLD_RANKS,
            .topics = {"impressions", "clicks", "purchases"},
            .fetch = fetches[i],
        };
        struct consumer_source *source = consumer_files_open(&config, &error);
        cr_assert(source, "%s", error.text);
        world_open_with(&world, source);
        world_run(&world);
        cr_assert(strcmp(world_trace(&world), expected) == 0, "fetch %u", fetches[i]);
        world_end(&world);
        source->operations->close(source);
        world_remove_tree(root);
    }
    cr_assert(strlen(expected) > 1000);
    free(expected);
}
