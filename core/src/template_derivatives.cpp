// SPDX-License-Identifier: Apache-2.0
#include "slalom/core/template_derivatives.hpp"

#include <boost/math/special_functions/digamma.hpp>
#include <cmath>
#include <functional>
#include <string>

namespace slalom {

namespace {

/// A number with its derivative along the direction in parameter space.
struct Dual {
  double value = 0.0;
  double slope = 0.0;
};

Dual operator+(Dual a, Dual b) { return {a.value + b.value, a.slope + b.slope}; }
Dual operator-(Dual a, Dual b) { return {a.value - b.value, a.slope - b.slope}; }
Dual operator*(Dual a, Dual b) {
  return {a.value * b.value, a.slope * b.value + a.value * b.slope};
}
Dual operator/(Dual a, Dual b) {
  const double q = a.value / b.value;
  return {q, (a.slope - q * b.slope) / b.value};
}
Dual operator*(double a, Dual b) { return {a * b.value, a * b.slope}; }
Dual& operator+=(Dual& a, Dual b) { return a = a + b; }
Dual& operator*=(Dual& a, Dual b) { return a = a * b; }
Dual constant(double x) { return {x, 0.0}; }
Dual log(Dual a) { return {std::log(a.value), a.slope / a.value}; }
Dual exp(Dual a) {
  const double e = std::exp(a.value);
  return {e, e * a.slope};
}

/// Delta of a histosys is s (hi - lo) / 2 + w (hi + lo - 2 nominal) / 16.
struct HistosysWeights {
  Dual s, w;
};

HistosysWeights histosys_weights(HistosysCode code, Dual x) {
  const double sign = x.value > 0.0 ? 1.0 : (x.value < 0.0 ? -1.0 : 0.0);
  const bool inside = std::abs(x.value) <= 1.0;
  if (code == HistosysCode::code0) return {x, (8.0 * sign) * x};
  if (code == HistosysCode::code2) {
    if (inside) return {x, 8.0 * (x * x)};
    return {x - constant(sign), 16.0 * (sign * x - constant(1.0))};
  }
  if (!inside) return {x, (8.0 * sign) * x};
  const Dual x2 = x * x;
  return {x, x2 * (constant(15.0) + x2 * (3.0 * x2 - constant(10.0)))};
}

/// Factor of a normsys with its derivatives with respect to hi and lo.
struct NormsysFactor {
  Dual value, d_hi, d_lo;
};

/// Derivative of a polynomial that is odd and even combined as in code4: the three conditions at +1
/// have values v, slopes d and curvatures c.
Dual code4_part(Dual x, double sign, double v, double d, double c) {
  const Dual y = sign * x;  // seen from the other side for lo
  const Dual y2 = y * y;
  const Dual odd =
      (1.0 / 16.0) *
      (y * (constant(15.0 * v - 7.0 * d + c) +
            y2 * (constant(-10.0 * v + 10.0 * d - 2.0 * c) + (3.0 * v - 3.0 * d + c) * y2)));
  const Dual even =
      (1.0 / 16.0) *
      (y2 * (constant(24.0 * v - 9.0 * d + c) +
             y2 * (constant(-24.0 * v + 14.0 * d - 2.0 * c) + (8.0 * v - 5.0 * d + c) * y2)));
  return odd + even;
}

NormsysFactor normsys_factor(NormsysCode code, const NormsysTerm& t, Dual x) {
  const double lh = std::log(t.hi), ll = std::log(t.lo);
  const bool inside = code == NormsysCode::code4 && std::abs(x.value) < 1.0;
  if (!inside) {
    const bool up = x.value >= 0.0;
    const Dual size = up ? x : -1.0 * x;
    const Dual value = exp((up ? lh : ll) * size);
    const Dual derivative = (1.0 / (up ? t.hi : t.lo)) * (size * value);
    return {value, up ? derivative : Dual{}, up ? Dual{} : derivative};
  }
  const auto part = [&](double sign, double f, double l) {
    return code4_part(x, sign, f - 1.0, f * l, f * l * l);
  };
  const auto derivative = [&](double sign, double l) {
    return code4_part(x, sign, 1.0, 1.0 + l, l * l + 2.0 * l);
  };
  return {constant(1.0) + part(1.0, t.hi, lh) + part(-1.0, t.lo, ll), derivative(1.0, lh),
          derivative(-1.0, ll)};
}

/// Everything about one sample at one point.
struct SampleAtPoint {
  std::vector<HistosysWeights> weights;
  std::vector<NormsysFactor> normsys;
  Dual plain = constant(1.0);  ///< product of the free factors
  std::vector<Dual> yield;     ///< nominal + Delta [n_bins]
  std::vector<Dual> binwise;   ///< product of the per-bin factors [n_bins]

  /// Product of all scalar factors but one normsys.
  Dual factor_without(std::size_t skip) const {
    Dual product = plain;
    for (std::size_t i = 0; i < normsys.size(); ++i) {
      if (i != skip) product *= normsys[i].value;
    }
    return product;
  }
  Dual factor() const { return factor_without(normsys.size()); }
};

SampleAtPoint evaluate(const ModelSpec& spec, const SampleSpec& sample,
                       const std::vector<Dual>& theta) {
  SampleAtPoint result;
  const std::size_t n = sample.nominal.size();
  for (double y : sample.nominal) result.yield.push_back(constant(y));
  for (const HistosysTerm& t : sample.histosys) {
    result.weights.push_back(histosys_weights(spec.histosys_code, theta[t.parameter]));
    const HistosysWeights& h = result.weights.back();
    for (std::size_t b = 0; b < n; ++b) {
      const double difference = t.hi[b] - t.lo[b];
      const double even = (t.hi[b] - sample.nominal[b]) + (t.lo[b] - sample.nominal[b]);
      result.yield[b] += (0.5 * difference) * h.s + (even / 16.0) * h.w;
    }
  }
  for (const NormsysTerm& t : sample.normsys) {
    result.normsys.push_back(normsys_factor(spec.normsys_code, t, theta[t.parameter]));
  }
  for (const FactorTerm& t : sample.factors) result.plain *= theta[t.parameter];
  result.binwise.assign(n, constant(1.0));
  for (const BinwiseTerm& t : sample.binwise) {
    for (std::size_t b = 0; b < n; ++b) result.binwise[b] *= theta[t.parameters[b]];
  }
  return result;
}

/// Adds what one sample contributes, given u_b = d(result) / d(rate_b).
void add_sample(const SampleSpec& sample, const SampleAtPoint& at, std::span<const Dual> u,
                std::vector<Dual>& out) {
  const std::size_t n = sample.nominal.size();
  const Dual factor = at.factor();
  Dual even = constant(0.0);  // nominal enters all histosys with -w / 8
  for (const HistosysWeights& h : at.weights) even += (-0.125) * h.w;
  std::vector<Dual> weight(n);
  Dual sum;
  for (std::size_t b = 0; b < n; ++b) {
    weight[b] = u[b] * at.binwise[b];
    sum += weight[b] * at.yield[b];
    out.push_back(weight[b] * factor * (constant(1.0) + even));
  }
  for (const HistosysWeights& h : at.weights) {
    for (double sign : {0.5, -0.5}) {
      const Dual derivative = sign * h.s + (1.0 / 16.0) * h.w;
      for (std::size_t b = 0; b < n; ++b) out.push_back(weight[b] * factor * derivative);
    }
  }
  for (std::size_t i = 0; i < at.normsys.size(); ++i) {
    const Dual others = sum * at.factor_without(i);
    out.push_back(others * at.normsys[i].d_hi);
    out.push_back(others * at.normsys[i].d_lo);
  }
}

/// u for log L: n / rate - 1.
Dual poisson_weight(double n, Dual rate, const std::string& channel, std::size_t bin) {
  if (n == 0.0 && rate.value >= 0.0) return constant(-1.0);
  if (!(rate.value > 0.0)) {
    throw Error(ErrorKind::numerical,
                "log L is not finite: the expected rate is " + std::to_string(rate.value),
                "bin " + std::to_string(bin) + " of channel '" + channel + "'");
  }
  return constant(n) / rate - constant(1.0);
}

/// d log Poisson(n | rate) / d n, for continuous n.
Dual count_derivative(double n, Dual rate) {
  // For n = 0 and no expectation the derivative is -infinity; such a bin carries no information.
  if (rate.value <= 0.0) return constant(0.0);
  return log(rate) - constant(boost::math::digamma(n + 1.0));
}

std::vector<Dual> make_point(std::span<const double> parameters,
                             std::span<const double> direction) {
  std::vector<Dual> theta(parameters.size());
  for (std::size_t i = 0; i < theta.size(); ++i) {
    theta[i] = {parameters[i], direction.empty() ? 0.0 : direction[i]};
  }
  return theta;
}

/// Channel by channel: rates, their weights by `weigh(channel, bin, rate)`, and what follows.
std::vector<Dual> add_templates(
    const ModelSpec& spec, const std::vector<Dual>& theta,
    const std::function<Dual(const ChannelSpec&, std::size_t, Dual)>& weigh,
    std::vector<Dual>* rates) {
  std::vector<Dual> out;
  for (const ChannelSpec& channel : spec.channels) {
    std::vector<SampleAtPoint> samples;
    std::vector<Dual> rate(channel.n_bins), u(channel.n_bins);
    for (const SampleSpec& sample : channel.samples) {
      samples.push_back(evaluate(spec, sample, theta));
      const Dual factor = samples.back().factor();
      for (std::size_t b = 0; b < channel.n_bins; ++b) {
        rate[b] += samples.back().yield[b] * factor * samples.back().binwise[b];
      }
    }
    for (std::size_t b = 0; b < channel.n_bins; ++b) u[b] = weigh(channel, b, rate[b]);
    for (std::size_t i = 0; i < samples.size(); ++i) {
      add_sample(channel.samples[i], samples[i], u, out);
    }
    if (rates) rates->insert(rates->end(), rate.begin(), rate.end());
  }
  return out;
}

void check_size(std::size_t expected, std::size_t found, const char* what) {
  if (expected == found) return;
  throw Error(ErrorKind::model, std::string(what) + ": " + std::to_string(expected) +
                                    " values expected, found " + std::to_string(found));
}

/// d log L / d input for all inputs, as dual numbers along the direction.
std::vector<Dual> logpdf_derivatives(const ModelSpec& spec, const std::vector<Dual>& theta,
                                     std::span<const double> data) {
  const auto weigh = [&](const ChannelSpec& channel, std::size_t b, Dual rate) {
    return poisson_weight(data[channel.first_bin + b], rate, channel.name, b);
  };
  std::vector<Dual> rates;
  std::vector<Dual> out = add_templates(spec, theta, weigh, &rates);
  const std::size_t n_bins = spec.n_bins();
  std::vector<Dual> auxiliary;
  for (std::size_t i = 0; i < spec.auxiliary.size(); ++i) {
    const Parameter& p = spec.parameters[spec.auxiliary[i]];
    const Dual x = theta[spec.auxiliary[i]];
    const double a = data[n_bins + i];
    if (p.constraint == ConstraintType::poisson) {
      out.push_back(constant(a / p.tau) - x);
      auxiliary.push_back(count_derivative(a, p.tau * x));
    } else {
      const Dual pull = (1.0 / p.sigma) * (constant(a) - x);
      out.push_back((1.0 / p.sigma) * (pull * pull - constant(1.0)));
      auxiliary.push_back((-1.0 / p.sigma) * pull);
    }
  }
  for (std::size_t b = 0; b < n_bins; ++b) out.push_back(count_derivative(data[b], rates[b]));
  out.insert(out.end(), auxiliary.begin(), auxiliary.end());
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
  check_size(model_.n_parameters(), parameters.size(), "parameters");
  check_size(model_.n_bins() + model_.n_auxiliary(), data.size(), "data");
  std::vector<double> result;
  for (Dual d : logpdf_derivatives(model_.spec(), make_point(parameters, {}), data)) {
    result.push_back(d.value);
  }
  return result;
}

std::vector<double> TemplateDerivatives::logpdf_mixed(std::span<const double> parameters,
                                                      std::span<const double> data,
                                                      std::span<const double> direction) const {
  check_size(model_.n_parameters(), parameters.size(), "parameters");
  check_size(model_.n_parameters(), direction.size(), "direction");
  check_size(model_.n_bins() + model_.n_auxiliary(), data.size(), "data");
  std::vector<double> result;
  for (Dual d : logpdf_derivatives(model_.spec(), make_point(parameters, direction), data)) {
    result.push_back(d.slope);
  }
  return result;
}

std::vector<double> TemplateDerivatives::expected(std::span<const double> parameters,
                                                  std::span<const double> weights) const {
  check_size(model_.n_parameters(), parameters.size(), "parameters");
  check_size(model_.n_bins(), weights.size(), "weights");
  const auto weigh = [&](const ChannelSpec& channel, std::size_t b, Dual) {
    return constant(weights[channel.first_bin + b]);
  };
  std::vector<double> result(inputs_.size(), 0.0);
  const std::vector<Dual> out =
      add_templates(model_.spec(), make_point(parameters, {}), weigh, nullptr);
  for (std::size_t i = 0; i < out.size(); ++i) result[i] = out[i].value;
  return result;
}

}  // namespace slalom
