// A replica: a model in this process that takes its weights from chunks, and the scorers over it. Knows
// nothing of Redis or locks.
#ifndef PUBLISHER_REPLICA_H
#define PUBLISHER_REPLICA_H

#include "publisher/chunk.h"
#include "publisher/manifest.h"
#include "trainer/model.h"

struct publisher_replica;

// A model as the configuration says, without rows, and `scorers` scorers. Errors: trainer_model_new's.
struct publisher_replica *publisher_replica_new(const struct trainer_model_config *config, uint32_t scorers,
                                                struct base_error *error);
void publisher_replica_free(struct publisher_replica *replica);
struct trainer_model *publisher_replica_model(struct publisher_replica *replica);
struct trainer_scorer *publisher_replica_scorer(struct publisher_replica *replica, uint32_t i);

// A dense chunk is checked in order: `cursor` starts zero-initialised, and after the last chunk
// publisher_replica_dense_complete must hold. Errors: BASE_EFORMAT names what does not fit the model.
int publisher_replica_check_tensors(const struct publisher_replica *replica,
                                    const struct publisher_manifest *manifest, struct base_error *error);
int publisher_replica_check_rows(const struct publisher_replica *replica, const struct publisher_chunk *chunk,
                                 struct base_error *error);
int publisher_replica_check_dense(const struct publisher_replica *replica,
                                  const struct publisher_chunk *chunk, struct publisher_chunk_cursor *cursor,
                                  struct base_error *error);
bool publisher_replica_dense_complete(const struct publisher_replica *replica,
                                      const struct publisher_chunk_cursor *cursor);

// Applies a checked chunk: a rows chunk its tombstones, then its rows. Cannot fail but by BASE_ELIMIT of the
// table (more than TRAINER_ROWS_MAX rows).
int publisher_replica_apply_rows(struct publisher_replica *replica, const struct publisher_chunk *chunk,
                                 struct base_error *error);
void publisher_replica_apply_dense(struct publisher_replica *replica, const struct publisher_chunk *chunk,
                                   struct publisher_chunk_cursor *cursor);

#endif
