// The commands of the simulated Redis, and the publisher's two scripts. See sim_redis.h.
//
// A script is known by the hash of its text and done here in C. If publisher/head.c changes a script, this
// file has to follow; until then EVAL answers with an error that says so.
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "base/hash.h"
#include "simulation/sim_redis_private.h"

#define SCRIPT_TAKE UINT64_C(0x5c45684dc73db6a7)
#define SCRIPT_MOVE UINT64_C(0x6bbc4b4227b1c3f5)

enum { STREAM_MAX = 1024, NUMBER_MAX = 24 };

struct call {
    struct sim_redis *redis;
    const struct base_span *words;
    uint32_t count;
    struct base_buffer *reply;
};

// ---- replies ----

static void reply_text(struct base_buffer *reply, const char *text)
{
    base_buffer_append(reply, text, strlen(text));
}

static void reply_integer(struct base_buffer *reply, int64_t number)
{
    char text[NUMBER_MAX + 4];
    snprintf(text, sizeof text, ":%" PRId64 "\r\n", number);
    reply_text(reply, text);
}

static void reply_array(struct base_buffer *reply, uint32_t count)
{
    char text[NUMBER_MAX + 4];
    snprintf(text, sizeof text, "*%" PRIu32 "\r\n", count);
    reply_text(reply, text);
}

static void reply_bulk(struct base_buffer *reply, struct base_span bytes)
{
    char text[NUMBER_MAX + 4];
    snprintf(text, sizeof text, "$%zu\r\n", bytes.size);
    reply_text(reply, text);
    base_buffer_append(reply, bytes.data, bytes.size);
    reply_text(reply, "\r\n");
}

static const char reply_nil[] = "$-1\r\n";
static const char reply_nil_array[] = "*-1\r\n";
static const char reply_ok[] = "+OK\r\n";
static const char reply_syntax[] = "-ERR syntax error\r\n";
static const char reply_wrong_type[] =
    "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n";

// ---- words ----

static bool word_is(struct base_span word, const char *text)
{
    return word.size == strlen(text) && strncasecmp((const char *)word.data, text, word.size) == 0;
}

// A decimal number, digits only but for a sign.
static bool word_number(struct base_span word, int64_t *number)
{
    char text[NUMBER_MAX];
    if (word.size == 0 || word.size >= sizeof text) {
        return false;
    }
    memcpy(text, word.data, word.size);
    text[word.size] = '\0';
    char *end;
    *number = strtoll(text, &end, 10);
    return *end == '\0';
}

// ---- keys ----

struct sim_entry *sim_redis_look(struct sim_redis *redis, struct base_span key)
{
    struct sim_slot *slot = sim_store_slot(&redis->store, key);
    if (slot->entry && slot->entry->expires_ms >= 0 &&
        slot->entry->expires_ms <= sim_clock_ms(redis->clock)) {
        sim_store_put(&redis->store, slot, NULL);
    }
    return slot->entry;
}

static bool key_set(struct sim_redis *redis, struct base_span key, struct base_span value, int64_t expires_ms)
{
    if (redis->refusing) {
        return false;
    }
    sim_store_put(&redis->store, sim_store_slot(&redis->store, key),
                  sim_entry_string(sim_value_new(value), expires_ms));
    return true;
}

// The bytes of a string; empty if there is no such key.
static struct base_span key_text(struct sim_redis *redis, struct base_span key)
{
    const struct sim_entry *entry = sim_redis_look(redis, key);
    return entry && entry->value ? base_span_make(entry->value->data, entry->value->size)
                                 : base_span_string("");
}

static bool key_expire(struct sim_redis *redis, struct base_span key, int64_t expires_ms)
{
    struct sim_entry *entry = sim_redis_look(redis, key);
    if (!entry || (expires_ms < 0 && entry->expires_ms < 0)) {
        return false;
    }
    sim_store_put(&redis->store, sim_store_slot(&redis->store, key), sim_entry_expiring(entry, expires_ms));
    return true;
}

static int64_t expiry_after(struct sim_redis *redis, int64_t seconds)
{
    return sim_clock_ms(redis->clock) + seconds * 1000;
}

// ---- commands ----

static const char reply_oom[] = "-OOM command not allowed when used memory > 'maxmemory'.\r\n";

static void run_get(const struct call *call)
{
    const struct sim_entry *entry = sim_redis_look(call->redis, call->words[1]);
    if (!entry) {
        reply_text(call->reply, reply_nil);
    } else if (!entry->value) {
        reply_text(call->reply, reply_wrong_type);
    } else {
        reply_bulk(call->reply, base_span_make(entry->value->data, entry->value->size));
    }
}

static void run_set(const struct call *call)
{
    bool absent = false;
    int64_t expires_ms = -1;
    for (uint32_t i = 3; i < call->count; i++) {
        int64_t seconds;
        if (word_is(call->words[i], "NX")) {
            absent = true;
        } else if (word_is(call->words[i], "EX") && i + 1 < call->count &&
                   word_number(call->words[i + 1], &seconds) && seconds > 0) {
            expires_ms = expiry_after(call->redis, seconds);
            i++;
        } else {
            reply_text(call->reply, reply_syntax);
            return;
        }
    }
    if (call->redis->refusing) {
        reply_text(call->reply, reply_oom);
    } else if (absent && sim_redis_look(call->redis, call->words[1])) {
        reply_text(call->reply, reply_nil);
    } else {
        key_set(call->redis, call->words[1], call->words[2], expires_ms);
        reply_text(call->reply, reply_ok);
    }
}

static void run_exists(const struct call *call)
{
    int64_t found = 0;
    for (uint32_t i = 1; i < call->count; i++) {
        found += sim_redis_look(call->redis, call->words[i]) != NULL;
    }
    reply_integer(call->reply, found);
}

static void run_delete(const struct call *call)
{
    int64_t found = 0;
    for (uint32_t i = 1; i < call->count; i++) {
        found += sim_redis_look(call->redis, call->words[i]) != NULL;
        sim_store_put(&call->redis->store, sim_store_slot(&call->redis->store, call->words[i]), NULL);
    }
    reply_integer(call->reply, found);
}

static void run_expire(const struct call *call)
{
    int64_t seconds;
    if (!word_number(call->words[2], &seconds)) {
        reply_text(call->reply, reply_syntax);
        return;
    }
    reply_integer(call->reply, key_expire(call->redis, call->words[1], expiry_after(call->redis, seconds)));
}

static void run_persist(const struct call *call)
{
    reply_integer(call->reply, key_expire(call->redis, call->words[1], -1));
}

static void run_ttl(const struct call *call)
{
    const struct sim_entry *entry = sim_redis_look(call->redis, call->words[1]);
    int64_t left = entry && entry->expires_ms >= 0
                       ? (entry->expires_ms - sim_clock_ms(call->redis->clock) + 500) / 1000
                       : -1;
    reply_integer(call->reply, entry ? left : -2);
}

static void run_info(const struct call *call)
{
    char text[256];
    snprintf(text, sizeof text,
             "# Server\r\nredis_version:7.0.0\r\nrun_id:%s\r\n# Memory\r\nmaxmemory_policy:%s\r\n"
             "# Replication\r\nrole:%s\r\n",
             call->redis->run_id, call->redis->policy, call->redis->master ? "master" : "slave");
    reply_bulk(call->reply, base_span_string(text));
}

static void run_ok(const struct call *call)
{
    reply_text(call->reply, reply_ok);
}

static void run_ping(const struct call *call)
{
    reply_text(call->reply, "+PONG\r\n");
}

// ---- streams ----

// Keeps the newest STREAM_MAX entries once there are twice as many.
static struct sim_announcement *stream_trim(struct sim_announcement *newest)
{
    if (!newest || newest->count < 2 * STREAM_MAX) {
        return newest;
    }
    struct sim_announcement *kept[STREAM_MAX];
    struct sim_announcement *at = newest;
    for (uint32_t i = 0; i < STREAM_MAX; i++, at = at->older) {
        kept[i] = at;
    }
    struct sim_announcement *copy = NULL;
    for (uint32_t i = STREAM_MAX; i-- > 0;) {
        copy = sim_announcement_new(copy, kept[i]->ms, kept[i]->sequence,
                                    base_span_make(kept[i]->fields->data, kept[i]->fields->size));
    }
    sim_announcement_release(newest);
    return copy;
}

// Adds an entry with the fields and values given; false if the key holds something else.
static bool stream_add(struct sim_redis *redis, struct base_span key, const struct base_span *fields,
                       uint32_t count)
{
    const struct sim_entry *entry = sim_redis_look(redis, key);
    if (entry && !entry->newest) {
        return false;
    }
    struct sim_announcement *older = entry ? entry->newest : NULL;
    if (older) {
        older->references++;
    }
    int64_t now_ms = sim_clock_ms(redis->clock);
    bool again = older && older->ms >= now_ms;
    struct base_buffer text = {0};
    reply_array(&text, count);
    for (uint32_t i = 0; i < count; i++) {
        reply_bulk(&text, fields[i]);
    }
    struct sim_announcement *newest =
        sim_announcement_new(stream_trim(older), again ? older->ms : now_ms, again ? older->sequence + 1 : 0,
                             base_buffer_span(&text));
    base_buffer_free(&text);
    int64_t expires_ms = entry ? entry->expires_ms : -1;
    sim_store_put(&redis->store, sim_store_slot(&redis->store, key), sim_entry_stream(newest, expires_ms));
    return true;
}

static void reply_announcement(struct base_buffer *reply, const struct sim_announcement *announcement)
{
    char id[2 * NUMBER_MAX];
    snprintf(id, sizeof id, "%" PRId64 "-%" PRIu64, announcement->ms, announcement->sequence);
    reply_array(reply, 2);
    reply_bulk(reply, base_span_string(id));
    base_buffer_append(reply, announcement->fields->data, announcement->fields->size);
}

// XREVRANGE key + - COUNT 1: the only form that readers use.
static void run_xrevrange(const struct call *call)
{
    if (!word_is(call->words[2], "+") || !word_is(call->words[3], "-") || !word_is(call->words[4], "COUNT") ||
        !word_is(call->words[5], "1")) {
        reply_text(call->reply, "-ERR the simulation knows XREVRANGE key + - COUNT 1 only\r\n");
        return;
    }
    const struct sim_entry *entry = sim_redis_look(call->redis, call->words[1]);
    if (!entry) {
        reply_array(call->reply, 0);
    } else if (!entry->newest) {
        reply_text(call->reply, reply_wrong_type);
    } else {
        reply_array(call->reply, 1);
        reply_announcement(call->reply, entry->newest);
    }
}

static bool stream_after(const struct sim_announcement *announcement, int64_t ms, uint64_t sequence)
{
    return announcement->ms > ms || (announcement->ms == ms && announcement->sequence > sequence);
}

// The entries after an id, the oldest first.
static void stream_reply_after(struct base_buffer *reply, const struct sim_announcement *newest, int64_t ms,
                               uint64_t sequence)
{
    uint32_t count = 0;
    const struct sim_announcement **list = base_alloc(newest->count * sizeof *list);
    for (; newest && stream_after(newest, ms, sequence); newest = newest->older) {
        list[count++] = newest;
    }
    reply_array(reply, count);
    while (count > 0) {
        reply_announcement(reply, list[--count]);
    }
    free(list);
}

// XREAD BLOCK ms STREAMS key id. One that waits in vain takes its time.
static void run_xread(const struct call *call)
{
    int64_t block_ms, ms, sequence = 0;
    if (!word_is(call->words[1], "BLOCK") || !word_number(call->words[2], &block_ms) ||
        !word_is(call->words[3], "STREAMS")) {
        reply_text(call->reply, "-ERR the simulation knows XREAD BLOCK ms STREAMS key id only\r\n");
        return;
    }
    struct base_span id = call->words[5];
    const uint8_t *dash = memchr(id.data, '-', id.size);
    size_t first = dash ? (size_t)(dash - id.data) : id.size;
    if (!word_number(base_span_make(id.data, first), &ms) ||
        (dash && !word_number(base_span_make(dash + 1, id.size - first - 1), &sequence))) {
        reply_text(call->reply, "-ERR Invalid stream ID specified as stream command argument\r\n");
        return;
    }
    const struct sim_entry *entry = sim_redis_look(call->redis, call->words[4]);
    if (entry && !entry->newest) {
        reply_text(call->reply, reply_wrong_type);
    } else if (!entry || !stream_after(entry->newest, ms, (uint64_t)sequence)) {
        sim_clock_advance(call->redis->clock, block_ms * 1000000);
        reply_text(call->reply, reply_nil_array);
    } else {
        reply_array(call->reply, 1);
        reply_array(call->reply, 2);
        reply_bulk(call->reply, call->words[4]);
        stream_reply_after(call->reply, entry->newest, ms, (uint64_t)sequence);
    }
}

static void run_xadd(const struct call *call)
{
    if (!word_is(call->words[2], "*") || call->count % 2 == 0) {
        reply_text(call->reply, "-ERR the simulation knows XADD key * field value ... only\r\n");
    } else if (call->redis->refusing) {
        reply_text(call->reply, reply_oom);
    } else if (!stream_add(call->redis, call->words[1], call->words + 3, call->count - 3)) {
        reply_text(call->reply, reply_wrong_type);
    } else {
        const struct sim_announcement *newest = sim_redis_look(call->redis, call->words[1])->newest;
        char id[2 * NUMBER_MAX];
        snprintf(id, sizeof id, "%" PRId64 "-%" PRIu64, newest->ms, newest->sequence);
        reply_bulk(call->reply, base_span_string(id));
    }
}

// ---- scripts ----

// Digits at the beginning of a text; how many.
static size_t text_digits(struct base_span text, uint64_t *number)
{
    size_t size = 0;
    *number = 0;
    while (size < text.size && text.data[size] >= '0' && text.data[size] <= '9') {
        *number = *number * 10 + (uint64_t)(text.data[size++] - '0');
    }
    return size;
}

static bool is_hex(uint8_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

// "^(%d+) (%x+)$"
static bool epoch_parse(struct base_span text, uint64_t *epoch, struct base_span *token)
{
    size_t size = text_digits(text, epoch);
    if (size == 0 || size + 1 >= text.size || text.data[size] != ' ') {
        return false;
    }
    *token = base_span_make(text.data + size + 1, text.size - size - 1);
    for (size_t i = 0; i < token->size; i++) {
        if (!is_hex(token->data[i])) {
            return false;
        }
    }
    return true;
}

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static void reply_take(struct base_buffer *reply, const char *status, struct base_span what,
                       struct base_span head)
{
    reply_array(reply, 3);
    reply_bulk(reply, base_span_string(status));
    reply_bulk(reply, what);
    reply_bulk(reply, head);
}

static void reply_take_epoch(struct base_buffer *reply, const char *status, uint64_t epoch,
                             struct base_span head)
{
    char text[NUMBER_MAX];
    snprintf(text, sizeof text, "%" PRIu64, epoch);
    reply_take(reply, status, base_span_string(text), head);
}

static void script_take(const struct call *call, const struct base_span *keys,
                        const struct base_span *arguments)
{
    struct base_span token = {0};
    struct base_span value = key_text(call->redis, keys[0]);
    struct base_span head = key_text(call->redis, keys[1]);
    uint64_t stored = 0, seen, least, own;
    if (arguments[2].size == 0 && !base_span_equal(value, arguments[3])) {
        reply_take(call->reply, "changed", value, head);
        return;
    }
    if (!epoch_parse(value, &stored, &token)) {
        stored = 0;
        token = (struct base_span){0};
    }
    size_t digits = text_digits(head, &seen);
    if (digits == 0 || digits >= head.size || head.data[digits] != '.') {
        seen = 0;
    }
    text_digits(arguments[1], &least);
    text_digits(arguments[2], &own);
    if (arguments[2].size > 0 && larger(stored, seen) > own && !base_span_equal(token, arguments[0])) {
        reply_take_epoch(call->reply, "conflict", larger(stored, seen), head);
        return;
    }
    uint64_t epoch = larger(larger(stored, seen), least) + 1;
    if (epoch > UINT64_C(9007199254740991)) {
        reply_text(call->reply, "-ERR the epochs are used up\r\n");
        return;
    }
    struct base_buffer taken = {0};
    char number[NUMBER_MAX + 1];
    snprintf(number, sizeof number, "%" PRIu64 " ", epoch);
    reply_text(&taken, number);
    base_buffer_append(&taken, arguments[0].data, arguments[0].size);
    if (key_set(call->redis, keys[0], base_buffer_span(&taken), -1)) {
        reply_take_epoch(call->reply, "taken", epoch, key_text(call->redis, keys[1]));
    } else {
        reply_text(call->reply, reply_oom);
    }
    base_buffer_free(&taken);
}

static void reply_move(struct base_buffer *reply, const char *status, struct base_span what)
{
    reply_array(reply, 2);
    reply_bulk(reply, base_span_string(status));
    reply_bulk(reply, what);
}

static void script_move(const struct call *call, const struct base_span *keys, uint32_t key_count,
                        const struct base_span *arguments)
{
    struct sim_redis *redis = call->redis;
    struct base_span head = key_text(redis, keys[1]);
    const struct sim_entry *epoch = sim_redis_look(redis, keys[0]);
    if (!epoch || !base_span_equal(key_text(redis, keys[0]), arguments[0]) ||
        !base_span_equal(head, arguments[1])) {
        reply_move(call->reply, "refused", head);
        return;
    }
    int64_t added, ttl_s;
    if (!word_number(arguments[3], &added) || !word_number(arguments[4], &ttl_s) || added < 0 ||
        added > (int64_t)key_count - 3) {
        reply_text(call->reply, "-ERR attempt to compare nil with number\r\n");
        return;
    }
    uint32_t last = 3 + (uint32_t)added;
    for (uint32_t i = 3; i < last; i++) {
        if (!sim_redis_look(redis, keys[i])) {
            reply_move(call->reply, "missing", keys[i]);
            return;
        }
    }
    if (!key_set(redis, keys[1], arguments[2], -1)) {
        reply_text(call->reply, reply_oom);
        return;
    }
    for (uint32_t i = 3; i < last; i++) {
        key_expire(redis, keys[i], -1);
    }
    for (uint32_t i = last; i < key_count; i++) {
        key_expire(redis, keys[i], expiry_after(redis, ttl_s));
    }
    struct base_span fields[] = {
        base_span_string("version"), arguments[6], base_span_string("predecessor"), arguments[7],
        base_span_string("kind"),    arguments[8], base_span_string("tick"),        arguments[9],
    };
    stream_add(redis, keys[2], fields, sizeof fields / sizeof *fields);
    reply_move(call->reply, "moved", arguments[2]);
}

// True if the scripts' GET of a key fails, and with it the script.
static bool script_fails(const struct call *call, const struct base_span *keys)
{
    for (uint32_t i = 0; i < 2; i++) {
        const struct sim_entry *entry = sim_redis_look(call->redis, keys[i]);
        if (entry && !entry->value) {
            reply_text(call->reply, reply_wrong_type);
            return true;
        }
    }
    return false;
}

// EVAL script count keys... arguments...
static void run_eval(const struct call *call)
{
    int64_t keys;
    if (!word_number(call->words[2], &keys) || keys < 0 || keys > (int64_t)call->count - 3) {
        reply_text(call->reply, reply_syntax);
        return;
    }
    const struct base_span *key = call->words + 3;
    const struct base_span *arguments = key + keys;
    uint32_t argument_count = call->count - 3 - (uint32_t)keys;
    uint64_t hash = base_hash_bytes(call->words[1], 0);
    if (keys >= 2 && script_fails(call, key)) {
        return;
    }
    if (hash == SCRIPT_TAKE && keys == 2 && argument_count == 4) {
        script_take(call, key, arguments);
    } else if (hash == SCRIPT_MOVE && keys >= 3 && argument_count == 10) {
        script_move(call, key, (uint32_t)keys, arguments);
    } else {
        char text[128];
        snprintf(text, sizeof text,
                 "-ERR the simulation does not know the script %016" PRIx64 ": see sim_redis_command.c\r\n",
                 hash);
        reply_text(call->reply, text);
    }
}

// ---- the table ----

static const struct {
    const char *name;
    uint32_t least, most; // words
    void (*run)(const struct call *call);
} commands[] = {
    {"GET", 2, 2, run_get},
    {"SET", 3, 8, run_set},
    {"EXISTS", 2, SIM_REDIS_WORDS_MAX, run_exists},
    {"EVAL", 3, SIM_REDIS_WORDS_MAX, run_eval},
    {"XREVRANGE", 6, 6, run_xrevrange},
    {"XREAD", 6, 6, run_xread},
    {"XADD", 5, 64, run_xadd},
    {"INFO", 1, 2, run_info},
    {"PING", 1, 1, run_ping},
    {"AUTH", 2, 3, run_ok},
    {"SELECT", 2, 2, run_ok},
    {"EXPIRE", 3, 3, run_expire},
    {"PERSIST", 2, 2, run_persist},
    {"TTL", 2, 2, run_ttl},
    {"DEL", 2, SIM_REDIS_WORDS_MAX, run_delete},
    {"UNLINK", 2, SIM_REDIS_WORDS_MAX, run_delete},
};

void sim_redis_run_words(struct sim_redis *redis, const struct base_span *words, uint32_t count,
                         struct base_buffer *reply)
{
    struct call call = {redis, words, count, reply};
    redis->commands++;
    redis->store.command++;
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (word_is(words[0], commands[i].name) && count >= commands[i].least && count <= commands[i].most) {
            commands[i].run(&call);
            return;
        }
    }
    char text[96];
    snprintf(text, sizeof text, "-ERR the simulation does not know the command %.*s with %u words\r\n",
             (int)(words[0].size < 32 ? words[0].size : 32), (const char *)words[0].data, count - 1);
    reply_text(reply, text);
}
