// simulate_publication: the small model of publication, explored to the end. Two publishers (the second takes
// over from the first, or the other way round), a reader, two rows, three versions each; real publisher and
// reader code (publication_program.c) over the simulated Redis.
//
// A step is one command run by Redis, with its reply taken by the program that sent it; or a fault: a lost
// connection, whose commands under way may still be run at any later time, or never; a program's death, with
// the same; time passing until all that expires has expired. A program that does not run for a while is one
// that was stopped (SIGSTOP); all orders of steps are tried, so that is covered without a step of its own.
//
// Depth first over states: (content of Redis, what each program was answered so far, commands under way,
// faults left). A state met again is not entered again. Without --whole, a step that no other program's step
// can depend on (writing a key that carries the program's own epoch; reading a key that cannot change while
// nothing expires) is taken at once, and only this program's faults are tried beside it.
//
// Checked at every step: head moves only forward, only to the epoch that Redis holds, and to a version that
// is whole and never expires; epochs only grow; what a publisher was told is published is; the reader's
// weights are those of one content, its version never goes back, and is one that head has named. At the end
// of every path a fresh reader loads head and holds the right weights, and if the publisher with the last
// epoch has finished, its last content is there.
#include <assert.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "publisher/reader.h"
#include "simulation/publication_program.h"
#include "simulation/sim_publication.h"

enum { QUEUES_MAX = 8, DEPTH_MAX = 400 };

// What a program was answered, and what it does then.
struct node {
    uint32_t parent;
    struct program_input input; // by which it was reached from the parent
    struct program_result result;
};

struct queue { // commands under way of a lost connection
    uint32_t program;
    uint32_t text[PROGRAM_PENDING_MAX];
    uint32_t count;
};

struct world {
    uint32_t node[PROGRAMS];
    bool dead[PROGRAMS];
    struct queue queue[QUEUES_MAX];
    uint32_t queues;
    uint32_t faults, deaths, expiries; // left
    bool disturbed;                    // there was one of them
    // Of Redis, for the checks:
    struct publisher_version head;
    int64_t tick;    // head's
    uint64_t epoch;  // taken last
    uint32_t holder; // who took it and knows; PROGRAMS: nobody
};

struct step {
    const char *what;
    uint32_t program;
    uint32_t text; // the command
};

// A growing set of 64-bit hashes.
struct set {
    uint64_t *item; // 0: free
    uint64_t slots, count;
};

struct explorer {
    const struct program_variant *variant;
    bool whole;
    uint64_t states_max;
    struct program_stage *stage;
    struct program_texts *texts;
    struct sim_clock clock;
    struct sim_redis *redis;
    struct node *nodes;
    uint32_t node_count, node_capacity;
    struct set children; // hash of (program, parent, input); its node is in child_node
    uint32_t *child_node;
    struct set visited, judged; // states; contents of Redis that were judged at an end
    struct step path[DEPTH_MAX];
    uint32_t depth, deepest;
    uint64_t steps, ends, moves, late;
    uint64_t outcomes[PROGRAM_GAVE_UP + 1];
    struct base_buffer reply;
};

// ---- sets ----

static uint64_t set_slot(const struct set *set, uint64_t item)
{
    uint64_t slot = item & (set->slots - 1);
    while (set->item[slot] && set->item[slot] != item) {
        slot = (slot + 1) & (set->slots - 1);
    }
    return slot;
}

static void set_grow(struct set *set)
{
    struct set grown = {.slots = set->slots ? set->slots * 2 : 1 << 16};
    grown.item = base_alloc_zeroed(grown.slots, sizeof *grown.item);
    for (uint64_t i = 0; i < set->slots; i++) {
        if (set->item[i]) {
            grown.item[set_slot(&grown, set->item[i])] = set->item[i];
        }
    }
    grown.count = set->count;
    free(set->item);
    *set = grown;
}

// True if it was not there.
static bool set_add(struct set *set, uint64_t item)
{
    item = item ? item : 1;
    if (4 * set->count >= 3 * set->slots) {
        set_grow(set);
    }
    uint64_t slot = set_slot(set, item);
    bool fresh = !set->item[slot];
    set->item[slot] = item;
    set->count += fresh;
    return fresh;
}

// ---- telling ----

static void path_print_words(const struct base_buffer *text)
{
    // RESP: the words stand on every second line.
    const char *at = (const char *)text->data;
    const char *end = at + text->size;
    for (int line = 0; at < end && line < 8; line++) {
        const char *stop = memchr(at, '\r', (size_t)(end - at));
        stop = stop ? stop : end;
        bool plain = stop - at < 70 && !memchr(at, '\0', (size_t)(stop - at));
        if (line >= 2 && line % 2 == 0) {
            printf(" %.*s", plain ? (int)(stop - at) : 3, plain ? at : "...");
        }
        at = stop + 2;
    }
}

static void fail(struct explorer *explorer, const char *format, ...)
    __attribute__((format(printf, 2, 3), noreturn));
static void fail(struct explorer *explorer, const char *format, ...)
{
    static const char *const names[] = {"first", "second", "reader", "time"};
    printf("the path (%s):\n", explorer->variant->name);
    for (uint32_t i = 0; i < explorer->depth; i++) {
        const struct step *step = &explorer->path[i];
        printf("%4u %-7s %-8s", i, names[step->program], step->what);
        if (step->text != UINT32_MAX) {
            path_print_words(&explorer->texts->text[step->text]);
        }
        printf("\n");
    }
    va_list arguments;
    va_start(arguments, format);
    printf("VIOLATION: ");
    vprintf(format, arguments);
    printf("\n");
    va_end(arguments);
    exit(1);
}

// ---- programs ----

static uint32_t node_add(struct explorer *explorer, uint32_t program, uint32_t parent,
                         struct program_input input)
{
    if (explorer->node_count == explorer->node_capacity) {
        explorer->node_capacity = explorer->node_capacity ? explorer->node_capacity * 2 : 1024;
        explorer->nodes = base_realloc(explorer->nodes, explorer->node_capacity * sizeof *explorer->nodes);
    }
    struct node *node = &explorer->nodes[explorer->node_count];
    *node = (struct node){.parent = parent, .input = input};
    struct program_input inputs[DEPTH_MAX];
    uint32_t count = 0;
    // A root is its own parent.
    for (uint32_t at = explorer->node_count; explorer->nodes[at].parent != at;
         at = explorer->nodes[at].parent) {
        assert(count < DEPTH_MAX);
        inputs[count++] = explorer->nodes[at].input;
    }
    for (uint32_t i = 0; i < count / 2; i++) {
        struct program_input swap = inputs[i];
        inputs[i] = inputs[count - 1 - i];
        inputs[count - 1 - i] = swap;
    }
    program_run(explorer->stage, program, inputs, count, &node->result);
    return explorer->node_count++;
}

static uint32_t node_child(struct explorer *explorer, uint32_t program, uint32_t parent,
                           struct program_input input)
{
    uint32_t key[4] = {program, parent, (uint32_t)input.kind, input.text};
    uint64_t hash = base_hash_bytes(base_span_make(key, sizeof key), 0) | 1;
    uint64_t slots = explorer->children.slots;
    if (4 * explorer->children.count >= 3 * slots) { // the nodes move along
        struct set old = explorer->children;
        uint32_t *old_node = explorer->child_node;
        explorer->children.item = NULL;
        explorer->children = (struct set){.slots = slots ? slots * 2 : 1 << 12, .count = old.count};
        explorer->children.item = base_alloc_zeroed(explorer->children.slots, sizeof(uint64_t));
        explorer->child_node = base_alloc_zeroed(explorer->children.slots, sizeof(uint32_t));
        for (uint64_t i = 0; i < old.slots; i++) {
            if (old.item[i]) {
                uint64_t slot = set_slot(&explorer->children, old.item[i]);
                explorer->children.item[slot] = old.item[i];
                explorer->child_node[slot] = old_node[i];
            }
        }
        free(old.item);
        free(old_node);
    }
    uint64_t slot = set_slot(&explorer->children, hash);
    if (!explorer->children.item[slot]) {
        explorer->children.item[slot] = hash;
        explorer->children.count++;
        explorer->child_node[slot] = node_add(explorer, program, parent, input);
    }
    return explorer->child_node[slot];
}

static bool world_runs(const struct explorer *explorer, const struct world *world, uint32_t program)
{
    return !world->dead[program] && explorer->nodes[world->node[program]].result.end == PROGRAM_RUNS;
}

// ---- checks ----

// Reads epoch and head after a command that may have moved them.
static void check_head(struct explorer *explorer, struct world *world, uint32_t program)
{
    char key[PUBLISHER_KEY_MAX];
    struct base_span text;
    publisher_key_epoch(program_model, key);
    if (sim_redis_get(explorer->redis, key, &text)) {
        uint64_t epoch = strtoull((const char *)text.data, NULL, 10);
        if (epoch < world->epoch) {
            fail(explorer, "the epoch goes back from %" PRIu64 " to %" PRIu64, world->epoch, epoch);
        }
        world->holder = epoch != world->epoch ? program : world->holder;
        world->epoch = epoch;
    }
    struct publisher_version version;
    uint64_t checksum;
    publisher_key_head(program_model, key);
    if (!sim_redis_get(explorer->redis, key, &text) || !publisher_head_parse(text, &version, &checksum)) {
        return;
    }
    int order = publisher_version_compare(version, world->head);
    if (order == 0) {
        return;
    }
    explorer->moves++;
    if (order < 0 || version.epoch != world->epoch || program != world->holder) {
        fail(explorer, "head moves from %" PRIu64 ".%" PRIu64 " to %.*s while epoch %" PRIu64 " is taken",
             world->head.epoch, world->head.number, (int)text.size, (const char *)text.data, world->epoch);
    }
    struct base_error error;
    uint64_t mark = sim_redis_mark(explorer->redis);
    if (sim_publication_check(explorer->redis, program_model, &world->head, &world->tick, &error)) {
        fail(explorer, "head's version is not right: %s", error.text);
    }
    assert(mark == sim_redis_mark(explorer->redis));
}

// After a program has gone on to another node.
static void check_program(struct explorer *explorer, const struct world *world, uint32_t program)
{
    const struct program_result *result = &explorer->nodes[world->node[program]].result;
    if (result->violation[0]) {
        fail(explorer, "%s", result->violation);
    }
    if (publisher_version_compare(result->version, world->head) > 0) {
        fail(explorer, "%" PRIu64 ".%" PRIu64 " is taken for published, head is at %" PRIu64 ".%" PRIu64,
             result->version.epoch, result->version.number, world->head.epoch, world->head.number);
    }
    if (result->end == PROGRAM_GAVE_UP && !world->disturbed) {
        fail(explorer, "a publisher gives up although nothing happened");
    }
}

// A fresh reader over what is there; each content of Redis is looked at once.
static void check_fresh_reader(struct explorer *explorer, const struct world *world)
{
    if (!set_add(&explorer->judged, sim_redis_hash(explorer->redis))) {
        return;
    }
    struct base_error error;
    struct publisher_version version;
    int64_t tick;
    if (sim_publication_check(explorer->redis, program_model, &version, &tick, &error)) {
        fail(explorer, "at the end: %s", error.text);
    }
    struct publisher_reader_config config = {
        .redis = {.transport = sim_redis_transport(explorer->redis), .timeout_ms = 1000},
        .model = program_model,
        .scorers = 1,
    };
    struct publisher_reader *reader = publisher_reader_new(&config, &error);
    assert(reader);
    bool changed = false;
    int failed = publisher_reader_follow(reader, 0, &changed, &error);
    if (world->head.epoch == 0 ? !failed || error.code != BASE_ENOTFOUND : failed) {
        fail(explorer, "a fresh reader: %s", failed ? error.text : "holds something");
    }
    if (!failed && publisher_reader_hash(reader) != program_stage_hash(explorer->stage, world->tick)) {
        fail(explorer, "a fresh reader does not hold the content of tick %" PRId64, world->tick);
    }
    publisher_reader_free(reader);
}

static void check_end(struct explorer *explorer, const struct world *world)
{
    explorer->ends++;
    check_fresh_reader(explorer, world);
    for (uint32_t program = 0; program < PROGRAM_PUBLISHERS; program++) {
        explorer->outcomes[explorer->nodes[world->node[program]].result.end]++;
    }
    if (world->holder == PROGRAMS) {
        return;
    }
    const struct program_result *last = &explorer->nodes[world->node[world->holder]].result;
    if (last->end != PROGRAM_DONE) {
        return;
    }
    uint32_t content = world->holder == 0 ? PROGRAM_VERSION_LAST - 1 : PROGRAM_VERSION_LAST;
    bool same = last->version.epoch == 0 || publisher_version_compare(last->version, world->head) == 0;
    if (!same || program_tick_content(world->tick) < content) {
        fail(explorer,
             "the last publisher has finished with %" PRIu64 ".%" PRIu64 ", head is at %" PRIu64 ".%" PRIu64,
             last->version.epoch, last->version.number, world->head.epoch, world->head.number);
    }
}

// ---- steps ----

static void explore(struct explorer *explorer, const struct world *world);

static uint64_t world_hash(const struct explorer *explorer, const struct world *world)
{
    struct {
        uint64_t redis;
        uint32_t node[PROGRAMS];
        uint32_t marks;
        uint64_t queues;
    } key;
    memset(&key, 0, sizeof key);
    key.redis = sim_redis_hash(explorer->redis);
    memcpy(key.node, world->node, sizeof key.node);
    key.marks = world->faults | world->deaths << 4 | world->expiries << 8 | (uint32_t)world->dead[0] << 12 |
                (uint32_t)world->dead[1] << 13 | world->holder << 16;
    for (uint32_t i = 0; i < world->queues; i++) { // in any order
        const struct queue *queue = &world->queue[i];
        key.queues +=
            base_hash_bytes(base_span_make(queue->text, queue->count * sizeof *queue->text), queue->program);
    }
    return base_hash_bytes(base_span_make(&key, sizeof key), 0);
}

static void path_push(struct explorer *explorer, const char *what, uint32_t program, uint32_t text)
{
    assert(explorer->depth < DEPTH_MAX);
    explorer->path[explorer->depth++] = (struct step){what, program, text};
    explorer->deepest = explorer->depth > explorer->deepest ? explorer->depth : explorer->deepest;
    explorer->steps++;
}

static bool text_begins(const struct explorer *explorer, uint32_t text, const char *word)
{
    const struct base_buffer *command = &explorer->texts->text[text];
    return memmem(command->data, command->size < 24 ? command->size : 24, word, strlen(word)) != NULL;
}

// True if the command's key carries a version: "{freshet:<model>}:<digit>".
static bool text_of_version(const struct explorer *explorer, uint32_t text)
{
    const struct base_buffer *command = &explorer->texts->text[text];
    const uint8_t *at = memmem(command->data, command->size, "}:", 2);
    return at && at[2] >= '0' && at[2] <= '9';
}

// True if no step of another program, now or later, can make a difference to this command or it to them.
static bool step_private(struct explorer *explorer, const struct world *world, uint32_t text)
{
    if (explorer->whole || world->expiries > 0) {
        return false;
    }
    if (text_begins(explorer, text, "INFO")) {
        return true;
    }
    if (text_begins(explorer, text, "SET")) {
        return text_of_version(explorer, text);
    }
    // What is there does not change; what is missing might come.
    if (text_begins(explorer, text, "GET") && text_of_version(explorer, text)) {
        uint64_t mark = sim_redis_mark(explorer->redis);
        base_buffer_clear(&explorer->reply);
        sim_redis_run(explorer->redis, base_buffer_span(&explorer->texts->text[text]), &explorer->reply);
        assert(mark == sim_redis_mark(explorer->redis));
        return explorer->reply.data[0] == '$' && explorer->reply.data[1] != '-';
    }
    return false;
}

// Puts commands under way aside; those that nobody else can see are not worth it.
static void world_put_aside(struct explorer *explorer, struct world *world, uint32_t program,
                            const uint32_t *text, uint32_t count)
{
    struct queue queue = {.program = program};
    bool seen = false;
    for (uint32_t i = 0; i < count; i++) {
        seen = seen || !step_private(explorer, world, text[i]);
        queue.text[queue.count++] = text[i];
    }
    if (seen) {
        assert(world->queues < QUEUES_MAX);
        world->queue[world->queues++] = queue;
    }
}

// The program takes an input; what it gives up is put aside.
static void world_advance(struct explorer *explorer, struct world *world, uint32_t program,
                          struct program_input input)
{
    world->node[program] = node_child(explorer, program, world->node[program], input);
    struct program_result result = explorer->nodes[world->node[program]].result;
    world_put_aside(explorer, world, program, result.under_way, result.under_way_count);
    check_program(explorer, world, program);
}

// Redis runs a command of a program, which waits for it or, `late`, has given it up.
static void world_command(struct explorer *explorer, struct world *world, uint32_t program, uint32_t text,
                          bool late)
{
    uint64_t epoch = world->epoch;
    base_buffer_clear(&explorer->reply);
    sim_redis_run(explorer->redis, base_buffer_span(&explorer->texts->text[text]), &explorer->reply);
    if (text_begins(explorer, text, "EVAL")) {
        check_head(explorer, world, program);
    }
    if (late && world->epoch != epoch) {
        world->holder = PROGRAMS; // nobody knows that it is taken
    }
}

static void step_run(struct explorer *explorer, const struct world *world, uint32_t program)
{
    struct world next = *world;
    uint64_t mark = sim_redis_mark(explorer->redis);
    uint32_t text = explorer->nodes[world->node[program]].result.pending[0];
    path_push(explorer, "runs", program, text);
    world_command(explorer, &next, program, text, false);
    uint32_t reply = program_text(explorer->texts, base_buffer_span(&explorer->reply));
    world_advance(explorer, &next, program, (struct program_input){PROGRAM_REPLY, reply});
    explore(explorer, &next);
    sim_redis_rewind(explorer->redis, mark);
    explorer->depth--;
}

static void step_lose(struct explorer *explorer, const struct world *world, uint32_t program,
                      enum program_input_kind kind)
{
    struct world next = *world;
    next.faults--;
    next.disturbed = true;
    path_push(explorer, kind == PROGRAM_LOST ? "loses" : "is away", program,
              explorer->nodes[world->node[program]].result.pending[0]);
    world_advance(explorer, &next, program, (struct program_input){kind, 0});
    explore(explorer, &next);
    explorer->depth--;
}

static void step_die(struct explorer *explorer, const struct world *world, uint32_t program)
{
    struct world next = *world;
    struct program_result result = explorer->nodes[world->node[program]].result;
    next.deaths--;
    next.dead[program] = true;
    next.disturbed = true;
    path_push(explorer, "dies", program, result.pending[0]);
    world_put_aside(explorer, &next, program, result.pending, result.pending_count);
    explore(explorer, &next);
    explorer->depth--;
}

static void step_late(struct explorer *explorer, const struct world *world, uint32_t i)
{
    struct world next = *world;
    struct queue *queue = &next.queue[i];
    uint32_t text = queue->text[0];
    uint32_t program = queue->program;
    uint64_t mark = sim_redis_mark(explorer->redis);
    explorer->late++;
    path_push(explorer, "late", program, text);
    queue->count--;
    memmove(queue->text, queue->text + 1, queue->count * sizeof *queue->text);
    if (queue->count == 0) {
        next.queue[i] = next.queue[--next.queues];
    }
    world_command(explorer, &next, program, text, true);
    explore(explorer, &next);
    sim_redis_rewind(explorer->redis, mark);
    explorer->depth--;
}

static void step_expire(struct explorer *explorer, const struct world *world)
{
    struct world next = *world;
    uint64_t mark = sim_redis_mark(explorer->redis);
    next.expiries--;
    next.disturbed = true;
    path_push(explorer, "passes", PROGRAMS, UINT32_MAX);
    sim_redis_expire_all(explorer->redis);
    explore(explorer, &next);
    sim_redis_rewind(explorer->redis, mark);
    explorer->depth--;
}

static void explore_program(struct explorer *explorer, const struct world *world, uint32_t program)
{
    step_run(explorer, world, program);
    if (world->faults > 0) {
        step_lose(explorer, world, program, PROGRAM_LOST);
    }
    if (world->faults > 0 && program != PROGRAM_READER) {
        step_lose(explorer, world, program, PROGRAM_LOST_LONG);
    }
    if (world->deaths > 0 && program != PROGRAM_READER) {
        step_die(explorer, world, program);
    }
}

static void explore(struct explorer *explorer, const struct world *world)
{
    if (explorer->visited.count >= explorer->states_max ||
        !set_add(&explorer->visited, world_hash(explorer, world))) {
        return;
    }
    bool runs = false;
    for (uint32_t program = 0; program < PROGRAMS; program++) {
        if (!world_runs(explorer, world, program)) {
            continue;
        }
        runs = true;
        if (step_private(explorer, world, explorer->nodes[world->node[program]].result.pending[0])) {
            explore_program(explorer, world, program);
            return;
        }
    }
    if (!runs) {
        check_end(explorer, world);
    }
    for (uint32_t program = 0; program < PROGRAMS; program++) {
        if (world_runs(explorer, world, program)) {
            explore_program(explorer, world, program);
        }
    }
    for (uint32_t i = 0; i < world->queues; i++) {
        step_late(explorer, world, i);
    }
    if (world->expiries > 0 && runs) {
        step_expire(explorer, world);
    }
}

// ---- runs ----

struct bounds {
    uint32_t faults, deaths, expiries;
};

static void run(const struct program_variant *variant, struct bounds bounds, bool whole, uint64_t states_max)
{
    struct explorer *explorer = base_alloc_zeroed(1, sizeof *explorer);
    explorer->variant = variant;
    explorer->whole = whole;
    explorer->states_max = states_max;
    explorer->stage = program_stage_new(variant);
    explorer->texts = program_stage_texts(explorer->stage);
    sim_clock_init(&explorer->clock, 0);
    explorer->redis = sim_redis_new(&explorer->clock, NULL);
    struct world world = {
        .faults = bounds.faults, .deaths = bounds.deaths, .expiries = bounds.expiries, .holder = PROGRAMS};
    for (uint32_t program = 0; program < PROGRAMS; program++) {
        world.node[program] =
            node_add(explorer, program, explorer->node_count, (struct program_input){PROGRAM_REPLY, 0});
    }
    explore(explorer, &world);
    bool cut = explorer->visited.count >= states_max;
    printf("%-10s follows %u lost %u deaths %u expiries %u%s: %" PRIu64 " states, %" PRIu64 " steps, %" PRIu64
           " moves of head, %" PRIu64 " late commands, %" PRIu64 " ends (publishers: %" PRIu64
           " finished, %" PRIu64 " outbid, %" PRIu64 " gave up, %" PRIu64
           " dead), %u runs of programs, longest path %u%s\n",
           variant->name, variant->follows, bounds.faults, bounds.deaths, bounds.expiries,
           whole ? " whole" : "", explorer->visited.count, explorer->steps, explorer->moves, explorer->late,
           explorer->ends, explorer->outcomes[PROGRAM_DONE], explorer->outcomes[PROGRAM_OUTBID],
           explorer->outcomes[PROGRAM_GAVE_UP], explorer->outcomes[PROGRAM_RUNS], explorer->node_count,
           explorer->deepest, cut ? "; NOT ALL: the bound was reached" : "");
    fflush(stdout);
    sim_redis_free(explorer->redis);
    program_stage_free(explorer->stage);
    free(explorer->nodes);
    free(explorer->children.item);
    free(explorer->child_node);
    free(explorer->visited.item);
    free(explorer->judged.item);
    base_buffer_free(&explorer->reply);
    free(explorer);
}

static void usage(void)
{
    puts("simulate_publication [--variant strangers|kin|bases] [--follows N] [--lost N] [--deaths N]\n"
         "                     [--expiries N] [--whole] [--states MAX]\n"
         "Explores the small model of publication; without options, a list of bounds that takes a minute.");
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"variant", required_argument, NULL, 'v'},
        {"follows", required_argument, NULL, 'f'},
        {"lost", required_argument, NULL, 'l'},
        {"deaths", required_argument, NULL, 'd'},
        {"expiries", required_argument, NULL, 'e'},
        {"whole", no_argument, NULL, 'w'},
        {"states", required_argument, NULL, 's'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    struct program_variant variants[] = {
        {"strangers", false, 100, 2},
        {"kin", true, 100, 2},
        {"bases", false, 0.4, 2},
    };
    enum { VARIANTS = sizeof variants / sizeof *variants };
    struct bounds bounds = {0};
    bool whole = false;
    uint64_t states_max = UINT64_MAX;
    const char *chosen = NULL;
    uint32_t follows = 0;
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) >= 0;) {
        uint32_t number = optarg ? (uint32_t)strtoul(optarg, NULL, 10) : 0;
        switch (option) {
        case 'v':
            chosen = optarg;
            break;
        case 'f':
            follows = number;
            break;
        case 'l':
            bounds.faults = number;
            break;
        case 'd':
            bounds.deaths = number;
            break;
        case 'e':
            bounds.expiries = number;
            break;
        case 'w':
            whole = true;
            break;
        case 's':
            states_max = strtoull(optarg, NULL, 10);
            break;
        default:
            usage();
            return option == 'h' ? 0 : 2;
        }
    }
    for (size_t i = 0; i < VARIANTS; i++) {
        variants[i].follows = follows ? follows : variants[i].follows;
        if (argc > 1 && (!chosen || strcmp(chosen, variants[i].name) == 0)) {
            run(&variants[i], bounds, whole, states_max);
        }
    }
    static const struct bounds list[] = {{0, 0, 0}, {1, 0, 0}, {0, 1, 0}, {0, 0, 1}};
    for (size_t i = 0; argc == 1 && i < VARIANTS; i++) {
        for (size_t b = 0; b < sizeof list / sizeof *list; b++) {
            run(&variants[i], list[b], false, states_max);
        }
    }
    return 0;
}
