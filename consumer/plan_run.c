// The machine that runs a plan over a record's bytes. See plan_code.h.
//
// Bounds: every length is held against the bytes that remain; a block's count against the bytes that its
// items take at least. Items of no bytes and calls draw on a budget, one a byte of the record and a constant
// more, so that no record costs more than a multiple of its size.
#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "consumer/plan_code.h"

enum { PLAN_FRAMES_MAX = 4 * CONSUMER_SCHEMA_DEPTH_MAX }; // blocks that are open at once

struct plan_frame {
    uint64_t items;           // still to come in this block, the present one included
    const uint8_t *block_end; // NULL: the block did not tell its size
};

struct plan_machine {
    const uint8_t *at, *end;
    const uint8_t *kept_at, *kept_end; // the record, while a default is read
    const char *problem;
    uint64_t budget;
    uint32_t frames, calls;
    struct plan_frame frame[PLAN_FRAMES_MAX];
    uint32_t call[CONSUMER_SCHEMA_DEPTH_MAX];
};

static bool machine_fail(struct plan_machine *machine, const char *problem)
{
    machine->problem = problem;
    return false;
}

static bool machine_long_slow(struct plan_machine *machine, uint64_t *value)
{
    uint64_t sum = 0;
    const uint8_t *at = machine->at;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        if (at == machine->end) {
            return machine_fail(machine, "the record ends within a number");
        }
        uint64_t byte = *at++;
        if (shift == 63 && byte > 1) {
            break;
        }
        sum |= (byte & 0x7f) << shift;
        if (byte < 0x80) {
            machine->at = at;
            *value = sum;
            return true;
        }
    }
    return machine_fail(machine, "a number of more than 64 bits");
}

// A long; most are of one byte.
static inline bool machine_long(struct plan_machine *machine, int64_t *value)
{
    uint64_t coded;
    if (machine->at < machine->end && *machine->at < 0x80) {
        coded = *machine->at++;
    } else if (!machine_long_slow(machine, &coded)) {
        return false;
    }
    *value = (int64_t)((coded >> 1) ^ (0 - (coded & 1)));
    return true;
}

static inline bool machine_int(struct plan_machine *machine, int64_t *value)
{
    if (!machine_long(machine, value)) {
        return false;
    }
    if (*value < INT32_MIN || *value > INT32_MAX) {
        return machine_fail(machine, "an int of more than 32 bits");
    }
    return true;
}

static inline bool machine_index(struct plan_machine *machine, uint32_t count, int64_t *index,
                                 const char *problem)
{
    if (!machine_long(machine, index)) {
        return false;
    }
    return (uint64_t)*index < count || machine_fail(machine, problem);
}

static inline bool machine_fixed(struct plan_machine *machine, uint64_t size, struct base_span *bytes)
{
    if (size > (uint64_t)(machine->end - machine->at)) {
        return machine_fail(machine, "a value longer than what remains of the record");
    }
    *bytes = base_span_make(machine->at, (size_t)size);
    machine->at += size;
    return true;
}

static inline bool machine_bytes(struct plan_machine *machine, struct base_span *bytes)
{
    int64_t size;
    if (!machine_long(machine, &size)) {
        return false;
    }
    return machine_fixed(machine, (uint64_t)size, bytes); // a negative one is far too large
}

static inline bool machine_boolean(struct plan_machine *machine, int64_t *value)
{
    struct base_span byte;
    if (!machine_fixed(machine, 1, &byte)) {
        return false;
    }
    *value = *byte.data;
    return *value <= 1 || machine_fail(machine, "a boolean that is neither 0 nor 1");
}

static inline bool machine_float(struct plan_machine *machine, double *value)
{
    struct base_span bytes;
    if (!machine_fixed(machine, 4, &bytes)) {
        return false;
    }
    const uint8_t *b = bytes.data;
    uint32_t bits = b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
    float narrow;
    memcpy(&narrow, &bits, sizeof narrow);
    *value = (double)narrow;
    return true;
}

static inline bool machine_double(struct plan_machine *machine, double *value)
{
    struct base_reader reader = {.rest = {machine->at, (size_t)(machine->end - machine->at)}};
    struct base_span bytes;
    if (!machine_fixed(machine, 8, &bytes)) {
        return false;
    }
    uint64_t bits = base_reader_u64(&reader);
    memcpy(value, &bits, sizeof *value);
    return true;
}

// Reads block headers until one has items, or the end of the array or map (*items 0).
static bool machine_block(struct plan_machine *machine, uint64_t least, bool by_size,
                          struct plan_frame *frame)
{
    for (;;) {
        int64_t count, size;
        frame->block_end = NULL;
        if (!machine_long(machine, &count)) {
            return false;
        }
        uint64_t items = (uint64_t)count;
        if (count < 0) {
            items = 0 - items; // 2^63 for INT64_MIN: refused below as any other too large
            if (!machine_long(machine, &size)) {
                return false;
            }
            if (size < 0 || size > machine->end - machine->at) {
                return machine_fail(machine, "a block longer than what remains of the record");
            }
            frame->block_end = machine->at + size;
        }
        const uint8_t *end = frame->block_end ? frame->block_end : machine->end;
        uint64_t room = least ? (uint64_t)(end - machine->at) / least : machine->budget;
        if (items > room) {
            return machine_fail(machine, "a block of more items than the record has room for");
        }
        machine->budget -= least ? 0 : items;
        frame->items = items;
        if (!by_size || !frame->block_end) {
            return true;
        }
        machine->at = frame->block_end;
    }
}

static inline void store_key(struct consumer_output *output, uint32_t column, uint64_t key, uint64_t *cut)
{
    uint16_t count = output->count[column];
    if (count < BASE_COLUMN_KEYS_MAX) {
        output->keys[(size_t)column * CONSUMER_OUTPUT_STRIDE + count] = key;
        output->count[column] = (uint16_t)(count + 1);
    } else {
        ++*cut;
    }
}

// A whole array of strings into one column: the common shape of an impression's features.
static bool machine_strings(struct plan_machine *machine, const struct plan_instruction *instruction,
                            struct consumer_output *output, uint64_t *cut)
{
    struct plan_frame frame;
    for (;;) {
        if (!machine_block(machine, 1, false, &frame)) {
            return false;
        }
        if (frame.items == 0) {
            return true;
        }
        for (uint64_t i = 0; i < frame.items; i++) {
            struct base_span text;
            if (!machine_bytes(machine, &text)) {
                return false;
            }
            store_key(output, instruction->small, base_hash_slot_bytes(instruction->wide, text), cut);
        }
        if (frame.block_end && frame.block_end != machine->at) {
            return machine_fail(machine, "a block whose items do not fill its size");
        }
    }
}

static uint32_t machine_find(const struct plan_keys *keys, struct base_span key, uint32_t other)
{
    for (uint32_t i = plan_key_hash(key) & keys->mask;; i = (i + 1) & keys->mask) {
        const struct plan_key *slot = &keys->slot[i];
        if (!slot->key.data) {
            return other;
        }
        if (slot->key.size == key.size && memcmp(slot->key.data, key.data, key.size) == 0) {
            return slot->to;
        }
    }
}

static void output_clear(struct consumer_output *output, enum consumer_role role, uint32_t index)
{
    switch (role) {
    case CONSUMER_ROLE_TIME:
        output->has_time = false;
        break;
    case CONSUMER_ROLE_ID:
        output->id[index] = (struct base_span){0};
        break;
    case CONSUMER_ROLE_VALUE:
        output->has_value[index] = false;
        output->value[index] = (double)NAN;
        break;
    case CONSUMER_ROLE_NUMERIC:
        output->numeric[index] = NAN;
        break;
    default:
        output->count[index] = 0;
    }
}

static void store_integer_id(struct consumer_output *output, uint32_t index, int64_t value)
{
    for (int i = 0; i < 8; i++) {
        output->integer[index][i] = (uint8_t)((uint64_t)value >> (8 * i));
    }
    output->id[index] = base_span_make(output->integer[index], 8);
}

static void store_time(struct consumer_output *output, int64_t value, bool micros)
{
    output->has_time = true;
    output->time = !micros ? value : value / 1000 - (value % 1000 < 0);
}

// What a READ leaves for the STOREs behind it.
struct plan_registers {
    struct base_span bytes;
    int64_t integer;
    double real;
};

static inline bool machine_call(struct plan_machine *machine, uint32_t from)
{
    if (machine->calls == CONSUMER_SCHEMA_DEPTH_MAX || machine->budget == 0) {
        return machine_fail(machine, "records nested too deep");
    }
    machine->budget--;
    machine->call[machine->calls++] = from;
    return true;
}

// Opens the next block that has items, if there is one: see frame[frames].items.
static inline bool machine_open(struct plan_machine *machine, const struct plan_instruction *block)
{
    return machine->frames == PLAN_FRAMES_MAX
               ? machine_fail(machine, "arrays and maps nested too deep")
               : machine_block(machine, block->wide, block->small, &machine->frame[machine->frames]);
}

// After the last item of a block.
static inline bool machine_close(struct plan_machine *machine)
{
    const struct plan_frame *frame =
        &machine->frame[--machine->frames]; // the next block, if any, pushes it again
    return !frame->block_end || frame->block_end == machine->at ||
           machine_fail(machine, "a block whose items do not fill its size");
}

// Reads a default from here on, until PLAN_DATA_END.
static inline void machine_default(struct plan_machine *machine, struct base_span bytes)
{
    machine->kept_at = machine->at;
    machine->kept_end = machine->end;
    machine->at = bytes.data;
    machine->end = bytes.data + bytes.size;
}

static inline bool machine_enum(struct plan_machine *machine, const struct plan_instruction *now,
                                struct plan_registers *registers)
{
    if (!machine_index(machine, now->number, &registers->integer, "an enum without that symbol")) {
        return false;
    }
    registers->bytes = now->span[registers->integer];
    return registers->bytes.data || machine_fail(machine, "an enum's symbol that the reader does not know");
}

static inline bool machine_store(struct plan_machine *machine, const struct plan_instruction *now,
                                 struct plan_registers *registers, struct consumer_output *output,
                                 uint64_t *cut)
{
    switch ((enum plan_operation)now->operation) {
    case PLAN_TO_FLOAT:
        registers->real = (double)(float)registers->integer;
        break;
    case PLAN_TO_DOUBLE:
        registers->real = (double)registers->integer;
        break;
    case PLAN_STORE_TIME:
        store_time(output, registers->integer, false);
        break;
    case PLAN_STORE_MICROS:
        store_time(output, registers->integer, true);
        break;
    case PLAN_STORE_ID_BYTES:
        output->id[now->small] = registers->bytes;
        break;
    case PLAN_STORE_ID_INTEGER:
        store_integer_id(output, now->small, registers->integer);
        break;
    case PLAN_STORE_VALUE:
        output->has_value[now->small] = true;
        output->value[now->small] = registers->real;
        break;
    case PLAN_STORE_NUMERIC:
        output->numeric[now->small] = registers->real;
        break;
    case PLAN_STORE_KEY_BYTES:
        store_key(output, now->small, base_hash_slot_bytes(now->wide, registers->bytes), cut);
        break;
    case PLAN_STORE_KEY_INTEGER:
        store_key(output, now->small, base_hash_slot_integer(now->wide, registers->integer), cut);
        break;
    case PLAN_STORE_STRINGS:
        return machine_strings(machine, now, output, cut);
    case PLAN_CLEAR:
        output_clear(output, (enum consumer_role)now->number, now->small);
        break;
    default:
        assert(false);
    }
    return true;
}

// The way through the program, and what is read; what is stored has a switch of its own. Reading has none: a
// second jump before each value cost 5 % of all decoding.
static bool machine_run(struct plan_machine *machine, const struct plan_instruction *code,
                        struct consumer_output *output, uint64_t *cut)
{
    struct plan_registers registers = {0};
    const struct plan_instruction *next = code;
    bool good = true;
    while (good) {
        const struct plan_instruction *now = next++;
        switch ((enum plan_operation)now->operation) {
        case PLAN_END:
            return machine->at == machine->end || machine_fail(machine, "bytes are left after the record");
        case PLAN_FAIL:
            return machine_fail(machine, now->text);
        case PLAN_JUMP:
            next = code + now->number;
            break;
        case PLAN_CALL:
            good = machine_call(machine, (uint32_t)(next - code));
            next = code + now->number;
            break;
        case PLAN_RETURN:
            next = code + machine->call[--machine->calls];
            break;
        case PLAN_UNION:
            good = machine_index(machine, now->number, &registers.integer, "a union without that branch");
            next = good ? code + now->table[registers.integer] : next;
            break;
        case PLAN_BLOCK:
            good = machine_open(machine, now);
            if (good && machine->frame[machine->frames].items > 0) {
                machine->frames++;
            } else {
                next = code + now->number;
            }
            break;
        case PLAN_NEXT:
            next = code + now->number + 1;
            if (--machine->frame[machine->frames - 1].items == 0) {
                good = machine_close(machine);
                next--;
            }
            break;
        case PLAN_KEY:
            good = machine_bytes(machine, &registers.bytes);
            next = good ? code + machine_find(now->keys, registers.bytes, now->number) : next;
            break;
        case PLAN_DATA:
            machine_default(machine, *now->span);
            break;
        case PLAN_DATA_END:
            machine->at = machine->kept_at;
            machine->end = machine->kept_end;
            break;
        case PLAN_SKIP_BOOLEAN:
        case PLAN_READ_BOOLEAN:
            good = machine_boolean(machine, &registers.integer);
            break;
        case PLAN_SKIP_INT:
        case PLAN_READ_INT:
            good = machine_int(machine, &registers.integer);
            break;
        case PLAN_SKIP_LONG:
        case PLAN_READ_LONG:
            good = machine_long(machine, &registers.integer);
            break;
        case PLAN_SKIP_ENUM:
            good = machine_index(machine, now->number, &registers.integer, "an enum without that symbol");
            break;
        case PLAN_SKIP_BYTES:
        case PLAN_READ_BYTES:
            good = machine_bytes(machine, &registers.bytes);
            break;
        case PLAN_SKIP_FIXED:
        case PLAN_READ_FIXED:
            good = machine_fixed(machine, now->number, &registers.bytes);
            break;
        case PLAN_READ_FLOAT:
            good = machine_float(machine, &registers.real);
            break;
        case PLAN_READ_DOUBLE:
            good = machine_double(machine, &registers.real);
            break;
        case PLAN_READ_ENUM:
            good = machine_enum(machine, now, &registers);
            break;
        default:
            good = machine_store(machine, now, &registers, output, cut);
        }
    }
    return false;
}

int consumer_plan_run(const struct consumer_plan *plan, struct base_span bytes,
                      struct consumer_output *output, struct base_error *error)
{
    assert(output->layout.categorical >= plan->layout.categorical &&
           output->layout.numeric >= plan->layout.numeric);
    static const uint8_t nothing[1];
    struct plan_machine machine;
    machine.at = bytes.data ? bytes.data : nothing;
    machine.end = machine.at + bytes.size;
    machine.budget = bytes.size + CONSUMER_PLAN_EMPTY_MAX;
    machine.frames = machine.calls = 0;

    output->has_time = false;
    for (uint32_t i = 0; i < CONSUMER_PLAN_VALUES_MAX; i++) {
        output->has_value[i] = false;
        output->value[i] = (double)NAN;
    }
    memset(output->id, 0, sizeof output->id[0] * plan->ids);
    for (uint32_t i = 0; i < output->layout.numeric; i++) {
        output->numeric[i] = NAN;
    }
    memset(output->count, 0, sizeof output->count[0] * output->layout.categorical);

    uint64_t cut = 0;
    if (!machine_run(&machine, plan->code, output, &cut)) {
        return base_error_set(error, BASE_EFORMAT, "%s", machine.problem);
    }
    output->cut += cut;
    return 0;
}

struct consumer_output *consumer_output_new(struct base_columns_layout layout)
{
    assert(layout.categorical <= BASE_CATEGORICAL_MAX && layout.numeric <= BASE_NUMERIC_MAX);
    struct consumer_output *output = base_alloc_zeroed(1, sizeof *output);
    size_t most = base_columns_header_size(layout) +
                  layout.categorical * (size_t)BASE_COLUMN_KEYS_MAX * sizeof(uint64_t);
    output->layout = layout;
    output->numeric = base_alloc_zeroed(layout.numeric, sizeof *output->numeric);
    output->count = base_alloc_zeroed(layout.categorical, sizeof *output->count);
    output->keys = base_alloc(layout.categorical * sizeof(uint64_t) * CONSUMER_OUTPUT_STRIDE);
    output->columns = base_alloc(most);
    return output;
}

void consumer_output_free(struct consumer_output *output)
{
    if (!output) {
        return;
    }
    free(output->numeric);
    free(output->count);
    free(output->keys);
    free(output->columns);
    free(output);
}

struct base_span consumer_output_columns(struct consumer_output *output)
{
    uint8_t *bytes = (uint8_t *)output->columns;
    size_t header = base_columns_header_size(output->layout);
    memset(bytes, 0, header);
    memcpy(bytes, output->count, output->layout.categorical * sizeof *output->count);
    size_t numeric = output->layout.numeric * sizeof *output->numeric;
    memcpy(bytes + header - numeric, output->numeric, numeric);
    size_t size = header;
    for (uint32_t i = 0; i < output->layout.categorical; i++) {
        size_t keys = output->count[i] * sizeof(uint64_t);
        memcpy(bytes + size, output->keys + (size_t)i * CONSUMER_OUTPUT_STRIDE, keys);
        size += keys;
    }
    return base_span_make(bytes, size);
}
