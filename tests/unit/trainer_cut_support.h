// An ordered map in memory that cuts are written to and read from, and a model with every kind of slot;
// shared by the tests of the cut.
#ifndef TRAINER_CUT_SUPPORT_H
#define TRAINER_CUT_SUPPORT_H

#include "trainer/cut.h"
#include "trainer_model_support.h"

// Those of the model's support, then keys that are admitted late, or expire, a cross and a position.
enum { CUT_SLOTS = 8 };

struct map_entry {
    struct base_buffer key, value;
};

struct map {
    struct map_entry *entries; // ascending by key
    size_t count, capacity;
};

void map_free(struct map *map); // its contents
void map_put(struct map *map, struct base_span key, struct base_span value);
void map_remove(struct map *map, struct base_span key);
void map_write(struct map *map, const struct trainer_cut *cut);
struct trainer_cut_source map_source(struct map *map, bool parallel);
struct map_entry *map_find(struct map *map, struct base_span key);

// Every key with the same value. `loosely`: leaving out what publications alone see: stamps of rows (and
// checksums, with them), the publication part of the model's section.
void map_compare(const struct map *a, const struct map *b, uint32_t slots, bool loosely);

// The model's configuration, as model_config_make. x of it is 64 wide.
struct trainer_model_config *cut_config_make(uint32_t workers, uint64_t rows_max);

// Changes how the configuration's model is updated: one of CUT_UPDATES ways, among them every optimiser dense
// and of rows; 0 is plain SGD.
enum { CUT_UPDATES = 9 };
void cut_config_update(struct trainer_model_config *config, uint64_t way);

// Takes a whole cut at once into the map.
struct trainer_cut_figures cut_at_once(struct trainer_model *model, struct map *map);
struct trainer_model *cut_restore(const struct trainer_model_config *config, struct map *map);

#endif
