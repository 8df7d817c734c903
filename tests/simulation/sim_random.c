// Random draws and fault sites. See sim_random.h.
#include "simulation/sim_random.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/random.h"

#define SIM_RATE_DEFAULT 0.25

struct sim_random sim_random_make(uint64_t seed, const char *purpose)
{
    return (struct sim_random){base_random_key(seed, purpose), 0};
}

uint64_t sim_random_bits(struct sim_random *random)
{
    return base_random_bits(random->key, random->counter++);
}

uint64_t sim_random_below(struct sim_random *random, uint64_t bound)
{
    assert(bound > 0);
    return sim_random_bits(random) % bound;
}

int64_t sim_random_between(struct sim_random *random, int64_t least, int64_t most)
{
    assert(least <= most);
    return least + (int64_t)sim_random_below(random, (uint64_t)(most - least) + 1);
}

bool sim_random_chance(struct sim_random *random, double probability)
{
    return base_random_uniform(random->key, random->counter++) < probability;
}

void sim_faults_init(struct sim_faults *faults, uint64_t seed)
{
    *faults = (struct sim_faults){.seed = seed};
}

static struct sim_site *faults_site(struct sim_faults *faults, const char *name)
{
    for (uint32_t i = 0; i < faults->count; i++) {
        if (strcmp(faults->sites[i].name, name) == 0) {
            return &faults->sites[i];
        }
    }
    assert(faults->count < SIM_SITES_MAX && strlen(name) < SIM_SITE_NAME_MAX);
    struct sim_site *site = &faults->sites[faults->count++];
    *site = (struct sim_site){.rate = SIM_RATE_DEFAULT, .random = sim_random_make(faults->seed, name)};
    memcpy(site->name, name, strlen(name) + 1);
    site->on = sim_random_bits(&site->random) & 1;
    return site;
}

void sim_faults_rate(struct sim_faults *faults, const char *name, double rate)
{
    faults_site(faults, name)->rate = rate;
}

bool sim_fault(struct sim_faults *faults, const char *name)
{
    if (!faults || faults->quiet) {
        return false;
    }
    struct sim_site *site = faults_site(faults, name);
    site->asked++;
    // Asked even if it is off, so that the stream's place does not depend on that.
    bool fires = sim_random_chance(&site->random, site->rate) && site->on;
    site->fired += fires;
    return fires;
}

struct sim_random *sim_faults_draw(struct sim_faults *faults, const char *name)
{
    return &faults_site(faults, name)->random;
}

void sim_faults_print(const struct sim_faults *faults, FILE *file)
{
    for (uint32_t i = 0; i < faults->count; i++) {
        const struct sim_site *site = &faults->sites[i];
        fprintf(file, "  %-24s %-3s asked %8" PRIu64 " fired %7" PRIu64 "\n", site->name,
                site->on ? "on" : "off", site->asked, site->fired);
    }
}
