// The head's two scripts and their calls. See head.h.
//
// Redis does not undo what a failing script has written. So each script first only reads, and its first write
// is the one that can be refused (SET: out of memory, read only); what follows it needs no memory, or may
// fail without harm (the announcement: readers also poll head).
#include "publisher/head.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/failpoint.h"

// KEYS: epoch, head. ARGV: token, least epoch, then own epoch and '' from one that has had an epoch, '' and
// epoch's value as it saw it from one that begins. So a beginner's command that arrives late, when its
// sender is dead and a successor has taken over, takes nothing from the successor.
static const char take_script[] =
    "local value = redis.call('GET', KEYS[1]) or ''\n"
    "local head = redis.call('GET', KEYS[2]) or ''\n"
    "if ARGV[3] == '' and value ~= ARGV[4] then return {'changed', value, head} end\n"
    "local stored, token = string.match(value, '^(%d+) (%x+)$')\n"
    "stored = tonumber(stored or '0')\n"
    "local seen = tonumber(string.match(head, '^(%d+)%.') or '0')\n"
    "if ARGV[3] ~= '' and math.max(stored, seen) > tonumber(ARGV[3]) and token ~= ARGV[1] then\n"
    "  return {'conflict', string.format('%.0f', math.max(stored, seen)), head}\n"
    "end\n"
    "local epoch = math.max(stored, seen, tonumber(ARGV[2])) + 1\n"
    "if epoch > 9007199254740991 then\n"
    "  return redis.error_reply('ERR the epochs are used up')\n"
    "end\n"
    "redis.call('SET', KEYS[1], string.format('%.0f', epoch) .. ' ' .. ARGV[1])\n"
    "return {'taken', string.format('%.0f', epoch), head}\n";

// KEYS: epoch, head, versions, then the added keys, then the superseded ones. ARGV: epoch's value, head's
// value now, head's new value, how many keys are added, expiry in seconds, announcement's length, then the
// announcement's values.
static const char move_script[] =
    "local head = redis.call('GET', KEYS[2]) or ''\n"
    "if redis.call('GET', KEYS[1]) ~= ARGV[1] or head ~= ARGV[2] then\n"
    "  return {'refused', head}\n"
    "end\n"
    "local last = 3 + tonumber(ARGV[4])\n"
    "for i = 4, last do\n"
    "  if redis.call('EXISTS', KEYS[i]) == 0 then return {'missing', KEYS[i]} end\n"
    "end\n"
    "redis.call('SET', KEYS[2], ARGV[3])\n"
    "for i = 4, last do redis.call('PERSIST', KEYS[i]) end\n"
    "for i = last + 1, #KEYS do redis.call('EXPIRE', KEYS[i], ARGV[5]) end\n"
    "redis.pcall('XADD', KEYS[3], 'MAXLEN', '~', ARGV[6], '*', 'version', ARGV[7],\n"
    "            'predecessor', ARGV[8], 'kind', ARGV[9], 'tick', ARGV[10])\n"
    "return {'moved', ARGV[3]}\n";

enum {
    TAKE_TRIES = 8, // in which others may take an epoch between our look and our take
    MOVE_KEYS = 3,
    MOVE_ARGUMENTS = 10,
};

int publisher_claim_init(struct publisher_claim *claim, struct base_error *error)
{
    uint8_t bytes[(PUBLISHER_TOKEN_MAX - 1) / 2];
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes) {
        return base_error_set(error, BASE_EIO, "no random bytes for a publisher's token");
    }
    for (size_t i = 0; i < sizeof bytes; i++) {
        snprintf(claim->token + 2 * i, 3, "%02x", bytes[i]);
    }
    claim->epoch = 0;
    return 0;
}

static bool text_is(const struct publisher_reply *reply, const char *text)
{
    return base_span_equal(publisher_reply_text(reply), base_span_string(text));
}

static int head_unexpected(struct base_error *error)
{
    return base_error_set(error, BASE_EREFUSED, "Redis answered a script with something else");
}

// The reply {status, epoch, head} of the take script. *changed: nothing is taken, `seen` becomes epoch's
// value.
static int take_read(const struct publisher_reply *reply, struct publisher_claim *claim,
                     struct base_buffer *seen, bool *changed, char head[static PUBLISHER_HEAD_MAX],
                     struct base_error *error)
{
    *changed = false;
    if (publisher_reply_count(reply) != 3) {
        return head_unexpected(error);
    }
    struct base_span epoch_text = publisher_reply_text(publisher_reply_at(reply, 1));
    struct base_span head_text = publisher_reply_text(publisher_reply_at(reply, 2));
    if (!epoch_text.data || !head_text.data) {
        return head_unexpected(error);
    }
    if (text_is(publisher_reply_at(reply, 0), "changed")) {
        base_buffer_clear(seen);
        base_buffer_append(seen, epoch_text.data, epoch_text.size);
        *changed = true;
        return 0;
    }
    if (text_is(publisher_reply_at(reply, 0), "conflict")) {
        base_error_set(error, BASE_ECONFLICT,
                       "another publisher has taken over: its epoch is %.*s, ours %" PRIu64,
                       (int)epoch_text.size, (const char *)epoch_text.data, claim->epoch);
        error->fatal = true;
        return -1;
    }
    if (!text_is(publisher_reply_at(reply, 0), "taken")) {
        return head_unexpected(error);
    }
    if (head_text.size >= PUBLISHER_HEAD_MAX) {
        return base_error_set(error, BASE_EREFUSED, "the key of head holds something else");
    }
    base_failpoint("epoch.taken");
    claim->epoch = strtoull((const char *)epoch_text.data, NULL, 10);
    memcpy(head, head_text.data, head_text.size);
    head[head_text.size] = '\0';
    return 0;
}

int publisher_head_take(struct publisher_redis *redis, const char *model, struct publisher_claim *claim,
                        uint64_t least, bool renew, char head[static PUBLISHER_HEAD_MAX],
                        struct base_error *error)
{
    char epoch_key[PUBLISHER_KEY_MAX];
    char head_key[PUBLISHER_KEY_MAX];
    publisher_key_epoch(model, epoch_key);
    publisher_key_head(model, head_key);
    char least_text[24];
    char own_text[24] = "";
    snprintf(least_text, sizeof least_text, "%" PRIu64, least > claim->epoch ? least : claim->epoch);
    if (renew) {
        snprintf(own_text, sizeof own_text, "%" PRIu64, claim->epoch);
    }
    struct base_buffer seen = {0}; // at first: that there is no epoch
    bool changed = true;
    int failed = 0;
    for (int i = 0; !failed && changed; i++) {
        if (i == TAKE_TRIES) {
            failed = base_error_set(error, BASE_EREFUSED, "other publishers take one epoch after another");
            error->retriable = true;
            break;
        }
        struct base_span words[] = {
            base_span_string("EVAL"),     base_span_string(take_script), base_span_string("2"),
            base_span_string(epoch_key),  base_span_string(head_key),    base_span_string(claim->token),
            base_span_string(least_text), base_span_string(own_text),    base_buffer_span(&seen),
        };
        struct publisher_reply *reply = NULL;
        failed = publisher_redis_call(redis, words, sizeof words / sizeof *words, &reply, error) ||
                         take_read(reply, claim, &seen, &changed, head, error)
                     ? -1
                     : 0;
        publisher_reply_free(reply);
    }
    base_buffer_free(&seen);
    return failed;
}

int publisher_head_move(struct publisher_redis *redis, const char *model, const struct publisher_claim *claim,
                        const struct publisher_move *move, enum publisher_move_outcome *outcome,
                        struct base_error *error)
{
    char key[MOVE_KEYS][PUBLISHER_KEY_MAX];
    publisher_key_epoch(model, key[0]);
    publisher_key_head(model, key[1]);
    publisher_key_versions(model, key[2]);
    char epoch[24 + PUBLISHER_TOKEN_MAX], added[16], ttl[24], length[16], tick[24], keys[16];
    char version[PUBLISHER_VERSION_MAX], predecessor[PUBLISHER_VERSION_MAX] = "";
    uint32_t key_count = MOVE_KEYS + move->added->count + move->superseded->count;
    snprintf(keys, sizeof keys, "%" PRIu32, key_count);
    snprintf(epoch, sizeof epoch, "%" PRIu64 " %s", claim->epoch, claim->token);
    snprintf(added, sizeof added, "%" PRIu32, move->added->count);
    snprintf(ttl, sizeof ttl, "%" PRId64, move->ttl_s);
    snprintf(length, sizeof length, "%d", PUBLISHER_ANNOUNCEMENTS_MAX);
    snprintf(tick, sizeof tick, "%" PRId64, move->tick);
    publisher_version_format(move->version, version);
    if (move->predecessor.epoch) {
        publisher_version_format(move->predecessor, predecessor);
    }
    const char *arguments[MOVE_ARGUMENTS] = {
        epoch, move->from, move->to, added, ttl, length, version, predecessor, move->full ? "base" : "delta",
        tick};

    uint32_t count = 3 + key_count + MOVE_ARGUMENTS;
    struct base_span *words = base_alloc(count * sizeof *words);
    words[0] = base_span_string("EVAL");
    words[1] = base_span_string(move_script);
    words[2] = base_span_string(keys);
    struct base_span *next = words + 3;
    for (int i = 0; i < MOVE_KEYS; i++) {
        *next++ = base_span_string(key[i]);
    }
    publisher_names_spans(move->added, next);
    next += move->added->count;
    publisher_names_spans(move->superseded, next);
    next += move->superseded->count;
    for (int i = 0; i < MOVE_ARGUMENTS; i++) {
        *next++ = base_span_string(arguments[i]);
    }

    struct publisher_reply *reply = NULL;
    base_failpoint("publish.uploaded");
    int failed = publisher_redis_send(redis, words, count, error);
    free(words);
    if (failed) {
        return -1;
    }
    base_failpoint("publish.sent");
    if (publisher_redis_receive(redis, 0, &reply, error)) {
        return -1;
    }
    if (publisher_reply_check(reply, error)) {
        publisher_reply_free(reply);
        return -1;
    }
    const struct publisher_reply *status =
        publisher_reply_count(reply) == 2 ? publisher_reply_at(reply, 0) : reply;
    if (text_is(status, "moved")) {
        base_failpoint("publish.moved");
        *outcome = PUBLISHER_MOVED;
    } else if (text_is(status, "refused")) {
        *outcome = PUBLISHER_REFUSED;
    } else if (text_is(status, "missing")) {
        *outcome = PUBLISHER_MISSING;
    } else {
        failed = head_unexpected(error);
    }
    publisher_reply_free(reply);
    return failed;
}
