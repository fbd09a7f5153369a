#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The flow of bench_flow.cpp in plain PyTorch: 8 coupling layers with networks of 2 x 64, four
features, one condition, float32. Prints CPU milliseconds of log p of 60,000 events without a graph
and of a training step with 2,048 events, beside those of slalom if its benchmarks are given:

    flow_pytorch.py [--benchmarks build/release/bin/slalom_benchmarks] [--rounds 3]

Both run in turns, on one thread each; the least time of each counts.
"""
import argparse
import json
import math
import os
import subprocess
import time

os.environ['OMP_NUM_THREADS'] = '1'
import torch  # noqa: E402  (reads the number of threads)

FEATURES, CONDITIONS, LAYERS, HIDDEN, LIMIT = 4, 1, 8, 64, 2.0
EVENTS, BATCH = 60000, 2048


class Coupling(torch.nn.Module):
    """One layer: z = x e^s + t for half of the features, s = LIMIT tanh(raw / LIMIT)."""

    def __init__(self, kept, changed):
        super().__init__()
        self.kept, self.changed = kept, changed
        self.net = torch.nn.Sequential(
            torch.nn.Linear(len(kept) + CONDITIONS, HIDDEN), torch.nn.SiLU(),
            torch.nn.Linear(HIDDEN, HIDDEN), torch.nn.SiLU(),
            torch.nn.Linear(HIDDEN, 2 * len(changed)))
        torch.nn.init.zeros_(self.net[-1].weight)
        torch.nn.init.zeros_(self.net[-1].bias)

    def forward(self, x, condition):
        kept = x[:, self.kept]
        s, t = self.net(torch.cat([kept, condition], 1)).chunk(2, 1)
        s = LIMIT * torch.tanh(s / LIMIT)
        z = torch.empty_like(x)
        z[:, self.kept] = kept
        z[:, self.changed] = x[:, self.changed] * torch.exp(s) + t
        return z, s.sum(1)


class Flow(torch.nn.Module):
    """RealNVP with the splits of slalom::Flow."""

    def __init__(self):
        super().__init__()
        splits = [([0, 1], [2, 3]), ([0, 2], [1, 3])]
        self.layers = torch.nn.ModuleList()
        for number in range(LAYERS):
            kept, changed = splits[number // 2 % 2]
            self.layers.append(Coupling(*((changed, kept) if number % 2 else (kept, changed))))

    def log_prob(self, x, condition):
        log_det = 0.0
        for layer in self.layers:
            x, part = layer(x, condition)
            log_det = log_det + part
        return log_det - 0.5 * (x * x).sum(1) - 0.5 * FEATURES * math.log(2 * math.pi)


def cpu_ms(call, repeats):
    call()
    best = math.inf
    for _ in range(repeats):
        start = time.process_time()
        call()
        best = min(best, time.process_time() - start)
    return 1e3 * best


def pytorch_times():
    torch.set_num_threads(1)
    torch.manual_seed(1)
    flow, x, c = Flow(), torch.randn(EVENTS, FEATURES), torch.randn(EVENTS, CONDITIONS)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    optimizer = torch.optim.AdamW(flow.parameters(), 1e-3, weight_decay=0.0)

    def log_prob():
        with torch.inference_mode():
            flow.log_prob(x, c)

    def step():
        optimizer.zero_grad()
        loss = -flow.log_prob(x[:BATCH], c[:BATCH]).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(flow.parameters(), 1.0)
        optimizer.step()
        loss.item()

    return {'log_prob': cpu_ms(log_prob, 10), 'training_step': cpu_ms(step, 60)}


def slalom_times(program):
    output = subprocess.run(
        [program, '--benchmark_filter=^flow/', '--benchmark_format=json'],
        check=True, capture_output=True, text=True).stdout
    entries = json.loads(output)['benchmarks']
    return {entry['name'].split('/')[1]: entry['best_ms'] for entry in entries}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--benchmarks', help='slalom_benchmarks of a release build')
    parser.add_argument('--rounds', type=int, default=3)
    options = parser.parse_args()
    best = {'PyTorch': {}, 'slalom': {}}
    for _ in range(options.rounds):
        sides = {'PyTorch': pytorch_times()}
        if options.benchmarks:
            sides['slalom'] = slalom_times(options.benchmarks)
        for name, times in sides.items():
            for task, ms in times.items():
                best[name][task] = min(ms, best[name].get(task, math.inf))
    print(f'PyTorch {torch.__version__}, one thread, CPU ms')
    for task, theirs in best['PyTorch'].items():
        ours = best['slalom'].get(task)
        beside = f'  slalom {ours:8.2f}  ratio {theirs / ours:.2f}' if ours else ''
        print(f'{task:15} PyTorch {theirs:8.2f}{beside}')


if __name__ == '__main__':
    main()
