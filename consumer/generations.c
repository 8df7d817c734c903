// What the impressions of the logs have. See generations.h.
#include "consumer/generations.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "base/section.h"
#include "consumer/event.h"

#define GENERATIONS_WHAT "the saved state's list of columns"
enum { GENERATION_ABSENT = UINT16_MAX };

static_assert((int)BASE_CATEGORICAL_MAX < (int)GENERATION_ABSENT &&
                  (int)BASE_NUMERIC_MAX < (int)GENERATION_ABSENT,
              "an index");

struct generation {
    bool there;
    uint32_t ranks;
    struct base_columns_layout layout;
    char **names; // [categorical + numeric]
    // Where the present columns are among its own; NULL: it has the same ones.
    uint16_t *from; // [present categorical + numeric]
};

struct consumer_generations {
    struct generation present;
    uint8_t number;                                   // of the present one
    struct generation past[CONSUMER_GENERATIONS_MAX]; // by number; the present one's is not used
};

static uint32_t generation_count(const struct generation *generation)
{
    return generation->layout.categorical + generation->layout.numeric;
}

static void generation_clear(struct generation *generation)
{
    for (uint32_t i = 0; generation->names && i < generation_count(generation); i++) {
        free(generation->names[i]);
    }
    free(generation->names);
    free(generation->from);
    *generation = (struct generation){0};
}

static char *generation_name(struct base_span name)
{
    char *copy = base_alloc_zeroed(name.size + 1, 1);
    if (name.size) {
        memcpy(copy, name.data, name.size);
    }
    return copy;
}

struct consumer_generations *consumer_generations_new(const struct consumer_generations_columns *columns,
                                                      uint32_t ranks)
{
    struct consumer_generations *generations = base_alloc_zeroed(1, sizeof *generations);
    struct generation *present = &generations->present;
    *present = (struct generation){.there = true, .ranks = ranks, .layout = columns->layout};
    present->names = base_alloc_zeroed(generation_count(present) + 1, sizeof *present->names);
    for (uint32_t i = 0; i < columns->layout.categorical; i++) {
        present->names[i] = generation_name(base_span_string(columns->categorical[i]));
    }
    for (uint32_t i = 0; i < columns->layout.numeric; i++) {
        present->names[columns->layout.categorical + i] =
            generation_name(base_span_string(columns->numeric[i]));
    }
    return generations;
}

void consumer_generations_free(struct consumer_generations *generations)
{
    if (!generations) {
        return;
    }
    generation_clear(&generations->present);
    for (uint32_t i = 0; i < CONSUMER_GENERATIONS_MAX; i++) {
        generation_clear(&generations->past[i]);
    }
    free(generations);
}

// ---- saving -----------------------------------------------------------------
//
//   u32 generations, the present one last: u8 number, u32 ranks, u32 categorical, u32 numeric, their names
//   (spans)

static void generation_put(const struct generation *generation, uint8_t number, struct base_buffer *state)
{
    base_buffer_u8(state, number);
    base_buffer_u32(state, generation->ranks);
    base_buffer_u32(state, generation->layout.categorical);
    base_buffer_u32(state, generation->layout.numeric);
    for (uint32_t i = 0; i < generation_count(generation); i++) {
        base_section_put_span(state, base_span_string(generation->names[i]));
    }
}

void consumer_generations_save(const struct consumer_generations *generations, struct base_buffer *state)
{
    uint32_t count = 1;
    for (uint32_t i = 0; i < CONSUMER_GENERATIONS_MAX; i++) {
        count += generations->past[i].there;
    }
    base_buffer_u32(state, count);
    for (uint32_t i = 0; i < CONSUMER_GENERATIONS_MAX; i++) {
        if (generations->past[i].there) {
            generation_put(&generations->past[i], (uint8_t)i, state);
        }
    }
    generation_put(&generations->present, generations->number, state);
}

static bool generation_get(struct generation *generation, struct base_reader *reader)
{
    *generation = (struct generation){.there = true, .ranks = base_reader_u32(reader)};
    struct base_columns_layout layout = {.categorical = base_reader_u32(reader)};
    layout.numeric = base_reader_u32(reader);
    if (reader->failed || generation->ranks < 1 || generation->ranks > CONSUMER_TOPICS_MAX ||
        layout.categorical > BASE_CATEGORICAL_MAX || layout.numeric > BASE_NUMERIC_MAX) {
        return false;
    }
    generation->layout = layout;
    generation->names = base_alloc_zeroed(generation_count(generation) + 1, sizeof *generation->names);
    for (uint32_t i = 0; i < generation_count(generation); i++) {
        struct base_span name = base_section_get_span(reader);
        if (reader->failed || !name.data || memchr(name.data, 0, name.size)) {
            return false;
        }
        generation->names[i] = generation_name(name);
    }
    return true;
}

static uint16_t generation_find(const struct generation *generation, uint32_t begin, uint32_t count,
                                const char *name)
{
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(generation->names[begin + i], name) == 0) {
            return (uint16_t)i;
        }
    }
    return GENERATION_ABSENT;
}

// Where a past one has the present columns.
static void generation_map(struct generation *past, const struct generation *present)
{
    uint32_t count = generation_count(present), categorical = present->layout.categorical;
    bool same = past->layout.categorical == categorical && past->layout.numeric == present->layout.numeric;
    past->from = base_alloc((count + 1) * sizeof *past->from);
    for (uint32_t i = 0; i < count; i++) {
        bool key = i < categorical;
        past->from[i] =
            key ? generation_find(past, 0, past->layout.categorical, present->names[i])
                : generation_find(past, past->layout.categorical, past->layout.numeric, present->names[i]);
        same = same && past->from[i] == (key ? i : i - categorical);
    }
    if (same) {
        free(past->from);
        past->from = NULL;
    }
}

int consumer_generations_restore(struct consumer_generations *generations, struct base_span state,
                                 struct base_error *error)
{
    struct base_reader reader = {.rest = state};
    uint32_t count = base_reader_u32(&reader);
    bool right = !reader.failed && count >= 1 && count <= CONSUMER_GENERATIONS_MAX;
    for (uint32_t i = 0; i < count && right; i++) {
        uint8_t number = base_reader_u8(&reader);
        struct generation read = {0};
        right = generation_get(&read, &reader) && number < CONSUMER_GENERATIONS_MAX &&
                !generations->past[number].there;
        if (!right) {
            generation_clear(&read);
            break;
        }
        generation_map(&read, &generations->present);
        generations->past[number] = read;
        generations->number = number; // the last one's, for settle
    }
    if (!right || reader.rest.size) {
        return base_error_set(error, BASE_EFORMAT, GENERATIONS_WHAT " is damaged");
    }
    return 0;
}

void consumer_generations_assume(struct consumer_generations *generations, uint32_t ranks)
{
    struct base_buffer bytes = {0};
    struct base_error ignored;
    uint32_t present = generations->present.ranks;
    generations->present.ranks = ranks;
    consumer_generations_save(generations, &bytes);
    generations->present.ranks = present;
    int status = consumer_generations_restore(generations, base_buffer_span(&bytes), &ignored);
    assert(status == 0);
    base_buffer_free(&bytes);
}

int consumer_generations_check(const struct consumer_generations *generations, struct base_span columns,
                               struct base_error *error)
{
    struct base_columns view;
    if (!base_columns_view(columns, generations->present.layout, &view)) {
        return base_error_set(error, BASE_ECONFLICT,
                              "the journey logs hold other columns; an earlier program made this cut, which "
                              "does not name them: start once with the settings as they were, then change "
                              "them");
    }
    return 0;
}

int consumer_generations_settle(struct consumer_generations *generations, uint32_t held,
                                struct base_error *error)
{
    for (uint32_t i = 0; i < CONSUMER_GENERATIONS_MAX; i++) {
        if (held >> i & 1 && !generations->past[i].there) {
            return base_error_set(
                error, BASE_EFORMAT,
                "the journey logs hold records of columns %u, which " GENERATIONS_WHAT " does not name", i);
        }
    }
    const struct generation *last = &generations->past[generations->number];
    uint8_t number = CONSUMER_GENERATIONS_MAX;
    if (!last->from && last->ranks == generations->present.ranks) {
        number = generations->number; // it goes on
    }
    for (uint8_t i = 0; i < CONSUMER_GENERATIONS_MAX; i++) {
        if (!(held >> i & 1)) {
            generation_clear(&generations->past[i]);
        }
        if (number == CONSUMER_GENERATIONS_MAX && !generations->past[i].there) {
            number = i;
        }
    }
    if (number == CONSUMER_GENERATIONS_MAX) {
        return base_error_set(
            error, BASE_ELIMIT,
            "the journey logs hold impressions of %d configurations, each with other columns "
            "or actions: before the next change, wait until the oldest have left their windows",
            CONSUMER_GENERATIONS_MAX);
    }
    generation_clear(&generations->past[number]);
    generations->number = number;
    return 0;
}

// ---- asking -----------------------------------------------------------------

uint8_t consumer_generations_present(const struct consumer_generations *generations)
{
    return generations->number;
}

static const struct generation *generation_of(const struct consumer_generations *generations, uint8_t number)
{
    const struct generation *generation =
        number == generations->number ? &generations->present : &generations->past[number];
    assert(number < CONSUMER_GENERATIONS_MAX && generation->there);
    return generation;
}

uint32_t consumer_generations_ranks(const struct consumer_generations *generations, uint8_t number)
{
    return generation_of(generations, number)->ranks;
}

int consumer_generations_columns(const struct consumer_generations *generations, uint8_t number,
                                 struct consumer_arena *arena, struct base_span *columns,
                                 struct base_error *error)
{
    const struct generation *past = generation_of(generations, number);
    const struct base_columns_layout layout = generations->present.layout;
    struct base_columns view;
    if (!past->from) {
        return 0;
    }
    if (!base_columns_view(*columns, past->layout, &view)) {
        return base_error_set(error, BASE_EFORMAT, "a journey of %zu bytes has not the columns that it had",
                              columns->size);
    }
    const uint64_t *first[BASE_CATEGORICAL_MAX]; // of a column of its own
    for (uint32_t i = 0, keys = 0; i < past->layout.categorical; keys += view.count[i++]) {
        first[i] = view.keys + keys;
    }
    size_t header = base_columns_header_size(layout);
    uint8_t *bytes = consumer_arena_alloc(arena, header + view.total * sizeof *view.keys); // zeroed
    uint16_t *count = (void *)bytes;
    double *numeric = (void *)(bytes + header - layout.numeric * sizeof *numeric);
    uint64_t *keys = (void *)(bytes + header);
    for (uint32_t i = 0; i < layout.categorical; i++) {
        uint16_t from = past->from[i];
        if (from != GENERATION_ABSENT) {
            count[i] = view.count[from];
            memcpy(keys, first[from], count[i] * sizeof *keys);
            keys += count[i];
        }
    }
    for (uint32_t i = 0; i < layout.numeric; i++) {
        uint16_t from = past->from[layout.categorical + i];
        numeric[i] = from == GENERATION_ABSENT ? (double)NAN : view.numeric[from];
    }
    *columns = base_span_make(bytes, (size_t)((uint8_t *)keys - bytes));
    return 0;
}
