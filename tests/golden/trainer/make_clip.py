#!/usr/bin/env python3
"""Makes clip.bin: golden values of training with clipped gradients, from PyTorch.

    python3 tests/golden/trainer/make_clip.py tests/golden/trainer/clip.bin

Needs torch (any version from 1.13 on, CPU; ops/install --torch); the tests need only the file. The model is that of
make_losses.py, its inputs the rows of two slots and four numbers. torch.nn.utils.clip_grad_norm_ is called twice a
step: over all dense tensors, and over the rows. All in float64; values are stored as float32.
tests/unit/trainer_clip_golden.c reads the file and has the same constants.

Records as in make_ple.py:
    user [STEPS*BATCH x 1], item [STEPS*BATCH x 2] (keys; their vectors are added), number [STEPS*BATCH x NUMBERS],
    kind, mask, label, weight, value as in make_losses.py, initial/<tensor>, initial/user, initial/item (the rows)
    and for every case: <case>/clipped [STEPS x 2] (dense, rows: 1 if this step's norm was above the bound),
    <case>/final/<tensor>, <case>/final/user, <case>/final/item
"""
import sys

import torch

from make_losses import BATCH, CHAIN, STEPS, TASK_WEIGHT, TASKS, forward, losses, tensor_shapes
from make_ple import round_to_float32, write

USERS, ITEMS, USER_DIM, ITEM_DIM, NUMBERS = 12, 20, 8, 4, 4
SCENARIO = dict(CHAIN, full=True)
NEVER = 1e9
# Bounds of the norms, and what steps with what is left.
CASES = {
    "both": dict(dense=0.6, rows=0.16, l2=0.01),
    "dense_alone": dict(dense=0.65, rows=NEVER),
    "rows_alone": dict(dense=NEVER, rows=0.15),
    "adaptive": dict(dense=0.5, rows=0.12, momentum=0.9, adagrad=True),
}


def optimisers(case, dense, rows):
    """L2 is of weights, not of biases."""
    groups = [dict(params=[t for key, t in dense.items() if not key.endswith("bias")],
                   weight_decay=case.get("l2", 0.0)),
              dict(params=[t for key, t in dense.items() if key.endswith("bias")])]
    yield torch.optim.SGD(groups, lr=0.1, momentum=case.get("momentum", 0.0))
    if case.get("adagrad"):
        yield torch.optim.Adagrad(rows.values(), lr=0.05, initial_accumulator_value=0.1, eps=1e-8)
    else:
        yield torch.optim.SGD(rows.values(), lr=0.5)


def train(file, name, case, initial, initial_rows, data):
    dense = {key: value.clone().requires_grad_() for key, value in initial.items()}
    rows = {key: value.clone().requires_grad_() for key, value in initial_rows.items()}
    steppers = list(optimisers(case, dense, rows))
    clipped = []
    for step in range(STEPS):
        batch = {key: value[step * BATCH:(step + 1) * BATCH] for key, value in data.items()}
        user, item = rows["user"][batch["user"][:, 0].long()], rows["item"][batch["item"].long()].sum(dim=1)
        terms, spaces = losses(SCENARIO, forward(SCENARIO, dense, torch.cat([user, item, batch["number"]], dim=1)),
                               batch)
        weight = batch["weight"] * torch.tensor(TASK_WEIGHT, dtype=torch.float64)
        for tensor in [*dense.values(), *rows.values()]:
            tensor.grad = None
        ((torch.where(spaces > 0, terms, torch.zeros_like(terms)) * weight).sum() / BATCH).backward()
        norms = [torch.nn.utils.clip_grad_norm_(dense.values(), case["dense"]),
                 torch.nn.utils.clip_grad_norm_(rows.values(), case["rows"])]
        bounds = [case["dense"], case["rows"]]
        assert all(abs(norm / bound - 1) > 1e-4 for norm, bound in zip(norms, bounds)), "too close to tell"
        clipped.append([float(norm > bound) for norm, bound in zip(norms, bounds)])
        for stepper in steppers:
            stepper.step()
    print(name, "clipped:", [int(sum(side)) for side in zip(*clipped)], "of", STEPS)
    write(file, f"{name}/clipped", torch.tensor(clipped))
    for key, tensor in [*dense.items(), *rows.items()]:
        write(file, f"{name}/final/{key}", tensor)


def main(path):
    generator = torch.Generator().manual_seed(20267)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    def uniform(*shape):
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    n = STEPS * BATCH
    mask = (uniform(n, TASKS) < 0.7).double()
    mask[:, 3] = torch.where(mask[:, :3].sum(dim=1) > 0, mask[:, 3], torch.ones(n, dtype=torch.float64))
    data = {
        "user": torch.floor(USERS * uniform(n, 1) ** 2),
        "item": torch.floor(ITEMS * uniform(n, 2)),
        "number": round_to_float32(normal(n, NUMBERS)),
        "kind": torch.floor(4 * uniform(n, 1)),
        "mask": mask,
        "label": (uniform(n, TASKS) < 0.4).double(),
        "weight": round_to_float32(0.5 + uniform(n, TASKS)),
        "value": round_to_float32(uniform(n, TASKS)),
    }
    initial = {key: round_to_float32((0.1 if key.endswith("bias") else (2.0 / rows) ** 0.5) * normal(rows, columns))
               for key, (rows, columns) in tensor_shapes(SCENARIO).items()}
    rows = {"user": round_to_float32(0.5 * normal(USERS, USER_DIM)),
            "item": round_to_float32(0.5 * normal(ITEMS, ITEM_DIM))}
    with open(path, "wb") as file:
        for name, tensor in data.items():
            write(file, name, tensor)
        for name, tensor in [*initial.items(), *rows.items()]:
            write(file, f"initial/{name}", tensor)
        for name, case in CASES.items():
            train(file, name, case, initial, rows, data)


if __name__ == "__main__":
    main(sys.argv[1])
