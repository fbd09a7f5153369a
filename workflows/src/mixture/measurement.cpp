// SPDX-License-Identifier: Apache-2.0
#include "mixture/measurement.hpp"

#include <ATen/ops/tensor.h>
#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <numeric>
#include <optional>
#include <utility>

#include "mixture/mixture_model.hpp"
#include "slalom/core/error.hpp"
#include "slalom/core/hellinger.hpp"
#include "slalom/core/mixture_weights.hpp"
#include "slalom/core/random.hpp"

namespace slalom::mixture {

namespace {

using nlohmann::ordered_json;
using Numbers = std::vector<double>;

/// Keeps the data of the fit apart from other streams of the same seed.
constexpr std::uint32_t k_observed_family = 0x6f627376;
/// Seeds of stages, so that none repeats what another has drawn.
enum StageSeed : std::uint64_t {
  k_of_fit = 1,
  k_of_leave_one_out = 2,
  k_of_toys = 3,
  k_stages = 8
};
/// Simulations that are needed for one of them to be left out.
constexpr std::size_t k_least_left_out = 3;

ordered_json interval_figures(const MixtureInterval& interval) {
  ordered_json figures;
  figures["kappa"] = interval.kappa;
  figures["error"] = interval.error;
  figures["lower"] = interval.lower;
  figures["upper"] = interval.upper;
  figures["lower_95"] = interval.lower_95;
  figures["upper_95"] = interval.upper_95;
  return figures;
}

ordered_json point_figures(const CoveragePoint& point) {
  return {point.nominal, point.coverage, point.error};
}

ordered_json error_figures(const ErrorCoverage& error) {
  ordered_json figures;
  figures["mean"] = error.mean;
  figures["median"] = error.median;
  figures["pull_mean"] = error.pull_mean;
  figures["pull_width"] = error.pull_width;
  figures["coverage_68"] = error.coverage_68;
  figures["coverage_95"] = error.coverage_95;
  return figures;
}

ordered_json coverage_figures(const MixtureCoverage& coverage) {
  ordered_json figures;
  figures["failures"] = coverage.failures;
  figures["mean"] = coverage.mean;
  figures["bias"] = coverage.bias;
  figures["bias_error"] = coverage.bias_error;
  figures["scatter"] = coverage.scatter;
  figures["rms"] = coverage.rms;
  figures["error"] = coverage.error;
  figures["half_width"] = coverage.half_width;
  figures["pull_mean"] = coverage.pull_mean;
  figures["pull_width"] = coverage.pull_width;
  figures["coverage_68"] = coverage.at_68.coverage;
  figures["coverage_68_error"] = coverage.at_68.error;
  figures["coverage_95"] = coverage.at_95.coverage;
  figures["coverage_95_error"] = coverage.at_95.error;
  return figures;
}

double sum_of(const Numbers& values) { return std::accumulate(values.begin(), values.end(), 0.0); }

/// A number of each data set [draws, toys].
Tensor toy_tensor(const MixtureToys& toys, const std::function<double(const MixtureToy&)>& get) {
  Numbers values;
  for (const MixtureToy& toy : toys.results) values.push_back(get(toy));
  return at::tensor(values, at::kDouble)
      .reshape({static_cast<std::int64_t>(toys.draws), static_cast<std::int64_t>(toys.toys)});
}

}  // namespace

Measurement::Measurement(MixtureExperimentOptions options)
    : options_(std::move(options)), simulations_(read_simulations(options_)) {}

double Measurement::true_fraction() const {
  const auto s = static_cast<double>(options_.data.signal_events),
             b = static_cast<double>(options_.data.background_events);
  return s / (s + b);
}

bool Measurement::has_truth() const {
  return options_.data.truth == MixtureTruth::held_out || !simulations_.target[0].empty();
}

ChosenSimulations Measurement::choose(std::uint64_t seed, std::uint64_t draw) const {
  const std::size_t n = simulations_.count;
  const auto k = static_cast<std::size_t>(options_.mixture.simulations);
  const bool held_out = options_.data.truth == MixtureTruth::held_out;
  ChosenSimulations result;
  if (k > 0) {
    result.mixed = draw_simulations(n, k + (held_out ? 1 : 0), seed, draw);
    if (!held_out) return result;
    // One of n that are all taken, in order, is the truth by its draw.
    if (result.mixed.size() == n) {
      std::rotate(result.mixed.begin(),
                  result.mixed.begin() + static_cast<std::ptrdiff_t>((draw + 1) % n),
                  result.mixed.end());
    }
    result.truth = result.mixed.back();
    result.mixed.pop_back();
    return result;
  }
  result.mixed.resize(n);
  std::iota(result.mixed.begin(), result.mixed.end(), std::size_t{0});
  if (!held_out) return result;
  result.truth = draw_simulations(n, 1, seed, draw).front();
  result.mixed.erase(result.mixed.begin() + static_cast<std::ptrdiff_t>(result.truth));
  return result;
}

Numbers Measurement::truth(std::size_t process, const ChosenSimulations& chosen) const {
  return options_.data.truth == MixtureTruth::held_out
             ? simulations_.held_out(process, chosen.truth)
             : simulations_.target[process];
}

MixtureToysOptions Measurement::toy_options(std::size_t draws, std::size_t toys) const {
  MixtureToysOptions result;
  result.draws = draws;
  result.toys = toys;
  result.signal_events = static_cast<std::size_t>(options_.data.signal_events);
  result.background_events = static_cast<std::size_t>(options_.data.background_events);
  result.interval = interval_options(options_);
  result.flags = options_.mixture.prior == MixturePrior::population;
  return result;
}

// ------------------------------------------------------------------------------------------------
// The fit

ordered_json Measurement::process_figures(std::size_t process, const TemplateMixture& mixture,
                                          const MixtureFit& best,
                                          const ChosenSimulations& chosen) const {
  const MixtureWeights weights =
      mixture_weights(mixture, best, process, has_last_weight(options_.mixture));
  ordered_json figures;
  figures["parameters"] = parameters_of(options_.mixture);
  figures["value"] = weights.value;
  figures["error"] = weights.error;
  if (!weights.prior_mean.empty()) {
    figures["prior_mean"] = weights.prior_mean;
    figures["prior_width"] = weights.prior_width;
  }
  ordered_json& names = figures["simulations"] = ordered_json::array();
  for (std::size_t i : chosen.mixed) names.push_back(simulations_.names[process][i]);
  if (!simulations_.observed.empty() || !has_truth()) return figures;
  const Numbers true_shape = truth(process, chosen);
  Numbers fitted = mixture.density(process, best.parameters);
  for (std::size_t i = 0; i < fitted.size(); ++i) fitted[i] *= simulations_.measure[i];
  ordered_json& distance = figures["distance"];
  distance["fitted"] = hellinger_distance(fitted, true_shape);
  distance["simulations"] = ordered_json::array();
  for (std::size_t i : chosen.mixed) {
    distance["simulations"].push_back(
        hellinger_distance(simulations_.contents(process, i), true_shape));
  }
  return figures;
}

ordered_json Measurement::data_figures(const TemplateMixture& mixture, const MixtureFit& best,
                                       const ChosenSimulations& chosen) const {
  const double kappa = best.kappa();
  const auto distance = [&](const Numbers& signal, const Numbers& background) {
    Numbers sum;
    for (std::size_t i = 0; i < signal.size(); ++i) {
      sum.push_back(std::max(kappa * signal[i] + (1.0 - kappa) * background[i], 0.0));
    }
    return hellinger_distance(sum, mixture.data());
  };
  Numbers fitted[2];
  for (std::size_t p = 0; p < 2; ++p) {
    fitted[p] = mixture.density(p, best.parameters);
    for (std::size_t i = 0; i < fitted[p].size(); ++i) fitted[p][i] *= simulations_.measure[i];
  }
  ordered_json figures;
  figures["fitted"] = distance(fitted[0], fitted[1]);
  figures["simulations"] = ordered_json::array();
  for (std::size_t i : chosen.mixed) {
    figures["simulations"].push_back(
        distance(simulations_.contents(0, i), simulations_.contents(1, i)));
  }
  return figures;
}

StageOutput Measurement::fit() const {
  const ChosenSimulations chosen = choose(options_.data.seed * k_stages + k_of_fit, 0);
  TemplateMixture mixture = make_mixture(simulations_, chosen.mixed, options_.mixture,
                                         options_.seed * k_stages + k_of_fit);
  std::optional<double> true_kappa;
  Numbers data = simulations_.observed;
  if (data.empty()) {
    RandomStream random(options_.data.seed, 0, k_observed_family);
    data = draw_mixture_data(truth(0, chosen), truth(1, chosen),
                             static_cast<std::size_t>(options_.data.signal_events),
                             static_cast<std::size_t>(options_.data.background_events), random);
    true_kappa = true_fraction();
  }
  StageOutput output;
  ordered_json& figures = output.figures;
  figures["events"] = sum_of(data);
  figures["outside"] = simulations_.outside;
  mixture.set_data(std::move(data));
  const MixtureIntervalOptions how = interval_options(options_);
  const MixtureFit best = slalom::fit(mixture, how.fit);
  const MixtureInterval interval = mixture_interval(mixture, best, how, true_kappa);
  figures["converged"] = interval.valid;
  if (!interval.valid) figures["message"] = interval.message;
  if (true_kappa) figures["truth"] = *true_kappa;
  figures["best_fit"] = best.parameters.empty() ? 0.0 : best.kappa();
  figures["laplace"] = best.laplace_error();
  figures["sandwich"] = best.sandwich_error();
  if (!interval.valid) return output;
  figures["interval"] = interval_figures(interval);
  if (interval.needed) figures["interval"]["needed"] = *interval.needed;
  if (how.error == MixtureError::hmc) {
    figures["hmc"] = {
        {"r_hat", interval.r_hat}, {"ess", interval.ess}, {"divergences", interval.divergences}};
  }
  if (options_.mixture.prior == MixturePrior::population && best.converged() &&
      best.laplace_error() > 0.0) {
    const PullTest pulls = pull_test(mixture, best);
    figures["pulls"] = {{"chi2", pulls.chi2},
                        {"degrees", pulls.degrees},
                        {"p_value", pulls.p_value},
                        {"chi2_prior", pulls.chi2_prior},
                        {"p_prior", pulls.p_prior}};
  }
  figures["signal"] = process_figures(0, mixture, best, chosen);
  figures["background"] = process_figures(1, mixture, best, chosen);
  figures["distance"] = data_figures(mixture, best, chosen);
  return output;
}

// ------------------------------------------------------------------------------------------------
// Coverage

bool Measurement::can_leave_one_out() const {
  const auto k = static_cast<std::size_t>(options_.mixture.simulations);
  return (k > 0 ? k : simulations_.count) >= k_least_left_out;
}

ordered_json Measurement::left_out_row(std::size_t k, double strength,
                                       const std::vector<std::size_t>& all,
                                       const std::function<bool(std::size_t)>& progress) const {
  MixtureModelOptions model = options_.mixture;
  model.strength = strength;
  MixtureToysOptions run =
      toy_options(all.size(), static_cast<std::size_t>(options_.leave_one_out.toys));
  run.seed = options_.seed * k_stages + k_of_leave_one_out;
  run.progress = [&](std::size_t done, std::size_t) { return progress(done); };
  const MixtureToys toys = run_mixture_toys(
      [&](std::size_t draw) {
        std::vector<std::size_t> others;
        for (std::size_t j = 1; j <= k; ++j) others.push_back(all[(draw + j) % all.size()]);
        return MixtureDraw{make_mixture(simulations_, others, model, run.seed),
                           simulations_.contents(0, all[draw]), simulations_.contents(1, all[draw]),
                           simulations_.measure};
      },
      run);
  ordered_json row;
  row["simulations"] = k;
  row["strength"] = strength;
  const ordered_json figures = coverage_figures(mixture_coverage(toys));
  for (const auto& item : figures.items()) row[item.key()] = item.value();
  return row;
}

StageOutput Measurement::leave_one_out(const StageProgress& progress) const {
  const LeaveOneOutRunOptions& run = options_.leave_one_out;
  const std::vector<std::size_t> all = choose(options_.data.seed * k_stages + k_of_fit, 0).mixed;
  std::vector<std::int64_t> sizes = run.simulations;
  if (sizes.empty()) sizes.push_back(static_cast<std::int64_t>(all.size()) - 1);
  Numbers strengths = run.strengths;
  if (strengths.empty()) strengths.push_back(options_.mixture.strength);
  StageOutput output;
  ordered_json rows = ordered_json::array();
  const auto total = static_cast<std::int64_t>(sizes.size() * strengths.size() * all.size());
  std::int64_t before = 0;
  for (std::size_t s = 0; s < sizes.size(); ++s) {
    if (sizes[s] >= static_cast<std::int64_t>(all.size())) {
      throw Error(ErrorKind::usage,
                  fmt::format("{} simulations are fitted, of which {} are left", all.size(),
                              all.size() - 1),
                  fmt::format("/leave_one_out/simulations/{}", s));
    }
    for (const double strength : strengths) {
      rows.push_back(
          left_out_row(static_cast<std::size_t>(sizes[s]), strength, all, [&](std::size_t done) {
            return !progress || progress(before + static_cast<std::int64_t>(done), total);
          }));
      before += static_cast<std::int64_t>(all.size());
    }
  }
  // The shortest intervals of those that cover what they claim, as far as so few truths can tell.
  output.figures["rows"] = rows;
  output.figures["chosen"] = nullptr;
  double least = HUGE_VAL;
  constexpr double k_claimed = 0.6827;
  for (const auto& row : rows) {
    const auto covered =
        row.at("coverage_68").get<double>() + row.at("coverage_68_error").get<double>();
    const auto width = row.at("half_width").get<double>();
    if (covered < k_claimed || width >= least) continue;
    least = width;
    output.figures["chosen"] = {{"simulations", row.at("simulations")},
                                {"strength", row.at("strength")}};
  }
  return output;
}

StageOutput Measurement::toys(const StageProgress& progress) const {
  MixtureToysOptions run = toy_options(static_cast<std::size_t>(options_.toys.draws),
                                       static_cast<std::size_t>(options_.toys.toys));
  run.seed = options_.seed * k_stages + k_of_toys;
  run.progress = [&](std::size_t done, std::size_t all) {
    return !progress || progress(static_cast<std::int64_t>(done), static_cast<std::int64_t>(all));
  };
  // All simulations make the same mixture, whatever the draw; the truth is among them then.
  std::optional<TemplateMixture> same;
  std::vector<std::size_t> everything;
  if (options_.mixture.simulations == 0) {
    everything.resize(simulations_.count);
    std::iota(everything.begin(), everything.end(), std::size_t{0});
    same = make_mixture(simulations_, everything, options_.mixture, run.seed);
  }
  const MixtureToys toys = run_mixture_toys(
      [&](std::size_t draw) {
        const ChosenSimulations chosen = choose(run.seed, draw);
        return MixtureDraw{
            same ? *same : make_mixture(simulations_, chosen.mixed, options_.mixture, run.seed),
            truth(0, chosen), truth(1, chosen), simulations_.measure};
      },
      run);
  const MixtureCoverage coverage = mixture_coverage(toys, options_.toys.levels);
  StageOutput output;
  ordered_json& figures = output.figures;
  figures["draws"] = toys.draws;
  figures["toys"] = toys.toys;
  figures["truth"] = toys.truth;
  const ordered_json summary = coverage_figures(coverage);
  for (const auto& item : summary.items()) figures[item.key()] = item.value();
  figures["sandwich"] = error_figures(coverage.sandwich);
  figures["laplace"] = error_figures(coverage.laplace);
  figures["curve"] = ordered_json::array();
  for (const CoveragePoint& point : coverage.curve) {
    figures["curve"].push_back(point_figures(point));
  }
  if (run.flags) figures["flagged"] = coverage.flagged;
  figures["distance"] = {{"signal", coverage.distance[0]}, {"background", coverage.distance[1]}};
  NamedTensors& tensors = output.tensors;
  const auto add = [&](const char* name, const std::function<double(const MixtureToy&)>& get) {
    tensors[name] = toy_tensor(toys, get);
  };
  add("valid", [](const MixtureToy& t) { return t.valid ? 1.0 : 0.0; });
  add("kappa", [](const MixtureToy& t) { return t.interval.kappa; });
  add("error", [](const MixtureToy& t) { return t.interval.error; });
  add("lower", [](const MixtureToy& t) { return t.interval.lower; });
  add("upper", [](const MixtureToy& t) { return t.interval.upper; });
  add("needed", [](const MixtureToy& t) { return t.interval.needed.value_or(0.0); });
  add("best_fit", [](const MixtureToy& t) { return t.best; });
  add("laplace", [](const MixtureToy& t) { return t.laplace; });
  add("sandwich", [](const MixtureToy& t) { return t.sandwich; });
  add("p_value", [](const MixtureToy& t) { return t.p_value; });
  add("signal_distance", [](const MixtureToy& t) { return t.distance[0]; });
  add("background_distance", [](const MixtureToy& t) { return t.distance[1]; });
  return output;
}

}  // namespace slalom::mixture
