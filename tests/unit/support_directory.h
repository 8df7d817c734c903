// A directory for a test's files, in memory where the system has such a place.
#ifndef TESTS_SUPPORT_DIRECTORY_H
#define TESTS_SUPPORT_DIRECTORY_H

#include <sys/types.h>

enum { SUPPORT_DIRECTORY_MAX = 128 };

// Makes an empty directory of its own; aborts if it cannot.
void support_directory_make(char path[SUPPORT_DIRECTORY_MAX]);
// Removes it and the files in it (no directories below).
void support_directory_remove(const char *path);

// Changes one bit of a file's byte; once more, and it is as before. Aborts if there is no such byte.
void support_file_flip(const char *path, off_t at);

#endif
