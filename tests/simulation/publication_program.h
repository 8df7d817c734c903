// The programs of the publication's model: two publishers and a reader, real code, each a function of the
// replies it gets.
//
// A program is run from its beginning with a list of inputs (replies, lost connections). It goes on until it
// wants the next one; what it has sent meanwhile, and whether it has ended, is the result. So the explorer
// knows what each program does next without threads, and remembers it by the inputs.
#ifndef TESTS_SIMULATION_PUBLICATION_PROGRAM_H
#define TESTS_SIMULATION_PUBLICATION_PROGRAM_H

#include "publisher/publisher.h"

enum {
    PROGRAM_PUBLISHERS = 2,
    PROGRAM_READER = 2, // its number; the publishers are 0 and 1
    PROGRAMS = 3,
    PROGRAM_PENDING_MAX = 16, // commands sent and not answered
    PROGRAM_VERSIONS = 3,     // that a publisher publishes at most
    PROGRAM_VERSION_LAST = 4,
    PROGRAM_TRIES = 2, // calls for one version
};

struct program_variant {
    const char *name;
    bool kin;          // the second publisher is a later life of the first: the same lineage and content
    double base_ratio; // see publisher_config
    uint32_t follows;  // calls of the reader
};

// Texts that were seen, by number: commands and replies.
struct program_texts {
    struct base_buffer *text;
    uint64_t *hash;
    uint32_t count, capacity;
    uint32_t *index; // [slots] number + 1; 0: free
    uint32_t slots;
};
uint32_t program_text(struct program_texts *texts, struct base_span text);

enum program_input_kind {
    PROGRAM_REPLY,     // to the oldest command sent
    PROGRAM_LOST,      // the connection is lost
    PROGRAM_LOST_LONG, // ... and none can be made until the present call has returned
};

struct program_input {
    enum program_input_kind kind;
    uint32_t text; // reply
};

enum program_end { PROGRAM_RUNS, PROGRAM_DONE, PROGRAM_OUTBID, PROGRAM_GAVE_UP };

struct program_result {
    enum program_end end;                  // RUNS: waits for an input
    uint32_t pending[PROGRAM_PENDING_MAX]; // commands sent and not answered, by text
    uint32_t pending_count;
    uint32_t under_way[PROGRAM_PENDING_MAX]; // those that the last input made it give up: they may still run
    uint32_t under_way_count;
    struct publisher_version
        version;         // a publisher's: the last that it knows to be published; a reader's: held
    int64_t tick;        // of that
    char violation[256]; // what the program itself did wrong; empty: nothing
};

struct program_stage;

// Makes the contents of all versions. Aborts on failure.
struct program_stage *program_stage_new(const struct program_variant *variant);
void program_stage_free(struct program_stage *stage);
struct program_texts *program_stage_texts(struct program_stage *stage);

void program_run(struct program_stage *stage, uint32_t program, const struct program_input *inputs,
                 uint32_t count, struct program_result *result);

// The weight hash of the model that is published with this tick.
uint64_t program_stage_hash(const struct program_stage *stage, int64_t tick);
// Which of the PROGRAM_VERSION_LAST contents a tick is of.
uint32_t program_tick_content(int64_t tick);

extern const char program_model[]; // name

#endif
