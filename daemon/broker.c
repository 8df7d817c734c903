// The embedded broker. See broker.h.
//
// Two pipes: the child writes its bootstrap address, or a sentence on what went wrong, to one; the other
// never carries a byte, and its end tells the child that we are gone, however we went.
#include "daemon/broker.h"

#include <errno.h>
#include <fcntl.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"

enum { BOOTSTRAP_MAX = 256 };

struct daemon_broker {
    pid_t pid;
    int life; // the end that we hold; the child waits for it to close
    char bootstrap[BOOTSTRAP_MAX];
};

// The child's life. Writes "+address" or "-reason".
static void broker_run(const char *const *topics, uint32_t count, uint32_t partitions, int answer, int life)
{
    char text[BOOTSTRAP_MAX] = "-";
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set_log_cb(conf, NULL); // it would complain that this handle has no broker to connect to
    rd_kafka_t *handle = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text + 1, sizeof text - 1);
    rd_kafka_mock_cluster_t *cluster = handle ? rd_kafka_mock_cluster_new(handle, 1) : NULL;
    for (uint32_t i = 0; cluster && i < count; i++) {
        rd_kafka_resp_err_t code = rd_kafka_mock_topic_create(cluster, topics[i], (int)partitions, 1);
        if (code) {
            snprintf(text, sizeof text, "-topic %s: %s", topics[i], rd_kafka_err2str(code));
            cluster = NULL;
        }
    }
    if (cluster) {
        snprintf(text, sizeof text, "+%s", rd_kafka_mock_cluster_bootstraps(cluster));
    }
    ssize_t written = write(answer, text, strlen(text));
    close(answer);
    char byte;
    while (written > 0 && cluster && read(life, &byte, 1) < 0 && errno == EINTR) {
    }
    // No orderly end: nothing is kept, and the cluster's threads need no goodbye.
    _exit(0);
}

static int broker_await(struct daemon_broker *broker, int answer, struct base_error *error)
{
    char text[BOOTSTRAP_MAX];
    size_t size = 0;
    ssize_t got;
    while (size < sizeof text - 1 &&
           ((got = read(answer, text + size, sizeof text - 1 - size)) > 0 || (got < 0 && errno == EINTR))) {
        size += got > 0 ? (size_t)got : 0;
    }
    text[size] = 0;
    if (text[0] != '+') {
        return base_error_set(error, BASE_ENETWORK, "embedded broker: %s",
                              size > 1 ? text + 1 : "it did not start");
    }
    memcpy(broker->bootstrap, text + 1, size);
    return 0;
}

struct daemon_broker *daemon_broker_new(const char *const *topics, uint32_t count, uint32_t partitions,
                                        struct base_error *error)
{
    int answer[2], life[2];
    if (pipe2(answer, O_CLOEXEC) < 0) {
        base_error_set_errno(error, BASE_EIO, errno, "pipe");
        return NULL;
    }
    if (pipe2(life, O_CLOEXEC) < 0) {
        base_error_set_errno(error, BASE_EIO, errno, "pipe");
        close(answer[0]);
        close(answer[1]);
        return NULL;
    }
    pid_t pid = fork();
    if (pid == 0) {
        close(answer[0]);
        close(life[1]);
        // Ctrl-C reaches the whole group; the broker goes when its owner does, not before.
        signal(SIGINT, SIG_IGN);
        signal(SIGTERM, SIG_DFL);
        broker_run(topics, count, partitions, answer[1], life[0]);
    }
    int forked = errno;
    close(answer[1]);
    close(life[0]);
    struct daemon_broker *broker = base_alloc_zeroed(1, sizeof *broker);
    broker->pid = pid;
    broker->life = life[1];
    int result = pid < 0 ? base_error_set_errno(error, BASE_EIO, forked, "fork")
                         : broker_await(broker, answer[0], error);
    close(answer[0]);
    if (result < 0) {
        daemon_broker_free(broker);
        return NULL;
    }
    return broker;
}

const char *daemon_broker_bootstrap(const struct daemon_broker *broker)
{
    return broker->bootstrap;
}

void daemon_broker_free(struct daemon_broker *broker)
{
    if (!broker) {
        return;
    }
    close(broker->life);
    if (broker->pid > 0) {
        while (waitpid(broker->pid, NULL, 0) < 0 && errno == EINTR) {
        }
    }
    free(broker);
}
