// Tests of the disk: the system's operations, errors that name the file, whole files, and the list of what
// has to be synced.
#include "base/disk.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support_directory.h"
#include "support_disk.h"

enum { PATH_BYTES = 256 };

static char directory[SUPPORT_DIRECTORY_MAX];
static struct base_error error;
static struct support_disk disk;

static void begin(void)
{
    support_directory_make(directory);
    support_disk_begin(&disk);
}

static void end(void)
{
    support_directory_remove(directory);
}

TestSuite(disk, .init = begin, .fini = end);

static const char *file(const char *name)
{
    static char path[4][PATH_BYTES];
    static unsigned turn;
    char *next = path[turn++ % 4];
    snprintf(next, PATH_BYTES, "%s/%s", directory, name);
    return next;
}

static int make(const char *name)
{
    int fd = -1;
    cr_assert_eq(base_disk_open(NULL, file(name), O_RDWR | O_CREAT | O_EXCL, &fd, &error), 0, "%s",
                 error.text);
    return fd;
}

static void expect_error(int failed, const char *a, const char *b)
{
    cr_assert_eq(failed, -1);
    cr_assert_eq(error.code, BASE_EIO);
    cr_assert(strstr(error.text, a) && strstr(error.text, b), "%s", error.text);
}

static void expect_content(const char *path, const char *text)
{
    struct base_buffer buffer = {0};
    cr_assert_eq(base_disk_read(path, 100, &buffer, &error), 0, "%s", error.text);
    cr_assert(base_span_equal(base_buffer_span(&buffer), base_span_string(text)));
    base_buffer_free(&buffer);
}

Test(disk, the_systems_operations_do_what_they_say)
{
    int fd = make("a");
    struct stat status;
    cr_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    cr_assert_eq(base_disk_write(NULL, fd, file("a"), base_span_string("world"), 6, &error), 0);
    cr_assert_eq(base_disk_write(NULL, fd, file("a"), base_span_string("hello "), 0, &error), 0);
    expect_content(file("a"), "hello world");
    cr_assert_eq(base_disk_truncate(NULL, fd, file("a"), 5, &error), 0);
    expect_content(file("a"), "hello");
    cr_assert_eq(base_disk_allocate(NULL, fd, file("a"), 8192, &error), 0);
    cr_assert_eq(fstat(fd, &status), 0);
    cr_assert_eq(status.st_size, 8192);
    cr_assert_eq(status.st_mode & 0777, 0640);
    cr_assert_eq(base_disk_truncate(NULL, fd, file("a"), 5, &error), 0);
    cr_assert_eq(base_disk_sync(NULL, fd, file("a"), &error), 0);
    cr_assert_eq(base_disk_sync_directory(NULL, directory, &error), 0);
    cr_assert_eq(base_disk_link(NULL, file("a"), file("b"), &error), 0);
    cr_assert_eq(base_disk_rename(NULL, file("a"), file("c"), &error), 0);
    expect_content(file("b"), "hello");
    expect_content(file("c"), "hello");
    cr_assert_eq(base_disk_unlink(NULL, file("b"), &error), 0);
    cr_assert_eq(access(file("b"), F_OK), -1);
    cr_assert_eq(base_disk_make_directory(NULL, file("d"), &error), 0);
    cr_assert_eq(base_disk_make_directory(NULL, file("d"), &error), 0, "it is there");
    rmdir(file("d"));
    close(fd);
}

Test(disk, the_systems_errors_name_the_file)
{
    int fd = 77;
    expect_error(base_disk_open(NULL, file("none"), O_RDONLY, &fd, &error), "cannot open", file("none"));
    expect_error(base_disk_open(NULL, file("no/dir"), O_RDWR | O_CREAT, &fd, &error), "cannot create",
                 file("no/dir"));
    cr_assert_eq(fd, 77);
    int closed = make("a");
    close(closed);
    expect_error(base_disk_write(NULL, closed, file("a"), base_span_string("x"), 3, &error), file("a"),
                 "at 3");
    expect_error(base_disk_allocate(NULL, closed, file("a"), 100, &error), "100 bytes", file("a"));
    expect_error(base_disk_truncate(NULL, closed, file("a"), 100, &error), "truncate", file("a"));
    cr_assert(!error.fatal);
    expect_error(base_disk_sync(NULL, closed, file("a"), &error), "sync", file("a"));
    cr_assert(error.fatal, "what is on the disk is unknown");
    error.fatal = false;
    expect_error(base_disk_sync_directory(NULL, file("none"), &error), "sync", file("none"));
    cr_assert(error.fatal);
    expect_error(base_disk_rename(NULL, file("none"), file("b"), &error), "rename", file("none"));
    expect_error(base_disk_link(NULL, file("none"), file("b"), &error), "link", file("none"));
    expect_error(base_disk_unlink(NULL, file("none"), &error), "remove", file("none"));
    expect_error(base_disk_make_directory(NULL, file("no/dir"), &error), "make directory", file("no/dir"));
}

Test(disk, a_file_is_replaced_as_a_whole_or_not_at_all)
{
    static const enum support_disk_operation order[] = {SUPPORT_DISK_OPEN, SUPPORT_DISK_WRITE,
                                                        SUPPORT_DISK_SYNC, SUPPORT_DISK_RENAME};
    cr_assert_eq(base_disk_replace(&disk.disk, file("f"), base_span_string("old"), &error), 0);
    expect_content(file("f"), "old");
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        support_disk_fail(&disk, order[i], 1, EIO);
        expect_error(base_disk_replace(&disk.disk, file("f"), base_span_string("new"), &error),
                     "Input/output error", file("f"));
        expect_content(file("f"), "old");
    }
    support_disk_fail(&disk, SUPPORT_DISK_SYNC_DIRECTORY, 1, EIO);
    expect_error(base_disk_replace(&disk.disk, file("f"), base_span_string("new"), &error), "sync",
                 directory);
    cr_assert(error.fatal);
    cr_assert_eq(base_disk_replace(&disk.disk, file("f"), base_span_string("new"), &error), 0);
    expect_content(file("f"), "new");
    cr_assert_eq(access(file("f.new"), F_OK), -1);
    char path[5000];
    memset(path, 'p', sizeof path);
    path[sizeof path - 1] = '\0';
    cr_assert_eq(base_disk_replace(&disk.disk, path, base_span_string("new"), &error), -1);
    cr_assert_eq(error.code, BASE_EINVAL);
    cr_assert_eq(chdir(directory), 0);
    cr_assert_eq(base_disk_replace(&disk.disk, "g", base_span_string("here"), &error), 0);
    expect_content(file("g"), "here");
}

Test(disk, a_file_is_read_as_a_whole_and_no_larger_than_allowed)
{
    struct base_buffer buffer = {0};
    char text[10000];
    memset(text, 't', sizeof text);
    cr_assert_eq(base_disk_read(file("f"), 10, &buffer, &error), -1);
    cr_assert_eq(error.code, BASE_ENOTFOUND);
    cr_assert(strstr(error.text, file("f")), "%s", error.text);
    cr_assert_eq(base_disk_replace(NULL, file("f"), base_span_make(text, sizeof text), &error), 0);
    base_buffer_u8(&buffer, 1);
    cr_assert_eq(base_disk_read(file("f"), sizeof text, &buffer, &error), 0);
    cr_assert_eq(buffer.size, sizeof text, "cleared before");
    cr_assert_eq(base_disk_read(file("f"), sizeof text - 1, &buffer, &error), -1);
    cr_assert_eq(error.code, BASE_ELIMIT);
    cr_assert_eq(base_disk_read(directory, 10, &buffer, &error), -1, "a directory cannot be read");
    cr_assert_eq(error.code, BASE_EIO);
    base_buffer_free(&buffer);
}

Test(disk, a_shared_file_becomes_one_of_its_own)
{
    struct stat before, after;
    cr_assert_eq(base_disk_replace(NULL, file("f"), base_span_string("both"), &error), 0);
    cr_assert_eq(stat(file("f"), &before), 0);
    cr_assert_eq(base_disk_unshare(NULL, file("f"), &error), 0, "%s", error.text);
    cr_assert_eq(stat(file("f"), &after), 0);
    cr_expect_eq(after.st_ino, before.st_ino, "it was its own already");
    cr_assert_eq(base_disk_link(NULL, file("f"), file("g"), &error), 0);
    support_disk_fail(&disk, SUPPORT_DISK_RENAME, 1, EIO);
    expect_error(base_disk_unshare(&disk.disk, file("f"), &error), "rename", file("f"));
    cr_assert_eq(base_disk_unshare(&disk.disk, file("f"), &error), 0, "%s", error.text);
    expect_content(file("f"), "both");
    int fd = -1;
    cr_assert_eq(base_disk_open(NULL, file("f"), O_RDWR, &fd, &error), 0);
    cr_assert_eq(base_disk_write(NULL, fd, file("f"), base_span_string("mine"), 0, &error), 0);
    close(fd);
    expect_content(file("f"), "mine");
    expect_content(file("g"), "both");
    expect_error(base_disk_unshare(NULL, file("none"), &error), "look at", file("none"));
}

Test(disk, the_list_syncs_each_once_and_files_first)
{
    struct base_sync *sync = base_sync_new(&disk.disk);
    char name[16];
    base_sync_add_directory(sync, directory);
    for (int i = 0; i < 40; i++) {
        snprintf(name, sizeof name, "f%d", i % 20);
        int fd = i < 20 ? make(name) : open(file(name), O_RDWR);
        cr_assert_eq(base_sync_add_file(sync, fd, file(name), &error), 0);
        close(fd); // it holds one of its own
        if (i >= 20) {
            unlink(file(name)); // and needs no name
        }
    }
    base_sync_add_directory(sync, directory);
    support_disk_fail(&disk, SUPPORT_DISK_SYNC, 20, EIO);
    error.fatal = false;
    expect_error(base_sync_run(sync, &error), "sync", file("f19"));
    cr_assert(error.fatal);
    cr_assert_eq(disk.calls[SUPPORT_DISK_SYNC_DIRECTORY], 0, "names come after what they name");
    cr_assert_eq(base_sync_run(sync, &error), 0);
    cr_assert_eq(disk.calls[SUPPORT_DISK_SYNC], 40);
    cr_assert_eq(disk.calls[SUPPORT_DISK_SYNC_DIRECTORY], 1);
    support_disk_fail(&disk, SUPPORT_DISK_SYNC_DIRECTORY, 1, EIO);
    expect_error(base_sync_run(sync, &error), "sync", directory);
    base_sync_free(sync);
    base_sync_free(NULL);
}

Test(disk, no_descriptor_left_is_an_error_that_names_the_file)
{
    struct base_sync *sync = base_sync_new(NULL);
    int fd = make("f");
    struct rlimit limit = {(rlim_t)fd + 1, (rlim_t)fd + 1};
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    for (int i = 3; i < fd; i++) {
        if (fcntl(i, F_GETFD) < 0) {
            cr_assert_geq(dup(fd), 0); // no gap below
        }
    }
    expect_error(base_sync_add_file(sync, fd, file("f"), &error), "cannot keep", file("f"));
    base_sync_free(sync);
    close(fd);
}
