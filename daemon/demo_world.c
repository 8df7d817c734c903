// The processes of a demonstration. See demo_world.h.
#include "daemon/demo_world.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "daemon/broker.h"
#include "daemon/market.h"

enum {
    DIRECTORY_MAX = 96, // a unix socket's path has to fit
    FILE_MAX = 256,
    START_TIMEOUT_MS = 20000,
    STOP_TIMEOUT_MS = 15000,
    STEP_MS = 20,
    LOG_TAIL = 300, // bytes of a log in an error's text
};

struct child {
    const char *name; // and "<name>.log" in the directory
    pid_t pid;        // 0: none, or ended
};

struct daemon_demo_world {
    char directory[DIRECTORY_MAX];
    char socket[FILE_MAX], config[FILE_MAX], status[FILE_MAX];
    struct daemon_broker *broker;
    struct child redis, daemon;
};

static void world_nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = STEP_MS * 1000000L}, NULL);
}

// Puts the end of a child's log behind the error's text.
static int world_error_log(const struct daemon_demo_world *world, const struct child *child, const char *what,
                           struct base_error *error)
{
    char path[FILE_MAX], tail[LOG_TAIL + 1] = "";
    snprintf(path, sizeof path, "%s/%s.log", world->directory, child->name);
    FILE *file = fopen(path, "r");
    if (file) {
        if (fseek(file, -LOG_TAIL, SEEK_END) < 0) {
            rewind(file);
        }
        tail[fread(tail, 1, LOG_TAIL, file)] = 0;
        fclose(file);
    }
    return base_error_set(error, BASE_EREFUSED, "%s %s; the end of its log: %s", child->name, what, tail);
}

// Starts a program with its output in "<name>.log".
static int child_start(const struct daemon_demo_world *world, struct child *child, char *const arguments[],
                       struct base_error *error)
{
    char path[FILE_MAX];
    snprintf(path, sizeof path, "%s/%s.log", world->directory, child->name);
    int log = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (log < 0) {
        return base_error_set_errno(error, BASE_EIO, errno, "%s", path);
    }
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0) {
        // A group of its own: Ctrl-C is for us, and we end it in order. If we are killed, so is it.
        setpgid(0, 0);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        if (getppid() == parent && dup2(log, 1) >= 0 && dup2(log, 2) >= 0) {
            execvp(arguments[0], arguments);
            fprintf(stderr, "%s: %m\n", arguments[0]);
        }
        _exit(127);
    }
    int forked = errno;
    close(log);
    if (pid < 0) {
        return base_error_set_errno(error, BASE_EIO, forked, "fork");
    }
    child->pid = pid;
    return 0;
}

// Whether it has ended; then it is no more.
static bool child_ended(struct child *child)
{
    if (child->pid > 0 && waitpid(child->pid, NULL, WNOHANG) == 0) {
        return false;
    }
    child->pid = 0;
    return true;
}

static void child_stop(struct child *child)
{
    if (child->pid <= 0) {
        return;
    }
    kill(child->pid, SIGTERM);
    for (int waited = 0; waited < STOP_TIMEOUT_MS; waited += STEP_MS) {
        if (child_ended(child)) {
            return;
        }
        world_nap();
    }
    kill(child->pid, SIGKILL);
    waitpid(child->pid, NULL, 0);
    child->pid = 0;
}

static int world_await_file(struct daemon_demo_world *world, struct child *child, const char *path,
                            struct base_error *error)
{
    for (int waited = 0; access(path, F_OK) < 0; waited += STEP_MS) {
        if (child_ended(child)) {
            return world_error_log(world, child, "ended at once", error);
        }
        if (waited >= START_TIMEOUT_MS) {
            return world_error_log(world, child, "did not start in time", error);
        }
        world_nap();
    }
    return 0;
}

static int world_start_redis(struct daemon_demo_world *world, struct base_error *error)
{
    char *arguments[] = {
        "redis-server", "--port", "0",     "--unixsocket",   world->socket,        "--save",     "",
        "--appendonly", "no",     "--dir", world->directory, "--maxmemory-policy", "noeviction", NULL};
    if (child_start(world, &world->redis, arguments, error) < 0) {
        return -1;
    }
    return world_await_file(world, &world->redis, world->socket, error);
}

static void config_features(FILE *file)
{
    fputs("slots:\n", file);
    for (uint32_t s = 0; s < DAEMON_MARKET_SLOTS; s++) {
        const char *name = daemon_market_slot_name(s);
        fprintf(file, "  - {name: %s, path: categorical.%s, dimension: 8}\n", name, name);
    }
    fputs("numerics:\n", file);
    for (uint32_t n = 0; n < DAEMON_MARKET_NUMBERS; n++) {
        const char *name = daemon_market_number_name(n);
        fprintf(file, "  - {name: %s, path: numeric.%s}\n", name, name);
    }
}

static int world_write_config(const struct daemon_demo_world *world, const char *const topics[3],
                              struct base_error *error)
{
    FILE *file = fopen(world->config, "w");
    if (!file) {
        return base_error_set_errno(error, BASE_EIO, errno, "%s", world->config);
    }
    fprintf(
        file,
        "state_dir: state\n"
        "tick: 250ms\n"
        "idle_timeout: 2s\n"
        "orphan_timeout: 10s\n"
        "model:\n"
        "  name: " DAEMON_DEMO_MODEL "\n"
        "  batch: 64\n"
        "  levels: [{experts: [64], per_task: 1, shared: 2}]\n"
        "  towers: [32]\n"
        "  rate: {dense: 0.3, sparse: 6}\n"
        "source:\n"
        "  kind: kafka\n"
        "  bootstrap: \"%s\"\n"
        "  properties: {fetch.wait.max.ms: 50}\n"
        "impression: {topic: %s, framing: single_object, allowed_lateness: %dms}\n"
        "actions:\n"
        "  - {name: click, topic: %s, framing: single_object, allowed_lateness: %dms, wait: %dms, window: "
        "%dms}\n"
        "  - {name: purchase, topic: %s, framing: single_object, allowed_lateness: %dms, wait: %dms, "
        "window: %dms}\n"
        "redis: {socket: redis.sock}\n"
        "publish: {interval: 1s}\n",
        daemon_broker_bootstrap(world->broker), topics[0], DAEMON_DEMO_LATENESS, topics[1],
        DAEMON_DEMO_LATENESS, DAEMON_DEMO_CLICK_WAIT, DAEMON_DEMO_CLICK_WINDOW, topics[2],
        DAEMON_DEMO_LATENESS, DAEMON_DEMO_PURCHASE_WAIT, DAEMON_DEMO_PURCHASE_WINDOW);
    config_features(file);
    bool failed = ferror(file);
    failed = fclose(file) != 0 || failed;
    return failed ? base_error_set(error, BASE_EIO, "%s: it could not be written", world->config) : 0;
}

static int world_start(struct daemon_demo_world *world, const char *daemon_program,
                       const char *const topics[3], struct base_error *error)
{
    if (!mkdtemp(world->directory)) {
        int failed = errno;
        world->directory[0] = 0;
        return base_error_set_errno(error, BASE_EIO, failed, "a temporary directory");
    }
    char state[FILE_MAX];
    snprintf(world->socket, sizeof world->socket, "%s/redis.sock", world->directory);
    snprintf(world->config, sizeof world->config, "%s/freshet.yaml", world->directory);
    snprintf(state, sizeof state, "%s/state", world->directory);
    snprintf(world->status, sizeof world->status, "%s/state/status.json", world->directory);
    if (mkdir(state, 0700) < 0) {
        return base_error_set_errno(error, BASE_EIO, errno, "mkdir %s", state);
    }
    world->broker = daemon_broker_new(topics, DAEMON_MARKET_RANKS, DAEMON_DEMO_LANES, error);
    if (!world->broker || world_start_redis(world, error) < 0 ||
        world_write_config(world, topics, error) < 0) {
        return -1;
    }
    char *arguments[] = {(char *)(uintptr_t)daemon_program, "-c", world->config, NULL};
    if (child_start(world, &world->daemon, arguments, error) < 0) {
        return -1;
    }
    return world_await_file(world, &world->daemon, world->status, error);
}

struct daemon_demo_world *daemon_demo_world_new(const char *daemon_program, const char *const topics[3],
                                                struct base_error *error)
{
    struct daemon_demo_world *world = base_alloc_zeroed(1, sizeof *world);
    world->redis.name = "redis-server";
    world->daemon.name = "freshetd";
    const char *temporary = getenv("TMPDIR");
    snprintf(world->directory, sizeof world->directory, "%s/freshet-demo-XXXXXX",
             temporary ? temporary : "/tmp");
    if (world_start(world, daemon_program, topics, error) < 0) {
        daemon_demo_world_free(world);
        return NULL;
    }
    return world;
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status;
    (void)type;
    (void)walk;
    return remove(path);
}

void daemon_demo_world_free(struct daemon_demo_world *world)
{
    if (!world) {
        return;
    }
    child_stop(&world->daemon);
    daemon_broker_free(world->broker);
    child_stop(&world->redis);
    if (world->directory[0]) {
        nftw(world->directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    }
    free(world);
}

const char *daemon_demo_world_bootstrap(const struct daemon_demo_world *world)
{
    return daemon_broker_bootstrap(world->broker);
}

const char *daemon_demo_world_redis(const struct daemon_demo_world *world)
{
    return world->socket;
}

const char *daemon_demo_world_status(const struct daemon_demo_world *world)
{
    return world->status;
}

int daemon_demo_world_check(struct daemon_demo_world *world, struct base_error *error)
{
    if (child_ended(&world->daemon)) {
        return world_error_log(world, &world->daemon, "has ended", error);
    }
    if (child_ended(&world->redis)) {
        return world_error_log(world, &world->redis, "has ended", error);
    }
    return 0;
}
