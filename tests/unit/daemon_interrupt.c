// Commands that are interrupted: they end soon, with the signal's exit status, and leave no temporary files.
// The program itself is run, which is built beside this test.
#include <criterion/criterion.h>
#include <glob.h>
#include <libgen.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "daemon/market.h"
#include "daemon/produce.h"
#include "daemon/scratch.h"
#include "daemon/signals.h"

enum { PATH_BYTES = DAEMON_SCRATCH_MAX + 64, STEP_MS = 10, PATIENCE_MS = 60000 };

static char directory[DAEMON_SCRATCH_MAX], temporary[PATH_BYTES], config[PATH_BYTES];
static char program[4096]; // <build>/freshet; this is <build>/tests/test_daemon
static struct base_error error;

static void make(void)
{
    cr_assert_eq(daemon_scratch_make("test", directory, &error), 0, "%s", error.text);
    char own[sizeof program - 16];
    ssize_t size = readlink("/proc/self/exe", own, sizeof own - 1);
    cr_assert_gt(size, 0);
    own[size] = '\0';
    snprintf(program, sizeof program, "%s/../freshet", dirname(own));
    snprintf(temporary, sizeof temporary, "%s/tmp", directory);
    snprintf(config, sizeof config, "%s/c.yaml", directory);
    cr_assert_eq(mkdir(temporary, 0700), 0);
    setenv("TMPDIR", temporary, 1);
}

static void clean(void)
{
    cr_assert_eq(daemon_scratch_remove(directory, &error), 0, "%s", error.text);
}

TestSuite(daemon_interrupt, .init = make, .fini = clean);

static void nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = STEP_MS * 1000000L}, NULL);
}

// How many files there are of the pattern below the temporary directory.
static size_t count(const char *pattern)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/%s", temporary, pattern);
    glob_t found;
    size_t matches = glob(path, 0, NULL, &found) == 0 ? found.gl_pathc : 0;
    globfree(&found);
    return matches;
}

// Runs `freshet` with these arguments, sends it the signal once there is a file of the pattern, and again if
// `twice`; returns its exit status.
static int interrupt(char *const *arguments, const char *pattern, int number, bool twice)
{
    fflush(NULL);
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        execv(arguments[0], arguments);
        _exit(127);
    }
    int status = 0, waited = 0;
    for (; count(pattern) == 0; waited += STEP_MS) {
        cr_assert_eq(waitpid(pid, &status, WNOHANG), 0, "it has ended before the signal: %d", status);
        cr_assert_lt(waited, PATIENCE_MS);
        nap();
    }
    kill(pid, number);
    for (int times = 1; waitpid(pid, &status, WNOHANG) == 0; waited += STEP_MS, times++) {
        if (waited >= PATIENCE_MS) {
            kill(pid, SIGKILL);
        }
        if (twice && times == 20) {
            kill(pid, number);
        }
        nap();
    }
    cr_assert(WIFEXITED(status), "it was ended, by signal %d", WTERMSIG(status));
    return WEXITSTATUS(status);
}

static void config_write(const char *source, const char *experts)
{
    FILE *file = fopen(config, "w");
    cr_assert(file);
    fprintf(file,
            "source: %s\n"
            "model: {levels: [{experts: [%s]}], towers: [16], batch: 8}\n"
            "actions: [{name: click, topic: clicks, framing: bare, wait: 30s, window: 1m}]\n"
            "impression: {framing: bare}\n"
            "slots: [{name: item, path: categorical.item}]\n"
            "redis: {socket: '%s/none'}\n",
            source, experts, directory);
    fclose(file);
}

// Files whose impressions take a wide model far longer than this test.
static void files_write(char source[PATH_BYTES])
{
    static const char *const topics[DAEMON_MARKET_RANKS] = {"impressions", "clicks", "purchases"};
    struct daemon_market_config config_market = daemon_market_defaults;
    config_market.impressions = 20000;
    config_market.lanes = 1;
    char files[PATH_BYTES];
    snprintf(files, sizeof files, "%s/files", directory);
    struct daemon_produce_sink *sink = daemon_produce_files_new(files, topics, 1, 1, &error);
    struct daemon_market *market = daemon_market_new(&config_market, &error);
    cr_assert(sink && market, "%s", error.text);
    struct daemon_produce_record record = {0};
    struct daemon_market_event event;
    const struct daemon_market_impression *impression;
    while (daemon_market_next(market, &event, &impression)) {
        daemon_produce_encode(1, &event, impression, &record);
        cr_assert_eq(sink->operations->put(sink, &record, &error), 0, "%s", error.text);
    }
    cr_assert_eq(sink->operations->finish(sink, &error), 0, "%s", error.text);
    sink->operations->free(sink);
    daemon_produce_record_free(&record);
    daemon_market_free(market);
    snprintf(source, PATH_BYTES, "{kind: files, path: %s}", files);
}

static int interrupt_replay(const char *pattern, int number, bool twice)
{
    char *const arguments[] = {program, "replay", "-c", config, "--quiet", twice ? "--publish" : NULL, NULL};
    return interrupt(arguments, pattern, number, twice);
}

Test(daemon_interrupt, replay_that_waits_for_a_broker)
{
    config_write("{kind: kafka, bootstrap: '127.0.0.1:1', timeout: 10m}", "16");
    cr_assert_eq(interrupt_replay("freshet-replay-*/state/LOCK", SIGINT, false), 128 + SIGINT);
    cr_assert_eq(count("*"), 0);
}

Test(daemon_interrupt, replay_that_runs)
{
    char source[PATH_BYTES];
    files_write(source);
    config_write(source, "512, 256");
    cr_assert_eq(interrupt_replay("freshet-replay-*/state/lanes/*", SIGTERM, false), 128 + SIGTERM);
    cr_assert_eq(count("*"), 0);
}

// Redis is not there: the last publication is tried for a while, but not after a second signal.
Test(daemon_interrupt, replay_that_drains)
{
    char source[PATH_BYTES];
    files_write(source);
    config_write(source, "16");
    cr_assert_eq(interrupt_replay("freshet-replay-*/state/lanes/*", SIGHUP, true), 128 + SIGHUP);
    cr_assert_eq(count("*"), 0);
}

Test(daemon_interrupt, bench_with_its_redis)
{
    char *const arguments[] = {program, "bench", "publish", NULL};
    int status = interrupt(arguments, "freshet-bench-*/freshet-bench-*/redis.sock", SIGINT, false);
    cr_assert_eq(status, 128 + SIGINT);
    cr_assert_eq(count("*"), 0);
}

static void note(void *context, int number)
{
    atomic_store((atomic_int *)context, number);
}

Test(daemon_interrupt, watch_sees_signals_until_it_is_freed)
{
    atomic_int seen = 0;
    struct daemon_signals *signals = daemon_signals_new(&error);
    cr_assert(signals, "%s", error.text);
    struct daemon_signals_watch *watch = daemon_signals_watch_new(signals, note, &seen, &error);
    cr_assert(watch, "%s", error.text);
    for (int i = 0; i < 2; i++) {
        int number = i == 0 ? SIGTERM : SIGUSR1;
        kill(getpid(), number);
        for (int waited = 0; seen != number && waited < PATIENCE_MS; waited += STEP_MS) {
            nap();
        }
        cr_assert_eq(seen, number);
    }
    daemon_signals_watch_free(watch);
    daemon_signals_watch_free(NULL);
    kill(getpid(), SIGINT);
    cr_assert_eq(daemon_signals_wait(signals, 1000), SIGINT);
    cr_assert_eq(seen, SIGUSR1);
    daemon_signals_free(signals);
}
