"""What lies between x and the towers: the bodies of docs/models.md, section 1, in numpy.

A body is a function from (dense, body, tasks, x) to what each task's tower reads; `dense` maps names to tensors,
`body` is the descriptor's. Without several levels the widths of all levels are one chain of layers.
"""

import numpy


def layers(dense, prefix, count, h):
    for layer in range(count):
        h = dense_layer(dense, f"{prefix}.layer{layer}", h)
    return h


def dense_layer(dense, name, h):
    return numpy.maximum(h @ dense[name + ".weight"] + dense[name + ".bias"], 0)


def mixture(dense, gate, read, experts):
    scores = read @ dense[gate + ".weight"]
    scores = numpy.exp(scores - scores.max(axis=1, keepdims=True))
    scores /= scores.sum(axis=1, keepdims=True)
    return numpy.einsum("ne,end->nd", scores, numpy.stack(experts))


def chain(body):
    return [width for level in body["levels"] for width in level["widths"]]


def shared_bottom(dense, body, tasks, x):
    return [layers(dense, "bottom", len(chain(body)), x)] * tasks


def soft_l2(dense, body, tasks, x):
    return [layers(dense, f"task{k}.bottom", len(chain(body)), x) for k in range(tasks)]


def cross_stitch(dense, body, tasks, x):
    h = [x] * tasks
    for j in range(len(chain(body))):
        h = [dense_layer(dense, f"task{k}.bottom.layer{j}", h[k]) for k in range(tasks)]
        if tasks > 1:
            h = list(numpy.einsum("ij,jnd->ind", dense[f"stitch{j}.weight"], numpy.stack(h)))
    return h


def customized(dense, body, tasks, x):
    shared = layers(dense, "shared.bottom", len(chain(body)), x)
    return [numpy.concatenate([shared, own], axis=1) for own in soft_l2(dense, body, tasks, x)]


def experts_of_all(level, tasks):
    return level["per_task"] * tasks + level["shared"]


def moe(dense, body, tasks, x):
    experts = [layers(dense, f"level0.expert{e}", len(chain(body)), x)
               for e in range(experts_of_all(body["levels"][0], tasks))]
    return [mixture(dense, "level0.gate", x, experts)] * tasks


def mmoe(dense, body, tasks, x):
    experts = [layers(dense, f"level0.expert{e}", len(chain(body)), x)
               for e in range(experts_of_all(body["levels"][0], tasks))]
    return [mixture(dense, f"level0.task{k}.gate", x, experts) for k in range(tasks)]


def ml_mmoe(dense, body, tasks, x):
    """Every gate reads x. Those of the last level are the tasks', below it those of the experts above."""
    levels = body["levels"]
    h = [x] * experts_of_all(levels[0], tasks)
    for number, level in enumerate(levels):
        experts = [layers(dense, f"level{number}.expert{e}", len(level["widths"]), h[e])
                   for e in range(experts_of_all(level, tasks))]
        if number + 1 < len(levels):
            gates = [f"level{number}.gate{g}" for g in range(experts_of_all(levels[number + 1], tasks))]
        else:
            gates = [f"level{number}.task{k}.gate" for k in range(tasks)]
        h = [mixture(dense, gate, x, experts) for gate in gates]
    return h


def ple(dense, body, tasks, x):
    levels = body["levels"]
    h = [x] * (tasks + 1)  # what each task's group reads, then the shared one
    for number, level in enumerate(levels):
        depth = len(level["widths"])
        own = [[layers(dense, f"level{number}.task{k}.expert{e}", depth, h[k])
                for e in range(level["per_task"])] for k in range(tasks)]
        shared = [layers(dense, f"level{number}.shared.expert{e}", depth, h[tasks])
                  for e in range(level["shared"])]
        mixed = [mixture(dense, f"level{number}.task{k}.gate", h[k], own[k] + shared) for k in range(tasks)]
        if number + 1 < len(levels):
            everything = [expert for group in own for expert in group] + shared
            mixed.append(mixture(dense, f"level{number}.shared.gate", h[tasks], everything))
        h = mixed
    return h[:tasks]


def cgc(dense, body, tasks, x):
    """PLE's single level."""
    first = body["levels"][0]
    return ple(dense, {"levels": [dict(first, widths=chain(body))]}, tasks, x)


BODIES = {body.__name__: body for body in (ple, cgc, ml_mmoe, mmoe, moe, customized, cross_stitch, soft_l2,
                                           shared_bottom)}
