// freshet bench: the benchmarks, one JSON object a line, each with the ratio to its limit measured in the
// same run.
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/bench.h"
#include "daemon/command.h"

static const struct {
    const char *name;
    int (*run)(FILE *out);
    const char *summary;
} benches[] = {
    {"gemm", daemon_bench_gemm, "SGEMM limit of one core at 256 x 384 x 1536"},
    {"network", daemon_bench_network, "the dense half of a training step"},
    {"train", daemon_bench_train, "a whole training step of the reference model"},
    {"decode", daemon_bench_decode, "Avro records into events"},
    {"join", daemon_bench_join, "three topics joined into samples"},
    {"consumer", daemon_bench_consumer, "three topics decoded and joined: files to samples"},
    {"publish", daemon_bench_publish, "rows into Redis"},
    {"reader", daemon_bench_reader, "a reader's bootstrap from Redis"},
    {"pipeline", daemon_bench_pipeline, "a topic's content through the whole daemon into Redis"},
};

enum { BENCHES = sizeof benches / sizeof *benches };

static int usage(FILE *out, int status)
{
    fprintf(
        out,
        "usage: freshet bench [NAME...]\nPrints one JSON object a line. Without a name: all of them.\n\n");
    for (int i = 0; i < BENCHES; i++) {
        fprintf(out, "  %-9s %s\n", benches[i].name, benches[i].summary);
    }
    fputs("\nWith FRESHET_BENCH_KAFKA=HOST:PORT pipeline reads from that broker, not from an embedded one.\n",
          out);
    return status;
}

static int bench_find(const char *name)
{
    for (int i = 0; i < BENCHES; i++) {
        if (strcmp(benches[i].name, name) == 0) {
            return i;
        }
    }
    return -1;
}

int daemon_command_bench(int argc, char **argv)
{
    bool wanted[BENCHES] = {0};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            return usage(stdout, 0);
        }
        int bench = bench_find(argv[i]);
        if (bench < 0) {
            fprintf(stderr, "freshet bench: no benchmark \"%s\"\n", argv[i]);
            return usage(stderr, 2);
        }
        wanted[bench] = true;
    }
    int status = 0;
    for (int i = 0; i < BENCHES; i++) {
        if (argc == 1 || wanted[i]) {
            status |= benches[i].run(stdout);
            fflush(stdout);
        }
    }
    return status;
}
