#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What another tool needs for one model: `peers.py TOOL JOB TASK...`, run by compare.py.

Prints one JSON object per line as soon as something is known, so that a process that runs into its
limit still leaves what it had. Times are CPU seconds of this process. A tool is a module `tool_*`
with a class `Tool`; what it does not define is left out.
"""
import importlib
import json
import math
import resource
import sys
import time

MODULES = {"pyhf": "tool_pyhf", "jax": "tool_pyhf", "nextstat": "tool_nextstat",
           "root": "tool_root"}
# Share of a task's limit after which no further part (point, toy, parameter, signal) is begun.
SHARE = 0.25
MANY_FITS = ("cls", "limit", "scan", "toy", "impacts")
# CPU seconds below which one measurement is not to be trusted: the clock may run in steps.
TICK = 0.05


def say(**what):
    print(json.dumps(what), flush=True)


def per_call(function, budget=1.0):
    """CPU seconds per call: the least of many batches. The first call is not counted."""
    function()
    n, best, end = 1, math.inf, time.process_time() + budget
    while best == math.inf or time.process_time() < end:
        spent = batch(function, n)
        if spent < TICK:
            n *= 2 if spent < 0.5 * TICK else 1.3
            n = math.ceil(n)
        else:
            best = min(best, spent / n)
    return best


def batch(function, n):
    begin = time.process_time()
    for _ in range(n):
        function()
    return time.process_time() - begin


def in_turn(function, points):
    state = [0]

    def call():
        state[0] ^= 1
        return function(points[state[0]])

    return call


def measured(function, limit):
    """Least CPU seconds of several calls, of which the first may compile, and the last result. What
    takes long is done once: where a second call would not fit into the limit."""
    result = [None]

    def call():
        result[0] = function()

    best = batch(call, 1)
    say(so_far={"seconds": best, **result[0]})
    if best > 0.45 * limit:
        return best, result[0]
    again = batch(call, 1)
    best = per_call(call) if again < TICK else min(best, again)
    calls = 2
    while again >= TICK and calls * again < 2.0:
        best, calls = min(best, batch(call, 1)), calls + 1
    return best, result[0]


def in_parts(items, function, limit):
    """Results by item, CPU seconds for all items, and whether all were done. Items that were not
    cost as much as the others did on average, without the first, which may compile."""
    results, spent = [], []
    for item in items:
        begin = time.process_time()
        results.append(function(item))
        spent.append(time.process_time() - begin)
        if sum(spent) > SHARE * limit:
            break
    missing = len(items) - len(results)
    average = sum(spent[1:]) / len(spent[1:]) if len(spent) > 1 else spent[0]
    return results, sum(spent) + missing * average, missing == 0


def spread(items):
    """The same items in an order of which every beginning is spread over all of them."""
    n = len(items)
    step = max(1, round(n * 0.618))
    while math.gcd(step, n) != 1:
        step += 1
    return [items[i * step % n] for i in range(n)]


class Tasks:
    """One method per task; each returns what is reported of it."""

    def __init__(self, tool, job):
        self.tool, self.job, self.limit = tool, job, job["limit"]

    def check(self):
        """2NLL at two points above that at the start: is it the same likelihood?"""
        points = self.job["points"]
        start = self.tool.twice_nll(points["start"])
        return {"start": start, **{name: self.tool.twice_nll(points[name]) - start
                                   for name in points if name != "start"}}

    def logpdf(self):
        points = [self.tool.prepare(self.job["points"][p]) for p in self.tool.timing_points]
        return {"seconds": per_call(in_turn(self.tool.value, points))}

    def gradient(self):
        points = [self.tool.prepare(self.job["points"][p]) for p in self.tool.timing_points]
        return {"seconds": per_call(in_turn(self.tool.gradient, points))}

    def fit(self):
        seconds, result = measured(self.tool.fit, self.limit)
        return {"seconds": seconds, **result}

    def cls(self):
        seconds, result = measured(lambda: self.tool.cls(1.0), self.limit)
        return {"seconds": seconds, **result}

    def limit_(self):
        seconds, result = measured(self.tool.limit, self.limit)
        return {"seconds": seconds, **result}

    def scan(self):
        """Free fit and 21 conditional ones."""
        values = self.job["scan"]
        if hasattr(self.tool, "scan"):
            seconds, result = measured(lambda: self.tool.scan(values), self.limit)
            return {"seconds": seconds, "done": len(values), **result}
        order = values if self.tool.warm else spread(values)
        best, begin = math.inf, time.process_time()
        while True:  # at least twice, if possible: the second time everything is compiled
            begin_fit = time.process_time()
            free = self.tool.fit()
            seconds = time.process_time() - begin_fit
            fits, more, complete = in_parts(order, self.tool.fit_at, self.limit)
            best = min(best, seconds + more)
            used = time.process_time() - begin
            if not complete or used > SHARE * self.limit or used > 2.0 and best < 0.6 * used:
                break
        return {"seconds": best, "done": len(fits), "failed": sum(not f["ok"] for f in fits),
                "values": order[:len(fits)],
                "curve": [f["twice_nll"] - free["twice_nll"] for f in fits]}

    def toy(self):
        """Seconds for one toy, thrown at the fit with mu = 1, from which its fit starts."""
        self.tool.throw_from(self.tool.fit_at(1.0))
        if hasattr(self.tool, "toys"):
            n, seconds, begin = 4, 0.0, time.process_time()
            while True:
                fits = self.tool.toys(n)
                seconds = time.process_time() - begin
                if n >= 1000 or 3.0 * seconds > SHARE * self.limit:
                    break
                n = min(1000, 3 * n)
                begin = time.process_time()
        else:
            fits, seconds, _ = in_parts(range(1000), self.tool.toy, self.limit)
            seconds *= len(fits) / 1000
        mus = [f["mu"] for f in fits if f["ok"]]
        return {"seconds": seconds / len(fits), "done": len(fits),
                "failed": sum(not f["ok"] for f in fits),
                "mean": sum(mus) / len(mus) if mus else None}

    def impacts(self):
        """Free fit, and four fits for each nuisance parameter. The uncertainties after the fit are
        given, so that all tools fit at the same places; what they cost a tool is not counted."""
        shifts = self.job["shifts"]
        if hasattr(self.tool, "impacts"):
            seconds, result = measured(self.tool.impacts, self.limit)
            return {"seconds": seconds, "done": len(shifts), **result}
        begin = time.process_time()
        best = self.tool.fit()
        seconds = time.process_time() - begin
        parts, more, _ = in_parts(spread(sorted(shifts)),
                                  lambda name: self.impact(best, name, shifts[name]), self.limit)
        return {"seconds": seconds + more, "done": len(parts),
                "failed": sum(p["failed"] for p in parts),
                "impacts": {p["name"]: p["impacts"] for p in parts}}

    def impact(self, best, name, shift):
        fits = [self.tool.fit_shifted(best, name, sign * shift[what])
                for what in ("prefit", "postfit") for sign in (1, -1)]
        return {"name": name, "impacts": [f["mu"] - best["mu"] for f in fits],
                "failed": sum(not f["ok"] for f in fits)}

    def grid(self):
        """Seconds per signal: model from the patched workspace, then CLs."""
        signals = self.job["signals"]
        documents = [json.load(open(path)) for path in signals.values()]
        results, seconds, _ = in_parts(documents, self.tool.signal, self.limit)
        names = list(signals)[:len(results)]
        return {"seconds": seconds / len(documents), "done": len(results),
                "cls": dict(zip(names, results))}


def finite(value):
    """The same with None for what JSON has no word for."""
    if isinstance(value, dict):
        return {k: finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(v) for v in value]
    return value if not isinstance(value, float) or math.isfinite(value) else repr(value)


def main():
    name, path, *todo = sys.argv[1:]
    with open(path) as file:
        job = json.load(file)
    Tool = importlib.import_module(MODULES[name]).Tool
    tool, one_fit = None, 0.0
    for task in todo:
        # Only this task's time counts towards its limit; beyond it the system ends the process.
        used = time.process_time()
        hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
        extra = 0 if tool else 20
        resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(used + extra + job["limit"]), hard))
        say(begin=task)
        try:
            if tool is None:
                tool = Tool(job["document"], name)
                say(version=tool.version, built=time.process_time())
            if task == "gradient" and not hasattr(tool, "gradient"):
                result = {"missing": "no gradient"}
            elif task in MANY_FITS and one_fit > 0.25 * job["limit"]:
                result = {"missing": "not tried, as one fit takes long"}
            else:
                result = getattr(Tasks(tool, job), {"limit": "limit_"}.get(task, task))()
        except Exception as error:  # whatever another tool throws is its answer
            result = {"error": f"{type(error).__name__}: {error}"[:300]}
        if task == "fit":
            one_fit = result.get("seconds", 0.0)
        say(end=task, result=finite(result))


if __name__ == "__main__":
    main()
