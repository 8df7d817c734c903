// The weights of a model as a file, for comparison with others: the dense tensors and the rows of the ids
// 0..n-1 of every categorical slot.
//
// The file is a sequence of records, in host byte order; tests/learning/data.py reads and writes it:
//   uint32 length of the name, the name, uint32 rows, uint32 columns, float [rows x columns]
// Names: those of the network's tensors, "oov.<slot>" and "rows.<slot>".
#ifndef LEARN_WEIGHTS_H
#define LEARN_WEIGHTS_H

#include "learn_data.h"
#include "trainer/model.h"

// Makes the rows of the ids below `ids`, or of as many as the data has, in every categorical slot.
void learn_weights_make_rows(struct trainer_model *model, const struct learn_data *data, uint64_t ids);
// Writes all of them. Errors: BASE_EIO.
int learn_weights_write(struct trainer_model *model, const struct learn_data *data, uint64_t ids,
                        const char *path, struct base_error *error);
// Sets what the file has; the rest stays. Errors: BASE_EIO, BASE_EFORMAT (a tensor that the model does not
// have, or has in another shape).
int learn_weights_read(struct trainer_model *model, const struct learn_data *data, const char *path,
                       struct base_error *error);
// Numbers of the dense network.
uint64_t learn_weights_count(struct trainer_model *model);

#endif
