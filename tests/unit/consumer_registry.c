// The registry's client against a double: a thread that answers HTTP as each test wants it.
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <dirent.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "consumer/decoder.h"
#include "consumer/registry.h"

static struct base_error error;

// ---- The double ----

struct answer {
    int status;
    const char *body;
    int delay_ms;
};

static struct {
    int listener;
    char url[64];
    pthread_t thread;
    pthread_mutex_t lock;
    struct answer answer; // under the lock
    char request[4096];   // the last one; under the lock
    atomic_int requests;
    atomic_bool stop;
} fake;

static void fake_serve(int peer)
{
    char request[4096], head[256];
    size_t size = 0;
    while (size < sizeof request - 1) {
        ssize_t got = recv(peer, request + size, sizeof request - 1 - size, 0);
        if (got <= 0) {
            return;
        }
        size += (size_t)got;
        request[size] = '\0';
        if (strstr(request, "\r\n\r\n")) {
            break;
        }
    }
    pthread_mutex_lock(&fake.lock);
    memcpy(fake.request, request, size + 1);
    struct answer answer = fake.answer;
    pthread_mutex_unlock(&fake.lock);
    atomic_fetch_add(&fake.requests, 1);
    for (int waited = 0; waited < answer.delay_ms && !atomic_load(&fake.stop); waited += 10) {
        poll(NULL, 0, 10);
    }
    snprintf(head, sizeof head, "HTTP/1.1 %d X\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n",
             answer.status, strlen(answer.body));
    send(peer, head, strlen(head), MSG_NOSIGNAL);
    send(peer, answer.body, strlen(answer.body), MSG_NOSIGNAL);
}

static void *fake_run(void *context)
{
    while (!atomic_load(&fake.stop)) {
        struct pollfd wait = {.fd = fake.listener, .events = POLLIN};
        if (poll(&wait, 1, 20) == 1) {
            int peer = accept(fake.listener, NULL, NULL);
            if (peer >= 0) {
                fake_serve(peer);
                close(peer);
            }
        }
    }
    return context;
}

static void fake_start(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    pthread_mutex_init(&fake.lock, NULL);
    fake.listener = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert(fake.listener >= 0);
    cr_assert_eq(bind(fake.listener, (struct sockaddr *)&address, size), 0);
    cr_assert_eq(listen(fake.listener, 16), 0);
    cr_assert_eq(getsockname(fake.listener, (struct sockaddr *)&address, &size), 0);
    snprintf(fake.url, sizeof fake.url, "http://127.0.0.1:%d/apis/ccompat/v7/", ntohs(address.sin_port));
    cr_assert_eq(pthread_create(&fake.thread, NULL, fake_run, NULL), 0);
}

static void fake_stop(void)
{
    if (!atomic_exchange(&fake.stop, true)) {
        pthread_join(fake.thread, NULL);
        close(fake.listener);
    }
}

static void fake_answers(int status, const char *body, int delay_ms)
{
    pthread_mutex_lock(&fake.lock);
    fake.answer = (struct answer){status, body, delay_ms};
    pthread_mutex_unlock(&fake.lock);
}

static bool fake_was_asked(const char *text)
{
    pthread_mutex_lock(&fake.lock);
    bool found = strstr(fake.request, text) != NULL;
    pthread_mutex_unlock(&fake.lock);
    return found;
}

TestSuite(consumer_registry, .init = fake_start, .fini = fake_stop);

// ---- A clock that the tests turn ----

static _Atomic int64_t now_ns;

static int64_t turned_ns(void *context)
{
    (void)context;
    return atomic_load(&now_ns);
}

static const struct base_clock turned = {.monotonic_ns = turned_ns, .wall_ms = turned_ns};

static struct consumer_registry_config config_of(const char *cache)
{
    return (struct consumer_registry_config){
        .url = fake.url, .cache_dir = cache, .timeout_ms = 5000, .negative_ms = 1000, .clock = &turned};
}

static struct consumer_registry *registry_of(struct consumer_registry_config config)
{
    struct consumer_registry *registry = consumer_registry_new(&config, &error);
    cr_assert(registry, "%s", error.text);
    return registry;
}

// Asks until there is an answer other than "asked".
static int ask(struct consumer_registry *registry, uint32_t id, const char **schema)
{
    for (int i = 0; i < 10000; i++) {
        if (consumer_registry_schema(registry, id, schema, &error) == 0) {
            return 0;
        }
        if (!strstr(error.text, "asked")) {
            return -1;
        }
        cr_assert(error.code == BASE_ENETWORK && error.retriable);
        poll(NULL, 0, 1);
    }
    cr_assert(false, "no answer in ten seconds");
    return -1;
}

static int64_t monotonic_ms(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

#define STRING_SCHEMA "{\"schema\":\"\\\"string\\\"\"}"
#define UNKNOWN_ID "{\"error_code\":40403,\"message\":\"Schema not found\"}"

Test(consumer_registry, an_id_is_asked_once)
{
    const char *schema = NULL, *again = NULL;
    fake_answers(200, STRING_SCHEMA, 0);
    struct consumer_registry *registry = registry_of(config_of(NULL));
    cr_assert_eq(consumer_registry_schema(registry, 7, &schema, &error), -1);
    cr_assert_str_eq(error.text, "schema 7: asked");
    cr_assert_null(schema);
    cr_assert_eq(ask(registry, 7, &schema), 0);
    cr_assert_str_eq(schema, "\"string\"");
    cr_assert(fake_was_asked("GET /apis/ccompat/v7/schemas/ids/7 HTTP"), "%s", fake.request);
    for (uint32_t id = 100; id < 150; id++) { // the table grows, what was given stays
        cr_assert_eq(ask(registry, id, &again), 0);
    }
    cr_assert_eq(ask(registry, 7, &again), 0);
    cr_assert_eq(again, schema);
    cr_assert_eq(atomic_load(&fake.requests), 51);
    consumer_registry_free(registry);
}

Test(consumer_registry, an_unknown_id_is_remembered_for_a_while)
{
    const char *schema;
    fake_answers(404, UNKNOWN_ID, 0);
    struct consumer_registry *registry = registry_of(config_of(NULL));
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(ask(registry, 9, &schema), -1);
        cr_assert(error.code == BASE_ENOTFOUND && !error.retriable, "%s", error.text);
    }
    cr_assert_eq(atomic_load(&fake.requests), 1);
    fake_answers(200, STRING_SCHEMA, 0);
    atomic_store(&now_ns, INT64_C(999999999));
    cr_assert_eq(ask(registry, 9, &schema), -1);
    atomic_store(&now_ns, INT64_C(1000000000));
    cr_assert_eq(ask(registry, 9, &schema), 0, "%s", error.text);
    cr_assert_eq(atomic_load(&fake.requests), 2);
    consumer_registry_free(registry);
}

Test(consumer_registry, only_its_own_word_makes_an_id_unknown)
{
    const struct {
        int status;
        const char *body, *says;
    } cases[] = {
        {500, "{\"error_code\":50001}", "status 500"},
        {404, "<html>not here</html>", "status 404"},
        {404, "{\"error_code\":404,\"message\":\"HTTP 404 Not Found\"}", "status 404"},
        {401, "{\"error_code\":401}", "status 401"},
        {302, "", "status 302"},
        {200, "{\"schema\":", "no schema"},
        {200, "[]", "no schema"},
        {200, "", "no schema"},
        {200, "{\"schema\":7}", "no schema"},
    };
    for (uint32_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *schema;
        struct consumer_registry *registry = registry_of(config_of(NULL));
        fake_answers(cases[i].status, cases[i].body, 0);
        int before = atomic_load(&fake.requests);
        for (int k = 0; k < 3; k++) {
            cr_assert_eq(ask(registry, i, &schema), -1);
            cr_assert(error.code == BASE_ENETWORK && error.retriable, "%u: %s", i, error.text);
            cr_assert(strstr(error.text, cases[i].says), "%u: %s", i, error.text);
        }
        cr_assert_eq(atomic_load(&fake.requests), before + 1, "a failure is remembered too");
        fake_answers(200, STRING_SCHEMA, 0);
        atomic_fetch_add(&now_ns, INT64_C(1000000000));
        cr_assert_eq(ask(registry, i, &schema), 0);
        consumer_registry_free(registry);
    }
}

Test(consumer_registry, another_kind_of_schema_stays_unknown)
{
    const char *schema;
    fake_answers(200, "{\"schemaType\":\"PROTOBUF\",\"schema\":\"message A {}\"}", 0);
    struct consumer_registry *registry = registry_of(config_of(NULL));
    cr_assert_eq(ask(registry, 3, &schema), -1);
    cr_assert_eq(error.code, BASE_ENOTFOUND);
    cr_assert(strstr(error.text, "PROTOBUF"), "%s", error.text);
    fake_answers(200, "{\"schemaType\":\"AVRO\",\"schema\":\"\\\"int\\\"\"}", 0);
    cr_assert_eq(ask(registry, 4, &schema), 0);
    consumer_registry_free(registry);
}

Test(consumer_registry, many_unknown_ids_do_not_fill_memory)
{
    const char *schema;
    fake_answers(404, UNKNOWN_ID, 0);
    struct consumer_registry *registry = registry_of(config_of(NULL));
    for (uint32_t id = 0; id < 1100; id++) {
        cr_assert_eq(ask(registry, id, &schema), -1);
        cr_assert_eq(error.code, BASE_ENOTFOUND);
    }
    // The oldest were forgotten before their time, so they are asked again.
    int before = atomic_load(&fake.requests);
    cr_assert_eq(ask(registry, 0, &schema), -1);
    cr_assert_eq(ask(registry, 1099, &schema), -1);
    cr_assert_eq(atomic_load(&fake.requests), before + 1);
    consumer_registry_free(registry);
}

Test(consumer_registry, a_slow_answer_blocks_nobody)
{
    const char *schema;
    fake_answers(200, STRING_SCHEMA, 300);
    struct consumer_registry *registry = registry_of(config_of(NULL));
    int64_t start = monotonic_ms();
    for (int i = 0; i < 1000; i++) {
        cr_assert_eq(consumer_registry_schema(registry, 1, &schema, &error), -1);
    }
    cr_assert(monotonic_ms() - start < 200, "a call waited");
    cr_assert_eq(ask(registry, 1, &schema), 0);
    consumer_registry_free(registry);

    struct consumer_registry_config config = config_of(NULL);
    config.timeout_ms = 100;
    registry = registry_of(config);
    cr_assert_eq(ask(registry, 1, &schema), -1);
    cr_assert(error.retriable && strstr(error.text, "imeout"), "%s", error.text);
    consumer_registry_free(registry);
}

Test(consumer_registry, a_stop_does_not_wait_for_an_answer)
{
    const char *schema;
    fake_answers(200, STRING_SCHEMA, 20000);
    struct consumer_registry_config config = config_of(NULL);
    config.timeout_ms = 20000;
    struct consumer_registry *registry = registry_of(config);
    cr_assert_eq(consumer_registry_schema(registry, 1, &schema, &error), -1);
    while (atomic_load(&fake.requests) == 0) {
        poll(NULL, 0, 1);
    }
    int64_t start = monotonic_ms();
    consumer_registry_free(registry);
    cr_assert(monotonic_ms() - start < 1000);
}

static void cache_make(char cache[64])
{
    snprintf(cache, 64, "/tmp/freshet_registry_XXXXXX");
    cr_assert(mkdtemp(cache));
}

static void cache_drop(const char *cache)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", cache);
    cr_assert_eq(system(command), 0);
}

// The one file of a cache; false if there is not exactly one.
static bool cache_file(const char *cache, char path[512])
{
    DIR *directory = opendir(cache);
    int count = 0;
    for (struct dirent *entry; (entry = readdir(directory));) {
        if (entry->d_name[0] != '.') {
            snprintf(path, 512, "%s/%s", cache, entry->d_name);
            count++;
        }
    }
    closedir(directory);
    return count == 1;
}

Test(consumer_registry, a_restart_does_without_the_registry)
{
    char cache[64], path[512];
    const char *schema;
    cache_make(cache);
    fake_answers(200, STRING_SCHEMA, 0);
    struct consumer_registry *registry = registry_of(config_of(cache));
    cr_assert_eq(ask(registry, 7, &schema), 0);
    consumer_registry_free(registry);
    cr_assert(cache_file(cache, path), "one file, and none left aside");
    fake_stop();

    registry = registry_of(config_of(cache));
    cr_assert_eq(ask(registry, 7, &schema), 0, "%s", error.text);
    cr_assert_str_eq(schema, "\"string\"");
    cr_assert_eq(ask(registry, 8, &schema), -1);
    cr_assert(error.code == BASE_ENETWORK && error.retriable);
    consumer_registry_free(registry);

    // Another registry's ids are its own.
    struct consumer_registry_config config = config_of(cache);
    char other[128];
    snprintf(other, sizeof other, "%sother", fake.url);
    config.url = other;
    registry = registry_of(config);
    cr_assert_eq(ask(registry, 7, &schema), -1);
    consumer_registry_free(registry);
    cache_drop(cache);
}

Test(consumer_registry, a_spoilt_cache_is_asked_again)
{
    char cache[64], path[512];
    const char *schema;
    cache_make(cache);
    fake_answers(200, STRING_SCHEMA, 0);
    struct consumer_registry *registry = registry_of(config_of(cache));
    cr_assert_eq(ask(registry, 7, &schema), 0);
    consumer_registry_free(registry);
    cr_assert(cache_file(cache, path));
    for (int i = 0; i < 3; i++) {
        FILE *file = fopen(path, i == 0 ? "w" : "r+");
        fputs(i == 0 ? "" : i == 1 ? "short" : "0000000000000000\n\"bytes\"", file);
        fclose(file);
        registry = registry_of(config_of(cache));
        cr_assert_eq(ask(registry, 7, &schema), 0);
        cr_assert_str_eq(schema, "\"string\"");
        consumer_registry_free(registry);
        cr_assert_eq(atomic_load(&fake.requests), 2 + i);
    }
    cache_drop(cache);
}

Test(consumer_registry, a_cache_that_cannot_be_written_costs_nothing_now)
{
    char cache[64];
    const char *schema;
    cache_make(cache);
    fake_answers(200, STRING_SCHEMA, 0);
    struct consumer_registry *registry = registry_of(config_of(cache));
    cr_assert_eq(rmdir(cache), 0);
    cr_assert_eq(ask(registry, 7, &schema), 0);
    consumer_registry_free(registry);
}

Test(consumer_registry, authentication)
{
    const char *schema;
    fake_answers(200, STRING_SCHEMA, 0);
    struct consumer_registry_config config = config_of(NULL);
    config.user = "ann";
    config.password = "se:cret";
    struct consumer_registry *registry = registry_of(config);
    cr_assert_eq(ask(registry, 1, &schema), 0);
    cr_assert(fake_was_asked("Authorization: Basic YW5uOnNlOmNyZXQ="), "%s", fake.request);
    consumer_registry_free(registry);
    config = config_of(NULL);
    config.token = "abc.def";
    registry = registry_of(config);
    cr_assert_eq(ask(registry, 1, &schema), 0);
    cr_assert(fake_was_asked("Authorization: Bearer abc.def\r\n"), "%s", fake.request);
    consumer_registry_free(registry);
    config = config_of(NULL);
    config.ca_file = "/no/such/ca.pem"; // only TLS reads it; a missing one is a failure to be mended
    char https[128];
    snprintf(https, sizeof https, "https%.60s", fake.url + 4);
    config.url = https;
    registry = registry_of(config);
    cr_assert_eq(ask(registry, 1, &schema), -1);
    cr_assert(error.retriable, "%s", error.text);
    consumer_registry_free(registry);
}

Test(consumer_registry, what_is_refused_at_the_start)
{
    const struct consumer_registry_config good = config_of(NULL);
    const char *urls[] = {"ftp://x/", "127.0.0.1:8081", "http://ann:secret@x/"};
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        struct consumer_registry_config config = good;
        config.url = urls[i];
        cr_assert_null(consumer_registry_new(&config, &error));
        cr_assert_eq(error.code, BASE_EINVAL);
        cr_assert_null(strstr(error.text, "secret"));
    }
    struct consumer_registry_config config = good;
    config.timeout_ms = 0;
    cr_assert_null(consumer_registry_new(&config, &error));
    config = good;
    config.user = "a:b";
    cr_assert_null(consumer_registry_new(&config, &error));
    config = good;
    config.cache_dir = "/proc/no/such";
    cr_assert_null(consumer_registry_new(&config, &error));
    cr_assert_eq(error.code, BASE_EIO);
    consumer_registry_free(NULL);
}

Test(consumer_registry, a_decoder_waits_for_it_and_goes_on)
{
    const char *body = "{\"schema\":\"{\\\"type\\\":\\\"record\\\",\\\"name\\\":\\\"R\\\",\\\"fields\\\":[{"
                       "\\\"name\\\":\\\"id\\\",\\\"type\\\":\\\"string\\\"},{\\\"name\\\":\\\"t\\\","
                       "\\\"type\\\":\\\"long\\\"}]}\"}";
    struct consumer_registry *registry = registry_of(config_of(NULL));
    struct consumer_decoder_config config = {
        .topic = "t", .framing = CONSUMER_FRAMING_CONFLUENT, .event_time = "t", .impression_id = "id"};
    struct consumer_decoder *decoder = consumer_decoder_new(&config, registry, &error);
    cr_assert(decoder, "%s", error.text);
    struct consumer_event event;
    struct consumer_message message = {.value = base_span_make("\0\0\0\0\5\2x\2", 8)};
    enum consumer_decode answer;

    fake_answers(503, "", 0);
    for (int i = 0; i < 50; i++) {
        answer = consumer_decoder_decode(decoder, NULL, &message, &event, &error);
        cr_assert_eq(answer, CONSUMER_DECODE_BLOCKED, "a failure sets nothing aside: %s", error.text);
        poll(NULL, 0, 2);
    }
    fake_answers(200, body, 0);
    atomic_fetch_add(&now_ns, INT64_C(1000000000));
    while ((answer = consumer_decoder_decode(decoder, NULL, &message, &event, &error)) ==
           CONSUMER_DECODE_BLOCKED) {
        atomic_fetch_add(&now_ns, INT64_C(1000000000));
        poll(NULL, 0, 1);
    }
    cr_assert_eq(answer, CONSUMER_DECODE_EVENT, "%s", error.text);
    cr_assert_eq(event.event_time, 1);
    fake_answers(404, UNKNOWN_ID, 0);
    message.value = base_span_make("\0\0\0\0\6\2x\2", 8);
    while ((answer = consumer_decoder_decode(decoder, NULL, &message, &event, &error)) ==
           CONSUMER_DECODE_BLOCKED) {
        poll(NULL, 0, 1);
    }
    cr_assert_eq(answer, CONSUMER_DECODE_DEAD);
    cr_assert(strstr(error.text, "no such id"), "%s", error.text);
    consumer_decoder_free(decoder);
    consumer_registry_free(registry);
}
