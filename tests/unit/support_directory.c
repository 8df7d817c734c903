// A directory for a test's files. See support_directory.h.
#include "support_directory.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void support_directory_make(char path[SUPPORT_DIRECTORY_MAX])
{
    const char *place = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(path, SUPPORT_DIRECTORY_MAX, "%s/freshet-test-XXXXXX", place);
    if (!mkdtemp(path)) {
        perror(path);
        abort();
    }
}

void support_directory_remove(const char *path)
{
    DIR *directory = opendir(path);
    if (!directory) {
        return;
    }
    for (struct dirent *entry = readdir(directory); entry; entry = readdir(directory)) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            unlinkat(dirfd(directory), entry->d_name, 0);
        }
    }
    closedir(directory);
    rmdir(path);
}

void support_file_flip(const char *path, off_t at)
{
    uint8_t byte;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0 || pread(fd, &byte, 1, at) != 1) {
        perror(path);
        abort();
    }
    byte ^= 0x20;
    if (pwrite(fd, &byte, 1, at) != 1) {
        perror(path);
        abort();
    }
    close(fd);
}
