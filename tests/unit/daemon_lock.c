// Tests of the state directory's lock: another process, one that was killed, this process, and what cannot
// be.
#include "daemon/lock.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/scratch.h"
#include "daemon_support.h"

static char directory[DAEMON_SCRATCH_MAX];
static struct base_error error;

static void make(void)
{
    cr_assert_eq(daemon_scratch_make("lock", directory, &error), 0, "%s", error.text);
}

static void clean(void)
{
    cr_assert_eq(daemon_scratch_remove(directory, &error), 0, "%s", error.text);
}

TestSuite(daemon_lock, .init = make, .fini = clean);

// A child that holds the lock of `path` until it is killed; returns once it does.
static pid_t holder(const char *path)
{
    int ready[2];
    cr_assert_eq(pipe(ready), 0);
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        struct base_error reason;
        char answer = daemon_lock_take(path, &reason) ? 'y' : 'n';
        if (write(ready[1], &answer, 1) == 1) {
            pause();
        }
        _exit(1);
    }
    char answer = 0;
    cr_assert_eq(read(ready[0], &answer, 1), 1);
    cr_assert_eq(answer, 'y');
    close(ready[0]);
    close(ready[1]);
    return pid;
}

static void end(pid_t pid)
{
    kill(pid, SIGKILL);
    cr_assert_eq(waitpid(pid, NULL, 0), pid);
}

Test(daemon_lock, of_another_process_is_refused_until_that_has_ended)
{
    char path[DAEMON_SCRATCH_MAX + 8], expected[256];
    snprintf(path, sizeof path, "%s/state", directory); // made by the child
    pid_t pid = holder(path);
    snprintf(expected, sizeof expected, "another process (pid %ld) uses %s", (long)pid, path);
    for (int i = 0; i < 2; i++) { // asking changes nothing
        cr_assert_null(daemon_lock_take(path, &error));
        cr_assert_eq(error.code, BASE_ECONFLICT);
        cr_assert_str_eq(error.text, expected);
    }
    end(pid);
    struct daemon_lock *lock = daemon_lock_take(path, &error);
    cr_assert(lock, "%s", error.text);
    daemon_lock_free(lock);
}

Test(daemon_lock, is_given_up)
{
    struct daemon_lock *lock = daemon_lock_take(directory, &error);
    cr_assert(lock, "%s", error.text);
    cr_assert_null(daemon_lock_take(directory, &error), "two pipelines in one process would not do either");
    daemon_lock_free(lock);
    lock = daemon_lock_take(directory, &error);
    cr_assert(lock, "%s", error.text);
    daemon_lock_free(lock);
    daemon_lock_free(NULL);
}

Test(daemon_lock, needs_a_directory)
{
    cr_assert_null(daemon_lock_take("/nonexistent/state", &error));
    cr_assert_eq(error.code, BASE_EIO);
    cr_assert(strstr(error.text, "/nonexistent/state"), "%s", error.text);
    cr_assert_null(daemon_lock_take("/dev/null", &error));
    cr_assert_eq(error.code, BASE_EIO);
}

Test(daemon_lock, keeps_replay_out)
{
    char config[DAEMON_SCRATCH_MAX + 16], expected[256];
    snprintf(config, sizeof config, "%s/c.yaml", directory);
    FILE *file = fopen(config, "w");
    cr_assert(file);
    fprintf(file, "state_dir: %s\nsource: {kind: files, path: x}\nslots: [{name: user_id}]\n", directory);
    fclose(file);
    pid_t pid = holder(directory);
    struct support_outcome *outcome =
        support_command(daemon_command_replay, "replay",
                        (const char *const[]){"-c", config, "--state-dir", directory, "--quiet", NULL});
    snprintf(expected, sizeof expected, "freshet replay: another process (pid %ld) uses %s\n", (long)pid,
             directory);
    cr_assert_eq(outcome->status, 1);
    cr_assert_str_eq(outcome->err, expected);
    free(outcome);
    end(pid);
}
