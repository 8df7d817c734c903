// The commands of `freshet`: one function each, in daemon/command_<name>.c; the table is in command.c.
//
// argv[0] is the command's name. The return value is the exit status: 0 done, 1 failed (one sentence went to
// standard error), 2 wrong usage. Results go to standard output, everything else to standard error. --help
// prints the usage on standard output and returns 0.
#ifndef DAEMON_COMMAND_H
#define DAEMON_COMMAND_H

#include <stddef.h>

typedef int daemon_command(int argc, char **argv);

int daemon_command_check(int argc, char **argv);
int daemon_command_generate(int argc, char **argv);
int daemon_command_replay(int argc, char **argv);
int daemon_command_score(int argc, char **argv);
int daemon_command_demo(int argc, char **argv);
int daemon_command_cuts(int argc, char **argv);
int daemon_command_skip(int argc, char **argv);
int daemon_command_versions(int argc, char **argv);
int daemon_command_bench(int argc, char **argv);

struct daemon_command_row {
    const char *name;
    daemon_command *run;
    const char *summary;
};

extern const struct daemon_command_row daemon_commands[];
extern const size_t daemon_commands_count;

#endif
