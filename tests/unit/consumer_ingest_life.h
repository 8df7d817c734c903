// Ingest's lives, for the tests of its restarts: a world with a journal, dead letters and a saved state.
#ifndef TESTS_CONSUMER_INGEST_LIFE_H
#define TESTS_CONSUMER_INGEST_LIFE_H

#include "consumer/journal.h"
#include "consumer_ingest_world.h"

struct life {
    struct world world;
    char journal_directory[SUPPORT_DIRECTORY_MAX + 16], letters[SUPPORT_DIRECTORY_MAX + 16],
        lanes[SUPPORT_DIRECTORY_MAX + 16];
    struct consumer_journal_config journal_config;
    struct base_buffer state; // empty: none
    uint64_t cut;
};

// One lane, an unbounded source, no idleness, no records from more than 1000 ms ahead.
void life_begin(struct life *life);
void life_end(struct life *life);

// A life from the saved state, or afresh: the parts, all together, or -1 with world.error.
void life_open_journal(struct life *life); // and dead letters
void life_seek(struct life *life);         // sets the source to where it has to begin
int life_try(struct life *life);
void life_open(struct life *life); // that must not fail
void life_close(struct life *life);
void life_save(struct life *life);

void life_steps(struct life *life, int steps);
const struct base_error *life_fail(struct life *life); // the error that a step ends with

void life_add_all(struct life *life, const char *id, int64_t time); // to every topic
void life_add_future(struct life *life, int64_t timestamp);
void life_change_record(struct life *life, uint32_t rank, uint32_t index); // another value of the same size
// Two records a topic are read, then it is closed: the second is not handled, the first is the last before
// it.
void life_two(struct life *life);

#endif
