// The daemon's configuration: slots that are made of others, and what cannot be of them.
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "daemon/config.h"

#define BASE "source: {kind: files, path: /data}\n"
#define USER "{name: user, path: user_id}"
#define PRICE "{name: price, boundaries: [1, 2]}"

static struct daemon_config *load(const char *slots, struct base_config_problems *problems)
{
    char text[2048];
    snprintf(text, sizeof text, BASE "slots: [%s]\n", slots);
    *problems = (struct base_config_problems){0};
    return daemon_config_load_text("f.yaml", base_span_string(text), problems);
}

static struct daemon_config *good(const char *slots)
{
    struct base_config_problems problems;
    struct daemon_config *config = load(slots, &problems);
    cr_assert(config && problems.count == 0, "%s: %s", slots, problems.item[0].text);
    return config;
}

Test(daemon_config_slots, a_cross_has_no_column)
{
    struct daemon_config *config =
        good("{name: pair, cross: [price, user, brand], dimension: 8, pooling: mean, admission: 2}, " USER
             ", " PRICE ", {name: brand, path: b.brand}");
    const struct trainer_features_config *features = &daemon_config_model(config)->features;
    const struct trainer_slot_config *pair = &features->slot[0];
    cr_assert(features->slots == 4 && features->layout.categorical == 2 && features->layout.numeric == 1);
    cr_assert(pair->crossed == 3 && pair->cross[0] == 2 && pair->cross[1] == 1 && pair->cross[2] == 3);
    cr_assert(pair->row.dimension == 8 && pair->row.admission == 2 && pair->pooling == TRAINER_POOLING_MEAN);
    cr_assert(features->slot[1].column == 0 && features->slot[3].column == 1 &&
              features->slot[1].crossed == 0);
    const struct trainer_descriptor_columns *columns = daemon_config_columns(config);
    cr_assert_str_eq(columns->categorical_paths[1], "b.brand");
    struct base_error error;
    cr_assert_eq(trainer_features_check(features, &error), 0, "%s", error.text);
    daemon_config_free(config);
}

// A file without crosses has the hash that it had, and another cross another.
Test(daemon_config_slots, crosses_are_part_of_the_hash)
{
    struct daemon_config *without = good(USER ", " PRICE ", {name: pair}"),
                         *empty = good(USER ", " PRICE ", {name: pair, cross: []}"),
                         *crossed = good(USER ", " PRICE ", {name: pair, cross: [user, price]}"),
                         *turned = good(USER ", " PRICE ", {name: pair, cross: [price, user]}");
    cr_expect_eq(without->hash, empty->hash);
    cr_expect_neq(without->hash, crossed->hash);
    cr_expect_neq(turned->hash, crossed->hash);
    daemon_config_free(without);
    daemon_config_free(empty);
    daemon_config_free(crossed);
    daemon_config_free(turned);
}

// Places of the ways to say what is scored, and their keys.
Test(daemon_config_slots, a_position_has_its_least_row_and_a_key_to_be_scored_at)
{
    struct daemon_config *config =
        good(USER ", {name: place, path: p.place, role: position, serving: 3}, "
                  "{name: slot, path: p.slot, role: position, serving: -3, serving_as: integer}, "
                  "{name: depth, path: p.depth, role: position, boundaries: [1, 2.5], serving: 2.5}, "
                  "{name: page, path: p.page, role: position, dimension: 4, pooling: mean}");
    const struct trainer_features_config *features = &daemon_config_model(config)->features;
    const struct trainer_slot_config *slot = features->slot;
    for (uint32_t s = 1; s < 5; s++) {
        cr_assert(slot[s].position && slot[s].row.dimension == 4 && slot[s].serves == (s < 4));
    }
    cr_assert_not(slot[0].position);
    cr_assert_eq(slot[1].serving, base_hash_slot_bytes(base_hash_slot_salt("place"), base_span_string("3")));
    cr_assert_eq(slot[2].serving, base_hash_slot_integer(base_hash_slot_salt("slot"), -3));
    cr_assert_eq(slot[3].serving, base_hash_slot_integer(base_hash_slot_salt("depth"), 2));
    cr_assert(trainer_features_width(features) == 16 && features->layout.categorical == 4);
    struct base_error error;
    cr_assert_eq(trainer_features_check(features, &error), 0, "%s", error.text);
    daemon_config_free(config);
}

Test(daemon_config_slots, roles_are_part_of_the_hash)
{
    struct daemon_config *without = good(USER ", {name: place, dimension: 4}"),
                         *feature = good(USER ", {name: place, dimension: 4, role: feature}"),
                         *position = good(USER ", {name: place, role: position}"),
                         *said = good(USER ", {name: place, role: position, dimension: 4}"),
                         *served = good(USER ", {name: place, role: position, serving: 1}");
    cr_expect_eq(without->hash, feature->hash);
    cr_expect_neq(without->hash, position->hash);
    cr_expect_eq(said->hash, position->hash);
    cr_expect_eq(served->hash, position->hash); // nothing that is learned depends on it
    daemon_config_free(without);
    daemon_config_free(feature);
    daemon_config_free(position);
    daemon_config_free(said);
    daemon_config_free(served);
}

Test(daemon_config_slots, problems_are_told)
{
    static const struct {
        const char *slot, *said;
        bool warning;
    } cases[] = {
        {"{name: pair, cross: [user, city]}", "slots[2].cross: there is no slot \"city\"", false},
        {"{name: pair, cross: [user, pair]}", "slots[2].cross: \"pair\" is the cross itself", false},
        {"{name: pair, cross: [user, price, user]}", "slots[2].cross: \"user\" is given twice", false},
        {"{name: pair, cross: [user]}", "slots[2].cross: a cross is of 2 to 4 slots, not of 1", false},
        {"{name: pair, cross: [a, b, c, d, e]}", "slots[2].cross: a cross is of 2 to 4 slots, not of 5",
         false},
        {"{name: pair, cross: [user, price], path: p}", "slots[2].path: stands beside cross", false},
        {"{name: pair, cross: [user, price], boundaries: [1]}", "slots[2].boundaries: stand beside cross",
         false},
        {"{name: pair, cross: [user, price]}, {name: more, cross: [pair, user]}",
         "slots[3].cross: \"pair\" is a cross", false},
        {"{name: place, role: position, dimension: 8}",
         "slots[2].dimension: a position's row has 4 numbers, the least", false},
        {"{name: pair, cross: [user, price], role: position}", "slots[2].role: a cross cannot be a position",
         false},
        {"{name: place, role: position}, {name: pair, cross: [user, place]}",
         "slots[3].cross: \"place\" is a position", false},
        {"{name: place, role: position, serving: first, serving_as: integer}",
         "slots[2].serving: \"first\" is not an integer", false},
        {"{name: place, role: position, serving: first, boundaries: [1]}",
         "slots[2].serving: \"first\" is not a number", false},
        {"{name: place, role: position, serving: 1, serving_as: integer, boundaries: [1]}",
         "slots[2].serving_as: has no effect where there are boundaries", true},
        {"{name: place, serving: 1}", "slots[2].serving: has an effect with the role position only", true},
        {"{name: place, serving_as: integer}", "slots[2].serving_as: has an effect with the role", true},
        {"{name: place, path: user_id, role: position}", "slots[2].role: \"user_id\" is a feature too", true},
        {"{name: place, role: last}", "slots[2].role:", false},
        {"{name: user, cross: [user, price]}", "slots[2].name: \"user\" is taken", false},
        {"{name: 'a b', cross: [user, price]}", "slots[2].name: \"a b\" must be", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[512];
        snprintf(text, sizeof text, USER ", " PRICE ", %s", cases[i].slot);
        struct base_config_problems problems;
        struct daemon_config *config = load(text, &problems);
        cr_expect_eq(config != NULL, cases[i].warning, "%s", text);
        cr_assert_eq(problems.count, 1, "%s: %u, %s", text, problems.count, problems.item[1].text);
        cr_expect(strstr(problems.item[0].text, cases[i].said), "%s", problems.item[0].text);
        daemon_config_free(config);
    }
}

Test(daemon_config_slots, positions_alone_are_no_features)
{
    struct base_config_problems problems;
    struct daemon_config *config = load("{name: place, role: position}", &problems);
    cr_assert(!config && problems.count == 1);
    cr_expect(strstr(problems.item[0].text, "slots: no features: a position is none"), "%s",
              problems.item[0].text);
}
