// Fuzzer of what an imported cut brings: its record and its MANIFEST, checksums made to fit, and both as they
// come. What is read is what was written, or is refused as a format.
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/section.h"
#include "daemon/cuts_private.h"

enum { PATH_BYTES = 64 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char directory[] = "/dev/shm/freshet-fuzz-XXXXXX";

static void remove_directory(void)
{
    struct base_error error;
    daemon_cuts_tree_remove(directory, &error);
}

// A directory with two files.
static void make_directory(void)
{
    char path[PATH_BYTES];
    struct base_error error;
    if (!mkdtemp(directory) || atexit(remove_directory)) {
        abort();
    }
    static const char *const names[] = {"a", "b"};
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", directory, names[i]);
        if (base_disk_replace(NULL, path, base_span_string(names[i]), &error)) {
            abort();
        }
    }
}

static void read_record(struct base_span bytes)
{
    struct daemon_cut_record record;
    struct base_error error;
    struct base_buffer again = {0};
    if (daemon_cuts_unpack(bytes, &record, "the record", &error) == 0) {
        daemon_cuts_pack(&again, &record);
        struct daemon_cut_record second;
        if (daemon_cuts_unpack(base_buffer_span(&again), &second, "the record", &error) ||
            second.number != record.number || second.store != record.store) {
            abort();
        }
    } else if (error.code != BASE_EFORMAT) {
        abort();
    }
    base_buffer_free(&again);
}

static void read_manifest(struct base_span bytes)
{
    char path[PATH_BYTES];
    struct base_error error;
    snprintf(path, sizeof path, "%s/MANIFEST", directory);
    FILE *file = fopen(path, "wb");
    if (!file || (bytes.size && fwrite(bytes.data, bytes.size, 1, file) != 1) || fclose(file)) {
        abort();
    }
    if (daemon_cuts_manifest_verify(directory, &error) && error.code != BASE_EFORMAT) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool made;
    struct base_buffer framed = {0};
    if (!made) {
        made = true;
        make_directory();
    }
    read_record(base_span_make(data, size));
    read_manifest(base_span_make(data, size));
    size_t mark = base_section_begin(&framed, "FRSHCUTR", 1);
    base_buffer_append(&framed, data, size);
    base_section_end(&framed, mark);
    read_record(base_buffer_span(&framed));
    char end[32];
    static const char version[] = "freshet cut 1\n";
    base_buffer_clear(&framed);
    base_buffer_append(&framed, version, sizeof version - 1);
    base_buffer_append(&framed, data, size);
    int length = snprintf(end, sizeof end, "end %016llx\n",
                          (unsigned long long)base_hash_bytes(base_buffer_span(&framed), 0));
    base_buffer_append(&framed, end, (size_t)length);
    read_manifest(base_buffer_span(&framed));
    base_buffer_free(&framed);
    return 0;
}
