// The plan of a PLE: who reads what, who weighs whom, and the names and order of its tensors.
#include "trainer/body.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static struct base_error error;

static const struct trainer_network_config config = {.inputs = 32,
                                                     .tasks = 2,
                                                     .levels = 2,
                                                     .level = {{{48, 16}, 2, 2, 1}, {{32}, 1, 1, 2}},
                                                     .tower_widths = {16},
                                                     .tower_layers = 1,
                                                     .batch = 8};

Test(trainer_ple, tensors_have_the_documented_names_and_order)
{
    static const struct {
        const char *name;
        uint32_t rows, columns;
    } expected[] = {
        {"level0.task0.expert0.layer0.weight", 32, 48},
        {"level0.task0.expert0.layer0.bias", 1, 48},
        {"level0.task0.expert1.layer0.weight", 32, 48},
        {"level0.task0.expert1.layer0.bias", 1, 48},
        {"level0.task1.expert0.layer0.weight", 32, 48},
        {"level0.task1.expert0.layer0.bias", 1, 48},
        {"level0.task1.expert1.layer0.weight", 32, 48},
        {"level0.task1.expert1.layer0.bias", 1, 48},
        {"level0.shared.expert0.layer0.weight", 32, 48},
        {"level0.shared.expert0.layer0.bias", 1, 48},
        {"level0.task0.gate.weight", 32, 3},
        {"level0.task1.gate.weight", 32, 3},
        {"level0.shared.gate.weight", 32, 5},
        {"level0.task0.expert0.layer1.weight", 48, 16},
        {"level0.task0.expert0.layer1.bias", 1, 16},
        {"level0.task0.expert1.layer1.weight", 48, 16},
        {"level0.task0.expert1.layer1.bias", 1, 16},
        {"level0.task1.expert0.layer1.weight", 48, 16},
        {"level0.task1.expert0.layer1.bias", 1, 16},
        {"level0.task1.expert1.layer1.weight", 48, 16},
        {"level0.task1.expert1.layer1.bias", 1, 16},
        {"level0.shared.expert0.layer1.weight", 48, 16},
        {"level0.shared.expert0.layer1.bias", 1, 16},
        {"level1.task0.expert0.layer0.weight", 16, 32},
        {"level1.task0.expert0.layer0.bias", 1, 32},
        {"level1.task1.expert0.layer0.weight", 16, 32},
        {"level1.task1.expert0.layer0.bias", 1, 32},
        {"level1.shared.expert0.layer0.weight", 16, 32},
        {"level1.shared.expert0.layer0.bias", 1, 32},
        {"level1.shared.expert1.layer0.weight", 16, 32},
        {"level1.shared.expert1.layer0.bias", 1, 32},
        {"level1.task0.gate.weight", 16, 3},
        {"level1.task1.gate.weight", 16, 3},
        {"task0.tower.layer0.weight", 32, 16},
        {"task0.tower.layer0.bias", 1, 16},
        {"task1.tower.layer0.weight", 32, 16},
        {"task1.tower.layer0.bias", 1, 16},
        {"task0.tower.output.weight", 16, 1},
        {"task0.tower.output.bias", 1, 1},
        {"task1.tower.output.weight", 16, 1},
        {"task1.tower.output.bias", 1, 1},
    };
    struct trainer_graph *graph = trainer_body_new(&config, &error);
    cr_assert_not_null(graph);
    cr_assert_eq(graph->tensors, sizeof expected / sizeof *expected);
    size_t offset = 0;
    for (uint32_t t = 0; t < graph->tensors; t++) {
        cr_expect_str_eq(graph->tensor[t].name, expected[t].name);
        cr_expect_eq(graph->tensor[t].rows, expected[t].rows, "%s", expected[t].name);
        cr_expect_eq(graph->tensor[t].columns, expected[t].columns, "%s", expected[t].name);
        cr_expect_eq(graph->tensor[t].offset, offset);
        offset += ((size_t)expected[t].rows * expected[t].columns + 15) / 16 * 16;
    }
    cr_expect_eq(graph->size, offset);
    trainer_graph_free(graph);
}

static void expect_gate(const struct trainer_graph *graph, uint32_t g, uint32_t count,
                        const uint32_t *experts)
{
    cr_assert_eq(graph->gate[g].count, count, "gate %u", g);
    cr_expect_eq(memcmp(graph->expert + graph->gate[g].first, experts, count * sizeof *experts), 0, "gate %u",
                 g);
}

// A regression for a known mistake elsewhere: the shared gate weighs all experts of its level, not the shared
// alone.
Test(trainer_ple, gates_weigh_the_right_experts)
{
    struct trainer_graph *graph = trainer_body_new(&config, &error);
    cr_assert_eq(graph->gates, 5u); // the last level has no shared gate
    expect_gate(graph, 0, 3, (const uint32_t[]){0, 1, 4});
    expect_gate(graph, 1, 3, (const uint32_t[]){2, 3, 4});
    expect_gate(graph, 2, 5, (const uint32_t[]){0, 1, 2, 3, 4});
    expect_gate(graph, 3, 3, (const uint32_t[]){0, 2, 3});
    expect_gate(graph, 4, 3, (const uint32_t[]){1, 2, 3});
    trainer_graph_free(graph);
}

Test(trainer_ple, level_zero_reads_x_and_the_next_its_own_mixtures)
{
    struct trainer_graph *graph = trainer_body_new(&config, &error);
    for (uint32_t l = 0; l < 5; l++) {
        cr_expect_eq(graph->layer[l].input, 0u);
    }
    cr_assert_eq(graph->gatings, 3u); // one on x for three gates, one on each task's mixture
    cr_expect_eq(graph->gating[0].input, 0u);
    cr_expect_eq(graph->gating[0].shape.outputs, 16u);
    // Layers 10..13 are level 1's: task 0's, task 1's, and the two shared ones, which read h_s.
    const uint32_t reads[] = {0, 1, 2, 2};
    for (uint32_t i = 0; i < 4; i++) {
        cr_expect_eq(graph->layer[10 + i].input, graph->gate[reads[i]].output);
    }
    cr_expect_eq(graph->gating[1].input, graph->gate[0].output);
    cr_expect_eq(graph->gating[2].input, graph->gate[1].output);
    for (uint32_t k = 0; k < 2; k++) {
        cr_expect_eq(graph->layer[14 + k].input, graph->gate[3 + k].output); // the towers
    }
    trainer_graph_free(graph);
}

// Every output column of every layer, gating and tower has one owner in each list of tiles, of at most 128
// columns.
Test(trainer_ple, tiles_cover_every_column_once)
{
    struct trainer_network_config wide = config;
    wide.level[0].widths[0] = 400;
    wide.inputs = 272;
    struct trainer_graph *graph = trainer_body_new(&wide, &error);
    const struct trainer_graph_tiles *lists[] = {&graph->forward, &graph->update, &graph->backward};
    for (uint32_t i = 0; i < 3; i++) {
        for (uint32_t kind = TRAINER_TILE_LAYER; kind <= TRAINER_TILE_VECTOR; kind++) {
            for (uint32_t index = 0; index < graph->vectors; index++) {
                uint32_t covered = 0;
                for (uint32_t t = 0; t < lists[i]->count; t++) {
                    const struct trainer_graph_tile *tile = &lists[i]->at[t];
                    if (tile->kind != kind || tile->index != index) {
                        continue;
                    }
                    cr_expect_eq(tile->block.column, covered);
                    cr_expect_leq(tile->block.columns, TRAINER_TILE_COLUMNS);
                    covered += tile->block.columns;
                }
                uint32_t width = 0;
                if (kind == TRAINER_TILE_LAYER && i < 2 && index < graph->layers) {
                    width = graph->layer[index].shape.outputs;
                }
                if (kind == TRAINER_TILE_GATING && i < 2 && index < graph->gatings) {
                    width = graph->gating[index].shape.outputs;
                }
                if (kind == TRAINER_TILE_TOWER && i == 1 && index < graph->towers) {
                    width = 1;
                }
                bool read = index == 0;
                for (uint32_t l = 0; l < graph->layers; l++) {
                    read |= graph->layer[l].input == index;
                }
                if (kind == TRAINER_TILE_VECTOR && i == 2 && read) {
                    width = graph->vector[index].width;
                }
                cr_expect_eq(covered, width, "list %u kind %u index %u", i, kind, index);
            }
        }
    }
    trainer_graph_free(graph);
    trainer_graph_free(NULL);
}
