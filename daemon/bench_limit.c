// The limit of a training step. See bench_limit.h.
//
// The products are taken from the network's plan. One way is one product a layer, and one for the gates that
// read the same vector; the other puts layers and gates of a stage that read the same vector side by side in
// one wide product. What is no product (mixtures, stitches, vectors side by side, the outputs' dot products)
// is left out: who reads their vectors reads a buffer of the same shape.
#include "daemon/bench_limit.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/random.h"
#include "daemon/bench.h"
#include "daemon/bench_machine.h"
#include "trainer/blas.h"
#include "trainer/body.h"

enum { LIMIT_EXAMPLES = 1024 }; // of one measurement: short, so that some escape what else the machine does

// y = x W with its three products.
struct limit_product {
    uint32_t inputs, outputs;
    float *weight; // [inputs x outputs]
    float *x, *dx; // [batch x inputs], borrowed
    size_t stride; // of x and dx
    bool add;      // an earlier product has the same x: dx is added to
    float *y, *dy; // [batch x outputs]
};

// Where a vector's values and gradients lie: a matrix, or columns of one.
struct limit_place {
    float *y, *dy;
    size_t stride;
};

// One of the two ways.
struct limit_plan {
    const char *name;
    uint32_t products;
    struct limit_product *product; // [layers + gatings] at most
    struct limit_place *place;     // [vectors]
    float **owned;                 // [2 x vectors], or NULL: of places that no product makes
    uint32_t vectors;
    double best; // seconds of a step with `rows` rows
};

struct daemon_bench_limit {
    uint32_t batch, rows;
    struct limit_plan plan[2];
};

struct trainer_network_config daemon_bench_reference(void)
{
    return (struct trainer_network_config){.body = TRAINER_BODY_PLE,
                                           .inputs = 384,
                                           .tasks = 2,
                                           .levels = 2,
                                           .level = {{{256, 128}, 2, 2, 2}, {{128}, 1, 2, 2}},
                                           .tower_widths = {64},
                                           .tower_layers = 1,
                                           .batch = 1024,
                                           .seed = 1};
}

static float *limit_random(size_t count, double scale, const char *name)
{
    float *values = base_alloc_aligned(count * sizeof *values);
    uint64_t key = base_random_key(1, name);
    for (size_t i = 0; i < count; i++) {
        values[i] = (float)(scale * base_random_normal(key, i));
    }
    return values;
}

// Where vector v lies; it gets a buffer of its own if no product has made it.
static const struct limit_place *limit_find(struct limit_plan *plan, const struct trainer_graph *graph,
                                            uint32_t v, uint32_t batch)
{
    struct limit_place *place = &plan->place[v];
    if (!place->y) {
        size_t floats = (size_t)batch * graph->vector[v].width;
        place->y = plan->owned[2 * v] = limit_random(floats, v == 0 ? 1.0 : 0.1, "y");
        place->dy = plan->owned[2 * v + 1] = limit_random(floats, 1e-4, "dy");
        place->stride = graph->vector[v].width;
    }
    return place;
}

// The next product on vector v, with `outputs` columns.
static struct limit_product *limit_add(struct limit_plan *plan, const struct trainer_graph *graph, uint32_t v,
                                       uint32_t outputs, uint32_t batch)
{
    const struct limit_place *place = limit_find(plan, graph, v, batch);
    struct limit_product *product = &plan->product[plan->products++];
    *product = (struct limit_product){.inputs = graph->vector[v].width,
                                      .outputs = outputs,
                                      .x = place->y,
                                      .dx = place->dy,
                                      .stride = place->stride};
    for (struct limit_product *before = plan->product; before < product; before++) {
        product->add |= before->x == product->x;
    }
    product->weight = limit_random((size_t)product->inputs * outputs, 0.05, "weight");
    product->y = limit_random((size_t)batch * outputs, 0.1, "y");
    product->dy = limit_random((size_t)batch * outputs, 1e-4, "dy");
    return product;
}

// All that reads vector v in a dense stage, side by side.
static void limit_add_wide(struct limit_plan *plan, const struct trainer_graph *graph,
                           const struct trainer_graph_stage *stage, uint32_t v, uint32_t batch)
{
    uint32_t outputs = 0, column = 0;
    for (uint32_t l = stage->layers.begin; l < stage->layers.end; l++) {
        outputs += graph->layer[l].input == v ? graph->layer[l].shape.outputs : 0;
    }
    for (uint32_t g = stage->gatings.begin; g < stage->gatings.end; g++) {
        outputs += graph->gating[g].input == v ? graph->gating[g].shape.outputs : 0;
    }
    if (outputs == 0) {
        return;
    }
    const struct limit_product *product = limit_add(plan, graph, v, outputs, batch);
    for (uint32_t l = stage->layers.begin; l < stage->layers.end; l++) {
        const struct trainer_graph_layer *layer = &graph->layer[l];
        if (layer->input == v) {
            plan->place[layer->output] =
                (struct limit_place){product->y + column, product->dy + column, outputs};
            column += layer->shape.outputs;
        }
    }
}

static void limit_add_narrow(struct limit_plan *plan, const struct trainer_graph *graph,
                             const struct trainer_graph_stage *stage, uint32_t batch)
{
    for (uint32_t l = stage->layers.begin; l < stage->layers.end; l++) {
        const struct trainer_graph_layer *layer = &graph->layer[l];
        const struct limit_product *product =
            limit_add(plan, graph, layer->input, layer->shape.outputs, batch);
        plan->place[layer->output] = (struct limit_place){product->y, product->dy, layer->shape.outputs};
    }
    for (uint32_t g = stage->gatings.begin; g < stage->gatings.end; g++) {
        limit_add(plan, graph, graph->gating[g].input, graph->gating[g].shape.outputs, batch);
    }
}

static void limit_make(struct limit_plan *plan, const struct trainer_graph *graph, bool wide, uint32_t batch)
{
    plan->name = wide ? "wide" : "one product a layer";
    plan->vectors = graph->vectors;
    plan->product = base_alloc_zeroed(graph->layers + graph->gatings + 1, sizeof *plan->product);
    plan->place = base_alloc_zeroed(graph->vectors, sizeof *plan->place);
    plan->owned = base_alloc_zeroed(2 * (size_t)graph->vectors, sizeof *plan->owned);
    for (uint32_t s = 0; s < graph->stages; s++) {
        const struct trainer_graph_stage *stage = &graph->stage[s];
        if (stage->kind != TRAINER_STAGE_DENSE) {
            continue;
        }
        if (!wide) {
            limit_add_narrow(plan, graph, stage, batch);
            continue;
        }
        for (uint32_t v = 0; v < graph->vectors; v++) {
            limit_add_wide(plan, graph, stage, v, batch);
        }
    }
}

struct daemon_bench_limit *daemon_bench_limit_new(const struct trainer_network_config *config,
                                                  struct base_error *error)
{
    struct trainer_graph *graph = trainer_body_new(config, error);
    if (!graph) {
        return NULL;
    }
    struct daemon_bench_limit *limit = base_alloc_zeroed(1, sizeof *limit);
    limit->batch = config->batch;
    for (int way = 0; way < 2; way++) {
        limit_make(&limit->plan[way], graph, way == 0, config->batch);
    }
    trainer_graph_free(graph);
    return limit;
}

static void limit_clear(struct limit_plan *plan)
{
    for (uint32_t p = 0; p < plan->products; p++) {
        free(plan->product[p].weight);
        free(plan->product[p].y);
        free(plan->product[p].dy);
    }
    for (uint32_t i = 0; i < 2 * plan->vectors; i++) {
        free(plan->owned[i]);
    }
    free(plan->product);
    free(plan->place);
    free(plan->owned);
}

void daemon_bench_limit_free(struct daemon_bench_limit *limit)
{
    if (!limit) {
        return;
    }
    limit_clear(&limit->plan[0]);
    limit_clear(&limit->plan[1]);
    free(limit);
}

// The products of one step with n rows: forward, gradients by inputs, gradients by weights added to the
// weights.
static void limit_step(const struct limit_plan *plan, uint32_t n)
{
    for (uint32_t i = 0; i < plan->products; i++) {
        const struct limit_product *p = &plan->product[i];
        trainer_blas_nn(n, p->outputs, p->inputs, p->x, p->stride, p->weight, p->outputs, false, p->y,
                        p->outputs);
    }
    for (uint32_t i = plan->products; i-- > 0;) {
        const struct limit_product *p = &plan->product[i];
        trainer_blas_nt(n, p->inputs, p->outputs, p->dy, p->outputs, p->weight, p->outputs, p->add, p->dx,
                        p->stride);
    }
    for (uint32_t i = 0; i < plan->products; i++) {
        const struct limit_product *p = &plan->product[i];
        trainer_blas_tn(p->inputs, p->outputs, n, -1e-6f, p->x, p->stride, p->dy, p->outputs, p->weight,
                        p->outputs);
    }
}

double daemon_bench_limit_turn(struct daemon_bench_limit *limit, uint32_t n, const char **way)
{
    for (int i = 0; i < 2; i++) {
        struct limit_plan *plan = &limit->plan[i];
        uint32_t steps = LIMIT_EXAMPLES / n;
        double begin = daemon_bench_seconds();
        for (uint32_t s = 0; s < steps; s++) {
            limit_step(plan, n);
        }
        double seconds = (daemon_bench_seconds() - begin) / steps;
        plan->best = limit->rows == n ? fmin(plan->best, seconds) : seconds;
    }
    limit->rows = n;
    const struct limit_plan *best = &limit->plan[limit->plan[0].best < limit->plan[1].best ? 0 : 1];
    if (way) {
        *way = best->name;
    }
    return best->best;
}

double daemon_bench_gemm_limit(uint32_t batch)
{
    enum { TURNS = 64 };
    struct trainer_network_config config = daemon_bench_reference();
    struct base_error error;
    struct daemon_bench_limit *limit = daemon_bench_limit_new(&config, &error);
    double best = INFINITY;
    for (int turn = 0; limit && turn < TURNS; turn++) {
        best = daemon_bench_limit_turn(limit, batch, NULL);
    }
    daemon_bench_limit_free(limit);
    return batch / best;
}
