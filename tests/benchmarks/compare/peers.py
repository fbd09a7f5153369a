#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What another tool needs for one workspace: `peers.py TOOL WORKSPACE`, run by compare.py.

Prints one JSON object per line as soon as something is known, so that a process that runs into its
limit still leaves what it had. Times are CPU seconds of this process.
"""
import json
import math
import sys
import time


def say(**what):
    print(json.dumps(what), flush=True)


def per_call(function, budget=0.6):
    """CPU seconds per call: the best of several batches; the first call is not counted."""
    function()
    n, best, end = 1, math.inf, time.process_time() + budget
    while time.process_time() < end or best == math.inf:
        begin = time.process_time()
        for _ in range(n):
            function()
        spent = time.process_time() - begin
        if spent < 0.03 and n < 1 << 20:
            n *= 2
            continue
        best = min(best, spent / n)
    return best


def in_turn(function, points):
    state = [0]

    def call():
        state[0] ^= 1
        return function(points[state[0]])

    return call


def second_point(start, fixed):
    result = list(start)
    for i, value in enumerate(start):
        if not fixed[i]:
            wave = math.sin(i + 1.0)
            result[i] = 0.3 * wave if value == 0.0 else value * (1.0 + 0.05 * wave)
    return result


def time_fits(fit):
    """`fit` returns 2NLL. The first call may compile, so that others follow if it
    took less than ten seconds: four, but no more after three seconds."""
    times = []
    while not times or (len(times) < 5 and times[0] < 10.0 and sum(times[1:]) < 3.0):
        begin = time.process_time()
        twice_nll = fit()
        times.append(time.process_time() - begin)
        say(fit=min(times), minimum=twice_nll)


def with_pyhf(document, backend):
    import numpy
    import pyhf

    pyhf.set_backend(backend, "scipy")
    workspace = pyhf.Workspace(document)
    codes = {"normsys": {"interpcode": "code4"}, "histosys": {"interpcode": "code4p"}}
    model = workspace.model(modifier_settings=codes)
    data = pyhf.tensorlib.astensor(workspace.data(model))
    start = model.config.suggested_init()
    points = [numpy.asarray(p) for p in
              (start, second_point(start, model.config.suggested_fixed()))]
    say(parameters=len(start), version=pyhf.__version__)
    if backend == "jax":
        import jax

        points = [jax.numpy.asarray(p) for p in points]
        value = jax.jit(lambda p: model.logpdf(p, data)[0])
        both = jax.jit(jax.value_and_grad(lambda p: model.logpdf(p, data)[0]))
        say(start=-2.0 * float(value(points[0])))
        say(logpdf=per_call(in_turn(lambda p: value(p).block_until_ready(), points)))
        say(gradient=per_call(in_turn(lambda p: jax.block_until_ready(both(p)), points)))
    else:
        say(start=-2.0 * float(model.logpdf(points[0], data)[0]))
        say(logpdf=per_call(in_turn(lambda p: model.logpdf(p, data), points)))
    time_fits(lambda: float(pyhf.infer.mle.fit(data, model, return_fitted_val=True)[1]))


def with_nextstat(document):
    import nextstat

    model = nextstat.HistFactoryModel.from_workspace(json.dumps(document))
    start = model.suggested_init()
    points = [start, second_point(start, [lo == hi for lo, hi in model.suggested_bounds()])]
    say(parameters=len(start), version=getattr(nextstat, "__version__", "?"))
    say(start=2.0 * model.nll(start))
    say(logpdf=per_call(in_turn(model.nll, points)))
    say(gradient=per_call(in_turn(lambda p: (model.nll(p), model.grad_nll(p)), points)))
    estimator = nextstat.MaximumLikelihoodEstimator()
    time_fits(lambda: 2.0 * estimator.fit_minimum(model).nll)


def main():
    tool, path = sys.argv[1:]
    with open(path) as file:
        document = json.load(file)
    if tool == "nextstat":
        with_nextstat(document)
    else:
        with_pyhf(document, tool)


if __name__ == "__main__":
    main()
