// The instructions of a plan: shared by its compiler (plan.c) and its machine (plan_run.c).
//
// A straight program with forward jumps, loops over blocks, and routines for what may be recursive. A READ
// leaves a value in a register (bytes, integer or real); what follows stores it, as often as it is wanted.
#ifndef CONSUMER_PLAN_CODE_H
#define CONSUMER_PLAN_CODE_H

#include "base/hash.h"
#include "consumer/arena.h"
#include "consumer/plan.h"

enum plan_operation {
    PLAN_END,
    PLAN_FAIL, // text
    PLAN_JUMP, // number: to
    PLAN_CALL, // number: to
    PLAN_RETURN,
    PLAN_UNION, // number: branches; table: where each begins
    PLAN_BLOCK, // number: where to go on after the last block; small: may skip by byte size; wide: least
    PLAN_NEXT,  // the end of an item; number: its PLAN_BLOCK
    PLAN_KEY,   // a map's key; keys: where its value is wanted; number: where it is not
    PLAN_DATA,  // span: read from here until PLAN_DATA_END
    PLAN_DATA_END,
    PLAN_SKIP_BOOLEAN,
    PLAN_SKIP_INT,
    PLAN_SKIP_LONG,
    PLAN_SKIP_ENUM, // number: symbols
    PLAN_SKIP_BYTES,
    PLAN_SKIP_FIXED, // number: bytes
    PLAN_READ_BOOLEAN,
    PLAN_READ_INT,
    PLAN_READ_LONG,
    PLAN_READ_FLOAT,
    PLAN_READ_DOUBLE,
    PLAN_READ_BYTES,
    PLAN_READ_FIXED, // number: bytes
    PLAN_READ_ENUM,  // number: symbols; span: each symbol for the reader, null: it knows none
    PLAN_TO_FLOAT,   // integer register -> real register
    PLAN_TO_DOUBLE,
    PLAN_STORE_TIME,
    PLAN_STORE_MICROS,
    PLAN_STORE_ID_BYTES,    // small: which
    PLAN_STORE_ID_INTEGER,  // small: which
    PLAN_STORE_VALUE,       // small: which; real register
    PLAN_STORE_NUMERIC,     // small: column; real register
    PLAN_STORE_KEY_BYTES,   // small: column; wide: salt
    PLAN_STORE_KEY_INTEGER, // small: column; wide: salt
    PLAN_STORE_STRINGS,     // a whole array of strings into column `small`; wide: salt
    PLAN_CLEAR,             // small: index; number: role
};

struct plan_instruction {
    uint8_t operation;
    uint16_t small;
    uint32_t number;
    union {
        uint64_t wide;
        const char *text;
        const uint32_t *table;
        const struct base_span *span;
        const struct plan_keys *keys;
    };
};

// The wanted keys of a map: open addressing, never full. A null key ends a search.
struct plan_keys {
    uint32_t mask;
    struct plan_key {
        struct base_span key;
        uint32_t to;
    } slot[];
};

static inline uint32_t plan_key_hash(struct base_span key)
{
    return (uint32_t)base_hash_bytes(key, 0);
}

struct consumer_plan {
    struct plan_instruction *code;
    uint32_t count, capacity;
    uint32_t ids;                      // indexes below this are used
    struct base_columns_layout layout; // at least
    struct consumer_arena arena;       // tables, texts, symbols, defaults
};

#endif
