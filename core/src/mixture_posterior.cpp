// SPDX-License-Identifier: Apache-2.0
#include "slalom/core/mixture_posterior.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "slalom/core/error.hpp"

namespace slalom {

namespace {

/// Smallest share of a component at the start of a chain: at 0 it would start infinitely far away.
constexpr double k_least_share = 1e-3;

/// Variables without bounds: logit of kappa's place, log ratios of linear weights to the last one,
/// and exponential weights.
class Unbounded {
 public:
  Unbounded(const TemplateMixture& mixture, double low, double high)
      : mixture_(mixture), low_(low), high_(high) {
    std::size_t at = 1;
    for (const MixtureProcess* p : {&mixture.signal(), &mixture.background()}) {
      const bool linear = p->family == MixtureFamily::linear;
      parts_.push_back({linear, at, p->start.size()});
      at += p->start.size();
      dimension_ += p->start.size() - (linear ? 1 : 0);
    }
  }

  std::size_t dimension() const { return dimension_; }
  bool linear() const { return parts_[0].linear || parts_[1].linear; }

  std::vector<double> inverse(const std::vector<double>& x) const {
    const double place = std::clamp((x[0] - low_) / (high_ - low_), 0.01, 0.99);
    std::vector<double> u = {std::log(place / (1.0 - place))};
    for (const Part& p : parts_) {
      if (!p.linear) {
        for (std::size_t i = 0; i < p.size; ++i) u.push_back(x[p.at + i]);
        continue;
      }
      const double last = std::max(x[p.at + p.size - 1], k_least_share);
      for (std::size_t i = 0; i + 1 < p.size; ++i) {
        u.push_back(std::log(std::max(x[p.at + i], k_least_share) / last));
      }
    }
    return u;
  }

  /// d kappa / d u.
  double kappa_slope(double kappa) const {
    return (kappa - low_) * (high_ - kappa) / (high_ - low_);
  }

  /// Parameters, and the log of the Jacobian.
  double parameters(std::span<const double> u, std::vector<double>& x) const {
    x.resize(mixture_.size());
    x[0] = low_ + (high_ - low_) / (1.0 + std::exp(-u[0]));
    double jacobian = -std::abs(u[0]) - 2.0 * std::log1p(std::exp(-std::abs(u[0])));
    std::size_t from = 1;
    for (const Part& p : parts_) {
      if (!p.linear) {
        for (std::size_t i = 0; i < p.size; ++i) x[p.at + i] = u[from++];
        continue;
      }
      double top = 0.0, sum = 0.0;
      for (std::size_t i = 0; i + 1 < p.size; ++i) top = std::max(top, u[from + i]);
      for (std::size_t i = 0; i < p.size; ++i) {
        const double v = i + 1 < p.size ? u[from + i] : 0.0;
        x[p.at + i] = std::exp(v - top);
        sum += x[p.at + i];
        jacobian += v - top;
      }
      for (std::size_t i = 0; i < p.size; ++i) x[p.at + i] /= sum;
      jacobian -= static_cast<double>(p.size) * std::log(sum);
      from += p.size - 1;
    }
    return jacobian;
  }

  double log_density(std::span<const double> u, std::span<double> gradient) const {
    std::vector<double> x, g(mixture_.size());
    const double jacobian = parameters(u, x);
    const double nll = mixture_.nll(x, g);
    if (!std::isfinite(nll)) return -std::numeric_limits<double>::infinity();
    const double place = (x[0] - low_) / (high_ - low_);
    gradient[0] = -g[0] * kappa_slope(x[0]) + 1.0 - 2.0 * place;
    std::size_t to = 1;
    for (const Part& p : parts_) {
      if (!p.linear) {
        for (std::size_t i = 0; i < p.size; ++i) gradient[to++] = -g[p.at + i];
        continue;
      }
      double mean = 0.0;
      for (std::size_t i = 0; i < p.size; ++i) mean += x[p.at + i] * g[p.at + i];
      for (std::size_t i = 0; i + 1 < p.size; ++i) {
        const double w = x[p.at + i];
        gradient[to++] = -w * (g[p.at + i] - mean) + 1.0 - static_cast<double>(p.size) * w;
      }
    }
    return jacobian - nll;
  }

 private:
  struct Part {
    bool linear;
    std::size_t at, size;
  };
  const TemplateMixture& mixture_;
  double low_, high_;
  std::vector<Part> parts_;
  std::size_t dimension_ = 1;
};

std::vector<double> sorted_kappa(const MixturePosterior& p, double probability) {
  if (!(probability > 0.0 && probability < 1.0) || p.samples.empty()) {
    throw Error(ErrorKind::usage, "a probability is above 0 and below 1, and there are draws",
                "posterior interval");
  }
  std::vector<double> kappa;
  for (std::size_t i = 0; i < p.samples.size(); i += p.dimension) kappa.push_back(p.samples[i]);
  std::sort(kappa.begin(), kappa.end());
  return kappa;
}

}  // namespace

Interval MixturePosterior::central(double probability) const {
  const std::vector<double> kappa_draws = sorted_kappa(*this, probability);
  const auto quantile = [&](double p) {
    const double at = p * static_cast<double>(kappa_draws.size() - 1);
    const std::size_t i = std::min(static_cast<std::size_t>(at), kappa_draws.size() - 2);
    const double part = at - static_cast<double>(i);
    return (1.0 - part) * kappa_draws[i] + part * kappa_draws[i + 1];
  };
  Interval result;
  result.lower = {quantile(0.5 * (1.0 - probability)), false, true, {}};
  result.upper = {quantile(0.5 * (1.0 + probability)), false, true, {}};
  return result;
}

Interval MixturePosterior::shortest(double probability) const {
  const std::vector<double> kappa_draws = sorted_kappa(*this, probability);
  const std::size_t inside = std::max<std::size_t>(
      1, static_cast<std::size_t>(probability * static_cast<double>(kappa_draws.size() - 1)));
  std::size_t best = 0;
  for (std::size_t i = 0; i + inside < kappa_draws.size(); ++i) {
    if (kappa_draws[i + inside] - kappa_draws[i] < kappa_draws[best + inside] - kappa_draws[best]) {
      best = i;
    }
  }
  Interval result;
  result.lower = {kappa_draws[best], false, true, {}};
  result.upper = {kappa_draws[best + inside], false, true, {}};
  return result;
}

MixturePosterior sample_posterior(const TemplateMixture& mixture, const MixtureFit& best,
                                  const MixtureFitOptions& options, const HmcOptions& sampling) {
  if (best.parameters.size() != mixture.size()) {
    throw Error(ErrorKind::usage, "the fit is one of another mixture", "posterior");
  }
  if (!(std::isfinite(options.kappa_low) && std::isfinite(options.kappa_high) &&
        options.kappa_low < options.kappa_high)) {
    throw Error(ErrorKind::model, "the bounds of kappa are not finite and rising", "kappa");
  }
  const Unbounded unbounded(mixture, options.kappa_low, options.kappa_high);
  HmcOptions o = sampling;
  const std::size_t n = mixture.size();
  if (o.covariance.empty() && !unbounded.linear() && best.laplace_error() > 0.0 &&
      std::none_of(best.at_bound.begin(), best.at_bound.end(), [](bool b) { return b; })) {
    o.covariance = best.covariance;
    const double slope = unbounded.kappa_slope(best.kappa());
    for (std::size_t i = 0; i < n; ++i) {
      o.covariance[i] /= slope;
      o.covariance[i * n] /= slope;
    }
  } else if (o.covariance.empty()) {
    o.start_spread = std::min(o.start_spread, 0.3);  // the unit matrix is wider than the posterior
  }
  MixturePosterior result;
  result.chains = sample(
      [&](std::span<const double> u, std::span<double> g) { return unbounded.log_density(u, g); },
      unbounded.inverse(best.parameters), o);
  result.dimension = n;
  const HmcResult& c = result.chains;
  std::vector<double> x, kappa;
  for (std::size_t i = 0; i < c.chains * c.draws; ++i) {
    unbounded.parameters({c.samples.data() + i * c.dimension, c.dimension}, x);
    result.samples.insert(result.samples.end(), x.begin(), x.end());
    kappa.push_back(x[0]);
  }
  result.kappa = summarise_chains(kappa, c.chains);
  return result;
}

}  // namespace slalom
