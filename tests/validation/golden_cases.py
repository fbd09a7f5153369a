# SPDX-License-Identifier: Apache-2.0
"""The workspaces of golden.json. Yields are drawn with fixed seeds or written out."""

import random


# --- building blocks ------------------------------------------------------------------------------
def normfactor(name):
    return {"name": name, "type": "normfactor", "data": None}


def lumi():
    return {"name": "lumi", "type": "lumi", "data": None}


def normsys(name, hi, lo):
    return {"name": name, "type": "normsys", "data": {"hi": hi, "lo": lo}}


def histosys(name, hi, lo):
    return {"name": name, "type": "histosys", "data": {"hi_data": hi, "lo_data": lo}}


def shapesys(name, uncertainty):
    return {"name": name, "type": "shapesys", "data": uncertainty}


def staterror(name, uncertainty):
    return {"name": name, "type": "staterror", "data": uncertainty}


def shapefactor(name):
    return {"name": name, "type": "shapefactor", "data": None}


def sample(name, data, *modifiers):
    return {"name": name, "data": data, "modifiers": list(modifiers)}


def channel(name, *samples):
    return {"name": name, "samples": list(samples)}


def measurement(name="analysis", poi="mu", **parameters):
    configs = [{"name": key, **config} for key, config in parameters.items()]
    return {"name": name, "config": {"poi": poi, "parameters": configs}}


LUMI = {"inits": [1.0], "bounds": [[0.5, 1.5]], "auxdata": [1.0], "sigmas": [0.02]}


def workspace(channels, observations, measurements=None):
    return {
        "channels": channels,
        "observations": [{"name": name, "data": data} for name, data in observations.items()],
        "measurements": measurements or [measurement()],
        "version": "1.0.0",
    }


class Draw:
    """Yields and variations from a seed, rounded so that the file stays readable."""

    def __init__(self, seed):
        self.rng = random.Random(seed)

    def yields(self, n, low=10.0, high=60.0):
        return [round(self.rng.uniform(low, high), 2) for _ in range(n)]

    def histosys(self, name, nominal, size=0.12):
        hi = [round(x * (1.0 + size * self.rng.uniform(-0.5, 1.5)), 3) for x in nominal]
        lo = [round(x * (1.0 - size * self.rng.uniform(-0.5, 1.5)), 3) for x in nominal]
        return histosys(name, hi, lo)

    def normsys(self, name, size=0.1):
        up, down = self.rng.uniform(0.3, 1.5), self.rng.uniform(0.3, 1.5)
        sign = self.rng.choice([-1.0, 1.0])
        return normsys(name, round(1.0 + sign * size * up, 4), round(1.0 - sign * size * down, 4))

    def uncertainty(self, nominal, low=0.03, high=0.2):
        return [round(x * self.rng.uniform(low, high), 3) for x in nominal]

    def observed(self, samples):
        totals = [sum(values) for values in zip(*(s["data"] for s in samples))]
        return [float(max(0, round(x + x**0.5 * self.rng.uniform(-1.5, 1.5)))) for x in totals]


CODES_4 = ("code4", "code4p")
CODES_1 = ("code1", "code0")
CODES_2 = ("code1", "code2")


def case(name, covers, document, codes=CODES_4, measurement_name=None):
    return {
        "name": name,
        "covers": covers,
        "workspace": document,
        "codes": codes,
        "measurement": measurement_name or document["measurements"][0]["name"],
    }


# --- one modifier at a time -----------------------------------------------------------------------
def single_modifiers():
    signal, background, up, down = [12.0, 11.0], [50.0, 52.0], [55.0, 47.5], [44.0, 58.0]
    observed = {"SR": [51.0, 48.0]}

    def model(*modifiers):
        return workspace(
            [
                channel(
                    "SR",
                    sample("signal", signal, normfactor("mu")),
                    sample("background", background, *modifiers),
                )
            ],
            observed,
        )

    yield case("shapesys", "uncorrelated background, narrow", model(shapesys("unc", [3.0, 7.0])))
    yield case("histosys", "correlated background, narrow", model(histosys("corr", up, down)))
    yield case("normsys", "one normsys, narrow", model(normsys("norm", 1.15, 0.9)))
    yield case("staterror", "one staterror, narrow", model(staterror("stat", [4.0, 3.0])))
    for codes in (CODES_1, CODES_2, ("code4", "code0"), ("code4", "code2"), ("code1", "code4p")):
        yield case(
            f"{codes[0]} and {codes[1]}, narrow",
            "interpolation codes",
            model(
                histosys("corr", up, down),
                normsys("norm", 1.25, 0.7),
                histosys("other", [48.0, 56.0], [49.0, 50.5]),
            ),
            codes,
        )
    one = workspace(
        [
            channel(
                "SR",
                sample("signal", [10.0], normfactor("mu")),
                sample("background", [50.0], shapesys("unc", [7.0])),
            )
        ],
        {"SR": [55.0]},
    )
    yield case("one bin", "vector parameters keep [0] with one bin", one)


def wide_modifiers():
    for bins, codes in (
        (4, CODES_4),
        (5, CODES_1),
        (7, CODES_2),
        (9, CODES_4),
        (13, ("code4", "code0")),
    ):
        draw = Draw(bins)
        background = draw.yields(bins, 20.0, 90.0)
        samples = [
            sample(
                "signal", draw.yields(bins, 2.0, 9.0), normfactor("mu"), draw.normsys("theory", 0.2)
            ),
            sample(
                "background",
                background,
                *[draw.histosys(f"shape{i}", background) for i in range(1 + bins % 4)],
                *[draw.normsys(f"norm{i}") for i in range(bins // 2)],
            ),
        ]
        document = workspace([channel("SR", *samples)], {"SR": draw.observed(samples)})
        yield case(
            f"wide channel, {bins} bins, {codes[0]} and {codes[1]}",
            "padding, odd histosys",
            document,
            codes,
        )


# --- the parameter classes -------------------------------------------------------------------------
def per_bin(bins):
    """shapesys, staterror, shapefactor and their combinations in one channel of that many bins."""
    kind = "narrow" if bins < 4 else "wide"
    draw = Draw(100 + bins)
    a, b, c = draw.yields(bins), draw.yields(bins), draw.yields(bins, 5.0, 20.0)
    signal = sample(
        "signal", draw.yields(bins, 3.0, 10.0), normfactor("mu"), draw.normsys("theory")
    )

    def document(*samples, **configs):
        return workspace(
            [channel("SR", signal, *samples)],
            {"SR": draw.observed([signal, *samples])},
            [measurement(**configs)],
        )

    zeros = [0.0 if i == 1 else x for i, x in enumerate(a)]
    certain = [0.0 if i == bins - 1 else x for i, x in enumerate(draw.uncertainty(zeros))]
    yield case(
        f"shapesys with zero bins, {kind}",
        "bins without a parameter are fixed",
        document(
            sample("A", zeros, shapesys("ss_A", certain), draw.histosys("shape", a)), sample("B", b)
        ),
    )
    yield case(
        f"staterror over several samples, {kind}",
        "one group and rows without it",
        document(
            sample("A", a, staterror("stat", draw.uncertainty(a)), draw.histosys("shape", a)),
            sample("B", b, staterror("stat", draw.uncertainty(b)), draw.normsys("norm")),
            sample("C", c, draw.normsys("norm")),
        ),
    )
    only_empty = [0.0 if i == 0 else x for i, x in enumerate(b)]
    yield case(
        f"staterror with zero bins, {kind}",
        "no yield: fixed, width 1",
        document(
            sample(
                "A",
                [0.0 if i == 0 else x for i, x in enumerate(a)],
                staterror("stat", [0.0 if i == 0 else 1.5 for i in range(bins)]),
            ),
            sample("B", only_empty, staterror("stat", [0.0] * bins)),
            sample("C", c),
        ),
    )
    yield case(
        f"several groups, {kind}",
        "two shapesys, one staterror, one free of them",
        document(
            sample(
                "A",
                a,
                shapesys("ss_A", draw.uncertainty(a)),
                draw.histosys("shape", a),
                draw.normsys("norm"),
            ),
            sample("B", b, shapesys("ss_B", draw.uncertainty(b)), draw.histosys("shape", b)),
            sample("C", c, staterror("stat", draw.uncertainty(c)), draw.normsys("norm")),
            sample(
                "D",
                draw.yields(bins, 1.0, 5.0),
                staterror("stat", draw.uncertainty(c)),
                draw.histosys("other", c),
            ),
        ),
    )
    yield case(
        f"every sample in a group, {kind}",
        "no row without a per-bin parameter",
        workspace(
            [
                channel(
                    "SR",
                    sample(
                        "A",
                        a,
                        normfactor("mu"),
                        staterror("stat_A", draw.uncertainty(a)),
                        draw.histosys("shape", a),
                    ),
                    sample(
                        "B",
                        b,
                        staterror("stat_B", draw.uncertainty(b)),
                        draw.normsys("norm"),
                        draw.histosys("shape", b),
                    ),
                )
            ],
            {"SR": [x + y + 4.5 for x, y in zip(a, b)]},
        ),
    )
    yield case(
        f"all rows in one group, {kind}",
        "one staterror over all samples of the channel",
        workspace(
            [
                channel(
                    "SR",
                    sample(
                        "A",
                        a,
                        normfactor("mu"),
                        staterror("stat", draw.uncertainty(a)),
                        draw.histosys("shape", a),
                    ),
                    sample(
                        "B",
                        b,
                        staterror("stat", draw.uncertainty(b)),
                        draw.normsys("norm"),
                        draw.histosys("shape", b),
                    ),
                )
            ],
            {"SR": [round(x + y - 3.0) for x, y in zip(a, b)]},
        ),
    )
    yield case(
        f"staterror and shapesys on one sample, {kind}",
        "two per-bin factors, constrained both",
        document(
            sample(
                "A",
                a,
                staterror("stat", draw.uncertainty(a)),
                shapesys("a_ss", draw.uncertainty(a)),
                draw.histosys("shape", a),
                draw.normsys("norm"),
            ),
            sample(
                "B",
                b,
                staterror("stat", draw.uncertainty(b)),
                shapesys("z_ss", draw.uncertainty(b)),
                draw.histosys("shape", b),
            ),
            sample("C", c, staterror("stat", draw.uncertainty(c))),
        ),
    )
    yield case(
        f"two staterrors on one sample, {kind}",
        "two Gaussian per-bin factors",
        document(
            sample(
                "A",
                a,
                staterror("stat1", draw.uncertainty(a)),
                staterror("stat2", draw.uncertainty(a)),
                draw.normsys("norm"),
            ),
            sample("B", b, staterror("stat2", draw.uncertainty(b)), draw.histosys("shape", b)),
        ),
    )
    yield case(
        f"shapefactor, {kind}",
        "free per-bin factor beside other modifiers",
        document(
            sample(
                "A",
                a,
                shapefactor("free"),
                draw.histosys("shape", a),
                draw.normsys("norm"),
                normfactor("k"),
            ),
            sample("B", b, staterror("stat", draw.uncertainty(b))),
        ),
    )
    yield case(
        f"shapefactors and the others on one sample, {kind}",
        "three per-bin factors on one row",
        document(
            sample(
                "A",
                a,
                shapefactor("free1"),
                shapefactor("free2"),
                staterror("stat", draw.uncertainty(a)),
                normfactor("k"),
                draw.histosys("shape", a),
                draw.normsys("norm"),
                draw.histosys("norm", a, 0.05),
            ),
            sample(
                "B",
                b,
                shapefactor("free1"),
                shapesys("ss_B", draw.uncertainty(b)),
                draw.normsys("norm"),
                draw.histosys("shape", b),
            ),
        ),
    )


def shared_between_channels():
    draw = Draw(7)
    control, region = draw.yields(2, 80.0, 160.0), draw.yields(2, 20.0, 60.0)
    for n, kind in ((2, "narrow"), (6, "wide")):
        control, region = draw.yields(n, 80.0, 160.0), draw.yields(n, 20.0, 60.0)
        yield case(
            f"shapefactor shared between channels, {kind}",
            "data-driven shape",
            workspace(
                [
                    channel(
                        "signal",
                        sample("signal", draw.yields(n, 5.0, 9.0), normfactor("mu")),
                        sample("bkg1", region, shapefactor("coupled")),
                    ),
                    channel(
                        "control",
                        sample("background", control, shapefactor("coupled"), draw.normsys("norm")),
                    ),
                ],
                {
                    "control": [float(round(1.1 * x)) for x in control],
                    "signal": [float(round(x + 5.0)) for x in region],
                },
            ),
        )
    large, small = draw.yields(5), draw.yields(3)
    yield case(
        "shapefactor shared by channels of different size",
        "bin j uses parameter j",
        workspace(
            [
                channel(
                    "a_wide",
                    sample("A", large, shapefactor("coupled"), draw.histosys("shape", large)),
                ),
                channel(
                    "b_narrow",
                    sample("A", small, shapefactor("coupled"), draw.histosys("shape", small)),
                    sample("signal", [3.0, 4.0, 5.0], normfactor("mu")),
                ),
            ],
            {
                "a_wide": [float(round(x)) for x in large],
                "b_narrow": [float(round(x + 4)) for x in small],
            },
        ),
    )
    for first, second in ((2, 5), (6, 3)):
        a1, b1, a2, b2 = (
            draw.yields(first),
            draw.yields(first),
            draw.yields(second),
            draw.yields(second),
        )
        a2[1] = b2[1] = 0.0
        samples1 = [
            sample("A", a1, staterror("stat", draw.uncertainty(a1)), normfactor("mu")),
            sample("B", b1, staterror("stat", draw.uncertainty(b1)), draw.histosys("shape", b1)),
        ]
        samples2 = [
            sample("A", a2, staterror("stat", draw.uncertainty(a2)), normfactor("mu")),
            sample("B", b2, staterror("stat", draw.uncertainty(b2)), draw.normsys("norm")),
            sample("C", draw.yields(second)),
        ]
        yield case(
            f"staterror shared across channels of {first} and {second} bins",
            "one name, two channels, a bin without yield",
            workspace(
                [channel("c1", *samples1), channel("c2", *samples2)],
                {"c2": draw.observed(samples2), "c1": draw.observed(samples1)},
            ),
        )
    n = 3
    a, b, s = draw.yields(n), draw.yields(4), draw.yields(n)
    yield case(
        "coupled parameters in both layouts",
        "narrow and wide channel share alphas and factors",
        workspace(
            [
                channel(
                    "narrow",
                    sample(
                        "A",
                        a,
                        draw.histosys("h1", a),
                        draw.normsys("n1"),
                        normfactor("k"),
                        draw.histosys("h2", a),
                    ),
                    sample("S", s, normfactor("mu"), draw.normsys("h1")),
                ),
                channel(
                    "wide",
                    sample(
                        "A",
                        b,
                        draw.histosys("h2", b),
                        draw.histosys("h3", b),
                        normfactor("k"),
                        draw.normsys("n2"),
                    ),
                    sample(
                        "S",
                        [4.0, 5.0, 6.0, 7.0],
                        normfactor("mu"),
                        draw.normsys("n1"),
                        draw.normsys("h3"),
                    ),
                ),
            ],
            {
                "narrow": [float(round(x + y)) for x, y in zip(a, s)],
                "wide": [float(round(x + 5.0)) for x in b],
            },
        ),
    )


def shared_names():
    for n, codes in ((2, CODES_4), (5, CODES_4), (3, CODES_1), (6, CODES_2)):
        draw = Draw(40 + n)
        a, b = draw.yields(n), draw.yields(n)
        samples = [
            sample("signal", draw.yields(n, 4.0, 9.0), normfactor("mu"), draw.normsys("common")),
            sample(
                "A", a, draw.histosys("common", a), draw.normsys("common"), draw.normsys("z_other")
            ),
            sample(
                "B",
                b,
                draw.histosys("a_other", b),
                draw.normsys("a_other"),
                draw.histosys("common", b),
            ),
        ]
        yield case(
            f"histosys and normsys share a name, {n} bins, {codes[0]} and {codes[1]}",
            "one alpha of two types",
            workspace([channel("SR", *samples)], {"SR": draw.observed(samples)}),
            codes,
        )


def zero_factors():
    for n, kind in ((2, "narrow"), (5, "wide")):
        draw = Draw(60 + n)
        a, b = draw.yields(n), draw.yields(n)
        samples = [
            sample(
                "S1",
                draw.yields(n, 3.0, 8.0),
                normfactor("mu"),
                draw.normsys("norm"),
                draw.histosys("shape", a, 0.02),
            ),
            sample(
                "S2",
                a,
                normfactor("mu"),
                normfactor("k1"),
                draw.normsys("norm"),
                draw.histosys("shape", a),
            ),
            sample(
                "S3",
                a,
                normfactor("mu"),
                normfactor("k1"),
                normfactor("k2"),
                draw.normsys("norm"),
                draw.histosys("shape", a),
            ),
            sample(
                "S4",
                b,
                normfactor("k1"),
                shapefactor("free"),
                draw.histosys("shape", b),
                draw.normsys("norm"),
                staterror("stat", draw.uncertainty(b)),
            ),
            sample(
                "S5",
                b,
                normfactor("k1"),
                normfactor("k2"),
                shapefactor("free"),
                draw.histosys("shape", b),
            ),
            sample("B", draw.yields(n, 30.0, 60.0), draw.normsys("norm")),
        ]
        yield case(
            f"several normfactors, {kind}",
            "zero, one, two and three factors at 0",
            workspace([channel("SR", *samples)], {"SR": draw.observed(samples)}),
        )


def data_and_yields():
    for n, kind in ((3, "narrow"), (6, "wide")):
        draw = Draw(80 + n)
        b = draw.yields(n, 0.5, 3.0)
        samples = [
            sample("signal", draw.yields(n, 0.2, 1.0), normfactor("mu")),
            sample(
                "B", b, shapesys("ss", draw.uncertainty(b, 0.2, 0.6)), draw.histosys("shape", b)
            ),
            sample("C", b, staterror("stat", draw.uncertainty(b, 0.2, 0.4)), draw.normsys("norm")),
        ]
        observed = [0.0 if i % 2 == 0 else 2.0 for i in range(n)]
        yield case(
            f"zero data bins, {kind}",
            "n = 0 in several bins",
            workspace([channel("SR", *samples)], {"SR": observed}),
        )
    yield case(
        "all data zero",
        "nothing observed anywhere",
        workspace(
            [
                channel(
                    "SR",
                    sample("signal", [1.0, 2.0, 0.5, 0.25], normfactor("mu")),
                    sample(
                        "B",
                        [1.5, 0.5, 0.1, 0.2],
                        normsys("norm", 1.3, 0.8),
                        staterror("stat", [0.2, 0.1, 0.05, 0.02]),
                    ),
                )
            ],
            {"SR": [0.0, 0.0, 0.0, 0.0]},
        ),
    )
    yield case(
        "large, small and fractional counts",
        "1e6 and 1e-3 events, data that are no integers",
        workspace(
            [
                channel(
                    "SR",
                    sample("signal", [1200.0, 3.5, 0.002, 0.4, 20.0], normfactor("mu")),
                    sample(
                        "B",
                        [1.1e6, 2.3e4, 0.003, 5.25, 610.0],
                        normsys("norm", 1.01, 0.985),
                        histosys(
                            "shape",
                            [1.11e6, 2.28e4, 0.0035, 5.5, 600.0],
                            [1.092e6, 2.33e4, 0.0025, 5.1, 615.0],
                        ),
                        staterror("stat", [900.0, 150.0, 0.0003, 0.8, 11.0]),
                    ),
                )
            ],
            {"SR": [1102345.0, 22987.5, 0.004, 4.75, 633.0]},
        ),
    )
    yield case(
        "empty and negative yields",
        "zero nominal with a variation, a negative sample",
        workspace(
            [
                channel(
                    "narrow",
                    sample("signal", [0.0, 5.0], normfactor("mu")),
                    sample(
                        "B",
                        [0.0, 20.0],
                        histosys("shape", [1.5, 22.0], [0.5, 19.0]),
                        normsys("norm", 1.1, 0.9),
                    ),
                    sample("C", [30.0, 10.0]),
                    sample(
                        "interference",
                        [-4.0, -2.0],
                        normsys("norm", 1.2, 0.85),
                        staterror("stat", [0.4, 0.3]),
                    ),
                ),
                channel(
                    "wide",
                    sample("signal", [1.0, 0.0, 2.0, 3.0], normfactor("mu")),
                    sample(
                        "B",
                        [0.0, 10.0, 0.0, 12.0],
                        histosys("shape", [0.6, 11.0, 0.2, 12.0], [0.1, 9.5, 0.3, 11.0]),
                    ),
                    sample("C", [9.0, 9.0, 9.0, 9.0]),
                    sample(
                        "interference",
                        [-1.0, -2.0, -0.5, 0.0],
                        normsys("norm", 1.2, 0.85),
                        shapesys("ss", [0.2, 0.3, 0.1, 0.4]),
                    ),
                ),
            ],
            {"narrow": [28.0, 31.0], "wide": [9.0, 18.0, 10.0, 25.0]},
        ),
    )
    yield case(
        "variations that do nothing or one side",
        "no effect, both up, asymmetric",
        workspace(
            [
                channel(
                    "SR",
                    sample("signal", [3.0, 4.0], normfactor("mu")),
                    sample(
                        "B",
                        [40.0, 60.0],
                        histosys("none", [40.0, 60.0], [40.0, 60.0]),
                        normsys("nothing", 1.0, 1.0),
                        histosys("one_sided", [44.0, 61.0], [43.0, 66.0]),
                        normsys("up_only", 1.2, 1.0),
                        normsys("both_up", 1.1, 1.05),
                        histosys("half", [43.0, 66.0], [40.0, 60.0]),
                    ),
                ),
                channel(
                    "wide",
                    sample(
                        "B",
                        [40.0, 60.0, 30.0, 20.0, 10.0],
                        histosys(
                            "one_sided",
                            [44.0, 61.0, 33.0, 21.0, 12.0],
                            [43.0, 66.0, 31.0, 22.0, 11.0],
                        ),
                        histosys(
                            "none", [40.0, 60.0, 30.0, 20.0, 10.0], [40.0, 60.0, 30.0, 20.0, 10.0]
                        ),
                    ),
                ),
            ],
            {"SR": [47.0, 66.0], "wide": [41.0, 63.0, 28.0, 22.0, 9.0]},
        ),
    )
    yield case(
        "large variations",
        "normsys factors of 2.5 and 0.3, histosys of 50 %",
        workspace(
            [
                channel(
                    "SR",
                    sample(
                        "signal",
                        [8.0, 9.0, 4.0, 3.0],
                        normfactor("mu"),
                        normsys("a", 2.5, 0.3),
                        normsys("b", 0.4, 1.9),
                    ),
                    sample(
                        "B",
                        [50.0, 30.0, 20.0, 10.0],
                        histosys("shape", [75.0, 31.0, 28.0, 8.0], [30.0, 32.0, 11.0, 13.0]),
                        normsys("b", 1.6, 0.7),
                    ),
                )
            ],
            {"SR": [66.0, 35.0, 22.0, 12.0]},
        ),
    )


def overrides():
    n = 4
    draw = Draw(90)
    a, b = draw.yields(n), draw.yields(n)

    def channels():
        return [
            channel(
                "SR",
                sample("signal", [4.0, 5.0, 6.0, 5.0], normfactor("mu"), lumi()),
                sample(
                    "A",
                    a,
                    lumi(),
                    shapesys("ss", [3.0, 4.0, 2.0, 0.0]),
                    draw.histosys("shape", a),
                    normfactor("k"),
                ),
                sample(
                    "B",
                    b,
                    lumi(),
                    staterror("stat", [2.0, 0.0, 3.0, 2.5]),
                    draw.normsys("norm"),
                    shapefactor("free"),
                ),
            )
        ]

    observed = {"SR": [float(round(x + y + 5.0)) for x, y in zip(a, b)]}
    plain = measurement("plain", lumi=LUMI)
    yield case("lumi", "absolute width", workspace(channels(), observed, [plain]))
    full = measurement(
        "full",
        "k",
        mu={"inits": [0.8], "bounds": [[-2.0, 5.0]], "fixed": True},
        k={"inits": [1.3], "bounds": [[0.1, 4.0]]},
        lumi={
            "inits": [1.01],
            "bounds": [[0.0, 2.0]],
            "auxdata": [0.98],
            "sigmas": [0.05],
            "fixed": True,
        },
        ss={
            "inits": [1.1, 0.9, 1.0, 1.0],
            "bounds": [[0.1, 3.0]] * 4,
            "auxdata": [90.0, 60.0, 120.0, 1.0],
            "factors": [100.0, 50.0, 130.0, 1.0],
        },
        shape={"inits": [0.4], "bounds": [[-3.0, 3.0]], "auxdata": [0.25]},
        norm={"inits": [-0.5], "auxdata": [-0.1], "fixed": True},
        stat={
            "inits": [1.0, 1.0, 1.05, 0.95],
            "sigmas": [0.07, 1.0, 0.11, 0.2],
            "auxdata": [1.02, 1.0, 0.97, 1.1],
        },
        free={"inits": [1.0, 1.1, 0.9, 1.2], "bounds": [[0.0, 4.0]] * 4},
    )
    document = workspace(channels(), observed, [plain, full, measurement("no poi", "", lumi=LUMI)])
    yield case(
        "overrides of everything",
        "second measurement, inits, bounds, fixed, auxdata, sigmas, factors",
        document,
        measurement_name="full",
    )
    yield case(
        "third measurement, no POI", "poi is an empty string", document, measurement_name="no poi"
    )
    fixed = measurement(
        "fixed",
        ss={"fixed": True},
        stat={"fixed": False},
        lumi={**LUMI, "fixed": True},
        free={"fixed": True, "inits": [1.0, 1.2, 0.8, 1.0]},
    )
    yield case(
        "fixed vectors",
        "fixed applies to the whole set, also where pyhf fixes single bins",
        workspace(channels(), observed, [fixed]),
        CODES_1,
    )


def order_of_names():
    n = 2

    def modifiers(*names):
        return [
            normsys(name, 1.0 + 0.02 * (i + 1), 0.97 - 0.01 * i) for i, name in enumerate(names)
        ]

    yield case(
        "order of names",
        "capitals, digits, symbols, accents; first appearance within a type",
        workspace(
            [
                channel(
                    "b_region",
                    sample(
                        "zebra",
                        [10.0, 20.0],
                        *modifiers("zeta", "alpha", "Beta"),
                        staterror("staterror_b", [1.0, 2.0]),
                    ),
                    sample(
                        "Apple",
                        [5.0, 4.0],
                        normfactor("mu"),
                        normfactor("Norm10"),
                        normfactor("Norm9"),
                    ),
                ),
                channel(
                    "B_region",
                    sample(
                        "signal",
                        [1.0, 2.0, 3.0, 4.0],
                        normfactor("mu"),
                        *modifiers("10", "9", "gamma"),
                    ),
                    sample(
                        "Zebra",
                        [30.0, 20.0, 10.0, 5.0],
                        histosys("théorie", [31.0, 21.0, 11.0, 6.0], [29.0, 19.0, 9.0, 4.5]),
                        staterror("staterror_B", [1.0, 1.0, 1.0, 1.0]),
                    ),
                ),
                channel(
                    "1_region",
                    sample(
                        "apple",
                        [8.0],
                        histosys("Beta", [8.5], [7.5]),
                        shapesys("y_ss", [0.5]),
                        normfactor("a_norm"),
                    ),
                    sample("x", [3.0], shapesys("a_ss", [0.4]), *modifiers("théorie", "alpha")),
                ),
            ],
            {"B_region": [30.0, 24.0, 12.0, 8.0], "1_region": [12.0], "b_region": [17.0, 22.0]},
        ),
    )


def everything():
    for name, sizes, codes in (
        ("narrow", (1, 2, 3), CODES_4),
        ("wide", (4, 7), CODES_4),
        ("mixed", (3, 6, 1), CODES_4),
        ("mixed", (2, 5), CODES_1),
        ("mixed", (3, 4), CODES_2),
    ):
        draw = Draw(sum(x * 10**i for i, x in enumerate(sizes)))
        channels, observed = [], {}
        for i, n in enumerate(sizes):
            a, b, c, s = draw.yields(n), draw.yields(n), draw.yields(n), draw.yields(n, 3.0, 9.0)
            samples = [
                sample(
                    "signal",
                    s,
                    normfactor("mu"),
                    lumi(),
                    draw.normsys("theory"),
                    draw.histosys("jes", s),
                ),
                sample(
                    "A",
                    a,
                    lumi(),
                    draw.normsys("norm_A"),
                    draw.histosys("jes", a),
                    draw.histosys("jer", a),
                    shapesys(f"ss_A_{i}", draw.uncertainty(a)),
                    draw.normsys("jes", 0.03),
                ),
                sample(
                    "B",
                    b,
                    lumi(),
                    draw.normsys("theory"),
                    draw.histosys("jes", b),
                    staterror(f"stat_{i}", draw.uncertainty(b)),
                    normfactor("k"),
                ),
                sample(
                    "C",
                    c,
                    shapefactor(f"free_{i}"),
                    draw.histosys("jer", c),
                    staterror(f"stat_{i}", draw.uncertainty(c)),
                ),
            ]
            channels.append(channel(f"channel_{i}", *samples))
            observed[f"channel_{i}"] = draw.observed(samples)
        yield case(
            f"everything, {name}, {codes[0]} and {codes[1]}",
            "all seven modifiers",
            workspace(channels, observed, [measurement(lumi=LUMI)]),
            codes,
        )


def many_parameters():
    for n, kind in ((2, "narrow"), (4, "wide")):
        draw = Draw(200 + n)
        a, b, c = draw.yields(n), draw.yields(n), draw.yields(n)
        samples = [
            sample(
                "dense",
                a,
                *[draw.normsys(f"sys{i:02d}", 0.05) for i in range(14)],
                *[draw.histosys(f"sys{i:02d}", a, 0.04) for i in range(0, 14, 2)],
            ),
            sample(
                "half",
                b,
                *[draw.normsys(f"sys{i:02d}", 0.05) for i in range(3, 9)],
                *[draw.histosys(f"shape{i}", b, 0.04) for i in range(5)],
            ),
            sample(
                "sparse", c, normfactor("mu"), draw.normsys("sys03"), draw.histosys("shape1", c)
            ),
            sample("bare", [3.0] * n),
        ]
        yield case(
            f"many parameters, {kind}",
            "dense and sparse rows of factors",
            workspace(
                [
                    channel("SR", *samples),
                    channel(
                        "CR", sample("only", b, draw.normsys("sys05"), draw.histosys("shape4", b))
                    ),
                ],
                {"SR": draw.observed(samples), "CR": [float(round(x)) for x in b]},
            ),
        )


def cases():
    result = []
    for group in (
        single_modifiers(),
        wide_modifiers(),
        per_bin(3),
        per_bin(5),
        shared_between_channels(),
        shared_names(),
        zero_factors(),
        data_and_yields(),
        overrides(),
        order_of_names(),
        everything(),
        many_parameters(),
    ):
        result += list(group)
    names = [c["name"] for c in result]
    assert len(names) == len(set(names)), "names must be unique"
    return result
