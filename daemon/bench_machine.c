// The benchmarks' clocks and the description of the machine. See bench_machine.h.
#include "daemon/bench_machine.h"

#include <librdkafka/rdkafka.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "trainer/blas.h"

enum { MACHINE_TEXT_MAX = 128 };

double daemon_bench_seconds(void)
{
    return 1e-9 * (double)base_clock_monotonic_ns(&base_clock_system);
}

double daemon_bench_cpu_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

double daemon_bench_process_seconds(pid_t pid)
{
    clockid_t clock;
    struct timespec now;
    if (pid <= 0 || clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &now) != 0) {
        return 0;
    }
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

// The processor's name as the kernel gives it, without what JSON would have to escape.
static void machine_cpu(char name[MACHINE_TEXT_MAX])
{
    char line[2 * MACHINE_TEXT_MAX];
    snprintf(name, MACHINE_TEXT_MAX, "unknown");
    FILE *file = fopen("/proc/cpuinfo", "r");
    while (file && fgets(line, sizeof line, file)) {
        char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) == 0 && colon) {
            snprintf(name, MACHINE_TEXT_MAX, "%s", colon + 1 + strspn(colon + 1, " \t"));
            name[strcspn(name, "\"\\\n")] = '\0';
            break;
        }
    }
    if (file) {
        fclose(file);
    }
}

static int compare_doubles(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

void daemon_bench_sort(double *values, size_t count)
{
    qsort(values, count, sizeof *values, compare_doubles);
}

void daemon_bench_end(FILE *out, uint32_t threads)
{
    char cpu[MACHINE_TEXT_MAX], blas[TRAINER_BLAS_TEXT_MAX];
    double load = 0;
    machine_cpu(cpu);
    trainer_blas_describe(blas, sizeof blas);
    getloadavg(&load, 1);
    fprintf(out,
            ",\"threads\":%u,\"cpu\":\"%s\",\"cpus\":%ld,\"load\":%.1f,\"core\":\"%s\",\"blas\":\"%s\","
            "\"librdkafka\":\"%s\"}\n",
            threads, cpu, sysconf(_SC_NPROCESSORS_ONLN), load, trainer_blas_core(), blas,
            rd_kafka_version_str());
    fflush(out);
}
