// The simulated stream of the benchmarks. See bench_stream.h.
#include "daemon/bench_stream.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

int daemon_bench_stream_produce(const struct daemon_bench_stream *stream, struct daemon_produce_sink *sink,
                                uint64_t *records, struct base_error *error)
{
    if (!sink) {
        return -1;
    }
    struct daemon_produce_record record = {0};
    struct daemon_market_event event;
    const struct daemon_market_impression *impression;
    struct daemon_market *market = daemon_market_new(&stream->market, error);
    int result = market ? 0 : -1;
    *records = 0;
    while (result == 0 && daemon_market_next(market, &event, &impression)) {
        daemon_produce_encode(stream->market.seed, &event, impression, &record);
        result = sink->operations->put(sink, &record, error);
        ++*records;
    }
    if (result == 0) {
        result = sink->operations->finish(sink, error);
    }
    daemon_market_free(market);
    daemon_produce_record_free(&record);
    sink->operations->free(sink);
    return result;
}

static void stream_write_config(const struct daemon_bench_stream *stream, const char *directory,
                                const char *source, const char *redis, uint32_t workers, FILE *file)
{
    fprintf(file,
            "state_dir: %s\n"
            "model:\n"
            "  name: bench\n"
            "  batch: 256\n"
            "  levels:\n"
            "    - {experts: [256, 128], per_task: 2, shared: 2}\n"
            "    - {experts: [128], per_task: 2, shared: 2}\n"
            "  towers: [64]\n"
            "  workers: %" PRIu32 "\n"
            "source: %s\n"
            "impression: {topic: %s, framing: single_object, allowed_lateness: %" PRId64 "ms}\n"
            "actions:\n",
            directory, workers, source, stream->topics[0], stream->lateness_ms);
    for (uint32_t rank = 1; rank < DAEMON_MARKET_RANKS; rank++) {
        fprintf(file,
                "  - {name: %s, topic: %s, framing: single_object, allowed_lateness: %" PRId64 "ms, "
                "wait: %" PRId64 "ms, window: %" PRId64 "ms}\n",
                rank == 1 ? "click" : "purchase", stream->topics[rank], stream->lateness_ms,
                rank == 1 ? stream->click_wait_ms : stream->purchase_wait_ms,
                rank == 1 ? stream->market.click_window_ms : stream->market.purchase_window_ms);
    }
    fputs("slots:\n", file);
    for (uint32_t s = 0; s < DAEMON_MARKET_SLOTS; s++) {
        const char *name = daemon_market_slot_name(s);
        fprintf(file, "  - {name: %s, path: categorical.%s, dimension: 16}\n", name, name);
    }
    fprintf(file, "redis: %s\n", redis ? redis : "{address: \"127.0.0.1:6379\"}");
}

struct daemon_config *daemon_bench_stream_config(const struct daemon_bench_stream *stream,
                                                 const char *directory, const char *source, const char *redis,
                                                 uint32_t workers, struct base_error *error)
{
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);
    if (!file) {
        base_error_set(error, BASE_ENOMEM, "the text of a configuration");
        return NULL;
    }
    stream_write_config(stream, directory, source, redis, workers, file);
    fclose(file);
    struct base_config_problems *problems = base_alloc_zeroed(1, sizeof *problems);
    struct daemon_config *config =
        daemon_config_load_text("bench.yaml", base_span_make(text, size), problems);
    for (uint32_t i = 0; !config && i < problems->count; i++) {
        if (!problems->item[i].warning) {
            base_error_set(error, BASE_EINVAL, "%s", problems->item[i].text);
            break;
        }
    }
    free(problems);
    free(text);
    return config;
}
