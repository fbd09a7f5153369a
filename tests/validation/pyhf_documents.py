# SPDX-License-Identifier: Apache-2.0
"""pyhf_documents.py SLALOM DATA EXAMPLES: what the program writes, seen by pyhf.

Every operation that writes a workspace runs on every published workspace (and on those of the
examples); pyhf must accept the result: its JSON schema, and pyhf.Workspace, which checks more.
Results with `--format pyhf` are compared with those of pyhf. Leaves with 77 without pyhf."""

import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile

try:
    import pyhf
except ImportError:
    print(f"SKIPPED: {sys.executable} has no pyhf; SLALOM_PYHF_PYTHON names one that has")
    sys.exit(77)

SLALOM, DATA, EXAMPLES = sys.argv[1:4]
ROOT = pathlib.Path(os.environ.get("SLALOM_DATA", DATA)) / "workspaces"
failures = []
validated = 0


def slalom(*words):
    """Standard output of the program; None, and a failure, if it does not succeed."""
    run = subprocess.run([SLALOM, *map(str, words), "--quiet"], capture_output=True, text=True)
    if run.returncode == 0:
        return run.stdout
    failures.append(f"slalom {' '.join(map(str, words))}: {run.stderr.strip() or run.stdout}")
    return None


def check(what, text):
    """Validates a workspace that the program wrote."""
    global validated
    if text is None:
        return None
    document = json.loads(text)
    try:
        pyhf.schema.validate(document, "workspace.json")
        pyhf.Workspace(document, validate=False)
        validated += 1
    except Exception as error:  # whatever pyhf finds wrong
        failures.append(f"{what}: {type(error).__name__}: {str(error)[:300]}")
    return document


def users(document, types):
    """The samples of every modifier of those types."""
    found = {}
    for channel in document["channels"]:
        for sample in channel["samples"]:
            for modifier in sample["modifiers"]:
                if modifier["type"] in types:
                    found.setdefault(modifier["name"], set()).add(sample["name"])
    return found


def alternatives(document, folder):
    """Two more simulations of the first sample of the first channel, beside the workspace's own."""
    channel = document["channels"][0]
    sample = channel["samples"][0]
    simulations = {
        "more": [1.1 * y + 0.1 for y in sample["data"]],
        "tilted": [y * (0.9 + 0.1 * i) + 0.2 for i, y in enumerate(sample["data"])],
    }
    path = folder / "alternatives.json"
    path.write_text(json.dumps({"alternatives": [{
        "name": "alternative simulation", "nominal": "own", "samples": [
            {"channel": channel["name"], "sample": sample["name"], "simulations": simulations}]}]}))
    return path


def operations(path, document, folder):
    """Every operation that suits a workspace, as (name, words)."""
    channels = [channel["name"] for channel in document["channels"]]
    samples = sorted({s["name"] for c in document["channels"] for s in c["samples"]})
    users_of = users(document, ("normsys", "histosys"))
    shifts = sorted(users_of)
    shared = sorted(name for name in users_of if len(users_of[name]) > 1)
    measurement = document["measurements"][0]["name"]
    yield "sort", ["sort", path]
    yield "rename", ["rename", path, "--channel", channels[0], "renamed channel", "--sample",
                     samples[0], "renamed sample", "--measurement", measurement, "renamed"]
    yield "combine", ["combine", path, path, "--join", "outer"]
    others = folder / "renamed.json"
    words = ["rename", path, "--measurement", measurement, "other measurement"]
    for channel in channels:
        words += ["--channel", channel, f"other {channel}"]
    for entry in document["measurements"][1:]:
        words += ["--measurement", entry["name"], f"other {entry['name']}"]
    text = slalom(*words)
    if text is not None:
        others.write_text(text)
        yield "combine others", ["combine", path, others]
    if len(channels) > 1:
        yield "prune channel", ["prune", path, "--channel", channels[0]]
    if shifts:
        yield "prune modifier", ["prune", path, "--modifier", shifts[0]]
        yield "rename modifier", ["rename", path, "--modifier", shifts[0], "renamed modifier"]
        yield "prune small", ["prune", path, "--below-norm", "0.005", "--below-shape", "0.01"]
    if shared:
        split = ["decorrelate", path, "--modifier", shared[0], "--by", "sample"]
        yield "decorrelate", split
        yield "decorrelate partly", [*split, "--correlation", "0.5"]
    yield "mix", ["mix", path, alternatives(document, folder)]


def hs3_and_back(path, document):
    """The workspace after a way through HS3, if it has the parameter of interest that it names:
    backgrounds come to it with their patches."""
    poi = document["measurements"][0]["config"]["poi"]
    if poi not in users(document, ("normfactor",)):
        return None
    exported = slalom("hs3", "export", path)
    if exported is None:
        return None
    run = subprocess.run([SLALOM, "hs3", "import", "-", "--quiet"], input=exported,
                         capture_output=True, text=True)
    if run.returncode != 0:
        failures.append(f"hs3 import of {path}: {run.stderr.strip()}")
        return None
    return run.stdout


def check_workspace(path, folder):
    document = json.loads(path.read_text())
    for name, words in operations(path, document, folder):
        check(f"{name} of {path}", slalom(*words))
    check(f"hs3 of {path}", hs3_and_back(path, document))
    for patch in sorted(path.parent.glob("patch.*.json")):
        check(f"{path} with {patch}", slalom("sort", path, "--patch", patch))


def check_patchset(background, path, folder):
    """The first and the last patch of a set, applied, and gone through operations."""
    patches = json.loads(path.read_text())["patches"]
    for patch in (patches[0], patches[-1]):
        name = patch["metadata"]["name"]
        text = slalom("patchset", "apply", background, path, "--name", name, "--no-verify")
        if check(f"{name} of {path}", text) is None:
            continue
        applied = folder / "applied.json"
        applied.write_text(text)
        check(f"sort of {name} of {path}", slalom("sort", applied))
        check(f"hs3 of {name} of {path}", hs3_and_back(applied, json.loads(text)))


def same(name, ours, theirs, tolerance):
    """Compares documents number by number, and their members exactly."""
    if isinstance(theirs, dict):
        if not isinstance(ours, dict) or sorted(ours) != sorted(theirs):
            failures.append(f"{name}: other members: {ours} instead of {theirs}")
            return
        for key in theirs:
            same(f"{name}.{key}", ours[key], theirs[key], tolerance)
    elif isinstance(theirs, list):
        if not isinstance(ours, list) or len(ours) != len(theirs):
            failures.append(f"{name}: {ours} instead of {theirs}")
            return
        for i, (a, b) in enumerate(zip(ours, theirs)):
            same(f"{name}[{i}]", a, b, tolerance)
    elif not math.isclose(ours, theirs, rel_tol=tolerance, abs_tol=tolerance):
        failures.append(f"{name}: {ours} instead of {theirs}")


def check_results(path):
    """`cls` and `fit` as pyhf's program computes them, up to the precision of its minimiser."""
    program = [sys.executable, "-c", "from pyhf.cli import cli; cli()"]
    for words, tolerance in ((["cls"], 1e-4), (["fit", "--value"], 2e-3)):
        run = subprocess.run([*program, *words, str(path)], capture_output=True, text=True)
        if run.returncode != 0:
            failures.append(f"pyhf {words[0]} {path}: {run.stderr.strip()[-300:]}")
            continue
        ours = slalom(words[0], path, "--format", "pyhf")
        if ours is not None:
            same(f"{words[0]} of {path}", json.loads(ours), json.loads(run.stdout), tolerance)


def main():
    workspaces = sorted(pathlib.Path(EXAMPLES).glob("*/workspace.json"))
    sets = []
    if ROOT.is_dir():
        for path in sorted(ROOT.rglob("*.json")):
            document = json.loads(path.read_text())
            if not isinstance(document, dict):
                continue
            if "patches" in document:
                candidates = [path.parent / "BkgOnly.json", path.parent / "example_bkgonly.json"]
                sets += [(c, path) for c in candidates if c.is_file()][:1]
            elif {"channels", "measurements", "observations"} <= document.keys():
                workspaces.append(path)
    else:
        print(f"no published workspaces in {ROOT}: only those of the examples")
    with tempfile.TemporaryDirectory() as name:
        for path in workspaces:
            check_workspace(path, pathlib.Path(name))
        for background, path in sets:
            check_patchset(background, path, pathlib.Path(name))
    results = [path for path in workspaces if path.name == "2-bin_1-channel.json"]
    for path in results + [pathlib.Path(EXAMPLES) / "h4l/workspace.json"]:
        check_results(path)
    print(f"pyhf {pyhf.__version__}: {validated} documents of {len(workspaces)} workspaces and "
          f"{len(sets)} patch sets are valid, {len(results) + 1} results compared")
    for failure in failures:
        print("FAILED", failure)
    return 1 if failures or not validated else 0


if __name__ == "__main__":
    sys.exit(main())
