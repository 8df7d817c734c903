// Tests of the simulated Redis: the same answers as a real one, and what befalls it.
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "publisher/head.h"
#include "simulation/sim_publication.h"
#include "support_redis.h"

enum { KEYS = 12, ROUNDS = 3000, WORDS_MOST = 16 };

// ---- against a real server ----

struct pair {
    struct publisher_redis *real, *simulated;
    struct sim_random random;
};

static bool is_stream_id(struct base_span text)
{
    bool dash = false;
    for (size_t i = 0; i < text.size; i++) {
        dash = dash || text.data[i] == '-';
        if (text.data[i] != '-' && (text.data[i] < '0' || text.data[i] > '9')) {
            return false;
        }
    }
    return dash;
}

// A time to live: the real server's time goes on during the test.
static bool is_near(int64_t a, int64_t b)
{
    return a > 100 && b > 100 && a - b < 100 && b - a < 100;
}

// Equal but for the ids of a stream's entries and times to live, which are the servers' times.
static bool reply_same(const struct publisher_reply *a, const struct publisher_reply *b)
{
    if (publisher_reply_type(a) != publisher_reply_type(b)) {
        return false;
    }
    struct base_span left = publisher_reply_text(a), right = publisher_reply_text(b);
    switch (publisher_reply_type(a)) {
    case PUBLISHER_REPLY_INTEGER:
        return publisher_reply_integer(a) == publisher_reply_integer(b) ||
               is_near(publisher_reply_integer(a), publisher_reply_integer(b));
    case PUBLISHER_REPLY_ERROR: // the kind of error
        return strcspn((const char *)left.data, " ") == strcspn((const char *)right.data, " ") &&
               memcmp(left.data, right.data, strcspn((const char *)left.data, " ")) == 0;
    case PUBLISHER_REPLY_STATUS:
    case PUBLISHER_REPLY_STRING:
        return base_span_equal(left, right) || (is_stream_id(left) && is_stream_id(right));
    default:
        break;
    }
    if (publisher_reply_count(a) != publisher_reply_count(b)) {
        return false;
    }
    for (uint32_t i = 0; i < publisher_reply_count(a); i++) {
        if (!reply_same(publisher_reply_at(a, i), publisher_reply_at(b, i))) {
            return false;
        }
    }
    return true;
}

static void pair_run(struct pair *pair, const char *const *texts, uint32_t count)
{
    struct base_span words[WORDS_MOST];
    struct publisher_reply *real, *simulated;
    struct base_error error;
    char command[512] = "";
    for (uint32_t i = 0; i < count; i++) {
        words[i] = base_span_string(texts[i]);
        snprintf(command + strlen(command), sizeof command - strlen(command), "%s ", texts[i]);
    }
    cr_assert_eq(publisher_redis_send(pair->real, words, count, &error), 0, "%s", error.text);
    cr_assert_eq(publisher_redis_send(pair->simulated, words, count, &error), 0, "%s", error.text);
    cr_assert_eq(publisher_redis_receive(pair->real, 0, &real, &error), 0, "%s", error.text);
    cr_assert_eq(publisher_redis_receive(pair->simulated, 0, &simulated, &error), 0, "%s", error.text);
    cr_assert(reply_same(real, simulated), "%s: not the same answer", command);
    publisher_reply_free(real);
    publisher_reply_free(simulated);
}

static void pair_command(struct pair *pair, const char *key, const char *other, const char *value)
{
#define RUN(...)                                       \
    pair_run(pair, (const char *const[]){__VA_ARGS__}, \
             sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))
    switch (sim_random_below(&pair->random, 12)) {
    case 0:
        RUN("SET", key, value);
        break;
    case 1:
        RUN("SET", key, value, "NX", "EX", "600");
        break;
    case 2:
        RUN("GET", key);
        break;
    case 3:
        RUN("EXISTS", key, other, key);
        break;
    case 4:
        RUN("EXPIRE", key, "600");
        break;
    case 5:
        RUN("PERSIST", key);
        break;
    case 6:
        RUN("TTL", key);
        break;
    case 7:
        RUN("DEL", key, other);
        break;
    case 8:
        RUN("UNLINK", key);
        break;
    case 9:
        RUN("XADD", key, "*", "version", value);
        break;
    case 10:
        RUN("XREVRANGE", key, "+", "-", "COUNT", "1");
        break;
    default:
        RUN("XREAD", "BLOCK", "1", "STREAMS", key, "0-0");
        break;
    }
#undef RUN
}

// Both take an epoch, or move head, in the same way.
static void pair_script(struct pair *pair)
{
    struct publisher_claim claims[2];
    struct base_error errors[2];
    char heads[2][PUBLISHER_HEAD_MAX] = {"", ""};
    struct publisher_redis *redis[2] = {pair->real, pair->simulated};
    struct publisher_claim claim = {.epoch = sim_random_below(&pair->random, 30)};
    memset(claim.token, sim_random_bits(&pair->random) & 1 ? 'a' : 'b', sizeof claim.token - 1);
    claim.token[sizeof claim.token - 1] = '\0';
    int results[2];
    if (sim_random_bits(&pair->random) & 1) {
        uint64_t least = sim_random_below(&pair->random, 30);
        bool renew = sim_random_bits(&pair->random) & 1;
        for (int i = 0; i < 2; i++) {
            claims[i] = claim;
            results[i] = publisher_head_take(redis[i], "m", &claims[i], least, renew, heads[i], &errors[i]);
        }
        cr_assert_eq(results[0], results[1], "%s; %s", results[0] ? errors[0].text : "taken",
                     results[1] ? errors[1].text : "taken");
        cr_assert_eq(claims[0].epoch, claims[1].epoch, "%d and %d", (int)claims[0].epoch,
                     (int)claims[1].epoch);
        cr_assert_str_eq(heads[0], heads[1]);
    } else {
        char from[64], to[64], key[32];
        struct publisher_names added = {0}, superseded = {0};
        enum publisher_move_outcome outcomes[2] = {PUBLISHER_MOVED, PUBLISHER_MOVED};
        for (int i = 0; i < 3; i++) {
            snprintf(key, sizeof key, "{freshet:m}:k%d", (int)sim_random_below(&pair->random, KEYS));
            publisher_names_add(i < 2 ? &added : &superseded, key);
        }
        struct publisher_move move = {
            .from = sim_random_bits(&pair->random) & 1 ? from : "",
            .to = to,
            .version = {1 + sim_random_below(&pair->random, 30), 2},
            .full = true,
            .ttl_s = 500,
            .added = &added,
            .superseded = &superseded,
        };
        snprintf(to, sizeof to, "%d.2 0123456789abcdef", (int)move.version.epoch);
        struct publisher_reply *head;
        struct base_span get[] = {base_span_string("GET"), base_span_string("{freshet:m}:head")};
        from[0] = '\0';
        if (publisher_redis_call(redis[0], get, 2, &head, &errors[0]) == 0) { // not a stream
            struct base_span text = publisher_reply_text(head);
            snprintf(from, sizeof from, "%.*s", (int)text.size, text.data ? (const char *)text.data : "");
            publisher_reply_free(head);
        }
        for (int i = 0; i < 2; i++) {
            results[i] = publisher_head_move(redis[i], "m", &claim, &move, &outcomes[i], &errors[i]);
        }
        cr_assert_eq(outcomes[0], outcomes[1]);
        publisher_names_free(&added);
        publisher_names_free(&superseded);
    }
    cr_assert_eq(results[0], results[1]);
    cr_assert(results[0] == 0 || errors[0].code == errors[1].code);
}

Test(sim_redis, it_answers_as_a_real_one)
{
    struct support_redis *server = support_redis_start(NULL);
    struct base_error error;
    struct sim_clock clock;
    sim_clock_init(&clock, 1700000000000);
    struct sim_redis *redis = sim_redis_new(&clock, NULL);
    struct publisher_redis_config real = {.socket = support_redis_socket(server), .timeout_ms = 5000};
    struct publisher_redis_config simulated = {.transport = sim_redis_transport(redis), .timeout_ms = 5000};
    struct pair pair = {publisher_redis_new(&real, &error), publisher_redis_new(&simulated, &error),
                        sim_random_make(1, "pair")};
    cr_assert_eq(publisher_redis_connect(pair.real, &error), 0, "%s", error.text);
    cr_assert_eq(publisher_redis_connect(pair.simulated, &error), 0, "%s", error.text);
    for (int i = 0; i < ROUNDS; i++) {
        char key[2][32], value[64];
        for (int k = 0; k < 2; k++) {
            snprintf(key[k], sizeof key[k], "{freshet:m}:k%d", (int)sim_random_below(&pair.random, KEYS));
        }
        snprintf(value, sizeof value, "%d.2 text", (int)sim_random_below(&pair.random, 40));
        if (sim_random_below(&pair.random, 3) == 0) {
            pair_script(&pair);
        } else {
            const char *const special[] = {"{freshet:m}:epoch", "{freshet:m}:head"};
            bool other = sim_random_below(&pair.random, 30) == 0;
            pair_command(&pair, other ? special[sim_random_bits(&pair.random) & 1] : key[0], key[1], value);
        }
    }
    publisher_redis_free(pair.real);
    publisher_redis_free(pair.simulated);
    sim_redis_free(redis);
    support_redis_stop(server);
}

// ---- what befalls it ----

struct alone {
    struct sim_clock clock;
    struct sim_redis *redis;
    struct publisher_redis *client;
    struct base_error error;
};

static void alone_begin(struct alone *alone)
{
    sim_clock_init(&alone->clock, 0);
    alone->redis = sim_redis_new(&alone->clock, NULL);
    struct publisher_redis_config config = {.transport = sim_redis_transport(alone->redis),
                                            .timeout_ms = 100};
    alone->client = publisher_redis_new(&config, &alone->error);
    cr_assert_eq(publisher_redis_connect(alone->client, &alone->error), 0);
}

static void alone_end(struct alone *alone)
{
    publisher_redis_free(alone->client);
    sim_redis_free(alone->redis);
}

static int alone_set(struct alone *alone, const char *key, const char *value)
{
    struct base_span words[] = {base_span_string("SET"), base_span_string(key), base_span_string(value),
                                base_span_string("EX"), base_span_string("10")};
    struct publisher_reply *reply;
    if (publisher_redis_call(alone->client, words, 5, &reply, &alone->error)) {
        return -1;
    }
    publisher_reply_free(reply);
    return 0;
}

static bool alone_has(struct alone *alone, const char *key)
{
    struct base_span value;
    return sim_redis_get(alone->redis, key, &value);
}

Test(sim_redis, keys_expire_by_its_clock)
{
    struct alone alone;
    alone_begin(&alone);
    cr_assert_eq(alone_set(&alone, "a", "1"), 0);
    sim_clock_advance(&alone.clock, INT64_C(9999000000));
    cr_assert(alone_has(&alone, "a"));
    cr_assert_eq(sim_redis_ttl_ms(alone.redis, "a"), 1);
    sim_clock_advance(&alone.clock, 1000000);
    cr_assert_not(alone_has(&alone, "a"));
    cr_assert_eq(sim_redis_ttl_ms(alone.redis, "a"), -2);
    alone_end(&alone);
}

Test(sim_redis, a_failover_loses_the_last_commands_and_a_restart_all)
{
    struct alone alone;
    struct publisher_redis_server first, second;
    alone_begin(&alone);
    cr_assert_eq(publisher_redis_inspect(alone.client, &first, &alone.error), 0);
    cr_assert(first.master && strcmp(first.policy, "noeviction") == 0);
    cr_assert(!alone_set(&alone, "a", "1") && !alone_set(&alone, "b", "1") && !alone_set(&alone, "c", "1"));
    sim_redis_failover(alone.redis, 2);
    cr_assert(alone_has(&alone, "a") && !alone_has(&alone, "b") && !alone_has(&alone, "c"));
    cr_assert_eq(alone_set(&alone, "d", "1"), -1, "the connection has ended");
    cr_assert(alone.error.code == BASE_ENETWORK && !publisher_redis_connected(alone.client));
    cr_assert_eq(publisher_redis_connect(alone.client, &alone.error), 0);
    cr_assert_eq(publisher_redis_inspect(alone.client, &second, &alone.error), 0);
    cr_assert_str_neq(first.run_id, second.run_id);
    sim_redis_restart(alone.redis);
    cr_assert_not(alone_has(&alone, "a"));
    sim_redis_down_until(alone.redis, sim_clock_ms(&alone.clock) + 50);
    publisher_redis_close(alone.client);
    cr_assert_eq(publisher_redis_connect(alone.client, &alone.error), -1);
    publisher_redis_wait(alone.client, 50);
    cr_assert_eq(publisher_redis_connect(alone.client, &alone.error), 0);
    alone_end(&alone);
}

// Connected to a server of which one site always fires.
static void alone_begin_failing(struct alone *alone, struct sim_faults *faults, uint64_t seed,
                                const char *site)
{
    sim_faults_init(faults, seed);
    sim_clock_init(&alone->clock, 0);
    alone->redis = sim_redis_new(&alone->clock, faults);
    for (uint32_t s = 0; s < faults->count; s++) {
        faults->sites[s].on = strcmp(faults->sites[s].name, site) == 0;
        faults->sites[s].rate = 1;
    }
    struct publisher_redis_config config = {.transport = sim_redis_transport(alone->redis),
                                            .timeout_ms = 100};
    alone->client = publisher_redis_new(&config, &alone->error);
    cr_assert_eq(publisher_redis_connect(alone->client, &alone->error), 0);
}

// One site at a time, always firing: what the client sees, and what the server has done.
Test(sim_redis, connections_end_before_and_after_a_command)
{
    static const struct {
        const char *site;
        bool run; // the command was
    } cases[] = {{"redis.lost_before", false}, {"redis.lost_after", true}, {"redis.refuse", false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (uint64_t seed = 0; seed < 20; seed++) {
            struct sim_faults faults;
            struct alone alone;
            alone_begin_failing(&alone, &faults, seed, cases[i].site);
            cr_assert_eq(alone_set(&alone, "a", "1"), -1);
            bool refused = strcmp(cases[i].site, "redis.refuse") == 0;
            cr_assert_eq(alone.error.code, refused ? BASE_EREFUSED : BASE_ENETWORK);
            cr_assert(alone.error.retriable);
            cr_assert_eq(alone_has(&alone, "a"), cases[i].run);
            alone_end(&alone);
        }
    }
}

// A command that its client takes for lost arrives later, between others'.
Test(sim_redis, a_late_command_arrives_among_later_ones)
{
    int arrived = 0, never = 0;
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct sim_faults faults;
        struct alone alone;
        alone_begin_failing(&alone, &faults, seed, "redis.late");
        int64_t before = alone.clock.now_ns;
        cr_assert_eq(alone_set(&alone, "a", "late"), -1);
        cr_assert_eq(alone.clock.now_ns - before, 100000000, "it waits in vain");
        cr_assert_not(alone_has(&alone, "a"));
        faults.quiet = true;
        cr_assert_eq(publisher_redis_connect(alone.client, &alone.error), 0);
        bool there = false;
        for (int i = 0; i < 200 && !there; i++) {
            cr_assert_eq(alone_set(&alone, "b", "1"), 0);
            there = alone_has(&alone, "a");
        }
        arrived += there;
        never += !there;
        alone_end(&alone);
    }
    cr_assert(arrived > 100 && never > 0, "%d arrived, %d never did", arrived, never);
}

// A publisher dies while its command that takes an epoch is under way. When the command arrives at last, its
// successor keeps what it has taken.
Test(sim_redis, a_dead_publishers_take_does_not_outbid_its_successor)
{
    for (uint64_t seed = 0; seed < 100; seed++) {
        struct sim_faults faults;
        struct alone alone;
        struct publisher_claim dead = {.token = "aaaa"}, successor = {.token = "bbbb"};
        char head[PUBLISHER_HEAD_MAX];
        alone_begin_failing(&alone, &faults, seed, "redis.late");
        cr_assert_eq(publisher_head_take(alone.client, "m", &dead, 5, false, head, &alone.error), -1);
        faults.quiet = true;
        cr_assert_eq(publisher_redis_connect(alone.client, &alone.error), 0);
        cr_assert_eq(publisher_head_take(alone.client, "m", &successor, 5, false, head, &alone.error), 0);
        uint64_t epoch = successor.epoch;
        for (int i = 0; i < 200; i++) { // the late command arrives among these, if ever
            cr_assert_eq(alone_set(&alone, "b", "1"), 0);
        }
        cr_assert_eq(publisher_head_take(alone.client, "m", &successor, 0, true, head, &alone.error), 0, "%s",
                     alone.error.text);
        cr_assert_eq(successor.epoch, epoch + 1, "seed %d: nobody took one between", (int)seed);
        alone_end(&alone);
    }
}

Test(sim_redis, changes_can_be_taken_back)
{
    struct alone alone;
    alone_begin(&alone);
    cr_assert(!alone_set(&alone, "a", "1") && !alone_set(&alone, "b", "1"));
    uint64_t hash = sim_redis_hash(alone.redis);
    uint64_t mark = sim_redis_mark(alone.redis);
    cr_assert(!alone_set(&alone, "a", "2") && !alone_set(&alone, "c", "1"));
    cr_assert(sim_redis_evict(alone.redis, "b"));
    cr_assert_neq(sim_redis_hash(alone.redis), hash);
    sim_redis_rewind(alone.redis, mark);
    cr_assert_eq(sim_redis_hash(alone.redis), hash);
    struct base_span value;
    cr_assert(sim_redis_get(alone.redis, "a", &value) && base_span_equal(value, base_span_string("1")));
    cr_assert(alone_has(&alone, "b") && !alone_has(&alone, "c"));
    alone_end(&alone);
}
