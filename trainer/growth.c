// How a saved model's tensors come into a larger one. See growth.h.
#include "trainer/growth.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/section.h"
#include "trainer/body.h"
#include "trainer/network_private.h"

#define SHAPE_MAGIC "FRSHSHAP"
enum { SHAPE_VERSION = 1 };

// ---- shapes ----

void growth_shape_of(const struct trainer_model_config *config, struct growth_shape *shape)
{
    const struct trainer_features_config *features = &config->features;
    shape->parts = 0;
    for (uint32_t s = 0; s < features->slots; s++) {
        const struct trainer_slot_config *slot = &features->slot[s];
        struct growth_part *part = &shape->part[shape->parts++];
        *part = (struct growth_part){base_span_string(slot->row.name), GROWTH_SLOT, slot->row.dimension};
        if (slot->position) {
            part->kind = GROWTH_POSITION;
            part->width = 0;
        }
    }
    for (uint32_t i = 0; i < features->numerics; i++) {
        shape->part[shape->parts++] =
            (struct growth_part){base_span_string(features->numeric[i].name), GROWTH_NUMERIC, 1};
    }
    shape->tasks = config->loss.tasks;
    for (uint32_t k = 0; k < shape->tasks; k++) {
        shape->task[k] = base_span_string(config->task_names[k]);
    }
}

void growth_shape_save(const struct growth_shape *shape, struct base_buffer *buffer)
{
    size_t mark = base_section_begin(buffer, SHAPE_MAGIC, SHAPE_VERSION);
    base_buffer_u32(buffer, shape->parts);
    for (uint32_t i = 0; i < shape->parts; i++) {
        base_buffer_u8(buffer, (uint8_t)shape->part[i].kind);
        base_buffer_u32(buffer, shape->part[i].width);
        base_section_put_span(buffer, shape->part[i].name);
    }
    base_buffer_u32(buffer, shape->tasks);
    for (uint32_t k = 0; k < shape->tasks; k++) {
        base_section_put_span(buffer, shape->task[k]);
    }
    base_section_end(buffer, mark);
}

int growth_shape_parse(struct base_span bytes, struct growth_shape *shape, const char *what,
                       struct base_error *error)
{
    struct base_reader whole = {bytes, false}, reader;
    if (base_section_open(&whole, SHAPE_MAGIC, SHAPE_VERSION, &reader, what, error) ||
        base_section_close(&whole, what, error)) {
        return -1;
    }
    uint64_t width = 0;
    shape->parts = base_reader_u32(&reader);
    for (uint32_t i = 0; i < shape->parts && !reader.failed; i++) {
        if (i == GROWTH_PARTS_MAX) {
            reader.failed = true;
            break;
        }
        struct growth_part *part = &shape->part[i];
        uint8_t kind = base_reader_u8(&reader);
        part->kind = kind < GROWTH_KINDS ? (enum growth_kind)kind : GROWTH_SLOT;
        part->width = base_reader_u32(&reader);
        part->name = base_section_get_span(&reader);
        width += part->width;
        reader.failed |= !part->name.data || kind >= GROWTH_KINDS || width > TRAINER_WIDTH_MAX ||
                         (part->width == 0) != (kind == GROWTH_POSITION);
    }
    shape->tasks = base_reader_u32(&reader);
    reader.failed |= shape->tasks < 1 || shape->tasks > BASE_TASKS_MAX || shape->parts < 1;
    for (uint32_t k = 0; k < shape->tasks && !reader.failed; k++) {
        shape->task[k] = base_section_get_span(&reader);
        reader.failed |= !shape->task[k].data;
    }
    return base_section_close(&reader, what, error);
}

int growth_shown(struct base_span span)
{
    return (int)(span.size < TRAINER_TENSOR_NAME_MAX ? span.size : TRAINER_TENSOR_NAME_MAX);
}

static uint32_t shape_width(const struct growth_shape *shape)
{
    uint32_t width = 0;
    for (uint32_t i = 0; i < shape->parts; i++) {
        width += shape->part[i].width;
    }
    return (width + TRAINER_WIDTH_STEP - 1) / TRAINER_WIDTH_STEP * TRAINER_WIDTH_STEP;
}

static bool shape_same_inputs(const struct growth_shape *a, const struct growth_shape *b)
{
    bool same = a->parts == b->parts;
    for (uint32_t i = 0; i < a->parts && same; i++) {
        same = a->part[i].kind == b->part[i].kind && a->part[i].width == b->part[i].width &&
               base_span_equal(a->part[i].name, b->part[i].name);
    }
    return same;
}

// Where each saved row of x lies now.
static int plan_rows(const struct growth_shape *saved, const struct growth_shape *now, struct growth *growth,
                     struct base_error *error)
{
    growth->row = base_alloc(growth->inputs * sizeof *growth->row);
    memset(growth->row, 0xff, growth->inputs * sizeof *growth->row);
    uint32_t row = 0;
    for (uint32_t i = 0; i < saved->parts; i++) {
        const struct growth_part *part = &saved->part[i];
        uint32_t place = 0, j = 0;
        for (; j < now->parts &&
               (now->part[j].kind != part->kind || !base_span_equal(now->part[j].name, part->name));
             j++) {
            place += now->part[j].width;
        }
        if (j == now->parts) {
            return base_error_set(error, BASE_ECONFLICT,
                                  "%s %.*s fed the %s when the cut was made and does not now: inputs can "
                                  "be added, not removed or renamed; put it back",
                                  part->kind == GROWTH_NUMERIC ? "numeric input" : "slot",
                                  growth_shown(part->name), (const char *)part->name.data,
                                  part->kind == GROWTH_POSITION ? "click logit alone" : "network");
        }
        if (now->part[j].width != part->width) {
            return base_error_set(
                error, BASE_ECONFLICT, "%.*s has dimension %u and had %u when the cut was made",
                growth_shown(part->name), (const char *)part->name.data, now->part[j].width, part->width);
        }
        for (uint32_t c = 0; c < part->width; c++) {
            growth->row[row++] = place + c;
        }
    }
    return 0;
}

static int plan_tasks(const struct growth_shape *saved, const struct growth_shape *now,
                      struct base_error *error)
{
    for (uint32_t k = 0; k < saved->tasks; k++) {
        if (k >= now->tasks || !base_span_equal(saved->task[k], now->task[k])) {
            return base_error_set(
                error, BASE_ECONFLICT,
                "task %u was %.*s when the cut was made and is %.*s: tasks can be added behind "
                "the others, not removed, renamed or put elsewhere",
                k, growth_shown(saved->task[k]), (const char *)saved->task[k].data,
                k < now->tasks ? growth_shown(now->task[k]) : 4,
                k < now->tasks ? (const char *)now->task[k].data : "none");
        }
    }
    return 0;
}

// ---- plans of networks ----

// What is asked of a plan again and again.
struct growth_graph {
    const struct trainer_graph *graph;
    uint32_t *maker; // [vectors] the weight tensor of the layer that writes it
    uint32_t *level; // [gates] its experts' first vector
};

static uint32_t graph_tensor_at(const struct trainer_graph *graph, size_t offset)
{
    uint32_t from = 0, to = graph->tensors;
    while (to - from > 1) {
        uint32_t middle = from + (to - from) / 2;
        if (graph->tensor[middle].offset <= offset) {
            from = middle;
        } else {
            to = middle;
        }
    }
    assert(graph->tensor[from].offset == offset);
    return from;
}

static struct growth_graph graph_look(const struct trainer_graph *graph)
{
    struct growth_graph look = {.graph = graph};
    look.maker = base_alloc_zeroed(graph->vectors, sizeof *look.maker);
    look.level = base_alloc_zeroed(graph->gates + 1, sizeof *look.level);
    for (uint32_t l = 0; l < graph->layers; l++) {
        look.maker[graph->layer[l].output] = graph_tensor_at(graph, graph->layer[l].weight);
    }
    for (uint32_t s = 0; s < graph->stages; s++) {
        const struct trainer_graph_stage *stage = &graph->stage[s];
        for (uint32_t g = stage->gates.begin; stage->kind == TRAINER_STAGE_MIXTURE && g < stage->gates.end;
             g++) {
            look.level[g] = stage->vectors.begin;
        }
    }
    return look;
}

static void graph_clear(struct growth_graph *look)
{
    free(look->maker);
    free(look->level);
}

// The weight tensor of the expert that a gate weighs with its column c.
static uint32_t graph_expert(const struct growth_graph *look, uint32_t gate, uint32_t c)
{
    const struct trainer_graph *graph = look->graph;
    return look->maker[look->level[gate] + graph->expert[graph->gate[gate].first + c]];
}

// Where the columns of a saved gate are: the experts are told by their tensors.
static void plan_gate(const struct growth_graph *saved, const struct growth_graph *now, uint32_t gate,
                      struct growth *growth)
{
    struct growth_tensor *tensor =
        &growth->tensor[graph_tensor_at(saved->graph, saved->graph->gate[gate].weight)];
    uint32_t other = 0;
    while (graph_tensor_at(now->graph, now->graph->gate[other].weight) != tensor->number) {
        other++;
        assert(other < now->graph->gates);
    }
    tensor->column = base_alloc(tensor->columns * sizeof *tensor->column);
    for (uint32_t c = 0, to = 0; c < tensor->columns; c++, to++) {
        uint32_t expert = growth->tensor[graph_expert(saved, gate, c)].number;
        while (graph_expert(now, other, to) != expert) { // experts keep their order
            to++;
            assert(to < now->graph->gate[other].count);
        }
        tensor->column[c] = to;
    }
}

static void plan_network(const struct trainer_graph *saved, const struct trainer_graph *now,
                         struct growth *growth)
{
    growth->tensors = growth->learned = saved->tensors;
    growth->tensor = base_alloc_zeroed(saved->tensors, sizeof *growth->tensor);
    for (uint32_t t = 0, to = 0; t < saved->tensors; t++, to++) {
        while (strcmp(now->tensor[to].name, saved->tensor[t].name) != 0) { // tensors keep their order
            to++;
            assert(to < now->tensors);
        }
        growth->tensor[t] = (struct growth_tensor){
            .number = to, .rows = saved->tensor[t].rows, .columns = saved->tensor[t].columns};
    }
    for (uint32_t l = 0; l < saved->layers; l++) {
        growth->tensor[graph_tensor_at(saved, saved->layer[l].weight)].reads_x = saved->layer[l].input == 0;
    }
    for (uint32_t s = 0; s < saved->stitches; s++) {
        growth->tensor[graph_tensor_at(saved, saved->stitch[s].weight)].starts = true;
    }
    struct growth_graph left = graph_look(saved), right = graph_look(now);
    for (uint32_t g = 0; g < saved->gates; g++) {
        growth->tensor[graph_tensor_at(saved, saved->gate[g].weight)].reads_x =
            saved->gating[saved->gate[g].gating].input == 0;
        plan_gate(&left, &right, g, growth);
    }
    graph_clear(&left);
    graph_clear(&right);
}

int growth_plan(const struct trainer_model *model, const struct growth_shape *shape, struct growth *growth,
                struct base_error *error)
{
    struct growth_shape *now = base_alloc(sizeof *now);
    growth_shape_of(&model->config, now);
    *growth = (struct growth){.inputs = shape_width(shape), .tasks = shape->tasks};
    bool same = shape_same_inputs(shape, now);
    int result = plan_tasks(shape, now, error) || (!same && plan_rows(shape, now, growth, error)) ? -1 : 0;
    growth->grown = !same || shape->tasks != now->tasks;
    free(now);
    if (result) {
        return -1;
    }
    struct trainer_network_config config = model->config.network;
    config.inputs = growth->inputs;
    config.tasks = shape->tasks;
    struct trainer_graph *saved = trainer_body_new(&config, error);
    if (!saved) {
        return -1;
    }
    plan_network(saved, model->network->graph, growth);
    trainer_graph_free(saved);
    return 0;
}

void growth_clear(struct growth *growth)
{
    for (uint32_t t = 0; growth->tensor && t < growth->tensors; t++) {
        free(growth->tensor[t].column);
    }
    free(growth->tensor);
    free(growth->row);
    *growth = (struct growth){0};
}

static int check_shape(const char *name, const struct growth_tensor *tensor, uint32_t rows, uint32_t columns,
                       struct base_error *error)
{
    if (rows != tensor->rows || columns != tensor->columns) {
        return base_error_set(error, BASE_ECONFLICT,
                              "tensor %s is %u x %u and was %u x %u when the cut was made", name,
                              tensor->rows, tensor->columns, rows, columns);
    }
    return 0;
}

int growth_check(const struct trainer_model *model, const struct growth *growth, uint32_t t,
                 struct base_span name, uint32_t rows, uint32_t columns, struct base_error *error)
{
    const char *now = model->tensors[growth->tensor[t].number].name;
    if (!base_span_equal(name, base_span_string(now))) {
        return base_error_set(error, BASE_ECONFLICT, "tensor %u is %s and was %.*s when the cut was made", t,
                              now, growth_shown(name), (const char *)name.data);
    }
    return check_shape(now, &growth->tensor[t], rows, columns, error);
}

int growth_add(const struct trainer_model *model, struct growth *growth, struct base_span name, uint32_t rows,
               uint32_t columns, struct base_error *error)
{
    uint32_t to = model->network->graph->tensors;
    while (to < model->cut_tensor_count &&
           !base_span_equal(name, base_span_string(model->tensors[to].name))) {
        to++;
    }
    if (to == model->cut_tensor_count) {
        return base_error_set(error, BASE_ECONFLICT,
                              "the model has no tensor %.*s and had when the cut was made",
                              growth_shown(name), (const char *)name.data);
    }
    struct growth_tensor tensor = {
        .number = to, .rows = model->tensors[to].rows, .columns = model->tensors[to].columns};
    if (to >= model->tensor_count) { // log variances: one a task
        tensor.columns = growth->tasks;
        tensor.starts = true;
    }
    if (check_shape(model->tensors[to].name, &tensor, rows, columns, error)) {
        return -1;
    }
    bool twice = growth->tensors != growth->learned; // behind what no optimiser learns nothing comes
    for (uint32_t t = 0; t < growth->tensors; t++) {
        twice |= growth->tensor[t].number == to;
    }
    if (twice) {
        return base_error_set(error, BASE_EFORMAT, "the cut's tensor %s is misplaced",
                              model->tensors[to].name);
    }
    growth->tensor = base_realloc(growth->tensor, (growth->tensors + 1) * sizeof *growth->tensor);
    growth->tensor[growth->tensors++] = tensor;
    growth->learned += to < model->tensor_count;
    return 0;
}

// ---- moving ----

bool growth_moves(const struct trainer_model *model, const struct growth *growth, uint32_t t)
{
    const struct growth_tensor *tensor = &growth->tensor[t];
    const struct trainer_tensor *now = &model->tensors[tensor->number];
    return (tensor->reads_x && growth->row) || tensor->columns != now->columns || tensor->rows != now->rows;
}

void growth_move(const struct trainer_model *model, const struct growth *growth, uint32_t t,
                 const float *from, float *to)
{
    const struct growth_tensor *tensor = &growth->tensor[t];
    uint32_t width = model->tensors[tensor->number].columns;
    for (uint32_t r = 0; r < tensor->rows; r++) {
        uint32_t row = tensor->reads_x && growth->row ? growth->row[r] : r;
        for (uint32_t c = 0; c < tensor->columns && row != UINT32_MAX; c++) {
            to[(size_t)row * width + (tensor->column ? tensor->column[c] : c)] =
                from[(size_t)r * tensor->columns + c];
        }
    }
}

void growth_begin(struct trainer_model *model, const struct growth *growth)
{
    for (uint32_t t = 0; t < growth->tensors; t++) {
        const struct growth_tensor *tensor = &growth->tensor[t];
        const struct trainer_tensor *now = &model->tensors[tensor->number];
        if (growth_moves(model, growth, t)) {
            // A stitch's new rows stay.
            size_t rows = tensor->starts ? tensor->rows : now->rows;
            memset(trainer_model_tensor(model, tensor->number), 0, rows * now->columns * sizeof(float));
        }
    }
    const struct trainer_graph *graph = model->network->graph;
    for (uint32_t s = 0; growth->tasks == 1 && s < graph->stitches; s++) { // there was none: x_0 as it is
        uint32_t count = graph->stitch[s].count;
        for (uint32_t j = 0; j < count; j++) {
            trainer_network_slab(model->network)[graph->stitch[s].weight + j] = j == 0;
        }
    }
}

void growth_end(struct trainer_model *model, const struct growth *growth)
{
    for (uint32_t t = 0; t < growth->tensors; t++) {
        if (growth_moves(model, growth, t)) {
            trainer_update_restart(model->update, growth->tensor[t].number);
        }
    }
    const struct trainer_graph *graph = model->network->graph;
    for (uint32_t s = 0; growth->tasks == 1 && s < graph->stitches; s++) {
        trainer_update_restart(model->update, graph_tensor_at(graph, graph->stitch[s].weight));
    }
}
