// A sample file: joined samples as an Avro object container file of schemas/sample.avsc, for people and for
// batch training.
#ifndef CONSUMER_SAMPLEFILE_H
#define CONSUMER_SAMPLEFILE_H

#include "base/columns.h"
#include "base/error.h"
#include "base/sample.h"

struct consumer_samplefile_config {
    const char *path;              // must not exist
    const char *codec;             // "null" or "deflate"
    uint32_t tasks;                // 1..BASE_TASKS_MAX
    const char *const *task_names; // [tasks]
    bool features;                 // write the columns too
    struct base_columns_layout layout;
    const char *const *categorical; // [layout.categorical] slots, if features
    const char *const *numeric;     // [layout.numeric] columns, if features
};

struct consumer_samplefile;

// Creates the file. The names must live as long as the object. Errors: BASE_EINVAL, BASE_ECONFLICT (the file
// is there), BASE_EIO.
struct consumer_samplefile *consumer_samplefile_create(const struct consumer_samplefile_config *config,
                                                       struct base_error *error);
// Appends a sample. BASE_EFORMAT: its columns do not fit the layout; BASE_EIO.
int consumer_samplefile_add(struct consumer_samplefile *samplefile, const struct base_sample *sample,
                            int64_t tick, struct base_error *error);
// Writes what is left, makes it durable and frees, whatever happens; NULL is fine.
int consumer_samplefile_close(struct consumer_samplefile *samplefile, struct base_error *error);

#endif
