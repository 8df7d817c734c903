// The file source. See files.h; files_container.c reads one file, files_blocks.c cuts its blocks into
// records.
//
// A partition is a cursor over a list of files: its own (lanes by name) or all of the topic's (lanes by key),
// where it takes only the records of its lane. Cursors are independent: no lane waits for another and nothing
// is buffered but the blocks that cursors stand on.
#include "consumer/files.h"

#include <assert.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "consumer/files_blocks.h"

enum { FETCH_MAX = 65536 };

struct schema {
    char *text;
    struct consumer_schema *parsed;
    struct consumer_skip_path path; // of the key
};

struct file {
    struct consumer_files_container container;
    uint32_t schema; // its number
    uint32_t lane;   // by name
};

struct topic {
    struct file *files; // in the order of their names
    uint32_t count;
    struct consumer_files_blocks blocks;
};

struct cursor {
    uint32_t file;                      // index in the topic
    size_t offset;                      // of the block to read next; 0: the file's first
    struct consumer_files_block *block; // stands on it; or NULL
    uint32_t at;                        // in the block's records
    uint32_t end;
    int64_t next;  // offset of the next record
    uint64_t skip; // records to pass over before that one
    bool finished;
};

struct files {
    struct consumer_source source;
    bool by_key;
    uint32_t fetch;
    struct schema *schemas;
    uint32_t schema_count;
    struct topic topics[CONSUMER_TOPICS_MAX];
    struct cursor *cursors; // [ranks * lanes]
};

static struct files *files_of(struct consumer_source *source)
{
    return (struct files *)source;
}

static struct cursor *files_cursor(struct files *files, uint32_t rank, uint32_t lane)
{
    assert(rank < files->source.ranks && lane < files->source.lanes);
    return &files->cursors[rank * files->source.lanes + lane];
}

// ---- reading ----

static void cursor_leave_file(struct cursor *cursor)
{
    cursor->file++;
    cursor->offset = 0;
}

// Passes over whole blocks of a file that has one lane, without looking into them. 1: done or no more to
// pass; 0: the file has ended; -1.
static int cursor_pass(struct cursor *cursor, const struct file *file, struct base_error *error)
{
    struct consumer_files_raw raw;
    int state = 1;
    while (cursor->skip > 0 &&
           (state = consumer_files_container_block(&file->container, cursor->offset, &raw, error)) > 0 &&
           raw.count <= cursor->skip) {
        cursor->skip -= raw.count;
        cursor->offset = raw.next;
    }
    return state;
}

// Stands the cursor on the next block of `file` that has records for it. 1, or 0: the file has none; -1.
static int cursor_enter_block(struct files *files, uint32_t rank, uint32_t lane, struct cursor *cursor,
                              const struct file *file, struct base_error *error)
{
    const struct schema *schema = &files->schemas[file->schema];
    struct consumer_files_cut cut = {
        .root = consumer_schema_root(schema->parsed),
        .path = files->by_key ? &schema->path : NULL,
        .lanes = files->by_key ? files->source.lanes : 1,
    };
    uint32_t part = files->by_key ? lane : 0;
    cursor->offset = cursor->offset ? cursor->offset : file->container.first;
    if (!files->by_key) {
        int state = cursor_pass(cursor, file, error);
        if (state <= 0) {
            return state;
        }
    }
    for (;;) {
        struct consumer_files_block *block;
        int state = consumer_files_blocks_get(&files->topics[rank].blocks, &file->container, cursor->offset,
                                              &cut, &block, error);
        if (state <= 0) {
            return state;
        }
        uint32_t count = block->first[part + 1] - block->first[part];
        uint32_t skip = cursor->skip < count ? (uint32_t)cursor->skip : count;
        cursor->skip -= skip;
        cursor->offset = block->next;
        if (skip < count) {
            cursor->block = block;
            cursor->at = block->first[part] + skip;
            cursor->end = block->first[part + 1];
            return 1;
        }
        consumer_files_blocks_release(block);
    }
}

// To the next record. 0: the cursor stands on one or has finished; -1.
static int cursor_advance(struct files *files, uint32_t rank, uint32_t lane, struct cursor *cursor,
                          struct base_error *error)
{
    if (cursor->at < cursor->end) {
        return 0;
    }
    consumer_files_blocks_release(cursor->block);
    cursor->block = NULL;
    const struct topic *topic = &files->topics[rank];
    while (cursor->file < topic->count) {
        const struct file *file = &topic->files[cursor->file];
        if (files->by_key || file->lane == lane) {
            int state = cursor_enter_block(files, rank, lane, cursor, file, error);
            if (state != 0) {
                return state < 0 ? -1 : 0;
            }
        }
        cursor_leave_file(cursor);
    }
    if (cursor->skip > 0) {
        return base_error_set(
            error, BASE_ENOTFOUND,
            "topic %u, lane %u: the files hold %llu records less than the offset to start from", rank, lane,
            (unsigned long long)cursor->skip);
    }
    cursor->finished = true;
    return 0;
}

static int files_poll(struct consumer_source *source, uint32_t rank, uint32_t lane, int timeout_ms,
                      struct consumer_message *messages, int max, struct base_error *error)
{
    (void)timeout_ms; // what is not there now will never be
    struct files *files = files_of(source);
    struct cursor *cursor = files_cursor(files, rank, lane);
    assert(max > 0);
    if (cursor->finished) {
        return 0;
    }
    if (cursor_advance(files, rank, lane, cursor, error)) {
        return -1;
    }
    // Never beyond the block, whose bytes are held until the next poll.
    int count = 0;
    for (; cursor->at < cursor->end && count < max && (uint32_t)count < files->fetch; count++) {
        const struct consumer_files_record *record = &cursor->block->records[cursor->at++];
        messages[count] = (struct consumer_message){
            .rank = rank,
            .lane = lane,
            .offset = cursor->next++,
            .timestamp = -1,
            .value = base_span_make(cursor->block->data.data + record->start, record->size),
            .bare = true,
            .schema = files->topics[rank].files[cursor->file].schema,
        };
    }
    return count;
}

static void files_wait(struct consumer_source *source, int timeout_ms)
{
    (void)source;
    (void)timeout_ms; // there is always something, or nothing any more
}

static void files_position(struct consumer_source *source, uint32_t rank, uint32_t lane,
                           struct consumer_position *position)
{
    const struct cursor *cursor = files_cursor(files_of(source), rank, lane);
    *position = (struct consumer_position){
        .next = cursor->next,
        .end = cursor->finished ? cursor->next : -1,
        .finished = cursor->finished,
    };
}

static const char *files_schema(struct consumer_source *source, uint32_t schema)
{
    const struct files *files = files_of(source);
    assert(schema < files->schema_count);
    return files->schemas[schema].text;
}

static char *files_statistics(struct consumer_source *source)
{
    const struct files *files = files_of(source);
    uint64_t count = 0;
    uint64_t bytes = 0;
    for (uint32_t rank = 0; rank < files->source.ranks; rank++) {
        for (uint32_t i = 0; i < files->topics[rank].count; i++) {
            count++;
            bytes += files->topics[rank].files[i].container.map.size;
        }
    }
    char text[96];
    snprintf(text, sizeof text, "{\"files\": %llu, \"bytes\": %llu}", (unsigned long long)count,
             (unsigned long long)bytes);
    return strdup(text);
}

static void files_close(struct consumer_source *source)
{
    struct files *files = files_of(source);
    for (uint32_t rank = 0; rank < files->source.ranks; rank++) {
        struct topic *topic = &files->topics[rank];
        consumer_files_blocks_done(&topic->blocks);
        for (uint32_t i = 0; i < topic->count; i++) {
            consumer_files_container_close(&topic->files[i].container);
        }
        free(topic->files);
    }
    for (uint32_t i = 0; i < files->schema_count; i++) {
        consumer_schema_free(files->schemas[i].parsed);
        free(files->schemas[i].text);
    }
    free(files->schemas);
    free(files->cursors);
    free(files);
}

static const struct consumer_source_operations files_operations = {
    .poll = files_poll,
    .wait = files_wait,
    .position = files_position,
    .schema = files_schema,
    .statistics = files_statistics,
    .close = files_close,
};

// ---- opening ----

// The lane in "part-00003.avro" or "3.0001.avro".
static int name_lane(const char *path, const char *name, uint32_t *lane, struct base_error *error)
{
    size_t end = strlen(name) - strlen(".avro");
    size_t begin = end;
    while (begin > 0 && isdigit((unsigned char)name[begin - 1])) {
        begin--;
    }
    // "<lane>.<order within the lane>"
    if (begin < end && begin >= 2 && name[begin - 1] == '.' && isdigit((unsigned char)name[begin - 2])) {
        end = begin - 1;
        begin = end;
        while (begin > 0 && isdigit((unsigned char)name[begin - 1])) {
            begin--;
        }
    }
    uint64_t number = 0;
    for (size_t i = begin; i < end && number < CONSUMER_LANES_MAX; i++) {
        number = number * 10 + (uint64_t)(name[i] - '0');
    }
    if (begin == end || number >= CONSUMER_LANES_MAX) {
        return base_error_set(error, BASE_EINVAL,
                              "%s/%s: the name has no lane's number below %d before \".avro\"", path, name,
                              CONSUMER_LANES_MAX);
    }
    *lane = (uint32_t)number;
    return 0;
}

// The number of a schema, added if its text is new. -1: it does not parse, or lacks the key.
static int files_intern(struct files *files, struct base_span text, const char *key, uint32_t *number,
                        struct base_error *error)
{
    for (uint32_t i = 0; i < files->schema_count; i++) {
        if (base_span_equal(base_span_string(files->schemas[i].text), text)) {
            *number = i;
            return 0;
        }
    }
    struct schema schema = {.parsed = consumer_schema_parse(text, error)};
    if (!schema.parsed) {
        return -1;
    }
    const struct consumer_schema_node *root = consumer_schema_root(schema.parsed);
    if (root->least == 0) {
        base_error_set(error, BASE_EFORMAT, "its schema's values take no byte");
        goto fail;
    }
    if (files->by_key && consumer_skip_resolve(root, key, &schema.path, error)) {
        goto fail;
    }
    schema.text = base_alloc(text.size + 1);
    memcpy(schema.text, text.data, text.size);
    schema.text[text.size] = '\0';
    files->schemas = base_realloc(files->schemas, (files->schema_count + 1) * sizeof *files->schemas);
    files->schemas[files->schema_count] = schema;
    *number = files->schema_count++;
    return 0;
fail:
    consumer_schema_free(schema.parsed);
    return -1;
}

static int files_open_file(struct files *files, struct topic *topic, const char *path, const char *name,
                           const char *key, struct base_error *error)
{
    char full[PATH_MAX];
    struct file file = {.lane = 0};
    if (snprintf(full, sizeof full, "%s/%s", path, name) >= (int)sizeof full) {
        return base_error_set(error, BASE_EINVAL, "%s/%s: the path is too long", path, name);
    }
    if (!files->by_key && name_lane(path, name, &file.lane, error)) {
        return -1;
    }
    if (consumer_files_container_open(&file.container, full, error)) {
        return -1;
    }
    if (files_intern(files, file.container.schema, key, &file.schema, error)) {
        consumer_files_container_close(&file.container);
        return base_error_prefix(error, "%s", full);
    }
    topic->files[topic->count++] = file;
    return 0;
}

static int entry_wanted(const struct dirent *entry)
{
    size_t size = strlen(entry->d_name);
    return entry->d_name[0] != '.' && size >= 5 && strcmp(entry->d_name + size - 5, ".avro") == 0;
}

// By bytes, whatever the locale.
static int entry_compare(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int files_open_topic(struct files *files, uint32_t rank, const struct consumer_files_config *config,
                            struct base_error *error)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/%s", config->path, config->topics[rank]) >= (int)sizeof path) {
        return base_error_set(error, BASE_EINVAL, "%s/%s: the path is too long", config->path,
                              config->topics[rank]);
    }
    struct dirent **entries = NULL;
    int count = scandir(path, &entries, entry_wanted, entry_compare);
    if (count < 0) {
        return base_error_set_errno(error, errno == ENOENT ? BASE_ENOTFOUND : BASE_EIO, errno, "directory %s",
                                    path);
    }
    struct topic *topic = &files->topics[rank];
    topic->files = base_alloc_zeroed((size_t)count + 1, sizeof *topic->files);
    int result = 0;
    for (int i = 0; i < count; i++) {
        result =
            result ? result : files_open_file(files, topic, path, entries[i]->d_name, config->key, error);
        free(entries[i]);
    }
    free(entries);
    return result;
}

// The number of lanes, then a cursor for each partition.
static int files_place(struct files *files, const struct consumer_files_config *config,
                       struct base_error *error)
{
    uint32_t lanes = files->by_key ? config->lanes : 0;
    for (uint32_t rank = 0; rank < files->source.ranks && !files->by_key; rank++) {
        for (uint32_t i = 0; i < files->topics[rank].count; i++) {
            uint32_t lane = files->topics[rank].files[i].lane;
            lanes = lane >= lanes ? lane + 1 : lanes;
        }
    }
    if (lanes == 0) {
        return base_error_set(error, BASE_ENOTFOUND, "%s: no file of any topic", config->path);
    }
    if (config->offsets && config->offset_lanes != lanes) {
        return base_error_set(error, BASE_ECONFLICT, "%s: the files make %u lanes, the offsets are for %u",
                              config->path, lanes, config->offset_lanes);
    }
    files->source.lanes = lanes;
    uint32_t count = files->source.ranks * lanes;
    files->cursors = base_alloc_zeroed(count, sizeof *files->cursors);
    for (uint32_t i = 0; i < count && config->offsets; i++) {
        int64_t offset = config->offsets[i] == CONSUMER_OFFSET_EARLIEST ? 0 : config->offsets[i];
        if (offset < 0) {
            return base_error_set(error, BASE_EINVAL, "%s: offset %lld is negative", config->path,
                                  (long long)offset);
        }
        files->cursors[i].next = offset;
        files->cursors[i].skip = (uint64_t)offset;
    }
    return 0;
}

static int files_check(const struct consumer_files_config *config, struct base_error *error)
{
    if (config->ranks == 0 || config->ranks > CONSUMER_TOPICS_MAX) {
        return base_error_set(error, BASE_EINVAL, "%u topics are configured, 1 to %d are possible",
                              config->ranks, CONSUMER_TOPICS_MAX);
    }
    if (config->lanes > CONSUMER_LANES_MAX) {
        return base_error_set(error, BASE_EINVAL, "%u lanes are configured, at most %d are possible",
                              config->lanes, CONSUMER_LANES_MAX);
    }
    if (config->lanes > 0 && (!config->key || !config->key[0])) {
        return base_error_set(error, BASE_EINVAL, "lanes by key need the key's path");
    }
    if (config->fetch == 0 || config->fetch > FETCH_MAX) {
        return base_error_set(error, BASE_EINVAL, "fetch %u is not in 1..%d", config->fetch, FETCH_MAX);
    }
    return 0;
}

struct consumer_source *consumer_files_open(const struct consumer_files_config *config,
                                            struct base_error *error)
{
    if (files_check(config, error)) {
        return NULL;
    }
    struct files *files = base_alloc_zeroed(1, sizeof *files);
    files->source.operations = &files_operations;
    files->source.ranks = config->ranks;
    files->by_key = config->lanes > 0;
    files->fetch = config->fetch;
    for (uint32_t rank = 0; rank < config->ranks; rank++) {
        if (files_open_topic(files, rank, config, error)) {
            goto fail;
        }
    }
    if (files_place(files, config, error)) {
        goto fail;
    }
    return &files->source;
fail:
    files_close(&files->source);
    return NULL;
}
