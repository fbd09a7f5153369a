// SPDX-License-Identifier: Apache-2.0
#include "slalom/core/template_derivatives.hpp"

#include <boost/math/special_functions/digamma.hpp>
#include <string>
#include <utility>

#include "interpolation.hpp"
#include "jet.hpp"

namespace slalom {

namespace {

using detail::HistosysWeights;
using detail::Jet;
using detail::NormsysFactor;
using detail::top_of_product;

template <std::size_t N>
using Jets = std::vector<Jet<N>>;

/// Everything about one sample at one point.
template <std::size_t N>
struct SampleAtPoint {
  std::vector<HistosysWeights<N>> histosys;
  std::vector<NormsysFactor<N>> normsys;
  Jet<N> factor = 1.0;  ///< product of all scalar factors
  Jets<N> without;      ///< the same without one of them: normsys, then free factors
  Jets<N> yield;        ///< nominal + Delta [n_bins]
  Jets<N> binwise;      ///< product of the per-bin factors [n_bins]
};

template <std::size_t N>
SampleAtPoint<N> evaluate(const ModelSpec& spec, const SampleSpec& sample, const Jets<N>& theta) {
  SampleAtPoint<N> at;
  const std::size_t n = sample.nominal.size();
  at.yield.assign(sample.nominal.begin(), sample.nominal.end());
  at.histosys.reserve(sample.histosys.size());
  for (const HistosysTerm& t : sample.histosys) {
    at.histosys.push_back(detail::histosys_weights(spec.histosys_code, theta[t.parameter]));
    const HistosysWeights<N>& h = at.histosys.back();
    for (std::size_t b = 0; b < n; ++b) {
      const double odd = 0.5 * (t.hi[b] - t.lo[b]);
      const double even = ((t.hi[b] - sample.nominal[b]) + (t.lo[b] - sample.nominal[b])) / 16.0;
      for (std::size_t k = 0; k <= N; ++k) at.yield[b].c[k] += odd * h.s.c[k] + even * h.w.c[k];
    }
  }
  // Products from the left, then those from the right.
  at.without.reserve(sample.normsys.size() + sample.factors.size());
  for (const NormsysTerm& t : sample.normsys) {
    at.normsys.push_back(detail::normsys_factor(spec.normsys_code, t, theta[t.parameter]));
    at.without.push_back(at.factor);
    at.factor *= at.normsys.back().value;
  }
  for (const FactorTerm& t : sample.factors) {
    at.without.push_back(at.factor);
    at.factor *= theta[t.parameter];
  }
  Jet<N> right = 1.0;
  for (std::size_t i = at.without.size(); i-- > 0;) {
    at.without[i] *= right;
    const std::size_t free = i - sample.normsys.size();
    right *=
        i < sample.normsys.size() ? at.normsys[i].value : theta[sample.factors[free].parameter];
  }
  at.binwise.assign(n, 1.0);
  for (const BinwiseTerm& t : sample.binwise) {
    for (std::size_t b = 0; b < n; ++b) at.binwise[b] *= theta[t.parameters[b]];
  }
  return at;
}

/// Appends the derivatives with respect to what one sample is made of, for u_b = d(result) /
/// d(rate_b).
template <std::size_t N>
void add_inputs(const SampleSpec& sample, const SampleAtPoint<N>& at, std::span<const Jet<N>> u,
                std::vector<double>& out) {
  const std::size_t n = sample.nominal.size();
  Jet<N> even = 1.0;  // nominal enters all histosys with -w / 8
  for (const HistosysWeights<N>& h : at.histosys) even += -0.125 * h.w;
  Jets<N> weight(n);
  Jet<N> sum;
  for (std::size_t b = 0; b < n; ++b) {
    weight[b] = u[b] * at.binwise[b];
    sum += weight[b] * at.yield[b];
    weight[b] *= at.factor;
    out.push_back(top_of_product(weight[b], even));
  }
  for (const HistosysWeights<N>& h : at.histosys) {
    for (double sign : {0.5, -0.5}) {
      const Jet<N> derivative = sign * h.s + (1.0 / 16.0) * h.w;
      for (std::size_t b = 0; b < n; ++b) out.push_back(top_of_product(weight[b], derivative));
    }
  }
  for (std::size_t i = 0; i < at.normsys.size(); ++i) {
    const Jet<N> others = sum * at.without[i];
    out.push_back(top_of_product(others, at.normsys[i].d_hi));
    out.push_back(top_of_product(others, at.normsys[i].d_lo));
  }
}

/// Adds the derivatives with respect to the parameters that act on one sample.
template <std::size_t N>
void add_parameters(const SampleSpec& sample, const SampleAtPoint<N>& at, std::span<const Jet<N>> u,
                    const Jets<N>& theta, std::vector<double>& out) {
  const std::size_t n = sample.nominal.size();
  Jets<N> weight(n);
  Jet<N> sum;
  for (std::size_t b = 0; b < n; ++b) {
    weight[b] = u[b] * at.binwise[b];
    sum += weight[b] * at.yield[b];
    weight[b] *= at.factor;
  }
  for (std::size_t i = 0; i < at.histosys.size(); ++i) {
    const HistosysTerm& t = sample.histosys[i];
    Jet<N> odd, even;
    for (std::size_t b = 0; b < n; ++b) {
      odd += (0.5 * (t.hi[b] - t.lo[b])) * weight[b];
      even += (((t.hi[b] - sample.nominal[b]) + (t.lo[b] - sample.nominal[b])) / 16.0) * weight[b];
    }
    out[t.parameter] +=
        top_of_product(odd, at.histosys[i].ds) + top_of_product(even, at.histosys[i].dw);
  }
  for (std::size_t i = 0; i < at.normsys.size(); ++i) {
    out[sample.normsys[i].parameter] += top_of_product(sum * at.without[i], at.normsys[i].d_x);
  }
  for (std::size_t i = 0; i < sample.factors.size(); ++i) {
    out[sample.factors[i].parameter] += top_of_product(sum, at.without[at.normsys.size() + i]);
  }
  for (std::size_t i = 0; i < sample.binwise.size(); ++i) {
    for (std::size_t b = 0; b < n; ++b) {
      Jet<N> others = u[b] * at.factor;
      for (std::size_t j = 0; j < sample.binwise.size(); ++j) {
        if (j != i) others *= theta[sample.binwise[j].parameters[b]];
      }
      out[sample.binwise[i].parameters[b]] += top_of_product(others, at.yield[b]);
    }
  }
}

/// u for log L: n / rate - 1.
template <std::size_t N>
Jet<N> poisson_weight(double n, const Jet<N>& rate, const std::string& channel, std::size_t bin) {
  if (n == 0.0 && rate.value() >= 0.0) return -1.0;
  if (!(rate.value() > 0.0)) {
    throw Error(ErrorKind::numerical,
                "log L is not finite: the expected rate is " + std::to_string(rate.value()),
                "bin " + std::to_string(bin) + " of channel '" + channel + "'");
  }
  return Jet<N>(n) / rate - 1.0;
}

/// d log Poisson(n | rate) / d n, for continuous n.
template <std::size_t N>
Jet<N> count_derivative(double n, const Jet<N>& rate) {
  // For n = 0 and no expectation the derivative is -infinity; such a bin carries no information.
  if (rate.value() <= 0.0) return 0.0;
  return log(rate) - boost::math::digamma(n + 1.0);
}

template <std::size_t N>
Jets<N> make_point(std::span<const double> parameters, std::span<const double> direction) {
  Jets<N> theta(parameters.begin(), parameters.end());
  if constexpr (N > 0) {
    for (std::size_t i = 0; i < theta.size(); ++i) theta[i].c[1] = direction[i];
  }
  return theta;
}

/// N-th derivatives along a direction of d(result) / d(input) and of d(result) / d(parameter).
struct Derivatives {
  std::vector<double> inputs;
  std::vector<double> parameters;
};

/// What is wanted.
enum class By { inputs, parameters, both };

/// Channel by channel: rates, their weights by `weigh(channel, bin, rate)`, and what follows for
/// the templates. Returns the rates.
template <std::size_t N, typename Weigh>
Jets<N> add_templates(const ModelSpec& spec, const Jets<N>& theta, By by, const Weigh& weigh,
                      Derivatives& out) {
  Jets<N> rates;
  rates.reserve(spec.n_bins());
  for (const ChannelSpec& channel : spec.channels) {
    std::vector<SampleAtPoint<N>> samples;
    samples.reserve(channel.samples.size());
    Jets<N> rate(channel.n_bins), u(channel.n_bins);
    for (const SampleSpec& sample : channel.samples) {
      samples.push_back(evaluate(spec, sample, theta));
      const SampleAtPoint<N>& at = samples.back();
      for (std::size_t b = 0; b < channel.n_bins; ++b) {
        rate[b] += at.yield[b] * at.factor * at.binwise[b];
      }
    }
    for (std::size_t b = 0; b < channel.n_bins; ++b) u[b] = weigh(channel, b, rate[b]);
    for (std::size_t i = 0; i < samples.size(); ++i) {
      const SampleSpec& sample = channel.samples[i];
      if (by != By::parameters) add_inputs<N>(sample, samples[i], u, out.inputs);
      if (by != By::inputs) add_parameters<N>(sample, samples[i], u, theta, out.parameters);
    }
    rates.insert(rates.end(), rate.begin(), rate.end());
  }
  return rates;
}

/// The part of the constraint terms: widths to `out.inputs`, auxiliary data to `auxiliary`.
template <std::size_t N>
void add_constraints(const ModelSpec& spec, const Jets<N>& theta, std::span<const double> data,
                     By by, Derivatives& out, std::vector<double>& auxiliary) {
  for (std::size_t i = 0; i < spec.auxiliary.size(); ++i) {
    const Parameter& p = spec.parameters[spec.auxiliary[i]];
    const Jet<N>& x = theta[spec.auxiliary[i]];
    const double a = data[spec.n_bins() + i];
    double& slope = out.parameters[spec.auxiliary[i]];
    if (p.constraint == ConstraintType::poisson) {
      out.inputs.push_back((a / p.tau - x).top());
      auxiliary.push_back(count_derivative(a, p.tau * x).top());
      if (by == By::both) slope += (a == 0.0 ? Jet<N>(-p.tau) : Jet<N>(a) / x - p.tau).top();
    } else {
      const Jet<N> pull = (1.0 / p.sigma) * (a - x);
      out.inputs.push_back(((1.0 / p.sigma) * (pull * pull - 1.0)).top());
      auxiliary.push_back(((-1.0 / p.sigma) * pull).top());
      if (by == By::both) slope += ((1.0 / p.sigma) * pull).top();
    }
  }
}

/// N-th derivative along the direction of d log L / d input for all inputs, and of d log L / d
/// theta with By::both.
template <std::size_t N>
Derivatives logpdf_derivatives(const ModelSpec& spec, const Jets<N>& theta,
                               std::span<const double> data, By by, std::size_t n_inputs) {
  Derivatives out;
  out.inputs.reserve(n_inputs);
  out.parameters.assign(theta.size(), 0.0);
  const auto weigh = [&](const ChannelSpec& channel, std::size_t b, const Jet<N>& rate) {
    return poisson_weight(data[channel.first_bin + b], rate, channel.name, b);
  };
  const Jets<N> rates = add_templates<N>(spec, theta, by, weigh, out);
  std::vector<double> auxiliary;
  add_constraints<N>(spec, theta, data, by, out, auxiliary);
  for (std::size_t b = 0; b < rates.size(); ++b) {
    out.inputs.push_back(count_derivative(data[b], rates[b]).top());
  }
  out.inputs.insert(out.inputs.end(), auxiliary.begin(), auxiliary.end());
  return out;
}

void check_size(std::size_t expected, std::size_t found, const char* what) {
  if (expected == found) return;
  throw Error(ErrorKind::model, std::string(what) + ": " + std::to_string(expected) +
                                    " values expected, found " + std::to_string(found));
}

void check_point(const Model& model, std::span<const double> parameters,
                 std::span<const double> data) {
  check_size(model.n_parameters(), parameters.size(), "parameters");
  check_size(model.n_bins() + model.n_auxiliary(), data.size(), "data");
}

/// Derivatives of a weighted sum of the expected main data.
Derivatives rate_derivatives(const Model& model, std::span<const double> parameters,
                             std::span<const double> weights, By by) {
  check_size(model.n_parameters(), parameters.size(), "parameters");
  check_size(model.n_bins(), weights.size(), "weights");
  const auto weigh = [&](const ChannelSpec& channel, std::size_t b, const Jet<0>&) {
    return Jet<0>(weights[channel.first_bin + b]);
  };
  Derivatives out;
  out.parameters.assign(parameters.size(), 0.0);
  add_templates<0>(model.spec(), make_point<0>(parameters, {}), by, weigh, out);
  return out;
}

}  // namespace

TemplateDerivatives::TemplateDerivatives(const Model& model) : model_(model) {
  const ModelSpec& spec = model.spec();
  for (std::size_t c = 0; c < spec.channels.size(); ++c) {
    const ChannelSpec& channel = spec.channels[c];
    const auto add_bins = [&](InputKind kind, std::size_t s, std::size_t term, std::size_t p) {
      for (std::size_t b = 0; b < channel.n_bins; ++b) {
        inputs_.push_back({kind, c, s, term, b, p});
      }
    };
    for (std::size_t s = 0; s < channel.samples.size(); ++s) {
      const SampleSpec& sample = channel.samples[s];
      add_bins(InputKind::nominal, s, 0, 0);
      for (std::size_t i = 0; i < sample.histosys.size(); ++i) {
        add_bins(InputKind::histosys_hi, s, i, sample.histosys[i].parameter);
        add_bins(InputKind::histosys_lo, s, i, sample.histosys[i].parameter);
      }
      for (std::size_t i = 0; i < sample.normsys.size(); ++i) {
        inputs_.push_back({InputKind::normsys_hi, c, s, i, 0, sample.normsys[i].parameter});
        inputs_.push_back({InputKind::normsys_lo, c, s, i, 0, sample.normsys[i].parameter});
      }
    }
  }
  for (std::size_t p : spec.auxiliary) {
    const bool poisson = spec.parameters[p].constraint == ConstraintType::poisson;
    inputs_.push_back({poisson ? InputKind::tau : InputKind::sigma, 0, 0, 0, 0, p});
  }
  for (std::size_t c = 0; c < spec.channels.size(); ++c) {
    for (std::size_t b = 0; b < spec.channels[c].n_bins; ++b) {
      inputs_.push_back({InputKind::observed, c, 0, 0, b, 0});
    }
  }
  for (std::size_t p : spec.auxiliary) inputs_.push_back({InputKind::auxiliary, 0, 0, 0, 0, p});
}

std::vector<double> TemplateDerivatives::logpdf(std::span<const double> parameters,
                                                std::span<const double> data) const {
  check_point(model_, parameters, data);
  return logpdf_derivatives<0>(model_.spec(), make_point<0>(parameters, {}), data, By::inputs,
                               size())
      .inputs;
}

std::vector<double> TemplateDerivatives::logpdf_mixed(std::span<const double> parameters,
                                                      std::span<const double> data,
                                                      std::span<const double> direction) const {
  check_point(model_, parameters, data);
  check_size(model_.n_parameters(), direction.size(), "direction");
  return logpdf_derivatives<1>(model_.spec(), make_point<1>(parameters, direction), data,
                               By::inputs, size())
      .inputs;
}

LogpdfCurvature TemplateDerivatives::logpdf_curvature(std::span<const double> parameters,
                                                      std::span<const double> data,
                                                      std::span<const double> direction) const {
  check_point(model_, parameters, data);
  check_size(model_.n_parameters(), direction.size(), "direction");
  Derivatives all = logpdf_derivatives<2>(model_.spec(), make_point<2>(parameters, direction), data,
                                          By::both, size());
  return {std::move(all.inputs), std::move(all.parameters)};
}

std::vector<double> TemplateDerivatives::expected(std::span<const double> parameters,
                                                  std::span<const double> weights) const {
  std::vector<double> result = rate_derivatives(model_, parameters, weights, By::inputs).inputs;
  result.resize(size(), 0.0);
  return result;
}

RateDerivatives TemplateDerivatives::rates(std::span<const double> parameters,
                                           std::span<const double> weights) const {
  Derivatives all = rate_derivatives(model_, parameters, weights, By::both);
  all.inputs.resize(size(), 0.0);
  return {std::move(all.inputs), std::move(all.parameters)};
}

std::vector<double> TemplateDerivatives::expected_by_parameters(
    std::span<const double> parameters, std::span<const double> weights) const {
  return rate_derivatives(model_, parameters, weights, By::parameters).parameters;
}

}  // namespace slalom
