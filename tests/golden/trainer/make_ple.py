#!/usr/bin/env python3
"""Makes ple.bin: golden values of a small two-level PLE under ESMM's loss, from PyTorch.

    python3 tests/golden/trainer/make_ple.py tests/golden/trainer/ple.bin

Needs torch (any version from 1.13 on, CPU; ops/install --torch); the tests need only the file. The model is written
here from its definition (docs/models.md, section 1), the gradients are autograd's, all in float64; values are stored as
float32. tests/unit/trainer_network_golden.c reads the file and has the same constants.

The file is a sequence of records, little-endian: u32 length of the name, the name, u32 rows, u32 columns,
float32 [rows x columns]. Records:
    x [STEPS*BATCH x INPUTS], label, mask, weight [STEPS*BATCH x TASKS]
    initial/<tensor>
    and for <mode> in stop, full, from STEPS steps of SGD with the mean over BATCH as the gradient:
    <mode>/logits, <mode>/loss [STEPS*BATCH x TASKS], <mode>/dx [BATCH x INPUTS] of the first step, summed loss,
    <mode>/gradient/<tensor> of the first step, summed loss, <mode>/final/<tensor>
"""
import struct
import sys

import torch
import torch.nn.functional as F

INPUTS, TASKS, BATCH, STEPS, RATE = 32, 2, 24, 5, 0.5
LEVELS = [  # widths of an expert's layers, experts a task, shared experts
    ([32, 16], 2, 2),
    ([16], 1, 2),
]
TOWER = [16]
TASK_WEIGHT = [1.0, 1.5]
KEEP_NEGATIVES = 0.25


def groups(level):
    return [(f"level{level}.task{k}", LEVELS[level][1]) for k in range(TASKS)] + [
        (f"level{level}.shared", LEVELS[level][2])
    ]


def tensor_shapes():
    """Every tensor's name and shape, weights [inputs x outputs]."""
    shapes = {}
    inputs = INPUTS
    for level, (widths, per_task, shared) in enumerate(LEVELS):
        for group, experts in groups(level):
            for expert in range(experts):
                width = inputs
                for layer, output in enumerate(widths):
                    name = f"{group}.expert{expert}.layer{layer}"
                    shapes[f"{name}.weight"] = (width, output)
                    shapes[f"{name}.bias"] = (1, output)
                    width = output
            if group.endswith("shared"):
                if level + 1 < len(LEVELS):
                    shapes[f"{group}.gate.weight"] = (inputs, TASKS * per_task + shared)
            else:
                shapes[f"{group}.gate.weight"] = (inputs, per_task + shared)
        inputs = widths[-1]
    for task in range(TASKS):
        width = inputs
        for layer, output in enumerate(TOWER):
            shapes[f"task{task}.tower.layer{layer}.weight"] = (width, output)
            shapes[f"task{task}.tower.layer{layer}.bias"] = (1, output)
            width = output
        shapes[f"task{task}.tower.output.weight"] = (width, 1)
        shapes[f"task{task}.tower.output.bias"] = (1, 1)
    return shapes


def forward(tensors, x):
    """Logits [n x TASKS]."""

    def dense(name, value):
        return value @ tensors[f"{name}.weight"] + tensors[f"{name}.bias"]

    def expert(name, level, value):
        for layer in range(len(LEVELS[level][0])):
            value = F.relu(dense(f"{name}.layer{layer}", value))
        return value

    def mix(name, value, experts):
        gate = F.softmax(value @ tensors[f"{name}.gate.weight"], dim=1)
        return (gate.unsqueeze(2) * torch.stack(experts, dim=1)).sum(dim=1)

    read = [x] * (TASKS + 1)
    for level in range(len(LEVELS)):
        outputs = [
            [expert(f"{group}.expert{e}", level, value) for e in range(experts)]
            for (group, experts), value in zip(groups(level), read)
        ]
        shared = outputs[TASKS]
        given = [mix(f"level{level}.task{k}", read[k], outputs[k] + shared) for k in range(TASKS)]
        if level + 1 < len(LEVELS):
            everything = [e for group in outputs for e in group]
            given.append(mix(f"level{level}.shared", read[TASKS], everything))
        read = given
    logits = []
    for task in range(TASKS):
        value = read[task]
        for layer in range(len(TOWER)):
            value = F.relu(dense(f"task{task}.tower.layer{layer}", value))
        logits.append(dense(f"task{task}.tower.output", value))
    return torch.cat(logits, dim=1)


def losses(logits, label, mask, weight, stop):
    """ESMM's losses [n x TASKS]: click at the shifted logit, click-and-purchase on the product."""
    click, purchase = logits[:, 0], logits[:, 1]
    shift = torch.log(torch.tensor(KEEP_NEGATIVES, dtype=torch.float64))
    log_click = F.logsigmoid(click - shift)
    log_no_click = F.logsigmoid(-(click - shift))
    through = F.logsigmoid(click)
    log_product = (through.detach() if stop else through) + F.logsigmoid(purchase)
    log_no_product = torch.log(-torch.expm1(log_product))
    terms = torch.stack(
        [
            -(label[:, 0] * log_click + (1 - label[:, 0]) * log_no_click),
            -(label[:, 1] * log_product + (1 - label[:, 1]) * log_no_product),
        ],
        dim=1,
    )
    return terms * mask * weight * torch.tensor(TASK_WEIGHT, dtype=torch.float64)


def write(file, name, tensor):
    values = tensor.detach().to(torch.float32).reshape(tensor.shape[0], -1).contiguous()
    rows, columns = values.shape
    encoded = name.encode()
    file.write(struct.pack("<I", len(encoded)) + encoded + struct.pack("<II", rows, columns))
    file.write(struct.pack(f"<{rows * columns}f", *values.flatten().tolist()))


def round_to_float32(tensor):
    return tensor.to(torch.float32).to(torch.float64)


def train(file, mode, initial, data):
    tensors = {name: value.clone().requires_grad_() for name, value in initial.items()}
    all_logits, all_losses = [], []
    for step in range(STEPS):
        rows = slice(step * BATCH, (step + 1) * BATCH)
        x = data["x"][rows].clone().requires_grad_()
        logits = forward(tensors, x)
        loss = losses(logits, *(data[key][rows] for key in ("label", "mask", "weight")), mode == "stop")
        for tensor in tensors.values():
            tensor.grad = None
        loss.sum().backward()
        all_logits.append(logits)
        all_losses.append(loss)
        if step == 0:
            write(file, f"{mode}/dx", x.grad)
            for name, tensor in tensors.items():
                write(file, f"{mode}/gradient/{name}", tensor.grad)
        with torch.no_grad():
            for tensor in tensors.values():
                tensor -= RATE / BATCH * tensor.grad
    write(file, f"{mode}/logits", torch.cat(all_logits))
    write(file, f"{mode}/loss", torch.cat(all_losses))
    for name, tensor in tensors.items():
        write(file, f"{mode}/final/{name}", tensor)


def main(path):
    generator = torch.Generator().manual_seed(20260)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    def uniform(*shape):
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    initial = {}
    for name, (rows, columns) in tensor_shapes().items():
        scale = 0.1 if name.endswith("bias") else (2.0 / rows) ** 0.5
        initial[name] = round_to_float32(scale * normal(rows, columns))
    n = STEPS * BATCH
    click = (uniform(n) < 0.4).double()
    data = {
        "x": round_to_float32(normal(n, INPUTS)),
        "label": torch.stack([click, click * (uniform(n) < 0.5).double()], dim=1),
        "mask": (uniform(n, TASKS) < 0.8).double(),
        "weight": round_to_float32(0.5 + uniform(n, TASKS)),
    }
    with open(path, "wb") as file:
        for name, tensor in data.items():
            write(file, name, tensor)
        for name, tensor in initial.items():
            write(file, f"initial/{name}", tensor)
        for mode in ("stop", "full"):
            train(file, mode, initial, data)


if __name__ == "__main__":
    main(sys.argv[1])
