// Signals through signalfd(2): no handler, so no code that runs at any instruction.
#include "daemon/signals.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
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

// The signal that is there, or 0.
static int signals_read(const struct daemon_signals *signals)
{
    struct signalfd_siginfo info;
    return read(signals->fd, &info, sizeof info) == (ssize_t)sizeof info ? (int)info.ssi_signo : 0;
}

int daemon_signals_wait(struct daemon_signals *signals, int timeout_ms)
{
    struct pollfd ready = {.fd = signals->fd, .events = POLLIN};
    return poll(&ready, 1, timeout_ms) > 0 ? signals_read(signals) : 0;
}

bool daemon_signals_ends(int number)
{
    return number == SIGTERM || number == SIGINT;
}

int daemon_signals_fd(const struct daemon_signals *signals)
{
    return signals->fd;
}

// ---- the watch ----

struct daemon_signals_watch {
    struct daemon_signals *signals;
    void (*seen)(void *context, int number);
    void *context;
    int stop; // an eventfd
    pthread_t thread;
};

static void *watch_main(void *argument)
{
    const struct daemon_signals_watch *watch = argument;
    struct pollfd ready[] = {{.fd = watch->signals->fd, .events = POLLIN},
                             {.fd = watch->stop, .events = POLLIN}};
    while (!ready[1].revents) {
        if (poll(ready, 2, -1) > 0 && ready[0].revents) {
            int number = signals_read(watch->signals);
            if (number) {
                watch->seen(watch->context, number);
            }
        }
    }
    return NULL;
}

struct daemon_signals_watch *daemon_signals_watch_new(struct daemon_signals *signals,
                                                      void (*seen)(void *context, int number), void *context,
                                                      struct base_error *error)
{
    int stop = eventfd(0, EFD_CLOEXEC);
    if (stop < 0) {
        base_error_set_errno(error, BASE_EIO, errno, "cannot make a descriptor for the watch of signals");
        return NULL;
    }
    struct daemon_signals_watch *watch = base_alloc_zeroed(1, sizeof *watch);
    *watch =
        (struct daemon_signals_watch){.signals = signals, .seen = seen, .context = context, .stop = stop};
    int failed = pthread_create(&watch->thread, NULL, watch_main, watch);
    if (failed) {
        base_error_set_errno(error, BASE_EIO, failed, "cannot start the watch of signals");
        close(stop);
        free(watch);
        return NULL;
    }
    return watch;
}

void daemon_signals_watch_free(struct daemon_signals_watch *watch)
{
    if (watch) {
        eventfd_write(watch->stop, 1);
        pthread_join(watch->thread, NULL);
        close(watch->stop);
        free(watch);
    }
}
