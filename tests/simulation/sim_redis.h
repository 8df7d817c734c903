// A Redis in memory: the commands and the two scripts that the publisher and the reader use, expiry by a
// simulated clock, and what befalls a server: lost connections, a restart without data, a failover to a
// replica that had not received the last writes, lost keys.
//
// A command is one atomic step and takes no time. What is not here answers with an error, loudly: a script
// that is not one of publisher/head.c's (sim_redis_script.c knows them by their hash) or an unknown command.
//
// Thread: one for all.
#ifndef TESTS_SIMULATION_SIM_REDIS_H
#define TESTS_SIMULATION_SIM_REDIS_H

#include "publisher/publisher.h"
#include "simulation/sim_clock.h"
#include "simulation/sim_random.h"

struct sim_redis;

// `clock` and `faults` (NULL: no faults) are borrowed.
struct sim_redis *sim_redis_new(struct sim_clock *clock, struct sim_faults *faults);
void sim_redis_free(struct sim_redis *redis); // after its connections are closed

// ---- for clients ----

// The transport for any number of clients; lives as long as the server. Sites:
//   redis.connect      a connection is refused
//   redis.lost_before  the connection ends, the command did not reach the server
//   redis.lost_after   the command is run, its reply never comes
//   redis.late         the command and all behind it on its connection are run some commands of others later,
//                      or never; the client waits in vain
//   redis.refuse       a command that writes answers OOM
// Time-outs move the clock, and so does waiting.
const struct publisher_redis_transport *sim_redis_transport(struct sim_redis *redis);

// ---- what befalls it ----

// To be called once in a while: lets happen, by sites, redis.restart, redis.failover (up to 20 commands
// lost), redis.evict (a few keys), redis.down (up to 3 s), and expires what is due.
void sim_redis_step(struct sim_redis *redis);
// Each of these ends all connections.
void sim_redis_restart(struct sim_redis *redis);                   // empty, another run id
void sim_redis_failover(struct sim_redis *redis, uint32_t writes); // without the last writing commands
void sim_redis_down_until(struct sim_redis *redis, int64_t ms);    // monotonic
// Removes a key, as eviction does; false if there is none.
bool sim_redis_evict(struct sim_redis *redis, const char *key);
void sim_redis_set_policy(struct sim_redis *redis, const char *policy); // a text that stays
void sim_redis_set_master(struct sim_redis *redis, bool master);

// ---- looking in ----

// A string's value, borrowed until the next command; false if there is none.
bool sim_redis_get(struct sim_redis *redis, const char *key, struct base_span *value);
// Milliseconds left; -1: no expiry; -2: no such key.
int64_t sim_redis_ttl_ms(struct sim_redis *redis, const char *key);
// All keys, in no order.
void sim_redis_each(struct sim_redis *redis, void (*visit)(void *context, const char *key), void *context);
uint64_t sim_redis_commands(const struct sim_redis *redis); // run so far

// ---- for a model that explores ----

// Runs one command (RESP) and appends its reply (RESP).
void sim_redis_run(struct sim_redis *redis, struct base_span command, struct base_buffer *reply);
// Drops every key that has an expiry, as time would.
void sim_redis_expire_all(struct sim_redis *redis);
// A hash of the whole content: equal content, equal hash.
uint64_t sim_redis_hash(const struct sim_redis *redis);
// A place to go back to. Only the last SIM_REDIS_UNDO_MAX changes of keys can be undone.
enum { SIM_REDIS_UNDO_MAX = 8192 };
uint64_t sim_redis_mark(const struct sim_redis *redis);
void sim_redis_rewind(struct sim_redis *redis, uint64_t mark);

#endif
