// The server of the simulated Redis: connections, what befalls them and it. See sim_redis.h.
//
// A command is run when it is sent; its reply waits to be read. A connection that has failed stays where it
// is until its client closes it; commands of it that are still under way ("late") run between later commands.
#include "simulation/sim_redis.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "simulation/sim_redis_private.h"

enum {
    FAILOVER_MOST = 20, // commands that a failover loses
    EVICT_MOST = 3,
    DOWN_MOST_MS = 3000,
};

struct sim_connection {
    struct sim_redis *redis;
    struct sim_connection *next;
    bool closed;      // by the client
    const char *lost; // why it has ended; NULL: it works
    bool silent;      // its end is noticed by a time-out only
    struct base_buffer replies;
    struct base_buffer late; // commands under way although the client takes it for lost
    size_t late_done;        // bytes of them that were run
};

// ---- commands as bytes ----

// Takes "<mark><number>\r\n".
static bool resp_number(struct base_span *bytes, char mark, size_t *number)
{
    size_t i = 1;
    if (bytes->size < 4 || bytes->data[0] != mark) {
        return false;
    }
    for (*number = 0; i < bytes->size && bytes->data[i] != '\r'; i++) {
        *number = *number * 10 + (size_t)(bytes->data[i] - '0');
    }
    if (i + 2 > bytes->size) {
        return false;
    }
    *bytes = base_span_make(bytes->data + i + 2, bytes->size - i - 2);
    return true;
}

// Takes one command off the bytes, runs it and appends its reply. It was written by hiredis: whole and right.
static void redis_run(struct sim_redis *redis, struct base_span *bytes, struct base_buffer *reply)
{
    size_t count = 0;
    bool right = resp_number(bytes, '*', &count) && count > 0 && count <= SIM_REDIS_WORDS_MAX;
    assert(right);
    for (size_t i = 0; i < count; i++) {
        size_t size = 0;
        right = resp_number(bytes, '$', &size) && bytes->size >= size + 2;
        assert(right);
        redis->words[i] = base_span_make(bytes->data, size);
        *bytes = base_span_make(bytes->data + size + 2, bytes->size - size - 2);
    }
    sim_redis_run_words(redis, redis->words, (uint32_t)count, reply);
}

void sim_redis_run(struct sim_redis *redis, struct base_span command, struct base_buffer *reply)
{
    redis_run(redis, &command, reply);
    assert(command.size == 0);
}

// ---- connections ----

static void connection_free(struct sim_connection *connection)
{
    base_buffer_free(&connection->replies);
    base_buffer_free(&connection->late);
    free(connection);
}

// Frees what is closed and has nothing under way.
static void redis_sweep(struct sim_redis *redis)
{
    struct sim_connection **at = &redis->connections;
    while (*at) {
        struct sim_connection *connection = *at;
        if (connection->closed && connection->late_done == connection->late.size) {
            *at = connection->next;
            connection_free(connection);
        } else {
            at = &connection->next;
        }
    }
}

static void connection_lose(struct sim_connection *connection, const char *why, bool silent)
{
    connection->lost = why;
    connection->silent = silent;
}

// All connections end; what is under way on them is lost.
static void redis_disconnect(struct sim_redis *redis)
{
    for (struct sim_connection *each = redis->connections; each; each = each->next) {
        connection_lose(each, "Server closed the connection", false);
        each->late_done = each->late.size;
    }
    redis_sweep(redis);
}

// Commands under way may arrive now, or be lost for good.
static void redis_run_late(struct sim_redis *redis)
{
    for (struct sim_connection *each = redis->connections; each; each = each->next) {
        struct sim_random *random = redis->faults ? sim_faults_draw(redis->faults, "redis.late") : NULL;
        while (each->late_done < each->late.size && sim_random_chance(random, 0.1)) {
            if (sim_random_chance(random, 0.05)) {
                each->late_done = each->late.size;
                break;
            }
            struct base_buffer reply = {0};
            struct base_span rest =
                base_span_make(each->late.data + each->late_done, each->late.size - each->late_done);
            redis_run(redis, &rest, &reply);
            each->late_done = each->late.size - rest.size;
            base_buffer_free(&reply);
        }
    }
    redis_sweep(redis);
}

static bool redis_is_down(const struct sim_redis *redis)
{
    return sim_clock_ms(redis->clock) < redis->down_until_ms;
}

static void *transport_connect(void *context, int timeout_ms, const char **reason)
{
    struct sim_redis *redis = context;
    if (redis_is_down(redis) || sim_fault(redis->faults, "redis.connect")) {
        *reason = "Connection refused";
        return NULL;
    }
    (void)timeout_ms;
    struct sim_connection *connection = base_alloc_zeroed(1, sizeof *connection);
    connection->redis = redis;
    connection->next = redis->connections;
    redis->connections = connection;
    return connection;
}

static bool transport_send(void *context, struct base_span command, const char **reason)
{
    struct sim_connection *connection = context;
    struct sim_redis *redis = connection->redis;
    redis_run_late(redis);
    if (connection->late.size > 0) { // behind a late one: late as well
        base_buffer_append(&connection->late, command.data, command.size);
        return true;
    }
    if (connection->lost) {
        *reason = "Broken pipe";
        return connection->silent;
    }
    if (sim_fault(redis->faults, "redis.lost_before")) {
        connection_lose(connection, "Connection reset by peer", false);
        *reason = connection->lost;
        return false;
    }
    if (sim_fault(redis->faults, "redis.late")) {
        connection_lose(connection, "timed out", true);
        base_buffer_append(&connection->late, command.data, command.size);
        return true;
    }
    size_t before = connection->replies.size;
    redis->refusing = sim_fault(redis->faults, "redis.refuse");
    sim_redis_run(redis, command, &connection->replies);
    redis->refusing = false;
    if (sim_fault(redis->faults, "redis.lost_after")) {
        connection->replies.size = before;
        bool silent = sim_random_bits(sim_faults_draw(redis->faults, "redis.lost_after")) & 1;
        connection_lose(connection, silent ? "timed out" : "Server closed the connection", silent);
    }
    return true;
}

static bool transport_receive(void *context, int timeout_ms, struct base_buffer *bytes, const char **reason)
{
    struct sim_connection *connection = context;
    if (connection->replies.size > 0) {
        base_buffer_append(bytes, connection->replies.data, connection->replies.size);
        base_buffer_clear(&connection->replies);
        return true;
    }
    assert(connection->lost); // each command has its reply
    if (connection->silent) {
        sim_clock_advance(connection->redis->clock, (int64_t)timeout_ms * 1000000);
    }
    *reason = connection->lost;
    return false;
}

static void transport_close(void *context)
{
    struct sim_connection *connection = context;
    connection->closed = true;
    redis_sweep(connection->redis);
}

static void transport_wait(void *context, int64_t ms)
{
    sim_clock_advance(((struct sim_redis *)context)->clock, ms * 1000000);
}

const struct publisher_redis_transport *sim_redis_transport(struct sim_redis *redis)
{
    return &redis->transport;
}

// ---- life ----

static void redis_new_life(struct sim_redis *redis)
{
    redis->lives++;
    uint64_t hash = base_hash_bytes(base_span_string("run id"), redis->lives);
    snprintf(redis->run_id, sizeof redis->run_id, "%08x%016" PRIx64 "%016" PRIx64, 0U, hash, redis->lives);
}

struct sim_redis *sim_redis_new(struct sim_clock *clock, struct sim_faults *faults)
{
    static const struct {
        const char *site;
        double rate;
    } rates[] = {
        // Of each command: a publication of twenty commands has to have a chance.
        {"redis.connect", 0.25},   {"redis.lost_before", 0.01}, {"redis.lost_after", 0.01},
        {"redis.late", 0.01},      {"redis.refuse", 0.01},      {"redis.restart", 0.002},
        {"redis.failover", 0.005}, {"redis.evict", 0.005},      {"redis.down", 0.01},
    };
    struct sim_redis *redis = base_alloc_zeroed(1, sizeof *redis);
    redis->clock = clock;
    redis->faults = faults;
    redis->transport = (struct publisher_redis_transport){
        .connect = transport_connect,
        .send = transport_send,
        .receive = transport_receive,
        .close = transport_close,
        .wait = transport_wait,
        .context = redis,
    };
    redis->policy = "noeviction";
    redis->master = true;
    redis->words = base_alloc(SIM_REDIS_WORDS_MAX * sizeof *redis->words);
    sim_store_init(&redis->store);
    redis_new_life(redis);
    for (size_t i = 0; faults && i < sizeof rates / sizeof *rates; i++) {
        sim_faults_rate(faults, rates[i].site, rates[i].rate);
    }
    return redis;
}

void sim_redis_free(struct sim_redis *redis)
{
    if (!redis) {
        return;
    }
    redis_disconnect(redis);
    assert(!redis->connections);
    sim_store_done(&redis->store);
    free(redis->words);
    free(redis);
}

// ---- what befalls it ----

void sim_redis_restart(struct sim_redis *redis)
{
    redis_disconnect(redis);
    sim_store_clear(&redis->store);
    redis_new_life(redis);
}

void sim_redis_failover(struct sim_redis *redis, uint32_t writes)
{
    redis_disconnect(redis);
    sim_store_forget(&redis->store, writes);
    redis_new_life(redis);
}

void sim_redis_down_until(struct sim_redis *redis, int64_t ms)
{
    redis_disconnect(redis);
    redis->down_until_ms = ms;
}

bool sim_redis_evict(struct sim_redis *redis, const char *key)
{
    struct sim_slot *slot = sim_store_slot(&redis->store, base_span_string(key));
    bool there = slot->entry != NULL;
    sim_store_put(&redis->store, slot, NULL);
    return there;
}

void sim_redis_set_policy(struct sim_redis *redis, const char *policy)
{
    redis->policy = policy;
}

void sim_redis_set_master(struct sim_redis *redis, bool master)
{
    redis->master = master;
}

// Removes keys: all with an expiry, those that are due, or the one that was drawn.
struct sweep {
    struct sim_redis *redis;
    bool all;
    int64_t now_ms;
    uint64_t count, chosen;
    struct sim_slot *slot;
};

static void sweep_expire(void *context, struct sim_slot *slot)
{
    struct sweep *sweep = context;
    int64_t expires_ms = slot->entry->expires_ms;
    if (expires_ms >= 0 && (sweep->all || expires_ms <= sweep->now_ms)) {
        sim_store_put(&sweep->redis->store, slot, NULL);
    }
}

static void sweep_choose(void *context, struct sim_slot *slot)
{
    struct sweep *sweep = context;
    if (sweep->count++ == sweep->chosen) {
        sweep->slot = slot;
    }
}

static void redis_expire(struct sim_redis *redis, bool all)
{
    struct sweep sweep = {.redis = redis, .all = all, .now_ms = sim_clock_ms(redis->clock)};
    redis->store.command++;
    sim_store_each(&redis->store, sweep_expire, &sweep);
}

void sim_redis_expire_all(struct sim_redis *redis)
{
    redis_expire(redis, true);
}

static void redis_evict_some(struct sim_redis *redis, struct sim_random *random)
{
    uint64_t times = 1 + sim_random_below(random, EVICT_MOST);
    for (uint64_t i = 0; i < times; i++) {
        struct sweep count = {.redis = redis, .chosen = UINT64_MAX};
        sim_store_each(&redis->store, sweep_choose, &count);
        if (count.count == 0) {
            return;
        }
        struct sweep choose = {.redis = redis, .chosen = sim_random_below(random, count.count)};
        sim_store_each(&redis->store, sweep_choose, &choose);
        sim_store_put(&redis->store, choose.slot, NULL);
    }
}

void sim_redis_step(struct sim_redis *redis)
{
    redis_run_late(redis);
    redis_expire(redis, false);
    if (sim_fault(redis->faults, "redis.restart")) {
        sim_redis_restart(redis);
    }
    if (sim_fault(redis->faults, "redis.failover")) {
        struct sim_random *random = sim_faults_draw(redis->faults, "redis.failover");
        sim_redis_failover(redis, (uint32_t)sim_random_below(random, FAILOVER_MOST + 1));
    }
    if (sim_fault(redis->faults, "redis.evict")) {
        redis_evict_some(redis, sim_faults_draw(redis->faults, "redis.evict"));
    }
    if (sim_fault(redis->faults, "redis.down")) {
        int64_t ms = sim_random_between(sim_faults_draw(redis->faults, "redis.down"), 1, DOWN_MOST_MS);
        sim_redis_down_until(redis, sim_clock_ms(redis->clock) + ms);
    }
}

// ---- looking in ----

bool sim_redis_get(struct sim_redis *redis, const char *key, struct base_span *value)
{
    const struct sim_entry *entry = sim_redis_look(redis, base_span_string(key));
    if (!entry || !entry->value) {
        return false;
    }
    *value = base_span_make(entry->value->data, entry->value->size);
    return true;
}

int64_t sim_redis_ttl_ms(struct sim_redis *redis, const char *key)
{
    const struct sim_entry *entry = sim_redis_look(redis, base_span_string(key));
    if (!entry) {
        return -2;
    }
    return entry->expires_ms < 0 ? -1 : entry->expires_ms - sim_clock_ms(redis->clock);
}

struct each {
    void (*visit)(void *context, const char *key);
    void *context;
};

static void each_visit(void *context, struct sim_slot *slot)
{
    const struct each *each = context;
    each->visit(each->context, slot->key);
}

void sim_redis_each(struct sim_redis *redis, void (*visit)(void *context, const char *key), void *context)
{
    struct each each = {visit, context};
    redis_expire(redis, false);
    sim_store_each(&redis->store, each_visit, &each);
}

uint64_t sim_redis_commands(const struct sim_redis *redis)
{
    return redis->commands;
}

uint64_t sim_redis_hash(const struct sim_redis *redis)
{
    return redis->store.hash;
}

uint64_t sim_redis_mark(const struct sim_redis *redis)
{
    return sim_store_mark(&redis->store);
}

void sim_redis_rewind(struct sim_redis *redis, uint64_t mark)
{
    sim_store_rewind(&redis->store, mark);
}
