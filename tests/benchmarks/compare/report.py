#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What compare.py found, as tables: which results are wrong, and who is how much faster.

`report.py COMPARISON.json` prints them once more.
"""
import json
import math
import sys

LABELS = {"pyhf": "pyhf", "jax": "pyhf, JAX", "nextstat": "NextStat", "root": "ROOT"}
TITLES = {"logpdf": "log-likelihood", "gradient": "with gradient", "fit": "fit",
          "cls": "CLs and band", "limit": "limit and band", "scan": "scan, 21 points",
          "toy": "1,000 toy fits", "impacts": "impacts of all", "grid": "CLs of a signal"}
WHOLE = {"scan": 21, "toy": 1000}  # parts of which a task consists, where that is always the same
UNITS = [("s", 1.0), ("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9)]


def goal(task, parameters):
    """Wanted ratio of the fastest other tool's time to slalom's, if there is a goal."""
    if task in ("fit", "gradient"):
        few, some, many = (10, 50, 300) if task == "fit" else (10, 25, 30)
        return few if parameters < 30 else some if parameters < 100 else many
    return 100 if task in ("cls", "limit", "scan", "toy", "impacts") and parameters >= 30 else None


def shown(seconds):
    unit, size = next((u for u in UNITS if seconds >= u[1]), UNITS[-1])
    return f"{seconds / size:.3g} {unit}"


def number(value):
    """JSON has no NaN: it comes as text, or as nothing."""
    return math.nan if value is None else float(value)


def listed(values):
    return ", ".join(f"{number(v):.3g}" for v in values)


def apart(values, others):
    """Largest difference of two lists, infinite where something is not a number."""
    differences = [abs(number(a) - number(b)) for a, b in zip(values, others)]
    return max((d if math.isfinite(d) else math.inf for d in differences), default=0.0)


def other_likelihood(check, reference):
    """2NLL differences between points that do not agree with slalom's."""
    nll, remarks = reference["twice_nll"], []
    for point in ("best", "second"):
        if point in check and nll[point] is not None:
            ours = nll[point] - nll["start"]
            if not abs(number(check[point]) - ours) < 1e-3 + 1e-6 * abs(ours):
                remarks.append(f"2NLL({point}) - 2NLL(start) is {number(check[point]):.8g} "
                               f"instead of {ours:.8g}")
    return remarks


def lowest(entry):
    """Lowest 2NLL that anyone reached, above that at the start (tools leave out constants)."""
    reference = entry["reference"]
    found = [reference["fit"] - reference["twice_nll"]["start"]]
    for answers in entry["peers"].values():
        if "twice_nll" in answers.get("fit", {}):
            found.append(number(answers["fit"]["twice_nll"]) - number(answers["check"]["start"]))
    return min(v for v in found if math.isfinite(v))


def wrong_fit(answer, answers, entry):
    above = number(answer["twice_nll"]) - number(answers["check"]["start"]) - lowest(entry)
    if not above < 0.01:
        yield f"2NLL {above:.3g} above the minimum, " + ("said to have converged" if answer["ok"]
                                                         else "said not to have converged")
    elif not answer["ok"]:
        yield "said not to have converged, although at the minimum"


def wrong_cls(answer, _, entry):
    reference = entry["reference"]["cls"]
    observed, ours = number(answer["observed"]), reference["cls_observed"]
    if not abs(observed - ours) < 2e-3:
        yield f"CLs {observed:.4g} instead of {ours:.4g}"
    if not answer["expected"]:
        if max(reference["cls_expected"]) > 2e-3:
            yield "no band"
    elif not apart(answer["expected"], reference["cls_expected"]) < 2e-3:
        yield f"band {listed(answer['expected'])} instead of {listed(reference['cls_expected'])}"


def wrong_limit(answer, _, entry):
    reference = entry["reference"]["limit"]
    if not reference.get("observed"):
        return
    if not abs(number(answer["observed"]) / reference["observed"] - 1.0) < 0.01:
        yield f"observed {number(answer['observed']):.4g} instead of {reference['observed']:.4g}"
    pairs = list(zip(answer["expected"], reference["expected"]))
    if not all(abs(number(theirs) / ours - 1.0) < 0.02 for theirs, ours in pairs):
        yield f"expected {listed(answer['expected'])} instead of {listed(reference['expected'])}"


def wrong_scan(answer, _, entry):
    curve = dict(zip(entry["reference"]["scan"], entry["reference"]["curve"] or []))
    if curve:
        off = apart(answer["curve"], [curve[v] for v in answer["values"]])
        if not off < 0.02:
            yield f"off by up to {off:.3g} in 2NLL"


def wrong_impacts(answer, _, entry):
    ours, sigma = entry["reference"]["impacts"], entry["reference"]["sigma"]
    if answer.get("fits_each") or not ours:
        return
    off = {n: apart(v, ours[n]) / sigma for n, v in answer["impacts"].items() if n in ours}
    bad = [n for n in off if not off[n] < 0.05]
    if bad:
        worst = max(bad, key=off.get)
        yield (f"{len(bad)} of {len(off)} off, {worst} by {off[worst]:.2g} of the uncertainty "
               f"of mu ({listed(answer['impacts'][worst])} instead of {listed(ours[worst])})")


def wrong_grid(answer, _, entry):
    ours = entry["reference"]["grid"]
    off = {n: apart([v], [ours[n]]) for n, v in answer["cls"].items()}
    bad = [n for n in off if not off[n] < 2e-3]
    if bad:
        worst = max(bad, key=off.get)
        yield (f"{len(bad)} of {len(off)} wrong, {worst}: {number(answer['cls'][worst]):.4g} "
               f"instead of {ours[worst]:.4g}")


def wrong(task, answers, entry):
    """What is wrong with a result, in words; empty where nothing is known to be."""
    answer = answers.get(task)
    if answer is None or "beyond" in answer or answer.get("missing"):
        return []
    if "error" in answer:
        return [answer["error"].splitlines()[0][:160]]
    remarks = []
    if answer.get("failed"):
        fits = answer["done"] * (4 if task == "impacts" else 1)
        remarks.append(f"{answer['failed']} of {fits} fits failed")
    checks = {"fit": wrong_fit, "cls": wrong_cls, "limit": wrong_limit, "scan": wrong_scan,
              "impacts": wrong_impacts, "grid": wrong_grid}
    if task in checks:
        remarks += checks[task](answer, answers, entry)
    return remarks


def scaled(task, seconds):
    return seconds * (WHOLE["toy"] if task == "toy" else 1)


def cell(task, answer, bad, parts):
    if answer is None or answer.get("missing"):
        return "-"
    if "error" in answer:
        return "fails"
    if "beyond" in answer:
        return f"> {answer['beyond']} s"
    part = "~" if answer.get("done", parts) != parts else ""
    return part + shown(scaled(task, answer["seconds"])) + (" !" if bad else "")


def fastest(times, beyond):
    """Least time, and whether it is only a bound."""
    if times:
        return min(times), False
    return beyond or None, True


def verdict(task, ours, answers, parameters):
    """Ratios to the fastest and to the fastest that is right, and what they mean for the goal.
    `answers` are pairs of an answer and whether it is wrong."""
    if ours is None:
        return ["-", "-", "-"]
    beyond = max((a["beyond"] / scaled(task, 1.0) for a, _ in answers if "beyond" in a), default=0)
    texts, ratios = [], []
    for only_right in (False, True):
        times = [a["seconds"] for a, bad in answers if "seconds" in a and not (bad and only_right)]
        seconds, bound = fastest(times, beyond)
        ratios.append((seconds / ours if seconds else math.inf, bound))
        texts.append(("> " if bound else "") + f"{seconds / ours:.3g}" if seconds else "none")
    if task == "grid":
        return [*texts, "1 ms: " + ("reached" if ours <= 1e-3 else "MISSED")]
    wanted = goal(task, parameters)
    if wanted is None:
        return [*texts, "-"]
    if ratios[0][0] >= wanted:
        word = "reached"
    elif ratios[1][0] >= wanted:
        word = "reached, right results"
    else:
        word = "not decided" if ratios[1][1] else "MISSED"
    return [*texts, f"{wanted}: {word}"]


def rows_of(name, entry, tools):
    """Rows of the table of one model, and remarks."""
    reference, rows, remarks = entry["reference"], [], []
    label = f"{name} ({reference['parameters']})"
    for tool in tools:
        check = entry["peers"].get(tool, {}).get("check", {})
        remarks += [f"* {name}, {LABELS[tool]}: {text}."
                    for text in other_likelihood(check, reference)]
    for task, title in TITLES.items():
        if not any(task in a for a in [entry["slalom"], *entry["peers"].values()]):
            continue
        cells, judged = [], []
        parts = {**WHOLE, "impacts": reference["n_impacts"],
                 "grid": len(reference["grid"])}.get(task)
        for tool in tools:
            answers = entry["peers"].get(tool, {})
            bad = wrong(task, answers, entry)
            remarks += [f"* {name}, {title}, {LABELS[tool]}: {text}." for text in bad]
            cells.append(cell(task, answers.get(task), bad, parts))
            judged.append((answers.get(task, {}), bool(bad)))
        ours = entry["slalom"].get(task, {}).get("seconds")
        own = shown(scaled(task, ours)) if ours else "-"
        cells += [own, *verdict(task, ours, judged, reference["parameters"])]
        rows.append(f"| {label} | {title} | " + " | ".join(cells) + " |")
        label = ""
    return rows, remarks


def table(results, limit):
    tools = [t for t in LABELS if any(t in e["peers"] for e in results.values())]
    heads = ["model (parameters)", "task", *(LABELS[t] for t in tools), "slalom",
             "fastest / slalom", "fastest right / slalom", "goal"]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    remarks = []
    for name, entry in results.items():
        rows, more = rows_of(name, entry, tools)
        lines += rows
        remarks += more
    lines += ["", "`!`: the result is wrong or incomplete, see below; `~`: extrapolated from a part; "
              f"`>`: not done within {limit} CPU seconds.", "", *remarks]
    return "\n".join(lines) + "\n"


def main():
    with open(sys.argv[1]) as file:
        comparison = json.load(file)
    print(table(comparison["results"], comparison["limit"]), end="")


if __name__ == "__main__":
    main()
