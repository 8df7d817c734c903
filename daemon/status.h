// The status file: what the daemon does now, as one JSON object in <state_dir>/status.json, renewed about
// once a second by a rename, so that a reader sees it whole. docs/STATUS.md lists the keys.
#ifndef DAEMON_STATUS_H
#define DAEMON_STATUS_H

#include "daemon/pipeline.h"
#include "daemon/status_source.h"

// Numbers a second come from two states; `before` may be zero-initialised.
struct daemon_status_times {
    int64_t monotonic_ns; // of the state
    int64_t wall_ms;
};

// The status as JSON text; the caller frees. `source` may be NULL: there is nothing to say of it.
char *daemon_status_text(const struct daemon_config *config, const struct daemon_pipeline_state *before,
                         struct daemon_status_times before_times, const struct daemon_pipeline_state *now,
                         struct daemon_status_times now_times, const struct daemon_status_source *source);
// Writes `text` to <state_dir>/status.json. BASE_EIO.
int daemon_status_write(const char *state_dir, const char *text, struct base_error *error);

#endif
