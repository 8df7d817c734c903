// The benchmarks of `freshet bench`: one function each, in daemon/bench_<name>.c. Each writes one JSON object
// a line to `out`, {"bench":"<name>",...}, and returns 0, or 1 after one sentence on standard error.
#ifndef DAEMON_BENCH_H
#define DAEMON_BENCH_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

int daemon_bench_join(FILE *out);
// Impressions and clicks from Avro bytes to events, against Avro C's generic reading.
int daemon_bench_decode(FILE *out);
// The SGEMM of 256 x 384 x 1536 on one thread.
int daemon_bench_gemm(FILE *out);
// The dense half of a training step, against its matrix products alone on one thread.
int daemon_bench_network(FILE *out);
// The whole training step of the reference model over a table of 24 M rows (3 GB); its limit is the one
// below.
int daemon_bench_train(FILE *out);
// The same of one body, or of "all", over a tenth of the rows, with 1 and with 2 workers.
int daemon_bench_train_body(const char *name, FILE *out);
bool daemon_bench_train_knows(const char *name);
// The trainer's half of a cut over 10 M rows: how long it stands still, what copying and restoring cost.
int daemon_bench_cut(FILE *out);
// Files of three topics decoded and joined on one thread, against decoding alone; with 1 and with 4 lanes.
int daemon_bench_consumer(FILE *out);
// The content of three topics of an embedded broker (or of the one that FRESHET_BENCH_KAFKA names) through
// the whole daemon into a Redis of its own, against the limit below; with 1 and with 2 workers.
int daemon_bench_pipeline(FILE *out);
// A base of a million rows to a Redis of its own, against plain SETs of the same bytes.
int daemon_bench_publish(FILE *out);
// Its way back into a reader.
int daemon_bench_reader(FILE *out);

// Examples a second of the reference model's matrix products alone on one thread, the best of some turns.
double daemon_bench_gemm_limit(uint32_t batch);

#endif
