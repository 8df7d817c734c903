// Gather: the features of one minibatch, from columns to x and from dx back to rows. Buffers of one thread.
//
//   read: columns -> occurrences (slot, key), slot after slot, within it sample after sample
//   resolve or find: keys -> rows           pool: rows -> x, bias     scatter: dx, dlogits -> rows
//
// An occurrence is one key of one slot of one sample; keys of crosses are made from those of their slots.
// Pooling and the update go a slot a tile: a tile owns columns of x, or the rows of a slot, so that the
// number of workers changes nothing. So does the search for rows; new ones are made afterwards, in order.
#ifndef TRAINER_GATHER_H
#define TRAINER_GATHER_H

#include "trainer/features.h"
#include "trainer/workers.h"

struct trainer_gather;

// `features` is borrowed and must outlive it; it has passed trainer_features_check. batch: most samples at
// once.
struct trainer_gather *trainer_gather_new(const struct trainer_features_config *features, uint32_t batch);
void trainer_gather_free(struct trainer_gather *gather);

// Takes in the columns of n <= batch impressions. Errors: BASE_EFORMAT: columns[i] do not fit the layout.
int trainer_gather_read(struct trainer_gather *gather, const struct base_span *columns, uint32_t n,
                        struct base_error *error);
// The same as it is scored: positions have the keys of `serving`, whatever the columns say of them.
int trainer_gather_read_serving(struct trainer_gather *gather, const struct base_span *columns, uint32_t n,
                                struct base_error *error);
// Rows of what was read, as trainer_table_resolve and trainer_table_find.
void trainer_gather_resolve(struct trainer_gather *gather, struct trainer_table *table, int64_t now,
                            struct trainer_workers *workers);
void trainer_gather_find(struct trainer_gather *gather, const struct trainer_table *table);

// x [n x trainer_features_width], 64-byte aligned, the gather's own: valid until the next call. A sum is
// taken in the order of the record; a mean is the sum times the reciprocal of the number of keys; no key
// gives zeros.
const float *trainer_gather_pool(struct trainer_gather *gather, const struct trainer_table *table,
                                 struct trainer_workers *workers);
// [n], made by the same call: of each sample the sum over the positions, in their order, of the first numbers
// of their rows, pooled as x is. NULL: there are no positions.
const float *trainer_gather_bias(const struct trainer_gather *gather);
// Where there are positions: the gradient of the bias for scatter and squares, that of sample i at dlogits[i
// * stride]. Borrowed until the next reading.
void trainer_gather_bias_gradient(struct trainer_gather *gather, const float *dlogits, uint32_t stride);
// One step of its slot's optimiser for every row once, with the sum of the gradients of all its occurrences,
// in sample order; marks the rows as changed. dx: [n x width], of the x pooled last. steps: [slots].
void trainer_gather_scatter(struct trainer_gather *gather, struct trainer_table *table, const float *dx,
                            const struct trainer_optimiser_step *steps, struct trainer_workers *workers);
// The sum of the squares of all numbers of those sums, in an order of its own. Changes nothing.
double trainer_gather_squares(struct trainer_gather *gather, const float *dx,
                              struct trainer_workers *workers);

// Occurrences of what was read.
uint32_t trainer_gather_occurrences(const struct trainer_gather *gather);
// Combinations of crosses in what was read that are beyond TRAINER_CROSS_KEYS_MAX of their impression.
uint64_t trainer_gather_cut(const struct trainer_gather *gather);

#endif
