// A disk that is the system's until a chosen call of a chosen operation, which fails.
#ifndef TESTS_SUPPORT_DISK_H
#define TESTS_SUPPORT_DISK_H

#include "base/disk.h"

enum support_disk_operation {
    SUPPORT_DISK_OPEN,
    SUPPORT_DISK_WRITE,
    SUPPORT_DISK_ALLOCATE,
    SUPPORT_DISK_TRUNCATE,
    SUPPORT_DISK_SYNC,
    SUPPORT_DISK_SYNC_DIRECTORY,
    SUPPORT_DISK_RENAME,
    SUPPORT_DISK_LINK,
    SUPPORT_DISK_UNLINK,
    SUPPORT_DISK_MAKE_DIRECTORY,
    SUPPORT_DISK_OPERATIONS
};

struct support_disk {
    struct base_disk disk; // first
    enum support_disk_operation fails;
    unsigned at;                             // this call of it fails, counted from 1; 0: none
    int status;                              // with this errno number
    unsigned calls[SUPPORT_DISK_OPERATIONS]; // so far
};

// A disk of which nothing fails yet.
void support_disk_begin(struct support_disk *disk);
// The n-th call of an operation from now on fails.
void support_disk_fail(struct support_disk *disk, enum support_disk_operation operation, unsigned n,
                       int status);

#endif
