# SPDX-License-Identifier: Apache-2.0
"""NextStat: its own functions for each task."""
import json
import statistics

import nextstat


class Tool:
    timing_points = ("start", "second")

    def __init__(self, document, name):
        self.version = nextstat.__version__
        nextstat.set_threads(1)
        self.model = nextstat.HistFactoryModel.from_workspace(json.dumps(document))
        self.names = self.model.parameter_names()
        self.estimator = nextstat.MaximumLikelihoodEstimator()

    def prepare(self, point):
        return [point[name] for name in self.names]

    def value(self, point):
        return self.model.nll(point)

    def gradient(self, point):
        return self.model.nll(point), self.model.grad_nll(point)

    def twice_nll(self, point):
        return 2.0 * self.model.nll(self.prepare(point))

    def fit(self):
        fitted = self.estimator.fit_minimum(self.model)
        return {"twice_nll": 2.0 * fitted.nll, "mu": fitted.parameters[self.model.poi_index()],
                "ok": bool(fitted.converged)}

    def cls(self, mu):
        observed, (clsb, clb) = nextstat.hypotest(mu, self.model, return_tail_probs=True)
        # The band follows from the two tail probabilities: it costs nothing more.
        normal = statistics.NormalDist()
        band = []
        if 0.0 < clsb < 1.0 and 0.0 < clb < 1.0:
            root = normal.inv_cdf(clb) - normal.inv_cdf(clsb)
            band = [normal.cdf(-(n + root)) / normal.cdf(-n) for n in (2, 1, 0, -1, -2)]
        return {"observed": observed, "expected": band}

    def limit(self):
        observed, band = nextstat.upper_limit(self.model, method="root")
        return {"observed": observed, "expected": band}

    def scan(self, values):
        result = nextstat.profile_scan(self.model, values)
        points = result["points"]
        return {"values": values, "failed": sum(not p["converged"] for p in points),
                "curve": [2.0 * (p["nll_mu"] - result["nll_hat"]) for p in points]}

    def fit_at(self, mu):
        (point,) = nextstat.profile_scan(self.model, [mu], return_params=True)["points"]
        return point["params"]

    def throw_from(self, parameters):
        self.truth = parameters

    def toys(self, n):
        """Fluctuates the counts only, not the auxiliary data."""
        fits = nextstat.fit_toys(self.model, self.truth, n_toys=n, seed=1, init_params=self.truth)
        poi = self.model.poi_index()
        return [{"mu": f.parameters[poi], "ok": bool(f.converged)} for f in fits]

    def impacts(self):
        """Two fits for each parameter, not four."""
        ranking = nextstat.ranking(self.model)
        return {"fits_each": 2, "impacts": {r["name"]: [r["delta_mu_up"], r["delta_mu_down"]]
                                            for r in ranking}}

    def signal(self, document):
        model = nextstat.HistFactoryModel.from_workspace(json.dumps(document))
        return nextstat.hypotest(1.0, model)
