# SPDX-License-Identifier: Apache-2.0
"""What compare.py found, as tables: which results are wrong, and who is how much faster."""
import math

LABELS = {"pyhf": "pyhf", "jax": "pyhf, JAX", "nextstat": "NextStat", "root": "ROOT"}
TITLES = {"logpdf": "log-likelihood", "gradient": "with gradient", "fit": "fit",
          "cls": "CLs and band", "limit": "upper limit and band", "scan": "scan, 21 points",
          "toy": "1,000 toy fits", "impacts": "impacts of all", "grid": "CLs of a signal"}
UNITS = [("s", 1.0), ("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9)]


def goal(task, parameters):
    """Wanted ratio of the fastest other tool's time to slalom's."""
    if task in ("fit", "gradient"):
        if parameters < 30:
            return 10
        small, large = (50, 300) if task == "fit" else (25, 30)
        return small if parameters < 100 else large
    return 100 if task in ("cls", "limit", "scan", "toy", "impacts") and parameters >= 30 else None


def shown(seconds):
    for unit, size in UNITS:
        if seconds >= size or unit == "ns":
            return f"{seconds / size:.3g} {unit}"


def number(value):
    return float(value) if value is not None else math.nan


def apart(values, others):
    """Largest difference of two lists, infinite where one is not a number."""
    if not values or not others or len(values) != len(others):
        return math.nan
    differences = [abs(number(a) - number(b)) for a, b in zip(values, others)]
    return max(d if math.isfinite(d) else math.inf for d in differences)


def lowest(entry):
    """Lowest 2NLL that anyone reached, above that at the start."""
    reference = entry["reference"]
    found = [reference["fit"] - reference["twice_nll"]["start"]]
    for answers in entry["peers"].values():
        if "twice_nll" in answers.get("fit", {}):
            found.append(number(answers["fit"]["twice_nll"]) - number(answers["check"]["start"]))
    return min(v for v in found if math.isfinite(v))


def other_likelihood(answer, reference):
    """2NLL differences between points that do not agree with slalom's."""
    remarks = []
    start = reference["twice_nll"]["start"]
    for point in ("best", "second"):
        here, ours = answer.get(point), reference["twice_nll"][point]
        if here is None or ours is None:
            continue
        difference = number(here) - (ours - start)
        if not abs(difference) < 1e-3 + 1e-6 * abs(ours - start):
            remarks.append(f"2NLL({point}) - 2NLL(start) is {number(here):.6g} "
                           f"instead of {ours - start:.6g}")
    return remarks


def wrong(task, answer, answers, entry):
    """What is wrong with a result, in words; empty where nothing is known to be."""
    reference, remarks = entry["reference"], []
    if answer.get("failed"):
        remarks.append(f"{answer['failed']} of {answer['done'] * 4 if task == 'impacts' else answer['done']} fits failed")
    if task == "fit" and "twice_nll" in answer:
        above = number(answer["twice_nll"]) - number(answers["check"]["start"]) - lowest(entry)
        if not above < 0.01:
            remarks.append(f"2NLL {above:.3g} above the minimum"
                           + (", said to have converged" if answer["ok"] else ""))
        elif not answer["ok"]:
            remarks.append("not converged, although at the minimum")
    if task == "cls" and "observed" in answer:
        expected = reference["cls"]["cls_observed"]
        if not abs(number(answer["observed"]) - expected) < 2e-3:
            remarks.append(f"CLs {number(answer['observed']):.4g} instead of {expected:.4g}")
        band = apart(answer["expected"], reference["cls"]["cls_expected"])
        if answer["expected"] and not band < 2e-3:
            remarks.append(f"band off by {band:.2g}")
        if not answer["expected"]:
            remarks.append("no band")
    if task == "limit" and "observed" in answer:
        ours = [reference["limit"]["observed"], *reference["limit"]["expected"]]
        theirs = [answer["observed"], *answer["expected"]]
        off = [abs(number(t) / o - 1.0) for t, o in zip(theirs, ours)]
        if not off[0] < 0.01:
            remarks.append(f"observed {number(theirs[0]):.4g} instead of {ours[0]:.4g}")
        if not all(o < 0.02 for o in off[1:]):
            remarks.append("expected " + ", ".join(f"{number(t):.3g}" for t in theirs[1:])
                           + " instead of " + ", ".join(f"{o:.3g}" for o in ours[1:]))
    if task == "scan" and "curve" in answer:
        curve = dict(zip(reference["scan"], reference["curve"]))
        off = apart(answer["curve"], [curve[v] for v in answer["values"]])
        if not off < 0.02:
            remarks.append(f"off by up to {off:.2g} in 2NLL")
    if task == "impacts" and "impacts" in answer and reference["impacts"]:
        common = [n for n in answer["impacts"] if n in reference["impacts"]]
        if not answer.get("fits_each"):
            off = max((apart(answer["impacts"][n], reference["impacts"][n]) for n in common),
                      default=0.0) / reference["sigma"]
            if not off < 0.05:
                remarks.append(f"off by up to {off:.2g} of the uncertainty")
    if task == "grid" and "cls" in answer:
        off = {n: number(v) - reference["grid"][n] for n, v in answer["cls"].items()}
        bad = [n for n in off if not abs(off[n]) < 2e-3]
        if bad:
            worst = max(bad, key=lambda n: abs(off[n]) if math.isfinite(off[n]) else math.inf)
            remarks.append(f"{len(bad)} of {len(off)} wrong, for example {worst}: "
                           f"{number(answer['cls'][worst]):.4g} instead of "
                           f"{reference['grid'][worst]:.4g}")
    return remarks


def cell(task, answer, bad, times):
    if answer is None or answer.get("missing"):
        return "-"
    if "error" in answer:
        return "fails"
    if "beyond" in answer:
        return f"> {answer['beyond']} s"
    seconds = answer["seconds"] * (1000 if task == "toy" else 1)
    whole = {"scan": 21, "toy": 1000}.get(task, answer.get("done"))
    part = "~" if answer.get("done", whole) != whole or times.get("part") else ""
    return part + shown(seconds) + (" !" if bad else "")


def ratios(task, ours, times, beyond, wanted):
    """To the fastest, to the fastest that is right, and what it means for the goal."""
    if ours is None:
        return "-", "-", "-"
    texts, best = [], {}
    for only_right in (False, True):
        seconds = [s for s, bad in times if not (bad and only_right)]
        bound = "" if seconds else "> "
        value = (min(seconds) if seconds else beyond) / ours if seconds or beyond else math.nan
        best[only_right] = (value, bound)
        texts.append(f"{bound}{value:.3g}" if math.isfinite(value) else "no other")
    if wanted is None:
        return *texts, "-"
    for only_right, where in ((False, ""), (True, " (right results)")):
        value, bound = best[only_right]
        if not math.isfinite(value) and only_right:
            return *texts, f"{wanted}: none is right"
        if value >= wanted:
            return *texts, f"{wanted}: reached{where}"
    bound = best[True][1]
    return *texts, f"{wanted}: {'not decided' if bound else 'MISSED'}"


def table(results, limit):
    tools = [t for t in LABELS if any(t in e["peers"] for e in results.values())]
    lines = ["| model (parameters) | task | " + " | ".join(LABELS[t] for t in tools)
             + " | slalom | fastest / slalom | fastest right / slalom | goal |",
             "|---|---|" + "---|" * (len(tools) + 4)]
    remarks = []
    for name, entry in results.items():
        parameters, first = entry["reference"]["parameters"], True
        for tool in tools:
            answers = entry["peers"].get(tool, {})
            for text in other_likelihood(answers.get("check", {}), entry["reference"]):
                remarks.append(f"* {name}, {LABELS[tool]}: {text}.")
        for task, title in TITLES.items():
            if not any(task in a for a in entry["peers"].values()):
                continue
            cells, times, beyond = [], [], 0.0
            for tool in tools:
                answers = entry["peers"].get(tool, {})
                answer = answers.get(task)
                bad = wrong(task, answer, answers, entry) if answer else []
                if answer and "error" in answer:
                    bad = [answer["error"].splitlines()[0][:120]]
                remarks += [f"* {name}, {title}, {LABELS[tool]}: {text}." for text in bad]
                cells.append(cell(task, answer, bad, {}))
                if answer and "seconds" in answer:
                    times.append((answer["seconds"], bool(bad)))
                elif answer and "beyond" in answer:
                    beyond = max(beyond, answer["beyond"] / (1000 if task == "toy" else 1))
            own = entry["slalom"].get(task)
            ours = own["seconds"] if own else None
            label, first = (f"{name} ({parameters})", False) if first else ("", False)
            shown_ours = shown(ours * (1000 if task == "toy" else 1)) if own else "-"
            texts = ratios(task, ours, times, beyond, goal(task, parameters))
            lines.append(f"| {label} | {title} | {' | '.join(cells)} | {shown_ours} | "
                         f"{' | '.join(texts)} |")
    lines += ["", "`!`: the result is wrong or incomplete, see below; `~`: extrapolated from a part; "
              f"`>`: not done within {limit} CPU seconds.", "", *remarks]
    return "\n".join(lines) + "\n"
