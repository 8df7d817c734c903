// The benchmarks of `freshet bench`: one function each, in daemon/bench_<name>.c. Each writes one JSON object
// a line to `out`, {"bench":"<name>",...}, and returns 0, or 1 after one sentence on standard error.
#ifndef DAEMON_BENCH_H
#define DAEMON_BENCH_H

#include <stdio.h>

int daemon_bench_join(FILE *out);

#endif
