// SPDX-License-Identifier: Apache-2.0
#include "slalom/core/topics.hpp"

#include <algorithm>
#include <boost/math/special_functions/digamma.hpp>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>

#include "slalom/core/error.hpp"
#include "slalom/core/random.hpp"

namespace slalom {

namespace {

[[noreturn]] void refuse(const std::string& what) { throw Error(ErrorKind::model, what, "topics"); }

/// Checked sizes.
struct Sizes {
  std::size_t simulations, bins, topics;
};

Sizes check(const std::vector<double>& h, std::size_t bins, std::size_t topics,
            const TopicOptions& o) {
  if (bins == 0 || h.empty() || h.size() % bins != 0) {
    refuse(std::to_string(h.size()) + " counts are no histograms of " + std::to_string(bins) +
           " bins");
  }
  if (topics == 0) refuse("there is at least one topic");
  if (o.starts < 1 || o.max_iterations < 1 || !(o.tolerance > 0.0)) {
    refuse("starts, iterations and tolerance are above 0");
  }
  if (!(std::isfinite(o.topic_prior) && o.topic_prior > 0.0 && std::isfinite(o.weight_prior) &&
        o.weight_prior > 0.0)) {
    refuse("concentrations are above 0");
  }
  const std::size_t m = h.size() / bins;
  for (std::size_t i = 0; i < m; ++i) {
    double sum = 0.0;
    for (std::size_t v = 0; v < bins; ++v) {
      const double n = h[i * bins + v];
      if (!(std::isfinite(n) && n >= 0.0)) {
        refuse("simulation " + std::to_string(i) + ", bin " + std::to_string(v) +
               ": the count is not finite, or negative");
      }
      sum += n;
    }
    if (!(sum > 0.0)) refuse("simulation " + std::to_string(i) + " has no entries");
  }
  return {m, bins, topics};
}

/// Rows scaled to a sum of one.
void normalise(std::vector<double>& values, std::size_t columns) {
  for (std::size_t at = 0; at < values.size(); at += columns) {
    const auto begin = values.begin() + static_cast<std::ptrdiff_t>(at);
    const auto end = begin + static_cast<std::ptrdiff_t>(columns);
    const double sum = std::accumulate(begin, end, 0.0);
    for (auto it = begin; it != end; ++it)
      *it = sum > 0.0 ? *it / sum : 1.0 / static_cast<double>(columns);
  }
}

/// Topics that start near the mean of all simulations, each pulled towards one of them.
Topics start_of(const std::vector<double>& h, const Sizes& n, std::uint64_t seed, int start) {
  RandomStream random(seed, static_cast<std::uint64_t>(start), 7);
  Topics t;
  t.count = n.topics;
  t.topics.assign(n.topics * n.bins, 0.0);
  std::vector<double> shares = h;
  normalise(shares, n.bins);
  std::vector<double> mean(n.bins, 0.0);
  for (std::size_t i = 0; i < shares.size(); ++i) {
    mean[i % n.bins] += shares[i] / static_cast<double>(n.simulations);
  }
  for (std::size_t k = 0; k < n.topics; ++k) {
    const std::size_t near =
        static_cast<std::size_t>(random.uniform() * static_cast<double>(n.simulations));
    for (std::size_t v = 0; v < n.bins; ++v) {
      t.topics[k * n.bins + v] =
          (0.5 * mean[v] + 0.5 * shares[near * n.bins + v]) * (0.5 + random.uniform());
    }
  }
  t.weights.resize(n.simulations * n.topics);
  for (double& w : t.weights) w = 0.5 + random.uniform();
  normalise(t.topics, n.bins);
  normalise(t.weights, n.topics);
  return t;
}

/// Expected counts per topic: [M * K] and [K * V], given what topics and weights are proportional
/// to. Returns -2 sum n ln(share) - the same for the histograms.
double expectation(const std::vector<double>& h, const Sizes& n, const std::vector<double>& topics,
                   const std::vector<double>& weights, std::vector<double>& of_weights,
                   std::vector<double>& of_topics) {
  of_weights.assign(n.simulations * n.topics, 0.0);
  of_topics.assign(n.topics * n.bins, 0.0);
  double loss = 0.0;
  std::vector<double> share(n.bins), ratio(n.bins);
  for (std::size_t m = 0; m < n.simulations; ++m) {
    const double* count = h.data() + m * n.bins;
    const double* w = weights.data() + m * n.topics;
    std::fill(share.begin(), share.end(), 0.0);
    double sum = 0.0;
    for (std::size_t k = 0; k < n.topics; ++k) {
      const double* t = topics.data() + k * n.bins;
      for (std::size_t v = 0; v < n.bins; ++v) share[v] += w[k] * t[v];
    }
    for (std::size_t v = 0; v < n.bins; ++v) sum += count[v];
    for (std::size_t v = 0; v < n.bins; ++v) {
      ratio[v] = 0.0;
      if (count[v] == 0.0) continue;
      ratio[v] = count[v] / share[v];
      loss += 2.0 * count[v] * std::log(ratio[v] / sum);
    }
    for (std::size_t k = 0; k < n.topics; ++k) {
      const double* t = topics.data() + k * n.bins;
      double* into = of_topics.data() + k * n.bins;
      double total = 0.0;
      for (std::size_t v = 0; v < n.bins; ++v) {
        const double part = w[k] * t[v] * ratio[v];
        into[v] += part;
        total += part;
      }
      of_weights[m * n.topics + k] = total;
    }
  }
  return loss;
}

Topics nmf_from(const std::vector<double>& h, const Sizes& n, const TopicOptions& o, int start) {
  Topics t = start_of(h, n, o.seed, start);
  std::vector<double> weights, topics;
  double before = std::numeric_limits<double>::infinity();
  for (t.iterations = 0; t.iterations < o.max_iterations; ++t.iterations) {
    t.loss = expectation(h, n, t.topics, t.weights, weights, topics);
    if (t.iterations % 10 == 0) {
      if (before - t.loss <= o.tolerance * (std::abs(t.loss) + 1.0)) {
        t.converged = true;
        break;
      }
      before = t.loss;
    }
    t.weights.swap(weights);
    t.topics.swap(topics);
    normalise(t.weights, n.topics);
    normalise(t.topics, n.bins);
  }
  return t;
}

/// exp(E[ln p]) of the rows' Dirichlet distributions, and minus what they add to the bound: the
/// divergence from a prior of equal concentrations.
double geometric_means(const std::vector<double>& concentrations, std::size_t columns, double prior,
                       std::vector<double>& means) {
  using boost::math::digamma;
  const auto log_gamma = [](double x) {
    return std::lgamma(x);  // NOLINT(concurrency-mt-unsafe): not its sign
  };
  means.resize(concentrations.size());
  double divergence = 0.0;
  for (std::size_t at = 0; at < concentrations.size(); at += columns) {
    double sum = 0.0;
    for (std::size_t i = 0; i < columns; ++i) sum += concentrations[at + i];
    const double psi = digamma(sum);
    divergence += log_gamma(sum) - log_gamma(prior * static_cast<double>(columns)) +
                  static_cast<double>(columns) * log_gamma(prior);
    for (std::size_t i = 0; i < columns; ++i) {
      const double c = concentrations[at + i], mean = digamma(c) - psi;
      means[at + i] = std::exp(mean);
      divergence += (c - prior) * mean - log_gamma(c);
    }
  }
  return divergence;
}

Topics lda_from(const std::vector<double>& h, const Sizes& n, const TopicOptions& o, int start) {
  Topics t = start_of(h, n, o.seed, start);
  std::vector<double> weights, topics, weight_means, topic_means;
  expectation(h, n, t.topics, t.weights, weights, topics);
  const auto add = [](std::vector<double>& values, double prior) {
    for (double& x : values) x += prior;
  };
  double before = std::numeric_limits<double>::infinity();
  for (t.iterations = 0; t.iterations < o.max_iterations; ++t.iterations) {
    add(weights, o.weight_prior);
    add(topics, o.topic_prior);
    t.weights = weights;
    t.topics = topics;
    const double divergence = geometric_means(weights, n.topics, o.weight_prior, weight_means) +
                              geometric_means(topics, n.bins, o.topic_prior, topic_means);
    t.loss = 0.5 * expectation(h, n, topic_means, weight_means, weights, topics) + divergence;
    if (t.iterations % 10 != 0) continue;
    if (before - t.loss <= o.tolerance * (std::abs(t.loss) + 1.0)) {
      t.converged = true;
      break;
    }
    before = t.loss;
  }
  normalise(t.weights, n.topics);
  normalise(t.topics, n.bins);
  return t;
}

template <class One>
Topics best_of(const TopicOptions& o, One&& one) {
  Topics best = one(0);
  for (int s = 1; s < o.starts; ++s) {
    Topics t = one(s);
    if (t.loss < best.loss) best = std::move(t);
  }
  return best;
}

}  // namespace

Topics nmf_topics(const std::vector<double>& histograms, std::size_t bins, std::size_t topics,
                  const TopicOptions& options) {
  const Sizes n = check(histograms, bins, topics, options);
  return best_of(options, [&](int s) { return nmf_from(histograms, n, options, s); });
}

Topics lda_topics(const std::vector<double>& histograms, std::size_t bins, std::size_t topics,
                  const TopicOptions& options) {
  const Sizes n = check(histograms, bins, topics, options);
  return best_of(options, [&](int s) { return lda_from(histograms, n, options, s); });
}

}  // namespace slalom
