"""PLE under ESMM's losses in PyTorch, as its users would write it, over the weights that `learn --initial` writes.

Two forms of the same body: Plain, with a module an expert; and Batched, with one wide product for the first layer of
all experts of the first level and batched products behind it, which is faster with many small experts. Both read x
[n x inputs] and give logits [n x tasks]. Embedding: one table for all slots, with sparse gradients.

Needs torch (1.13 or newer; CPU).
"""

import torch
import torch.nn.functional as F
from torch import nn


def dense(tensors, name, bias=True):
    """A Linear with the weights of a layer; ours are [inputs x outputs]."""
    weight = torch.from_numpy(tensors[f"{name}.weight"])
    layer = nn.Linear(*weight.shape, bias=bias)
    with torch.no_grad():
        layer.weight.copy_(weight.t())
        if bias:
            layer.bias.copy_(torch.from_numpy(tensors[f"{name}.bias"])[0])
    layer.tensor = name
    return layer


def layers(tensors, prefix):
    count = 0
    while f"{prefix}.layer{count}.weight" in tensors:
        count += 1
    modules = []
    for number in range(count):
        modules += [dense(tensors, f"{prefix}.layer{number}"), nn.ReLU()]
    return modules


class Plain(nn.Module):
    """levels: [(experts a task, shared experts)]."""

    def __init__(self, tensors, levels, tasks):
        super().__init__()
        self.tasks = tasks
        self.experts, self.gates = nn.ModuleList(), nn.ModuleList()
        for level, (per_task, shared) in enumerate(levels):
            names = [f"level{level}.task{k}" for k in range(tasks)] + [f"level{level}.shared"]
            counts = [per_task] * tasks + [shared]
            self.experts.append(nn.ModuleList(
                nn.ModuleList(nn.Sequential(*layers(tensors, f"{name}.expert{e}")) for e in range(count))
                for name, count in zip(names, counts)))
            gated = names if level + 1 < len(levels) else names[:-1]
            self.gates.append(nn.ModuleList(dense(tensors, f"{name}.gate", bias=False) for name in gated))
        self.towers = nn.ModuleList(
            nn.Sequential(*layers(tensors, f"task{k}.tower"), dense(tensors, f"task{k}.tower.output"))
            for k in range(tasks))

    def forward(self, x):
        read = [x] * (self.tasks + 1)
        for experts, gates in zip(self.experts, self.gates):
            outputs = [[expert(value) for expert in group] for group, value in zip(experts, read)]
            given = []
            for k, gate in enumerate(gates):
                weighed = outputs[k] + outputs[-1] if k < self.tasks else sum(outputs, [])
                g = F.softmax(gate(read[k]), dim=1)
                given.append(torch.bmm(g.unsqueeze(1), torch.stack(weighed, dim=1)).squeeze(1))
            read = given
        return torch.cat([tower(value) for tower, value in zip(self.towers, read)], dim=1)

    def weights(self):
        """{name: array}, named and shaped as ours."""
        named = {}
        for module in self.modules():
            if isinstance(module, nn.Linear):
                named[f"{module.tensor}.weight"] = module.weight.detach().t().numpy()
                if module.bias is not None:
                    named[f"{module.tensor}.bias"] = module.bias.detach().unsqueeze(0).numpy()
        return named


class Batched(nn.Module):
    """As Plain; every level must have as many shared experts as experts a task.

    A level's gates are one [n x groups x experts] softmax in which what a gate does not see is masked.
    """

    def __init__(self, tensors, levels, tasks):
        super().__init__()
        self.tasks, self.names = tasks, []
        self.first, self.rest, self.gates = nn.ParameterList(), nn.ModuleList(), nn.ParameterList()
        for level, (per_task, shared) in enumerate(levels):
            assert per_task == shared
            groups = [f"level{level}.task{k}" for k in range(tasks)] + [f"level{level}.shared"]
            experts = [f"{group}.expert{e}" for group in groups for e in range(shared)]
            gated = groups if level + 1 < len(levels) else groups[:-1]
            self.names.append((groups, experts, gated, shared))
            first = self.stack(tensors, experts, "layer0")
            if level == 0:  # all read x: one product
                self.first.append(nn.Parameter(first[0].permute(1, 0, 2).reshape(first[0].shape[1], -1).contiguous()))
                self.first.append(nn.Parameter(first[1].reshape(-1)))
            else:  # a group reads one vector: a product a group
                self.first.append(nn.Parameter(self.side_by_side(first[0], len(groups))))
                self.first.append(nn.Parameter(self.side_by_side(first[1], len(groups))))
            rest, number = nn.ParameterList(), 1
            while f"{experts[0]}.layer{number}.weight" in tensors:
                for tensor in self.stack(tensors, experts, f"layer{number}"):
                    rest.append(nn.Parameter(tensor))
                number += 1
            self.rest.append(rest)
            self.gates.append(nn.Parameter(self.gate(tensors, level)))
            hidden = torch.zeros(len(gated), 1, len(experts))
            for k in range(min(tasks, len(gated))):
                hidden[k, 0, :tasks * shared] = float("-inf")
                hidden[k, 0, k * shared:(k + 1) * shared] = 0
            self.register_buffer(f"hidden{level}", hidden, persistent=False)
        self.towers, number = nn.ParameterList(), 0
        self.tower_layers = []
        names = [f"task{k}.tower" for k in range(tasks)]
        while f"task0.tower.layer{number}.weight" in tensors:
            self.tower_layers.append(f"layer{number}")
            number += 1
        self.tower_layers.append("output")
        for layer in self.tower_layers:
            for tensor in self.stack(tensors, names, layer):
                self.towers.append(nn.Parameter(tensor))

    @staticmethod
    def stack(tensors, names, layer):
        """([names x inputs x outputs], [names x 1 x outputs])."""
        return tuple(torch.stack([torch.from_numpy(tensors[f"{name}.{layer}.{part}"]) for name in names])
                     for part in ("weight", "bias"))

    @staticmethod
    def side_by_side(stacked, groups):
        """[groups * e x rows x columns] to [groups x rows x e * columns]."""
        _, rows, columns = stacked.shape
        return stacked.view(groups, -1, rows, columns).permute(0, 2, 1, 3).reshape(groups, rows, -1).contiguous()

    def gate(self, tensors, level):
        """[gated x inputs x experts], zero where a gate does not see an expert."""
        _, experts, gated, shared = self.names[level]
        inputs = tensors[f"{gated[0]}.gate.weight"].shape[0]
        weight = torch.zeros(len(gated), inputs, len(experts))
        for k, name in enumerate(gated):
            weight[k][:, self.seen(k, shared)] = torch.from_numpy(tensors[f"{name}.gate.weight"])
        return weight

    def seen(self, k, shared):
        """The experts that gate k sees, in our order."""
        own = list(range(k * shared, (k + 1) * shared)) if k < self.tasks else list(range(self.tasks * shared))
        return own + list(range(self.tasks * shared, (self.tasks + 1) * shared))

    def forward(self, x):
        n, h = x.shape[0], None  # h: [groups x n x width]
        for level, (groups, experts, gated, shared) in enumerate(self.names):
            weight, bias = self.first[2 * level], self.first[2 * level + 1]
            if level == 0:
                h = torch.addmm(bias, x, weight).relu().view(n, len(experts), -1).transpose(0, 1)
                s = torch.matmul(x, self.gates[level])
            else:
                s = torch.bmm(h[:len(gated)], self.gates[level])
                h = torch.baddbmm(bias, h, weight).relu()
                h = h.view(len(groups), n, shared, -1).transpose(1, 2).reshape(len(experts), n, -1)
            rest = self.rest[level]
            for number in range(0, len(rest), 2):
                h = torch.baddbmm(rest[number + 1], h, rest[number]).relu()
            g = F.softmax(s + getattr(self, f"hidden{level}"), dim=2)  # [gated x n x experts]
            h = torch.bmm(g.transpose(0, 1), h.transpose(0, 1)).transpose(0, 1)
        for number in range(0, len(self.towers), 2):
            h = torch.baddbmm(self.towers[number + 1], h, self.towers[number])
            h = h.relu() if number + 2 < len(self.towers) else h
        return h.squeeze(2).t()

    def weights(self):
        named = {}

        def spread(names, layer, weight, bias):
            for name, w, b in zip(names, weight, bias):
                named[f"{name}.{layer}.weight"] = w.detach().numpy()
                named[f"{name}.{layer}.bias"] = b.detach().numpy()

        for level, (groups, experts, gated, shared) in enumerate(self.names):
            weight, bias = self.first[2 * level].detach(), self.first[2 * level + 1].detach()
            if level == 0:
                weight = weight.view(weight.shape[0], len(experts), -1).transpose(0, 1)
                bias = bias.view(len(experts), 1, -1)
            else:
                weight = weight.view(len(groups), weight.shape[1], shared, -1).transpose(1, 2).flatten(0, 1)
                bias = bias.view(len(groups), 1, shared, -1).transpose(1, 2).flatten(0, 1)
            spread(experts, "layer0", weight, bias)
            for number in range(0, len(self.rest[level]), 2):
                spread(experts, f"layer{1 + number // 2}", self.rest[level][number], self.rest[level][number + 1])
            for k, name in enumerate(gated):
                named[f"{name}.gate.weight"] = self.gates[level][k].detach()[:, self.seen(k, shared)].numpy()
        for number, layer in enumerate(self.tower_layers):
            spread([f"task{k}.tower" for k in range(self.tasks)], layer, self.towers[2 * number],
                   self.towers[2 * number + 1])
        return named


def esmm_losses(logits, labels, stop=True):
    """[n x 2]: of the click, and of click and purchase on the product; with `stop` the second moves its own logit."""
    click = F.binary_cross_entropy_with_logits(logits[:, 0], labels[:, 0], reduction="none")
    through = F.logsigmoid(logits[:, 0])
    log_product = (through.detach() if stop else through) + F.logsigmoid(logits[:, 1])
    purchase = torch.where(labels[:, 1] > 0, -log_product, -torch.log(-torch.expm1(log_product)))
    return torch.stack([click, purchase], dim=1)


class Embedding(nn.Module):
    """One table for all slots; ids are counted through. forward(ids [n x slots]) -> [n x slots * dimension]."""

    def __init__(self, table, bag=False):
        super().__init__()
        kind = nn.EmbeddingBag if bag else nn.Embedding
        options = {"mode": "sum"} if bag else {}
        self.table = kind(*table.shape, sparse=True, _weight=table, **options)
        self.bag = bag

    def forward(self, ids):
        if self.bag:
            return self.table(ids.view(-1, 1)).view(ids.shape[0], -1)
        return self.table(ids).view(ids.shape[0], -1)
