#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares slalom with pyhf, NextStat and ROOT in one run on one core; see README.md."""
import argparse
import copy
import json
import math
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import time

import report

HERE = pathlib.Path(__file__).resolve().parent
PUBLISHED = {  # workspace, patch or patch set, name in the patch set
    "2bin": ("pyhf/2-bin_1-channel.json", "", ""),
    "agc_34par": ("agc/agc_34par.json", "", ""),
    "sbottom_a": ("sbottom/RegionA/BkgOnly.json",
                  "sbottom/RegionA/patch.sbottom_1300_205_60.json", ""),
    "3lrjr": ("3LRJR/BkgOnly.json", "3LRJR/patchset.json", "ERJR_100p0_20p0"),
    "ttbar_ljets_132par": ("ttbar/ttbar_ljets_132par.json", "", ""),
    "agc_ml_187par": ("agc/agc_ml_187par.json", "", ""),
    "2l0j": ("2L0J/BkgOnly.json", "2L0J/patchset.json", "C1C1_WW_125p0_25p0_dummy"),
}
SYNTHETIC = ["synthetic_111", "synthetic_601", "synthetic_3301"]
PATCHES = {  # signals that have files of their own
    "sbottom_a": ["1300_205_60", "1400_950_60", "1500_850_60"]}
SIGNALS = 8  # of a patch set, spread over it
TASKS = ["logpdf", "gradient", "fit", "cls", "limit", "scan", "toy", "impacts", "grid"]
BENCHMARKS = {"gradient": "logpdf_gradient", "grid": "grid_whole"}  # names that differ from the task's
IMPACTS = ("prefit_up", "prefit_down", "postfit_up", "postfit_down")
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


class Slalom:
    def __init__(self, arguments):
        self.benchmarks, self.program = arguments.benchmarks, arguments.slalom
        self.environment = dict(os.environ, SLALOM_DATA=str(arguments.data))

    def times(self, name, tasks):
        """CPU seconds and counters by task."""
        names = {BENCHMARKS.get(task, task): task for task in tasks}
        if self.benchmarks is None:
            return {}
        command = [self.benchmarks, "--benchmark_format=json", "--benchmark_min_time=0.3",
                   f"--benchmark_filter=^({'|'.join(names)})/{re.escape(name)}$"]
        output = subprocess.run(command, check=True, capture_output=True, text=True,
                                env=self.environment).stdout
        result = {}
        for entry in json.loads(output)["benchmarks"] if output.strip() else []:
            if "cpu_time" not in entry:
                continue
            task = names[entry["name"].split("/")[0]]
            seconds = entry["cpu_time"] * UNITS[entry["time_unit"]]
            result[task] = {"seconds": seconds / entry["signals"] if task == "grid" else seconds}
            for counter in ("parameters", "converged", "failed", "toys"):
                if counter in entry:
                    result[task][counter] = entry[counter]
        return result

    def ask(self, verb, path, *options):
        """The JSON answer of a verb, also of a fit that did not converge."""
        answer = subprocess.run([self.program, verb, str(path), "--json", *map(str, options)],
                                capture_output=True, text=True)
        return json.loads(answer.stdout) if answer.stdout.strip() else None


def second_point(parameters):
    """A point at which no parameter that floats has its initial value (bench_core.cpp's)."""
    result = {}
    for i, p in enumerate(parameters):
        wave, start = math.sin(i + 1.0), p["init"]
        moved = 0.3 * wave if start == 0.0 else start * (1.0 + 0.05 * wave)
        result[p["name"]] = start if p["fixed"] else moved
    return result


def documents(name, arguments, folder):
    """Path of the model's workspace, and paths by name of its signals."""
    if name in SYNTHETIC:
        path = folder / f"{name}.json"
        subprocess.run([arguments.benchmarks, "--write-synthetic", name, path], check=True)
        return path, {}
    data = pathlib.Path(arguments.data) / "workspaces"
    workspace, patch, patch_name = PUBLISHED[name]
    base = json.loads((data / workspace).read_text())
    patches = {"": []}
    if patch_name:
        patches = {p["metadata"]["name"]: p["patch"]
                   for p in json.loads((data / patch).read_text())["patches"]}
    elif patch:
        patches = {p: json.loads((data / patch).with_name(f"patch.sbottom_{p}.json").read_text())
                   for p in PATCHES[name]}
    paths = {}
    others = list(patches)[::max(1, len(patches) // SIGNALS)][:SIGNALS]
    for i, which in enumerate(dict.fromkeys([patch_name or next(iter(patches)), *others])):
        paths[which] = folder / f"{name}_{i}.json"
        paths[which].write_text(json.dumps(patched(copy.deepcopy(base), patches[which])))
    first = next(iter(paths.values()))
    return first, (paths if len(patches) > 1 else {})


def prepare(name, arguments, slalom, folder):
    """What the other tools are asked (the job), and what slalom answers (the reference)."""
    path, signals = documents(name, arguments, folder)
    parameters = slalom.ask("inspect", path)["parameters"]
    poi = slalom.ask("inspect", path)["poi"]
    fit, cls = slalom.ask("fit", path), slalom.ask("cls", path)
    fitted = fit["parameters"]
    points = {"start": {p["name"]: p["init"] for p in parameters},
              "second": second_point(parameters),
              "best": {n: p["value"] for n, p in fitted.items()}}
    # 21 points within two standard deviations; at a bound those of the Asimov data.
    sigma = fitted[poi]["error"] or cls["mu"] / cls["test_statistic_asimov"] ** 0.5
    bounds = next(p["bounds"] for p in parameters if p["name"] == poi)
    low = max(bounds[0], fitted[poi]["value"] - 2.0 * sigma)
    high = min(bounds[1], fitted[poi]["value"] + 2.0 * sigma)
    scan = [low + (high - low) * i / 20 for i in range(21)]
    shifts = {p["name"]: {"prefit": p["prefit_uncertainty"],
                          "postfit": fitted[p["name"]]["error"]}
              for p in parameters if p.get("prefit_uncertainty") and not p["fixed"]}
    values = folder / "point.json"
    nll = {}
    for which, point in points.items():
        values.write_text(json.dumps(point))
        answer = slalom.ask("logpdf", path, "--parameters", values)
        nll[which] = answer["twice_nll"] if answer and "twice_nll" in answer else None
    curve = slalom.ask("scan", path, "--range", low, high)
    ranking = slalom.ask("ranking", path)
    reference = {
        "parameters": len(parameters), "poi": poi, "sigma": sigma, "twice_nll": nll,
        "fit": fit["twice_nll"], "mu": fitted[poi]["value"], "fit_converged": fit["converged"],
        "n_impacts": len(shifts), "cls": cls, "limit": slalom.ask("limit", path), "scan": scan,
        "curve": curve.get("delta_twice_nll") if curve else None,
        "impacts": {p["name"]: [p.get(k) for k in IMPACTS]
                    for p in (ranking or {}).get("parameters", []) if p["name"] in shifts},
        "grid": {n: slalom.ask("cls", p)["cls_observed"] for n, p in signals.items()}}
    job = {"document": json.loads(path.read_text()), "limit": arguments.limit, "poi": poi,
           "points": points, "scan": scan, "shifts": shifts,
           "signals": {n: str(p) for n, p in signals.items()}}
    return job, reference


def run_peer(tool, python, job_path, tasks, limit):
    """Answers by task. The process is started again after a task that ended it."""
    result, todo = {}, ["check", *tasks]
    while todo:
        command = [python, str(HERE / "peers.py"), tool, str(job_path), *todo]
        with tempfile.TemporaryFile("w+") as output:
            process = subprocess.Popen(
                command, stdout=output, stderr=subprocess.DEVNULL, cwd=job_path.parent,
                env=dict(os.environ, OMP_NUM_THREADS="1", RAYON_NUM_THREADS="1"))
            timed_out = False
            try:
                process.wait(timeout=len(todo) * 8 * limit + 300)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                timed_out = True
            output.seek(0)
            lines = [json.loads(line) for line in output if line.startswith("{")]
        current, so_far = todo[0], {}
        for line in lines:
            if "begin" in line:
                current, so_far = line["begin"], {}
            elif "so_far" in line:
                so_far = line["so_far"]
            elif "end" in line:
                result[line["end"]] = line["result"]
            else:
                result.update(line)
        if current in result:  # ended as it should
            break
        if timed_out:  # on the clock: the machine was busy, or the tool waits
            result[current] = {"error": "no answer in time, without use of its CPU seconds"}
        elif process.returncode == -signal.SIGXCPU:
            result[current] = so_far or {"beyond": limit}
        else:
            result[current] = {"error": f"the process ended with code {process.returncode}"}
        todo = todo[todo.index(current) + 1:]
        if current in ("check", "fit"):  # there is no hope for what takes more fits
            break
    return result


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--benchmarks", help="the program slalom_benchmarks; without it only the "
                        "other tools are measured")
    parser.add_argument("--slalom", required=True, help="the program slalom")
    parser.add_argument("--data", default=os.environ.get("SLALOM_DATA") or
                        HERE.parents[3] / "shared" / "data", help="folder of the published data")
    for tool in ("pyhf", "jax", "nextstat", "root"):
        parser.add_argument(f"--python-{tool}", help=f"interpreter with {tool}")
    parser.add_argument("--models", default=",".join(PUBLISHED),
                        help="of these and " + ", ".join(SYNTHETIC))
    parser.add_argument("--tasks", default=",".join(TASKS), help="of these")
    parser.add_argument("--skip", default="", help="TOOL:MODEL pairs to leave out")
    parser.add_argument("--limit", type=int, default=20, help="CPU seconds of each entry")
    parser.add_argument("--core", type=int, default=0, help="core to run on")
    parser.add_argument("--output", default="comparison", help="for OUTPUT.json and OUTPUT.md")
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    os.sched_setaffinity(0, {arguments.core})  # inherited by everything started here
    slalom, results = Slalom(arguments), {}
    tasks = [t for t in TASKS if t in arguments.tasks.split(",")]
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for model in arguments.models.split(","):
            begin = time.monotonic()
            here = ["grid"] if model == "2l0j" else tasks
            job, reference = prepare(model, arguments, slalom, folder)
            if not job["signals"]:
                here = [t for t in here if t != "grid"]
            job_path = folder / "job"
            job_path.write_text(json.dumps(job))
            ours, peers = slalom.times(model, here), {}
            for tool in ("pyhf", "jax", "nextstat", "root"):
                python = getattr(arguments, "python_" + tool)
                if python and f"{tool}:{model}" not in arguments.skip.split(","):
                    peers[tool] = run_peer(tool, python, job_path, here, arguments.limit)
            # Once more afterwards: the better of two, as neighbours may have interfered.
            for task, again in slalom.times(model, here).items():
                ours[task]["seconds"] = min(ours[task]["seconds"], again["seconds"])
            results[model] = {"reference": reference, "slalom": ours, "peers": peers}
            text = json.dumps({"date": time.strftime("%Y-%m-%d"), "limit": arguments.limit,
                               "results": results}, indent=1)
            pathlib.Path(arguments.output + ".json").write_text(text + "\n")
            pathlib.Path(arguments.output + ".md").write_text(
                report.table(results, arguments.limit))
            print(f"{model}: {time.monotonic() - begin:.0f} s", flush=True)


if __name__ == "__main__":
    main()
