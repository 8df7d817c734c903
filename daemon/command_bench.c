// freshet bench: the benchmarks, one JSON object a line, each with the ratio to its limit measured in the
// same run.
//
// They run in a child, whose temporary directories lie within one of ours: however the child ends, by Ctrl-C
// too, its Redis and its broker end with it, and the directory goes.
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "daemon/bench.h"
#include "daemon/command.h"
#include "daemon/scratch.h"
#include "daemon/signals.h"

static const struct {
    const char *name;
    int (*run)(FILE *out);
    const char *summary;
} benches[] = {
    {"gemm", daemon_bench_gemm, "SGEMM limit of one core at 256 x 384 x 1536"},
    {"network", daemon_bench_network, "the dense half of a training step"},
    {"train", daemon_bench_train, "a whole training step of the reference model"},
    {"cut", daemon_bench_cut, "a cut of 10 M rows while the model trains, and its restoring"},
    {"decode", daemon_bench_decode, "Avro records into events"},
    {"join", daemon_bench_join, "three topics joined into samples"},
    {"consumer", daemon_bench_consumer, "three topics decoded and joined: files to samples"},
    {"publish", daemon_bench_publish, "rows into Redis"},
    {"reader", daemon_bench_reader, "a reader's bootstrap from Redis"},
    {"pipeline", daemon_bench_pipeline, "a topic's content through the whole daemon into Redis"},
};

enum {
    BENCHES = sizeof benches / sizeof *benches,
    BENCH_LOOK_MS = 200,
    BENCH_REMOVE_MAX = 50, // attempts, 20 ms apart: what the child had started may take a moment to end
    BENCH_SIGNALLED = 128,
};

struct bench_wish {
    bool wanted[BENCHES];
    const char *body; // of train, instead of the benchmark by that name; NULL
};

static int usage(FILE *out, int status)
{
    fprintf(out, "usage: freshet bench [NAME...]\n       freshet bench train --body BODY|all\n"
                 "Prints one JSON object a line. Without a name: all of them.\n\n");
    for (int i = 0; i < BENCHES; i++) {
        fprintf(out, "  %-9s %s\n", benches[i].name, benches[i].summary);
    }
    fputs("\nWith FRESHET_BENCH_KAFKA=HOST:PORT pipeline reads from that broker, not from an embedded one; "
          "with\n"
          "FRESHET_BENCH_KAFKA_PID too its processor time is not counted. tests/bench/daemon.sh does both.\n",
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

// The child's life.
static void bench_child(const struct bench_wish *wish, const char *directory, pid_t parent)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setenv("TMPDIR", directory, 1);
    int status = getppid() == parent ? 0 : 1;
    for (int i = 0; i < BENCHES && getppid() == parent; i++) {
        if (wish->wanted[i]) {
            status |= benches[i].run(stdout);
            fflush(stdout);
        }
    }
    if (wish->body) {
        status |= daemon_bench_train_body(wish->body, stdout);
        fflush(stdout);
    }
    _exit(status);
}

// Waits for the child's end, or for a signal, which ends it. The exit status.
static int bench_wait(pid_t pid, struct daemon_signals *signals)
{
    int status, number = 0;
    pid_t ended;
    while ((ended = waitpid(pid, &status, WNOHANG)) == 0 && !daemon_signals_ends(number) &&
           number != SIGHUP) {
        number = daemon_signals_wait(signals, BENCH_LOOK_MS);
    }
    if (ended == 0) {
        kill(pid, SIGKILL);
        waitpid(pid, &status, 0);
        return BENCH_SIGNALLED + number;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : BENCH_SIGNALLED + WTERMSIG(status);
}

static int bench_run(const struct bench_wish *wish)
{
    char directory[DAEMON_SCRATCH_MAX] = "";
    struct base_error error = {0};
    int status = 1;
    pid_t parent = getpid(), pid = -1;
    struct daemon_signals *signals = daemon_signals_new(&error);
    fflush(NULL); // what is buffered is printed once
    if (signals && daemon_scratch_make("bench", directory, &error) == 0 && (pid = fork()) < 0) {
        base_error_set_errno(&error, BASE_EIO, errno, "fork");
    }
    if (pid == 0) {
        bench_child(wish, directory, parent);
    } else if (pid > 0) {
        status = bench_wait(pid, signals);
    }
    for (int i = 0; daemon_scratch_remove(directory, &error) && i < BENCH_REMOVE_MAX; i++) {
        nanosleep(&(struct timespec){.tv_nsec = 20 * 1000000L}, NULL);
    }
    if (pid < 0 || access(directory, F_OK) == 0) {
        fprintf(stderr, "freshet bench: %s\n", error.text);
    }
    daemon_signals_free(signals);
    return status;
}

int daemon_command_bench(int argc, char **argv)
{
    struct bench_wish wish = {0};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            return usage(stdout, 0);
        }
        if (strcmp(argv[i], "--body") == 0 && i > 1 && strcmp(argv[i - 1], "train") == 0) {
            wish.body = ++i < argc ? argv[i] : "";
            wish.wanted[bench_find("train")] = false;
            if (!daemon_bench_train_knows(wish.body)) {
                fprintf(stderr, "freshet bench: no body \"%s\"\n", wish.body);
                return usage(stderr, 2);
            }
            continue;
        }
        int bench = bench_find(argv[i]);
        if (bench < 0) {
            fprintf(stderr, "freshet bench: no benchmark \"%s\"\n", argv[i]);
            return usage(stderr, 2);
        }
        wish.wanted[bench] = true;
    }
    for (int i = 0; i < BENCHES && argc == 1; i++) {
        wish.wanted[i] = true;
    }
    return bench_run(&wish);
}
