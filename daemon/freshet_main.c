// freshet: the command-line frame around the table of commands (command.h).
#include <stdio.h>
#include <string.h>

#include "daemon/command.h"
#include "trainer/blas.h"

static void print_usage(FILE *out)
{
    fprintf(out, "usage: freshet COMMAND [OPTIONS]\n\ncommands:\n");
    for (size_t i = 0; i < daemon_commands_count; i++) {
        fprintf(out, "  %-10s %s\n", daemon_commands[i].name, daemon_commands[i].summary);
    }
    fprintf(out, "\n  freshet COMMAND --help   a command's options\n"
                 "  freshet --version\n");
}

int main(int argc, char **argv)
{
    trainer_blas_pin(argv); // first: it may run this program anew, with the right kernels
    const char *name = argc > 1 ? argv[1] : "";
    if (strcmp(name, "--version") == 0) {
        printf("freshet %s\n", FRESHET_VERSION);
        return 0;
    }
    if (strcmp(name, "help") == 0 || strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
        print_usage(stdout);
        return 0;
    }
    for (size_t i = 0; i < daemon_commands_count; i++) {
        if (strcmp(daemon_commands[i].name, name) == 0) {
            return daemon_commands[i].run(argc - 1, argv + 1);
        }
    }
    if (name[0]) {
        fprintf(stderr, "freshet: no command \"%s\"\n", name);
    }
    print_usage(stderr);
    return 2;
}
