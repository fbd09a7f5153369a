#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares slalom with pyhf and NextStat in one run on one core; see README.md."""
import argparse
import json
import math
import os
import pathlib
import re
import resource
import subprocess
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
PUBLISHED = {
    "2bin": ("pyhf/2-bin_1-channel.json", "", ""),
    "agc_34par": ("agc/agc_34par.json", "", ""),
    "sbottom_a": ("sbottom/RegionA/BkgOnly.json",
                  "sbottom/RegionA/patch.sbottom_1300_205_60.json", ""),
    "3lrjr": ("3LRJR/BkgOnly.json", "3LRJR/patchset.json", "ERJR_100p0_20p0"),
    "ttbar_ljets_132par": ("ttbar/ttbar_ljets_132par.json", "", ""),
    "agc_ml_187par": ("agc/agc_ml_187par.json", "", ""),
}
SYNTHETIC = ["synthetic_111", "synthetic_601", "synthetic_3301"]
TIMES = {"read_compile", "stream", "logpdf", "logpdf_gradient", "hessian", "fit"}
UNITS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0}


def patched(document, operations):
    """The JSON patch operations that published patches use."""
    for operation in operations:
        *parents, last = [part.replace("~1", "/").replace("~0", "~")
                          for part in operation["path"].split("/")[1:]]
        place = document
        for part in parents:
            place = place[int(part)] if isinstance(place, list) else place[part]
        kind = operation["op"]
        if isinstance(place, list):
            index = len(place) if last == "-" else int(last)
            if kind == "add":
                place.insert(index, operation["value"])
            elif kind == "replace":
                place[index] = operation["value"]
            elif kind == "remove":
                del place[index]
            else:
                raise ValueError("patch operation " + kind)
        elif kind in ("add", "replace"):
            place[last] = operation["value"]
        elif kind == "remove":
            del place[last]
        else:
            raise ValueError("patch operation " + kind)
    return document


def write_workspace(name, arguments, path):
    if name in SYNTHETIC:
        subprocess.run([arguments.benchmarks, "--write-synthetic", name, path], check=True)
        return
    folder = pathlib.Path(arguments.data) / "workspaces"
    workspace, patch, patch_name = PUBLISHED[name]
    document = json.loads((folder / workspace).read_text())
    if patch:
        operations = json.loads((folder / patch).read_text())
        if patch_name:
            operations = next(p["patch"] for p in operations["patches"]
                              if p["metadata"]["name"] == patch_name)
        document = patched(document, operations)
    path.write_text(json.dumps(document))


def run_slalom(name, arguments):
    """Seconds by benchmark, and the counters of the fit and of the evaluations."""
    command = [arguments.benchmarks, "--benchmark_format=json",
               f"--benchmark_filter=/{re.escape(name)}$", "--benchmark_min_time=0.3"]
    environment = dict(os.environ, SLALOM_DATA=str(arguments.data))
    output = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    result = {}
    for entry in json.loads(output.stdout)["benchmarks"]:
        what = entry["name"].split("/")[0]
        result[what] = entry["cpu_time"] * UNITS[entry["time_unit"]]
        for counter in ("twice_nll", "twice_nll_0", "parameters", "coefficients", "converged"):
            if counter in entry:
                result[counter] = entry[counter]
    return result


def run_peer(tool, python, path, limit):
    command = [python, str(HERE / "peers.py"), tool, str(path)]
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        def limited():
            resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
        process = subprocess.Popen(command, stdout=output, stderr=errors, preexec_fn=limited,
                                   env=dict(os.environ, OMP_NUM_THREADS="1"))
        result = {}
        try:
            process.wait(timeout=3 * limit)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        output.seek(0)
        for line in output:
            if line.startswith("{"):
                result.update(json.loads(line))
        errors.seek(0)
        if process.returncode < 0:
            result["ended"] = f"more than {limit} s"
        elif process.returncode != 0:
            result["ended"] = (errors.read().strip().splitlines() or ["?"])[-1][:200]
    return result


def goals(parameters):
    """Wanted ratios of fit and gradient."""
    if parameters < 30:
        return 10, 10
    return (50, 25) if parameters < 100 else (300, 30)


def shown(seconds):
    if seconds is None:
        return "-"
    for unit in ("s", "ms", "us", "ns"):
        if seconds >= UNITS[unit] or unit == "ns":
            return f"{seconds / UNITS[unit]:.3g} {unit}"


def ratio(ours, peers, key, goal, limit):
    """Fastest peer over slalom; a lower bound where no peer finished."""
    times = [p[key] for p in peers.values() if key in p]
    bound = ""
    if not times:
        if key != "fit" or not any("more than" in p.get("ended", "") for p in peers.values()):
            return "-", None
        times, bound = [limit], "> "
    value = min(times) / ours
    verdict = "reached" if value >= goal else "not decided" if bound else "MISSED"
    return f"{bound}{value:.3g} (goal {goal}: {verdict})", value


def table(results, limit):
    lines = ["| model (parameters) | tool | logpdf | logpdf + gradient | fit | 2NLL - lowest |",
             "|---|---|---|---|---|---|"]
    for name, entry in results.items():
        ours, peers = entry["slalom"], entry["peers"]
        minima = {"slalom": ours["twice_nll"]}
        for tool, p in peers.items():
            # A tool may leave out constants: compare at the suggested start.
            if "minimum" in p:
                minima[tool] = p["minimum"] - p["start"] + ours["twice_nll_0"]
        lowest = min((v for v in minima.values() if math.isfinite(v)), default=math.nan)
        rows = [("slalom", ours["logpdf"], ours["logpdf_gradient"], shown(ours["fit"]))]
        for tool, p in peers.items():
            fit = shown(p["fit"]) if "fit" in p else p.get("ended", "-")
            rows.append((tool, p.get("logpdf"), p.get("gradient"), fit))
        for i, (tool, value, gradient, fit) in enumerate(rows):
            label = f"{name} ({int(ours['parameters'])})" if i == 0 else ""
            above = f"{minima[tool] - lowest:.2g}" if tool in minima else "-"
            lines.append(f"| {label} | {tool} | {shown(value)} | {shown(gradient)} | {fit} | "
                         f"{above} |")
        fit_goal, gradient_goal = goals(ours["parameters"])
        lines.append(f"| | **fastest peer / slalom** | "
                     f"{ratio(ours['logpdf'], peers, 'logpdf', 1, limit)[0].split(' (')[0]} | "
                     f"{ratio(ours['logpdf_gradient'], peers, 'gradient', gradient_goal, limit)[0]}"
                     f" | {ratio(ours['fit'], peers, 'fit', fit_goal, limit)[0]} | |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--benchmarks", required=True, help="the program slalom_benchmarks")
    parser.add_argument("--data", default=os.environ.get("SLALOM_DATA") or
                        HERE.parents[3] / "shared" / "data", help="folder of the published data")
    for tool in ("pyhf", "jax", "nextstat"):
        parser.add_argument(f"--python-{tool}", help=f"interpreter with {tool}")
    parser.add_argument("--models", default=",".join([*PUBLISHED, *SYNTHETIC]))
    parser.add_argument("--limit", type=int, default=36, help="CPU seconds of each entry")
    parser.add_argument("--core", type=int, default=0, help="core to run on")
    parser.add_argument("--output", default="comparison", help="for OUTPUT.json and OUTPUT.md")
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {arguments.core})  # inherited by everything started here
    pythons = {"numpy": arguments.python_pyhf, "jax": arguments.python_jax,
               "nextstat": arguments.python_nextstat}
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.models.split(","):
            path = pathlib.Path(folder) / f"{name}.json"
            write_workspace(name, arguments, path)
            ours, peers = run_slalom(name, arguments), {}
            for tool, python in pythons.items():
                if python:
                    label = {"numpy": "pyhf", "jax": "pyhf, jax"}.get(tool, tool)
                    peers[label] = run_peer(tool, python, path, arguments.limit)
            # Once more afterwards: the better of two, as neighbours may have interfered.
            for key, value in run_slalom(name, arguments).items():
                if key in TIMES:
                    ours[key] = min(ours[key], value)
            path.unlink()
            results[name] = {"slalom": ours, "peers": peers}
            text = json.dumps({"date": time.strftime("%Y-%m-%d"), "limit": arguments.limit,
                               "results": results}, indent=1)
            pathlib.Path(arguments.output + ".json").write_text(text + "\n")
            pathlib.Path(arguments.output + ".md").write_text(table(results, arguments.limit))
            print(name, "done", flush=True)


if __name__ == "__main__":
    main()
