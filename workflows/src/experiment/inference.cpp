// SPDX-License-Identifier: Apache-2.0
#include "experiment/inference.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/tensor.h>
#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <map>
#include <memory>

#include "experiment/data.hpp"
#include "experiment/inference_channel.hpp"
#include "experiment/to_vector.hpp"
#include "slalom/core/random.hpp"
#include "slalom/modules/calibration.hpp"

namespace slalom::experiment {

namespace {

constexpr double k_over_constrained = 0.2;  // of its prior
constexpr double k_morphing_error = 0.2;    // of a bin, with a point left out
constexpr int k_freezes = 5;                // until the best fit stays where the network is
constexpr std::int64_t k_slope_bins = 6;    // of the fit that says where to freeze
constexpr std::uint32_t k_family = 0x1F38;  // random numbers beside those of events

/// Evenly spaced values, ends included.
std::vector<double> range(double low, double high, std::size_t n) {
  std::vector<double> result(n);
  for (std::size_t i = 0; i < n; ++i) {
    result[i] = low + (high - low) * static_cast<double>(i) / static_cast<double>(n - 1);
  }
  result.back() = high;  // without rounding: it may be a bound
  return result;
}

/// Templates with everything that the data are compared with them in.
struct Compiled {
  View view;                                      ///< frozen, or the experiment's
  std::vector<View> aware;                        ///< at each point of the first grid
  std::vector<View> data_views;                   ///< at each of these theta
  std::vector<double> data_grid;                  ///< rising
  std::unique_ptr<MorphedLikelihood> likelihood;  ///< data are those of the last use
  double signal = 0.0, background = 0.0;          ///< unbinned: expected events
  std::vector<Tensor> logits;                     ///< unbinned: of the events of `logits_at`
  double logits_at = 0.0;                         ///< theta
  std::vector<PlattCalibration> platt;            ///< unbinned, of each part
  std::vector<BinnedCalibration> binned;          ///< unbinned, of each part
};

/// One toy.
struct ToyFit {
  bool good = false;         ///< both fits converged
  std::string message = {};  ///< why not
  double mu = 0.0, theta = 0.0, width = 0.0;
  double rise = 0.0;  ///< of -2 log L at the true mu
};

/// From a start near the minimum; from the whole grid if that does not converge.
MorphedFit fit_near(const MorphedLikelihood& likelihood, MorphedFitOptions options) {
  MorphedFit best = fit(likelihood, options);
  if (best.converged() || options.scan) return best;
  options.scan = true;
  return fit(likelihood, options);
}

/// One inference.
class Inference {
 public:
  Inference(InferenceEvents& events, const InferenceOptions& options)
      : events_(events), o_(options), name_(options.parameters.front().name) {}

  InferenceResult run();

 private:
  bool freezes() const {
    return o_.observable == InferenceObservable::frozen ||
           o_.observable == InferenceObservable::unbinned || local_data();
  }
  bool aware() const { return o_.observable == InferenceObservable::aware; }
  bool unbinned() const { return o_.observable == InferenceObservable::unbinned; }
  bool on_grid() const { return o_.profile == InferenceProfile::grid; }
  // Data are histogrammed around the best fit alone.
  bool local_data() const { return aware() && !on_grid(); }
  const std::vector<double>& grid() const { return o_.parameters.front().grid; }

  double freeze_point(const Dataset& data);
  double rounded(double theta) const;
  Compiled& compiled(const InferenceOptions& what, std::map<double, Compiled>& kept, double theta);
  Compiled compile(const InferenceOptions& what, double theta);
  void compile_data_views(Compiled& c, double theta) const;
  void calibrate(Compiled& c) const;
  std::unique_ptr<MorphedLikelihood> likelihood_of(const InferenceOptions& what, Compiled& c,
                                                   double theta,
                                                   const std::vector<Tensor>& factors = {});
  std::vector<std::vector<double>> templates(Compiled& c, bool aware, const std::string& name,
                                             const std::vector<double>& at,
                                             const std::vector<Tensor>& factors);
  void set_data(Compiled& c, const Dataset& data);
  MorphedLikelihood unbinned_likelihood(Compiled& c, const Dataset& data) const;
  MorphedLikelihood with_externals(const MorphedLikelihood& likelihood, double truth,
                                   RandomStream* random) const;
  MorphedChannel measurement(double truth, RandomStream* random) const;

  InferenceFit fit_asimov(double truth);
  void describe(const MorphedLikelihood& likelihood, InferenceFit& result) const;
  void describe_grid(const MorphedLikelihood& likelihood, InferenceFit& result) const;
  MorphedFitOptions start_at(double theta) const;
  ToyFit fit_toy(const Dataset& data, RandomStream& random);
  ToySummary toys(double truth);
  double spread_of_templates(Compiled& c, const Dataset& data, double truth);
  void keep_templates(Compiled& c, InferenceResult& result);

  InferenceEvents& events_;
  const InferenceOptions& o_;
  std::string name_;
  InferenceOptions first_;                 // says where to freeze
  std::map<double, Compiled> first_kept_;  // by theta
  std::map<double, Compiled> kept_;        // by theta
};

double Inference::rounded(double theta) const {
  return std::clamp(std::round(theta / o_.freeze_step) * o_.freeze_step, grid().front(),
                    grid().back());
}

Compiled& Inference::compiled(const InferenceOptions& what, std::map<double, Compiled>& kept,
                              double theta) {
  const auto found = kept.find(theta);
  if (found != kept.end()) return found->second;
  return kept.emplace(theta, compile(what, theta)).first->second;
}

/// Where the best fit of these data is, in steps: the network is frozen at 0, then at the best fit,
/// until that stays. The histogram of logit and derivative tells directions of theta apart that are
/// alike in the score.
double Inference::freeze_point(const Dataset& data) {
  double theta = 0.0;
  for (int i = 0; i < k_freezes; ++i) {
    const bool same = o_.observable == InferenceObservable::frozen && o_.slope_bins > 0;
    Compiled& c = compiled(same ? o_ : first_, same ? kept_ : first_kept_, theta);
    c.likelihood->set_data(0, events_.count(c.view, name_, data));
    MorphedFitOptions options = start_at(theta);
    options.scan = i == 0;
    const MorphedFit best = fit_near(*c.likelihood, options);
    const double next = rounded(best.parameters[1]);
    if (next == theta) break;
    theta = next;
  }
  return theta;
}

Compiled Inference::compile(const InferenceOptions& what, double theta) {
  Compiled c;
  c.view = what.observable == InferenceObservable::summary ? events_.summary()
                                                           : events_.frozen(what, theta);
  if (what.observable == InferenceObservable::unbinned) {
    calibrate(c);
    return c;
  }
  if (what.observable == InferenceObservable::aware) {
    for (const double z : what.parameters.front().grid) c.aware.push_back(events_.frozen(what, z));
    compile_data_views(c, theta);
  }
  c.likelihood = likelihood_of(what, c, theta);
  return c;
}

/// Observables at the theta between which histograms of the data are interpolated.
void Inference::compile_data_views(Compiled& c, double theta) const {
  if (on_grid()) {
    c.data_grid = grid();
  } else {
    const int points = static_cast<int>(std::floor(o_.data_range / o_.data_step + 1e-9));
    for (int k = -points; k <= points; ++k) {
      const double z = theta + k * o_.data_step;
      if (z >= grid().front() && z <= grid().back()) c.data_grid.push_back(z);
    }
  }
  for (const double z : c.data_grid) c.data_views.push_back(events_.frozen(o_, z));
}

/// Expected events, and what makes ratios of logits.
void Inference::calibrate(Compiled& c) const {
  Tensor signal_sum, background_sum;
  for (std::size_t part = 0; part < events_.parts().size(); ++part) {
    const EventBatch& test = events_.test_at(part, name_, c.view.theta);
    Pipeline stages = events_.parts()[part].stages;
    const Tensor passed =
        test.weights * stages->passes(test, c.view.observables[part].theta()).to(at::kDouble);
    const Tensor is_signal = (test.labels == 1).to(at::kDouble);
    c.signal += (passed * is_signal).sum().item<double>();
    c.background += (passed * (1.0 - is_signal)).sum().item<double>();
    const EventBatch events = events_.calibration_at(part, name_, c.view.theta);
    const Tensor logit = c.view.observables[part].evaluate(events).logit;
    if (o_.calibration == InferenceCalibration::platt) {
      c.platt.push_back(platt_calibration(logit, events.labels, events.weights));
    } else if (o_.calibration == InferenceCalibration::binned) {
      c.binned.push_back(binned_calibration(logit, events.labels, events.weights));
    }
  }
}

/// Sums of each sample at each point [samples][G * B].
std::vector<std::vector<double>> Inference::templates(Compiled& c, bool aware,
                                                      const std::string& name,
                                                      const std::vector<double>& at,
                                                      const std::vector<Tensor>& factors) {
  std::vector<std::vector<double>> result(events_.samples().size());
  for (std::size_t k = 0; k < at.size(); ++k) {
    View& view = aware ? c.aware[k] : c.view;
    const Tensor sums = events_.fill(view, name, at[k], factors);
    for (std::size_t s = 0; s < result.size(); ++s) {
      const std::vector<double> row = to_vector(sums[static_cast<std::int64_t>(s)][0]);
      result[s].insert(result[s].end(), row.begin(), row.end());
    }
  }
  return result;
}

std::unique_ptr<MorphedLikelihood> Inference::likelihood_of(const InferenceOptions& what,
                                                            Compiled& c, double theta,
                                                            const std::vector<Tensor>& factors) {
  const bool is_aware = what.observable == InferenceObservable::aware;
  const Tensor nominal = events_.fill(c.view, name_, 0.0, factors);
  MorphedChannel channel{.name = what.name};
  const std::string& signal = events_.options().data.signal;
  for (const std::string& sample : events_.samples()) {
    channel.samples.push_back({.name = sample, .signal = sample == signal});
  }
  std::vector<MorphedParameter> nuisances;
  for (std::size_t p = 0; p < what.parameters.size(); ++p) {
    const InferenceParameter& parameter = what.parameters[p];
    const auto sums = templates(c, is_aware && p == 0, parameter.name, parameter.grid, factors);
    for (std::size_t s = 0; s < channel.samples.size(); ++s) {
      // With an observable of its own at each theta, every sample moves.
      const bool moves =
          (is_aware && p == 0) || events_.acts_on(parameter.name, channel.samples[s].name);
      if (!moves) continue;
      channel.samples[s].effects.push_back(
          {p, Morphing(parameter.morphing, parameter.grid, sums[s])});
    }
    MorphedParameter nuisance{parameter.name, 0.0, parameter.grid.front(), parameter.grid.back()};
    if (p == 0) nuisance.init = std::clamp(theta, nuisance.low, nuisance.high);
    if (p == 0 && is_aware && !on_grid()) {
      nuisance.low = c.data_grid.front();
      nuisance.high = c.data_grid.back();
    }
    if (parameter.prior) {
      nuisance.mean = 0.0;
      nuisance.sigma = parameter.prior;
    }
    nuisances.push_back(nuisance);
  }
  for (std::size_t s = 0; s < channel.samples.size(); ++s) {
    MorphedSample& sample = channel.samples[s];
    if (sample.effects.size() == 1) continue;
    sample.nominal = to_vector(nominal[static_cast<std::int64_t>(s)][0]);
  }
  channel.form = what.form;
  channel.data.assign(static_cast<std::size_t>(c.view.bins), 0.0);
  const ModelSource& model = events_.options().model;
  if (model.mc_statistics) {
    const Tensor all = events_.fill(c.view, name_, c.view.theta).sum(0);
    const std::vector<double> sum = to_vector(all[0]), square = to_vector(all[1]);
    for (std::size_t b = 0; b < sum.size(); ++b) {
      channel.mc_relative.push_back(sum[b] > 0.0 ? std::sqrt(model.mc_factor * square[b]) / sum[b]
                                                 : 0.0);
    }
  }
  const double high = 10.0 * std::max(o_.mu, 1.0);
  std::vector<MorphedChannel> channels{std::move(channel)};
  return std::make_unique<MorphedLikelihood>(
      MorphedParameter{events_.options().model.poi, o_.mu, 0.0, high}, std::move(nuisances),
      std::move(channels));
}

/// Near the best fit where that is known.
MorphedFitOptions Inference::start_at(double theta) const {
  MorphedFitOptions options;
  if (unbinned() || !freezes()) return options;
  options.init = {o_.mu, theta};
  for (std::size_t p = 1; p < o_.parameters.size(); ++p) options.init.push_back(0.0);
  options.scan = false;
  return options;
}

void Inference::set_data(Compiled& c, const Dataset& data) {
  if (!aware()) {
    c.likelihood->set_data(0, events_.count(c.view, name_, data));
    return;
  }
  std::vector<double> counts;
  for (View& view : c.data_views) {
    const std::vector<double> row = events_.count(view, name_, data);
    counts.insert(counts.end(), row.begin(), row.end());
  }
  const MorphingKind kind = on_grid() ? MorphingKind::linear : MorphingKind::spline;
  c.likelihood->set_data(0, MorphedEffect{0, Morphing(kind, c.data_grid, counts)});
}

/// Events as bins, with their densities; mu alone.
MorphedLikelihood Inference::unbinned_likelihood(Compiled& c, const Dataset& data) const {
  if (c.logits.empty() || c.logits_at != data.truth) {
    c.logits.clear();
    for (std::size_t part = 0; part < events_.parts().size(); ++part) {
      const EventBatch& test = events_.test_at(part, name_, data.truth);
      const Tensor logit = c.view.observables[part].evaluate(test).logit;
      c.logits.push_back((!c.platt.empty()    ? c.platt[part](logit)
                          : !c.binned.empty() ? c.binned[part](logit)
                                              : logit)
                             .to(at::kCPU)
                             .contiguous());
    }
    c.logits_at = data.truth;
  }
  MorphedChannel channel{.name = o_.name};
  MorphedSample signal{.name = "signal", .signal = true}, background{.name = "background"};
  for (std::size_t part = 0; part < events_.parts().size(); ++part) {
    const EventBatch& test = events_.test_at(part, name_, data.truth);
    Pipeline stages = events_.parts()[part].stages;
    const Tensor passed =
        stages->passes(test, c.view.observables[part].theta()).to(at::kCPU).contiguous();
    const auto* pass = passed.data_ptr<bool>();
    const auto* logit = c.logits[part].data_ptr<double>();
    const auto add = [&](std::int64_t event, double weight) {
      if (!pass[event] || weight == 0.0) return;
      signal.nominal.push_back(c.signal * std::exp(logit[event]));
      background.nominal.push_back(c.background);
      channel.data.push_back(weight);
    };
    if (data.drawn.empty()) {
      const std::vector<double> weights = to_vector(data.weights[part]);
      for (std::size_t i = 0; i < weights.size(); ++i)
        add(static_cast<std::int64_t>(i), weights[i]);
    } else {
      for (const std::int64_t event : data.drawn[part]) add(event, 1.0);
    }
  }
  channel.samples = {std::move(signal), std::move(background)};
  channel.integrals = {{.name = "signal", .signal = true, .nominal = {c.signal}},
                       {.name = "background", .nominal = {c.background}}};
  std::vector<MorphedChannel> channels;
  channels.push_back(std::move(channel));
  return {MorphedParameter{events_.options().model.poi, o_.mu, 0.0, 10.0 * std::max(o_.mu, 1.0)},
          {},
          std::move(channels)};
}

/// \param random for fluctuations, or null
MorphedChannel Inference::measurement(double truth, RandomStream* random) const {
  constexpr std::size_t k_points = 41;
  const InferenceMeasurement& m = o_.measurement;
  AuxiliaryMeasurement options{.nuisance = 0, .truth = truth, .sigma = m.sigma, .events = m.events};
  options.edges = range(m.low, m.high, static_cast<std::size_t>(m.bins) + 1);
  options.grid = range(grid().front(), grid().back(), k_points);
  MorphedChannel channel = auxiliary_measurement(options);
  if (random != nullptr) {
    for (double& n : channel.data) n = random->poisson(n);
  }
  return channel;
}

/// The same with the measurement and the constraints' data. Without fluctuations constraints are
/// at 0, as is published; with fluctuations their data scatter about the truth.
MorphedLikelihood Inference::with_externals(const MorphedLikelihood& likelihood, double truth,
                                            RandomStream* random) const {
  std::vector<MorphedParameter> nuisances(likelihood.parameters().begin() + 1,
                                          likelihood.parameters().end());
  for (std::size_t p = 0; random != nullptr && p < nuisances.size(); ++p) {
    if (!nuisances[p].sigma) continue;
    nuisances[p].mean = (p == 0 ? truth : 0.0) + *nuisances[p].sigma * random->normal();
  }
  std::vector<MorphedChannel> channels = likelihood.channels();
  if (o_.measurement.events > 0.0 && !nuisances.empty()) {
    channels.push_back(measurement(truth, random));
  }
  return {likelihood.parameters().front(), std::move(nuisances), std::move(channels)};
}

void Inference::describe_grid(const MorphedLikelihood& likelihood, InferenceFit& result) const {
  GridProfile profiled = grid_profile(likelihood, range(0.0, 2.0 * o_.mu, 41), grid());
  result.converged = profiled.interval.lower.converged && profiled.interval.upper.converged;
  if (!result.converged) result.message = "the interval was not found";
  result.mu_hat = profiled.mu;
  result.theta_hat = profiled.z;
  result.lower = profiled.interval.lower.value;
  result.upper = profiled.interval.upper.value;
  result.half_width = profiled.half_width();
  for (std::size_t i = 0; i < profiled.mu_values.size(); ++i) {
    result.profile.emplace_back(profiled.mu_values[i], profiled.delta_twice_nll[i]);
  }
}

void Inference::describe(const MorphedLikelihood& likelihood, InferenceFit& result) const {
  constexpr std::size_t k_points = 41;
  constexpr double k_widths = 3.0;
  const MorphedFit best = fit_near(likelihood, start_at(result.frozen_at.value_or(0.0)));
  result.mu_hat = best.parameters.front();
  result.converged = best.converged();
  result.message = best.message;
  const bool two = best.parameters.size() > 1;
  result.theta_hat = two ? best.parameters[1] : result.frozen_at.value_or(0.0);
  if (!best.converged()) return;
  const Interval interval = profile_interval(likelihood, best, 0);
  result.lower = interval.lower.value;
  result.upper = interval.upper.value;
  result.half_width = 0.5 * (result.upper - result.lower);
  if (!interval.lower.converged || !interval.upper.converged) {
    result.converged = false;
    result.message =
        "the interval was not found: " + interval.lower.message + interval.upper.message;
    return;
  }
  result.message.clear();
  const auto curve = [&](std::size_t p, double centre, double width) {
    const MorphedParameter& parameter = likelihood.parameters()[p];
    const std::vector<double> values =
        range(std::max(parameter.low, centre - k_widths * width),
              std::min(parameter.high, centre + k_widths * width), k_points);
    const MorphedProfile profiled = slalom::profile(likelihood, best, p, values);
    std::vector<std::pair<double, double>> points;
    for (std::size_t i = 0; i < profiled.values.size(); ++i) {
      if (profiled.fits[i].converged()) {
        points.emplace_back(profiled.values[i], profiled.delta_twice_nll[i]);
      }
    }
    return points;
  };
  result.profile = curve(0, result.mu_hat, result.half_width);
  if (!two || !(best.errors[1] > 0.0)) return;
  result.sigma_theta = best.errors[1];
  result.correlation =
      best.errors[0] > 0.0 ? best.covariance[1] / (best.errors[0] * best.errors[1]) : 0.0;
  result.theta_profile = curve(1, result.theta_hat, result.sigma_theta);
  for (const ContourPoint& point : contour(likelihood, best, 0, 1)) {
    if (point.converged) result.contour.emplace_back(point.x, point.y);
  }
}

InferenceFit Inference::fit_asimov(double truth) {
  InferenceFit result;
  result.theta = truth;
  const Dataset data = events_.asimov(name_, truth, o_.mu);
  const double theta = freezes() ? freeze_point(data) : 0.0;
  if (freezes()) result.frozen_at = theta;
  Compiled& c = compiled(o_, kept_, theta);
  if (unbinned()) {
    describe(unbinned_likelihood(c, data), result);
  } else {
    set_data(c, data);
    const MorphedLikelihood likelihood = with_externals(*c.likelihood, truth, nullptr);
    if (on_grid()) {
      describe_grid(likelihood, result);
    } else {
      describe(likelihood, result);
    }
    if (o_.template_bootstraps > 0) result.template_spread = spread_of_templates(c, data, truth);
  }
  if (o_.toys > 0) result.toys = toys(truth);
  return result;
}

/// One toy: fitted freely, and at the true mu.
ToyFit Inference::fit_toy(const Dataset& data, RandomStream& random) {
  ToyFit result;
  result.theta = freezes() ? freeze_point(data) : 0.0;
  Compiled& c = compiled(o_, kept_, result.theta);
  if (!unbinned()) set_data(c, data);
  const MorphedLikelihood likelihood = unbinned()
                                           ? unbinned_likelihood(c, data)
                                           : with_externals(*c.likelihood, data.truth, &random);
  if (on_grid()) {
    const GridProfile profiled = grid_profile(likelihood, {o_.mu}, grid());
    result.good = profiled.interval.lower.converged && profiled.interval.upper.converged;
    if (!result.good) result.message = "the interval was not found";
    result.mu = profiled.mu;
    result.theta = profiled.z;
    result.width = profiled.half_width();
    result.rise = profiled.delta_twice_nll.front();
    return result;
  }
  MorphedFitOptions options = start_at(result.theta);
  const MorphedFit best = fit_near(likelihood, options);
  options.init = best.parameters;
  options.init.front() = o_.mu;
  options.fixed = {{0, o_.mu}};
  options.scan = false;
  const MorphedFit held = fit_near(likelihood, options);
  result.good = best.converged() && held.converged();
  if (!result.good) result.message = best.converged() ? held.message : best.message;
  result.mu = best.parameters.front();
  if (best.parameters.size() > 1) result.theta = best.parameters[1];
  result.width = best.errors.front();
  result.rise = held.twice_nll - best.twice_nll;
  return result;
}

ToySummary Inference::toys(double truth) {
  ToySummary summary;
  const Dataset asimov = events_.asimov(name_, truth, o_.mu);
  double sum = 0.0, squares = 0.0, widths = 0.0, thetas = 0.0;
  std::int64_t covered = 0;
  for (std::int64_t toy = 0; toy < o_.toys; ++toy) {
    const auto number = static_cast<std::uint64_t>(toy);
    RandomStream random(events_.options().data.seed, number, k_family);
    const ToyFit found = fit_toy(events_.draw(asimov, number), random);
    if (!found.good) {
      if (summary.failed == 0) summary.message = found.message;
      ++summary.failed;
      continue;
    }
    ++summary.toys;
    sum += found.mu - o_.mu;
    squares += (found.mu - o_.mu) * (found.mu - o_.mu);
    widths += found.width;
    thetas += found.theta - truth;
    if (found.rise <= 1.0) ++covered;
  }
  const auto n = static_cast<double>(summary.toys);
  if (summary.toys == 0) return summary;
  summary.bias = sum / n;
  summary.spread =
      n > 1.0 ? std::sqrt(std::max(squares / n - summary.bias * summary.bias, 0.0) * n / (n - 1.0))
              : 0.0;
  summary.bias_error = summary.spread / std::sqrt(n);
  summary.half_width = widths / n;
  summary.theta_bias = thetas / n;
  summary.coverage = static_cast<double>(covered) / n;
  summary.coverage_error = std::sqrt(summary.coverage * (1.0 - summary.coverage) / n);
  return summary;
}

double Inference::spread_of_templates(Compiled& c, const Dataset& data, double truth) {
  double sum = 0.0, squares = 0.0;
  std::int64_t n = 0;
  for (std::int64_t b = 0; b < o_.template_bootstraps; ++b) {
    std::vector<Tensor> factors;
    for (std::size_t part = 0; part < events_.parts().size(); ++part) {
      factors.push_back(events_.bootstrap_counts(part, b));
    }
    Compiled other;
    other.view = c.view;
    other.aware = c.aware;
    other.data_views = c.data_views;
    other.data_grid = c.data_grid;
    other.likelihood = likelihood_of(o_, other, c.view.theta, factors);
    set_data(other, data);
    const MorphedLikelihood likelihood = with_externals(*other.likelihood, truth, nullptr);
    double mu = 0.0;
    if (on_grid()) {
      mu = grid_profile(likelihood, {o_.mu}, grid()).mu;
    } else {
      const MorphedFit best = fit(likelihood);
      if (!best.converged()) continue;
      mu = best.parameters.front();
    }
    ++n;
    sum += mu;
    squares += mu * mu;
  }
  if (n < 2) return 0.0;
  const double mean = sum / static_cast<double>(n);
  return std::sqrt(std::max(squares / static_cast<double>(n) - mean * mean, 0.0) *
                   static_cast<double>(n) / static_cast<double>(n - 1));
}

void Inference::keep_templates(Compiled& c, InferenceResult& result) {
  const auto sums = templates(c, aware(), name_, grid(), {});
  result.templates.theta = grid();
  result.templates.samples = events_.samples();
  const auto bins = static_cast<std::size_t>(c.view.bins);
  double largest = 0.0;
  const MorphingKind kind = o_.parameters.front().morphing;
  const bool spare = !is_histfactory(kind) && grid().size() > 4;
  for (const auto& sample : sums) {
    std::vector<std::vector<double>> rows;
    for (std::size_t k = 0; k < grid().size(); ++k) {
      rows.emplace_back(sample.begin() + static_cast<std::ptrdiff_t>(k * bins),
                        sample.begin() + static_cast<std::ptrdiff_t>((k + 1) * bins));
    }
    result.templates.yields.push_back(std::move(rows));
    if (!spare) continue;
    const MorphingClosure closure = morphing_closure(kind, grid(), sample);
    for (const double error : closure.largest) largest = std::max(largest, error);
  }
  if (!spare || on_grid()) return;
  result.morphing_error = largest;
  if (largest > k_morphing_error) {
    result.warnings.push_back(
        {fmt::format("a bin misses the templates at a point of the grid by {:.2g} if the point is "
                     "left out: a finer grid is safer",
                     largest),
         o_.name});
  }
}

InferenceResult Inference::run() {
  first_ = o_;
  first_.observable = InferenceObservable::frozen;
  first_.binning = ScoreBinning::equal_signal;
  first_.slope_bins = std::max(o_.slope_bins, k_slope_bins);
  first_.form = DataForm::poisson;
  InferenceResult result;
  result.name = o_.name;
  for (const double truth : o_.truths) {
    result.fits.push_back(fit_asimov(truth));
    const InferenceFit& last = result.fits.back();
    if (!last.converged) {
      result.warnings.push_back(
          {fmt::format("the fit at theta = {:.4g} did not converge: {}", truth, last.message),
           o_.name});
    }
    if (last.toys && last.toys->failed > 0) {
      result.warnings.push_back({fmt::format("{} of {} toys at theta = {:.4g} did not converge: {}",
                                             last.toys->failed, o_.toys, truth, last.toys->message),
                                 o_.name});
    }
  }
  const InferenceFit& first = result.fits.front();
  if (!unbinned()) keep_templates(compiled(o_, kept_, first.frozen_at.value_or(0.0)), result);
  const auto& prior = o_.parameters.front().prior;
  if (prior && first.sigma_theta > 0.0 && first.sigma_theta < k_over_constrained * *prior) {
    result.warnings.push_back(
        {fmt::format(
             "the data constrain {} to {:.2g} of its prior: is the model of its effect good "
             "to that?",
             name_, first.sigma_theta / *prior),
         o_.name});
  }
  return result;
}

}  // namespace

std::vector<InferenceResult> run_inferences(const ExperimentOptions& options,
                                            const std::vector<Variation>& variations,
                                            std::vector<InferencePart> parts) {
  std::vector<InferenceResult> results;
  if (options.inferences.empty()) return results;
  const at::NoGradGuard no_graph;
  InferenceEvents events(options, variations, std::move(parts));
  for (const InferenceOptions& inference : options.inferences) {
    results.push_back(Inference(events, inference).run());
  }
  return results;
}

}  // namespace slalom::experiment
