// The simulated stream that the benchmarks of the consumer and the pipeline read: its records, and the
// configuration that reads them with the reference model (24 slots of 16, no numeric inputs, PLE of two
// levels, two tasks).
#ifndef DAEMON_BENCH_STREAM_H
#define DAEMON_BENCH_STREAM_H

#include "daemon/config.h"
#include "daemon/market.h"
#include "daemon/produce.h"

struct daemon_bench_stream {
    struct daemon_market_config market;
    const char *topics[DAEMON_MARKET_RANKS];
    int64_t lateness_ms, click_wait_ms, purchase_wait_ms;
};

// Puts all records of the market into `sink` and finishes it; *records counts them. Frees the sink. A null
// sink is passed on as the error that `error` holds already.
int daemon_bench_stream_produce(const struct daemon_bench_stream *stream, struct daemon_produce_sink *sink,
                                uint64_t *records, struct base_error *error);

// The configuration of a reader. `source` and `redis` are the values of these settings (YAML); `redis` may
// be NULL. The caller frees it. Error: BASE_EINVAL, the first problem.
struct daemon_config *daemon_bench_stream_config(const struct daemon_bench_stream *stream,
                                                 const char *directory, const char *source, const char *redis,
                                                 uint32_t workers, struct base_error *error);

#endif
