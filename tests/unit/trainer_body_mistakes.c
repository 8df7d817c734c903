// The known mistakes of popular implementations (docs/models.md, section 1): each is computed, and ours is
// told from it. A test here fails if the network makes the mistake.
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/random.h"
#include "trainer/body.h"
#include "trainer_network_twin.h"
#include "trainer_rig_support.h"

enum { INPUTS = 32, TASKS = 2, ROWS = 12, STEPS = 20 };

static struct trainer_network_config config_of(enum trainer_body body)
{
    return (struct trainer_network_config){.body = body,
                                           .inputs = INPUTS,
                                           .tasks = TASKS,
                                           .levels = 2,
                                           .level = {{{48, 32}, 2, 3, 2}, {{16}, 1, 3, 1}},
                                           .tower_widths = {16},
                                           .tower_layers = 1,
                                           .batch = ROWS,
                                           .seed = 21};
}

static float *rig_tensor(const struct rig *rig, const char *name, size_t *floats)
{
    uint32_t count;
    const struct trainer_tensor *tensors = trainer_network_tensors(rig->network, &count);
    for (uint32_t t = 0; t < count; t++) {
        if (strcmp(tensors[t].name, name) == 0) {
            *floats = (size_t)tensors[t].rows * tensors[t].columns;
            return trainer_network_slab(rig->network) + tensors[t].offset;
        }
    }
    cr_assert_fail("no tensor %s", name);
    abort();
}

// Cross-entropies of labels that neither task's tower can ignore.
static void rig_train(struct rig *rig, uint32_t steps)
{
    for (uint32_t s = 0; s < steps; s++) {
        trainer_network_forward(rig->network, rig->x, ROWS, rig->logits);
        for (uint32_t i = 0; i < ROWS * TASKS; i++) {
            rig->dlogits[i] = 1.0f / (1.0f + expf(-rig->logits[i])) - (float)(i % 3 == 0);
        }
        trainer_network_backward(rig->network, rig->x, rig->dlogits, ROWS, rig->dx);
        trainer_network_apply(rig->network, rig->x, ROWS, 0.5f / ROWS);
    }
}

// Our logits are the definition's, and are not what the mistake would give.
static void expect_told_apart(struct rig *rig, enum twin_mistake mistake)
{
    struct twin twin = twin_make(&rig->config, rig->network);
    double worst = 0.0, apart = 0.0;
    trainer_network_forward(rig->network, rig->x, ROWS, rig->logits);
    for (uint32_t r = 0; r < ROWS; r++) {
        double row[INPUTS], right[TASKS], mistaken[TASKS];
        rig_row(rig, r, row);
        twin.mistake = TWIN_RIGHT;
        twin_forward(&twin, row, right);
        twin.mistake = mistake;
        twin_forward(&twin, row, mistaken);
        for (uint32_t k = 0; k < TASKS; k++) {
            worst = fmax(worst, fabs(rig->logits[r * TASKS + k] - right[k]));
            apart = fmax(apart, fabs(rig->logits[r * TASKS + k] - mistaken[k]));
        }
    }
    cr_expect_lt(worst, 1e-5, "mistake %d: %g from the definition", (int)mistake, worst);
    cr_expect_gt(apart, 1e-2, "mistake %d: %g apart", (int)mistake, apart);
    twin_free(&twin);
}

// FuxiCTR: the shared gate sees only the shared experts.
Test(trainer_body_mistakes, the_shared_gate_sees_all_experts)
{
    struct trainer_network_config config = config_of(TRAINER_BODY_PLE);
    struct rig rig = rig_make(&config, 1);
    expect_told_apart(&rig, TWIN_SHARED_GATE_SEES_SHARED_ONLY);
    rig_free(&rig);
}

// PaddleRec: expert j of task i is i * task_num + j: with more experts a task than tasks one is used twice.
Test(trainer_body_mistakes, every_task_has_its_own_experts)
{
    const enum trainer_body bodies[] = {TRAINER_BODY_PLE, TRAINER_BODY_CGC};
    for (int b = 0; b < 2; b++) {
        struct trainer_network_config config = config_of(bodies[b]);
        struct rig rig = rig_make(&config, 1);
        expect_told_apart(&rig, TWIN_EXPERT_AT_TASK_NUM);
        rig_free(&rig);
    }
}

// DeepCTR-Torch: as many shared experts as a task has of its own.
Test(trainer_body_mistakes, shared_experts_have_a_number_of_their_own)
{
    const enum trainer_body bodies[] = {TRAINER_BODY_PLE, TRAINER_BODY_CGC};
    for (int b = 0; b < 2; b++) {
        struct trainer_network_config config = config_of(bodies[b]);
        config.level[0].per_task = 1;
        struct rig rig = rig_make(&config, 1);
        expect_told_apart(&rig, TWIN_SHARED_AS_MANY_AS_OWN);
        size_t floats;
        cr_expect_not_null(rig_tensor(&rig, "level0.shared.expert1.layer0.weight", &floats));
        rig_free(&rig);
    }
}

// DeepCTR-Torch's ESMM: one output bias for both rates.
Test(trainer_body_mistakes, every_task_has_its_own_output_bias)
{
    for (enum trainer_body body = 0; body < TRAINER_BODIES; body++) {
        struct trainer_network_config config = config_of(body);
        struct rig rig = rig_make(&config, 1);
        rig_train(&rig, STEPS);
        expect_told_apart(&rig, TWIN_ONE_OUTPUT_BIAS);
        rig_free(&rig);
    }
}

// ML-MMoE's gates read the raw x at every level, not the mixture of the level below.
Test(trainer_body_mistakes, gates_of_ml_mmoe_read_x)
{
    struct trainer_network_config config = config_of(TRAINER_BODY_ML_MMOE);
    struct rig rig = rig_make(&config, 1);
    expect_told_apart(&rig, TWIN_GATES_READ_H);
    rig_free(&rig);
}

// DeepCTR: the same integer seed for every expert. Then all experts start alike, no gate matters, and none
// ever learns to differ.
Test(trainer_body_mistakes, experts_start_differently)
{
    struct trainer_network_config config = config_of(TRAINER_BODY_MMOE);
    config.levels = 1;
    config.level[0] = (struct trainer_level_config){{16}, 1, 1, 1};
    for (int mistaken = 0; mistaken < 2; mistaken++) {
        struct rig rig = rig_make(&config, 1);
        size_t floats, gates;
        float *expert[] = {rig_tensor(&rig, "level0.expert0.layer0.weight", &floats),
                           rig_tensor(&rig, "level0.expert1.layer0.weight", &floats),
                           rig_tensor(&rig, "level0.expert2.layer0.weight", &floats)};
        for (int e = 1; mistaken && e < 3; e++) {
            memcpy(expert[e], expert[0], floats * sizeof **expert);
        }
        float *gate = rig_tensor(&rig, "level0.task0.gate.weight", &gates);
        float before[ROWS * TASKS];
        trainer_network_forward(rig.network, rig.x, ROWS, before);
        for (size_t i = 0; i < gates; i++) {
            gate[i] = -gate[i];
        }
        trainer_network_forward(rig.network, rig.x, ROWS, rig.logits);
        float most = 0.0f;
        for (uint32_t r = 0; r < ROWS; r++) {
            most = fmaxf(most, fabsf(before[r * TASKS] - rig.logits[r * TASKS]));
        }
        // What each expert is for, after training: the distance between two of them.
        rig_train(&rig, STEPS);
        double distance = 0.0;
        for (size_t i = 0; i < floats; i++) {
            distance = fmax(distance, fabs((double)expert[0][i] - expert[1][i]));
        }
        if (mistaken) {
            cr_expect_lt(most, 1e-5f, "the mistaken variant's gate matters: %g", (double)most);
        } else {
            cr_expect_gt(most, 1e-2f, "our gate does not matter: %g", (double)most);
            cr_expect_gt(distance, 0.1, "our experts are alike: %g", distance);
        }
        rig_free(&rig);
    }
}

static bool columns_alike(const float *weight, size_t floats, uint32_t columns)
{
    for (size_t i = 0; i < floats; i++) {
        if (weight[i] != weight[i / columns * columns]) {
            return false;
        }
    }
    return true;
}

// PaddleRec: constant initial weights keep all units of an expert identical for ever.
Test(trainer_body_mistakes, units_do_not_stay_alike)
{
    static const char *const first[TRAINER_BODIES] = {
        [TRAINER_BODY_PLE] = "level0.task1.expert0.layer0.weight",
        [TRAINER_BODY_CGC] = "level0.task1.expert0.layer0.weight",
        [TRAINER_BODY_ML_MMOE] = "level0.expert2.layer0.weight",
        [TRAINER_BODY_MMOE] = "level0.expert2.layer0.weight",
        [TRAINER_BODY_MOE] = "level0.expert2.layer0.weight",
        [TRAINER_BODY_CUSTOMIZED] = "shared.bottom.layer0.weight",
        [TRAINER_BODY_CROSS_STITCH] = "task1.bottom.layer0.weight",
        [TRAINER_BODY_SOFT_L2] = "task1.bottom.layer0.weight",
        [TRAINER_BODY_SHARED_BOTTOM] = "bottom.layer0.weight",
    };
    for (int choice = 0; choice < 2 * TRAINER_BODIES; choice++) {
        struct trainer_network_config config = config_of((enum trainer_body)(choice / 2));
        struct rig rig = rig_make(&config, 1);
        bool mistaken = choice % 2;
        uint32_t count;
        const struct trainer_tensor *tensors = trainer_network_tensors(rig.network, &count);
        for (uint32_t t = 0; mistaken && t < count; t++) {
            for (uint32_t i = 0; tensors[t].rows > 1 && i < tensors[t].rows * tensors[t].columns; i++) {
                trainer_network_slab(rig.network)[tensors[t].offset + i] = 0.0625f;
            }
        }
        size_t floats;
        float *weight = rig_tensor(&rig, first[choice / 2], &floats), start = weight[0];
        rig_train(&rig, STEPS);
        cr_expect_neq(weight[0], start, "%s learns nothing", first[choice / 2]);
        cr_expect_eq(columns_alike(weight, floats, 48), mistaken, "%s %d", trainer_body_names[choice / 2],
                     mistaken);
        rig_free(&rig);
    }
}

// DeepCTR-Torch: a batch of one loses its dimension in .squeeze(). Here the gradients of single rows add up
// to the minibatch's.
Test(trainer_body_mistakes, a_batch_of_one_is_a_batch)
{
    for (enum trainer_body body = 0; body < TRAINER_BODIES; body++) {
        struct trainer_network_config config = config_of(body);
        struct rig rig = rig_make(&config, 1);
        rig_train(&rig, 1); // leaves dlogits
        size_t size = trainer_network_size(rig.network);
        float *all = base_alloc_aligned(size * sizeof *all), *one = base_alloc_aligned(size * sizeof *one);
        double *sum = base_alloc_zeroed(size, sizeof *sum);
        rig_backward(&rig, ROWS);
        trainer_network_gradient(rig.network, rig.x, ROWS, all);
        for (uint32_t r = 0; r < ROWS; r++) {
            float logits[TASKS], dx[INPUTS], *row = rig.x + r * INPUTS;
            trainer_network_forward(rig.network, row, 1, logits);
            trainer_network_backward(rig.network, row, rig.dlogits + r * TASKS, 1, dx);
            trainer_network_gradient(rig.network, row, 1, one);
            for (size_t i = 0; i < size; i++) {
                sum[i] += (double)one[i];
            }
            for (uint32_t k = 0; k < TASKS; k++) {
                cr_expect_float_eq(logits[k], rig.logits[r * TASKS + k], 1e-5);
            }
            for (uint32_t i = 0; i < INPUTS; i++) {
                cr_expect_float_eq(dx[i], rig.dx[r * INPUTS + i], 1e-5);
            }
        }
        for (size_t i = 0; i < size; i++) {
            cr_assert_float_eq(all[i], sum[i], 1e-5 * (1.0 + fabs(sum[i])), "%s", trainer_body_names[body]);
        }
        free(all);
        free(one);
        free(sum);
        rig_free(&rig);
    }
}
