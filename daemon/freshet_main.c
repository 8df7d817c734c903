// freshet: the command-line frame. One table of commands; each lives in daemon/command_<name>.c.
#include <stdio.h>
#include <string.h>

#include "daemon/command.h"
#include "trainer/blas.h"

static const struct {
    const char *name;
    daemon_command *run;
    const char *summary;
} commands[] = {
    {"bench", daemon_command_bench, "measure this machine: one JSON object a benchmark"},
    {"check", daemon_command_check, "check a configuration; print its plan and needs, or the reference page"},
    {"demo", daemon_command_demo,
     "the main job, live: private Redis, embedded broker, freshetd, a model that learns"},
    {"generate", daemon_command_generate,
     "write a simulated marketplace with a known truth, to Kafka or files"},
    {"replay", daemon_command_replay,
     "join and train over a bounded source; print counts and the weight hash"},
    {"score", daemon_command_score, "score impressions with the version that Redis holds"},
    {"versions", daemon_command_versions, "show what is published under a model's name"},
};

static void print_usage(FILE *out)
{
    fprintf(out, "usage: freshet COMMAND [OPTIONS]\n\ncommands:\n");
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].summary);
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
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(commands[i].name, name) == 0) {
            return commands[i].run(argc - 1, argv + 1);
        }
    }
    if (name[0]) {
        fprintf(stderr, "freshet: no command \"%s\"\n", name);
    }
    print_usage(stderr);
    return 2;
}
