// The model's inside, shared by model.c (training), cut.c (saving) and restore.c.
#ifndef TRAINER_MODEL_PRIVATE_H
#define TRAINER_MODEL_PRIVATE_H

#include "trainer/gather.h"
#include "trainer/model.h"
#include "trainer/weighting.h"

struct trainer_cut;

// Buffers of one thread that scores, over the weights of a model.
struct trainer_scorer {
    const struct trainer_model *model;
    struct trainer_workers *workers; // own_workers, or the model's
    struct trainer_workers *own_workers;
    struct trainer_network *network; // own_network, or the model's
    struct trainer_network *own_network;
    struct trainer_gather *gather;
    float *logits; // [batch x trainer_network_logits]
};

struct trainer_model {
    struct trainer_model_config config;
    bool training;
    struct trainer_workers *workers;
    struct trainer_network *network;
    struct trainer_table *table;
    struct trainer_update *update;  // NULL unless training
    struct trainer_tensor *tensors; // the network's, then the slots'
    uint32_t tensor_count;
    size_t dense_size;
    // Dense state that only training needs, behind them in `tensors` and in a cut: the joint loss' log
    // variances.
    uint32_t cut_tensor_count;
    size_t cut_dense_size;
    float *log_variance;          // [tasks], if the weighting is by uncertainty
    struct trainer_scorer scorer; // the model's own: shares workers and network
    // Of a step:
    struct base_span *columns; // [batch]
    float *dlogits;            // [batch x trainer_network_logits]
    float *dx;                 // [batch x inputs]
    float *conditional;        // [batch x tasks]
    float *products;           // [batch x tasks]
    uint64_t examples;
    uint64_t cut_crosses; // of this process
    const struct trainer_snapshot *in_flight;
    int64_t settled_tick, flying_tick; // of the snapshots that the table numbers
    struct trainer_cut *cut;           // in progress, or complete and not taken yet
    // A slot's number in cuts: the first cut's order, in which what came later is last.
    uint32_t cut_slot[TRAINER_SLOTS_MAX]; // [slots]
    struct base_buffer stale;             // keys that the next cut removes: size (u8), bytes
    struct trainer_news *news;            // [news_count], of the restore
    uint32_t news_count;
};

#endif
