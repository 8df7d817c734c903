// Fail points: named places in the code where a test makes the process die, or stand still, at exactly that
// moment. freshetd arms one from the environment (FRESHET_FAILPOINT); a point that is not armed costs one
// branch that is never taken.
//
// The armed point is global, the one exception to "no hidden global state": a point lies anywhere, in rooms
// that know nothing of each other, and handing something through all of them for it would cost more than it
// protects. It is set once, before any thread runs, by the program's main alone; a library that is linked
// elsewhere never sees one.
#ifndef BASE_FAILPOINT_H
#define BASE_FAILPOINT_H

#include <stddef.h>

#include "base/error.h"

// All of them: FAILPOINT(name, when). A unit test holds the table and the places in the code together.
// Several places may share a name.
#define BASE_FAILPOINTS(FAILPOINT)                                                                          \
    FAILPOINT("deadletter.written", "a dead letter is in its file, not yet synced")                         \
    FAILPOINT("deadletter.synced", "dead letters are synced, the journal that they rest on is not written") \
    FAILPOINT("journal.written", "decisions are written, not yet synced")                                   \
    FAILPOINT("journal.synced", "decisions are durable, the tick that rests on them is not handled")        \
    FAILPOINT("ingest.saved", "ingest's half of a cut is in memory")                                        \
    FAILPOINT("cut.frozen", "the trainer's half of a cut is frozen, no row copied")                         \
    FAILPOINT("cut.copying", "a portion of a cut's rows is copied, more are left")                          \
    FAILPOINT("cut.copied", "the trainer's half of a cut is complete")                                      \
    FAILPOINT("sync.entry", "a file or directory that a cut rests on is synced, others may not be")         \
    FAILPOINT("store.writing", "a cut's batch is about to be written to the database")                      \
    FAILPOINT("store.written", "a cut's batch is durable, LAST_CUT still names the one before")             \
    FAILPOINT("file.written", "a file that replaces another is whole beside it")                            \
    FAILPOINT("file.renamed", "it has taken the other's name, the directory is not yet synced")             \
    FAILPOINT("cut.named", "LAST_CUT names the new cut, ingest does not know yet")                          \
    FAILPOINT("kept.filled", "a kept cut is whole under a name that does not count")                        \
    FAILPOINT("kept.named", "a kept cut has its name, the directory is not yet synced")                     \
    FAILPOINT("segments.unlinked", "a segment that no cut needs is removed")                                \
    FAILPOINT("segments.trimmed", "at a restart, what lies behind a log's saved end is cut off")            \
    FAILPOINT("segments.made", "a new segment of a journey log exists, its directory not yet synced")       \
    FAILPOINT("segments.flushed", "a journey log's buffer is written, not yet synced")                      \
    FAILPOINT("epoch.taken", "the epoch is taken in Redis, head not yet looked at")                         \
    FAILPOINT("publish.begun", "a version's number is chosen, nothing of it is in Redis")                   \
    FAILPOINT("publish.chunk", "a chunk, list or manifest of a version is sent")                            \
    FAILPOINT("publish.uploaded", "all of a version is in Redis, head does not name it")                    \
    FAILPOINT("publish.sent", "the move of head is sent, its reply not read")                               \
    FAILPOINT("publish.moved", "head is moved, as the reply says; nobody knows of it yet")

// The armed point's name; NULL: none. Written by base_failpoint_arm only.
extern const char *base_failpoint_armed;

// Point i of the table; NULL beyond its end. *when is what the table says of it (may be NULL).
const char *base_failpoint_name(size_t i, const char **when);

// Arms one: "name", "name:n" or "name:n:stop". At the n-th time (1 if not given) that the point is passed, by
// any thread, the process says so on standard error and dies by SIGKILL, or is stopped by SIGSTOP and goes on
// by SIGCONT. NULL or "" disarms. For a program's main, before it makes threads. Errors: BASE_EINVAL (an
// unknown name, not a count).
int base_failpoint_arm(const char *text, struct base_error *error);

// Not for calling: base_failpoint's other half.
void base_failpoint_pass(const char *name);

// A place. `name` is of the table. Any thread.
static inline void base_failpoint(const char *name)
{
    if (base_failpoint_armed) {
        base_failpoint_pass(name);
    }
}

#endif
