// Freeing a snapshot. See snapshot.h; it is made by trainer_model_snapshot.
#include "trainer/snapshot.h"

#include <stdlib.h>

void trainer_snapshot_free(struct trainer_snapshot *snapshot)
{
    if (!snapshot) {
        return;
    }
    for (uint32_t s = 0; s < snapshot->slots; s++) {
        free(snapshot->rows[s].keys);
        free(snapshot->rows[s].vectors);
        free(snapshot->rows[s].tombstones);
    }
    free(snapshot->rows);
    free(snapshot->tensor);
    free(snapshot->dense);
    free(snapshot);
}
