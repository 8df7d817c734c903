// Fuzzes the configuration: any bytes give a configuration or problems, and what is good can be asked for
// all.
#include <assert.h>
#include <stdlib.h>

#include "daemon/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct base_config_problems *problems = base_alloc_zeroed(1, sizeof *problems);
    struct daemon_config *config = daemon_config_load_text("fuzz", base_span_make(data, size), problems);
    assert((config != NULL) == (problems->errors == 0));
    if (config) {
        struct consumer_kafka_config kafka;
        struct consumer_files_config files;
        struct consumer_registry_config registry;
        struct consumer_decoder_config decoder;
        struct consumer_lane_config lane;
        struct publisher_config publisher;
        char directory[DAEMON_CONFIG_PATH_MAX];
        daemon_config_kafka(config, &kafka);
        daemon_config_files(config, &files);
        daemon_config_registry(config, &registry);
        daemon_config_lane(config, CONSUMER_LANES_MAX - 1, directory, &lane);
        daemon_config_publisher(config, &publisher);
        for (uint32_t rank = 0; rank < daemon_config_ranks(config); rank++) {
            daemon_config_decoder(config, rank, &decoder);
            assert(decoder.touch_fields <= CONSUMER_TOUCH_FIELDS_MAX);
        }
        struct base_error error;
        int status = trainer_features_check(&daemon_config_model(config)->features, &error);
        assert(status == 0);
    }
    daemon_config_free(config);
    free(problems);
    return 0;
}
