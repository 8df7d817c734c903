// Growth of a model out of a cut: slots, numeric inputs and tasks that are new.
//
// Growing and learning commute as long as nothing of what is new is seen: a model that grew before it learned
// is the twin of one that grew afterwards.
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "base/section.h"
#include "trainer_cut_support.h"

enum { COLUMNS = 6, BATCH = 8, STEPS = 10, BYTES = 512, PROBES = 40, KEYS = 4 };

// A world of slots a..f, each with a categorical column of its own, and numerics p..s. A model has some of
// them, in some order.
struct side {
    const char *slots, *numerics;
    uint32_t tasks;
};

struct built {
    struct trainer_model_config config;
    struct trainer_slot_config slot[COLUMNS];
    struct trainer_numeric_config numeric[COLUMNS];
    struct trainer_optimiser_config optimiser[COLUMNS];
    char name[2 * COLUMNS][2];
    struct side side;
};

static const char *const task_names[] = {"click", "purchase", "cart", "favourite"};

static void build(struct built *built, struct side side, enum trainer_body body, uint32_t per_task)
{
    *built = (struct built){.side = side};
    uint32_t slots = (uint32_t)strlen(side.slots), numerics = (uint32_t)strlen(side.numerics);
    for (uint32_t s = 0; s < slots; s++) {
        char letter = side.slots[s];
        built->name[s][0] = letter;
        built->slot[s] = (struct trainer_slot_config){
            .row = {built->name[s], 4 * (1 + (uint32_t)(letter - 'a') % 4), letter == 'b' ? 3 : 1,
                    letter == 'c' ? 900 : 0},
            .pooling = letter == 'a' ? TRAINER_POOLING_SUM : TRAINER_POOLING_MEAN,
            .column = s};
    }
    for (uint32_t i = 0; i < numerics; i++) {
        built->name[COLUMNS + i][0] = side.numerics[i];
        built->numeric[i] =
            (struct trainer_numeric_config){built->name[COLUMNS + i], i, side.numerics[i] == 'q', 0, 1};
    }
    built->config = (struct trainer_model_config){
        .features = {{slots, numerics}, slots, built->slot, numerics, built->numeric},
        .network = {.body = body,
                    .levels = 1,
                    .level = {{.widths = {32, 16}, .layers = 2, .per_task = per_task, .shared = 2}},
                    .tower_widths = {16},
                    .tower_layers = 1,
                    .soft_l2 = 0.01f,
                    .batch = BATCH},
        .loss = {.tasks = side.tasks,
                 .stages = side.tasks < 2 ? side.tasks : 2,
                 .full = true,
                 .task_weight = {1, 0.5f, 0.75f, 0.25f},
                 .keep_negatives = 1},
        .update.dense.rate = 0.2,
        .update.sparse.rate = 0.5,
        .seed = 5,
        .rows_max = 3000,
        .workers = 1,
    };
    memcpy(built->config.task_names, task_names, sizeof task_names);
}

// Impression `number` as the side's columns have it; columns outside `filled` are empty.
static struct base_span pack(const struct side *side, const char *filled, uint64_t number,
                             uint64_t bytes[BYTES / 8])
{
    uint32_t slots = (uint32_t)strlen(side->slots), numerics = (uint32_t)strlen(side->numerics), keys = 0;
    const struct base_columns_layout layout = {slots, numerics};
    memset(bytes, 0, BYTES);
    size_t header = base_columns_header_size(layout);
    uint16_t *count = (void *)bytes;
    double *numeric = (void *)((char *)bytes + header - numerics * sizeof *numeric);
    uint64_t *key = (void *)((char *)bytes + header);
    for (uint32_t s = 0; s < slots; s++) {
        uint64_t random = base_random_key(number, (char[]){side->slots[s], 0});
        count[s] = strchr(filled, side->slots[s]) ? (uint16_t)(base_random_bits(random, 0) % KEYS) : 0;
        for (uint32_t i = 0; i < count[s]; i++) {
            key[keys++] = base_random_bits(random, i + 1) % 50;
        }
    }
    for (uint32_t i = 0; i < numerics; i++) {
        uint64_t random = base_random_key(number, (char[]){side->numerics[i], 0});
        numeric[i] = strchr(filled, side->numerics[i]) ? base_random_normal(random, 0) : (double)NAN;
    }
    return base_span_make(bytes, header + keys * sizeof *key);
}

// Steps on the samples from `first` on; tasks from `tasks` on are masked.
static void train(struct trainer_model *model, const struct side *side, const char *filled, uint32_t tasks,
                  uint64_t first)
{
    for (uint64_t step = 0; step < STEPS; step++) {
        struct base_minibatch *minibatch = base_minibatch_new(BATCH);
        base_minibatch_clear(minibatch, 0);
        for (uint64_t i = 0; i < BATCH; i++) {
            uint64_t number = first + step * BATCH + i, bytes[BYTES / 8];
            uint64_t bits = base_random_bits(base_random_key(number, "labels"), 0);
            struct base_sample sample = {.due_time = (int64_t)number * 10,
                                         .event_time = (int64_t)number * 10,
                                         .sequence = number,
                                         .kind = BASE_C1,
                                         .trains = 1,
                                         .columns = pack(side, filled, number, bytes),
                                         .impression_id = base_span_string("i")};
            for (uint32_t k = 0; k < tasks; k++) {
                sample.mask |= (uint8_t)(1u << k);
                sample.label[k] = (k == 0 || sample.label[0]) && (bits >> k & 1);
                sample.weight[k] = 1;
            }
            base_minibatch_add(minibatch, &sample);
        }
        base_minibatch_seal(minibatch);
        struct base_error error;
        struct trainer_step done;
        cr_assert_eq(trainer_model_step(model, minibatch, &done, &error), 0, "%s", error.text);
        cr_assert_not(done.set_aside);
        base_minibatch_free(minibatch);
    }
}

// The first `tasks` tasks' conditional probabilities of some impressions.
static void probe(struct trainer_model *model, const struct built *built, const char *filled, uint32_t tasks,
                  float out[PROBES][BASE_TASKS_MAX])
{
    memset(out, 0, PROBES * sizeof *out);
    for (uint64_t i = 0; i < PROBES; i++) {
        uint64_t bytes[BYTES / 8];
        float conditional[BASE_TASKS_MAX];
        struct base_error error;
        struct base_span columns = pack(&built->side, filled, 5000 + i, bytes);
        cr_assert_eq(trainer_model_predict(model, &columns, 1, conditional, NULL, &error), 0);
        memcpy(out[i], conditional, tasks * sizeof *conditional);
    }
}

static bool same(const float a[PROBES][BASE_TASKS_MAX], const float b[PROBES][BASE_TASKS_MAX])
{
    return memcmp(a, b, sizeof(float[PROBES][BASE_TASKS_MAX])) == 0;
}

// In another order x's sums are rounded otherwise.
static bool near(const float a[PROBES][BASE_TASKS_MAX], const float b[PROBES][BASE_TASKS_MAX])
{
    for (uint32_t i = 0; i < PROBES * BASE_TASKS_MAX; i++) {
        if (fabsf(a[i / BASE_TASKS_MAX][i % BASE_TASKS_MAX] - b[i / BASE_TASKS_MAX][i % BASE_TASKS_MAX]) >
            1e-6f) {
            return false;
        }
    }
    return true;
}

static int restore(struct trainer_model *model, struct map *map, struct base_error *error)
{
    struct trainer_cut_source source = map_source(map, false);
    return trainer_model_restore(model, &source, error);
}

// A cut of `from` after its training.
static struct trainer_model *learn(const struct built *from, struct map *map)
{
    struct trainer_model *model = model_make(&from->config, true);
    train(model, &from->side, "abcdefpqrs", from->side.tasks, 0);
    cut_at_once(model, map);
    return model;
}

// ---- slots and numeric inputs ----

static const struct side small = {"bac", "pq", 2};
static const struct side larger[] = {
    {"bacd", "pq", 2}, {"dbac", "pq", 2}, {"badc", "pq", 2},     {"bac", "rpq", 2},
    {"bac", "pqr", 2}, {"bac", "pq", 2},  {"fbeacd", "rpsq", 2}, {"cab", "qp", 2},
};
enum { LARGER = sizeof larger / sizeof *larger, REORDERED = LARGER - 1 };

static void set_update(struct built *built, uint64_t way)
{
    struct trainer_update_config *update = &built->config.update;
    cut_config_update(&built->config, way);
    for (uint32_t s = 0; update->slot && built->side.slots[s]; s++) { // by slot, not by place
        built->optimiser[s] = update->slot[(uint32_t)(built->side.slots[s] - 'a') % COLUMNS];
    }
    update->slot = update->slot ? built->optimiser : NULL;
    for (uint32_t i = 0; i < update->rules; i++) { // names of any body
        update->rule[i].match = i ? "*.bias" : "*.layer0.*";
    }
}

Test(trainer_growth, new_inputs_leave_the_function_as_it_is)
{
    for (int body = 0; body < TRAINER_BODIES; body++) {
        struct built from, to;
        build(&from, small, (enum trainer_body)body, 1);
        struct map map = {0};
        struct trainer_model *model = learn(&from, &map);
        float before[PROBES][BASE_TASKS_MAX], after[PROBES][BASE_TASKS_MAX];
        probe(model, &from, "abcpq", 2, before);
        for (size_t i = 0; i < LARGER; i++) {
            build(&to, larger[i], (enum trainer_body)body, 1);
            struct trainer_model *grown = cut_restore(&to.config, &map);
            cr_assert_eq(trainer_table_rows(trainer_model_table(grown)),
                         trainer_table_rows(trainer_model_table(model)));
            probe(grown, &to, "abcpq", 2, after);
            cr_assert(i == REORDERED ? near(before, after) : same(before, after), "body %d, %zu: empty", body,
                      i);
            probe(grown, &to, "abcdefpqrs", 2, after);
            cr_assert(i == REORDERED ? near(before, after) : same(before, after), "body %d, %zu: filled",
                      body, i);
            train(grown, &to.side, "abcdefpqrs", 2, 1000);
            probe(grown, &to, "abcdefpqrs", 2, after);
            cr_assert_not(near(before, after));
            trainer_model_free(grown);
        }
        trainer_model_free(model);
        map_free(&map);
    }
}

// A sum over more than 384 numbers of x is cut there: what moves across a multiple of it is added elsewhere.
Test(trainer_growth, a_wide_x_keeps_its_bits_where_old_inputs_stay)
{
    static const struct {
        struct side from, to;
        bool stays;
    } cases[] = {{{"bac", "", 2}, {"bacd", "", 2}, true},
                 {{"bac", "pq", 2}, {"bac", "pqr", 2}, true},
                 {{"bac", "pq", 2}, {"bacd", "pq", 2}, false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct built from, to;
        build(&from, cases[i].from, TRAINER_BODY_PLE, 1);
        build(&to, cases[i].to, TRAINER_BODY_PLE, 1);
        for (uint32_t s = 0; s < 4; s++) {
            from.slot[s].row.dimension = to.slot[s].row.dimension = 128;
        }
        struct map map = {0};
        struct trainer_model *model = learn(&from, &map), *grown = cut_restore(&to.config, &map);
        float before[PROBES][BASE_TASKS_MAX], after[PROBES][BASE_TASKS_MAX];
        probe(model, &from, "abcdpqr", 2, before);
        probe(grown, &to, "abcdpqr", 2, after);
        cr_assert(cases[i].stays ? same(before, after) : near(before, after), "%zu", i);
        trainer_model_free(model);
        trainer_model_free(grown);
        map_free(&map);
    }
}

// Growing and learning commute where nothing of what is new is seen: weights, optimisers' state, rows.
Test(trainer_growth, a_grown_model_is_the_one_that_never_saw_what_is_new)
{
    for (uint64_t way = 0; way < CUT_UPDATES; way++) {
        for (size_t i = 0; i < REORDERED; i++) {
            struct map learned = {0}, fresh = {0}, again = {0};
            struct built from, to;
            build(&from, small, TRAINER_BODY_PLE, 1);
            set_update(&from, way);
            struct trainer_model *model = model_make(&from.config, true);
            cut_at_once(model, &fresh);
            trainer_model_free(model);
            trainer_model_free(learn(&from, &learned));
            build(&to, larger[i], TRAINER_BODY_PLE, 1);
            set_update(&to, way);
            struct trainer_model *grown = cut_restore(&to.config, &learned);
            struct trainer_model *twin = cut_restore(&to.config, &fresh);
            train(twin, &to.side, "abcpq", 2, 0);
            cr_assert_eq(trainer_model_hash(twin), trainer_model_hash(grown), "way %d, %zu", (int)way, i);
            train(twin, &to.side, "abcdefpqrs", 2, 1000);
            train(grown, &to.side, "abcdefpqrs", 2, 1000);
            cr_assert_eq(trainer_model_hash(twin), trainer_model_hash(grown), "way %d, %zu", (int)way, i);
            // And it is cut and restored as any other, on top of the small one's cut.
            cut_at_once(grown, &learned);
            struct trainer_model *other = cut_restore(&to.config, &learned);
            cr_assert_eq(trainer_model_hash(other), trainer_model_hash(grown));
            uint32_t news;
            trainer_model_news(other, &news);
            cr_assert_eq(news, 0);
            train(other, &to.side, "abcdefpqrs", 2, 2000);
            train(grown, &to.side, "abcdefpqrs", 2, 2000);
            cr_assert_eq(trainer_model_hash(other), trainer_model_hash(grown));
            cut_at_once(grown, &learned);
            trainer_model_free(other);
            other = cut_restore(&to.config, &learned);
            cut_at_once(twin, &again);
            cr_assert_eq(trainer_model_hash(other), trainer_model_hash(grown));
            trainer_model_free(other);
            trainer_model_free(twin);
            trainer_model_free(grown);
            map_free(&learned);
            map_free(&fresh);
            map_free(&again);
        }
    }
}

// ---- tasks ----

// Whether the old tasks' outputs stay as they are, by body: without experts of a task's own, and with.
static const bool stays[TRAINER_BODIES][2] = {
    [TRAINER_BODY_PLE] = {true, true},           [TRAINER_BODY_CGC] = {true, true},
    [TRAINER_BODY_ML_MMOE] = {true, false},      [TRAINER_BODY_MMOE] = {true, false},
    [TRAINER_BODY_MOE] = {true, false},          [TRAINER_BODY_CUSTOMIZED] = {true, true},
    [TRAINER_BODY_CROSS_STITCH] = {true, true},  [TRAINER_BODY_SOFT_L2] = {true, true},
    [TRAINER_BODY_SHARED_BOTTOM] = {true, true},
};

static void second_level(struct built *built, uint32_t per_task)
{
    built->config.network.levels = 2;
    built->config.network.level[1] =
        (struct trainer_level_config){.widths = {16}, .layers = 1, .per_task = per_task, .shared = 1};
}

// A new task behind `tasks` others, seen in no sample at first.
static void grow_task(enum trainer_body body, uint32_t per_task, uint32_t tasks, bool deep, uint64_t way,
                      bool still)
{
    struct side side = {"bac", "pq", tasks};
    struct built from, to;
    build(&from, side, body, per_task);
    side.tasks++;
    build(&to, side, body, per_task);
    if (deep) {
        second_level(&from, per_task);
        second_level(&to, per_task);
    }
    from.config.loss.stages = to.config.loss.stages = 1;
    from.config.loss.weighting = to.config.loss.weighting =
        way ? TRAINER_WEIGHTING_UNCERTAINTY : TRAINER_WEIGHTING_FIXED;
    set_update(&from, way);
    struct map learned = {0}, fresh = {0};
    struct trainer_model *model = model_make(&from.config, true);
    cut_at_once(model, &fresh);
    train(model, &from.side, "abcpq", tasks, 0);
    cut_at_once(model, &learned);
    set_update(&to, way);
    struct trainer_model *grown = cut_restore(&to.config, &learned);
    float before[PROBES][BASE_TASKS_MAX], after[PROBES][BASE_TASKS_MAX];
    probe(model, &from, "abcpq", tasks, before);
    probe(grown, &to, "abcpq", tasks, after);
    cr_assert_eq(same(before, after), still, "body %d, %u own, %u tasks", (int)body, per_task, tasks);
    uint32_t news;
    const struct trainer_news *what = trainer_model_news(grown, &news);
    cr_assert(news == 1 && what->kind == TRAINER_NEWS_TASK && strcmp(what->name, task_names[tasks]) == 0);
    if (still && body != TRAINER_BODY_SOFT_L2 && body != TRAINER_BODY_CROSS_STITCH) {
        // The penalty draws old bottoms to the new one, and a stitch learns what it may take of it.
        struct trainer_model *twin = cut_restore(&to.config, &fresh);
        train(twin, &to.side, "abcpq", tasks, 0);
        cr_assert_eq(trainer_model_hash(twin), trainer_model_hash(grown), "body %d, %u own, %u tasks",
                     (int)body, per_task, tasks);
        train(twin, &to.side, "abcpq", tasks + 1, 1000);
        train(grown, &to.side, "abcpq", tasks + 1, 1000);
        cr_assert_eq(trainer_model_hash(twin), trainer_model_hash(grown));
        trainer_model_free(twin);
    }
    train(grown, &to.side, "abcpq", tasks + 1, 2000);
    cut_at_once(grown, &learned);
    struct trainer_model *other = cut_restore(&to.config, &learned);
    cr_assert_eq(trainer_model_hash(other), trainer_model_hash(grown));
    train(other, &to.side, "abcpq", tasks + 1, 3000);
    train(grown, &to.side, "abcpq", tasks + 1, 3000);
    cr_assert_eq(trainer_model_hash(other), trainer_model_hash(grown));
    trainer_model_free(other);
    trainer_model_free(grown);
    trainer_model_free(model);
    map_free(&learned);
    map_free(&fresh);
}

Test(trainer_growth, a_new_task_leaves_the_others_as_docs_models_md_says)
{
    for (int body = 0; body < TRAINER_BODIES; body++) {
        for (uint32_t per_task = 0; per_task < 2; per_task++) {
            for (uint32_t tasks = 1; tasks <= 3; tasks++) {
                grow_task((enum trainer_body)body, per_task, tasks, false, tasks - 1, stays[body][per_task]);
            }
        }
    }
}

Test(trainer_growth, a_new_task_among_several_levels)
{
    for (uint32_t tasks = 1; tasks <= 3; tasks++) {
        // PLE's shared gate weighs the new task's experts.
        grow_task(TRAINER_BODY_PLE, 1, tasks, true, 0, false);
        grow_task(TRAINER_BODY_PLE, 0, tasks, true, 0, true);
        grow_task(TRAINER_BODY_ML_MMOE, 1, tasks, true, 0, false);
        grow_task(TRAINER_BODY_ML_MMOE, 0, tasks, true, 0, true);
        grow_task(TRAINER_BODY_CUSTOMIZED, 1, tasks, true, 0, true);
        grow_task(TRAINER_BODY_CROSS_STITCH, 1, tasks, true, 0, true);
    }
}

// Everything at once.
Test(trainer_growth, inputs_and_a_task_together)
{
    struct side side = {"bac", "pq", 2}, more = {"fbeacd", "rpsq", 3};
    struct built from, to;
    build(&from, side, TRAINER_BODY_PLE, 1);
    build(&to, more, TRAINER_BODY_PLE, 1);
    struct map map = {0};
    struct trainer_model *model = learn(&from, &map), *grown = cut_restore(&to.config, &map);
    float before[PROBES][BASE_TASKS_MAX], after[PROBES][BASE_TASKS_MAX];
    probe(model, &from, "abcpq", 2, before);
    probe(grown, &to, "abcdefpqrs", 2, after);
    cr_assert(same(before, after));
    uint32_t news;
    const struct trainer_news *what = trainer_model_news(grown, &news);
    cr_assert_eq(news, 6);
    static const char *const names[] = {"f", "e", "d", "r", "s", "cart"};
    for (uint32_t i = 0; i < news; i++) {
        cr_assert_str_eq(what[i].name, names[i]);
        cr_assert_eq(what[i].kind, i < 3   ? TRAINER_NEWS_SLOT
                                   : i < 5 ? TRAINER_NEWS_NUMERIC
                                           : TRAINER_NEWS_TASK);
    }
    trainer_model_free(model);
    trainer_model_free(grown);
    map_free(&map);
}

// ---- candidates ----

static uint32_t buckets_of(const struct map *map)
{
    uint32_t buckets = 0;
    for (size_t i = 0; i < map->count; i++) {
        buckets += map->entries[i].key.data[0] == 'a';
    }
    return buckets;
}

// With more slots each counts in fewer buckets; what was counted is then forgotten, also by the map.
Test(trainer_growth, counts_towards_admission_begin_anew_where_their_buckets_change)
{
    struct built from, to;
    build(&from, small, TRAINER_BODY_PLE, 1);
    build(&to, larger[0], TRAINER_BODY_PLE, 1);
    from.config.rows_max = to.config.rows_max = 100000;
    struct map map = {0};
    trainer_model_free(learn(&from, &map));
    cr_assert_gt(buckets_of(&map), 0);
    struct trainer_model *grown = cut_restore(&to.config, &map);
    cut_at_once(grown, &map);
    cr_assert_eq(buckets_of(&map), 0);
    train(grown, &to.side, "abcdpq", 2, 500);
    cut_at_once(grown, &map);
    struct trainer_model *other = cut_restore(&to.config, &map);
    train(grown, &to.side, "abcdpq", 2, 1000);
    train(other, &to.side, "abcdpq", 2, 1000);
    cr_assert_eq(trainer_model_hash(other), trainer_model_hash(grown));
    trainer_model_free(other);
    trainer_model_free(grown);
    map_free(&map);
}

// ---- what is refused ----

static void refuse(const struct built *to, struct map *map, const char *text, const char *and)
{
    struct base_error error;
    struct trainer_model *model = model_make(&to->config, true);
    cr_assert_eq(restore(model, map, &error), -1, "%s", text);
    cr_assert_eq(error.code, BASE_ECONFLICT, "%s", error.text);
    cr_assert(strstr(error.text, text) && strstr(error.text, and), "%s", error.text);
    trainer_model_free(model);
}

Test(trainer_growth, what_is_no_growth_is_refused)
{
    static const struct {
        struct side side;
        const char *text, *and;
    } cases[] = {
        {{"ba", "pq", 2}, "the model has no slot c", "put it back"},
        {{"bad", "pq", 2}, "the model has no slot c", "put it back"},
        {{"bac", "q", 2}, "numeric input p fed the network", "put it back"},
        {{"bacd", "qr", 2}, "numeric input p fed the network", "put it back"},
        {{"bac", "pq", 1}, "task 1 was purchase when the cut was made and is none", "not removed"},
    };
    struct built from, to;
    build(&from, small, TRAINER_BODY_PLE, 1);
    struct map map = {0};
    trainer_model_free(learn(&from, &map));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        build(&to, cases[i].side, TRAINER_BODY_PLE, 1);
        refuse(&to, &map, cases[i].text, cases[i].and);
    }
    build(&to, larger[0], TRAINER_BODY_PLE, 1);
    to.slot[0].row.dimension = 16;
    refuse(&to, &map, "slot b has dimension 16 and had 8", "");
    build(&to, larger[0], TRAINER_BODY_PLE, 2);
    refuse(&to, &map, "was level0.task1.expert0.layer0.weight", "");
    build(&to, larger[0], TRAINER_BODY_PLE, 1);
    to.config.network.tower_widths[0] = 32;
    refuse(&to, &map, "tensor task0.tower.layer0.weight is 16 x 32 and was 16 x 16", "");
    build(&to, (struct side){"bac", "pq", 3}, TRAINER_BODY_PLE, 1);
    to.config.task_names[1] = "cart";
    to.config.task_names[2] = "purchase";
    refuse(&to, &map, "task 1 was purchase when the cut was made and is cart", "behind the others");
    // A cut of an earlier program is taken as it is, and grows once it has been written anew.
    map_remove(&map, base_span_string("x"));
    build(&to, larger[0], TRAINER_BODY_PLE, 1);
    refuse(&to, &map, "the model has 4 slots and had 3", "start once with the settings as they were");
    build(&to, larger[4], TRAINER_BODY_PLE, 1);
    struct trainer_model *same_model = cut_restore(&from.config, &map);
    cut_at_once(same_model, &map);
    trainer_model_free(same_model);
    trainer_model_free(cut_restore(&to.config, &map));
    map_free(&map);
}

// The list of inputs and tasks is as well guarded as the rest.
Test(trainer_growth, a_damaged_list_is_refused)
{
    struct built from;
    build(&from, small, TRAINER_BODY_PLE, 1);
    struct map map = {0};
    trainer_model_free(learn(&from, &map));
    struct map_entry *entry = map_find(&map, base_span_string("x"));
    for (size_t i = 0; i < entry->value.size; i++) {
        entry->value.data[i] ^= 4;
        struct base_error error;
        struct trainer_model *model = model_make(&from.config, true);
        cr_assert_eq(restore(model, &map, &error), -1);
        cr_assert_eq(error.code, BASE_EFORMAT, "%s", error.text);
        trainer_model_free(model);
        entry->value.data[i] ^= 4;
    }
    map_free(&map);
}

// Bytes of the model's section behind a text in it, changed under a checksum that fits.
static void patch_section(struct map *map, const char *text, size_t skip, const void *bytes, size_t size)
{
    struct base_buffer *value = &map_find(map, base_span_string("m"))->value;
    uint8_t *at = memmem(value->data, value->size, text, strlen(text));
    cr_assert_not_null(at, "%s", text);
    memcpy(at + strlen(text) + skip, bytes, size);
    size_t payload = 20; // magic, version, size
    struct base_buffer sealed = {0};
    size_t mark = base_section_begin(&sealed, "FRSHMODL", value->data[8]);
    base_buffer_append(&sealed, value->data + payload, value->size - payload - 8);
    base_section_end(&sealed, mark);
    cr_assert_eq(sealed.size, value->size);
    memcpy(value->data, sealed.data, sealed.size);
    base_buffer_free(&sealed);
}

// A tensor that is none of the network's is held to the model's shape as well: it would be read beyond its
// end.
Test(trainer_growth, an_out_of_vocabulary_row_of_another_shape_is_refused)
{
    struct built from;
    build(&from, small, TRAINER_BODY_PLE, 1);
    struct map map = {0};
    struct trainer_model *model = learn(&from, &map);
    uint32_t count;
    const struct trainer_tensor *tensors = trainer_model_tensors(model, &count);
    const uint8_t two = 2;
    patch_section(&map, tensors[count - 1].name, 0, &two, 1);
    refuse(&from, &map, "1 x", "and was 2 x");
    trainer_model_free(model);
    map_free(&map);
}

// A cut that does not name its inputs is from before there were positions. With x as wide as it was, the
// shapes of tensors do not tell that one left it.
Test(trainer_growth, a_position_is_no_part_of_an_earlier_programs_cut)
{
    struct built from, to;
    build(&from, small, TRAINER_BODY_PLE, 1);
    build(&to, small, TRAINER_BODY_PLE, 1);
    to.slot[1].position = true; // x: 24 and 20 numbers of slots, 32 wide
    struct map map = {0};
    trainer_model_free(learn(&from, &map));
    refuse(&to, &map, "slot a fed the network when the cut was made", "");
    map_remove(&map, base_span_string("x"));
    refuse(&to, &map, "slot a is a position", "start once with the settings as they were");
    map_free(&map);
}
