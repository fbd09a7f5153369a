#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What another tool needs for one workspace: `peers.py TOOL WORKSPACE`, run by compare.py.

Prints one JSON object per line as soon as something is known, so that a process that runs into its
limit still leaves what it had. Times are seconds of one core.
"""
import json
import math
import sys
import time


def say(**what):
    print(json.dumps(what), flush=True)


def per_call(function, budget=0.5):
    """Seconds per call; the first call is not counted. The best of many batches of a millisecond
    on the clock, which between them meet a moment without neighbours."""
    function()
    n, best, end = 1, math.inf, time.perf_counter() + 20.0 * budget
    limit = time.process_time() + budget
    while best == math.inf or (time.process_time() < limit and time.perf_counter() < end):
        begin = time.perf_counter()
        for _ in range(n):
            function()
        spent = time.perf_counter() - begin
        if spent < 1e-3:
            n *= 2
        else:
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
    """`fit` returns 2NLL. The first call may compile: others follow if it took less than ten
    seconds. The fastest call on the clock counts, or the mean CPU time of all if that is less and
    long enough to be measured on a CPU clock that may tick slowly."""
    best, total, calls = math.inf, 0.0, 0
    while calls < 2 or (total < 3.0 and calls < 300):
        begin, begin_cpu = time.perf_counter(), time.process_time()
        twice_nll = fit()
        spent, cpu = time.perf_counter() - begin, time.process_time() - begin_cpu
        if calls == 0:
            best = min(spent, cpu) if cpu > 0.2 else spent
            say(fit=best, minimum=twice_nll)
            if cpu > 10.0:
                return
        else:
            best, total = min(best, spent), total + cpu
        calls += 1
    if total > 0.2:
        best = min(best, total / (calls - 1))
    say(fit=best, minimum=twice_nll)


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
