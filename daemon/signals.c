// Signals through signalfd(2): no handler, so no code that runs at any instruction.
#include "daemon/signals.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/bytes.h"

struct daemon_signals {
    int fd;
};

struct daemon_signals *daemon_signals_new(struct base_error *error)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2};
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        sigaddset(&set, numbers[i]);
    }
    int status = pthread_sigmask(SIG_BLOCK, &set, NULL);
    if (status != 0) {
        base_error_set_errno(error, BASE_EIO, status, "cannot block signals");
        return NULL;
    }
    signal(SIGPIPE, SIG_IGN);
    int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0) {
        base_error_set_errno(error, BASE_EIO, errno, "cannot make a descriptor for signals");
        return NULL;
    }
    struct daemon_signals *signals = base_alloc_zeroed(1, sizeof *signals);
    signals->fd = fd;
    return signals;
}

void daemon_signals_free(struct daemon_signals *signals)
{
    if (!signals) {
        return;
    }
    close(signals->fd);
    free(signals);
}

int daemon_signals_wait(struct daemon_signals *signals, int timeout_ms)
{
    struct pollfd ready = {.fd = signals->fd, .events = POLLIN};
    struct signalfd_siginfo info;
    if (poll(&ready, 1, timeout_ms) <= 0 || read(signals->fd, &info, sizeof info) != (ssize_t)sizeof info) {
        return 0;
    }
    return (int)info.ssi_signo;
}

bool daemon_signals_ends(int number)
{
    return number == SIGTERM || number == SIGINT;
}

int daemon_signals_fd(const struct daemon_signals *signals)
{
    return signals->fd;
}
