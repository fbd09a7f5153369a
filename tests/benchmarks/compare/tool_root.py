# SPDX-License-Identifier: Apache-2.0
"""ROOT: a workspace built with HistFactory, RooFit's likelihood (its default, vectorised evaluation)
and Minuit2 (Migrad, default strategy), RooStats for tests.

Made equal to the likelihood of pyhf: Gaussian constraints of staterror without a threshold, their
nominal values without a range (HistFactory's cuts the Gaussian off at zero), no protection against
negative yields of a sample, luminosity only where a sample has it (6.40 scales all samples).
"""
import math
import warnings

warnings.simplefilter("ignore")
import ROOT  # noqa: E402
from roots import upper_limits  # noqa: E402

RF = ROOT.RooFit
HF = ROOT.RooStats.HistFactory
ROOT.RooMsgService.instance().setGlobalKillBelow(RF.FATAL)
ROOT.gErrorIgnoreLevel = ROOT.kFatal
ROOT.Math.MinimizerOptions.SetDefaultMinimizer("Minuit2")
ROOT.Math.MinimizerOptions.SetDefaultPrintLevel(-1)
ROOT.RooStats.AsymptoticCalculator.SetPrintLevel(-1)
ROOT.RooRealVar.enableSilentClipping()


def histogram(values):
    histogram.count += 1
    result = ROOT.TH1D(f"h{histogram.count}", "", len(values), 0.0, float(len(values)))
    result.SetDirectory(ROOT.nullptr)
    ROOT.SetOwnership(result, False)  # what it is given to deletes it
    for i, value in enumerate(values):
        result.SetBinContent(i + 1, value)
    return result


histogram.count = 0


def root_name(name):
    name = name.replace(" ", "_")
    return "c_" + name if name[0].isdigit() else name


def relative(errors, yields):
    return [e / y if y != 0.0 else 0.0 for e, y in zip(errors, yields)]


def staterror_relative(channel, sample):
    """Of each bin. ROOT wants errors relative to the sample's own yield: where that is zero, the
    first sample that has a yield takes its error over, so that the quadratic sum is the same."""
    carriers = []
    for s in channel["samples"]:
        carriers += [(s, m["data"]) for m in s["modifiers"] if m["type"] == "staterror"]
    result = []
    for b, own_yield in enumerate(sample["data"]):
        square = sum(d[b] ** 2 for s, d in carriers if s is sample)
        first = next((s for s, _ in carriers if s["data"][b] != 0.0), None)
        if first is sample:
            square += sum(d[b] ** 2 for s, d in carriers if s["data"][b] == 0.0)
        result.append(math.sqrt(square) / own_yield if own_yield != 0.0 else 0.0)
    return result


class Builder:
    """HistFactory measurement of a workspace in JSON, and names by ROOT's names."""

    def __init__(self, document):
        measurement = document["measurements"][0]["config"]
        self.config = {p["name"]: p for p in measurement.get("parameters", [])}
        self.names = {}
        self.measurement = HF.Measurement("measurement", "measurement")
        self.measurement.SetPOI(measurement["poi"])
        self.luminosity()
        observed = {o["name"]: o["data"] for o in document["observations"]}
        for channel in document["channels"]:
            self.channel(channel, observed[channel["name"]])

    def luminosity(self):
        lumi = self.config.get("lumi")
        value, sigma = (lumi["auxdata"][0], lumi["sigmas"][0]) if lumi else (1.0, 0.1)
        self.measurement.SetLumi(value)
        self.measurement.SetLumiRelErr(sigma / value)
        self.floating_lumi = bool(lumi) and not lumi.get("fixed", False)
        if self.floating_lumi:
            self.measurement.AddPreprocessFunction("no_lumi", "1.0/Lumi", "Lumi[1,0,10]")
        else:
            self.measurement.AddConstantParam("Lumi")

    def channel(self, channel, observed):
        result = HF.Channel(root_name(channel["name"]))
        result.SetData(histogram(observed))
        result.GetStatErrorConfig().SetConstraintType(HF.Constraint.Gaussian)
        result.GetStatErrorConfig().SetRelErrorThreshold(0.0)
        for sample in channel["samples"]:
            made = HF.Sample(root_name(sample["name"]))
            made.SetHisto(histogram(sample["data"]))
            made.SetNormalizeByTheory(False)
            for modifier in sample["modifiers"]:
                self.modifier(channel, sample, modifier, made)
            types = [m["type"] for m in sample["modifiers"]]
            if self.floating_lumi and "lumi" not in types:
                made.AddNormFactor("no_lumi", 1.0, 0.0, 10.0)
            result.AddSample(made)
        self.measurement.AddChannel(result)

    def modifier(self, channel, sample, modifier, made):
        kind, name, data = modifier["type"], modifier["name"], modifier["data"]
        if kind == "lumi":
            made.SetNormalizeByTheory(True)
            self.names["Lumi"] = name
        elif kind == "normfactor":
            config = self.config.get(name, {})
            made.AddNormFactor(name, config.get("inits", [1.0])[0],
                               *config.get("bounds", [[0.0, 10.0]])[0])
            if config.get("fixed", False):
                self.measurement.AddConstantParam(name)
            self.names[name] = name
        elif kind == "normsys":
            made.AddOverallSys(name, data["lo"], data["hi"])
            self.names["alpha_" + name] = name
        elif kind == "histosys":
            variation = HF.HistoSys()
            variation.SetName(name)
            variation.SetHistoLow(histogram(data["lo_data"]))
            variation.SetHistoHigh(histogram(data["hi_data"]))
            made.AddHistoSys(variation)
            self.names["alpha_" + name] = name
        elif kind == "staterror":
            error = HF.StatError()
            error.Activate(True)
            error.SetUseHisto(True)
            error.SetErrorHist(histogram(staterror_relative(channel, sample)))
            made.SetStatError(error)
            for i in range(len(data)):
                self.names[f"gamma_stat_{root_name(channel['name'])}_bin_{i}"] = f"{name}[{i}]"
        elif kind == "shapesys":
            error = HF.ShapeSys()
            error.SetName(name)
            error.SetConstraintType(HF.Constraint.Poisson)
            error.SetErrorHist(histogram(relative(data, sample["data"])))
            made.AddShapeSys(error)
            for i in range(len(data)):
                self.names[f"gamma_{name}_bin_{i}"] = f"{name}[{i}]"
        else:
            raise ValueError("modifier type " + kind)


class Tool:
    warm = True  # each conditional fit starts where the last one ended
    timing_points = ("start", "best")  # at the second point ROOT's densities underflow

    def __init__(self, document, name):
        self.version = ROOT.__version__
        self.build(document)

    def build(self, document):
        built = Builder(document)
        self.workspace = HF.HistoToWorkspaceFactoryFast.MakeCombinedModel(built.measurement)
        for variable in self.workspace.allVars():
            if variable.GetName().startswith("nom_gamma_stat"):
                variable.removeRange()
        for function in self.workspace.allFunctions():
            if function.InheritsFrom("PiecewiseInterpolation"):
                function.setPositiveDefinite(False)
        self.config = self.workspace.obj("ModelConfig")
        self.pdf, self.data = self.config.GetPdf(), self.workspace.data("obsData")
        self.globals = self.config.GetGlobalObservables()
        self.observed_globals = self.globals.snapshot()
        self.poi = self.config.GetParametersOfInterest().first()
        self.parameters = self.pdf.getParameters(self.data)
        self.by_name = {built.names[p.GetName()]: p for p in self.parameters
                        if p.GetName() in built.names}
        self.start = self.parameters.snapshot()
        self.nll = self.pdf.createNLL(self.data, RF.GlobalObservables(self.globals),
                                      RF.Offset("initial"))

    def prepare(self, point):
        for name, value in point.items():
            if name in self.by_name and not self.by_name[name].isConstant():
                parameter = self.by_name[name]
                if value > parameter.getMax():
                    parameter.setMax(value)
                parameter.setVal(value)
        result = self.parameters.snapshot()
        self.parameters.assign(self.start)
        return result

    def value(self, point):
        self.parameters.assign(point)
        return self.nll.getVal()

    def twice_nll(self, point):
        ranges = {p: p.getMax() for p in self.by_name.values()}
        result = 2.0 * self.value(self.prepare(point))
        self.parameters.assign(self.start)
        for parameter, upper in ranges.items():
            parameter.setMax(upper)
        return result

    def minimise(self):
        minimiser = ROOT.RooMinimizer(self.nll)
        minimiser.setPrintLevel(-1)
        minimiser.setPrintEvalErrors(-1)
        status = minimiser.minimize("Minuit2", "Migrad")
        return {"twice_nll": 2.0 * self.nll.getVal(), "mu": self.poi.getVal(), "ok": status == 0}

    def fit(self):
        self.parameters.assign(self.start)
        result = self.minimise()
        self.best = self.parameters.snapshot()
        return result

    def fit_with(self, parameter, value):
        parameter.setConstant(True)
        parameter.setVal(value)
        result = self.minimise()
        parameter.setConstant(False)
        return result

    def fit_at(self, mu):
        return self.fit_with(self.poi, mu)

    def fit_shifted(self, best, name, shift):
        self.parameters.assign(self.best)
        parameter = self.by_name[name]
        return self.fit_with(parameter, parameter.getVal() + shift)

    def calculator(self):
        """With the Asimov data of mu = 0. Null hypothesis: signal and background."""
        self.parameters.assign(self.start)
        self.null = self.config.Clone("null")
        alternative = self.config.Clone("alternative")
        self.poi.setVal(0.0)
        alternative.SetSnapshot(ROOT.RooArgSet(self.poi))
        self.poi.setVal(1.0)
        self.null.SetSnapshot(ROOT.RooArgSet(self.poi))
        result = ROOT.RooStats.AsymptoticCalculator(self.data, alternative, self.null)
        result.SetOneSided(True)
        result.alternative = alternative  # kept alive
        return result

    def test(self, calculator, mu):
        self.poi.setVal(mu)
        self.null.SetSnapshot(ROOT.RooArgSet(self.poi))
        result = calculator.GetHypoTest()
        clsb, clb = result.NullPValue(), result.AlternatePValue()
        expected = ROOT.RooStats.AsymptoticCalculator.GetExpectedPValues
        band = [expected(clsb, clb, n, True) for n in (-2, -1, 0, 1, 2)]
        return [clsb / clb if clb > 0.0 else math.nan, *band]

    def cls(self, mu):
        observed, *band = self.test(self.calculator(), mu)
        return {"observed": observed, "expected": band}

    def limit(self):
        calculator = self.calculator()
        return upper_limits(lambda mu: self.test(calculator, mu), self.poi.getMax())

    def throw_from(self, result):
        self.truth = self.parameters.snapshot()

    def toy(self, i):
        self.parameters.assign(self.truth)
        if i == 0:
            ROOT.RooRandom.randomGenerator().SetSeed(1)
        thrown = self.pdf.generateSimGlobal(self.globals, 1)
        data = self.pdf.generate(self.data.get(), RF.Extended(), RF.AllBinned())
        self.globals.assign(thrown.get(0))
        self.nll.setData(data, False)
        result = self.minimise()
        self.globals.assign(self.observed_globals)
        self.nll.setData(self.data, False)
        return result

    def signal(self, document):
        self.build(document)
        return self.cls(1.0)["observed"]

