// Growth: what a saved model is in one that has more slots, numeric inputs or tasks.
//
// What was saved is the present configuration without what is new: its plan of a network is built, and the
// saved tensors have to be exactly that plan's. So whatever else was changed is told from growth. A tensor's
// place follows from names alone:
//   rows of a tensor that reads x   each slot's and numeric input's to where it lies in x now
//   columns of a gate               each expert's to where the gate has it now
//   rows and columns of a stitch, columns of log variances   tasks come behind the others
// What a saved tensor has more of now starts at zero: an input that nobody has learned anything of adds
// nothing, nor does a new task to an old one's stitch. A stitch's rows of new tasks, and tensors that there
// were not, start as a new model's. Thread: any.
#ifndef TRAINER_GROWTH_H
#define TRAINER_GROWTH_H

#include "base/bytes.h"
#include "trainer/model_private.h"

enum { GROWTH_PARTS_MAX = TRAINER_SLOTS_MAX + BASE_NUMERIC_MAX };

// A part of x: a slot's pooled vector, or a numeric input. Or a position, which is none and 0 wide.
enum growth_kind { GROWTH_SLOT, GROWTH_NUMERIC, GROWTH_POSITION, GROWTH_KINDS };
struct growth_part {
    struct base_span name;
    enum growth_kind kind;
    uint32_t width;
};

// What a model reads and learns, by name. Names are borrowed.
struct growth_shape {
    uint32_t parts;
    struct growth_part part[GROWTH_PARTS_MAX]; // in the order of x
    uint32_t tasks;
    struct base_span task[BASE_TASKS_MAX];
};

void growth_shape_of(const struct trainer_model_config *config, struct growth_shape *shape);
// Appends it as a section "FRSHSHAP", and back; `what` names it in errors: BASE_EFORMAT.
void growth_shape_save(const struct growth_shape *shape, struct base_buffer *buffer);
int growth_shape_parse(struct base_span bytes, struct growth_shape *shape, const char *what,
                       struct base_error *error);
// How many bytes of a saved name an error shows.
int growth_shown(struct base_span name);

// A tensor as it was saved.
struct growth_tensor {
    uint32_t number; // of the model's
    uint32_t rows, columns;
    bool reads_x;
    bool starts;      // what is new of it keeps its start value
    uint32_t *column; // [columns]: where they are now; NULL: where they were
};

struct growth {
    uint32_t tensors;             // saved
    uint32_t learned;             // of them, those that an optimiser learns
    struct growth_tensor *tensor; // [tensors]
    uint32_t *row;   // [inputs] of a row of x: where it is now, UINT32_MAX: padding; NULL: where it was
    uint32_t inputs; // saved width of x
    bool grown;      // inputs or tasks differ
    uint32_t tasks;  // saved
};

// Plans how the saved network comes into the model. `shape` is that of the saved one, and its tasks and
// inputs are among the model's. The first growth->tensors are the network's. Errors: BASE_ECONFLICT.
int growth_plan(const struct trainer_model *model, const struct growth_shape *shape, struct growth *growth,
                struct base_error *error);
void growth_clear(struct growth *growth);
// The saved network's next tensor has this name and shape; else BASE_ECONFLICT with the first difference.
int growth_check(const struct trainer_model *model, const struct growth *growth, uint32_t t,
                 struct base_span name, uint32_t rows, uint32_t columns, struct base_error *error);
// A further saved tensor: one of the model's behind those of its network. Errors: BASE_ECONFLICT: there is
// none of this name and shape; BASE_EFORMAT: it comes twice, or behind one that no optimiser learns.
int growth_add(const struct trainer_model *model, struct growth *growth, struct base_span name, uint32_t rows,
               uint32_t columns, struct base_error *error);

// Whether a saved tensor's numbers do not simply lie where they lay.
bool growth_moves(const struct trainer_model *model, const struct growth *growth, uint32_t t);
// Before and after the saved weights are read: what is new of grown tensors is zero, and the optimiser's
// state of all of them is that of weights that have learned nothing.
void growth_begin(struct trainer_model *model, const struct growth *growth);
void growth_end(struct trainer_model *model, const struct growth *growth);
// Numbers of a saved tensor to where they belong: weights, or one part of its optimiser's state.
void growth_move(const struct trainer_model *model, const struct growth *growth, uint32_t t,
                 const float *from, float *to);

#endif
