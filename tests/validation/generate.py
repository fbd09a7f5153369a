#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes golden.json: small workspaces that cover every HistFactory modifier, and what pyhf says.

    python -m venv build/pyhf && build/pyhf/bin/pip install pyhf==0.7.6
    build/pyhf/bin/python tests/validation/generate.py

Every case has a workspace, the interpolation codes, the model's parameters in pyhf's order with
their suggested values, and at several points expected data and logpdf. The points are drawn with a
fixed seed; the numbers in the workspaces are written in golden_cases.py.
"""

import json
import math
import pathlib
import platform
import random

import numpy
import pyhf
import scipy

import golden_cases

HERE = pathlib.Path(__file__).resolve().parent


def classes(model):
    """Kind of each parameter: alpha, factor or other (gamma, lumi)."""
    types = {}
    for name, kind in model.config.modifiers:
        types.setdefault(name, kind)
    kinds = []
    for name in model.config.par_order:
        kind = types[name]
        short = {"histosys": "alpha", "normsys": "alpha", "normfactor": "factor"}.get(kind, kind)
        kinds += [short] * model.config.param_set(name).n_parameters
    return kinds


def centre_and_width(model, kinds):
    """Where random points are drawn from."""
    centres, widths = list(model.config.suggested_init()), []
    for kind in kinds:
        widths.append(
            {"alpha": 0.7, "factor": 0.3, "shapefactor": 0.3, "lumi": 0.05}.get(kind, 0.1)
        )
    return centres, widths


def random_point(rng, model, kinds, move_fixed, beyond=False):
    centres, widths = centre_and_width(model, kinds)
    bounds, fixed = model.config.suggested_bounds(), model.config.suggested_fixed()
    point = []
    for i, kind in enumerate(kinds):
        value = centres[i]
        if not fixed[i] or move_fixed:
            while True:
                value = centres[i] + widths[i] * rng.gauss(0.0, 1.0)
                if kind == "alpha" and beyond:
                    value = rng.choice([-1.0, 1.0]) * rng.uniform(1.05, 2.5)
                value = round(value, 6)
                lower, upper = bounds[i]
                inside = lower < value < upper
                # away from the joints of the interpolation codes, where differences are one-sided
                near = kind == "alpha" and min(abs(value), abs(abs(value) - 1.0)) < 0.02
                if inside and not near:
                    break
        point.append(value)
    return point


def points_of(model, seed):
    rng = random.Random(seed)
    kinds = classes(model)
    points = [("init", [float(x) for x in model.config.suggested_init()])]
    for i in range(3):
        points.append((f"random {i + 1}", random_point(rng, model, kinds, move_fixed=i == 2)))
    if "alpha" in kinds:
        points.append(("alphas beyond 1", random_point(rng, model, kinds, False, beyond=True)))
        for value in (0.0, 1.0, -1.0):
            point = random_point(rng, model, kinds, False)
            point = [value if kind == "alpha" else x for kind, x in zip(kinds, point)]
            points.append((f"alphas at {value:+.0f}", point))
    if "factor" in kinds:
        point = random_point(rng, model, kinds, False)
        points.append(("factors at 0", [0.0 if k == "factor" else x for k, x in zip(kinds, point)]))
        point = random_point(rng, model, kinds, False)
        if model.config.poi_index is not None:
            point[model.config.poi_index] = 0.0
            points.append(("poi at 0", point))
    if "shapefactor" in kinds:
        point = random_point(rng, model, kinds, False)
        point[kinds.index("shapefactor")] = 0.0
        points.append(("a shapefactor at 0", point))
    return points


def golden(case, seed):
    workspace = pyhf.Workspace(case["workspace"])
    settings = {
        "normsys": {"interpcode": case["codes"][0]},
        "histosys": {"interpcode": case["codes"][1]},
    }
    model = workspace.model(measurement_name=case["measurement"], modifier_settings=settings)
    data = workspace.data(model)
    config = model.config
    points = []
    for name, point in points_of(model, seed):
        with numpy.errstate(all="ignore"):
            expected = [float(x) for x in model.expected_data(point)]
            logpdf = float(model.logpdf(point, data)[0])
        if not math.isfinite(logpdf):
            print(f"{case['name']}: no finite logpdf at '{name}', left out")
            continue
        if min(expected[: config.nmaindata]) < 0.0:
            print(f"{case['name']}: negative rate at '{name}', left out")
            continue
        points.append({"name": name, "parameters": point, "expected": expected, "logpdf": logpdf})
    return {
        "name": case["name"],
        "covers": case["covers"],
        "measurement": case["measurement"],
        "normsys_code": case["codes"][0],
        "histosys_code": case["codes"][1],
        "workspace": case["workspace"],
        "poi": config.poi_index,
        "parameters": config.par_names,
        "init": [float(x) for x in config.suggested_init()],
        "bounds": [[float(x) for x in pair] for pair in config.suggested_bounds()],
        "fixed": [bool(x) for x in config.suggested_fixed()],
        "auxdata": [float(x) for x in config.auxdata],
        "observations": [float(x) for x in data[: config.nmaindata]],
        "points": points,
    }


def line(value):
    return json.dumps(value, allow_nan=False)


def write(path, versions, cases):
    """One line per member and per point, so that a change is readable in a diff."""
    blocks = []
    for case in cases:
        members = [f"   {line(k)}: {line(v)}" for k, v in case.items() if k != "points"]
        points = ",\n".join(f"    {line(point)}" for point in case["points"])
        members.append(f'   "points": [\n{points}\n   ]')
        blocks.append("  {\n" + ",\n".join(members) + "\n  }")
    text = (
        '{\n "versions": ' + line(versions) + ',\n "cases": [\n' + ",\n".join(blocks) + "\n ]\n}\n"
    )
    path.write_text(text)


def main():
    pyhf.set_backend("numpy", precision="64b")
    if pyhf.__version__ != "0.7.6":
        raise SystemExit(f"pyhf 0.7.6 is the reference, this is {pyhf.__version__}")
    versions = {
        "pyhf": pyhf.__version__,
        "numpy": numpy.__version__,
        "scipy": scipy.__version__,
        "python": platform.python_version(),
        "backend": "numpy 64b",
    }
    cases = [golden(case, 1000 + i) for i, case in enumerate(golden_cases.cases())]
    write(HERE / "golden.json", versions, cases)
    print(f"{len(cases)} cases, {sum(len(case['points']) for case in cases)} points")


if __name__ == "__main__":
    main()
