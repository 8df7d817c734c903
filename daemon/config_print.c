// Problems of a configuration as lines. See config_print.h.
#include "daemon/config_print.h"

#include <stdlib.h>

void daemon_config_print(const struct base_config_problems *problems, FILE *out)
{
    for (uint32_t i = 0; i < problems->count; i++) {
        const struct base_config_problem *problem = &problems->item[i];
        fprintf(out, "%s: %s\n", problem->warning ? "warning" : "error", problem->text);
    }
    uint32_t found = problems->errors + problems->warnings;
    if (found > problems->count) {
        fprintf(out, "and %u more\n", found - problems->count);
    }
}

struct daemon_config *daemon_config_load_and_print(const char *path)
{
    struct base_config_problems *problems = base_alloc_zeroed(1, sizeof *problems);
    struct daemon_config *config = daemon_config_load(path, problems);
    daemon_config_print(problems, stderr);
    free(problems);
    return config;
}
