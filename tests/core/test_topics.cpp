// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <numeric>

#include "slalom/core/error.hpp"
#include "slalom/core/random.hpp"
#include "slalom/core/topics.hpp"
#include "support/catch.hpp"
#include "support/fails.hpp"

using Catch::Matchers::WithinAbs;
using slalom::ErrorKind;
using slalom::lda_topics;
using slalom::nmf_topics;
using slalom::RandomStream;
using slalom::TopicOptions;
using slalom::Topics;
using slalom::test::check_fails;

namespace {

constexpr std::size_t k_bins = 30, k_topics = 3, k_simulations = 80;

/// Peaks that have bins of their own, so that there is only one factorisation.
std::vector<double> true_topics() {
  std::vector<double> t(k_topics * k_bins, 0.0);
  for (std::size_t k = 0; k < k_topics; ++k) {
    double sum = 0.0;
    for (std::size_t v = 0; v < k_bins; ++v) {
      const double x = (static_cast<double>(v) - 5.0 - 10.0 * static_cast<double>(k)) / 3.0;
      t[k * k_bins + v] = std::abs(x) < 3.0 ? std::exp(-0.5 * x * x) : 0.0;
      sum += t[k * k_bins + v];
    }
    for (std::size_t v = 0; v < k_bins; ++v) t[k * k_bins + v] /= sum;
  }
  return t;
}

/// Expected counts of simulations with random weights; some are nearly one topic alone.
std::vector<double> expected(double events) {
  const std::vector<double> t = true_topics();
  std::vector<double> h(k_simulations * k_bins, 0.0);
  for (std::size_t m = 0; m < k_simulations; ++m) {
    RandomStream random(4, m);
    double w[k_topics], sum = 0.0;
    for (double& x : w) {
      x = std::pow(-std::log(random.uniform()), 3.0);
      sum += x;
    }
    for (std::size_t k = 0; k < k_topics; ++k) {
      for (std::size_t v = 0; v < k_bins; ++v) {
        h[m * k_bins + v] += events * w[k] / sum * t[k * k_bins + v];
      }
    }
  }
  return h;
}

std::vector<double> counts(double events) {
  std::vector<double> h = expected(events);
  RandomStream random(9, 0);
  for (double& n : h) n = random.poisson(n);
  return h;
}

/// Largest difference of a bin, with the best order of topics.
double distance(const Topics& found) {
  const std::vector<double> t = true_topics();
  std::vector<std::size_t> order = {0, 1, 2};
  double best = 1e9;
  do {
    double largest = 0.0;
    for (std::size_t k = 0; k < k_topics; ++k) {
      for (std::size_t v = 0; v < k_bins; ++v) {
        largest =
            std::max(largest, std::abs(found.topics[order[k] * k_bins + v] - t[k * k_bins + v]));
      }
    }
    best = std::min(best, largest);
  } while (std::next_permutation(order.begin(), order.end()));
  return best;
}

void check_shares(const Topics& t) {
  REQUIRE(t.topics.size() == t.count * k_bins);
  REQUIRE(t.weights.size() == k_simulations * t.count);
  for (double x : t.topics) CHECK(x >= 0.0);
  for (std::size_t k = 0; k < t.count; ++k) {
    const auto at = t.topics.begin() + static_cast<std::ptrdiff_t>(k * k_bins);
    CHECK_THAT(std::accumulate(at, at + k_bins, 0.0), WithinAbs(1.0, 1e-12));
  }
  for (std::size_t m = 0; m < k_simulations; ++m) {
    const auto at = t.weights.begin() + static_cast<std::ptrdiff_t>(m * t.count);
    CHECK_THAT(std::accumulate(at, at + static_cast<std::ptrdiff_t>(t.count), 0.0),
               WithinAbs(1.0, 1e-12));
  }
}

}  // namespace

TEST_CASE("factorisation finds the topics", "[core][topics]") {
  TopicOptions o;
  o.starts = 3;
  o.max_iterations = 20000;
  o.tolerance = 1e-9;
  const Topics exact = nmf_topics(expected(1e4), k_bins, k_topics, o);
  check_shares(exact);
  CHECK(exact.loss < 1.0);  // without fluctuations it is 0 at the truth
  CHECK(distance(exact) < 0.005);
  const Topics noisy = nmf_topics(counts(1e4), k_bins, k_topics, o);
  CHECK(noisy.converged);
  CHECK(distance(noisy) < 0.01);
  // Twice the log likelihood ratio has about as many degrees as bins with entries, less parameters.
  CHECK(noisy.loss < 1.2 * k_simulations * k_bins);
}

TEST_CASE("the loss falls, and more starts are no worse", "[core][topics]") {
  const std::vector<double> h = counts(500.0);
  double last[2] = {1e300, 1e300};
  for (int iterations : {1, 2, 3, 5, 9, 30, 200}) {
    TopicOptions o;
    o.max_iterations = iterations;
    o.tolerance = 1e-14;
    const double nmf = nmf_topics(h, k_bins, 4, o).loss, lda = lda_topics(h, k_bins, 4, o).loss;
    INFO(iterations << " iterations");
    CHECK(nmf <= last[0] * (1.0 + 1e-12));
    CHECK(lda <= last[1] * (1.0 + 1e-12));
    last[0] = nmf;
    last[1] = lda;
  }
  TopicOptions one, many;
  many.starts = 4;
  CHECK(nmf_topics(h, k_bins, 4, many).loss <= nmf_topics(h, k_bins, 4, one).loss);
  CHECK(nmf_topics(h, k_bins, 4, one).topics == nmf_topics(h, k_bins, 4, one).topics);
}

TEST_CASE("latent Dirichlet allocation finds the topics", "[core][topics]") {
  TopicOptions o;
  o.starts = 3;
  o.weight_prior = 0.3;
  const Topics t = lda_topics(counts(1e4), k_bins, k_topics, o);
  check_shares(t);
  CHECK(t.converged);
  CHECK(distance(t) < 0.01);
  // With one topic the posterior mean is known: counts plus the prior.
  const std::vector<double> h = counts(50.0);
  const Topics mean = lda_topics(h, k_bins, 1);
  std::vector<double> sum(k_bins, 1.0);
  for (std::size_t i = 0; i < h.size(); ++i) sum[i % k_bins] += h[i];
  const double all = std::accumulate(sum.begin(), sum.end(), 0.0);
  for (std::size_t v = 0; v < k_bins; ++v)
    CHECK_THAT(mean.topics[v], WithinAbs(sum[v] / all, 1e-12));
}

TEST_CASE("histograms that are none are refused", "[core][topics]") {
  check_fails(ErrorKind::model, "topics", "7 counts",
              [] { nmf_topics(std::vector<double>(7, 1.0), 3, 2); });
  check_fails(ErrorKind::model, "topics", "simulation 1, bin 2", [] {
    lda_topics({1, 1, 1, 1, 1, -1}, 3, 2);
  });
  check_fails(ErrorKind::model, "topics", "simulation 1 has no entries", [] {
    nmf_topics({1, 1, 1, 0, 0, 0}, 3, 2);
  });
  check_fails(ErrorKind::model, "topics", "one topic", [] { nmf_topics({1, 1, 1}, 3, 0); });
  TopicOptions o;
  o.topic_prior = 0.0;
  check_fails(ErrorKind::model, "topics", "concentrations", [&] { lda_topics({1, 1}, 2, 1, o); });
}
