// The table of the commands. See command.h.
#include "daemon/command.h"

const struct daemon_command_row daemon_commands[] = {
    {"bench", daemon_command_bench, "measure this machine: one JSON object a benchmark"},
    {"check", daemon_command_check, "check a configuration; print its plan and needs, or the reference page"},
    {"cuts", daemon_command_cuts,
     "list, pin, drop, export, import and verify the kept cuts of a state directory"},
    {"demo", daemon_command_demo,
     "the main job, live: private Redis, embedded broker, freshetd, a model that learns"},
    {"generate", daemon_command_generate,
     "write a simulated marketplace with a known truth, to Kafka or files"},
    {"replay", daemon_command_replay,
     "join and train over a bounded source; print counts and the weight hash"},
    {"score", daemon_command_score, "score impressions with the version that Redis holds"},
    {"skip", daemon_command_skip,
     "decide what to do about a log that has changed: skip, take the log as it is, accept partitions"},
    {"versions", daemon_command_versions, "show what is published under a model's name"},
};

const size_t daemon_commands_count = sizeof daemon_commands / sizeof *daemon_commands;
