// Models of every body: back from a cut they go on to the same weights, and the step of SGD that is folded
// into the products is the step along the gradient that other optimisers are given.
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "trainer/body.h"
#include "trainer_cut_support.h"

enum { STEPS = 8, SEED = 3 };

static struct trainer_model_config *config_make(enum trainer_body body, uint32_t workers)
{
    struct trainer_model_config *config = cut_config_make(workers, 100000);
    config->network.body = body;
    config->network.soft_l2 = 0.25f;
    return config;
}

Test(trainer_body_model, a_cut_goes_on_to_the_same_weights)
{
    for (int choice = 0; choice < 2 * TRAINER_BODIES; choice++) {
        enum trainer_body body = (enum trainer_body)(choice / 2);
        struct trainer_model_config *config = config_make(body, 1);
        config->update.dense = choice % 2 ? trainer_optimiser_usual(TRAINER_OPTIMISER_ADAM, 0.001)
                                          : trainer_optimiser_usual(TRAINER_OPTIMISER_SGD, 0.05);
        struct trainer_model *model = model_make(config, true);
        model_train(model, SEED, 0, STEPS);
        struct map map = {0};
        cut_at_once(model, &map);
        config->workers = 2;
        struct trainer_model *other = cut_restore(config, &map);
        cr_expect_eq(trainer_model_hash(other), trainer_model_hash(model), "%s", trainer_body_names[body]);
        model_train(model, SEED, STEPS * MODEL_BATCH, STEPS);
        model_train(other, SEED, STEPS * MODEL_BATCH, STEPS);
        cr_expect_eq(trainer_model_hash(other), trainer_model_hash(model), "%s goes on",
                     trainer_body_names[body]);
        trainer_model_free(other);
        trainer_model_free(model);
        map_free(&map);
    }
}

Test(trainer_body_model, folded_and_stored_gradients_agree)
{
    for (enum trainer_body body = 0; body < TRAINER_BODIES; body++) {
        struct trainer_model *folded = model_make(config_make(body, 2), true);
        struct trainer_model_config *config = config_make(body, 2);
        config->update.clip_dense = 1e9; // asks for the gradient and never clips
        struct trainer_model *stored = model_make(config, true);
        for (uint32_t s = 0; s < STEPS; s++) {
            struct base_minibatch *minibatch =
                model_minibatch(SEED, s * MODEL_BATCH, s % 2 ? 3 : MODEL_BATCH);
            struct trainer_step step;
            struct base_error error;
            cr_assert_eq(trainer_model_step(folded, minibatch, &step, &error), 0);
            cr_assert_eq(trainer_model_step(stored, minibatch, &step, &error), 0);
            base_minibatch_free(minibatch);
        }
        size_t size = trainer_network_size(trainer_model_network(folded));
        const float *a = trainer_network_slab(trainer_model_network(folded));
        const float *b = trainer_network_slab(trainer_model_network(stored));
        for (size_t i = 0; i < size; i++) {
            cr_assert_float_eq(a[i], b[i], 1e-5 * (1.0 + fabs((double)b[i])), "%s at %zu",
                               trainer_body_names[body], i);
        }
        trainer_model_free(folded);
        trainer_model_free(stored);
    }
}

// A step of SGD that would throw tied weights past their mean, further each time, is refused.
Test(trainer_body_model, a_penalty_that_would_run_away_is_refused)
{
    struct base_error error = {0};
    struct trainer_model_config *config = config_make(TRAINER_BODY_SOFT_L2, 1);
    config->network.soft_l2 = 100.0f;
    cr_assert_null(trainer_model_new(config, true, &error));
    cr_expect_eq(error.code, BASE_EINVAL);
    cr_expect(strstr(error.text, "soft_l2 100"), "%s", error.text);
    config->network.body = TRAINER_BODY_CROSS_STITCH; // does not read it
    struct trainer_model *model = trainer_model_new(config, true, &error);
    cr_assert_not_null(model, "%s", error.text);
    trainer_model_free(model);
    config->network.body = TRAINER_BODY_SOFT_L2; // nor does a reader train
    model = trainer_model_new(config, false, &error);
    cr_assert_not_null(model, "%s", error.text);
    trainer_model_free(model);
}
