// The benchmark of the dense half of a training step against its limit (bench_limit.h), measured in turns in
// the same run; and that of one large product.
#include <math.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/random.h"
#include "daemon/bench.h"
#include "daemon/bench_limit.h"
#include "daemon/bench_machine.h"
#include "trainer/blas.h"
#include "trainer/network.h"

enum {
    TRAIN_EXAMPLES = 1024, // of one measurement: short, so that some escape what else the machine does
    TRAIN_TURNS = 64,      // measurements, of which the best counts
};

static float *train_random(size_t count, double scale, const char *name)
{
    float *values = base_alloc_aligned(count * sizeof *values);
    uint64_t key = base_random_key(1, name);
    for (size_t i = 0; i < count; i++) {
        values[i] = (float)(scale * base_random_normal(key, i));
    }
    return values;
}

// ---- The step --------------------------------------------------------------------------------------------

struct train_bench {
    struct trainer_network_config config;
    struct trainer_network *network;
    struct daemon_bench_limit *limit;
    float *input, *gradient; // [batch x inputs]
    float *logits, *dlogits; // [batch x tasks]
};

static void train_step(struct train_bench *bench, uint32_t n)
{
    trainer_network_forward(bench->network, bench->input, n, bench->logits);
    trainer_network_backward(bench->network, bench->input, bench->dlogits, n, bench->gradient);
    if (trainer_network_finite(bench->network, bench->gradient, n)) {
        trainer_network_apply(bench->network, bench->input, n, 1e-6f);
    }
}

// Seconds of one step, the mean over TRAIN_EXAMPLES.
static double train_time(struct train_bench *bench, uint32_t n)
{
    uint32_t steps = TRAIN_EXAMPLES / n;
    double begin = daemon_bench_seconds();
    for (uint32_t s = 0; s < steps; s++) {
        train_step(bench, n);
    }
    return (daemon_bench_seconds() - begin) / steps;
}

static void train_measure(struct train_bench *bench, uint32_t workers, uint32_t n, FILE *out)
{
    double step = INFINITY, limit = INFINITY;
    const char *way = "";
    for (uint32_t turn = 0; turn < TRAIN_TURNS; turn++) {
        step = fmin(step, train_time(bench, n));
        limit = daemon_bench_limit_turn(bench->limit, n, &way);
    }
    double gflop = 1e-9 * n * trainer_network_flop_step(&bench->config);
    fprintf(out,
            "{\"bench\":\"network\",\"batch\":%u,\"workers\":%u,\"examples_per_second\":%.0f,"
            "\"gflop_per_second\":%.1f,\"limit_gflop_per_second\":%.1f,\"limit\":\"%s\",\"limit_threads\":1,"
            "\"ratio\":%.3f",
            n, workers, n / step, gflop / step, gflop / limit, way, limit / step);
    daemon_bench_end(out, workers);
}

static int train_bench_team(struct train_bench *bench, uint32_t count, FILE *out, struct base_error *error)
{
    struct trainer_workers *workers = trainer_workers_new(count, error);
    if (!workers) {
        return -1;
    }
    int result = -1;
    bench->network = trainer_network_new(&bench->config, true, workers, error);
    if (bench->network) {
        for (uint32_t n = 64; n <= bench->config.batch; n *= 4) {
            train_measure(bench, count, n, out);
        }
        result = 0;
    }
    trainer_network_free(bench->network);
    trainer_workers_free(workers);
    return result;
}

int daemon_bench_network(FILE *out)
{
    struct base_error error;
    struct train_bench bench = {.config = daemon_bench_reference()};
    size_t inputs = (size_t)bench.config.batch * bench.config.inputs;
    size_t logits = (size_t)bench.config.batch * bench.config.tasks;
    bench.input = train_random(inputs, 1.0, "x");
    bench.gradient = train_random(inputs, 1e-4, "dx");
    bench.logits = train_random(logits, 1.0, "logits");
    bench.dlogits = train_random(logits, 1e-3, "dlogits");
    bench.limit = daemon_bench_limit_new(&bench.config, &error);
    int result = bench.limit ? 0 : -1;
    for (uint32_t workers = 1; workers <= 2 && result == 0; workers++) {
        result = train_bench_team(&bench, workers, out, &error);
    }
    if (result != 0) {
        fprintf(stderr, "bench network: %s\n", error.text);
    }
    daemon_bench_limit_free(bench.limit);
    free(bench.input);
    free(bench.gradient);
    free(bench.logits);
    free(bench.dlogits);
    return result == 0 ? 0 : 1;
}

// ---- One large product -----------------------------------------------------------------------------------

int daemon_bench_gemm(FILE *out)
{
    enum { ROWS = 256, INNER = 384, COLUMNS = 1536, CALLS = 4, TURNS = 150 };
    float *a = train_random(ROWS * INNER, 1.0, "a"), *b = train_random(INNER * COLUMNS, 1.0, "b");
    float *c = train_random(ROWS * COLUMNS, 1.0, "c");
    double best = INFINITY;
    for (int turn = 0; turn < TURNS; turn++) {
        double begin = daemon_bench_seconds();
        for (int call = 0; call < CALLS; call++) {
            trainer_blas_nn(ROWS, COLUMNS, INNER, a, INNER, b, COLUMNS, false, c, COLUMNS);
        }
        best = fmin(best, (daemon_bench_seconds() - begin) / CALLS);
    }
    fprintf(out, "{\"bench\":\"gemm\",\"rows\":%d,\"inner\":%d,\"columns\":%d,\"gflop_per_second\":%.1f",
            ROWS, INNER, COLUMNS, 2e-9 * ROWS * INNER * COLUMNS / best);
    daemon_bench_end(out, 1);
    free(a);
    free(b);
    free(c);
    return 0;
}
