#!/usr/bin/env python3
"""Makes losses.bin: golden values of every loss and of the joint loss' weighting, from PyTorch.

    python3 tests/golden/trainer/make_losses.py tests/golden/trainer/losses.bin

Needs torch (any version from 1.13 on, CPU; ops/install --torch); the tests need only the file. The losses are written
here from their definitions (docs/losses.md), the gradients are autograd's, all in float64; values are stored as
float32. The body is a single CGC level. tests/unit/trainer_loss_golden.c reads the file and has the same constants.

Records as in make_ple.py:
    x [STEPS*BATCH x INPUTS], kind [STEPS*BATCH x 1], mask, label, weight, value [STEPS*BATCH x TASKS]
    and for every scenario, from STEPS steps of SGD with the sum over BATCH / BATCH as the gradient:
    <scenario>/initial/<tensor>, <scenario>/loss [STEPS x TASKS] (summed), <scenario>/final/<tensor>,
    <scenario>/conditional, <scenario>/products [BATCH x TASKS] of the first step,
    <scenario>/log_variance [1 x TASKS] at the end, if they are trained
"""
import math
import sys

import torch
import torch.nn.functional as F

from make_ple import round_to_float32, write

INPUTS, TASKS, BATCH, STEPS, RATE, WIDTH = 16, 4, 32, 20, 0.1, 16
N0, C1, L, D2 = range(4)
TASK_WEIGHT = [1.0, 1.5, 0.75, 0.5]
KEEP_NEGATIVES, SIGMA_MIN, PROPENSITY_MIN, CORRECTION_WEIGHT = 0.5, 0.1, 0.3, 0.75
NONE = None

# stages; then of each task: its loss, its parent, whether its space are the events alone
CHAIN = dict(stages=3, kinds=["bce"] * 4, parents=[NONE, NONE, NONE, 1])
VALUES = dict(stages=2, kinds=["bce", "ziln", "mse", "poisson"], parents=[NONE, NONE, 0, NONE],
              events=[False, False, True, False])
CLICKED = dict(stages=2, kinds=["bce"] * 4, parents=[NONE, NONE, 0, NONE])
SCENARIOS = {
    "chain_stop": dict(CHAIN),
    "chain_full": dict(CHAIN, full=True),
    "values_stop": dict(VALUES),
    "values_full": dict(VALUES, full=True, events=[False] * 4),
    "esm2_stop": dict(CLICKED, branch=2),
    "esm2_full": dict(CLICKED, branch=2, full=True),
    "ips": dict(CLICKED, correction="ips"),
    "dr": dict(CLICKED, correction="dr"),
    "uncertainty": dict(VALUES, uncertainty=True, decay=[1.0, 0.25, 1.0, 0.5], decay_examples=320.0),
    # the log variances by Adam, all else by momentum, both rates warmed up over 400 examples
    "uncertainty_adam": dict(VALUES, uncertainty=True, warmup=400.0, momentum=0.9, variance_rate=0.05),
}


def outputs(scenario, k):
    return (1 + 2 * (scenario["kinds"][k] == "ziln") + ("branch" in scenario and k == 1)
            + (scenario.get("correction") == "dr" and k == 1))


def tensor_shapes(scenario):
    shapes = {}
    for group in [f"task{k}" for k in range(TASKS)] + ["shared"]:
        shapes[f"level0.{group}.expert0.layer0.weight"] = (INPUTS, WIDTH)
        shapes[f"level0.{group}.expert0.layer0.bias"] = (1, WIDTH)
    for k in range(TASKS):
        shapes[f"level0.task{k}.gate.weight"] = (INPUTS, 2)
        for j in range(outputs(scenario, k)):
            shapes[f"task{k}.tower.output{j or ''}.weight"] = (WIDTH, 1)
            shapes[f"task{k}.tower.output{j or ''}.bias"] = (1, 1)
    return shapes


def forward(scenario, tensors, x):
    """logits[k]: [n x outputs]"""

    def expert(group):
        name = f"level0.{group}.expert0.layer0"
        return F.relu(x @ tensors[name + ".weight"] + tensors[name + ".bias"])

    shared, logits = expert("shared"), []
    for k in range(TASKS):
        gate = F.softmax(x @ tensors[f"level0.task{k}.gate.weight"], dim=1)
        h = gate[:, :1] * expert(f"task{k}") + gate[:, 1:] * shared
        names = [f"task{k}.tower.output{j or ''}" for j in range(outputs(scenario, k))]
        logits.append(torch.cat([h @ tensors[n + ".weight"] + tensors[n + ".bias"] for n in names], dim=1))
    return logits


def stage_logit(scenario, logits, k, stop):
    """The logit of a stage; of the one that is parted in two the logit of y2 y3 + (1 - y2) y4."""
    if "branch" not in scenario or k != 1:
        return logits[k][:, 0]
    action = logits[scenario["branch"]][:, 0]
    y2, y3, y4 = (torch.sigmoid(a) for a in (action.detach() if stop else action, logits[k][:, 0], logits[k][:, 1]))
    return torch.log(y2 * y3 + (1 - y2) * y4) - torch.log(y2 * (1 - y3) + (1 - y2) * (1 - y4))


def before(scenario, k):
    if k < scenario["stages"]:
        return k
    return 0 if scenario["parents"][k] is NONE else scenario["parents"][k] + 1


def losses(scenario, logits, data):
    """Unweighted losses [n x TASKS], and whether the sample is in the task's space."""
    stop = not scenario.get("full", False)
    label, value, mask = data["label"], data["value"], data["mask"]
    terms, spaces = [], []
    for k in range(TASKS):
        kind, space = scenario["kinds"][k], mask[:, k]
        y, v = label[:, k], label[:, k] * value[:, k]
        if kind in ("bce", "ziln"):
            through = [F.logsigmoid(stage_logit(scenario, logits, i, stop)) for i in range(before(scenario, k))]
            own = stage_logit(scenario, logits, k, stop)
            own = F.logsigmoid(own - math.log(KEEP_NEGATIVES) if k == 0 else own)
            product = sum((t.detach() if stop else t) for t in through) + own
            loss = -(y * product + (1 - y) * torch.log(-torch.expm1(product)))
        if kind == "ziln":
            sigma = SIGMA_MIN + F.softplus(logits[k][:, 2])
            density = torch.distributions.LogNormal(logits[k][:, 1], sigma)
            loss = loss - y * density.log_prob(torch.where(y > 0, v, torch.ones_like(v)))
        if kind == "mse":
            loss = F.mse_loss(logits[k][:, 0], torch.log1p(v), reduction="none")
        if kind == "poisson":
            loss = F.poisson_nll_loss(logits[k][:, 0], v, log_input=True, reduction="none")
        if scenario.get("events", [False] * TASKS)[k]:
            space = space * y
        terms.append(loss)
        spaces.append(space)
    return torch.stack(terms, dim=1), torch.stack(spaces, dim=1)


def correction(scenario, logits, data):
    """ESCM2's term for the conversion of a click [n], and the sample's weight in it."""
    kind, mask, label = data["kind"][:, 0], data["mask"], data["label"]
    purchase = mask[:, 1] > 0
    late = (kind == L) & ~purchase & (mask[:, 0] > 0)
    o = ((purchase & (kind != N0)) | late).double()
    counted = (purchase & ((kind == N0) | (kind == C1))).double()
    z = torch.where(purchase, label[:, 1], torch.zeros_like(o))
    b = logits[1][:, 0]
    delta = F.binary_cross_entropy_with_logits(b, z, reduction="none")
    p = torch.clamp(torch.sigmoid(logits[0][:, 0]), min=PROPENSITY_MIN).detach()
    weight = torch.where(purchase, data["weight"][:, 1], data["weight"][:, 0])
    if scenario["correction"] == "ips":
        return weight * o * delta / p
    imputed = F.softplus(logits[1][:, -1])
    return weight * (counted * imputed + o * (delta - imputed) / p + o * (delta.detach() - imputed) ** 2 / p)


def predictions(scenario, logits):
    conditional, products, chain = [], [], [torch.ones(len(logits[0]), dtype=torch.float64)]
    for k in range(TASKS):
        kind = scenario["kinds"][k]
        if kind == "mse":
            said = product = torch.clamp(torch.expm1(logits[k][:, 0]), min=0)
        elif kind == "poisson":
            said = product = torch.exp(logits[k][:, 0])
        else:
            said = torch.sigmoid(stage_logit(scenario, logits, k, True))
            product = chain[before(scenario, k)] * said
        if k < scenario["stages"]:
            chain.append(product)
        if kind == "ziln":
            sigma = SIGMA_MIN + F.softplus(logits[k][:, 2])
            product = product * torch.exp(logits[k][:, 1] + sigma ** 2 / 2)
        conditional.append(said)
        products.append(product)
    return torch.stack(conditional, dim=1), torch.stack(products, dim=1)


def train(file, name, scenario, initial, data):
    tensors = {key: value.clone().requires_grad_() for key, value in initial.items()}
    s = torch.zeros(TASKS, dtype=torch.float64, requires_grad=True)
    half = torch.tensor([0.5 if kind == "mse" else 1.0 for kind in scenario["kinds"]], dtype=torch.float64)
    optimisers = [torch.optim.SGD(tensors.values(), lr=RATE, momentum=scenario.get("momentum", 0.0))]
    if "variance_rate" in scenario:
        optimisers.append(torch.optim.Adam([s], lr=scenario["variance_rate"]))
    else:
        optimisers.append(torch.optim.SGD([s], lr=RATE))
    schedules = [torch.optim.lr_scheduler.LambdaLR(
        o, lambda step: min(1.0, (step + 1) * BATCH / scenario.get("warmup", 1.0))) for o in optimisers]
    summed = []
    for step in range(STEPS):
        rows = {key: value[step * BATCH:(step + 1) * BATCH] for key, value in data.items()}
        logits = forward(scenario, tensors, rows["x"])
        if step == 0:
            conditional, products = predictions(scenario, logits)
            write(file, f"{name}/conditional", conditional)
            write(file, f"{name}/products", products)
        weight = torch.tensor(TASK_WEIGHT, dtype=torch.float64)
        if "decay" in scenario:
            t = step * BATCH / scenario["decay_examples"]
            weight = weight * torch.tensor(scenario["decay"], dtype=torch.float64) ** t
        terms, spaces = losses(scenario, logits, rows)
        if "uncertainty" in scenario:
            terms = half * torch.exp(-s) * terms + s / 2
        # where a task has no space its loss may be anything
        loss = (torch.where(spaces > 0, terms, torch.zeros_like(terms)) * rows["weight"] * weight).sum(dim=0)
        if "correction" in scenario:
            extra = CORRECTION_WEIGHT * weight[1] * correction(scenario, logits, rows).sum()
            loss = loss + extra * torch.eye(TASKS, dtype=torch.float64)[1]
        summed.append(loss)
        for tensor in [*tensors.values(), s]:
            tensor.grad = None
        (loss.sum() / BATCH).backward()
        for each in optimisers + schedules:
            each.step()
    write(file, f"{name}/loss", torch.stack(summed))
    for key, tensor in tensors.items():
        write(file, f"{name}/final/{key}", tensor)
    if "uncertainty" in scenario:
        write(file, f"{name}/log_variance", s.reshape(1, TASKS))


def main(path):
    generator = torch.Generator().manual_seed(20262)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    def uniform(*shape):
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    n = STEPS * BATCH
    kind = torch.floor(4 * uniform(n, 1))
    mask = (uniform(n, TASKS) < 0.7).double()
    mask[:, 3] = torch.where(mask[:, :3].sum(dim=1) > 0, mask[:, 3], torch.ones(n, dtype=torch.float64))
    data = {
        "x": round_to_float32(normal(n, INPUTS)),
        "kind": kind,
        "mask": mask,
        "label": (uniform(n, TASKS) < 0.4).double(),
        "weight": round_to_float32(0.5 + uniform(n, TASKS)),
        "value": round_to_float32(torch.exp(0.8 * normal(n, TASKS))),
    }
    with open(path, "wb") as file:
        for name, tensor in data.items():
            write(file, name, tensor)
        for name, scenario in SCENARIOS.items():
            initial = {}
            for key, (rows, columns) in tensor_shapes(scenario).items():
                scale = 0.1 if key.endswith("bias") else (2.0 / rows) ** 0.5
                initial[key] = round_to_float32(scale * normal(rows, columns))
                write(file, f"{name}/initial/{key}", initial[key])
            train(file, name, scenario, initial, data)


if __name__ == "__main__":
    main(sys.argv[1])
