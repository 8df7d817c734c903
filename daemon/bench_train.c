// The benchmarks of the dense half of a training step. Its limit is the same step's matrix products alone,
// measured in the same run, in turns with the step: what an implementation that does nothing else, and does
// them in the faster of two ways, would reach on one thread. Both use the calls of trainer/blas.h.
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/random.h"
#include "daemon/bench.h"
#include "daemon/bench_machine.h"
#include "trainer/blas.h"
#include "trainer/network.h"

enum {
    TRAIN_INPUTS = 384,
    TRAIN_TASKS = 2,
    TRAIN_BATCH_MAX = 1024,
    TRAIN_PRODUCTS_MAX = 64,
    TRAIN_EXAMPLES = 1024, // of one measurement: short, so that some escape what else the machine does
    TRAIN_TURNS = 64,      // measurements, of which the best counts
};

// The reference model: two levels, experts of 384-256-128 and 128-128, two own and two shared, towers of
// 128-64-1.
static const struct trainer_network_config train_config = {.inputs = TRAIN_INPUTS,
                                                           .tasks = TRAIN_TASKS,
                                                           .levels = 2,
                                                           .level = {{{256, 128}, 2, 2, 2}, {{128}, 1, 2, 2}},
                                                           .tower_widths = {64},
                                                           .tower_layers = 1,
                                                           .batch = TRAIN_BATCH_MAX,
                                                           .seed = 1};

static float *train_random(size_t count, double scale, const char *name)
{
    float *values = base_alloc_aligned(count * sizeof *values);
    uint64_t key = base_random_key(1, name);
    for (size_t i = 0; i < count; i++) {
        values[i] = (float)(scale * base_random_normal(key, i));
    }
    return values;
}

// ---- The limit -------------------------------------------------------------------------------------------

// y = x W with its three products; buffers as a network has them.
struct train_product {
    uint32_t inputs, outputs;
    float *weight; // [inputs x outputs]
    float *x, *dx; // [batch x inputs], borrowed: another product's y and dy, or columns of them
    size_t stride; // of x and dx
    bool add;      // others read x too: dx is added to
    float *y, *dy; // [batch x outputs]
};

struct train_limit {
    uint32_t count;
    struct train_product product[TRAIN_PRODUCTS_MAX];
};

static struct train_product *limit_add(struct train_limit *limit, struct train_product product)
{
    product.weight = train_random((size_t)product.inputs * product.outputs, 0.05, "weight");
    product.y = train_random((size_t)TRAIN_BATCH_MAX * product.outputs, 0.1, "y");
    product.dy = train_random((size_t)TRAIN_BATCH_MAX * product.outputs, 1e-4, "dy");
    limit->product[limit->count] = product;
    return &limit->product[limit->count++];
}

// A product of `outputs` columns on columns [column, column + inputs) of another's y.
static struct train_product *limit_follow(struct train_limit *limit, const struct train_product *before,
                                          uint32_t column, uint32_t inputs, bool add, uint32_t outputs)
{
    return limit_add(limit, (struct train_product){.inputs = inputs,
                                                   .outputs = outputs,
                                                   .x = before->y + column,
                                                   .dx = before->dy + column,
                                                   .stride = before->outputs,
                                                   .add = add});
}

// The products of the reference model. `wide`: experts and gates with the same input side by side in one
// product; else one product an expert's layer and one for the gates with the same input. Mixtures are left
// out: level 1 reads experts.
static struct train_limit *limit_new(bool wide, float *x, float *dx)
{
    enum { EXPERTS = 6, GATES = 16 };
    struct train_limit *limit = base_alloc_zeroed(1, sizeof *limit);
    struct train_product on_x = {.inputs = TRAIN_INPUTS, .x = x, .dx = dx, .stride = TRAIN_INPUTS};
    on_x.outputs = wide ? EXPERTS * 256 + GATES : GATES;
    const struct train_product *first = limit_add(limit, on_x), *second[EXPERTS], *last = NULL;
    for (uint32_t e = 0; e < EXPERTS; e++) {
        if (!wide) {
            on_x.outputs = 256;
            on_x.add = true;
            first = limit_add(limit, on_x);
        }
        second[e] = limit_follow(limit, first, wide ? e * 256 : 0, 256, false, 128);
    }
    for (uint32_t group = 0; group < 3;
         group++) { // two tasks; the shared one, which has no gate at the last level
        uint32_t gates = group < TRAIN_TASKS ? GATES : 0;
        last = limit_follow(limit, second[group], 0, 128, false, wide ? 2 * 128 + gates : 128);
        if (!wide) {
            limit_follow(limit, second[group], 0, 128, true, 128);
            if (gates) {
                limit_follow(limit, second[group], 0, 128, true, gates);
            }
        }
        if (group < TRAIN_TASKS) {
            limit_follow(limit, last, 0, 128, false, 64);
        }
    }
    return limit;
}

static void limit_free(struct train_limit *limit)
{
    for (uint32_t p = 0; p < limit->count; p++) {
        free(limit->product[p].weight);
        free(limit->product[p].y);
        free(limit->product[p].dy);
    }
    free(limit);
}

// The products of one step with n rows: forward, gradients by inputs, gradients by weights added to the
// weights.
static void limit_step(const struct train_limit *limit, uint32_t n)
{
    for (uint32_t i = 0; i < limit->count; i++) {
        const struct train_product *p = &limit->product[i];
        trainer_blas_nn(n, p->outputs, p->inputs, p->x, p->stride, p->weight, p->outputs, false, p->y,
                        p->outputs);
    }
    for (uint32_t i = limit->count; i-- > 0;) {
        const struct train_product *p = &limit->product[i];
        trainer_blas_nt(n, p->inputs, p->outputs, p->dy, p->outputs, p->weight, p->outputs, p->add, p->dx,
                        p->stride);
    }
    for (uint32_t i = 0; i < limit->count; i++) {
        const struct train_product *p = &limit->product[i];
        trainer_blas_tn(p->inputs, p->outputs, n, -1e-6f, p->x, p->stride, p->dy, p->outputs, p->weight,
                        p->outputs);
    }
}

// ---- The step --------------------------------------------------------------------------------------------

struct train_bench {
    struct trainer_network *network;
    struct train_limit *wide, *narrow;
    float *x, *dx;           // [batch x inputs], the limit's own
    float *input, *gradient; // [batch x inputs], the network's
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
static double train_time(struct train_bench *bench, const struct train_limit *limit, uint32_t n)
{
    uint32_t steps = TRAIN_EXAMPLES / n;
    double begin = daemon_bench_seconds();
    for (uint32_t s = 0; s < steps; s++) {
        if (limit) {
            limit_step(limit, n);
        } else {
            train_step(bench, n);
        }
    }
    return (daemon_bench_seconds() - begin) / steps;
}

static void train_measure(struct train_bench *bench, uint32_t workers, uint32_t n, FILE *out)
{
    double step = INFINITY, wide = INFINITY, narrow = INFINITY;
    for (uint32_t turn = 0; turn < TRAIN_TURNS; turn++) {
        step = fmin(step, train_time(bench, NULL, n));
        wide = fmin(wide, train_time(bench, bench->wide, n));
        narrow = fmin(narrow, train_time(bench, bench->narrow, n));
    }
    double limit = fmin(wide, narrow), gflop = 1e-9 * n * trainer_network_flop_step(&train_config);
    fprintf(out,
            "{\"bench\":\"network\",\"batch\":%u,\"workers\":%u,\"examples_per_second\":%.0f,"
            "\"gflop_per_second\":%.1f,\"limit_gflop_per_second\":%.1f,\"limit\":\"%s\",\"limit_threads\":1,"
            "\"ratio\":%.3f",
            n, workers, n / step, gflop / step, gflop / limit,
            wide < narrow ? "wide" : "one product an expert", limit / step);
    daemon_bench_end(out, workers);
}

static int train_bench_team(struct train_bench *bench, uint32_t count, FILE *out, struct base_error *error)
{
    struct trainer_workers *workers = trainer_workers_new(count, error);
    if (!workers) {
        return -1;
    }
    int result = -1;
    bench->network = trainer_network_new(&train_config, true, workers, error);
    if (bench->network) {
        for (uint32_t n = 64; n <= TRAIN_BATCH_MAX; n *= 4) {
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
    const size_t inputs = (size_t)TRAIN_BATCH_MAX * TRAIN_INPUTS, logits = TRAIN_BATCH_MAX * TRAIN_TASKS;
    struct train_bench bench = {
        .x = train_random(inputs, 1.0, "x"),
        .dx = train_random(inputs, 1e-4, "dx"),
        .input = train_random(inputs, 1.0, "x"),
        .gradient = train_random(inputs, 1e-4, "dx"),
        .logits = train_random(logits, 1.0, "logits"),
        .dlogits = train_random(logits, 1e-3, "dlogits"),
    };
    bench.wide = limit_new(true, bench.x, bench.dx);
    bench.narrow = limit_new(false, bench.x, bench.dx);
    struct base_error error;
    int result = 0;
    for (uint32_t workers = 1; workers <= 2 && result == 0; workers++) {
        result = train_bench_team(&bench, workers, out, &error);
    }
    if (result != 0) {
        fprintf(stderr, "bench network: %s\n", error.text);
    }
    limit_free(bench.wide);
    limit_free(bench.narrow);
    free(bench.x);
    free(bench.dx);
    free(bench.input);
    free(bench.gradient);
    free(bench.logits);
    free(bench.dlogits);
    return result == 0 ? 0 : 1;
}

double daemon_bench_gemm_limit(uint32_t batch)
{
    const size_t inputs = (size_t)TRAIN_BATCH_MAX * TRAIN_INPUTS;
    struct train_bench bench = {.x = train_random(inputs, 1.0, "x"), .dx = train_random(inputs, 1e-4, "dx")};
    bench.wide = limit_new(true, bench.x, bench.dx);
    bench.narrow = limit_new(false, bench.x, bench.dx);
    double best = INFINITY;
    for (uint32_t turn = 0; turn < TRAIN_TURNS; turn++) {
        best = fmin(best, train_time(&bench, bench.wide, batch));
        best = fmin(best, train_time(&bench, bench.narrow, batch));
    }
    limit_free(bench.wide);
    limit_free(bench.narrow);
    free(bench.x);
    free(bench.dx);
    return batch / best;
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
