#!/usr/bin/env python3
"""Makes bodies.bin: golden values of every body over 20 steps of SGD, from PyTorch.

    python3 tests/golden/trainer/make_bodies.py tests/golden/trainer/bodies.bin

Needs torch (any version from 1.13 on, CPU; ops/install --torch); the tests need only the file. The bodies are written
here from their definitions (docs/models.md, section 1), the gradients are autograd's, all in float64; values are stored
as float32. tests/unit/trainer_body_golden.c reads the file, has the same constants, and makes the same inputs, labels
and initial weights, which are multiples of 2^-16 that a hash of name and place gives.

Three tasks, the second with two logits; the loss is the mean over the minibatch of the cross-entropies of all logits,
and of soft_l2's penalty. The file is a sequence of records, little-endian: u32 length of the name, the name, u32 rows,
u32 columns, float32 [rows x columns]. Records, for every <body>:
    <body>/logits [STEPS*BATCH x LOGITS], <body>/dx [BATCH x INPUTS] of the first step, summed loss,
    <body>/final/<tensor>
"""
import struct
import sys

import torch
import torch.nn.functional as F

INPUTS, TASKS, BATCH, STEPS, RATE, SOFT_L2 = 16, 3, 16, 20, 0.1875, 0.125
LEVELS = [([16, 16], 2, 1), ([16], 1, 2)]  # widths of an expert's layers, experts a task, shared experts
TOWER = [16]
OUTPUTS = [1, 2, 1]
CHAIN = [width for widths, _, _ in LEVELS for width in widths]
WORD = 1 << 32


def fnv(name):
    h = 2166136261
    for byte in name.encode():
        h = (h ^ byte) * 16777619 % WORD
    return h


def uniform(name, rows, columns):
    """[rows x columns] of multiples of 2^-16 in [-1/2, 1/2)."""
    seed = fnv(name)
    values = []
    for i in range(rows * columns):
        h = (seed + i * 2654435761) % WORD
        for factor in (2246822519, 3266489917):
            h = (h ^ h >> 15) * factor % WORD
        values.append(((h ^ h >> 16) >> 16) / 65536 - 0.5)
    return torch.tensor(values, dtype=torch.float64).reshape(rows, columns)


class Tensors(dict):
    """Makes a tensor when it is first asked for."""

    def get(self, name, rows, columns):
        if name not in self:
            if name.startswith("stitch"):
                value = 0.25 * uniform(name, rows, columns) + 0.0625 + 0.8125 * torch.eye(rows, dtype=torch.float64)
            else:
                value = uniform(name, rows, columns) * (0.25 if rows == 1 else 1)
            self[name] = value.requires_grad_()
        return self[name]

    def dense(self, name, x, outputs):
        return x @ self.get(name + ".weight", x.shape[1], outputs) + self.get(name + ".bias", 1, outputs)

    def chain(self, name, x, widths):
        for j, width in enumerate(widths):
            x = F.relu(self.dense(f"{name}.layer{j}", x, width))
        return x

    def mix(self, gate, read, experts):
        scores = read @ self.get(gate + ".weight", read.shape[1], len(experts))
        return (F.softmax(scores, dim=1).unsqueeze(2) * torch.stack(experts, dim=1)).sum(dim=1)


def shared_bottom(t, x):
    return [t.chain("bottom", x, CHAIN)] * TASKS


def soft_l2(t, x):
    return [t.chain(f"task{k}.bottom", x, CHAIN) for k in range(TASKS)]


def cross_stitch(t, x):
    h = [x] * TASKS
    for j, width in enumerate(CHAIN):
        h = [F.relu(t.dense(f"task{k}.bottom.layer{j}", h[k], width)) for k in range(TASKS)]
        alpha = t.get(f"stitch{j}.weight", TASKS, TASKS)
        h = [sum(alpha[i, k] * h[k] for k in range(TASKS)) for i in range(TASKS)]
    return h


def customized(t, x):
    return [torch.cat([t.chain("shared.bottom", x, CHAIN), t.chain(f"task{k}.bottom", x, CHAIN)], dim=1)
            for k in range(TASKS)]


def alike(level):
    return LEVELS[level][1] * TASKS + LEVELS[level][2]


def moe(t, x):
    experts = [t.chain(f"level0.expert{e}", x, CHAIN) for e in range(alike(0))]
    return [t.mix("level0.gate", x, experts)] * TASKS


def mmoe(t, x):
    experts = [t.chain(f"level0.expert{e}", x, CHAIN) for e in range(alike(0))]
    return [t.mix(f"level0.task{k}.gate", x, experts) for k in range(TASKS)]


def ml_mmoe(t, x):
    h = [x] * alike(0)
    for level, (widths, _, _) in enumerate(LEVELS):
        experts = [t.chain(f"level{level}.expert{e}", h[e], widths) for e in range(alike(level))]
        gates = ([f"level{level}.gate{g}" for g in range(alike(level + 1))] if level + 1 < len(LEVELS)
                 else [f"level{level}.task{k}.gate" for k in range(TASKS)])
        h = [t.mix(gate, x, experts) for gate in gates]
    return h


def extraction(t, x, levels):
    read = [x] * (TASKS + 1)
    for level, (widths, per_task, shared) in enumerate(levels):
        own = [[t.chain(f"level{level}.task{k}.expert{e}", read[k], widths) for e in range(per_task)]
               for k in range(TASKS)]
        common = [t.chain(f"level{level}.shared.expert{e}", read[TASKS], widths) for e in range(shared)]
        given = [t.mix(f"level{level}.task{k}.gate", read[k], own[k] + common) for k in range(TASKS)]
        if level + 1 < len(levels):
            given.append(t.mix(f"level{level}.shared.gate", read[TASKS], sum(own, []) + common))
        read = given
    return read


def cgc(t, x):
    return extraction(t, x, [(CHAIN, LEVELS[0][1], LEVELS[0][2])])


def ple(t, x):
    return extraction(t, x, LEVELS)[:TASKS]


BODIES = [ple, cgc, ml_mmoe, mmoe, moe, customized, cross_stitch, soft_l2, shared_bottom]


def forward(t, body, x):
    """Logits [n x LOGITS]."""
    logits = []
    for k, h in enumerate(body(t, x)):
        h = t.chain(f"task{k}.tower", h, TOWER)
        logits += [t.dense(f"task{k}.tower.output{j or ''}", h, 1) for j in range(OUTPUTS[k])]
    return torch.cat(logits, dim=1)


def penalty(t):
    """alpha times the squared distances of all pairs of tasks."""
    names = [name[len("task0"):] for name in t if name.startswith("task0.bottom")]
    return SOFT_L2 * sum(((t[f"task{i}{name}"] - t[f"task{j}{name}"]) ** 2).sum()
                         for name in names for i in range(TASKS) for j in range(i + 1, TASKS))


def write(file, name, tensor):
    values = tensor.detach().to(torch.float32).contiguous()
    rows, columns = values.shape
    encoded = name.encode()
    file.write(struct.pack("<I", len(encoded)) + encoded + struct.pack("<II", rows, columns))
    file.write(struct.pack(f"<{rows * columns}f", *values.flatten().tolist()))


def train(file, body):
    name, t, all_logits = body.__name__, Tensors(), []
    xs = 4 * uniform("x", STEPS * BATCH, INPUTS)
    labels = (uniform("label", STEPS * BATCH, sum(OUTPUTS)) > 0.125).double()
    for step in range(STEPS):
        rows = slice(step * BATCH, (step + 1) * BATCH)
        x = xs[rows].clone().requires_grad_()
        logits = forward(t, body, x)
        loss = F.binary_cross_entropy_with_logits(logits, labels[rows], reduction="sum")
        if body is soft_l2:
            loss = loss + BATCH * penalty(t)
        loss.backward()
        all_logits.append(logits)
        if step == 0:
            write(file, f"{name}/dx", x.grad)
        with torch.no_grad():
            for tensor in t.values():
                tensor -= RATE / BATCH * tensor.grad
                tensor.grad = None
    write(file, f"{name}/logits", torch.cat(all_logits))
    for tensor, value in t.items():
        write(file, f"{name}/final/{tensor}", value)


def main(path):
    with open(path, "wb") as file:
        for body in BODIES:
            train(file, body)


if __name__ == "__main__":
    main(sys.argv[1])
