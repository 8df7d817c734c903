// See consumer_journal_support.h.
#include "consumer_journal_support.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "consumer_ingest_world.h"

void place_begin(struct place *place, uint64_t file_bytes)
{
    *place = (struct place){
        .config = {.ranks = 2, .lanes = 3, .topics = {"shown", "clicked"}, .file_bytes = file_bytes}};
    support_directory_make(place->root);
    snprintf(place->directory, sizeof place->directory, "%s/journal", place->root);
    place->config.directory = place->directory;
}

void place_end(struct place *place)
{
    world_remove_tree(place->root);
}

struct consumer_journal *place_open(struct place *place, uint64_t from)
{
    struct base_error error;
    struct consumer_journal *journal = consumer_journal_open(&place->config, from, false, &error);
    cr_assert(journal, "%s", error.text);
    return journal;
}
