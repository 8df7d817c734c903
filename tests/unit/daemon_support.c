// A command run with its output caught. See daemon_support.h.
#include "daemon_support.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void read_back(FILE *file, char *text)
{
    rewind(file);
    text[fread(text, 1, DAEMON_SUPPORT_TEXT - 1, file)] = '\0';
    fclose(file);
}

struct support_outcome *support_command(daemon_command *run, const char *name, const char *const *arguments)
{
    // Copies: a command may cut its arguments, and getopt changes their order.
    char *copies[DAEMON_SUPPORT_ARGUMENTS_MAX], *argv[DAEMON_SUPPORT_ARGUMENTS_MAX] = {0};
    int argc = 0;
    for (; argc == 0 || arguments[argc - 1]; argc++) {
        cr_assert_lt(argc, DAEMON_SUPPORT_ARGUMENTS_MAX - 1);
        argv[argc] = copies[argc] = strdup(argc == 0 ? name : arguments[argc - 1]);
    }
    struct support_outcome *outcome = calloc(1, sizeof *outcome);
    FILE *out = tmpfile(), *err = tmpfile();
    cr_assert(outcome && out && err);
    fflush(NULL);
    int saved_out = dup(1), saved_err = dup(2);
    dup2(fileno(out), 1);
    dup2(fileno(err), 2);
    outcome->status = run(argc, argv);
    fflush(NULL);
    dup2(saved_out, 1);
    dup2(saved_err, 2);
    close(saved_out);
    close(saved_err);
    read_back(out, outcome->out);
    read_back(err, outcome->err);
    for (int i = 0; i < argc; i++) {
        free(copies[i]);
    }
    return outcome;
}
