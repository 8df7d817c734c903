// See trainer_rig_support.h.
#include "trainer_rig_support.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/random.h"
#include "trainer/blas.h"

float *random_floats(size_t count, const char *name)
{
    float *values = base_alloc_aligned(count * sizeof *values);
    uint64_t key = base_random_key(4, name);
    for (size_t i = 0; i < count; i++) {
        values[i] = (float)base_random_normal(key, i);
    }
    return values;
}

void need_stable_rows(void)
{
    if (!trainer_blas_rows_stable()) {
        cr_skip_test("core type %s does not promise it (docs/determinism.md)", trainer_blas_core());
    }
}

struct rig rig_make(const struct trainer_network_config *config, uint32_t workers)
{
    struct base_error error;
    struct rig rig = {.config = *config, .workers = trainer_workers_new(workers, &error)};
    rig.network = trainer_network_new(config, true, rig.workers, &error);
    cr_assert_not_null(rig.network, "%s", error.text);
    rig.width = trainer_network_logits(config);
    size_t rows = config->batch;
    rig.x = random_floats(rows * config->inputs, "x");
    rig.dx = base_alloc_aligned(rows * config->inputs * sizeof *rig.dx);
    rig.logits = base_alloc_aligned(rows * rig.width * sizeof *rig.logits);
    rig.dlogits = random_floats(rows * rig.width, "dlogits");
    rig.gradient = base_alloc_aligned(trainer_network_size(rig.network) * sizeof *rig.gradient);
    return rig;
}

void rig_free(struct rig *rig)
{
    trainer_network_free(rig->network);
    trainer_workers_free(rig->workers);
    free(rig->x);
    free(rig->dx);
    free(rig->logits);
    free(rig->dlogits);
    free(rig->gradient);
}

void rig_stir(struct rig *rig)
{
    uint32_t count;
    const struct trainer_tensor *tensors = trainer_network_tensors(rig->network, &count);
    for (uint32_t t = 0; t < count; t++) {
        uint64_t key = base_random_key(3, tensors[t].name);
        bool stitch = strncmp(tensors[t].name, "stitch", strlen("stitch")) == 0;
        uint32_t size = tensors[t].rows == 1 || stitch ? tensors[t].rows * tensors[t].columns : 0;
        for (uint32_t i = 0; i < size; i++) {
            trainer_network_slab(rig->network)[tensors[t].offset + i] +=
                0.1f * (float)base_random_normal(key, i);
        }
    }
}

void rig_backward(struct rig *rig, uint32_t n)
{
    trainer_network_forward(rig->network, rig->x, n, rig->logits);
    trainer_network_backward(rig->network, rig->x, rig->dlogits, n, rig->dx);
}

void rig_row(const struct rig *rig, uint32_t r, double *row)
{
    for (uint32_t i = 0; i < rig->config.inputs; i++) {
        row[i] = (double)rig->x[(size_t)r * rig->config.inputs + i];
    }
}
