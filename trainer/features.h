// Features: from the columns of an impression (base/columns.h) to the network's input x.
//
// x of a sample = the pooled vectors of all slots but positions in the order of the configuration, then the
// numeric inputs, then zeros up to a multiple of 16. Positions make the bias of the click logit instead.
#ifndef TRAINER_FEATURES_H
#define TRAINER_FEATURES_H

#include "base/columns.h"
#include "base/error.h"
#include "base/hash.h"
#include "trainer/table.h"

enum {
    TRAINER_BOUNDARIES_MAX = 256,
    TRAINER_CROSS_SLOTS_MAX = BASE_HASH_KEYS_MAX, // slots that a cross combines
    // Combinations that an impression has in a cross; of more the first in order are taken, the rest counted.
    TRAINER_CROSS_KEYS_MAX = BASE_COLUMN_KEYS_MAX,
    TRAINER_POSITION_DIMENSION = 4, // the least that a row has; only its first number counts
};

enum trainer_pooling { TRAINER_POOLING_SUM, TRAINER_POOLING_MEAN };

struct trainer_slot_config {
    struct trainer_table_slot_config row; // name, dimension, admission, expiry
    enum trainer_pooling pooling;
    bool bucketised;     // from a numeric column: key = base_hash_slot_integer(salt, number of boundaries <=
                         // value); NaN: no key
    uint32_t column;     // categorical column; bucketised: numeric column
    uint32_t boundaries; // bucketised
    double boundary[TRAINER_BOUNDARIES_MAX]; // ascending
    // A cross: a key for every combination of one key of each of these slots, which are others and no
    // crosses. Combinations come in the order of the slots' keys, those of the last slot fastest; a slot
    // without a key leaves none. key = base_hash_slot_keys(salt, their keys). No column, boundaries unused.
    // 0: no cross.
    uint32_t crossed;
    uint16_t cross[TRAINER_CROSS_SLOTS_MAX]; // [crossed] places of slots
    // A position: no part of x. The first numbers of its rows, pooled, are added to the first logit of task
    // 0. Rows start at zero. Scored it is the same for all impressions: it has the key `serving`, or none.
    bool position;
    bool serves;      // `serving` is given
    uint64_t serving; // a key of the slot
};

// A plain numeric input: ((log1p ? sign(v) * log1p(|v|) : v) - mean) / deviation, computed in double
// precision and rounded to float; what is not finite then (NaN: null or absent) gives 0.
struct trainer_numeric_config {
    const char *name;
    uint32_t column;
    bool log1p;
    double mean;      // 0 if not standardised
    double deviation; // 1 if not standardised; > 0
};

struct trainer_features_config {
    struct base_columns_layout layout;
    uint32_t slots;
    struct trainer_slot_config *slot; // [slots]
    uint32_t numerics;
    struct trainer_numeric_config *numeric; // [numerics]
};

// Width of x.
uint32_t trainer_features_width(const struct trainer_features_config *config);

// Whether the configuration can be. Errors: BASE_EINVAL names the slot or numeric input and the setting.
// Rows' own settings are trainer_table_new's to check.
int trainer_features_check(const struct trainer_features_config *config, struct base_error *error);

// A copy with names and arrays of its own; trainer_features_config_clear frees what it owns.
void trainer_features_config_copy(struct trainer_features_config *copy,
                                  const struct trainer_features_config *config);
void trainer_features_config_clear(struct trainer_features_config *config);

#endif
