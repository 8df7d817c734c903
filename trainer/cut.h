// The cut, the trainer's half: the model's whole state at the end of a tick, in pieces for a key-value store,
// written while training goes on, and read back.
//
//   begin: what changed since the last cut is frozen: marks change hands, dense weights are copied
//   copy:  in portions, between minibatches; a row that training wants before its turn is copied first
//   take:  the finished cut, which another thread writes
//
// Every cut holds what changed since the one before it: written one after the other into one ordered map
// (puts and removes, atomically a cut), they leave in it the state of the last. A cut that was taken must be
// written, or the map's next state is wrong. The first cut of a model that was not restored holds everything
// and expects an empty map. The map's keys and values: trainer/cut_format.h.
//
// Thread: the trainer's, except where said.
#ifndef TRAINER_CUT_H
#define TRAINER_CUT_H

#include "base/bytes.h"
#include "trainer/model.h"

struct trainer_cut;

// Begins a cut of the state of this moment. None may be in progress (asserted). Costs a copy of the dense
// weights and of the tombstones that wait for publication; touches no row.
void trainer_model_cut_begin(struct trainer_model *model);
// Copies about `rows` more of the frozen rows (at least one if there is one; up to 63 more than asked). True:
// the cut is complete, also if none is in progress.
bool trainer_model_cut_copy(struct trainer_model *model, size_t rows);
// The complete cut, the caller's from here on; NULL if none is in progress.
struct trainer_cut *trainer_model_cut_take(struct trainer_model *model);
// What a cut begun now would write, about, in bytes.
uint64_t trainer_model_dirty_bytes(const struct trainer_model *model);

void trainer_cut_free(struct trainer_cut *cut); // takes NULL; any thread

struct trainer_cut_figures {
    uint64_t rows;
    uint64_t forced;  // of them, copied because training wanted them first
    uint64_t buckets; // of keys that are counted towards admission
    uint64_t dropped; // keys of rows that went since the last cut
    uint64_t bytes;   // of memory
};
struct trainer_cut_figures trainer_cut_figures(const struct trainer_cut *cut);

struct trainer_cut_sink {
    void (*put)(void *context, struct base_span key, struct base_span value);
    void (*remove)(void *context, struct base_span key); // may be of a key that is not there
    void *context;
};
// Writes the cut: calls in this order are to be applied in this order; spans are valid during the call. Any
// thread.
void trainer_cut_write(const struct trainer_cut *cut, const struct trainer_cut_sink *sink);

typedef int trainer_cut_each(void *context, struct base_span key, struct base_span value,
                             struct base_error *error);
// Calls `each` for every key that begins with `prefix`, ascending by bytes, until it returns other than 0.
// Returns that, or -1 with an error of its own.
struct trainer_cut_source {
    int (*scan)(void *context, struct base_span prefix, trainer_cut_each *each, void *each_context,
                struct base_error *error);
    void *context;
    bool parallel; // scan may be called by several threads at once: slots are then read in parallel
};

// Reads what the cuts left in the map. The model is one that trains, fresh from trainer_model_new with the
// configuration of the one that was saved; after success it goes on exactly as that one would have. The
// configuration may have got slots and numeric inputs (anywhere in their lists) and tasks (behind the
// others): what there was goes on, what is new starts (growth.h; docs/models.md, "Growth"). After a
// failure it can only be freed. Until trainer_model_head is called its next snapshot is full.
// Errors: BASE_EFORMAT names the slot and the key of what is damaged, misplaced or missing; BASE_ECONFLICT:
// the configuration does not fit, with the first difference; BASE_ENOTFOUND: there is no cut; the source's.
int trainer_model_restore(struct trainer_model *model, const struct trainer_cut_source *source,
                          struct base_error *error);

// What the configuration had and the cut had not, in the order slots, numeric inputs, tasks. Names are the
// model's.
enum trainer_news_kind { TRAINER_NEWS_SLOT, TRAINER_NEWS_NUMERIC, TRAINER_NEWS_TASK };
struct trainer_news {
    enum trainer_news_kind kind;
    const char *name;
};
const struct trainer_news *trainer_model_news(const struct trainer_model *model, uint32_t *count);

// "Readers have the state after `tick`" (INT64_MIN: none of ours), said at the end of tick `present` while no
// snapshot is out. What of it readers lack counts as changed from here on:
//   tick == present                             nothing;
//   tick of the last snapshot that was settled  what changed since, tombstones too, and what was in flight;
//   tick of the one that was in flight          what changed since that;
//   else                                        no delta can be built: the next snapshot is full.
// The two snapshots are those of the saved model, or of this one.
void trainer_model_head(struct trainer_model *model, int64_t tick, int64_t present);

#endif
