// Generations: what the impressions of a lane's logs have, by the configuration that they entered under.
//
// A restart may come with more columns, or with more actions than the cut's. What waits in the journey logs
// was extracted before: it has the columns of then, in the order of then, and nobody listened to the new
// actions when it was shown. So every impression carries the number of its generation, and hands it down to
// the records of its actions. A generation is a list of columns by name and a number of actions. From it
//   columns   are brought into the present order when a sample is made: a column that there was not is empty
//             (no keys; NaN), one that is no more is left out
//   actions   of later generations are not joined to it, and no sample says anything of their tasks
//
// The list goes into ingest's state. A generation that no log holds is forgotten at a restart; there are at
// most CONSUMER_GENERATIONS_MAX at once. Thread: while lanes run nothing changes; any.
#ifndef CONSUMER_GENERATIONS_H
#define CONSUMER_GENERATIONS_H

#include "base/columns.h"
#include "base/error.h"
#include "consumer/arena.h"

enum { CONSUMER_GENERATIONS_MAX = 16 };

// Names of the columns, each kind's in its order and different from each other.
struct consumer_generations_columns {
    struct base_columns_layout layout;
    const char *const *categorical; // [layout.categorical]
    const char *const *numeric;     // [layout.numeric]
};

struct consumer_generations;

// The present one alone, number 0. Copies the names.
struct consumer_generations *consumer_generations_new(const struct consumer_generations_columns *columns,
                                                      uint32_t ranks);
void consumer_generations_free(struct consumer_generations *generations); // takes NULL

// Appends them all; and back, beside the present one, which is then without a number until
// consumer_generations_settle. Errors: BASE_EFORMAT.
void consumer_generations_save(const struct consumer_generations *generations, struct base_buffer *state);
int consumer_generations_restore(struct consumer_generations *generations, struct base_span state,
                                 struct base_error *error);
// The saved state names none: what is there is of the present columns, and of `ranks` topics.
void consumer_generations_assume(struct consumer_generations *generations, uint32_t ranks);
// Then: have these columns of a journey the present layout? Errors: BASE_ECONFLICT.
int consumer_generations_check(const struct consumer_generations *generations, struct base_span columns,
                               struct base_error *error);
// The logs hold records of these generations (a bit each): the others are forgotten, and the present one gets
// a number. Errors: BASE_EFORMAT (there is none of that number), BASE_ELIMIT (no number is free).
int consumer_generations_settle(struct consumer_generations *generations, uint32_t held,
                                struct base_error *error);

// Of what enters now.
uint8_t consumer_generations_present(const struct consumer_generations *generations);
// Topics that a generation knows.
uint32_t consumer_generations_ranks(const struct consumer_generations *generations, uint8_t number);
// *columns of a generation as the present one has them; what is made lives in the arena. Errors:
// BASE_EFORMAT.
int consumer_generations_columns(const struct consumer_generations *generations, uint8_t number,
                                 struct consumer_arena *arena, struct base_span *columns,
                                 struct base_error *error);

#endif
