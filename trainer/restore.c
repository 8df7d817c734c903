// A model out of a cut. See cut.h: the model's section says what there is, then dense tensors, then slots.
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/section.h"
#include "trainer/cut_format.h"
#include "trainer/growth.h"
#include "trainer/model_private.h"
#include "trainer/restore_private.h"

static const char MODEL_WHAT[] = "the cut's model section";
static const char SHAPE_WHAT[] = "the cut's list of inputs and tasks";
static const char GROWTH_HINT[] = "; an earlier program made this cut, which does not name its inputs: start "
                                  "once with the settings as they "
                                  "were, then change them";

struct restore {
    struct trainer_model *model;
    struct trainer_table *table;
    const struct trainer_cut_source *source;
    struct base_buffer section, shape_section;
    uint32_t slots;                              // saved
    struct restore_slot slot[TRAINER_SLOTS_MAX]; // [slots] by number in the cut
    bool told;                                   // the cut says of its inputs and tasks
    struct growth_shape shape;                   // of the saved model
    struct growth growth;
    uint8_t kind;     // what is read: CUT_KEY_DENSE, CUT_KEY_STATE
    uint32_t tensor;  // saved; its next piece
    uint32_t learned; // saved tensors whose optimisers the cut tells
    uint64_t piece;
    float *staging; // of a tensor that moves, as it was saved
    size_t staging_floats;
    // Of each slot, when they are read in parallel:
    struct base_error error[TRAINER_SLOTS_MAX];
    int result[TRAINER_SLOTS_MAX];
};

static const char *restore_slot_name(const struct restore *restore, uint32_t slot)
{
    return restore->model->config.features.slot[slot].row.name;
}

static struct table_slot *restore_slot(const struct restore *restore, uint32_t number)
{
    return &restore->table->slot[restore->slot[number].slot];
}

// ---- the model's section ----

// Which of the model's slots a saved one is.
static int parse_slot_name(struct restore *restore, uint32_t number, struct base_span name,
                           struct base_error *error)
{
    uint32_t slots = restore->table->slots, s = number;
    if (restore->told) {
        for (s = 0; s < slots && !base_span_equal(name, base_span_string(restore_slot_name(restore, s)));
             s++) {
        }
    }
    if (s >= slots) {
        return base_error_set(
            error, BASE_ECONFLICT,
            "the model has no slot %.*s and had when the cut was made: slots can be added, not "
            "removed or renamed; put it back, or begin in another state directory",
            growth_shown(name), (const char *)name.data);
    }
    if (!restore->told && !base_span_equal(name, base_span_string(restore_slot_name(restore, s)))) {
        return base_error_set(error, BASE_ECONFLICT, "slot %u is %s and was %.*s when the cut was made%s", s,
                              restore_slot_name(restore, s), growth_shown(name), (const char *)name.data,
                              GROWTH_HINT);
    }
    for (uint32_t other = 0; other < number; other++) {
        if (restore->slot[other].slot == s) {
            return base_error_set(error, BASE_EFORMAT, "%s has slot %s twice", MODEL_WHAT,
                                  restore_slot_name(restore, s));
        }
    }
    restore->slot[number].slot = s;
    return 0;
}

static int parse_slot(struct restore *restore, uint32_t number, struct base_reader *reader,
                      struct base_error *error)
{
    struct restore_slot *saved = &restore->slot[number];
    struct base_span old = base_section_get_span(reader);
    uint32_t dimension = base_reader_u32(reader);
    saved->bytes = base_reader_u32(reader);
    int64_t expiry = (int64_t)base_reader_u64(reader);
    saved->rows = base_reader_u64(reader);
    saved->expired = (int64_t)base_reader_u64(reader);
    uint32_t buckets = base_reader_u32(reader);
    if (reader->failed || !old.data) {
        reader->failed = true;
        return 0; // the caller looks
    }
    if (parse_slot_name(restore, number, old, error)) {
        return -1;
    }
    const struct table_slot *slot = restore_slot(restore, number);
    const char *name = restore_slot_name(restore, saved->slot);
    if (dimension != slot->dimension) {
        return base_error_set(error, BASE_ECONFLICT,
                              "slot %s has dimension %u and had %u when the cut was made", name,
                              slot->dimension, dimension);
    }
    // With other slots beside it a slot counts in more or fewer buckets: it then begins anew.
    saved->buckets_fit = buckets == trainer_candidates_buckets(&slot->candidates);
    if (!saved->buckets_fit && restore->slots == restore->table->slots) {
        return base_error_set(error, BASE_ECONFLICT,
                              "slot %s counts towards admission in %u buckets and did in %u when the cut was "
                              "made: admission, rows_max or the number of slots has changed",
                              name, trainer_candidates_buckets(&slot->candidates), buckets);
    }
    saved->expiry_fits = expiry == slot->expiry;
    return 0;
}

static int parse_slots(struct restore *restore, struct base_reader *reader, struct base_error *error)
{
    struct trainer_table *table = restore->table;
    uint32_t slots = restore->slots = base_reader_u32(reader);
    if (!reader->failed && (slots > TRAINER_SLOTS_MAX || (!restore->told && slots != table->slots))) {
        return base_error_set(error, BASE_ECONFLICT,
                              "the model has %u slots and had %u when the cut was made%s", table->slots,
                              slots, GROWTH_HINT);
    }
    uint64_t rows = 0;
    for (uint32_t n = 0; n < slots && !reader->failed; n++) {
        if (parse_slot(restore, n, reader, error)) {
            return -1;
        }
        if (restore->slot[n].rows > table->rows_max - rows) {
            return base_error_set(error, BASE_ECONFLICT, "the cut has more rows than rows_max, %llu",
                                  (unsigned long long)table->rows_max);
        }
        rows += restore->slot[n].rows;
    }
    return 0;
}

// Numbers of new slots come behind those of the saved ones.
static void restore_number_slots(struct restore *restore)
{
    uint32_t next = restore->slots;
    for (uint32_t s = 0; s < restore->table->slots; s++) {
        uint32_t number = 0;
        while (number < restore->slots && restore->slot[number].slot != s) {
            number++;
        }
        restore->model->cut_slot[s] = number < restore->slots ? number : next++;
    }
}

// -1, and why it may be so.
static int restore_hint(const struct restore *restore, struct base_error *error)
{
    if (!restore->told) {
        struct base_error found = *error;
        base_error_set(error, found.code, "%s%s", found.text, GROWTH_HINT);
    }
    return -1;
}

static int parse_tensors(struct restore *restore, struct base_reader *reader, struct base_error *error)
{
    const struct trainer_model *model = restore->model;
    struct growth *growth = &restore->growth;
    if (growth_plan(model, &restore->shape, growth, error)) {
        return -1;
    }
    uint32_t network, planned = growth->tensors, tensors = base_reader_u32(reader);
    trainer_network_tensors(model->network, &network);
    for (uint32_t t = 0; t < tensors && !reader->failed; t++) {
        struct base_span old = base_section_get_span(reader);
        uint32_t rows = base_reader_u32(reader), columns = base_reader_u32(reader);
        if (reader->failed || !old.data) {
            reader->failed = true;
            return 0; // the caller looks
        }
        int result = t < planned ? growth_check(model, growth, t, old, rows, columns, error)
                                 : growth_add(model, growth, old, rows, columns, error);
        if (result) {
            return restore_hint(restore, error);
        }
    }
    // Of those that are not the network's, the new slots' out-of-vocabulary rows alone are new.
    uint32_t wanted = planned + model->cut_tensor_count - network - (restore->table->slots - restore->slots);
    if (tensors != wanted && !reader->failed) {
        base_error_set(error, BASE_ECONFLICT, "the model has %u tensors and had %u when the cut was made",
                       wanted, tensors);
        return restore_hint(restore, error);
    }
    return 0;
}

static void parse_list(struct base_reader *reader, struct table_list *list)
{
    uint64_t count = base_reader_u64(reader);
    if (count > reader->rest.size / sizeof(uint64_t)) {
        reader->failed = true;
    }
    for (uint64_t i = 0; i < count && !reader->failed; i++) {
        table_list_push(list, base_reader_u64(reader));
    }
}

static int parse_publication(struct restore *restore, struct base_reader *reader, struct base_error *error)
{
    struct trainer_model *model = restore->model;
    struct trainer_table *table = restore->table;
    uint8_t base = base_reader_u8(reader);
    table->snapshots = base_reader_u32(reader);
    table->settled = base_reader_u32(reader);
    model->settled_tick = (int64_t)base_reader_u64(reader);
    table->flying = base_reader_u32(reader);
    model->flying_tick = (int64_t)base_reader_u64(reader);
    table->tracking = base != CUT_BASE_NONE;
    table->tracking_before = base == CUT_BASE_SETTLED;
    table->undecided = table->tracking;
    bool fits = table->snapshots <= RESTORE_SNAPSHOTS_MAX && base <= CUT_BASE_SETTLED &&
                table->settled <= table->snapshots && table->flying <= table->snapshots &&
                (table->settled != 0) == (base == CUT_BASE_SETTLED) &&
                (table->flying == 0 || table->settled < table->flying) &&
                (base != CUT_BASE_NONE || table->flying == 0) &&
                (base != CUT_BASE_FLYING || table->flying != 0);
    if (!reader->failed && !fits) {
        return base_error_set(error, BASE_EFORMAT, "%s has a publication state that cannot be", MODEL_WHAT);
    }
    for (uint32_t n = 0; n < restore->slots; n++) {
        parse_list(reader, &restore_slot(restore, n)->tombstones);
        parse_list(reader, &restore_slot(restore, n)->flying_tombstones);
    }
    return 0;
}

static size_t saved_floats(const struct restore *restore, uint32_t t)
{
    return (size_t)restore->growth.tensor[t].rows * restore->growth.tensor[t].columns;
}

// Floats of a saved tensor's optimiser state: as many a weight as it has now.
static size_t restore_state_floats(const struct restore *restore, uint32_t t)
{
    const struct trainer_model *model = restore->model;
    const struct trainer_tensor *now = &model->tensors[restore->growth.tensor[t].number];
    size_t floats, weights = (size_t)now->rows * now->columns;
    trainer_update_state(model->update, restore->growth.tensor[t].number, &floats);
    return growth_moves(model, &restore->growth, t) ? floats / weights * saved_floats(restore, t) : floats;
}

// Reads what one tensor, or a slot's rows, was learned by, and compares it. FTRL's weights follow from its
// state and these constants, so that others would make them jump.
static int parse_optimiser(struct restore *restore, uint32_t saved, bool written, struct base_reader *reader,
                           struct base_error *error)
{
    struct trainer_model *model = restore->model;
    uint32_t t = restore->growth.tensor[saved].number;
    const struct trainer_optimiser_config *now = trainer_update_optimiser(model->update, t);
    bool slot = t < model->tensor_count && t >= model->tensor_count - restore->table->slots;
    const char *name = slot ? restore_slot_name(restore, t - (model->tensor_count - restore->table->slots))
                            : model->tensors[t].name;
    const char *what = slot ? "slot" : "tensor";
    uint8_t kind = written ? base_reader_u8(reader) : TRAINER_OPTIMISER_SGD;
    uint64_t floats = written ? base_reader_u64(reader) : 0;
    double constants[4];
    for (size_t i = 0; i < 4 && kind == TRAINER_OPTIMISER_FTRL; i++) {
        uint64_t bits = base_reader_u64(reader);
        memcpy(&constants[i], &bits, sizeof bits);
    }
    if (reader->failed) {
        return 0; // the caller looks
    }
    if (kind >= TRAINER_OPTIMISERS) {
        return base_error_set(error, BASE_EFORMAT, "%s: %s %s was learned by the unknown optimiser %u",
                              MODEL_WHAT, what, name, kind);
    }
    if (kind != now->kind) {
        return base_error_set(error, BASE_ECONFLICT,
                              "%s %s is learned by %s and was by %s when the cut was made", what, name,
                              trainer_optimiser_name(now->kind), trainer_optimiser_name(kind));
    }
    if (kind == TRAINER_OPTIMISER_FTRL && (constants[0] != now->rate || constants[1] != now->beta ||
                                           constants[2] != now->lambda1 || constants[3] != now->lambda2)) {
        return base_error_set(
            error, BASE_ECONFLICT,
            "%s %s: ftrl's alpha, beta, lambda1, lambda2 are %g, %g, %g, %g and were %g, %g, "
            "%g, %g when the cut was made; its weights rest on them",
            what, name, now->rate, now->beta, now->lambda1, now->lambda2, constants[0], constants[1],
            constants[2], constants[3]);
    }
    size_t wanted = restore_state_floats(restore, saved);
    if (floats != wanted) {
        return base_error_set(error, BASE_ECONFLICT,
                              "%s %s: %s keeps %zu numbers of state and kept %llu when the cut was made: its "
                              "half_life was switched on or off",
                              what, name, trainer_optimiser_name(kind), wanted, (unsigned long long)floats);
    }
    return 0;
}

// The section says how the model was learned from version 2 on; before, it was by plain SGD. Of the tensor
// beside the network's it says so from version 3 on; before, that was plain SGD's too, whatever moved the
// rest, so that an older cut says nothing of its optimiser: what moves it now begins with new state.
static int parse_update(struct restore *restore, uint32_t version, struct base_reader *reader,
                        struct base_error *error)
{
    struct trainer_model *model = restore->model;
    bool written = version > CUT_VERSION_STATELESS;
    if (written) {
        struct trainer_update_figures figures = {.steps = base_reader_u64(reader)};
        figures.clipped_dense = base_reader_u64(reader);
        figures.clipped_sparse = base_reader_u64(reader);
        if (figures.steps > RESTORE_STEPS_MAX || figures.clipped_dense > figures.steps ||
            figures.clipped_sparse > figures.steps) {
            return base_error_set(error, BASE_EFORMAT, "%s counts steps that cannot be", MODEL_WHAT);
        }
        trainer_update_set_figures(model->update, figures);
    }
    restore->learned = restore->growth.learned;
    if (version > CUT_VERSION_NETWORK && model->log_variance) {
        restore->learned = restore->growth.tensors;
    }
    for (uint32_t t = 0; t < restore->learned && !reader->failed; t++) {
        if (parse_optimiser(restore, t, written, reader, error)) {
            return -1;
        }
    }
    for (uint32_t n = 0; n < restore->slots && !reader->failed; n++) {
        if (restore->slot[n].bytes != restore_slot(restore, n)->words * sizeof(float)) {
            return base_error_set(error, BASE_EFORMAT, "%s: rows of slot %s cannot have %u bytes of state",
                                  MODEL_WHAT, restore_slot_name(restore, restore->slot[n].slot),
                                  restore->slot[n].bytes);
        }
    }
    return 0;
}

// Where each slot's expiry and rows go on.
static int restore_prepare(struct restore *restore, struct base_error *error)
{
    struct trainer_table *table = restore->table;
    for (uint32_t n = 0; n < restore->slots; n++) {
        struct restore_slot *saved = &restore->slot[n];
        struct table_slot *slot = restore_slot(restore, n);
        if (saved->rows && table->now == INT64_MIN) {
            return base_error_set(error, BASE_EFORMAT, "%s: slot %s has rows from before any time",
                                  MODEL_WHAT, restore_slot_name(restore, saved->slot));
        }
        saved->first = trainer_arena_extend(slot->arena, (uint32_t)saved->rows);
        table->rows += saved->rows;
        if (slot->expiry && saved->rows && !saved->expiry_fits) {
            slot->expired = table_slot_bucket(slot, table->now) - 1;
        } else if (slot->expiry && saved->expiry_fits) {
            int64_t newest = table->now == INT64_MIN ? INT64_MIN : table_slot_bucket(slot, table->now) - 1;
            bool never = saved->expired == INT64_MIN;
            if (saved->expired > newest || (never && saved->rows) ||
                (!never && saved->expired < -RESTORE_TIME_MAX - 1)) {
                return base_error_set(error, BASE_EFORMAT, "%s: expiry of slot %s cannot stand there",
                                      MODEL_WHAT, restore_slot_name(restore, saved->slot));
            }
            slot->expired = saved->expired;
        }
    }
    return 0;
}

static int restore_keep_section(void *context, struct base_span key, struct base_span value,
                                struct base_error *error)
{
    if (key.size != 1) {
        return base_error_set(error, BASE_EFORMAT, "%s has a key of %zu bytes",
                              key.data[0] == CUT_KEY_SHAPE ? SHAPE_WHAT : MODEL_WHAT, key.size);
    }
    base_buffer_append(context, value.data, value.size);
    return 0;
}

static int restore_read_section(struct restore *restore, uint8_t kind, struct base_buffer *section,
                                struct base_error *error)
{
    const struct trainer_cut_source *source = restore->source;
    return source->scan(source->context, base_span_make(&kind, 1), restore_keep_section, section, error);
}

// What the saved model read and learned; of a cut that does not say, what this one does.
static int restore_shape(struct restore *restore, struct base_error *error)
{
    if (restore_read_section(restore, CUT_KEY_SHAPE, &restore->shape_section, error)) {
        return -1;
    }
    restore->told = restore->shape_section.size > 0;
    if (restore->told) {
        return growth_shape_parse(base_buffer_span(&restore->shape_section), &restore->shape, SHAPE_WHAT,
                                  error);
    }
    growth_shape_of(&restore->model->config, &restore->shape);
    for (uint32_t i = 0; i < restore->shape.parts; i++) {
        const struct growth_part *part = &restore->shape.part[i];
        if (part->kind == GROWTH_POSITION) { // earlier programs knew none
            return base_error_set(error, BASE_ECONFLICT,
                                  "slot %.*s is a position and was none when the cut was made%s",
                                  growth_shown(part->name), (const char *)part->name.data, GROWTH_HINT);
        }
    }
    return 0;
}

static int restore_section(struct restore *restore, struct base_error *error)
{
    if (restore_read_section(restore, CUT_KEY_MODEL, &restore->section, error)) {
        return -1;
    }
    if (!restore->section.size) {
        return base_error_set(error, BASE_ENOTFOUND, "there is no cut of a model");
    }
    struct trainer_table *table = restore->table;
    struct base_reader whole = {base_buffer_span(&restore->section), false}, reader, version = whole;
    if (base_section_open(&whole, CUT_MAGIC, CUT_VERSION, &reader, MODEL_WHAT, error) ||
        base_section_close(&whole, MODEL_WHAT, error) || restore_shape(restore, error)) {
        return -1;
    }
    base_reader_bytes(&version, strlen(CUT_MAGIC));
    uint32_t number = base_reader_u32(&version);
    restore->model->examples = base_reader_u64(&reader);
    table->now = (int64_t)base_reader_u64(&reader);
    table->refused = base_reader_u64(&reader);
    if (table->now != INT64_MIN && (table->now < -RESTORE_TIME_MAX || table->now > RESTORE_TIME_MAX)) {
        return base_error_set(error, BASE_EFORMAT, "%s: its time %lld cannot be", MODEL_WHAT,
                              (long long)table->now);
    }
    if (parse_slots(restore, &reader, error)) {
        return -1;
    }
    if (!reader.failed) {
        restore_number_slots(restore);
        if (parse_tensors(restore, &reader, error) || parse_update(restore, number, &reader, error) ||
            parse_publication(restore, &reader, error)) {
            return -1;
        }
    }
    return base_section_close(&reader, MODEL_WHAT, error);
}

// ---- dense tensors ----

// The next saved tensor of which there is something to read: where to, and how many floats; NULL: no more.
static float *restore_target(struct restore *restore, size_t *floats)
{
    struct trainer_model *model = restore->model;
    const struct growth *growth = &restore->growth;
    uint32_t tensors = restore->kind == CUT_KEY_DENSE ? growth->tensors : restore->learned;
    for (; restore->tensor < tensors; restore->tensor++) {
        uint32_t number = growth->tensor[restore->tensor].number;
        size_t now;
        float *target = restore->kind == CUT_KEY_DENSE ? trainer_model_tensor(model, number)
                                                       : trainer_update_state(model->update, number, &now);
        if (!target) {
            continue; // no state
        }
        *floats = restore->kind == CUT_KEY_DENSE ? saved_floats(restore, restore->tensor)
                                                 : restore_state_floats(restore, restore->tensor);
        if (!growth_moves(model, growth, restore->tensor)) {
            return target;
        }
        if (restore->staging_floats < *floats) {
            restore->staging_floats = *floats;
            restore->staging = base_realloc(restore->staging, *floats * sizeof *restore->staging);
        }
        return restore->staging;
    }
    return NULL;
}

// A tensor has been read in full: if it was only laid out, it goes where it belongs.
static void restore_place(struct restore *restore, size_t floats)
{
    struct trainer_model *model = restore->model;
    const struct growth *growth = &restore->growth;
    uint32_t t = restore->tensor, number = growth->tensor[t].number;
    if (!growth_moves(model, growth, t)) {
        return;
    }
    if (restore->kind == CUT_KEY_DENSE) {
        growth_move(model, growth, t, restore->staging, trainer_model_tensor(model, number));
        return;
    }
    size_t now;
    float *state = trainer_update_state(model->update, number, &now);
    size_t parts = floats / saved_floats(restore, t);
    for (size_t part = 0; part < parts; part++) {
        growth_move(model, growth, t, restore->staging + part * saved_floats(restore, t),
                    state + part * (now / parts));
    }
}

static const char *restore_kind(const struct restore *restore)
{
    return restore->kind == CUT_KEY_DENSE ? "tensor" : "state of tensor";
}

static const char *restore_tensor_name(const struct restore *restore)
{
    return restore->model->tensors[restore->growth.tensor[restore->tensor].number].name;
}

static int restore_piece(void *context, struct base_span key, struct base_span value,
                         struct base_error *error)
{
    struct restore *restore = context;
    size_t floats;
    float *target = restore_target(restore, &floats);
    if (!target) {
        return base_error_set(error, BASE_EFORMAT, "the cut has %s of no tensor",
                              restore->kind == CUT_KEY_DENSE ? "dense weights" : "optimiser state");
    }
    size_t at = restore->piece * CUT_PIECE;
    size_t count = floats - at < CUT_PIECE ? floats - at : CUT_PIECE;
    uint8_t *bytes = base_alloc(CUT_KEY_MAX + CUT_VALUE_MAX);
    bool fits = key.size == CUT_KEY_DENSE_SIZE && cut_load_big(key.data + 1, 4) == restore->tensor &&
                cut_load_big(key.data + 5, 4) == restore->piece &&
                value.size == count * sizeof(float) + CUT_CHECKSUM &&
                restore_checksum_fits(key, value, bytes);
    free(bytes);
    if (!fits) {
        return base_error_set(error, BASE_EFORMAT, "piece %llu of the cut's %s %s is %s",
                              (unsigned long long)restore->piece, restore_kind(restore),
                              restore_tensor_name(restore),
                              key.size == CUT_KEY_DENSE_SIZE ? "missing, misplaced or corrupt" : "misplaced");
    }
    memcpy(target + at, value.data, count * sizeof(float));
    if (restore->growth.grown) { // tensors have other numbers in the next cut
        restore_stale(&restore->model->stale, key);
    }
    restore->piece++;
    if (at + count == floats) {
        restore_place(restore, floats);
        restore->tensor++;
        restore->piece = 0;
    }
    return 0;
}

static int restore_pieces(struct restore *restore, uint8_t kind, struct base_error *error)
{
    const struct trainer_cut_source *source = restore->source;
    restore->kind = kind;
    restore->tensor = 0;
    if (source->scan(source->context, base_span_make(&kind, 1), restore_piece, restore, error)) {
        return -1;
    }
    size_t floats;
    if (restore_target(restore, &floats)) {
        return base_error_set(error, BASE_EFORMAT, "the cut lacks piece %llu of %s %s",
                              (unsigned long long)restore->piece, restore_kind(restore),
                              restore_tensor_name(restore));
    }
    return 0;
}

static int restore_dense(struct restore *restore, struct base_error *error)
{
    growth_begin(restore->model, &restore->growth);
    if (restore_pieces(restore, CUT_KEY_DENSE, error)) {
        return -1;
    }
    growth_end(restore->model, &restore->growth);
    if (restore_pieces(restore, CUT_KEY_STATE, error)) {
        return -1;
    }
    if (restore->model->log_variance && restore->learned == restore->growth.learned) {
        trainer_update_restart(restore->model->update, restore->model->tensor_count);
    }
    return 0;
}

// ---- rows ----

static void restore_tile(void *context, uint32_t n)
{
    struct restore *restore = context;
    restore->result[n] =
        restore_slot_read(restore->table, n, restore_slot_name(restore, restore->slot[n].slot),
                          &restore->slot[n], restore->source, &restore->error[n]);
}

static int restore_slots(struct restore *restore, struct base_error *error)
{
    if (restore->source->parallel) {
        trainer_workers_run(restore->model->workers, restore->slots, restore_tile, restore);
    }
    for (uint32_t n = 0; n < restore->slots; n++) {
        if (!restore->source->parallel) {
            restore_tile(restore, n);
        }
        if (restore->result[n]) {
            *error = restore->error[n];
            return -1;
        }
        base_buffer_append(&restore->model->stale, restore->slot[n].stale.data, restore->slot[n].stale.size);
    }
    return 0;
}

static int restore_stray(void *context, struct base_span key, struct base_span value,
                         struct base_error *error)
{
    (void)context;
    (void)value;
    struct base_reader reader = {key, false};
    uint8_t kind = base_reader_u8(&reader);
    struct base_span slot = base_reader_bytes(&reader, 2);
    struct base_span rest = base_reader_bytes(&reader, kind == CUT_KEY_ROW ? 8 : 4);
    if (reader.failed) {
        return base_error_set(error, BASE_EFORMAT, "the cut has a row's key of %zu bytes", key.size);
    }
    return base_error_set(error, BASE_EFORMAT, "the cut has %s %0*llx of slot %llu, which the model has not",
                          kind == CUT_KEY_ROW ? "row" : "bucket", (int)(2 * rest.size),
                          (unsigned long long)cut_load_big(rest.data, rest.size),
                          (unsigned long long)cut_load_big(slot.data, slot.size));
}

// Rows and candidates of slots that there are not.
static int restore_strays(const struct restore *restore, struct base_error *error)
{
    static const uint8_t kinds[] = {CUT_KEY_ROW, CUT_KEY_CANDIDATES};
    const struct trainer_cut_source *source = restore->source;
    for (size_t i = 0; i < sizeof kinds; i++) {
        // By the upper byte of the slot's number; those of the lower byte are below the first.
        for (uint32_t high = 1; high <= UINT8_MAX; high++) {
            const uint8_t prefix[] = {kinds[i], (uint8_t)high};
            if (source->scan(source->context, base_span_make(prefix, sizeof prefix), restore_stray, NULL,
                             error)) {
                return -1;
            }
        }
        for (uint32_t low = restore->slots; low <= UINT8_MAX; low++) {
            const uint8_t prefix[] = {kinds[i], 0, (uint8_t)low};
            if (source->scan(source->context, base_span_make(prefix, sizeof prefix), restore_stray, NULL,
                             error)) {
                return -1;
            }
        }
    }
    return 0;
}

// What is new, for whoever tells the operator.
static void restore_news(struct restore *restore)
{
    struct trainer_model *model = restore->model;
    const struct trainer_model_config *config = &model->config;
    const struct growth_shape *shape = &restore->shape;
    model->news = base_alloc_zeroed(config->features.slots + config->features.numerics + BASE_TASKS_MAX,
                                    sizeof *model->news);
    for (uint32_t s = 0; s < config->features.slots; s++) {
        if (model->cut_slot[s] >= restore->slots) {
            model->news[model->news_count++] =
                (struct trainer_news){TRAINER_NEWS_SLOT, config->features.slot[s].row.name};
        }
    }
    for (uint32_t i = 0; i < config->features.numerics; i++) {
        const char *name = config->features.numeric[i].name;
        bool known = false;
        for (uint32_t part = 0; part < shape->parts; part++) {
            known |= shape->part[part].kind == GROWTH_NUMERIC &&
                     base_span_equal(shape->part[part].name, base_span_string(name));
        }
        if (!known) {
            model->news[model->news_count++] = (struct trainer_news){TRAINER_NEWS_NUMERIC, name};
        }
    }
    for (uint32_t k = shape->tasks; k < config->loss.tasks; k++) {
        model->news[model->news_count++] = (struct trainer_news){TRAINER_NEWS_TASK, config->task_names[k]};
    }
}

static void restore_free(struct restore *restore)
{
    for (uint32_t n = 0; n < TRAINER_SLOTS_MAX; n++) {
        base_buffer_free(&restore->slot[n].stale);
    }
    growth_clear(&restore->growth);
    base_buffer_free(&restore->section);
    base_buffer_free(&restore->shape_section);
    free(restore->staging);
    free(restore);
}

int trainer_model_restore(struct trainer_model *model, const struct trainer_cut_source *source,
                          struct base_error *error)
{
    struct trainer_table *table = model->table;
    assert(model->training && !model->cut && !model->in_flight && model->examples == 0);
    assert(table->rows == 0 && table->now == INT64_MIN);
    struct restore *restore = base_alloc_zeroed(1, sizeof *restore);
    *restore = (struct restore){.model = model, .table = table, .source = source};
    int result = restore_section(restore, error) || restore_prepare(restore, error) ||
                         restore_dense(restore, error) || restore_slots(restore, error) ||
                         restore_strays(restore, error)
                     ? -1
                     : 0;
    table->durable = true;
    if (result == 0) {
        restore_news(restore);
    }
    restore_free(restore);
    return result;
}

const struct trainer_news *trainer_model_news(const struct trainer_model *model, uint32_t *count)
{
    *count = model->news_count;
    return model->news;
}

void trainer_model_head(struct trainer_model *model, int64_t tick, int64_t present)
{
    struct trainer_table *table = model->table;
    assert(model->training && !model->in_flight);
    enum table_head head = TABLE_HEAD_NONE;
    if (tick == INT64_MIN) {
        head = TABLE_HEAD_NONE;
    } else if (tick == present) {
        head = TABLE_HEAD_PRESENT;
        model->settled_tick = tick;
    } else if (table_has_base(table) && tick == model->settled_tick) {
        head = TABLE_HEAD_SETTLED;
    } else if (table->tracking && table->flying && tick == model->flying_tick) {
        head = TABLE_HEAD_FLYING;
        model->settled_tick = tick;
    }
    table_head(table, head);
}
