#!/usr/bin/env python3
"""Makes features.bin: golden values of a small model with a cross and two positions, from PyTorch.

    python3 tests/golden/trainer/make_features.py tests/golden/trainer/features.bin

Needs torch (any version from 1.13 on, CPU; ops/install --torch); the tests need only the file. Written from
docs/features.md: a shared bottom of 16 under two tasks of ESMM (full), plain SGD, 20 steps; gradients are autograd's,
all in float64; values are stored as float32. tests/unit/trainer_features_golden.c reads the file and has the same
constants.

Slots: user (4), tags (4, sum, up to 3), price (a bucket of two, 4), tags x price (8, mean); place, a position; tags
again as a position (mean). Records as make_ple.py describes them:
    user, place [N x 1], tags [N x 3] (-1: none), price [N x 1], label, weight [N x 2]
    initial/<tensor>, final/<tensor>; initial/rows/<slot>, final/rows/<slot>: row i is key i's, of the cross key
    (tag, bucket)'s at 2 * tag + bucket
    conditional [N x 2], loss [STEPS x 2], of every step before its update
"""
import sys

import torch
import torch.nn.functional as F
from make_ple import round_to_float32, write

BATCH, STEPS, USERS, TAGS, PLACES = 16, 20, 6, 8, 5
DENSE, SPARSE = 0.2, 0.5
SHAPES = {"bottom.layer0.weight": (32, 16), "bottom.layer0.bias": (1, 16),
          "task0.tower.output.weight": (16, 1), "task0.tower.output.bias": (1, 1),
          "task1.tower.output.weight": (16, 1), "task1.tower.output.bias": (1, 1)}
ROWS = {"user": (USERS, 4), "tags": (TAGS, 4), "price": (2, 4), "tags x price": (2 * TAGS, 8), "place": (PLACES, 4),
        "again": (TAGS, 4)}


def pooled(rows, keys, mean):
    total = sum((rows[key] for key in keys), torch.zeros(rows.shape[1], dtype=torch.float64))
    return total / len(keys) if mean and keys else total


def forward(tensors, rows, data, i):
    """Logits [2] of sample i."""
    tags = [int(tag) for tag in data["tags"][i] if tag >= 0]
    bucket = int(data["price"][i] >= 0)
    place = int(data["place"][i])
    x = torch.cat([rows["user"][int(data["user"][i])], pooled(rows["tags"], tags, False), rows["price"][bucket],
                   pooled(rows["tags x price"], [2 * tag + bucket for tag in tags], True),
                   torch.zeros(12, dtype=torch.float64)])
    h = F.relu(x @ tensors["bottom.layer0.weight"] + tensors["bottom.layer0.bias"][0])
    logits = [h @ tensors[f"task{k}.tower.output.weight"][:, 0] + tensors[f"task{k}.tower.output.bias"][0, 0]
              for k in range(2)]
    logits[0] = logits[0] + rows["place"][place, 0] + pooled(rows["again"], tags, True)[0]
    return torch.stack(logits)


def losses(logits, label, weight):
    """[n x 2]: the click's, and that of both on their product."""
    product = F.logsigmoid(logits[:, 0]) + F.logsigmoid(logits[:, 1])
    both = torch.where(label[:, 1] > 0, -product, -torch.log(-torch.expm1(product)))
    click = F.binary_cross_entropy_with_logits(logits[:, 0], label[:, 0], reduction="none")
    return torch.stack([click, both], dim=1) * weight


def main(path):
    generator = torch.Generator().manual_seed(20261)
    n = STEPS * BATCH

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    def draw(most, *shape):
        return torch.randint(0, most, shape, generator=generator).double()

    click = draw(2, n, 1)
    data = {"user": draw(USERS, n, 1), "place": draw(PLACES, n, 1), "price": round_to_float32(normal(n, 1)),
            "tags": draw(TAGS, n, 3), "label": torch.cat([click, click * draw(2, n, 1)], dim=1),
            "weight": 0.5 + draw(4, n, 2) / 4}
    counts = draw(4, n, 1)
    data["tags"] = torch.where(torch.arange(3) < counts, data["tags"], torch.tensor(-1.0, dtype=torch.float64))
    tensors = {name: round_to_float32(0.4 * normal(*shape)).requires_grad_() for name, shape in SHAPES.items()}
    rows = {name: round_to_float32(0.3 * normal(*shape)) for name, shape in ROWS.items()}
    for name in ("place", "again"):
        rows[name][:, 1:] = 0
    rows = {name: value.requires_grad_() for name, value in rows.items()}
    with open(path, "wb") as file:
        for name, tensor in data.items():
            write(file, name, tensor)
        for prefix, parameters in (("initial/", tensors), ("initial/rows/", rows)):
            for name, tensor in parameters.items():
                write(file, prefix + name, tensor)
        conditional, summed = [], []
        for step in range(STEPS):
            span = range(step * BATCH, (step + 1) * BATCH)
            logits = torch.stack([forward(tensors, rows, data, i) for i in span])
            loss = losses(logits, data["label"][span.start:span.stop], data["weight"][span.start:span.stop])
            conditional.append(torch.sigmoid(logits))
            summed.append(loss.sum(dim=0, keepdim=True))
            parameters = [*tensors.values(), *rows.values()]
            gradients = torch.autograd.grad(loss.sum(), parameters)
            with torch.no_grad():
                for parameter, gradient in zip(parameters, gradients):
                    rate = DENSE if any(parameter is tensor for tensor in tensors.values()) else SPARSE
                    parameter -= rate / BATCH * gradient
        write(file, "conditional", torch.cat(conditional))
        write(file, "loss", torch.cat(summed))
        for prefix, parameters in (("final/", tensors), ("final/rows/", rows)):
            for name, tensor in parameters.items():
                write(file, prefix + name, tensor)


if __name__ == "__main__":
    main(sys.argv[1])
