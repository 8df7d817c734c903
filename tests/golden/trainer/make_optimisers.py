#!/usr/bin/env python3
"""Makes optimisers.bin: golden values of every optimiser, dense and of rows, over STEPS steps.

    python3 tests/golden/trainer/make_optimisers.py tests/golden/trainer/optimisers.bin

Needs torch (any version from 1.13 on, CPU; ops/install --torch); the tests need only the file. What torch.optim has is
taken from there: SGD, momentum, Adagrad, Adam; the rest (row-wise Adagrad, half-lives, FTRL-proximal) is written here
from its definition (docs/models.md, section 4). All in float64; values are stored as float32.
tests/unit/trainer_optimiser_golden.c reads the file and has the same constants.

Of rows, each row is a parameter of its own with an optimiser of its own, which steps only when the row occurs: that is
what "lazy" means. L2 is torch's weight_decay, for rows times occurrences / BATCH.

The file is a sequence of records, little-endian: u32 length of the name, the name, u32 rows, u32 columns,
float32 [rows x columns]. Records:
    start [ROWS x DIM], gradient [STEPS*ROWS x DIM] (means), occurrences [STEPS x ROWS] (0: the row is not touched)
    dense/<case>, rows/<case> [STEPS*ROWS x DIM]: the weights after every step
"""
import struct
import sys

import torch

ROWS, DIM, STEPS, BATCH = 5, 8, 20, 4
CASES = {  # kind, constants
    "sgd": ("sgd", dict(rate=0.3)),
    "sgd_l2": ("sgd", dict(rate=0.3, l2=0.05)),
    "momentum": ("momentum", dict(rate=0.1, momentum=0.9)),
    "momentum_l2": ("momentum", dict(rate=0.1, momentum=0.8, l2=0.02)),
    "adagrad": ("adagrad", dict(rate=0.1, initial=0.1, epsilon=1e-8)),
    "adagrad_l2": ("adagrad", dict(rate=0.1, initial=0.5, epsilon=1e-6, l2=0.02)),
    "adagrad_half_life": ("adagrad", dict(rate=0.1, initial=0.1, epsilon=1e-8, half_life=12)),
    "rowwise": ("rowwise_adagrad", dict(rate=0.05, initial=0.1, epsilon=1e-8)),
    "rowwise_l2": ("rowwise_adagrad", dict(rate=0.05, initial=0.1, epsilon=1e-8, l2=0.03)),
    "rowwise_half_life": ("rowwise_adagrad", dict(rate=0.05, initial=0.1, epsilon=1e-8, half_life=7)),
    "ftrl": ("ftrl", dict(rate=0.2, initial=0.1, beta=1.0, lambda1=0.0, lambda2=0.0)),
    "ftrl_lambda": ("ftrl", dict(rate=0.3, initial=0.2, beta=0.5, lambda1=0.4, lambda2=0.2)),
    "adam": ("adam", dict(rate=0.01, beta1=0.9, beta2=0.999, epsilon=1e-8)),
    "adam_l2": ("adam", dict(rate=0.02, beta1=0.8, beta2=0.95, epsilon=1e-6, l2=0.05)),
}


def torch_optimiser(kind, parameter, c):
    decay = c.get("l2", 0.0)
    if kind in ("sgd", "momentum"):
        return torch.optim.SGD([parameter], lr=c["rate"], momentum=c.get("momentum", 0.0), weight_decay=decay)
    if kind == "adagrad":
        return torch.optim.Adagrad([parameter], lr=c["rate"], initial_accumulator_value=c["initial"], eps=c["epsilon"],
                                   weight_decay=decay)
    return torch.optim.Adam([parameter], lr=c["rate"], betas=(c["beta1"], c["beta2"]), eps=c["epsilon"],
                            weight_decay=decay)


class Torch:
    def __init__(self, kind, start, c):
        self.c = c
        self.w = start.clone().requires_grad_()
        self.optimiser = torch_optimiser(kind, self.w, c)

    def step(self, gradient, examples, share):
        for group in self.optimiser.param_groups:
            group["weight_decay"] = self.c.get("l2", 0.0) * share
        self.w.grad = gradient.clone()
        self.optimiser.step()


class Adagrad:
    """Element-wise or, `rowwise`, with the mean of the squares of a row; n goes back to `initial` by halves."""

    def __init__(self, kind, start, c):
        self.c, self.rowwise = c, kind == "rowwise_adagrad"
        self.w = start.clone()
        self.n = torch.full((1,) if self.rowwise else start.shape, c["initial"], dtype=torch.float64)
        self.last = 0

    def step(self, gradient, examples, share):
        c = self.c
        if c.get("half_life"):
            self.n = c["initial"] + (self.n - c["initial"]) * 2.0 ** (-(examples - self.last) / c["half_life"])
            self.last = examples
        g = gradient + c.get("l2", 0.0) * share * self.w
        self.n = self.n + ((g * g).mean() if self.rowwise else g * g)
        self.w = self.w - c["rate"] * g / (self.n.sqrt() + c["epsilon"])


class Ftrl:
    def __init__(self, kind, start, c):
        self.c = c
        self.w = start.clone()
        self.n = torch.full_like(start, c["initial"])
        self.z = -start * self.divisor()

    def divisor(self):
        return (self.c["beta"] + self.n.sqrt()) / self.c["rate"] + self.c["lambda2"]

    def step(self, gradient, examples, share):
        sigma = ((self.n + gradient**2).sqrt() - self.n.sqrt()) / self.c["rate"]
        self.z = self.z + gradient - sigma * self.w
        self.n = self.n + gradient**2
        shrunk = -(self.z - torch.sign(self.z) * self.c["lambda1"]) / self.divisor()
        self.w = torch.where(self.z.abs() <= self.c["lambda1"], torch.zeros_like(self.z), shrunk)


def make(kind, start, c):
    if kind == "ftrl":
        return Ftrl(kind, start, c)
    if kind == "rowwise_adagrad" or c.get("half_life"):
        return Adagrad(kind, start, c)
    return Torch(kind, start, c)


def run_dense(kind, c, start, gradient):
    vector, weights = make(kind, start, c), []
    for step in range(STEPS):
        vector.step(gradient[step], (step + 1) * BATCH, 1.0)
        weights.append(vector.w.detach().clone())
    return torch.cat(weights)


def run_rows(kind, c, start, gradient, occurrences):
    rows, weights = [make(kind, row, c) for row in start], []
    for step in range(STEPS):
        for r in range(ROWS):
            if occurrences[step, r]:
                rows[r].step(gradient[step, r], (step + 1) * BATCH, float(occurrences[step, r]) / BATCH)
        weights.append(torch.stack([row.w.detach().clone() for row in rows]))
    return torch.cat(weights)


def write(file, name, tensor):
    values = tensor.detach().to(torch.float32).reshape(tensor.shape[0], -1).contiguous()
    rows, columns = values.shape
    encoded = name.encode()
    file.write(struct.pack("<I", len(encoded)) + encoded + struct.pack("<II", rows, columns))
    file.write(struct.pack(f"<{rows * columns}f", *values.flatten().tolist()))


def main(path):
    generator = torch.Generator().manual_seed(20265)

    def normal(*shape):
        values = torch.randn(*shape, generator=generator, dtype=torch.float64)
        return values.to(torch.float32).to(torch.float64)

    start = 0.5 * normal(ROWS, DIM)
    start[1] = 0.0
    # Gradients of one direction, so that weights move, with noise; a row of large ones, some that are zero.
    gradient = normal(STEPS, ROWS, DIM) * 0.5 + normal(1, ROWS, DIM) * 0.3
    gradient[:, 2] *= 8
    gradient[5:9, 3, :4] = 0
    gradient = gradient.to(torch.float32).to(torch.float64)
    occurrences = torch.randint(0, BATCH + 1, (STEPS, ROWS), generator=generator)
    with open(path, "wb") as file:
        write(file, "start", start)
        write(file, "gradient", gradient.reshape(STEPS * ROWS, DIM))
        write(file, "occurrences", occurrences)
        for name, (kind, c) in CASES.items():
            if kind != "rowwise_adagrad":
                write(file, f"dense/{name}", run_dense(kind, c, start, gradient))
            write(file, f"rows/{name}", run_rows(kind, c, start, gradient, occurrences))


if __name__ == "__main__":
    main(sys.argv[1])
