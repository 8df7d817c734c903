// Publishers that are killed, stopped and replaced, and a Redis that loses what it had: readers see versions
// that the trainer had, each whole, never an older one, and in the end what the trainer has.
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/failpoint.h"
#include "publisher/reader.h"
#include "publisher_model.h"
#include "publisher_support.h"
#include "trainer/cut.h"

enum {
    STEPS = 400, // most minibatches of a life
    STRIDE = 4,  // minibatches a publication
    CONFLICT = 3,
};

// A trainer with its publisher, and what readers may hold.
struct life {
    const char *socket;
    struct trainer_model *model;
    uint64_t step;
    struct publisher *publisher;
    struct base_error error;
};

// Trainers of one lineage have the same weights at the same step: hash[step], once one was there.
struct play {
    struct support_redis *redis;
    const char *socket;
    uint64_t hash[STEPS];
    struct publisher_reader *reader;
    struct publisher_version seen;
};

static struct publisher *new_publisher(const char *socket)
{
    struct base_error error;
    char *descriptor = model_descriptor(0);
    struct publisher_config config = {
        .redis = support_config(socket),
        .model = "test",
        .descriptor = descriptor,
        .lineage = "a state directory",
        .garbage_ttl_s = SUPPORT_TTL,
        .base_ratio = 100,
    };
    struct publisher *publisher = publisher_new(&config, &error);
    cr_assert(publisher, "%s", error.text);
    free(descriptor);
    return publisher;
}

static struct publisher_reader *new_reader(const char *socket)
{
    struct base_error error;
    struct publisher_reader_config config = {.redis = support_config(socket), .model = "test"};
    struct publisher_reader *reader = publisher_reader_new(&config, &error);
    cr_assert(reader, "%s", error.text);
    return reader;
}

static void play_open(struct play *play)
{
    *play = (struct play){.redis = support_redis_start(NULL)};
    play->socket = support_redis_socket(play->redis);
    play->reader = new_reader(play->socket);
}

static void play_close(struct play *play)
{
    publisher_reader_free(play->reader);
    support_redis_stop(play->redis);
}

// A trainer as a cut at `step` restores it, and a publisher that takes an epoch above min_epoch.
static struct life *life_begin(const char *socket, uint64_t step, uint64_t min_epoch)
{
    struct life *life = base_alloc_zeroed(1, sizeof *life);
    life->socket = socket;
    life->model = trainer_model_new(model_config(0), true, &life->error);
    cr_assert(life->model, "%s", life->error.text);
    model_train(life->model, &life->step, (int)step);
    life->publisher = new_publisher(socket);
    cr_assert_eq(publisher_start(life->publisher, min_epoch, &life->error), 0, "%s", life->error.text);
    return life;
}

// Its end, however it comes: nothing of it is left but what it sent.
static void life_end(struct life *life)
{
    publisher_free(life->publisher);
    trainer_model_free(life->model);
    free(life);
}

static void life_train(struct play *play, struct life *life, int steps)
{
    model_train(life->model, &life->step, steps);
    cr_assert_lt(life->step, STEPS);
    play->hash[life->step] = trainer_model_hash(life->model);
}

// One attempt to publish what the trainer has.
static int life_try(struct life *life)
{
    struct publisher_result result;
    struct trainer_snapshot *snapshot =
        trainer_model_snapshot(life->model, (int64_t)life->step, publisher_wants_full(life->publisher));
    int failed = publisher_publish(life->publisher, snapshot, NULL, &result, &life->error);
    trainer_model_settle(life->model, snapshot, failed == 0);
    trainer_snapshot_free(snapshot);
    return failed;
}

// Trains and publishes, again while it is worth trying.
static void life_publish(struct play *play, struct life *life)
{
    life_train(play, life, STRIDE);
    for (int i = 0; life_try(life) != 0; i++) {
        cr_assert(life->error.retriable && !life->error.fatal && i < 5, "%s", life->error.text);
    }
}

// A reader holds something of a trainer's, whole.
static void must_be_whole(const struct play *play, struct publisher_reader *reader)
{
    int64_t tick = publisher_reader_tick(reader);
    cr_assert(tick >= 0 && tick < STEPS);
    cr_assert_eq(publisher_reader_hash(reader), play->hash[tick], "the weights of no trainer at %d",
                 (int)tick);
}

// The reader looks: what it then holds is whole and not older than before. False: there was nothing newer.
static bool look(struct play *play)
{
    struct base_error error;
    bool changed = false;
    if (publisher_reader_follow(play->reader, 50, &changed, &error)) {
        // Head for a while behind what is held, or gone: it says so and keeps what it has.
        cr_assert(error.code == BASE_ECONFLICT || error.code == BASE_ENETWORK || error.code == BASE_ENOTFOUND,
                  "%s", error.text);
        changed = false;
    }
    struct publisher_version version = publisher_reader_version(play->reader);
    if (version.epoch) {
        must_be_whole(play, play->reader);
    }
    int order = publisher_version_compare(version, play->seen);
    cr_assert(changed ? order > 0 : order == 0);
    play->seen = version;
    return changed;
}

// Readers, old and new, hold what the trainer has.
static void must_equal(struct play *play, const struct life *life)
{
    while (look(play)) {
    }
    cr_assert_eq(publisher_reader_tick(play->reader), (int64_t)life->step);
    cr_assert_eq(publisher_reader_hash(play->reader), trainer_model_hash(life->model));
    struct publisher_reader *fresh = new_reader(play->socket);
    struct base_error error;
    bool changed = false;
    cr_assert_eq(publisher_reader_follow(fresh, 1000, &changed, &error), 0, "%s", error.text);
    cr_assert_eq(publisher_reader_hash(fresh), trainer_model_hash(life->model));
    cr_assert_eq(publisher_version_compare(publisher_reader_version(fresh), play->seen), 0);
    publisher_reader_free(fresh);
    support_check(play->socket);
}

static void run(const char *socket, const char *command)
{
    redisContext *context = support_connect(socket);
    freeReplyObject(support_run(context, command));
    redisFree(context);
}

// ---- the trainer starts anew ----

// Killed after version 3, whose tick the last cut does not reach: the successor relearns up to head's tick,
// publishes nothing until then, and goes on with deltas upon what is there.
Test(publisher_takeover, head_ahead_of_the_cut)
{
    struct play play;
    play_open(&play);
    struct life *life = life_begin(play.socket, 0, 0);
    for (int i = 0; i < 3; i++) {
        life_publish(&play, life);
        look(&play);
    }
    uint64_t head = life->step;
    life_end(life);

    struct publisher_version version;
    int64_t tick;
    life = life_begin(play.socket, STRIDE + 1, 0);
    cr_assert(publisher_head(life->publisher, &version, &tick) && publisher_head_ours(life->publisher));
    cr_assert_eq(tick, (int64_t)head);
    cr_assert_not(publisher_wants_full(life->publisher), "an earlier life's base holds");
    model_train(life->model, &life->step, (int)(head - life->step));
    cr_assert_eq(trainer_model_hash(life->model), play.hash[head], "relearned to the bit");
    trainer_model_head(life->model, tick, tick);
    cr_assert_not(look(&play), "nothing was published meanwhile");
    life_train(&play, life, STRIDE);
    struct trainer_snapshot *snapshot = trainer_model_snapshot(life->model, (int64_t)life->step, false);
    struct publisher_result result;
    cr_assert_not(snapshot->full);
    cr_assert_eq(publisher_publish(life->publisher, snapshot, NULL, &result, &life->error), 0, "%s",
                 life->error.text);
    trainer_model_settle(life->model, snapshot, true);
    trainer_snapshot_free(snapshot);
    cr_assert(result.version.epoch == version.epoch + 1 && result.version.number == 1);
    must_equal(&play, life);
    life_end(life);
    play_close(&play);
}

// Redis came up empty while nobody published: the cut's epoch keeps versions going up.
Test(publisher_takeover, the_cuts_epoch_outlives_redis)
{
    struct play play;
    play_open(&play);
    struct life *life = life_begin(play.socket, 0, 0);
    for (int i = 0; i < 3; i++) {
        life_publish(&play, life);
        look(&play);
    }
    uint64_t epoch = publisher_epoch(life->publisher);
    uint64_t step = life->step;
    life_end(life);
    support_redis_restart(play.redis);
    cr_assert_not(look(&play), "what is held stays");

    // Without it the new versions are named like old ones; a reader that knows those refuses them.
    life = life_begin(play.socket, step, 0);
    cr_assert_eq(publisher_epoch(life->publisher), epoch);
    life_publish(&play, life);
    cr_assert_not(look(&play));
    step = life->step;
    life_end(life);

    life = life_begin(play.socket, step, epoch);
    cr_assert_gt(publisher_epoch(life->publisher), epoch);
    life_publish(&play, life);
    cr_assert(look(&play));
    must_equal(&play, life);
    life_end(life);
    play_close(&play);
}

struct memory {
    const char *socket;
    uint64_t epoch; // the last one that is remembered
    int calls, failures;
};

static int remember(void *context, uint64_t epoch, struct base_error *error)
{
    struct memory *memory = context;
    memory->calls++;
    cr_assert_gt(epoch, memory->epoch);
    redisContext *redis = support_connect(memory->socket);
    redisReply *keys = support_run(redis, "KEYS {freshet:test}:%d.*", (int)epoch);
    cr_assert_eq(keys->elements, 0, "a version carries an epoch that is not remembered");
    freeReplyObject(keys);
    redisFree(redis);
    if (memory->failures > 0) {
        memory->failures--;
        return base_error_set(error, BASE_EIO, "the disk is full");
    }
    memory->epoch = epoch;
    return 0;
}

// Every epoch is remembered before a version carries it, also one that is taken amid a publication.
Test(publisher_takeover, epochs_are_remembered_first)
{
    struct play play;
    play_open(&play);
    struct memory memory = {.socket = play.socket, .failures = 1};
    char *descriptor = model_descriptor(0);
    struct publisher_config config = {
        .redis = support_config(play.socket),
        .model = "test",
        .descriptor = descriptor,
        .garbage_ttl_s = SUPPORT_TTL,
        .base_ratio = 100,
        .remember = remember,
        .remember_context = &memory,
    };
    struct life *life = life_begin(play.socket, 0, 0);
    publisher_free(life->publisher);
    life->publisher = publisher_new(&config, &life->error);
    free(descriptor);
    memory.epoch = 1; // the first publisher's
    cr_assert_eq(publisher_start(life->publisher, 1, &life->error), -1);
    cr_assert(life->error.code == BASE_EIO && memory.calls == 1, "%s", life->error.text);
    cr_assert_eq(publisher_start(life->publisher, 1, &life->error), 0, "%s", life->error.text);
    cr_assert_eq(memory.epoch, 3);
    life_publish(&play, life);
    look(&play);
    cr_assert_eq(memory.calls, 2);

    support_redis_restart(play.redis); // empty: the next publication takes an epoch
    life_train(&play, life, STRIDE);
    cr_assert_eq(life_try(life), -1); // finds the connection gone
    memory.failures = 1;
    cr_assert_eq(life_try(life), -1);
    cr_assert_eq(life->error.code, BASE_EIO, "%s", life->error.text);
    cr_assert_not(look(&play), "nothing is published under an epoch that is not remembered");
    life_publish(&play, life);
    cr_assert(memory.epoch == publisher_epoch(life->publisher) && memory.epoch > 3);
    must_equal(&play, life);
    life_end(life);
    play_close(&play);
}

// ---- a publisher that stood still ----

// The child publishes and is stopped at a fail point; a successor takes over and publishes; the child wakes
// and finds out, whatever it had sent.
static void zombie(const char *arm)
{
    struct play play;
    play_open(&play);
    struct life *life = life_begin(play.socket, 0, 0);
    life_publish(&play, life);
    life_publish(&play, life);
    look(&play);
    uint64_t step = life->step;
    life_end(life);

    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        struct life *child = life_begin(play.socket, step, 0);
        base_failpoint_arm(arm, &child->error);
        model_train(child->model, &child->step, STRIDE);
        int failed = life_try(child);
        _exit(failed && child->error.code == BASE_ECONFLICT && child->error.fatal ? CONFLICT
              : failed                                                            ? 1
                                                                                  : 0);
    }
    int status;
    cr_assert_eq(waitpid(pid, &status, WUNTRACED), pid);
    cr_assert(WIFSTOPPED(status), "%s", arm);

    life = life_begin(play.socket, step, 0);
    life_train(&play, life, STRIDE);
    bool moved = look(&play); // if the child's move had been run when it was stopped
    cr_assert_eq(life_try(life), 0, "%s", life->error.text);
    look(&play);
    kill(pid, SIGCONT);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFEXITED(status));
    cr_assert_eq(WEXITSTATUS(status), moved ? 0 : CONFLICT, "%s: status %d", arm, WEXITSTATUS(status));
    must_equal(&play, life);
    life_publish(&play, life);
    must_equal(&play, life);
    life_end(life);
    play_close(&play);
}

Test(publisher_takeover, a_zombie_before_its_upload)
{
    zombie("publish.begun:1:stop");
}

Test(publisher_takeover, a_zombie_between_its_chunks)
{
    zombie("publish.chunk:2:stop");
}

Test(publisher_takeover, a_zombie_before_its_move)
{
    zombie("publish.uploaded:1:stop");
}

Test(publisher_takeover, a_zombie_after_its_move)
{
    zombie("publish.moved:1:stop");
}

// ---- a Redis that loses what it had ----

Test(publisher_takeover, redis_comes_back_empty)
{
    struct play play;
    play_open(&play);
    struct life *life = life_begin(play.socket, 0, 0);
    for (int i = 0; i < 3; i++) {
        life_publish(&play, life);
        look(&play);
        support_redis_restart(play.redis);
        cr_assert_not(look(&play), "what is held stays");
        life_publish(&play, life);
        must_equal(&play, life);
    }
    life_end(life);
    play_close(&play);
}

// A replica that lacked the last writes has become the master: head goes back by itself. Readers keep the
// newer version; the publisher takes a new epoch and publishes a base. `restarted`: it dies as well.
static void lost_writes(bool restarted)
{
    struct play play;
    play_open(&play);
    struct life *life = life_begin(play.socket, 0, 0);
    life_publish(&play, life);
    look(&play);
    run(play.socket, "SAVE");
    life_publish(&play, life);
    life_publish(&play, life);
    look(&play);
    struct publisher_version held = play.seen;
    support_redis_restart(play.redis); // with what was saved
    cr_assert_not(look(&play));
    struct base_error error;
    bool changed;
    cr_assert_eq(publisher_reader_follow(play.reader, 0, &changed, &error), -1);
    cr_assert_eq(error.code, BASE_ECONFLICT, "%s", error.text);
    if (restarted) {
        uint64_t epoch = publisher_epoch(life->publisher);
        uint64_t step = life->step;
        struct publisher_version version;
        int64_t tick;
        life_end(life);
        life = life_begin(play.socket, step, epoch);
        cr_assert(publisher_head(life->publisher, &version, &tick));
        cr_assert_lt(tick, (int64_t)step, "head is behind the cut");
        trainer_model_head(life->model, tick, (int64_t)step);
    }
    life_publish(&play, life);
    cr_assert(look(&play));
    cr_assert_gt(play.seen.epoch, held.epoch);
    must_equal(&play, life);
    life_publish(&play, life);
    must_equal(&play, life);
    life_end(life);
    play_close(&play);
}

Test(publisher_takeover, redis_lost_writes)
{
    lost_writes(false);
}

Test(publisher_takeover, redis_lost_writes_and_the_publisher_died)
{
    lost_writes(true);
}

// A chunk of the base vanishes: who holds the version keeps it, who comes new must wait; the next publication
// notices and mends it.
Test(publisher_takeover, chunks_are_evicted)
{
    struct play play;
    play_open(&play);
    struct life *life = life_begin(play.socket, 0, 0);
    life_publish(&play, life);
    struct publisher_version base = support_check(play.socket);
    life_publish(&play, life);
    look(&play);
    char command[128];
    snprintf(command, sizeof command, "DEL {freshet:test}:%d.%d:rows:0", (int)base.epoch, (int)base.number);
    run(play.socket, command);
    cr_assert_not(look(&play));
    struct publisher_reader *fresh = new_reader(play.socket);
    struct base_error error;
    bool changed;
    cr_assert_eq(publisher_reader_follow(fresh, 0, &changed, &error), -1);
    cr_assert_eq(error.code, BASE_ENOTFOUND, "%s", error.text);
    publisher_reader_free(fresh);

    life_train(&play, life, STRIDE);
    cr_assert_eq(life_try(life), -1);
    cr_assert(life->error.code == BASE_EREFUSED && life->error.retriable, "%s", life->error.text);
    cr_assert(publisher_wants_full(life->publisher));
    cr_assert_eq(life_try(life), 0, "%s", life->error.text);
    must_equal(&play, life);
    life_end(life);
    play_close(&play);
}

// The move's reply is lost: if Redis ran it, the rows count as published; if not, they go again. Either way
// the next delta makes readers equal.
static void lost_reply(bool ran)
{
    struct play play;
    play_open(&play);
    struct support_proxy *proxy = support_proxy_start(play.redis);
    struct life *life = life_begin(support_proxy_socket(proxy), 0, 0);
    uint64_t up, down;
    life_publish(&play, life);
    life_publish(&play, life);
    support_proxy_counts(proxy, &up, &down);
    life_publish(&play, life);
    support_proxy_counts(proxy, &up, &down); // what a delta sends and gets
    look(&play);
    life_train(&play, life, STRIDE);
    if (ran) {
        support_proxy_cut(proxy, -1, (int64_t)down - 8); // the last reply is the move's
    } else {
        support_proxy_withhold(proxy, "'refused'");
    }
    cr_assert_eq(life_try(life), -1);
    cr_assert_eq(life->error.code, BASE_ENETWORK, "%s", life->error.text);
    cr_assert_eq(look(&play), ran);
    support_proxy_release(proxy);
    support_proxy_heal(proxy);
    life_publish(&play, life);
    must_equal(&play, life);
    life_end(life);
    support_proxy_stop(proxy);
    play_close(&play);
}

Test(publisher_takeover, a_move_whose_reply_is_lost)
{
    lost_reply(true);
}

Test(publisher_takeover, a_move_that_is_lost)
{
    lost_reply(false);
}
