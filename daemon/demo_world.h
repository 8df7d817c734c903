// What a demonstration runs in: a directory of its own with a private Redis on a unix socket, an embedded
// broker and a real freshetd. Everything ends and the directory goes with daemon_demo_world_free, or when we
// are killed.
#ifndef DAEMON_DEMO_WORLD_H
#define DAEMON_DEMO_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

enum { DAEMON_DEMO_LANES = 4 };
#define DAEMON_DEMO_MODEL "demo"

// Windows of the demonstration's funnel, ms: short, so that a minute shows all of it.
enum {
    DAEMON_DEMO_LATENESS = 500,
    DAEMON_DEMO_CLICK_WAIT = 3000,
    DAEMON_DEMO_CLICK_WINDOW = 8000,
    DAEMON_DEMO_PURCHASE_WAIT = 4000,
    DAEMON_DEMO_PURCHASE_WINDOW = 10000,
};

struct daemon_demo_world;

// Starts all three; returns when the daemon has written its first status. `topics`: impressions, clicks,
// purchases. `daemon_program` is the path of freshetd. Forks, so call it before any thread is started. Errors
// name the part and carry the end of its log.
struct daemon_demo_world *daemon_demo_world_new(const char *daemon_program, const char *const topics[3],
                                                struct base_error *error);
// Ends the daemon as systemd would (SIGTERM, and SIGKILL after 15 s), then the others. Takes NULL.
void daemon_demo_world_free(struct daemon_demo_world *world);

const char *daemon_demo_world_bootstrap(const struct daemon_demo_world *world);
const char *daemon_demo_world_redis(const struct daemon_demo_world *world);  // path of its socket
const char *daemon_demo_world_status(const struct daemon_demo_world *world); // path of status.json
// -1 if the daemon or Redis has ended; the error says which, with the end of its log.
int daemon_demo_world_check(struct daemon_demo_world *world, struct base_error *error);

#endif
