// SPDX-License-Identifier: Apache-2.0
#include "slalom/workflows/resonance_problem.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/erf.h>
#include <ATen/ops/full.h>
#include <ATen/ops/log.h>
#include <ATen/ops/log1p.h>
#include <ATen/ops/sqrt.h>
#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

#include "cli/suggest.hpp"
#include "slalom/core/error.hpp"
#include "slalom/core/random.hpp"

namespace slalom {

namespace {

/// Keep the events apart from those of other problems, toys and shuffles of the same seed.
constexpr std::uint32_t k_background_family = 0x7265736f, k_signal_family = 0x72657369;

// ---- the dijets: masses in TeV

constexpr double k_energy = 13.0;  // collisions
constexpr double k_mass_low = 2.5, k_mass_high = 5.0;
constexpr double k_region_low = 3.3, k_region_high = 3.7;
constexpr double k_power_1 = 4.831, k_power_2 = 4.0;  // share of the signal region: .1220
constexpr double k_resonance = 3.5, k_resonance_width = 0.1;
/// Jet masses of the background: Gamma(shape), scale at 3.5 TeV, growing as sqrt(mass).
struct GammaShape {
  double shape, scale;
};
constexpr GammaShape k_light{2.6, 0.03}, k_difference{2.0, 0.08};
constexpr double k_light_width = 0.02, k_difference_width = 0.05;  // of the signal
/// Subjettiness ratios: Beta(a, b); of the background a grows with the mass.
constexpr double k_background_a = 4.0, k_background_b = 3.0, k_a_slope = 0.2;
constexpr double k_signal_a = 3.0, k_signal_b = 5.0;

double mass_shape(double mass) {
  const double x = mass / k_energy;
  return std::pow(1.0 - x, k_power_1) * std::pow(x, -k_power_2);
}

/// The distribution function of the mass, tabulated finely: linear in between, which is a density
/// constant over .15 GeV.
class MassTable {
 public:
  MassTable() : sums_(k_steps + 1, 0.0) {
    for (std::size_t i = 0; i < k_steps; ++i) {
      const double a = at(i), b = at(i + 1), middle = 0.5 * (a + b);
      sums_[i + 1] =
          sums_[i] + (mass_shape(a) + 4.0 * mass_shape(middle) + mass_shape(b)) / 6.0 * (b - a);
    }
  }
  double draw(double u) const {
    const double wanted = u * sums_.back();
    const auto above = std::upper_bound(sums_.begin(), sums_.end(), wanted);
    const auto i = static_cast<std::size_t>(std::clamp<std::ptrdiff_t>(
        above - sums_.begin() - 1, 0, static_cast<std::ptrdiff_t>(k_steps) - 1));
    const double part = (wanted - sums_[i]) / (sums_[i + 1] - sums_[i]);
    return at(i) + part * (k_mass_high - k_mass_low) / static_cast<double>(k_steps);
  }
  double share(double low, double high) const {
    return (sum_to(high) - sum_to(low)) / sums_.back();
  }

 private:
  static constexpr std::size_t k_steps = 16384;
  static double at(std::size_t i) {
    return k_mass_low +
           (k_mass_high - k_mass_low) * static_cast<double>(i) / static_cast<double>(k_steps);
  }
  double sum_to(double mass) const {
    const double place =
        (mass - k_mass_low) / (k_mass_high - k_mass_low) * static_cast<double>(k_steps);
    const auto i = static_cast<std::size_t>(place);
    return sums_[i] + (sums_[i + 1] - sums_[i]) * (place - static_cast<double>(i));
  }
  std::vector<double> sums_;
};

const MassTable& mass_table() {
  static const MassTable table;
  return table;
}

/// Gamma of shape >= 1, scale 1 (Marsaglia and Tsang, ACM Trans. Math. Softw. 26 (2000) 363).
double draw_gamma(RandomStream& random, double shape) {
  const double d = shape - 1.0 / 3.0, c = 1.0 / std::sqrt(9.0 * d);
  for (;;) {
    const double x = random.normal(), v = std::pow(1.0 + c * x, 3);
    if (v <= 0.0) continue;
    if (std::log(random.uniform()) < 0.5 * x * x + d - d * v + d * std::log(v)) return d * v;
  }
}

double draw_beta(RandomStream& random, double a, double b) {
  const double x = draw_gamma(random, a), y = draw_gamma(random, b);
  return x / (x + y);
}

double draw_positive(RandomStream& random, double mean, double width) {
  for (;;) {
    const double x = mean + width * random.normal();
    if (x > 0.0) return x;
  }
}

double background_a(double mass) { return k_background_a + k_a_slope * (mass - k_resonance); }

void draw_background(RandomStream& random, double* event) {
  const double mass = mass_table().draw(random.uniform()), growth = std::sqrt(mass / k_resonance);
  event[0] = mass;
  event[1] = k_light.scale * growth * draw_gamma(random, k_light.shape);
  event[2] = k_difference.scale * growth * draw_gamma(random, k_difference.shape);
  event[3] = draw_beta(random, background_a(mass), k_background_b);
  event[4] = draw_beta(random, background_a(mass), k_background_b);
}

void draw_signal(RandomStream& random, const double* theta, double* event) {
  do {
    event[0] = k_resonance + k_resonance_width * random.normal();
  } while (event[0] <= k_region_low || event[0] >= k_region_high);
  event[1] = draw_positive(random, theta[0], k_light_width);
  event[2] = draw_positive(random, theta[1], k_difference_width);
  event[3] = draw_beta(random, k_signal_a, k_signal_b);
  event[4] = draw_beta(random, k_signal_a, k_signal_b);
}

Tensor log_gamma_density(const Tensor& x, const GammaShape& gamma, const Tensor& log_growth) {
  const double constant = -std::lgamma(gamma.shape) - gamma.shape * std::log(gamma.scale);
  return (gamma.shape - 1.0) * at::log(x) - x / gamma.scale * at::exp(-log_growth) -
         gamma.shape * log_growth + constant;
}

Tensor log_beta_density(const Tensor& x, const Tensor& a, double b) {
  return (a - 1.0) * at::log(x) + (b - 1.0) * at::log1p(-x) + at::lgamma(a + b) - at::lgamma(a) -
         std::lgamma(b);
}

/// A normal density above 0.
Tensor log_positive_normal(const Tensor& x, const Tensor& mean, double width) {
  const Tensor pull = (x - mean) / width,
               share = 0.5 * (1.0 + at::erf(mean / (width * std::numbers::sqrt2)));
  return -0.5 * pull * pull - std::log(width) - 0.5 * std::log(2.0 * std::numbers::pi) -
         at::log(share);
}

Tensor log_background(const Tensor& features, const Tensor& mass) {
  const Tensor x = features.to(at::kDouble), m = mass.to(at::kDouble),
               log_growth = 0.5 * at::log(m / k_resonance),
               a = k_background_a + k_a_slope * (m - k_resonance);
  return log_gamma_density(x.select(1, 0), k_light, log_growth) +
         log_gamma_density(x.select(1, 1), k_difference, log_growth) +
         log_beta_density(x.select(1, 2), a, k_background_b) +
         log_beta_density(x.select(1, 3), a, k_background_b);
}

Tensor log_signal(const Tensor& features, const Tensor& theta) {
  const Tensor x = features.to(at::kDouble), t = theta.to(at::kDouble),
               a = at::full({}, k_signal_a, at::kDouble);
  return log_positive_normal(x.select(1, 0), t.select(-1, 0), k_light_width) +
         log_positive_normal(x.select(1, 1), t.select(-1, 1), k_difference_width) +
         log_beta_density(x.select(1, 2), a, k_signal_b) +
         log_beta_density(x.select(1, 3), a, k_signal_b);
}

const std::vector<std::string> k_columns = {"mjj", "mj_min", "delta_mj", "tau21_1", "tau21_2"};

EventBatch make_sample(const std::vector<float>& values, std::int64_t label) {
  const auto width = static_cast<std::int64_t>(k_columns.size()),
             n = static_cast<std::int64_t>(values.size()) / width;
  const Tensor features = at::empty({n, width}, at::kFloat);
  std::copy(values.begin(), values.end(), features.data_ptr<float>());
  return make_events(k_columns, features, {}, at::full({n}, label, at::kLong));
}

void require_events(std::int64_t n) {
  if (n <= 0) throw Error(ErrorKind::usage, "the number of events must be positive", "dijets");
}

EventBatch background_events(std::int64_t n, std::uint64_t seed) {
  require_events(n);
  RandomStream random(seed, 0, k_background_family);
  std::vector<float> values;
  values.reserve(static_cast<std::size_t>(n) * k_columns.size());
  double event[5];
  for (std::int64_t i = 0; i < n; ++i) {
    draw_background(random, event);
    values.insert(values.end(), event, event + 5);
  }
  return make_sample(values, 0);
}

EventBatch signal_events(std::int64_t n, const Tensor& theta, std::uint64_t seed) {
  require_events(n);
  const bool one = theta.dim() == 1;
  if (theta.size(-1) != 2 || (!one && theta.size(0) != n)) {
    throw Error(ErrorKind::usage, "the signal has 2 parameters", "dijets");
  }
  const Tensor each = theta.to(at::kDouble).contiguous();
  RandomStream random(seed, 0, k_signal_family);
  std::vector<float> values;
  values.reserve(static_cast<std::size_t>(n) * k_columns.size());
  double event[5];
  for (std::int64_t i = 0; i < n; ++i) {
    draw_signal(random, each.data_ptr<double>() + (one ? 0 : 2 * i), event);
    values.insert(values.end(), event, event + 5);
  }
  return make_sample(values, 1);
}

ResonanceProblem dijets() {
  ResonanceProblem result;
  result.name = "dijets";
  result.summary =
      "A surrogate of the LHC Olympics R&D search for X -> YZ in two jets (arXiv:2101.08320) with "
      "known densities: jet masses and subjettiness ratios that change slowly with the dijet mass.";
  result.mass = k_columns.front();
  result.features.assign(k_columns.begin() + 1, k_columns.end());
  result.mass_low = k_mass_low;
  result.mass_high = k_mass_high;
  result.region_low = k_region_low;
  result.region_high = k_region_high;
  result.region_share = mass_table().share(k_region_low, k_region_high);
  result.parameters = {{"mj_min", 0.06, 0.2}, {"delta_mj", 0.15, 0.6}};
  result.theta = {0.1, 0.4};
  result.background = background_events;
  result.signal = signal_events;
  result.log_background = log_background;
  result.log_signal = log_signal;
  return result;
}

}  // namespace

const std::vector<std::string>& resonance_problem_names() {
  static const std::vector<std::string> names = {"dijets"};
  return names;
}

ResonanceProblem make_resonance_problem(const std::string& name) {
  if (name == "dijets") return dijets();
  throw Error(ErrorKind::usage, "there is no resonance problem '" + name + "'" +
                                    cli::did_you_mean(name, resonance_problem_names()));
}

}  // namespace slalom
