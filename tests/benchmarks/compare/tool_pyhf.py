# SPDX-License-Identifier: Apache-2.0
"""pyhf with its numpy or its JAX backend; scipy's SLSQP, as by default."""
import warnings

import numpy
import pyhf
from pyhf.infer.intervals.upper_limits import upper_limit
from roots import upper_limits

CODES = {"normsys": {"interpcode": "code4"}, "histosys": {"interpcode": "code4p"}}


class Tool:
    warm = False  # conditional fits start anew each time
    timing_points = ("start", "second")

    def __init__(self, document, name):
        warnings.simplefilter("ignore")
        pyhf.set_backend("jax" if name == "jax" else "numpy", "scipy")
        self.version = pyhf.__version__
        self.build(document)
        self.names = self.model.config.par_names
        self.random = numpy.random.default_rng(1)
        if name == "jax":
            self.compile()

    def build(self, document):
        workspace = pyhf.Workspace(document, validate=False)
        self.model = workspace.model(modifier_settings=CODES, validate=False)
        self.data = pyhf.tensorlib.astensor(workspace.data(self.model))

    def compile(self):
        import jax

        value = jax.jit(lambda p: self.model.logpdf(p, self.data)[0])
        both = jax.jit(jax.value_and_grad(lambda p: self.model.logpdf(p, self.data)[0]))
        self.value = lambda p: value(p).block_until_ready()
        self.gradient = lambda p: jax.block_until_ready(both(p))

    def prepare(self, point):
        return pyhf.tensorlib.astensor([point[name] for name in self.names])

    def value(self, point):
        return self.model.logpdf(point, self.data)[0]

    def twice_nll(self, point):
        return -2.0 * float(self.value(self.prepare(point)))

    def result(self, fitted):
        parameters, twice_nll = fitted
        self.parameters = [float(p) for p in parameters]
        return {"twice_nll": float(twice_nll), "mu": self.parameters[self.model.config.poi_index],
                "ok": True}

    def attempt(self, fit, *arguments, **options):
        try:
            return self.result(fit(*arguments, return_fitted_val=True, **options))
        except pyhf.exceptions.FailedMinimization:
            return {"twice_nll": float("nan"), "mu": float("nan"), "ok": False}

    def fit(self):
        result = self.attempt(pyhf.infer.mle.fit, self.data, self.model)
        self.best = list(self.parameters)
        return result

    def fit_at(self, mu):
        return self.attempt(pyhf.infer.mle.fixed_poi_fit, mu, self.data, self.model)

    def fit_shifted(self, best, name, shift):
        index = self.names.index(name)
        lower, upper = self.model.config.suggested_bounds()[index]
        start, fixed = list(self.best), list(self.model.config.suggested_fixed())
        start[index], fixed[index] = min(max(start[index] + shift, lower), upper), True
        return self.attempt(pyhf.infer.mle.fit, self.data, self.model, init_pars=start,
                            fixed_params=fixed)

    def cls(self, mu):
        observed, band = pyhf.infer.hypotest(mu, self.data, self.model, test_stat="qtilde",
                                             return_expected_set=True)
        return {"observed": float(observed), "expected": [float(b) for b in band]}

    def curves(self, mu):
        result = self.cls(mu)
        return [result["observed"], *result["expected"]]

    def limit(self):
        if pyhf.tensorlib.name == "jax":  # its own function fails there: unhashable type
            upper = self.model.config.suggested_bounds()[self.model.config.poi_index][1]
            return upper_limits(self.curves, float(upper))
        observed, band = upper_limit(self.data, self.model)
        return {"observed": float(observed), "expected": [float(b) for b in band]}

    def throw_from(self, result):
        self.truth = list(self.parameters)

    def toy(self, i):
        rates = numpy.asarray(self.model.expected_data(
            pyhf.tensorlib.astensor(self.truth), include_auxdata=False))
        auxiliary = []
        for name in self.model.config.auxdata_order:
            group = self.model.config.param_set(name)
            here = numpy.asarray(self.truth)[self.model.config.par_slice(name)]
            if group.pdf_type == "normal":
                auxiliary += [*self.random.normal(here, getattr(group, "sigmas", [1.0]))]
            else:
                auxiliary += [*map(float, self.random.poisson(here * group.factors))]
        data = pyhf.tensorlib.astensor([*map(float, self.random.poisson(rates)), *auxiliary])
        return self.attempt(pyhf.infer.mle.fit, data, self.model, init_pars=self.truth)

    def signal(self, document):
        self.build(document)
        return self.cls(1.0)["observed"]
