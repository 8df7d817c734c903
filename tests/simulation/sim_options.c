// The command line of the programs that try one seed after the other. See sim_options.h.
#include "simulation/sim_options.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

void sim_options_read(struct sim_options *options, const char *program, int argc, char **argv)
{
    static const struct option known[] = {
        {"seeds", required_argument, NULL, 's'}, {"from", required_argument, NULL, 'f'},
        {"ticks", required_argument, NULL, 't'}, {"verbose", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},        {0},
    };
    for (int option; (option = getopt_long(argc, argv, "", known, NULL)) >= 0;) {
        switch (option) {
        case 's':
            options->seeds = strtoull(optarg, NULL, 10);
            break;
        case 'f':
            options->from = strtoull(optarg, NULL, 10);
            break;
        case 't':
            options->ticks = strtoull(optarg, NULL, 10);
            break;
        case 'v':
            options->verbose = true;
            break;
        default:
            printf("%s [--seeds N] [--from S] [--ticks N] [--verbose]\n", program);
            exit(option == 'h' ? 0 : 2);
        }
    }
}
