// SPDX-License-Identifier: Apache-2.0
#include "support/synthetic.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <utility>

#include "slalom/core/error.hpp"
#include "slalom/core/workspace.hpp"

namespace slalom::test {

namespace {

// Sums of products are spelled with std::fma, or with a division between product and sum, so that
// no compiler may round them differently.
constexpr std::int64_t million = 1000000;

// SplitMix64 (Steele, Lea and Flood 2014): a counter, hashed.
class Random {
 public:
  explicit Random(std::uint64_t seed) : counter_(seed) {}

  // Uniform in [lower, upper].
  std::int64_t integer(std::int64_t lower, std::int64_t upper) {
    const auto range = static_cast<std::uint64_t>(upper - lower) + 1;
    return lower + static_cast<std::int64_t>(next() % range);
  }

  // Standard normal: twelve uniform numbers, in units of 1e-6.
  double normal() {
    std::int64_t sum = -6 * million;
    for (int i = 0; i < 12; ++i) sum += integer(0, million);
    return static_cast<double>(sum) / static_cast<double>(million);
  }

 private:
  std::uint64_t next() {
    counter_ += 0x9e3779b97f4a7c15ULL;
    std::uint64_t z = counter_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
  }
  std::uint64_t counter_;
};

// 1 + parts * 1e-6
double one_plus(std::int64_t parts) {
  return static_cast<double>(million + parts) / static_cast<double>(million);
}

std::string padded(const std::string& prefix, int number, int width) {
  const std::string digits = std::to_string(number);
  const auto zeros = static_cast<std::size_t>(width) - digits.size();
  return prefix + std::string(zeros, '0') + digits;
}

std::vector<double> signal_yields(Random& random, int n_bins) {
  const int centre = static_cast<int>(random.integer(n_bins / 3, 2 * n_bins / 3));
  const int width = 1 + n_bins / 10;
  const std::int64_t height = random.integer(20 * million, 40 * million);
  std::vector<double> yields;
  for (int b = 0; b < n_bins; ++b) {
    const int peak = std::max(0, width - std::abs(b - centre));
    const std::int64_t parts =
        height / 50 + height * peak / width + random.integer(0, million / 10);
    yields.push_back(static_cast<double>(parts) / static_cast<double>(million));
  }
  return yields;
}

std::vector<double> background_yields(Random& random, int n_bins) {
  const std::int64_t scale = random.integer(60, 360);
  const std::int64_t slope = random.integer(0, 300);  // in per cent
  std::vector<double> yields;
  for (int b = 0; b < n_bins; ++b) {
    const auto numerator = static_cast<double>(scale * 100 * n_bins);
    const auto denominator = static_cast<double>(100 * n_bins + slope * b);
    yields.push_back(numerator / denominator * one_plus(random.integer(-20000, 20000)));
  }
  return yields;
}

Modifier histosys(Random& random, const std::string& name, const std::vector<double>& nominal) {
  Modifier m{name, ModifierType::histosys, {}, {}, 1.0, 1.0, {}};
  const std::int64_t slope = random.integer(-40000, 40000);
  const std::int64_t ratio = random.integer(70, 130);  // of the two sides, in per cent
  const auto last = static_cast<std::int64_t>(nominal.size()) - 1;
  for (std::int64_t b = 0; b <= last; ++b) {
    const std::int64_t tilt = slope * (2 * b - last) / last;
    const double yield = nominal[static_cast<std::size_t>(b)];
    m.hi_data.push_back(yield * one_plus(tilt + random.integer(-5000, 5000)));
    m.lo_data.push_back(yield * one_plus(-tilt * ratio / 100 + random.integer(-5000, 5000)));
  }
  return m;
}

Modifier normsys(Random& random, const std::string& name) {
  const std::int64_t size = random.integer(-30000, 30000);
  const std::int64_t ratio = random.integer(80, 120);
  return {name, ModifierType::normsys, {}, {}, one_plus(size), one_plus(-size * ratio / 100), {}};
}

// Yields of a sample with every alpha at -1, 0 or +1.
std::vector<double> varied(const Sample& sample, const std::vector<std::int64_t>& alphas,
                           const std::vector<std::pair<std::size_t, const Modifier*>>& effects) {
  std::vector<double> yields = sample.data;
  for (const auto& [parameter, m] : effects) {
    if (m->type != ModifierType::histosys || alphas[parameter] == 0) continue;
    const std::vector<double>& side = alphas[parameter] > 0 ? m->hi_data : m->lo_data;
    for (std::size_t b = 0; b < yields.size(); ++b) yields[b] += side[b] - sample.data[b];
  }
  for (const auto& [parameter, m] : effects) {
    if (m->type != ModifierType::normsys || alphas[parameter] == 0) continue;
    for (double& yield : yields) yield *= alphas[parameter] > 0 ? m->hi : m->lo;
  }
  return yields;
}

}  // namespace

const std::vector<SyntheticOptions>& synthetic_models() {
  static const std::vector<SyntheticOptions> models = {{"synthetic_111", 5, 10, 5, 60, 2},
                                                       {"synthetic_601", 10, 50, 8, 100, 2},
                                                       {"synthetic_3301", 30, 100, 10, 300, 9}};
  return models;
}

const SyntheticOptions& synthetic_model(const std::string& name) {
  std::string names;
  for (const SyntheticOptions& options : synthetic_models()) {
    if (options.name == name) return options;
    names += (names.empty() ? "" : ", ") + options.name;
  }
  throw Error(ErrorKind::usage, "there is no synthetic model of this name, only " + names, name);
}

nlohmann::json synthetic_workspace(const SyntheticOptions& options) {
  Random random(options.seed);
  const auto n_bins = static_cast<std::size_t>(options.n_bins);

  std::vector<std::int64_t> alphas;
  for (int i = 0; i < options.n_systematics; ++i) {
    alphas.push_back(random.integer(-1, 2) % 2);  // -1, 0, 1, 0
  }

  Workspace workspace;
  for (int c = 0; c < options.n_channels; ++c) {
    Channel channel{padded("channel_", c, 2), {}};
    std::vector<double> total(n_bins, 0.0);
    std::vector<double> nominal(n_bins, 0.0);
    std::vector<double> variance(n_bins, 0.0);
    for (int s = 0; s < options.n_samples; ++s) {
      const bool signal = s == 0;
      Sample sample;
      sample.name = signal ? "signal" : padded("background_", s, 2);
      sample.data = signal ? signal_yields(random, options.n_bins)
                           : background_yields(random, options.n_bins);

      std::vector<std::size_t> parameters;
      for (int i = 0; i < options.n_systematics; ++i) {
        const std::string name = padded("alpha_", i, 3);
        sample.modifiers.push_back(normsys(random, name));
        parameters.push_back(static_cast<std::size_t>(i));
        if (random.integer(1, options.histosys_one_in) == 1) {
          sample.modifiers.push_back(histosys(random, name, sample.data));
          parameters.push_back(static_cast<std::size_t>(i));
        }
      }
      std::vector<std::pair<std::size_t, const Modifier*>> effects;
      for (std::size_t m = 0; m < parameters.size(); ++m) {
        effects.emplace_back(parameters[m], &sample.modifiers[m]);
      }
      const std::vector<double> yields = varied(sample, alphas, effects);

      // Weights of 0.1 to 0.4 events per simulated one.
      const double weight = one_plus(random.integer(-900000, -600000));
      std::vector<double> uncertainty;
      for (std::size_t b = 0; b < n_bins; ++b) {
        const double square = sample.data[b] * weight;
        uncertainty.push_back(std::sqrt(square));
        total[b] += yields[b];
        nominal[b] += sample.data[b];
        variance[b] += square;
      }
      if (signal) {
        sample.modifiers.push_back({"mu", ModifierType::normfactor, {}, {}, 1.0, 1.0, {}});
      }
      sample.modifiers.push_back({"staterror_" + channel.name,
                                  ModifierType::staterror,
                                  {},
                                  {},
                                  1.0,
                                  1.0,
                                  std::move(uncertainty)});
      channel.samples.push_back(std::move(sample));
    }

    Observation observation{channel.name, {}};
    for (std::size_t b = 0; b < n_bins; ++b) {
      const double width = std::sqrt(variance[b]) / nominal[b];
      const double rate = total[b] * std::fma(width, random.normal(), 1.0);
      const double count = std::floor(std::fma(std::sqrt(rate), random.normal(), rate));
      observation.data.push_back(std::max(0.0, count));
    }
    workspace.observations.push_back(std::move(observation));
    workspace.channels.push_back(std::move(channel));
  }
  workspace.measurements = {{"measurement", "mu", {}}};
  return to_json(workspace);
}

}  // namespace slalom::test
