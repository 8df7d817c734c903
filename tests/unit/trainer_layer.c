// The kernels of layer.h against loops in double.
#include "trainer/layer.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "trainer/lanes.h"
#include "trainer_rig_support.h"

enum { N = 21, IN = 400, OUT = 64 };
static const struct trainer_layer_shape shape = {IN, OUT};
static const struct trainer_block outputs = {16, 32}, inputs = {208, 128};

static bool inside(struct trainer_block block, uint32_t column)
{
    return column >= block.column && column < block.column + block.columns;
}

static void forward(bool with_bias)
{
    float *x = random_floats(N * IN, "x"), *w = random_floats(IN * OUT, "w"), *b = random_floats(OUT, "b");
    float *y = random_floats(N * OUT, "y"), *before = random_floats(N * OUT, "y");
    trainer_layer_forward(shape, outputs, N, x, w, with_bias ? b : NULL, y);
    for (uint32_t r = 0; r < N; r++) {
        for (uint32_t o = 0; o < OUT; o++) {
            double sum = with_bias ? b[o] : 0.0;
            for (uint32_t i = 0; i < IN; i++) {
                sum += (double)x[r * IN + i] * w[i * OUT + o];
            }
            if (with_bias) {
                sum = fmax(sum, 0.0);
            }
            if (!inside(outputs, o)) {
                sum = before[r * OUT + o]; // not this tile's
            }
            cr_assert_float_eq(y[r * OUT + o], sum, 2e-4, "%u %u", r, o);
        }
    }
    free(x);
    free(w);
    free(b);
    free(y);
    free(before);
}

Test(trainer_layer, forward)
{
    forward(true);
    forward(false);
}

Test(trainer_layer, forward_lets_nan_pass)
{
    float x[16] = {NAN}, w[16 * 16] = {0}, b[16] = {0}, y[16] = {0};
    trainer_layer_forward((struct trainer_layer_shape){16, 16}, (struct trainer_block){0, 16}, 1, x, w, b, y);
    for (uint32_t o = 0; o < 16; o++) {
        cr_expect(isnan(y[o]));
    }
}

static void backward(bool add)
{
    float *dy = random_floats(N * OUT, "dy"), *w = random_floats(IN * OUT, "w");
    float *dx = random_floats(N * IN, "dx"), *before = random_floats(N * IN, "dx");
    trainer_layer_backward(shape, inputs, N, inputs.columns, dy, w, add, dx);
    for (uint32_t r = 0; r < N; r++) {
        for (uint32_t i = 0; i < IN; i++) {
            double sum = add || !inside(inputs, i) ? before[r * IN + i] : 0.0;
            for (uint32_t o = 0; o < OUT && inside(inputs, i); o++) {
                sum += (double)dy[r * OUT + o] * w[i * OUT + o];
            }
            cr_assert_float_eq(dx[r * IN + i], sum, 1e-4, "%u %u", r, i);
        }
    }
    free(dy);
    free(w);
    free(dx);
    free(before);
}

Test(trainer_layer, backward)
{
    backward(true);
    backward(false);
}

Test(trainer_layer, mask)
{
    float *y = random_floats(N * OUT, "y"), *dy = random_floats(N * OUT, "dy"),
          *before = random_floats(N * OUT, "dy");
    y[20] = 0.0f;
    y[21] = NAN;
    trainer_layer_mask(OUT, outputs, N, y, dy);
    for (uint32_t i = 0; i < N * OUT; i++) {
        cr_assert_eq(dy[i], inside(outputs, i % OUT) && !(y[i] > 0.0f) ? 0.0f : before[i], "%u", i);
    }
    free(y);
    free(dy);
    free(before);
}

Test(trainer_layer, update)
{
    const float alpha = -0.375f;
    float *x = random_floats(N * IN, "x"), *dy = random_floats(N * OUT, "dy");
    float *w = random_floats(IN * OUT, "w"), *b = random_floats(OUT, "b");
    float *w0 = random_floats(IN * OUT, "w"), *b0 = random_floats(OUT, "b");
    trainer_layer_update(shape, outputs, N, alpha, x, dy, w, b);
    for (uint32_t o = 0; o < OUT; o++) {
        double of_bias = b0[o];
        for (uint32_t r = 0; r < N && inside(outputs, o); r++) {
            of_bias += alpha * (double)dy[r * OUT + o];
        }
        cr_assert_float_eq(b[o], of_bias, 1e-5);
        for (uint32_t i = 0; i < IN; i++) {
            double sum = w0[i * OUT + o];
            for (uint32_t r = 0; r < N && inside(outputs, o); r++) {
                sum += alpha * (double)x[r * IN + i] * dy[r * OUT + o];
            }
            cr_assert_float_eq(w[i * OUT + o], sum, 1e-5, "%u %u", i, o);
        }
    }
    free(x);
    free(dy);
    free(w);
    free(b);
    free(w0);
    free(b0);
}

Test(trainer_layer, magnitude_orders_numbers_infinity_and_nan)
{
    _Alignas(64) float values[160];
    for (uint32_t at = 0; at < 160; at++) {
        for (uint32_t i = 0; i < 160; i++) {
            values[i] = -1.0f - (float)i / 1024.0f;
        }
        cr_assert_eq(trainer_layer_magnitude(values, 160), trainer_lanes_magnitude(values[159]));
        const float rising[] = {1.5f, -2.0f, 3e38f, -INFINITY, NAN};
        uint32_t last = 0;
        for (uint32_t i = 0; i < 5; i++) {
            values[at] = rising[i];
            uint32_t now = trainer_layer_magnitude(values, 160);
            cr_assert_eq(now, trainer_lanes_magnitude(rising[i]));
            cr_assert_gt(now, last);
            last = now;
        }
    }
    cr_expect_eq(trainer_layer_magnitude(values, 0), 0u);
}

Test(trainer_layer, lanes_sum_in_a_fixed_tree)
{
    float lanes[TRAINER_LANES], a[32], b[32];
    for (uint32_t i = 0; i < TRAINER_LANES; i++) {
        lanes[i] = i == 0 ? 1e8f : i == 8 ? -1e8f : 1.0f;
    }
    cr_expect_eq(trainer_lanes_sum(lanes), 14.0f); // 0 and 8 meet first
    for (uint32_t i = 0; i < 32; i++) {
        a[i] = (float)i;
        b[i] = (float)(i + 1);
    }
    cr_expect_eq(trainer_lanes_dot(a, b, 32), 10912.0f);
}
