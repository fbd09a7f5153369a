// SPDX-License-Identifier: Apache-2.0
#include "slalom/core/morphed_likelihood.hpp"

#include <algorithm>
#include <array>
#include <boost/math/special_functions/digamma.hpp>
#include <boost/math/special_functions/gamma.hpp>
#include <boost/math/special_functions/trigamma.hpp>
#include <cmath>
#include <limits>
#include <numbers>

#include "engine/engine.hpp"
#include "slalom/core/normal.hpp"

namespace slalom {

namespace {

constexpr double k_infinity = std::numeric_limits<double>::infinity();
/// Bins that are evaluated together, so that what they need stays in the cache.
constexpr std::size_t k_block = 128;
const double k_log_sqrt_2pi = 0.5 * std::log(2.0 * std::numbers::pi);

[[noreturn]] void refuse(const std::string& what, const std::string& where) {
  throw Error(ErrorKind::model, what, where);
}

// ------------------------------------------------------------------------------------------------
// Checks

std::size_t bins_of(const MorphedSample& s) {
  return s.nominal.empty() && s.effects.size() == 1 ? s.effects[0].morphing.n_bins()
                                                    : s.nominal.size();
}

void check_parameter(const MorphedParameter& p, const std::string& fallback) {
  const std::string where = "parameter '" + (p.name.empty() ? fallback : p.name) + "'";
  if (!(std::isfinite(p.low) && std::isfinite(p.high) && p.low < p.high)) {
    refuse("the bounds are not finite and rising", where);
  }
  if (!(p.init >= p.low && p.init <= p.high)) refuse("the start is outside the bounds", where);
  if (p.mean.has_value() != p.sigma.has_value()) {
    refuse("a constraint has both a mean and a sigma", where);
  }
  if (p.mean && !(std::isfinite(*p.mean) && std::isfinite(*p.sigma) && *p.sigma > 0.0)) {
    refuse("the constraint needs a finite mean and a sigma above 0", where);
  }
}

void check_effect(const MorphedEffect& e, std::size_t n_nuisances, std::size_t n_bins,
                  const std::string& where) {
  if (e.nuisance >= n_nuisances) {
    refuse("there is no nuisance parameter " + std::to_string(e.nuisance), where);
  }
  if (e.morphing.n_bins() != n_bins) {
    refuse("an effect has " + std::to_string(e.morphing.n_bins()) + " bins instead of " +
               std::to_string(n_bins),
           where);
  }
}

void check_numbers(const std::vector<double>& numbers, std::size_t n_bins, const char* what,
                   const std::string& where) {
  if (numbers.size() != n_bins) {
    refuse("there are " + std::to_string(numbers.size()) + " " + what + " for " +
               std::to_string(n_bins) + " bins",
           where);
  }
  for (std::size_t b = 0; b < n_bins; ++b) {
    if (std::isfinite(numbers[b]) && numbers[b] >= 0.0) continue;
    refuse(std::string(what) + " are not finite, or negative, in bin " + std::to_string(b), where);
  }
}

void check_sample(const MorphedSample& s, std::size_t n_nuisances, std::size_t n_bins,
                  const std::string& where) {
  if (bins_of(s) != n_bins) {
    refuse("the sample has " + std::to_string(bins_of(s)) + " bins instead of " +
               std::to_string(n_bins),
           where);
  }
  for (double y : s.nominal) {
    if (!std::isfinite(y)) refuse("the nominal content is not finite", where);
  }
  for (const MorphedEffect& e : s.effects) check_effect(e, n_nuisances, n_bins, where);
}

void check_channel(const MorphedChannel& c, std::size_t n_nuisances, const std::string& where) {
  if (c.samples.empty()) refuse("the channel has no samples", where);
  const std::size_t n_bins = bins_of(c.samples[0]);
  if (n_bins == 0) refuse("the first sample has no bins", where);
  const auto sample_place = [&](const MorphedSample& s) {
    return where + ", sample '" + s.name + "'";
  };
  for (const MorphedSample& s : c.samples) check_sample(s, n_nuisances, n_bins, sample_place(s));
  for (const MorphedSample& s : c.integrals) check_sample(s, n_nuisances, 1, sample_place(s));
  if (c.data_effect) {
    check_effect(*c.data_effect, n_nuisances, n_bins, where + ", data");
  } else {
    check_numbers(c.data, n_bins, "data", where);
  }
  if (!c.mc_relative.empty()) check_numbers(c.mc_relative, n_bins, "mc_relative", where);
  const bool ratio = c.form == DataForm::reference_ratio;
  if (ratio != c.reference.has_value()) {
    refuse("reference_ratio needs a reference, and no other form has one", where);
  }
  if (ratio) {
    check_effect(*c.reference, n_nuisances, n_bins, where + ", reference");
    if (c.data_effect && c.data_effect->nuisance != c.reference->nuisance) {
      refuse("data and reference follow different parameters", where);
    }
    if (!c.mc_relative.empty())
      refuse("reference_ratio has no uncertainty of the simulation", where);
  }
  if (!c.integrals.empty() &&
      (c.data_effect || c.form != DataForm::poisson || !c.mc_relative.empty())) {
    refuse("an unbinned channel has weights of events, form poisson, and no mc_relative", where);
  }
}

/// Parameters (indices in N) that a channel depends on, ascending.
std::vector<std::size_t> active_parameters(const MorphedChannel& c) {
  std::vector<std::size_t> found;
  const auto add_samples = [&](const std::vector<MorphedSample>& samples) {
    for (const MorphedSample& s : samples) {
      if (s.signal) found.push_back(0);
      for (const MorphedEffect& e : s.effects) found.push_back(1 + e.nuisance);
    }
  };
  add_samples(c.samples);
  add_samples(c.integrals);
  if (c.data_effect) found.push_back(1 + c.data_effect->nuisance);
  if (c.reference) found.push_back(1 + c.reference->nuisance);
  std::sort(found.begin(), found.end());
  found.erase(std::unique(found.begin(), found.end()), found.end());
  return found;
}

// ------------------------------------------------------------------------------------------------
// Expectations

/// Rows of k_block numbers.
class Rows {
 public:
  explicit Rows(std::size_t n) : numbers_(n * k_block) {}
  double* operator[](std::size_t row) { return numbers_.data() + row * k_block; }
  const double* operator[](std::size_t row) const { return numbers_.data() + row * k_block; }
  void clear() { std::fill(numbers_.begin(), numbers_.end(), 0.0); }

 private:
  std::vector<double> numbers_;
};

/// Row of a pair of parameters i <= j of n.
std::size_t pair_row(std::size_t i, std::size_t j, std::size_t n) {
  return i * n - i * (i + 1) / 2 + j;
}

/// nu of a block of bins with its derivatives by the active parameters.
struct Expectation {
  Expectation(std::size_t n_active, bool derivatives)
      : n(n_active), nu(1), first(derivatives ? n : 0), second(derivatives ? n * (n + 1) / 2 : 0) {}
  void clear() {
    nu.clear();
    first.clear();
    second.clear();
  }
  double* pair(std::size_t i, std::size_t j) {
    return second[i <= j ? pair_row(i, j, n) : pair_row(j, i, n)];
  }
  std::size_t n;
  Rows nu, first, second;
};

/// An effect at one point: where its Morphing is evaluated, and which active parameter it follows.
struct EffectAt {
  const Morphing* morphing;
  Morphing::Place place;
  std::size_t active;
};

EffectAt effect_at(const MorphedEffect& e, std::span<const double> x,
                   const std::vector<std::size_t>& active) {
  const auto found = std::lower_bound(active.begin(), active.end(), 1 + e.nuisance);
  return {&e.morphing, e.morphing.place(x[1 + e.nuisance]),
          static_cast<std::size_t>(found - active.begin())};
}

/// Value and derivatives of one effect, of a block of bins.
struct Template {
  std::array<double, k_block> value, first, second;
  void evaluate(const EffectAt& e, std::size_t begin, std::size_t n, bool derivatives) {
    if (derivatives) {
      e.morphing->evaluate(e.place, begin, {value.data(), n}, {first.data(), n},
                           {second.data(), n});
    } else {
      e.morphing->evaluate(e.place, begin, {value.data(), n});
    }
  }
};

/// A sample at one point.
class SampleAt {
 public:
  SampleAt(const MorphedSample& sample, std::span<const double> x,
           const std::vector<std::size_t>& active)
      : sample_(sample), strength_(sample.signal ? x[0] : 1.0) {
    for (const MorphedEffect& e : sample.effects) effects_.push_back(effect_at(e, x, active));
  }

  /// Adds the sample in bins [begin, begin + n).
  void add(std::size_t begin, std::size_t n, bool derivatives, Expectation& out) {
    if (sample_.nominal.empty()) {
      add_alone(begin, n, derivatives, out);
    } else {
      add_combined(begin, n, derivatives, out);
    }
  }

 private:
  /// Adds y of a bin and its derivative by active parameter p.
  void add_slope(Expectation& out, std::size_t p, std::size_t b, double slope) const {
    out.first[p][b] += strength_ * slope;
    if (sample_.signal) out.pair(0, p)[b] += slope;
  }
  void add_value(Expectation& out, std::size_t b, double y, bool derivatives) const {
    out.nu[0][b] += strength_ * y;
    if (sample_.signal && derivatives) out.first[0][b] += y;
  }

  /// y = t(z)
  void add_alone(std::size_t begin, std::size_t n, bool derivatives, Expectation& out) {
    const EffectAt& e = effects_[0];
    template_.evaluate(e, begin, n, derivatives);
    for (std::size_t b = 0; b < n; ++b) add_value(out, b, template_.value[b], derivatives);
    if (!derivatives) return;
    double* curvature = out.pair(e.active, e.active);
    for (std::size_t b = 0; b < n; ++b) {
      add_slope(out, e.active, b, template_.first[b]);
      curvature[b] += strength_ * template_.second[b];
    }
  }

  /// y = F + A: F a product with logarithmic derivatives, A a sum.
  void add_combined(std::size_t begin, std::size_t n, bool derivatives, Expectation& out) {
    std::vector<std::size_t> local;  // active parameters of this sample
    for (const EffectAt& e : effects_) {
      if (std::find(local.begin(), local.end(), e.active) == local.end()) local.push_back(e.active);
    }
    const std::size_t m = local.size();
    Rows product(1), sum(1), log_first(m), log_second(m), sum_first(m), sum_second(m);
    std::copy_n(sample_.nominal.begin() + static_cast<std::ptrdiff_t>(begin), n, product[0]);
    for (const EffectAt& e : effects_) {
      const auto p =
          static_cast<std::size_t>(std::find(local.begin(), local.end(), e.active) - local.begin());
      template_.evaluate(e, begin, n, derivatives);
      for (std::size_t b = 0; b < n; ++b) {
        const double nominal = sample_.nominal[begin + b], t = template_.value[b];
        const bool factor = nominal > 0.0 && e.morphing->multiplies(begin + b);
        factor ? product[0][b] *= t / nominal : sum[0][b] += t - nominal;
        if (!derivatives) continue;
        if (factor) {
          const double slope = template_.first[b] / t;
          log_first[p][b] += slope;
          log_second[p][b] += template_.second[b] / t - slope * slope;
        } else {
          sum_first[p][b] += template_.first[b];
          sum_second[p][b] += template_.second[b];
        }
      }
    }
    for (std::size_t b = 0; b < n; ++b) {
      add_value(out, b, product[0][b] + sum[0][b], derivatives);
    }
    if (!derivatives) return;
    for (std::size_t p = 0; p < m; ++p) {
      for (std::size_t b = 0; b < n; ++b) {
        add_slope(out, local[p], b, product[0][b] * log_first[p][b] + sum_first[p][b]);
      }
      for (std::size_t q = p; q < m; ++q) {
        double* curvature = out.pair(local[p], local[q]);
        for (std::size_t b = 0; b < n; ++b) {
          double of_log = log_first[p][b] * log_first[q][b];
          if (p == q) of_log += log_second[p][b];
          curvature[b] += strength_ * (product[0][b] * of_log + (p == q ? sum_second[p][b] : 0.0));
        }
      }
    }
  }

  const MorphedSample& sample_;
  double strength_;
  std::vector<EffectAt> effects_;
  Template template_;
};

// ------------------------------------------------------------------------------------------------
// Terms of bins

/// A term f(nu, n) of a bin with its derivatives.
struct BinTerm {
  double value = 0.0, nu = 0.0, nu_nu = 0.0, n = 0.0, n_n = 0.0, nu_n = 0.0;
};

/// Data of a bin: the count, lnGamma(n + 1) - n ln n + n, and whether derivatives by n are wanted.
struct Count {
  double n = 0.0, remainder = 0.0;
  bool varies = false;
};

/// nu - n ln nu + what n adds in a form; `gamma` multiplies nu (1 without simulated uncertainty).
/// Summed as n (d - ln(1 + d)), d = nu / n - 1, so that large numbers do not cancel.
BinTerm bare_term(DataForm form, double nu, const Count& c, double gamma) {
  BinTerm t;
  const double rate = gamma * nu, n = c.n;
  if (!(rate >= 0.0) || (rate == 0.0 && n > 0.0)) {
    t.value = k_infinity;
    return t;
  }
  t.nu = gamma;
  t.value = rate;
  if (n > 0.0) {
    const double difference = (rate - n) / n;
    t.value = n * (difference - std::log1p(difference)) + c.remainder;
    if (form == DataForm::reference_ratio) t.value += n - n * std::log(n);
    t.nu -= n / nu;
    t.nu_nu = n / (nu * nu);
  }
  if (!c.varies) return t;
  t.n = -std::log(rate);
  t.nu_n = -1.0 / nu;
  if (form == DataForm::saturated) {
    t.n += std::log(n);
    t.n_n = 1.0 / n;
  } else if (form == DataForm::poisson) {
    t.n += boost::math::digamma(n + 1.0);
    t.n_n = boost::math::trigamma(n + 1.0);
  }
  return t;
}

/// -w ln nu of an event.
BinTerm event_term(double nu, double weight) {
  BinTerm t;
  if (weight == 0.0) return t;
  if (!(nu > 0.0)) {
    t.value = k_infinity;
    return t;
  }
  t.value = -weight * std::log(nu);
  t.nu = -weight / nu;
  t.nu_nu = weight / (nu * nu);
  return t;
}

/// The term minimised over the factor gamma ~ N(1, d) of nu: a root of
/// gamma^2 + gamma (d^2 nu - 1) - d^2 n.
BinTerm simulated_term(DataForm form, double nu, const Count& c, double d) {
  if (d == 0.0) return bare_term(form, nu, c, 1.0);
  if (!(nu >= 0.0)) return {k_infinity};
  const double d2 = d * d, b = d2 * nu - 1.0;
  const double root = std::sqrt(b * b + 4.0 * d2 * c.n);
  const double gamma = b > 0.0 ? 2.0 * d2 * c.n / (b + root) : 0.5 * (root - b);
  BinTerm t = bare_term(form, nu, c, gamma);
  t.value += 0.5 * (gamma - 1.0) * (gamma - 1.0) / d2 + std::log(d) + k_log_sqrt_2pi;
  // By the envelope theorem first derivatives need nothing more.
  if (root > 0.0 && std::isfinite(t.value)) {
    t.nu_nu -= d2 * gamma / root;
    t.nu_n += d2 / root;
    if (gamma > 0.0) t.n_n -= d2 / (gamma * root);
  }
  return t;
}

/// Adds to gradient and Hessian (over N parameters, upper triangle of pairs i <= j).
class Sums {
 public:
  Sums(std::span<double> gradient, std::span<double> hessian, std::size_t n)
      : gradient_(gradient), hessian_(hessian), n_(n) {}
  bool wanted() const { return !gradient_.empty(); }
  void slope(std::size_t i, double v) { gradient_[i] += v; }
  void curvature(std::size_t i, std::size_t j, double v) {
    hessian_[std::min(i, j) * n_ + std::max(i, j)] += v;
  }
  void mirror() {
    for (std::size_t i = 0; i < n_; ++i) {
      for (std::size_t j = 0; j < i; ++j) hessian_[i * n_ + j] = hessian_[j * n_ + i];
    }
  }

 private:
  std::span<double> gradient_, hessian_;
  std::size_t n_;
};

/// One channel at one point.
class ChannelAt {
 public:
  ChannelAt(const MorphedChannel& channel, const std::vector<double>& remainders,
            const std::vector<std::size_t>& active, std::span<const double> x, Sums& sums)
      : c_(channel),
        remainders_(remainders),
        active_(active),
        x_(x),
        sums_(sums),
        expected_(active.size(), sums.wanted()) {
    if (c_.data_effect) data_.emplace(effect_at(*c_.data_effect, x, active));
    if (c_.reference) reference_.emplace(effect_at(*c_.reference, x, active));
  }

  double run() {
    double total = 0.0;
    std::vector<SampleAt> samples = at(c_.samples);
    const std::size_t n_bins = bins_of(c_.samples[0]);
    for (std::size_t begin = 0; begin < n_bins; begin += k_block) {
      const std::size_t n = std::min(k_block, n_bins - begin);
      expect(samples, begin, n);
      total += add_terms(begin, n);
      if (!(total < k_infinity)) return k_infinity;
    }
    if (!c_.integrals.empty()) {
      std::vector<SampleAt> integrals = at(c_.integrals);
      expect(integrals, 0, 1);
      BinTerm t;
      t.nu = 1.0;
      add_derivatives(0, t);
      total += expected_.nu[0][0];
    }
    return total;
  }

 private:
  std::vector<SampleAt> at(const std::vector<MorphedSample>& samples) const {
    std::vector<SampleAt> result;
    result.reserve(samples.size());
    for (const MorphedSample& s : samples) result.emplace_back(s, x_, active_);
    return result;
  }

  void expect(std::vector<SampleAt>& samples, std::size_t begin, std::size_t n) {
    expected_.clear();
    for (SampleAt& s : samples) s.add(begin, n, sums_.wanted(), expected_);
  }

  double add_terms(std::size_t begin, std::size_t n) {
    double total = 0.0;
    if (data_) counted_.evaluate(*data_, begin, n, true);
    if (reference_) referred_.evaluate(*reference_, begin, n, true);
    for (std::size_t b = 0; b < n; ++b) {
      const Count count = count_of(begin + b, b);
      const double nu = expected_.nu[0][b];
      const BinTerm t = term(begin + b, nu, count);
      total += t.value;
      if (!(total < k_infinity)) return k_infinity;
      if (sums_.wanted()) {
        add_derivatives(b, t);
        if (count.varies) add_data_derivatives(b, t);
      }
      if (reference_) total += add_reference(b, count);
    }
    return total;
  }

  BinTerm term(std::size_t bin, double nu, const Count& count) const {
    if (!c_.integrals.empty()) return event_term(nu, count.n);
    if (c_.mc_relative.empty()) return bare_term(c_.form, nu, count, 1.0);
    return simulated_term(c_.form, nu, count, c_.mc_relative[bin]);
  }

  Count count_of(std::size_t bin, std::size_t b) const {
    if (!data_) return {c_.data[bin], remainders_[bin], false};
    const double n = counted_.value[b];
    if (!(n > 0.0)) return {0.0, 0.0, false};
    return {n, c_.form == DataForm::poisson ? detail::stirling_remainder(n) : 0.0, true};
  }

  void add_derivatives(std::size_t b, const BinTerm& t) {
    if (!sums_.wanted()) return;
    for (std::size_t i = 0; i < active_.size(); ++i) {
      const double slope = expected_.first[i][b];
      sums_.slope(active_[i], t.nu * slope);
      for (std::size_t j = i; j < active_.size(); ++j) {
        sums_.curvature(active_[i], active_[j],
                        t.nu_nu * slope * expected_.first[j][b] + t.nu * expected_.pair(i, j)[b]);
      }
    }
  }

  /// Through n(z).
  void add_data_derivatives(std::size_t b, const BinTerm& t) {
    const std::size_t z = active_[data_->active];
    const double slope = counted_.first[b];
    sums_.slope(z, t.n * slope);
    sums_.curvature(z, z, t.n_n * slope * slope + t.n * counted_.second[b]);
    for (std::size_t i = 0; i < active_.size(); ++i) {
      const double mixed = t.nu_n * slope * expected_.first[i][b];
      sums_.curvature(active_[i], z, active_[i] == z ? 2.0 * mixed : mixed);
    }
  }

  /// n(z) ln reference(z)
  double add_reference(std::size_t b, const Count& count) {
    const double n = count.n, r = referred_.value[b];
    if (n == 0.0) return 0.0;
    if (!(r > 0.0)) return k_infinity;
    if (sums_.wanted()) {
      const std::size_t z = active_[reference_->active];
      const double n1 = count.varies ? counted_.first[b] : 0.0;
      const double n2 = count.varies ? counted_.second[b] : 0.0;
      const double slope = referred_.first[b] / r;
      sums_.slope(z, n1 * std::log(r) + n * slope);
      sums_.curvature(
          z, z,
          n2 * std::log(r) + 2.0 * n1 * slope + n * (referred_.second[b] / r - slope * slope));
    }
    return n * std::log(r);
  }

  const MorphedChannel& c_;
  const std::vector<double>& remainders_;
  const std::vector<std::size_t>& active_;
  std::span<const double> x_;
  Sums& sums_;
  Expectation expected_;
  std::optional<EffectAt> data_, reference_;
  Template counted_{}, referred_{};
};

}  // namespace

const char* to_string(DataForm form) {
  switch (form) {
    case DataForm::poisson:
      return "poisson";
    case DataForm::saturated:
      return "saturated";
    case DataForm::reference_ratio:
      return "reference_ratio";
  }
  return "";
}

MorphedLikelihood::MorphedLikelihood(MorphedParameter mu, std::vector<MorphedParameter> nuisances,
                                     std::vector<MorphedChannel> channels)
    : parameters_(std::move(nuisances)), channels_(std::move(channels)) {
  const std::size_t n_nuisances = parameters_.size();
  parameters_.insert(parameters_.begin(), std::move(mu));
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    check_parameter(parameters_[i], i == 0 ? "mu" : std::to_string(i));
  }
  if (channels_.empty()) refuse("a likelihood has at least one channel", "channels");
  remainders_.resize(channels_.size());
  for (std::size_t c = 0; c < channels_.size(); ++c) {
    const std::string& name = channels_[c].name;
    check_channel(channels_[c], n_nuisances,
                  "channel '" + (name.empty() ? std::to_string(c) : name) + "'");
    active_.push_back(active_parameters(channels_[c]));
    find_remainders(c);
  }
}

void MorphedLikelihood::find_remainders(std::size_t channel) {
  const MorphedChannel& c = channels_[channel];
  std::vector<double>& all = remainders_[channel];
  all.assign(bins_of(c.samples[0]), 0.0);
  if (c.data_effect || c.form != DataForm::poisson) return;
  for (std::size_t b = 0; b < all.size(); ++b) all[b] = detail::stirling_remainder(c.data[b]);
}

double MorphedLikelihood::nll(std::span<const double> x) const { return nll(x, {}, {}); }

double MorphedLikelihood::nll(std::span<const double> x, std::span<double> gradient,
                              std::span<double> hessian) const {
  const std::size_t n = parameters_.size();
  if (x.size() != n || gradient.size() * n != hessian.size() ||
      (!gradient.empty() && gradient.size() != n)) {
    refuse("there are " + std::to_string(n) + " parameters, and a gradient comes with a Hessian",
           "nll");
  }
  std::fill(gradient.begin(), gradient.end(), 0.0);
  std::fill(hessian.begin(), hessian.end(), 0.0);
  for (double v : x) {
    if (!std::isfinite(v)) return k_infinity;
  }
  Sums sums(gradient, hessian, n);
  double total = 0.0;
  for (std::size_t c = 0; c < channels_.size(); ++c) {
    total += ChannelAt(channels_[c], remainders_[c], active_[c], x, sums).run();
    if (!(total < k_infinity)) return k_infinity;
  }
  for (std::size_t i = 0; i < n; ++i) {
    const MorphedParameter& p = parameters_[i];
    if (!p.mean) continue;
    const double pull = (x[i] - *p.mean) / *p.sigma;
    total += 0.5 * pull * pull + std::log(*p.sigma) + k_log_sqrt_2pi;
    if (!sums.wanted()) continue;
    sums.slope(i, pull / *p.sigma);
    sums.curvature(i, i, 1.0 / (*p.sigma * *p.sigma));
  }
  if (sums.wanted()) sums.mirror();
  return total;
}

std::vector<double> MorphedLikelihood::expected(std::size_t channel,
                                                std::span<const double> x) const {
  if (channel >= channels_.size()) {
    refuse("there is no channel " + std::to_string(channel), "expected");
  }
  if (x.size() != parameters_.size()) {
    refuse("there are " + std::to_string(parameters_.size()) + " parameters", "expected");
  }
  const MorphedChannel& c = channels_[channel];
  std::vector<double> nu(bins_of(c.samples[0]));
  Expectation block(active_[channel].size(), false);
  std::vector<SampleAt> samples;
  samples.reserve(c.samples.size());
  for (const MorphedSample& s : c.samples) samples.emplace_back(s, x, active_[channel]);
  for (std::size_t begin = 0; begin < nu.size(); begin += k_block) {
    const std::size_t n = std::min(k_block, nu.size() - begin);
    block.clear();
    for (SampleAt& s : samples) s.add(begin, n, false, block);
    std::copy_n(block.nu[0], n, nu.begin() + static_cast<std::ptrdiff_t>(begin));
  }
  return nu;
}

void MorphedLikelihood::set_data(std::size_t channel, std::vector<double> data) {
  if (channel >= channels_.size()) {
    refuse("there is no channel " + std::to_string(channel), "set_data");
  }
  MorphedChannel& c = channels_[channel];
  check_numbers(data, bins_of(c.samples[0]), "data", "channel '" + c.name + "'");
  c.data = std::move(data);
  c.data_effect.reset();
  find_remainders(channel);
}

void MorphedLikelihood::set_data(std::size_t channel, MorphedEffect data) {
  if (channel >= channels_.size()) {
    refuse("there is no channel " + std::to_string(channel), "set_data");
  }
  MorphedChannel changed = channels_[channel];
  changed.data_effect.emplace(std::move(data));
  check_channel(changed, parameters_.size() - 1, "channel '" + changed.name + "'");
  channels_[channel] = std::move(changed);
  active_[channel] = active_parameters(channels_[channel]);
  find_remainders(channel);
}

void MorphedLikelihood::set_asimov(std::span<const double> x) {
  for (std::size_t c = 0; c < channels_.size(); ++c) {
    if (channels_[c].integrals.empty()) continue;
    refuse("the expected data of an unbinned channel are a sample: use set_data",
           "channel '" + channels_[c].name + "'");
  }
  for (std::size_t c = 0; c < channels_.size(); ++c) set_data(c, expected(c, x));
}

MorphedChannel auxiliary_measurement(const AuxiliaryMeasurement& m) {
  const auto fail = [](const char* what, const char* where) {
    throw Error(ErrorKind::usage, what, std::string("auxiliary_measurement.") + where);
  };
  if (!std::isfinite(m.truth)) fail("is not finite", "truth");
  if (!(std::isfinite(m.sigma) && m.sigma > 0.0)) fail("must be above 0", "sigma");
  if (!(std::isfinite(m.events) && m.events > 0.0)) fail("must be above 0", "events");
  if (m.edges.size() < 2) fail("there are at least two edges", "edges");
  for (std::size_t i = 0; i + 1 < m.edges.size(); ++i) {
    if (!(m.edges[i] < m.edges[i + 1])) fail("the edges do not rise", "edges");
  }
  // A difference of the smaller tails, which keeps its digits.
  const auto content = [&](double z, std::size_t bin) {
    const double low = (m.edges[bin] - z) / m.sigma, high = (m.edges[bin + 1] - z) / m.sigma;
    return m.events *
           (low > 0.0 ? normal_cdf(-low) - normal_cdf(-high) : normal_cdf(high) - normal_cdf(low));
  };
  MorphedChannel channel;
  channel.name = "auxiliary";
  std::vector<double> templates;
  for (double z : m.grid) {
    for (std::size_t b = 0; b + 1 < m.edges.size(); ++b) templates.push_back(content(z, b));
  }
  for (std::size_t b = 0; b + 1 < m.edges.size(); ++b) channel.data.push_back(content(m.truth, b));
  MorphedSample sample{"auxiliary"};
  sample.effects.push_back({m.nuisance, Morphing(m.kind, m.grid, std::move(templates))});
  channel.samples.push_back(std::move(sample));
  return channel;
}

}  // namespace slalom
