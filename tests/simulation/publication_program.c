// The programs of the publication's model. See publication_program.h.
//
// Two rows: the first changes with every content, the second is admitted, dropped and admitted again. The
// dense tensors change with every content as well, so that a model put together of two contents has a hash of
// its own.
#include "simulation/publication_program.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/random.h"
#include "publisher/reader.h"
#include "simulation/sim_clock.h"
#include "trainer/descriptor.h"

const char program_model[] = "model";

enum { ROWS = 2, DIMENSION = 4, GARBAGE_TTL_S = 600, TOKEN_SIZE = 32 };

struct program_stage {
    struct program_variant variant;
    struct program_texts texts;
    char *descriptor;
    struct sim_clock clock;
    uint64_t hash[PROGRAM_PUBLISHERS][PROGRAM_VERSION_LAST + 1];
    struct trainer_snapshot *dense[PROGRAM_PUBLISHERS][PROGRAM_VERSION_LAST + 1]; // full ones
};

// ---- texts ----

static void texts_grow(struct program_texts *texts)
{
    texts->slots = texts->slots ? texts->slots * 2 : 1024;
    free(texts->index);
    texts->index = base_alloc_zeroed(texts->slots, sizeof *texts->index);
    for (uint32_t i = 0; i < texts->count; i++) {
        uint32_t slot = (uint32_t)(texts->hash[i] % texts->slots);
        while (texts->index[slot]) {
            slot = (slot + 1) % texts->slots;
        }
        texts->index[slot] = i + 1;
    }
}

uint32_t program_text(struct program_texts *texts, struct base_span text)
{
    if (2 * texts->count >= texts->slots) {
        texts_grow(texts);
    }
    uint64_t hash = base_hash_bytes(text, 0);
    uint32_t slot = (uint32_t)(hash % texts->slots);
    for (; texts->index[slot]; slot = (slot + 1) % texts->slots) {
        uint32_t i = texts->index[slot] - 1;
        if (texts->hash[i] == hash && base_span_equal(base_buffer_span(&texts->text[i]), text)) {
            return i;
        }
    }
    if (texts->count == texts->capacity) {
        texts->capacity = texts->capacity ? texts->capacity * 2 : 256;
        texts->text = base_realloc(texts->text, texts->capacity * sizeof *texts->text);
        texts->hash = base_realloc(texts->hash, texts->capacity * sizeof *texts->hash);
    }
    texts->text[texts->count] = (struct base_buffer){0};
    base_buffer_append(&texts->text[texts->count], text.data, text.size);
    texts->hash[texts->count] = hash;
    texts->index[slot] = texts->count + 1;
    return texts->count++;
}

// ---- the line: the transport that feeds a program ----

struct line {
    struct program_stage *stage;
    uint32_t program;
    const struct program_input *inputs;
    uint32_t count, done;
    bool wants;  // the inputs are used up and it wants another one: the result is complete
    bool away;   // no connection can be made
    bool broken; // the present connection is lost
    struct program_result *result;
    char token[TOKEN_SIZE + 1]; // the publisher's, which it draws at random
};

static bool line_last(const struct line *line)
{
    return line->done == line->count;
}

// What was sent and not answered, on a connection that ends now.
static void line_give_up(struct line *line)
{
    struct program_result *result = line->result;
    if (line_last(line)) {
        assert(result->under_way_count + result->pending_count <= PROGRAM_PENDING_MAX);
        memcpy(result->under_way + result->under_way_count, result->pending,
               result->pending_count * sizeof *result->pending);
        result->under_way_count += result->pending_count;
    }
    result->pending_count = 0;
}

static void *line_connect(void *context, int timeout_ms, const char **reason)
{
    struct line *line = context;
    (void)timeout_ms;
    *reason = "away";
    line->broken = false;
    return line->wants || line->away ? NULL : line;
}

// A publisher's token is random; here it has to be the same in each run. It stands in the script that takes
// the epoch, and later in those that move head.
static void line_settle_token(struct line *line, struct base_buffer *command)
{
    static const char fixed[PROGRAM_PUBLISHERS][TOKEN_SIZE + 1] = {"11111111111111111111111111111111",
                                                                   "22222222222222222222222222222222"};
    if (line->program == PROGRAM_READER || command->size < TOKEN_SIZE) {
        return;
    }
    static const char length[] = "\r\n$32\r\n";
    if (!line->token[0]) {
        const uint8_t *at = memmem(command->data, command->size, length, strlen(length));
        if (!at || !memmem(command->data, command->size, "EVAL", 4)) {
            return;
        }
        memcpy(line->token, at + strlen(length), TOKEN_SIZE);
    }
    uint8_t *at = memmem(command->data, command->size, line->token, TOKEN_SIZE);
    if (at) {
        memcpy(at, fixed[line->program], TOKEN_SIZE);
    }
}

static bool line_send(void *context, struct base_span command, const char **reason)
{
    struct line *line = context;
    struct program_result *result = line->result;
    *reason = "lost";
    if (line->wants || line->broken) {
        return false;
    }
    struct base_buffer text = {0};
    base_buffer_append(&text, command.data, command.size);
    line_settle_token(line, &text);
    assert(result->pending_count < PROGRAM_PENDING_MAX);
    result->pending[result->pending_count++] = program_text(&line->stage->texts, base_buffer_span(&text));
    base_buffer_free(&text);
    return true;
}

static bool line_receive(void *context, int timeout_ms, struct base_buffer *bytes, const char **reason)
{
    struct line *line = context;
    struct program_result *result = line->result;
    (void)timeout_ms;
    *reason = "lost";
    if (line->wants || line->broken) {
        return false;
    }
    if (line_last(line)) {
        line->wants = true;
        return false;
    }
    const struct program_input *input = &line->inputs[line->done++];
    if (input->kind == PROGRAM_REPLY) {
        const struct base_buffer *reply = &line->stage->texts.text[input->text];
        base_buffer_append(bytes, reply->data, reply->size);
        result->pending_count--;
        memmove(result->pending, result->pending + 1, result->pending_count * sizeof *result->pending);
        return true;
    }
    line->broken = true;
    line->away = input->kind == PROGRAM_LOST_LONG;
    line_give_up(line);
    return false;
}

static void line_close(void *context)
{
    struct line *line = context;
    if (!line->wants) {
        line_give_up(line);
    }
}

static void line_wait(void *context, int64_t ms)
{
    (void)context, (void)ms;
}

// ---- contents ----

static bool has_row(uint32_t content, uint32_t row)
{
    return content > 0 && (row == 0 || content != 3);
}

// The content with which a row's present vector came.
static uint32_t row_since(uint32_t content, uint32_t row)
{
    return row == 0 ? content : content < 3 ? 1 : content;
}

static float weight(uint32_t publisher, uint32_t content, uint64_t i)
{
    return (float)(base_random_uniform(publisher * 100 + content, i) - 0.5) * 0.5f;
}

static uint64_t row_key(uint32_t row)
{
    return base_hash_slot_integer(base_hash_slot_salt("item"), (int64_t)row);
}

static void row_vector(uint32_t publisher, uint32_t content, uint32_t row, float *vector)
{
    for (uint32_t i = 0; i < DIMENSION; i++) {
        vector[i] = weight(publisher, row_since(content, row), 1000000 + row * DIMENSION + i);
    }
}

static int64_t content_tick(uint32_t publisher, uint32_t content)
{
    return (int64_t)content * PROGRAM_PUBLISHERS + publisher;
}

uint32_t program_tick_content(int64_t tick)
{
    return (uint32_t)(tick / PROGRAM_PUBLISHERS);
}

uint64_t program_stage_hash(const struct program_stage *stage, int64_t tick)
{
    return stage->hash[tick % PROGRAM_PUBLISHERS][program_tick_content(tick)];
}

static const struct trainer_model_config *stage_config(void)
{
    static struct trainer_slot_config slot = {.row = {"item", DIMENSION, 1, 0}};
    static const struct trainer_model_config config = {
        .features = {.layout = {1, 0}, .slots = 1, .slot = &slot},
        .network = {.tasks = 1,
                    .levels = 1,
                    .level = {{{16}, 1, 1, 1}},
                    .tower_widths = {16},
                    .tower_layers = 1,
                    .batch = 16},
        .loss = {.tasks = 1, .stages = 1, .task_weight = {1}, .keep_negatives = 1},
        .task_names = {"click"},
        .update.dense.rate = 0.1,
        .update.sparse.rate = 0.1,
        .seed = 7,
        .rows_max = 1000,
        .workers = 1,
    };
    return &config;
}

// Sets the model's weights to a content and notes its hash and its dense tensors.
static void stage_add(struct program_stage *stage, uint32_t publisher, uint32_t content)
{
    struct base_error error;
    struct trainer_model *model = trainer_model_new(stage_config(), false, &error);
    assert(model);
    struct trainer_table *table = trainer_model_table(model);
    uint32_t tensors;
    size_t oov_size;
    size_t slab_size = trainer_network_size(trainer_model_network(model));
    float *slab = trainer_network_slab(trainer_model_network(model));
    float *oov = trainer_table_oov(table, &oov_size);
    const struct trainer_tensor *tensor = trainer_network_tensors(trainer_model_network(model), &tensors);
    struct trainer_snapshot *snapshot = base_alloc_zeroed(1, sizeof *snapshot);
    snapshot->tensors = tensors + 1;
    snapshot->tensor = base_alloc_zeroed(snapshot->tensors, sizeof *snapshot->tensor);
    memcpy(snapshot->tensor, tensor, tensors * sizeof *tensor);
    snapshot->tensor[tensors] = (struct trainer_tensor){"oov.item", 1, DIMENSION, slab_size};
    snapshot->dense_size = slab_size + oov_size;
    snapshot->dense = base_alloc_zeroed(snapshot->dense_size, sizeof *snapshot->dense);
    // Only what tensors cover is a weight; between them is padding.
    for (uint32_t t = 0; t < snapshot->tensors; t++) {
        struct trainer_tensor *at = &snapshot->tensor[t];
        at->offset = t == tensors ? slab_size + trainer_table_oov_offset(table, 0) : at->offset;
        for (size_t i = 0; i < (size_t)at->rows * at->columns; i++) {
            snapshot->dense[at->offset + i] = weight(publisher, content, t * 10000 + i);
        }
    }
    memcpy(slab, snapshot->dense, slab_size * sizeof *slab);
    memcpy(oov, snapshot->dense + slab_size, oov_size * sizeof *oov);
    for (uint32_t row = 0; row < ROWS; row++) {
        float vector[DIMENSION];
        row_vector(publisher, content, row, vector);
        int failed = has_row(content, row) ? trainer_table_set(table, 0, row_key(row), vector, &error) : 0;
        assert(!failed);
        (void)failed;
    }
    stage->hash[publisher][content] = trainer_model_hash(model);
    stage->dense[publisher][content] = snapshot;
    trainer_model_free(model);
}

struct program_stage *program_stage_new(const struct program_variant *variant)
{
    static const char *const columns[] = {"item"};
    struct trainer_descriptor_columns names = {columns, columns, NULL, NULL};
    struct program_stage *stage = base_alloc_zeroed(1, sizeof *stage);
    stage->variant = *variant;
    sim_clock_init(&stage->clock, 0);
    stage->descriptor = trainer_descriptor_write(stage_config(), &names);
    assert(stage->descriptor);
    for (uint32_t publisher = 0; publisher < PROGRAM_PUBLISHERS; publisher++) {
        for (uint32_t content = 1; content <= PROGRAM_VERSION_LAST; content++) {
            stage_add(stage, publisher, content);
        }
    }
    return stage;
}

void program_stage_free(struct program_stage *stage)
{
    for (uint32_t publisher = 0; publisher < PROGRAM_PUBLISHERS; publisher++) {
        for (uint32_t content = 1; content <= PROGRAM_VERSION_LAST; content++) {
            trainer_snapshot_free(stage->dense[publisher][content]);
        }
    }
    for (uint32_t i = 0; i < stage->texts.count; i++) {
        base_buffer_free(&stage->texts.text[i]);
    }
    free(stage->texts.text);
    free(stage->texts.hash);
    free(stage->texts.index);
    free(stage->descriptor);
    free(stage);
}

struct program_texts *program_stage_texts(struct program_stage *stage)
{
    return &stage->texts;
}

// ---- a publisher ----

// True if the row changed, came or went between two contents.
static bool row_changed(uint32_t row, uint32_t since, uint32_t content)
{
    return row_since(content, row) > since;
}

static bool row_was_gone(uint32_t row, uint32_t since, uint32_t content)
{
    for (uint32_t i = since + 1; i <= content; i++) {
        if (!has_row(i, row)) {
            return true;
        }
    }
    return false;
}

// A snapshot of a content as the trainer would make it: full, or what changed since another one.
static struct trainer_snapshot *snapshot_make(const struct program_stage *stage, uint32_t publisher,
                                              uint32_t content, uint32_t since, bool full)
{
    const struct trainer_snapshot *whole = stage->dense[publisher][content];
    struct trainer_snapshot *snapshot = base_alloc_zeroed(1, sizeof *snapshot);
    *snapshot = *whole;
    snapshot->tick = content_tick(publisher, content);
    snapshot->examples = content;
    snapshot->full = full;
    snapshot->tensor = base_alloc(whole->tensors * sizeof *whole->tensor);
    memcpy(snapshot->tensor, whole->tensor, whole->tensors * sizeof *whole->tensor);
    snapshot->dense = base_alloc(whole->dense_size * sizeof *whole->dense);
    memcpy(snapshot->dense, whole->dense, whole->dense_size * sizeof *whole->dense);
    snapshot->slots = 1;
    snapshot->rows = base_alloc_zeroed(1, sizeof *snapshot->rows);
    struct trainer_snapshot_rows *rows = snapshot->rows;
    rows->dimension = DIMENSION;
    rows->keys = base_alloc(ROWS * sizeof *rows->keys);
    rows->vectors = base_alloc(ROWS * DIMENSION * sizeof *rows->vectors);
    rows->tombstones = base_alloc(ROWS * sizeof *rows->tombstones);
    for (uint32_t row = 0; row < ROWS; row++) {
        snapshot->rows_total += has_row(content, row);
        if (!full && row_was_gone(row, since, content)) {
            rows->tombstones[rows->removed++] = row_key(row);
        }
        if (has_row(content, row) && (full || row_changed(row, since, content))) {
            row_vector(publisher, content, row, rows->vectors + rows->count * DIMENSION);
            rows->keys[rows->count++] = row_key(row);
        }
    }
    return snapshot;
}

// After each call: the network is back. True if the program has to stop here.
static bool line_returned(struct line *line)
{
    line->away = false;
    return line->wants;
}

static bool publisher_begin_life(struct line *line, struct publisher *publisher)
{
    struct base_error error;
    for (int i = 0; i < PROGRAM_TRIES; i++) {
        int failed = publisher_start(publisher, 0, &error);
        if (line_returned(line)) {
            return false;
        }
        if (!failed) {
            return true;
        }
    }
    line->result->end = PROGRAM_GAVE_UP;
    return false;
}

// Publishes one content; `since`: what readers have for sure, 0: nothing.
static bool publisher_bring(struct line *line, struct publisher *publisher, uint32_t content, uint32_t *since)
{
    uint32_t identity = line->stage->variant.kin ? 0 : line->program;
    struct base_error error;
    for (int i = 0; i < PROGRAM_TRIES; i++) {
        bool full = publisher_wants_full(publisher) || *since == 0;
        struct trainer_snapshot *snapshot = snapshot_make(line->stage, identity, content, *since, full);
        struct publisher_result done;
        int failed = publisher_publish(publisher, snapshot, NULL, &done, &error);
        int64_t tick = snapshot->tick;
        trainer_snapshot_free(snapshot);
        if (line_returned(line)) {
            return false;
        }
        if (!failed) {
            *since = content;
            line->result->version = done.version;
            line->result->tick = tick;
            return true;
        }
        if (error.code == BASE_ECONFLICT) {
            line->result->end = PROGRAM_OUTBID;
            return false;
        }
        if (!error.retriable) {
            snprintf(line->result->violation, sizeof line->result->violation, "publisher %u: %.200s",
                     line->program, error.text);
        }
    }
    line->result->end = PROGRAM_GAVE_UP;
    return false;
}

static void publisher_live(struct line *line, struct publisher *publisher)
{
    if (!publisher_begin_life(line, publisher)) {
        return;
    }
    struct publisher_version version;
    int64_t tick = 0;
    uint32_t since = 0;
    uint32_t first = 1 + line->program;
    // Nothing is published before training has passed the tick that readers have.
    if (publisher_head(publisher, &version, &tick)) {
        uint32_t theirs = program_tick_content(tick);
        first = theirs + 1 > first ? theirs + 1 : first;
        since = publisher_head_ours(publisher) ? theirs : 0;
    }
    uint32_t last = line->program == 0 ? PROGRAM_VERSION_LAST - 1 : PROGRAM_VERSION_LAST;
    for (uint32_t content = first; content <= last; content++) {
        if (!publisher_bring(line, publisher, content, &since)) {
            return;
        }
    }
    line->result->end = PROGRAM_DONE;
}

// ---- the reader ----

static void reader_judge(struct line *line, struct publisher_reader *reader)
{
    struct program_result *result = line->result;
    struct publisher_version version = publisher_reader_version(reader);
    int64_t tick = publisher_reader_tick(reader);
    if (version.epoch == 0) {
        return;
    }
    const char *what = NULL;
    if (version.epoch < result->version.epoch ||
        (version.epoch == result->version.epoch && version.number < result->version.number)) {
        what = "goes back to";
    } else if (publisher_reader_hash(reader) != program_stage_hash(line->stage, tick)) {
        what = "holds a mixture as";
    }
    if (what) {
        snprintf(result->violation, sizeof result->violation, "the reader %s %" PRIu64 ".%" PRIu64, what,
                 version.epoch, version.number);
    }
    result->version = version;
    result->tick = tick;
}

static void reader_live(struct line *line, struct publisher_reader *reader)
{
    for (uint32_t i = 0; i < line->stage->variant.follows; i++) {
        struct base_error error;
        bool changed = false;
        int failed = publisher_reader_follow(reader, 0, &changed, &error);
        if (line_returned(line)) {
            return;
        }
        if (failed && !error.retriable) {
            snprintf(line->result->violation, sizeof line->result->violation, "the reader: %.200s",
                     error.text);
        }
        reader_judge(line, reader);
    }
    line->result->end = PROGRAM_DONE;
}

// ---- runs ----

static void run_publisher(struct line *line, const struct publisher_redis_config *redis)
{
    static const char *const lineages[PROGRAM_PUBLISHERS] = {"one", "two"};
    struct base_error error;
    struct publisher_config config = {
        .redis = *redis,
        .model = program_model,
        .descriptor = line->stage->descriptor,
        .garbage_ttl_s = GARBAGE_TTL_S,
        .lineage = lineages[line->stage->variant.kin ? 0 : line->program],
        .base_ratio = line->stage->variant.base_ratio,
        .clock = &line->stage->clock.clock,
    };
    struct publisher *publisher = publisher_new(&config, &error);
    assert(publisher);
    publisher_live(line, publisher);
    line->wants = true; // what is closed now is not the program's doing
    publisher_free(publisher);
}

static void run_reader(struct line *line, const struct publisher_redis_config *redis)
{
    struct base_error error;
    struct publisher_reader_config config = {.redis = *redis, .model = program_model, .scorers = 1};
    struct publisher_reader *reader = publisher_reader_new(&config, &error);
    assert(reader);
    reader_live(line, reader);
    line->wants = true;
    publisher_reader_free(reader);
}

void program_run(struct program_stage *stage, uint32_t program, const struct program_input *inputs,
                 uint32_t count, struct program_result *result)
{
    *result = (struct program_result){0};
    struct line line = {
        .stage = stage, .program = program, .inputs = inputs, .count = count, .result = result};
    struct publisher_redis_transport transport = {line_connect, line_send, line_receive,
                                                  line_close,   line_wait, &line};
    struct publisher_redis_config redis = {.transport = &transport, .timeout_ms = 1000};
    if (program == PROGRAM_READER) {
        run_reader(&line, &redis);
    } else {
        run_publisher(&line, &redis);
    }
}
