// The update: workers change no bit, clipping, L2, schedules, rules, equal rows, state of rows that are new
// or shared. The kernels themselves: trainer_optimiser.c.
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/random.h"
#include "trainer/gather.h"
#include "trainer_cut_support.h"

// ---- bits ----

Test(trainer_update, workers_change_no_bit_of_weights_or_state)
{
    for (uint64_t way = 0; way < CUT_UPDATES; way++) {
        struct map maps[3] = {0};
        const uint32_t workers[3] = {1, 2, 8};
        for (int i = 0; i < 3; i++) {
            struct trainer_model_config *config = cut_config_make(workers[i], 100000);
            config->network.level[0].widths[0] = 1024; // several tiles of a tensor
            cut_config_update(config, way);
            struct trainer_model *model = model_make(config, true);
            model_train(model, 5, 0, 25);
            cut_at_once(model, &maps[i]);
            trainer_model_free(model);
        }
        map_compare(&maps[0], &maps[1], CUT_SLOTS, false);
        map_compare(&maps[0], &maps[2], CUT_SLOTS, false);
        for (int i = 0; i < 3; i++) {
            map_free(&maps[i]);
        }
    }
}

// ---- one step, seen whole ----

// Everything that is published after one step on n samples of the stream.
static struct trainer_snapshot *one_step(const struct trainer_model_config *config, uint32_t n,
                                         struct trainer_update_figures *figures)
{
    struct base_error error;
    struct trainer_step step;
    struct trainer_model *model = model_make(config, true);
    struct base_minibatch *minibatch = model_minibatch(7, 0, n);
    cr_assert_eq(trainer_model_step(model, minibatch, &step, &error), 0);
    cr_assert_not(step.set_aside);
    struct trainer_snapshot *snapshot = trainer_model_snapshot(model, 0, true);
    trainer_model_settle(model, snapshot, true);
    if (figures) {
        *figures = trainer_model_update_figures(model);
    }
    base_minibatch_free(minibatch);
    trainer_model_free(model);
    return snapshot;
}

// The floats of a snapshot's rows, out-of-vocabulary rows included, or of its dense tensors.
static float *snapshot_floats(const struct trainer_snapshot *snapshot, bool rows, size_t *count)
{
    size_t capacity = snapshot->dense_size;
    for (uint32_t s = 0; s < snapshot->slots; s++) {
        capacity += snapshot->rows[s].count * snapshot->rows[s].dimension;
    }
    float *floats = base_alloc_zeroed(capacity + 1, sizeof *floats);
    *count = 0;
    for (uint32_t t = 0; t < snapshot->tensors; t++) {
        const struct trainer_tensor *tensor = &snapshot->tensor[t];
        size_t size = (size_t)tensor->rows * tensor->columns;
        if ((strncmp(tensor->name, "oov.", 4) == 0) == rows) {
            memcpy(floats + *count, snapshot->dense + tensor->offset, size * sizeof *floats);
            *count += size;
        }
    }
    for (uint32_t s = 0; s < snapshot->slots && rows; s++) {
        size_t size = snapshot->rows[s].count * snapshot->rows[s].dimension;
        memcpy(floats + *count, snapshot->rows[s].vectors, size * sizeof *floats);
        *count += size;
    }
    return floats;
}

// What a step moved: after - before, where `before` is the step at rate 0.
static double *step_delta(const struct trainer_model_config *config, bool rows, uint32_t n, size_t *count,
                          struct trainer_update_figures *figures)
{
    struct trainer_model_config still = *config;
    still.update = (struct trainer_update_config){0};
    struct trainer_snapshot *before = one_step(&still, n, NULL), *after = one_step(config, n, figures);
    size_t counts[2];
    float *from = snapshot_floats(before, rows, &counts[0]), *to = snapshot_floats(after, rows, &counts[1]);
    cr_assert_eq(counts[0], counts[1]);
    double *delta = base_alloc_zeroed(counts[0] + 1, sizeof *delta);
    for (size_t i = 0; i < counts[0]; i++) {
        delta[i] = (double)to[i] - (double)from[i];
    }
    *count = counts[0];
    free(from);
    free(to);
    trainer_snapshot_free(before);
    trainer_snapshot_free(after);
    return delta;
}

static double norm(const double *values, size_t count)
{
    double squares = 0;
    for (size_t i = 0; i < count; i++) {
        squares += values[i] * values[i];
    }
    return sqrt(squares);
}

// a = factor * b, within what float differences allow.
static void expect_scaled(const double *a, const double *b, size_t count, double factor, const char *what)
{
    double most = 0, error = 0;
    for (size_t i = 0; i < count; i++) {
        most = fmax(most, fabs(factor * b[i]));
        error = fmax(error, fabs(a[i] - factor * b[i]));
    }
    cr_expect(most > 0 && error < 2e-4 * most, "%s: %g of %g", what, error, most);
}

// Clipping by a norm that is never reached: the gradient is made, and the same step comes of it.
Test(trainer_update, the_gradients_path_and_the_folded_one_agree)
{
    struct trainer_model_config *config = model_config_make(1);
    size_t count;
    struct trainer_update_figures figures;
    double *folded = step_delta(config, false, MODEL_BATCH, &count, &figures);
    cr_expect_eq(figures.steps, 0);
    config->update.clip_dense = 1e9;
    double *unfolded = step_delta(config, false, MODEL_BATCH, &count, &figures);
    cr_expect(figures.steps == 1 && figures.clipped_dense == 0);
    expect_scaled(unfolded, folded, count, 1, "dense");
    free(folded);
    free(unfolded);
}

Test(trainer_update, gradients_are_clipped_by_their_global_norms_apart)
{
    for (int rows = 0; rows < 2; rows++) {
        for (uint32_t n = 3; n <= MODEL_BATCH; n += 5) {
            struct trainer_model_config *config = model_config_make(2);
            size_t count, others;
            struct trainer_update_figures figures;
            double rate = rows ? config->update.sparse.rate : config->update.dense.rate;
            double *whole = step_delta(config, rows, n, &count, NULL);
            double *other = step_delta(config, !rows, n, &others, NULL);
            double gradient = norm(whole, count) / rate, clip = gradient * 0.37;
            *(rows ? &config->update.clip_sparse : &config->update.clip_dense) = clip;
            double *clipped = step_delta(config, rows, n, &count, &figures);
            double *unclipped = step_delta(config, !rows, n, &others, NULL);
            expect_scaled(clipped, whole, count, 0.37, rows ? "rows" : "dense");
            expect_scaled(unclipped, other, others, 1, rows ? "dense beside rows" : "rows beside dense");
            cr_expect(fabs(norm(clipped, count) / rate - clip) < 1e-3 * clip);
            cr_expect(figures.steps == 1 && figures.clipped_sparse == (rows ? 1 : 0) &&
                      figures.clipped_dense == (rows ? 0 : 1));
            free(whole);
            free(other);
            free(clipped);
            free(unclipped);
        }
    }
}

// Of weights n/batch * l2 * w, of biases nothing; of a row occurrences/batch * l2 * w.
Test(trainer_update, l2_is_part_of_every_samples_loss)
{
    enum { SAMPLES = 5 };
    struct trainer_model_config *config = model_config_make(1);
    struct trainer_snapshot *without = one_step(config, SAMPLES, NULL);
    const double rate = config->update.dense.rate, rate_rows = config->update.sparse.rate;
    config->update.dense.l2 = 0.3;
    config->update.sparse.l2 = 0.2;
    struct trainer_snapshot *with = one_step(config, SAMPLES, NULL);
    config->update.dense.rate = config->update.sparse.rate = 0;
    struct trainer_snapshot *start = one_step(config, SAMPLES, NULL);
    for (uint32_t t = 0; t < with->tensors; t++) {
        const struct trainer_tensor *tensor = &with->tensor[t];
        for (size_t i = tensor->offset; i < tensor->offset + (size_t)tensor->rows * tensor->columns; i++) {
            double moved = (double)with->dense[i] - (double)without->dense[i], w = (double)start->dense[i];
            double expected = tensor->rows > 1 ? -rate * 0.3 * SAMPLES / MODEL_BATCH * w : 0;
            if (strcmp(tensor->name, "oov.rare") == 0) { // one occurrence in every sample
                expected = -rate_rows * 0.2 * SAMPLES / MODEL_BATCH * w;
            }
            cr_assert(fabs(moved - expected) < 2e-6, "%s: %g %g", tensor->name, moved, expected);
        }
    }
    uint32_t occurrences[64] = {0}, seen = 0;
    for (uint32_t i = 0; i < SAMPLES; i++) {
        struct model_sample sample;
        model_sample_make(&sample, 7, i);
        occurrences[sample.user]++;
    }
    for (size_t r = 0; r < with->rows[0].count; r++) {
        cr_assert_eq(with->rows[0].keys[r], start->rows[0].keys[r]);
        for (size_t i = r * 4; i < r * 4 + 4; i++) {
            double moved = (double)with->rows[0].vectors[i] - (double)without->rows[0].vectors[i];
            double w = (double)start->rows[0].vectors[i];
            double expected = -rate_rows * 0.2 * occurrences[with->rows[0].keys[r]] / MODEL_BATCH * w;
            cr_assert(fabs(moved - expected) < 1e-7, "%g %g", moved, expected);
        }
        seen += occurrences[with->rows[0].keys[r]];
    }
    cr_assert_eq(seen, SAMPLES);
    trainer_snapshot_free(without);
    trainer_snapshot_free(with);
    trainer_snapshot_free(start);
}

// ---- schedules ----

Test(trainer_update, schedules_count_examples)
{
    const struct trainer_schedule constant = {0}, warm = {.warmup = 1000},
                                  both = {.warmup = 100, .half_life = 200, .floor = 0.1};
    cr_expect_eq(trainer_schedule_factor(&constant, 12345), 1);
    cr_expect_eq(trainer_schedule_factor(&warm, 1), 0.001);
    cr_expect_eq(trainer_schedule_factor(&warm, 250), 0.25);
    cr_expect_eq(trainer_schedule_factor(&warm, 1000), 1);
    cr_expect_eq(trainer_schedule_factor(&warm, UINT64_MAX), 1);
    cr_expect_float_eq(trainer_schedule_factor(&both, 50), 0.5 * pow(2, -0.25), 1e-15);
    cr_expect_eq(trainer_schedule_factor(&both, 200), 0.5);
    cr_expect_eq(trainer_schedule_factor(&both, 600), 0.125);
    cr_expect_eq(trainer_schedule_factor(&both, 700), 0.1);
    cr_expect_eq(trainer_schedule_factor(&both, UINT64_MAX), 0.1);
}

Test(trainer_update, schedules_are_of_dense_and_rows_apart)
{
    for (int rows = 0; rows < 2; rows++) {
        for (int path = 0; path < 2; path++) {
            struct trainer_model_config *config = model_config_make(1);
            config->update.clip_dense = path ? 1e9 : 0; // the gradient's path too
            size_t counts[2];
            double *plain[2], *scheduled[2];
            for (int side = 0; side < 2; side++) {
                plain[side] = step_delta(config, side, MODEL_BATCH, &counts[side], NULL);
            }
            struct trainer_schedule *schedule =
                rows ? &config->update.schedule_sparse : &config->update.schedule_dense;
            schedule->warmup = 40;
            for (int side = 0; side < 2; side++) {
                scheduled[side] = step_delta(config, side, MODEL_BATCH, &counts[side], NULL);
                double factor = side == rows ? (double)MODEL_BATCH / 40 : 1;
                expect_scaled(scheduled[side], plain[side], counts[side], factor, side ? "rows" : "dense");
                free(plain[side]);
                free(scheduled[side]);
            }
        }
    }
}

// ---- rules ----

Test(trainer_update, the_first_rule_that_matches_counts)
{
    struct trainer_model_config *config = model_config_make(1);
    struct trainer_tensor_rule rules[] = {
        {"task0.tower.*", trainer_optimiser_usual(TRAINER_OPTIMISER_SGD, 0)},
        {"task?.tower.output.bias", trainer_optimiser_usual(TRAINER_OPTIMISER_ADAM, 0.01)},
    };
    config->update.rules = 2;
    config->update.rule = rules;
    struct trainer_snapshot *after = one_step(config, MODEL_BATCH, NULL);
    config->update = (struct trainer_update_config){0};
    struct trainer_snapshot *before = one_step(config, MODEL_BATCH, NULL);
    uint32_t still = 0, adam = 0;
    for (uint32_t t = 0; t < after->tensors; t++) {
        const struct trainer_tensor *tensor = &after->tensor[t];
        const float *from = before->dense + tensor->offset, *to = after->dense + tensor->offset;
        size_t size = (size_t)tensor->rows * tensor->columns;
        bool moved = memcmp(from, to, size * sizeof *to) != 0;
        if (strncmp(tensor->name, "task0.tower.", 12) == 0) {
            cr_expect_not(moved, "%s", tensor->name);
            still++;
        } else if (strstr(tensor->name, "tower.output.bias")) {
            cr_expect(fabsf(fabsf(to[0] - from[0]) - 0.01f) < 1e-6f, "Adam's first step is its rate");
            adam++;
        }
    }
    cr_expect(still == 4 && adam == 2, "%u %u", still, adam);
    trainer_snapshot_free(before);
    trainer_snapshot_free(after);
}

Test(trainer_update, what_cannot_be_is_refused)
{
    struct trainer_tensor_rule nowhere = {"tower.*", {.rate = 1}},
                               rowwise = {"*",
                                          trainer_optimiser_usual(TRAINER_OPTIMISER_ROWWISE_ADAGRAD, 0.1)},
                               ftrl = {"*", trainer_optimiser_usual(TRAINER_OPTIMISER_FTRL, 0.1)};
    struct trainer_optimiser_config slots[MODEL_SLOTS] = {
        {.rate = 1}, trainer_optimiser_usual(TRAINER_OPTIMISER_FTRL, 0.1), {.rate = -1}};
    const struct {
        struct trainer_update_config update;
        const char *said;
    } cases[] = {
        {{.rules = 1, .rule = &nowhere}, "tensors \"tower.*\": there is none"},
        {{.rules = 1, .rule = &rowwise}, "tensors \"*\": rowwise_adagrad is for"},
        {{.rules = 1, .rule = &ftrl, .schedule_dense = {.warmup = 1}}, "the dense rate has a schedule"},
        {{.slot = slots, .schedule_sparse = {.half_life = 10}}, "the sparse rate has a schedule"},
        {{.slot = slots}, "slot rare rate -1 is not in"},
        {{.schedule_dense = {.floor = 2}}, "floor 2"},
        {{.schedule_sparse = {.half_life = 0.5}}, "half_life 0.5"},
        {{.clip_dense = -1}, "the dense clip -1"},
        {{.clip_sparse = (double)NAN}, "the sparse clip nan"},
        {{.rules = TRAINER_RULES_MAX + 1, .rule = &nowhere}, "257 rules"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct trainer_model_config *config = model_config_make(1);
        config->update = cases[i].update;
        struct base_error error;
        if (cases[i].update.rules > TRAINER_RULES_MAX) { // nothing of it is read
            cr_assert_eq(trainer_update_check(&config->update, MODEL_SLOTS, &error), -1);
        } else {
            cr_assert_null(trainer_model_new(config, true, &error), "%zu", i);
        }
        cr_expect(error.code == BASE_EINVAL && strstr(error.text, cases[i].said), "%s", error.text);
    }
}

// ---- rows ----

// Equal rows of a minibatch: one step with the sum of their gradients. A step for each occurrence, as some
// implementations have it, is something else for everything but SGD.
Test(trainer_update, gradients_of_equal_rows_are_added_first)
{
    struct base_error error;
    struct trainer_model_config *config = model_config_make(1);
    struct trainer_table_slot_config slots[MODEL_SLOTS];
    struct trainer_workers *workers = trainer_workers_new(1, &error);
    struct trainer_gather *gather = trainer_gather_new(&config->features, MODEL_BATCH);
    struct base_span columns[MODEL_BATCH];
    struct model_sample samples[MODEL_BATCH];
    float dx[MODEL_BATCH * MODEL_WIDTH];
    for (uint32_t i = 0; i < MODEL_BATCH * MODEL_WIDTH; i++) {
        dx[i] = (float)base_random_normal(1, i);
    }
    for (uint32_t i = 0; i < MODEL_BATCH; i++) {
        model_sample_make(&samples[i], 3, i == 0 ? 0 : i < 4 ? 1 : 2); // a user once, three and four times
        columns[i] = samples[i].sample.columns;
    }
    for (int kind = 0; kind < TRAINER_OPTIMISERS; kind++) {
        struct trainer_optimiser_config optimisers[MODEL_SLOTS];
        struct trainer_optimiser_step steps[MODEL_SLOTS];
        for (uint32_t s = 0; s < MODEL_SLOTS; s++) {
            slots[s] = config->features.slot[s].row;
            optimisers[s] = trainer_optimiser_usual((enum trainer_optimiser_kind)kind, 0.1);
            steps[s] = (struct trainer_optimiser_step){
                .config = &optimisers[s], .rate = 0.1, .divisor = 8, .batch = 8, .examples = 8, .count = 8};
        }
        struct trainer_table_config table_config = {MODEL_SLOTS, slots, 3, 1000, true, optimisers};
        struct trainer_table *table = trainer_table_new(&table_config, &error);
        cr_assert_eq(trainer_gather_read(gather, columns, MODEL_BATCH, &error), 0);
        trainer_gather_resolve(gather, table, 0, workers);
        const uint32_t first[] = {0, 1, 4, 8};
        float right[3][4], wrong[3][4];
        trainer_row row[3];
        for (uint32_t u = 0; u < 3; u++) {
            uint16_t slot = 0;
            trainer_table_find(table, &samples[first[u]].user, &slot, 1, &row[u]);
            float state[2][9], sum[4] = {0};
            memcpy(right[u], trainer_table_vector(table, 0, row[u]), sizeof right[u]);
            memcpy(wrong[u], right[u], sizeof wrong[u]);
            trainer_optimiser_start_row(&optimisers[0], right[u], 4, state[0]);
            trainer_optimiser_start_row(&optimisers[0], right[u], 4, state[1]);
            for (uint32_t i = first[u]; i < first[u + 1]; i++) {
                for (uint32_t d = 0; d < 4; d++) {
                    sum[d] += dx[i * MODEL_WIDTH + d];
                }
                trainer_optimiser_apply_row(&steps[0], wrong[u], &dx[i * MODEL_WIDTH], 4, state[0], 1);
            }
            trainer_optimiser_apply_row(&steps[0], right[u], sum, 4, state[1], first[u + 1] - first[u]);
        }
        trainer_gather_pool(gather, table, workers);
        double squares = trainer_gather_squares(gather, dx, workers);
        trainer_gather_scatter(gather, table, dx, steps, workers);
        for (uint32_t u = 0; u < 3; u++) {
            const float *vector = trainer_table_vector(table, 0, row[u]);
            double apart = 0;
            for (uint32_t d = 0; d < 4; d++) {
                apart = fmax(apart, fabs((double)wrong[u][d] - (double)vector[d]));
            }
            cr_expect_eq(memcmp(right[u], vector, sizeof right[u]), 0, "%d, user %u", kind, u);
            cr_expect((apart > 1e-3) == (u > 0 && kind != TRAINER_OPTIMISER_SGD), "%d, user %u: %g", kind, u,
                      apart);
        }
        cr_expect_gt(squares, 0);
        trainer_table_free(table);
    }
    trainer_gather_free(gather);
    trainer_workers_free(workers);
}

static const struct trainer_table_slot_config row_slots[] = {{"a", 8, 2, 100}, {"b", 8, 1, 100}};

static struct trainer_table *rows_table(enum trainer_optimiser_kind kind,
                                        struct trainer_optimiser_config config[2])
{
    struct base_error error;
    config[0] = config[1] = trainer_optimiser_usual(kind, 0.1);
    config[0].half_life = config[1].half_life = 50;
    struct trainer_table_config table = {2, row_slots, 3, 1000, true, config};
    return trainer_table_new(&table, &error);
}

static void expect_new(struct trainer_table *table, const struct trainer_optimiser_config *config,
                       uint16_t slot, trainer_row row)
{
    float state[2 * 8 + 2];
    uint32_t words = trainer_optimiser_words(config, 8);
    cr_assert_eq(trainer_table_words(table, slot), words);
    cr_assert_eq(trainer_table_state(table, slot, row) == NULL, words == 0);
    trainer_optimiser_start_row(config, trainer_table_vector(table, slot, row), 8, state);
    cr_expect(words == 0 || memcmp(state, trainer_table_state(table, slot, row), words * sizeof *state) == 0);
}

static trainer_row resolve(struct trainer_table *table, uint16_t slot, uint64_t key, int64_t now)
{
    trainer_row row;
    trainer_table_resolve(table, &key, &slot, 1, now, &row);
    return row;
}

static void row_step(struct trainer_table *table, const struct trainer_optimiser_config *config,
                     uint16_t slot, trainer_row row, uint64_t examples)
{
    const float sum[8] = {1, -2, 3, -4, 5, -6, 7, -8};
    struct trainer_optimiser_step step = {
        .config = config, .rate = 0.1, .divisor = 8, .batch = 8, .examples = examples, .count = 8};
    trainer_optimiser_apply_row(&step, trainer_table_vector(table, slot, row), sum, 8,
                                trainer_table_state(table, slot, row), 1);
}

// The out-of-vocabulary row has state of its own; a row that starts as its copy begins with none of it, and
// so does one that takes the place of a dropped one.
Test(trainer_update, new_rows_begin_with_new_state)
{
    for (int kind = 0; kind < TRAINER_OPTIMISERS; kind++) {
        struct trainer_optimiser_config config[2];
        struct trainer_table *table = rows_table((enum trainer_optimiser_kind)kind, config);
        trainer_row oov = resolve(table, 0, 77, 0);
        cr_assert_eq(oov, TRAINER_ROW_OOV);
        expect_new(table, config, 0, oov);
        expect_new(table, config, 1, TRAINER_ROW_OOV | 1);
        row_step(table, config, 0, oov, 10);
        trainer_row copy = resolve(table, 0, 77, 1);
        cr_assert_neq(copy, oov);
        cr_expect_eq(memcmp(trainer_table_vector(table, 0, copy), trainer_table_vector(table, 0, oov), 32),
                     0);
        expect_new(table, config, 0, copy);
        if (trainer_table_words(table, 0)) {
            cr_expect_neq(memcmp(trainer_table_state(table, 0, copy), trainer_table_state(table, 0, oov), 8),
                          0);
        }
        trainer_row drawn = resolve(table, 1, 5, 1);
        expect_new(table, config, 1, drawn);
        row_step(table, config, 1, drawn, 20);
        trainer_table_expire(table, 1000);
        cr_assert_eq(trainer_table_rows(table), 0);
        trainer_row again = resolve(table, 1, 6, 1000);
        cr_expect(again == drawn || again == copy, "freed rows are used again");
        expect_new(table, config, 1, again);
        trainer_table_free(table);
    }
}

// A key that is never admitted learns through its slot's out-of-vocabulary row, by the slot's optimiser.
Test(trainer_update, out_of_vocabulary_rows_are_rows_of_their_slot)
{
    struct trainer_model_config *config = model_config_make(1);
    config->update.sparse = trainer_optimiser_usual(TRAINER_OPTIMISER_ADAM, 0.01);
    struct trainer_model *model = model_make(config, true);
    model_train(model, 3, 0, 6);
    const float *state = trainer_table_state(trainer_model_table(model), 2, TRAINER_ROW_OOV | 2);
    uint32_t steps;
    memcpy(&steps, state + 2 * 4, sizeof steps);
    cr_expect_eq(steps, 6, "all keys of a minibatch count as one row");
    trainer_model_free(model);
}
