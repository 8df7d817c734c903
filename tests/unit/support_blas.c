// Before main of every test program that contains trainer/blas.c: the right kernels (blas.h). The reference
// is weak, since the programs of the rooms below do not contain it.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "trainer/blas.h"

void trainer_blas_pin(char **argv) __attribute__((weak));

enum { SUPPORT_ARGUMENTS_MAX = 256, SUPPORT_COMMAND_MAX = 65536 };

__attribute__((constructor)) static void support_blas_pin(void)
{
    if (!trainer_blas_pin) {
        return;
    }
    static char command[SUPPORT_COMMAND_MAX];
    static char *argv[SUPPORT_ARGUMENTS_MAX + 1];
    FILE *file = fopen("/proc/self/cmdline", "re");
    if (!file) {
        abort();
    }
    size_t size = fread(command, 1, sizeof command - 1, file);
    fclose(file);
    size_t count = 0;
    for (size_t at = 0; at < size && count < SUPPORT_ARGUMENTS_MAX; at += strlen(command + at) + 1) {
        argv[count++] = command + at;
    }
    trainer_blas_pin(argv);
}
