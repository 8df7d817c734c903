// Reading a cut back: what restore.c (the model's section, dense tensors) and restore_rows.c share.
#ifndef TRAINER_RESTORE_PRIVATE_H
#define TRAINER_RESTORE_PRIVATE_H

#include "trainer/cut.h"
#include "trainer/table_private.h"

#define RESTORE_TIME_MAX (INT64_C(1) << 61)   // ms; no time lies further from 1970
#define RESTORE_SNAPSHOTS_MAX INT32_MAX       // no model has taken more
#define RESTORE_STEPS_MAX (UINT64_C(1) << 62) // nor made more steps

// What the model's section says of a slot.
struct restore_slot {
    uint32_t slot; // which of the model's it is
    uint64_t rows;
    uint32_t bytes;           // of optimiser state a row
    uint32_t first;           // number of its first row in the arena
    int64_t expired;          // as saved
    bool expiry_fits;         // the configured expiry is the saved one
    bool buckets_fit;         // else what was counted towards admission is forgotten
    struct base_buffer stale; // keys of what was forgotten, as in trainer_model
};

// Notes that the next cut has to remove a key.
void restore_stale(struct base_buffer *stale, struct base_span key);

// Reads the rows and candidates of the slot of a number in the cut into the table. `name` and `saved` are
// borrowed. Different slots may be read by different threads.
int restore_slot_read(struct trainer_table *table, uint32_t number, const char *name,
                      struct restore_slot *saved, const struct trainer_cut_source *source,
                      struct base_error *error);

// Whether a value of at least CUT_CHECKSUM bytes ends with the checksum of its key and itself. `bytes` [the
// sizes of both] is overwritten.
bool restore_checksum_fits(struct base_span key, struct base_span value, uint8_t *bytes);

#endif
