// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <fmt/format.h>
#include <set>

#include "cli/result.hpp"
#include "cli/suggest.hpp"
#include "experiment/inference.hpp"

namespace slalom {

namespace {

using nlohmann::ordered_json;

const std::vector<std::string> k_observables{"summary", "score", "aware", "frozen", "unbinned"};
const std::vector<std::string> k_profiles{"continuous", "grid"};
const std::vector<std::string> k_calibrations{"none", "platt", "binned"};
const std::vector<std::string> k_binnings{"equal_width", "equal_signal"};
const std::vector<std::string> k_forms{"poisson", "saturated", "reference_ratio"};

void parameter_fields(Fields& f, InferenceParameter& parameter) {
  f.text("name", parameter.name, "of a nuisance parameter of the experiment");
  f.numbers("grid", parameter.grid, "theta of its templates, rising; its ends are the bounds");
  f.choice("morphing", parameter.morphing, morphing_kind_names(), "templates between these");
  f.optional_number("prior", parameter.prior,
                    "standard deviation of its constraint, in units of theta; null: free",
                    k_positive);
}

[[noreturn]] void fail(const std::string& message, const std::string& where) {
  throw Error(ErrorKind::usage, message, where);
}

void check_parameters(const ExperimentOptions& options, const InferenceOptions& inference,
                      const std::string& where) {
  std::vector<std::string> names;
  for (const NuisanceOptions& nuisance : options.nuisances) names.push_back(nuisance.name);
  std::set<std::string> seen;
  for (std::size_t p = 0; p < inference.parameters.size(); ++p) {
    const InferenceParameter& parameter = inference.parameters[p];
    const std::string place = fmt::format("{}/parameters/{}", where, p);
    if (std::find(names.begin(), names.end(), parameter.name) == names.end()) {
      fail(fmt::format("there is no nuisance parameter '{}'{}", parameter.name,
                       cli::did_you_mean(parameter.name, names)),
           place + "/name");
    }
    if (!seen.insert(parameter.name).second) fail("it is there twice", place + "/name");
    const auto& grid = parameter.grid;
    for (std::size_t k = 1; k < grid.size(); ++k) {
      if (grid[k] <= grid[k - 1]) fail("points have to rise", fmt::format("{}/grid/{}", place, k));
    }
    if (grid.size() < 2 || grid.front() > 0.0 || grid.back() < 0.0) {
      fail("expected at least two points with 0 between them, or one of them", place + "/grid");
    }
    try {
      if (parameter.morphing != MorphingKind::code4) {
        morphing_weights(parameter.morphing, grid, grid.front());
      } else if (grid.size() != 3) {
        fail("code4 needs three points", place + "/grid");
      }
    } catch (const Error& error) {
      fail(error.message(), place + "/grid");
    }
  }
}

void check_network(const ExperimentOptions& options, const InferenceOptions& inference,
                   const std::string& where) {
  using enum InferenceObservable;
  const InferenceObservable kind = inference.observable;
  if (kind == summary) {
    if (inference.slope_bins == 0) return;
    fail("the summary has bins of its own: choose score or frozen", where + "/slope_bins");
  }
  if (options.summary.type == SummaryKind::softmax) {
    fail("softmax bins are fixed: choose summary", where + "/observable");
  }
  if (options.summary.type == SummaryKind::linear) {
    if (kind != score && kind != frozen) {
      fail("the linear summary has efficient scores: choose summary, score or frozen",
           where + "/observable");
    }
    if (inference.binning != ScoreBinning::equal_signal) {
      fail("an efficient score has no range: choose equal_signal", where + "/binning");
    }
    return;
  }
  if (kind == score && inference.slope_bins == 0) return;
  const auto& learned = options.learning.parameters;
  const bool knows = options.learning.strategy == Strategy::parameterised &&
                     std::any_of(learned.begin(), learned.end(), [&](const auto& parameter) {
                       return parameter.name == inference.parameters.front().name;
                     });
  if (!knows) {
    fail(fmt::format("needs a network that knows '{}': learning/strategy: parameterised",
                     inference.parameters.front().name),
         where + (kind == score ? "/slope_bins" : "/observable"));
  }
}

void check_inference(const ExperimentOptions& options, const InferenceOptions& inference,
                     const std::string& where) {
  if (inference.parameters.empty()) {
    fail("expected at least one nuisance parameter", where + "/parameters");
  }
  check_parameters(options, inference, where);
  check_network(options, inference, where);
  if (inference.form == DataForm::reference_ratio) {
    fail(
        "n ln(nu / nu_ref) is no likelihood where the histogram of the data changes with theta: "
        "the "
        "reference then depends on theta as well, and mu comes out wrong by several standard "
        "deviations (+0.27 with an uncertainty of 0.09 in the published toy). Use poisson, or "
        "better "
        "a frozen observable",
        where + "/form");
  }
  const auto& grid = inference.parameters.front().grid;
  for (std::size_t t = 0; t < inference.truths.size(); ++t) {
    if (inference.truths[t] < grid.front() || inference.truths[t] > grid.back()) {
      fail("outside of the grid", fmt::format("{}/truths/{}", where, t));
    }
  }
  if (inference.truths.empty()) fail("expected at least one", where + "/truths");
  if (inference.data_range < inference.data_step) {
    fail("expected at least data_step", where + "/data_range");
  }
  const InferenceMeasurement& measurement = inference.measurement;
  if (measurement.events > 0.0 && measurement.low >= measurement.high) {
    fail("expected low < high", where + "/measurement");
  }
  if (inference.template_bootstraps > 0 && options.data.test_sampling == TestSampling::lattice) {
    fail("a lattice has no statistics", where + "/template_bootstraps");
  }
  if (inference.template_bootstraps > 0 && inference.observable == InferenceObservable::unbinned) {
    fail("there are no templates", where + "/template_bootstraps");
  }
}

ordered_json pairs(const std::vector<std::pair<double, double>>& points, const std::string& what) {
  auto first = ordered_json::array(), second = ordered_json::array();
  for (const auto& [x, y] : points) {
    first.push_back(cli::finite(x, what));
    second.push_back(cli::finite(y, what));
  }
  return ordered_json::array({first, second});
}

ordered_json toys_document(const ToySummary& toys) {
  ordered_json document;
  document["toys"] = toys.toys;
  document["failed"] = toys.failed;
  if (toys.failed > 0) document["message"] = toys.message;
  document["bias"] = cli::finite(toys.bias, "bias");
  document["bias_error"] = cli::finite(toys.bias_error, "bias_error");
  document["spread"] = cli::finite(toys.spread, "spread");
  document["half_width"] = cli::finite(toys.half_width, "half_width");
  document["coverage"] = cli::finite(toys.coverage, "coverage");
  document["coverage_error"] = cli::finite(toys.coverage_error, "coverage_error");
  document["theta_bias"] = cli::finite(toys.theta_bias, "theta_bias");
  return document;
}

ordered_json fit_document(const InferenceFit& fit) {
  ordered_json document;
  document["theta"] = fit.theta;
  document["converged"] = fit.converged;
  if (!fit.message.empty()) document["message"] = fit.message;
  document["mu"] = cli::finite(fit.mu_hat, "mu");
  document["theta_hat"] = cli::finite(fit.theta_hat, "theta_hat");
  document["interval"] = {cli::finite(fit.lower, "interval"), cli::finite(fit.upper, "interval")};
  document["half_width"] = cli::finite(fit.half_width, "half_width");
  document["sigma_theta"] = cli::finite(fit.sigma_theta, "sigma_theta");
  document["correlation"] = cli::finite(fit.correlation, "correlation");
  if (fit.frozen_at) document["frozen_at"] = *fit.frozen_at;
  if (fit.toys) document["toys"] = toys_document(*fit.toys);
  if (fit.template_spread) document["template_spread"] = *fit.template_spread;
  document["profile"] = pairs(fit.profile, "profile");
  document["theta_profile"] = pairs(fit.theta_profile, "theta_profile");
  document["contour"] = pairs(fit.contour, "contour");
  return document;
}

}  // namespace

void inference_fields(Fields& f, InferenceOptions& options) {
  f.text("name", options.name, "in the result");
  f.choice("observable", options.observable, k_observables,
           "the experiment's bins; the score at theta = 0; that of each hypothesis; that at the "
           "best fit; or its ratios without bins");
  f.integer("bins", options.bins, "of the score", {.low = 1.0, .high = 10000.0});
  f.choice("binning", options.binning, k_binnings,
           "bins of the score between 0 and 1, or with equal signal");
  f.integer("slope_bins", options.slope_bins,
            "of d logit / d theta in each bin of the score; 0: the score alone",
            {.low = 0.0, .high = 1000.0});
  f.list("parameters", options.parameters, "profiled; the first one is the network's",
         parameter_fields);
  f.object("measurement", "of the first parameter, beside the events", [&](Fields& g) {
    InferenceMeasurement& m = options.measurement;
    g.number("events", m.events, "expected; 0: there is none", k_not_negative);
    g.number("sigma", m.sigma, "width of x ~ N(theta, sigma)", k_positive);
    g.integer("bins", m.bins, "of equal width", {.low = 1.0, .high = 10000.0});
    g.number("low", m.low, "lower end of the bins");
    g.number("high", m.high, "upper end of the bins");
  });
  f.choice("profile", options.profile, k_profiles,
           "theta as a real number, or at the points of its grid alone");
  f.choice("form", options.form, k_forms, "how data enter; reference_ratio is refused");
  f.number("freeze_step", options.freeze_step,
           "the best fit is rounded to multiples of it before the network is frozen", k_positive);
  f.number("data_step", options.data_step,
           "aware: theta between histograms of the data around the best fit", k_positive);
  f.number("data_range", options.data_range,
           "aware: how far from the best fit these histograms, and theta, may be", k_positive);
  f.choice("calibration", options.calibration, k_calibrations, "unbinned: of the logits");
  f.number("mu", options.mu, "signal of the data", k_not_negative);
  f.numbers("truths", options.truths, "theta of the data, of the first parameter");
  f.integer("toys", options.toys, "data sets with fluctuations for each truth",
            {.low = 0.0, .high = 1e7});
  f.integer("template_bootstraps", options.template_bootstraps,
            "bootstraps of the events that templates are made of", {.low = 0.0, .high = 1e6});
}

ordered_json inference_document(const InferenceResult& result) {
  ordered_json document;
  document["name"] = result.name;
  auto fits = ordered_json::array();
  for (const InferenceFit& fit : result.fits) fits.push_back(fit_document(fit));
  document["fits"] = std::move(fits);
  if (result.morphing_error) document["morphing_error"] = *result.morphing_error;
  ordered_json templates;
  templates["theta"] = result.templates.theta;
  ordered_json yields = ordered_json::object();
  for (std::size_t s = 0; s < result.templates.samples.size(); ++s) {
    auto rows = ordered_json::array();
    for (const auto& row : result.templates.yields[s]) {
      auto list = ordered_json::array();
      for (const double value : row) list.push_back(cli::finite(value, "templates"));
      rows.push_back(std::move(list));
    }
    yields[result.templates.samples[s]] = std::move(rows);
  }
  templates["yields"] = std::move(yields);
  document["templates"] = std::move(templates);
  if (!result.warnings.empty()) {
    auto warnings = ordered_json::array();
    for (const Warning& warning : result.warnings) {
      warnings.push_back(warning.where + ": " + warning.message);
    }
    document["warnings"] = std::move(warnings);
  }
  return document;
}

namespace experiment {

void check_inferences(const ExperimentOptions& options) {
  std::set<std::string> names;
  for (std::size_t i = 0; i < options.inferences.size(); ++i) {
    const std::string where = fmt::format("/inferences/{}", i);
    if (options.inferences[i].name.empty()) fail("an inference needs a name", where + "/name");
    if (!names.insert(options.inferences[i].name).second) {
      fail("there is another one of this name", where + "/name");
    }
    check_inference(options, options.inferences[i], where);
  }
}

}  // namespace experiment
}  // namespace slalom
