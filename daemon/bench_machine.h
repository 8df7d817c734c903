// What all benchmarks share: clocks, and the description of the machine that ends every line.
#ifndef DAEMON_BENCH_MACHINE_H
#define DAEMON_BENCH_MACHINE_H

#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

// Seconds of the monotonic clock.
double daemon_bench_seconds(void);
// Processor seconds of the calling thread: what the core gave to it, whatever else the machine does.
double daemon_bench_cpu_seconds(void);
// Processor seconds that a process has used so far, all its threads; 0 if there is none.
double daemon_bench_process_seconds(pid_t pid);

// Puts values in ascending order.
void daemon_bench_sort(double *values, size_t count);

// Ends a line that was begun with "{...":
// `,"threads":N,"cpu":...,"cpus":...,"load":...,"core":...,"blas":..., "librdkafka":...}` and a newline.
// `threads` is how many of our own worked at the same time; `load` the machine's load average of the last
// minute, others' jobs included.
void daemon_bench_end(FILE *out, uint32_t threads);

#endif
