// What the tests of the commands share: a command run with its output caught.
#ifndef TESTS_DAEMON_SUPPORT_H
#define TESTS_DAEMON_SUPPORT_H

#include "daemon/command.h"

enum { DAEMON_SUPPORT_TEXT = 1 << 17, DAEMON_SUPPORT_ARGUMENTS_MAX = 16 };

struct support_outcome {
    int status;
    char out[DAEMON_SUPPORT_TEXT], err[DAEMON_SUPPORT_TEXT];
};

// Runs the command `name` with these arguments, NULL at their end; its standard output and error go to files,
// and from there into the outcome, which the caller frees.
struct support_outcome *support_command(daemon_command *run, const char *name, const char *const *arguments);

#endif
