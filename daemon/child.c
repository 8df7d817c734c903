// A program that we run and end. See child.h.
#include "daemon/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    START_TIMEOUT_MS = 20000,
    STOP_TIMEOUT_MS = 15000,
    STEP_MS = 20,
    LOG_TAIL = 300, // bytes of a log in an error's text
};

static void child_nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = STEP_MS * 1000000L}, NULL);
}

int daemon_child_error(const struct daemon_child *child, const char *what, struct base_error *error)
{
    char tail[LOG_TAIL + 1] = "";
    FILE *file = fopen(child->log, "r");
    if (file) {
        if (fseek(file, -LOG_TAIL, SEEK_END) < 0) {
            rewind(file);
        }
        tail[fread(tail, 1, LOG_TAIL, file)] = 0;
        fclose(file);
    }
    return base_error_set(error, BASE_EREFUSED, "%s %s; the end of its log: %s", child->name, what, tail);
}

int daemon_child_start(struct daemon_child *child, const char *name, const char *log, char *const arguments[],
                       struct base_error *error)
{
    *child = (struct daemon_child){.name = name};
    snprintf(child->log, sizeof child->log, "%s", log);
    int output = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (output < 0) {
        return base_error_set_errno(error, BASE_EIO, errno, "%s", log);
    }
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0) {
        setpgid(0, 0);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        if (getppid() == parent && dup2(output, 1) >= 0 && dup2(output, 2) >= 0) {
            execvp(arguments[0], arguments);
            fprintf(stderr, "%s: %m\n", arguments[0]);
        }
        _exit(127);
    }
    int forked = errno;
    close(output);
    if (pid < 0) {
        return base_error_set_errno(error, BASE_EIO, forked, "fork");
    }
    child->pid = pid;
    return 0;
}

bool daemon_child_ended(struct daemon_child *child)
{
    if (child->pid > 0 && waitpid(child->pid, NULL, WNOHANG) == 0) {
        return false;
    }
    child->pid = 0;
    return true;
}

int daemon_child_await(struct daemon_child *child, const char *path, struct base_error *error)
{
    for (int waited = 0; access(path, F_OK) < 0; waited += STEP_MS) {
        if (daemon_child_ended(child)) {
            return daemon_child_error(child, "ended at once", error);
        }
        if (waited >= START_TIMEOUT_MS) {
            return daemon_child_error(child, "did not start in time", error);
        }
        child_nap();
    }
    return 0;
}

void daemon_child_stop(struct daemon_child *child)
{
    if (child->pid <= 0) {
        return;
    }
    kill(child->pid, SIGTERM);
    for (int waited = 0; waited < STOP_TIMEOUT_MS; waited += STEP_MS) {
        if (daemon_child_ended(child)) {
            return;
        }
        child_nap();
    }
    kill(child->pid, SIGKILL);
    waitpid(child->pid, NULL, 0);
    child->pid = 0;
}
