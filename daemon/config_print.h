// The programs' way to a configuration: load it, and say on standard error what is wrong with it.
#ifndef DAEMON_CONFIG_PRINT_H
#define DAEMON_CONFIG_PRINT_H

#include <stdio.h>

#include "daemon/config.h"

// One line a problem, "error: FILE:LINE:COLUMN: ..." or "warning: ..."; those that were only counted as
// "and N more".
void daemon_config_print(const struct base_config_problems *problems, FILE *out);
// daemon_config_load, all problems printed on standard error. NULL: there are errors among them. The caller
// frees the configuration.
struct daemon_config *daemon_config_load_and_print(const char *path);

#endif
