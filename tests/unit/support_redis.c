// A private redis-server and a faulty proxy before it. See support_redis.h.
#include "support_redis.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "support_directory.h"

enum {
    OPTIONS_MAX = 16,
    START_TRIES = 500, // of 10 ms
    LINKS_MAX = 256,   // connections through a proxy, ever
    BLOCK = 65536,
};

struct support_redis {
    char directory[SUPPORT_DIRECTORY_MAX];
    char socket[SUPPORT_DIRECTORY_MAX + 16];
    char options[OPTIONS_MAX][64];
    int option_count;
    pid_t pid;
};

static void fail(const char *what)
{
    perror(what);
    abort();
}

static void sleep_ms(long ms)
{
    struct timespec wait = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&wait, NULL);
}

static struct sockaddr_un unix_address(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) {
        fprintf(stderr, "%s is too long for a socket\n", path);
        abort();
    }
    memcpy(address.sun_path, path, strlen(path));
    return address;
}

static int connect_unix(const char *path)
{
    struct sockaddr_un address = unix_address(path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        fail("socket");
    }
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static bool redis_answers(const struct support_redis *redis)
{
    int fd = connect_unix(redis->socket);
    if (fd < 0) {
        return false;
    }
    char reply[8] = "";
    bool answers = send(fd, "PING\r\n", 6, MSG_NOSIGNAL) == 6 && recv(fd, reply, 7, 0) == 7 &&
                   memcmp(reply, "+PONG\r\n", 7) == 0;
    close(fd);
    return answers;
}

static void redis_spawn(struct support_redis *redis)
{
    const char *arguments[32 + OPTIONS_MAX] = {
        "redis-server", "--port", "0",     "--unixsocket",   redis->socket, "--save",  "",
        "--appendonly", "no",     "--dir", redis->directory, "--loglevel",  "warning", "--logfile",
        "/dev/null",
    };
    int count = 15;
    for (int i = 0; i < redis->option_count; i++) {
        arguments[count++] = redis->options[i];
    }
    unlink(redis->socket);
    pid_t parent = getpid();
    redis->pid = fork();
    if (redis->pid < 0) {
        fail("fork");
    }
    if (redis->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) {
            _exit(1);
        }
        execvp("redis-server", (char *const *)arguments);
        perror("redis-server");
        _exit(127);
    }
    for (int i = 0; i < START_TRIES; i++) {
        if (redis_answers(redis)) {
            return;
        }
        sleep_ms(10);
    }
    fprintf(stderr, "redis-server does not answer\n");
    abort();
}

struct support_redis *support_redis_start(const char *const *options)
{
    struct support_redis *redis = calloc(1, sizeof *redis);
    if (!redis) {
        fail("calloc");
    }
    support_directory_make(redis->directory);
    snprintf(redis->socket, sizeof redis->socket, "%s/redis", redis->directory);
    for (; options && options[redis->option_count]; redis->option_count++) {
        snprintf(redis->options[redis->option_count], sizeof redis->options[0], "%s",
                 options[redis->option_count]);
    }
    redis_spawn(redis);
    return redis;
}

const char *support_redis_socket(const struct support_redis *redis)
{
    return redis->socket;
}

void support_redis_kill(struct support_redis *redis)
{
    if (redis->pid > 0) {
        kill(redis->pid, SIGKILL);
        waitpid(redis->pid, NULL, 0);
        redis->pid = 0;
    }
}

void support_redis_restart(struct support_redis *redis)
{
    support_redis_kill(redis);
    redis_spawn(redis);
}

void support_redis_stop(struct support_redis *redis)
{
    if (!redis) {
        return;
    }
    support_redis_kill(redis);
    support_directory_remove(redis->directory);
    free(redis);
}

// The proxy: one thread accepts, one a connection forwards.

struct link {
    struct support_proxy *proxy;
    pthread_t thread;
    int client, server;
};

struct support_proxy {
    char directory[SUPPORT_DIRECTORY_MAX];
    char socket[SUPPORT_DIRECTORY_MAX + 16];
    const char *target;
    int listener;
    pthread_t thread;
    struct link links[LINKS_MAX];
    int link_count; // the accepting thread's

    pthread_mutex_t mutex; // guards:
    pthread_cond_t changed;
    bool stopping, dead, released;
    int64_t left[2]; // bytes until the cut: up, down
    uint64_t passed[2];
    char word[32]; // "": nothing is withheld
};

enum { UP, DOWN };

// How many of `size` bytes may pass; kills all links when the cut is reached.
static size_t proxy_admit(struct support_proxy *proxy, int way, size_t size)
{
    pthread_mutex_lock(&proxy->mutex);
    int64_t left = proxy->left[way];
    if (proxy->dead) {
        size = 0;
    } else if (left >= 0) {
        size = (int64_t)size < left ? size : (size_t)left;
        proxy->left[way] -= (int64_t)size;
        proxy->dead = proxy->left[way] == 0;
    }
    proxy->passed[way] += size;
    pthread_mutex_unlock(&proxy->mutex);
    return size;
}

static bool proxy_dead(struct support_proxy *proxy)
{
    pthread_mutex_lock(&proxy->mutex);
    bool dead = proxy->dead || proxy->stopping;
    pthread_mutex_unlock(&proxy->mutex);
    return dead;
}

// Holds the message back until it is released. Returns whether it was, rather than the proxy stopped.
static bool proxy_withholds(struct support_proxy *proxy, const char *bytes, size_t size)
{
    bool forward = true;
    pthread_mutex_lock(&proxy->mutex);
    if (proxy->word[0] && memmem(bytes, size, proxy->word, strlen(proxy->word))) {
        while (!proxy->released && !proxy->stopping) {
            pthread_cond_wait(&proxy->changed, &proxy->mutex);
        }
        forward = proxy->released;
    }
    pthread_mutex_unlock(&proxy->mutex);
    return forward;
}

static bool send_all(int fd, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t sent = send(fd, bytes, size, MSG_NOSIGNAL);
        if (sent <= 0) {
            return false;
        }
        bytes += sent;
        size -= (size_t)sent;
    }
    return true;
}

// Forwards what is readable. False: the link is over.
static bool link_forward(struct link *link, int way)
{
    char bytes[BLOCK];
    int from = way == UP ? link->client : link->server;
    int to = way == UP ? link->server : link->client;
    ssize_t size = recv(from, bytes, sizeof bytes, 0);
    if (size <= 0 || (way == UP && !proxy_withholds(link->proxy, bytes, (size_t)size))) {
        return false;
    }
    size_t admitted = proxy_admit(link->proxy, way, (size_t)size);
    return send_all(to, bytes, admitted) && admitted == (size_t)size;
}

static void *link_run(void *context)
{
    struct link *link = context;
    bool open = true;
    while (open && !proxy_dead(link->proxy)) {
        struct pollfd ends[2] = {{link->client, POLLIN, 0}, {link->server, POLLIN, 0}};
        if (poll(ends, 2, 5) < 0) {
            break;
        }
        if (ends[0].revents) {
            open = link_forward(link, UP);
        }
        if (open && ends[1].revents) {
            open = link_forward(link, DOWN);
        }
    }
    // Let the server read what was sent before it sees the end.
    shutdown(link->server, SHUT_WR);
    shutdown(link->client, SHUT_RDWR);
    char rest[256];
    while (recv(link->server, rest, sizeof rest, 0) > 0) {
    }
    close(link->client);
    close(link->server);
    return NULL;
}

static void *proxy_run(void *context)
{
    struct support_proxy *proxy = context;
    for (;;) {
        struct pollfd end = {proxy->listener, POLLIN, 0};
        poll(&end, 1, 5);
        pthread_mutex_lock(&proxy->mutex);
        bool stopping = proxy->stopping;
        bool dead = proxy->dead;
        pthread_mutex_unlock(&proxy->mutex);
        if (stopping) {
            return NULL;
        }
        if (!end.revents) {
            continue;
        }
        int client = accept4(proxy->listener, NULL, NULL, SOCK_CLOEXEC);
        int server = client < 0 || dead ? -1 : connect_unix(proxy->target);
        if (server < 0) {
            if (client >= 0) {
                close(client);
            }
            continue;
        }
        if (proxy->link_count == LINKS_MAX) {
            fprintf(stderr, "more than %d connections through a proxy\n", LINKS_MAX);
            abort();
        }
        struct link *link = &proxy->links[proxy->link_count++];
        *link = (struct link){proxy, 0, client, server};
        pthread_create(&link->thread, NULL, link_run, link);
    }
}

struct support_proxy *support_proxy_start(const struct support_redis *redis)
{
    struct support_proxy *proxy = calloc(1, sizeof *proxy);
    if (!proxy) {
        fail("calloc");
    }
    support_directory_make(proxy->directory);
    snprintf(proxy->socket, sizeof proxy->socket, "%s/proxy", proxy->directory);
    proxy->target = redis->socket;
    proxy->left[UP] = proxy->left[DOWN] = -1;
    pthread_mutex_init(&proxy->mutex, NULL);
    pthread_cond_init(&proxy->changed, NULL);

    struct sockaddr_un address = unix_address(proxy->socket);
    proxy->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (proxy->listener < 0 || bind(proxy->listener, (struct sockaddr *)&address, sizeof address) ||
        listen(proxy->listener, 64)) {
        fail("proxy");
    }
    pthread_create(&proxy->thread, NULL, proxy_run, proxy);
    return proxy;
}

const char *support_proxy_socket(const struct support_proxy *proxy)
{
    return proxy->socket;
}

void support_proxy_stop(struct support_proxy *proxy)
{
    pthread_mutex_lock(&proxy->mutex);
    proxy->stopping = true;
    pthread_cond_broadcast(&proxy->changed);
    pthread_mutex_unlock(&proxy->mutex);
    pthread_join(proxy->thread, NULL);
    for (int i = 0; i < proxy->link_count; i++) {
        pthread_join(proxy->links[i].thread, NULL);
    }
    close(proxy->listener);
    support_directory_remove(proxy->directory);
    pthread_mutex_destroy(&proxy->mutex);
    pthread_cond_destroy(&proxy->changed);
    free(proxy);
}

void support_proxy_counts(struct support_proxy *proxy, uint64_t *up, uint64_t *down)
{
    pthread_mutex_lock(&proxy->mutex);
    *up = proxy->passed[UP];
    *down = proxy->passed[DOWN];
    proxy->passed[UP] = proxy->passed[DOWN] = 0;
    pthread_mutex_unlock(&proxy->mutex);
}

void support_proxy_cut(struct support_proxy *proxy, int64_t up, int64_t down)
{
    pthread_mutex_lock(&proxy->mutex);
    proxy->left[UP] = up;
    proxy->left[DOWN] = down;
    proxy->dead = up == 0 || down == 0;
    pthread_mutex_unlock(&proxy->mutex);
}

void support_proxy_withhold(struct support_proxy *proxy, const char *word)
{
    pthread_mutex_lock(&proxy->mutex);
    snprintf(proxy->word, sizeof proxy->word, "%s", word);
    proxy->released = false;
    pthread_mutex_unlock(&proxy->mutex);
}

void support_proxy_release(struct support_proxy *proxy)
{
    pthread_mutex_lock(&proxy->mutex);
    proxy->released = true;
    proxy->word[0] = '\0';
    pthread_cond_broadcast(&proxy->changed);
    pthread_mutex_unlock(&proxy->mutex);
}

void support_proxy_heal(struct support_proxy *proxy)
{
    pthread_mutex_lock(&proxy->mutex);
    proxy->left[UP] = proxy->left[DOWN] = -1;
    proxy->dead = false;
    pthread_mutex_unlock(&proxy->mutex);
}
