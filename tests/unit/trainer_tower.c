// A tower's output against loops in double.
#include "trainer/tower.h"

#include <criterion/criterion.h>
#include <string.h>

#include "base/random.h"

enum { N = 11, WIDTH = 48, TASKS = 3, TASK = 1 };

static const struct trainer_rows rows = {2, 9};

static void fill(float *values, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        values[i] = (float)base_random_normal(base_random_key(8, name), i);
    }
}

Test(trainer_tower, forward)
{
    float h[N * WIDTH], w[WIDTH], bias = 0.5f, logits[N * TASKS], before[N * TASKS];
    fill(h, N * WIDTH, "h");
    fill(w, WIDTH, "w");
    fill(logits, N * TASKS, "logits");
    memcpy(before, logits, sizeof logits);
    trainer_tower_forward(rows, WIDTH, TASKS, h, w, &bias, logits + TASK);
    for (uint32_t i = 0; i < N * TASKS; i++) {
        uint32_t r = i / TASKS;
        double expected = bias;
        for (uint32_t c = 0; c < WIDTH; c++) {
            expected += (double)h[r * WIDTH + c] * w[c];
        }
        if (i % TASKS != TASK || r < rows.begin || r >= rows.end) {
            expected = before[i];
        }
        cr_assert_float_eq(logits[i], expected, 1e-5);
    }
}

Test(trainer_tower, backward)
{
    float w[WIDTH], dlogits[N * TASKS], mask[N * WIDTH], dh[N * WIDTH], before[N * WIDTH];
    fill(w, WIDTH, "w");
    fill(dlogits, N * TASKS, "dlogits");
    fill(mask, N * WIDTH, "mask");
    fill(before, N * WIDTH, "dh");
    for (int choice = 0; choice < 4; choice++) {
        bool masked = choice & 1, add = choice & 2;
        memcpy(dh, before, sizeof dh);
        trainer_tower_backward(rows, WIDTH, TASKS, dlogits + TASK, w, masked ? mask : NULL, add, dh);
        for (uint32_t i = 0; i < N * WIDTH; i++) {
            uint32_t r = i / WIDTH;
            float expected = dlogits[r * TASKS + TASK] * w[i % WIDTH];
            if (add) {
                expected = before[i] + expected;
            }
            if (masked && mask[i] <= 0.0f) {
                expected = 0.0f;
            }
            cr_assert_eq(dh[i], r < rows.begin || r >= rows.end ? before[i] : expected);
        }
    }
}

Test(trainer_tower, update)
{
    float h[N * WIDTH], w[WIDTH], before[WIDTH], dlogits[N * TASKS], bias = 0.5f;
    const float alpha = -0.25f;
    fill(h, N * WIDTH, "h");
    fill(w, WIDTH, "w");
    fill(dlogits, N * TASKS, "dlogits");
    memcpy(before, w, sizeof w);
    trainer_tower_update(N, WIDTH, TASKS, alpha, h, dlogits + TASK, w, &bias);
    double of_bias = 0.5;
    for (uint32_t r = 0; r < N; r++) {
        of_bias += alpha * (double)dlogits[r * TASKS + TASK];
    }
    cr_expect_float_eq(bias, of_bias, 1e-6);
    for (uint32_t c = 0; c < WIDTH; c++) {
        double expected = before[c];
        for (uint32_t r = 0; r < N; r++) {
            expected += alpha * (double)dlogits[r * TASKS + TASK] * h[r * WIDTH + c];
        }
        cr_assert_float_eq(w[c], expected, 1e-5);
    }
}
