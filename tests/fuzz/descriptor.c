// Fuzzer of the descriptor's parser: whatever the bytes, it refuses them with an error or reads a
// configuration that writes the same bytes again.
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "trainer/descriptor.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct base_error error = {0};
    struct trainer_descriptor *descriptor = trainer_descriptor_parse((const char *)data, size, &error);
    if (!descriptor) {
        assert(error.code == BASE_EFORMAT && error.text[0]);
        return 0;
    }
    char *again = trainer_descriptor_write(&descriptor->config, &descriptor->columns);
    assert(again && strlen(again) == size && memcmp(again, data, size) == 0);
    free(again);
    trainer_descriptor_free(descriptor);
    return 0;
}
