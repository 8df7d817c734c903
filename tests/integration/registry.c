// The registry's client as a program: registry URL CACHE ID asks for one schema and prints "known" and its
// canonical form, "unknown", or "later" and why. CACHE "-" is none. Exits 0 in each of these cases.
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "consumer/registry.h"
#include "consumer/schema.h"

enum { TRIES = 5000 }; // a millisecond each, at least

int main(int argc, char **argv)
{
    struct base_error error;
    if (argc != 4) {
        fprintf(stderr, "usage: registry URL CACHE ID\n");
        return 2;
    }
    struct consumer_registry_config config = {.url = argv[1],
                                              .cache_dir = strcmp(argv[2], "-") ? argv[2] : NULL,
                                              .timeout_ms = 1500,
                                              .negative_ms = 60000};
    struct consumer_registry *registry = consumer_registry_new(&config, &error);
    if (!registry) {
        fprintf(stderr, "%s\n", error.text);
        return 1;
    }
    const char *text = NULL;
    int failed = -1;
    for (int i = 0; i < TRIES && failed; i++) {
        failed = consumer_registry_schema(registry, (uint32_t)strtoul(argv[3], NULL, 10), &text, &error);
        if (failed && !strstr(error.text, ": asked")) {
            break;
        }
        poll(NULL, 0, 1);
    }
    if (failed) {
        printf("%s %s\n", error.retriable ? "later" : "unknown", error.text);
    } else {
        struct consumer_schema *schema = consumer_schema_parse(base_span_string(text), &error);
        printf("known %s\n", schema ? consumer_schema_canonical(schema) : error.text);
        consumer_schema_free(schema);
    }
    consumer_registry_free(registry);
    return 0;
}
