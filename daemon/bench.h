// The benchmarks of `freshet bench`: one function each, in daemon/bench_<name>.c. Each writes one JSON object
// a line to `out`, {"bench":"<name>",...}, and returns 0, or 1 after one sentence on standard error.
#ifndef DAEMON_BENCH_H
#define DAEMON_BENCH_H

#include <stdio.h>

int daemon_bench_join(FILE *out);
// The SGEMM of 256 x 384 x 1536 on one thread.
int daemon_bench_gemm(FILE *out);
// The dense half of a training step, against its matrix products alone on one thread.
int daemon_bench_network(FILE *out);

#endif
