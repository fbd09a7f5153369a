// SPDX-License-Identifier: Apache-2.0
// Linear mixtures of the Gaussian toy of arXiv:2604.02219 in 10 x 10 bins: simulations themselves
// and topics of them, with intervals of the posterior (table of docs/validation.md).
#include <cmath>
#include <cstdio>
#include <string>
#include <tbb/parallel_for.h>
#include <vector>

#include "slalom/core/mixture_posterior.hpp"
#include "slalom/core/topics.hpp"
#include "support/biased_gaussians.hpp"
#include "support/catch.hpp"
#include "support/data.hpp"

using namespace slalom;
using slalom::test::BinSampler;
using slalom::test::k_tamm_background;
using slalom::test::k_tamm_kappa;
using slalom::test::k_tamm_signal;
using slalom::test::k_tamm_truth;
using slalom::test::PlaneBins;
using slalom::test::PlaneGaussian;
using slalom::test::PlanePair;
using slalom::test::published_pairs;

namespace {

constexpr std::size_t k_side = 10, k_bins = k_side * k_side;
/// The simulations that topics and mixtures are made of; truths are among the others.
constexpr std::size_t k_learned = 400, k_truths = 100;

enum class Kind { direct, nmf, lda };
const char* name_of(Kind kind) {
  return kind == Kind::direct ? "simulations" : kind == Kind::nmf ? "NMF" : "LDA";
}

/// Probabilities of the bins in the window.
std::vector<double> shape(const PlaneGaussian& g) {
  std::vector<double> p = PlaneBins(k_side).contents(g);
  double sum = 0.0;
  for (double x : p) sum += x;
  for (double& x : p) x /= sum;
  return p;
}

/// Histograms of simulations with eight times the data [M * V].
std::vector<double> histograms(const std::vector<PlanePair>& pairs, bool signal) {
  std::vector<double> all;
  for (std::size_t i = 0; i < k_learned; ++i) {
    RandomStream random(17, i, signal ? 1 : 2);
    std::vector<double> counts(k_bins, 0.0);
    BinSampler(shape(signal ? pairs[i].signal : pairs[i].background))
        .add(8 * (signal ? k_tamm_signal : k_tamm_background), random, counts);
    all.insert(all.end(), counts.begin(), counts.end());
  }
  return all;
}

struct Component {
  std::vector<double> densities;  // [K * V]
  bool converged = true;
};

Component topics_of(const std::vector<double>& histograms, Kind kind, std::size_t k) {
  TopicOptions o;
  o.max_iterations = 5000;
  o.tolerance = 1e-6;
  const Topics t = kind == Kind::nmf ? nmf_topics(histograms, k_bins, k, o)
                                     : lda_topics(histograms, k_bins, k, o);
  std::printf("  %s, K = %zu: %d iterations%s\n", name_of(kind), k, t.iterations,
              t.converged ? "" : ", not converged");
  return {t.topics, t.converged};
}

struct Row {
  double inside = 0.0, shortest = 0.0, width = 0.0, bias = 0.0, doubtful = 0.0;
  double toys = 0.0;
};

struct Toy {
  double low = 0.0, high = 0.0, mean = 0.0;
  bool shortest = false, doubtful = false;
};

Toy run_toy(const std::vector<double>& signal, const std::vector<double>& background, std::size_t k,
            const PlanePair& truth, std::size_t index) {
  TemplateMixture m(linear_mixture(signal, k), linear_mixture(background, k),
                    std::vector<double>(k_bins, 1.0));
  RandomStream random(19, index, 3);
  std::vector<double> counts(k_bins, 0.0);
  BinSampler(shape(truth.signal)).add(k_tamm_signal, random, counts);
  BinSampler(shape(truth.background)).add(k_tamm_background, random, counts);
  m.set_data(counts);
  HmcOptions o;
  o.chains = 2;
  o.warmup = 200;
  o.draws = 300;
  o.seed = 1 + index;
  const MixturePosterior p = sample_posterior(m, fit(m), {}, o);
  const Interval central = p.central(), narrow = p.shortest();
  Toy toy{central.lower.value, central.upper.value, p.kappa.mean, false, p.kappa.r_hat > 1.05};
  toy.shortest = narrow.lower.value <= k_tamm_kappa && k_tamm_kappa <= narrow.upper.value;
  return toy;
}

/// \param published the published truth in every data set; else held-out simulations
Row run(const std::vector<PlanePair>& pairs, Kind kind, std::size_t k, const Component topics[2],
        bool published, std::size_t toys) {
  std::vector<Toy> results(toys);
  tbb::parallel_for(std::size_t{0}, toys, [&](std::size_t t) {
    const PlanePair truth = published ? k_tamm_truth : pairs[k_learned + t % k_truths];
    std::vector<double> signal = topics[0].densities, background = topics[1].densities;
    if (kind == Kind::direct) {  // other simulations in every data set
      RandomStream choice(23, t);
      signal.clear();
      background.clear();
      for (std::size_t i = 0; i < k; ++i) {
        const auto at = static_cast<std::size_t>(choice.uniform() * k_learned);
        const std::vector<double> s = shape(pairs[at].signal), b = shape(pairs[at].background);
        signal.insert(signal.end(), s.begin(), s.end());
        background.insert(background.end(), b.begin(), b.end());
      }
    }
    results[t] = run_toy(signal, background, k, truth, t);
  });
  Row row;
  row.toys = static_cast<double>(toys);
  for (const Toy& t : results) {
    row.inside += t.low <= k_tamm_kappa && k_tamm_kappa <= t.high ? 1.0 / row.toys : 0.0;
    row.shortest += t.shortest ? 1.0 / row.toys : 0.0;
    row.width += 0.5 * (t.high - t.low) / row.toys;
    row.bias += (t.mean - k_tamm_kappa) / row.toys;
    row.doubtful += t.doubtful ? 1.0 / row.toys : 0.0;
  }
  std::printf(
      "%-12s K = %2zu %-9s covered %.2f +- %.2f (shortest %.2f) half-width %.4f mean %+.4f, "
      "R-hat > 1.05: %.2f\n",
      name_of(kind), k, published ? "published" : "held-out", row.inside,
      std::sqrt(row.inside * (1.0 - row.inside) / row.toys), row.shortest, row.width, row.bias,
      row.doubtful);
  std::fflush(stdout);
  return row;
}

/// K = 4, 10 and 20, the published truth and held-out ones. \returns all rows
std::vector<Row> table(Kind kind) {
  const std::vector<PlanePair> pairs = published_pairs();
  std::vector<double> learned[2];
  if (kind != Kind::direct) {
    learned[0] = histograms(pairs, true);
    learned[1] = histograms(pairs, false);
  }
  std::vector<Row> rows;
  for (const std::size_t k : {std::size_t{4}, std::size_t{10}, std::size_t{20}}) {
    Component topics[2];
    for (int p = 0; p < 2 && kind != Kind::direct; ++p) {
      topics[p] = topics_of(learned[p], kind, k);
      // Ten and twenty topics still improve slowly after as many iterations; what is printed says
      // so.
      if (k == 4) CHECK(topics[p].converged);
    }
    for (const bool published : {true, false}) {
      rows.push_back(run(pairs, kind, k, topics, published, 40));
      CHECK(rows.back().doubtful < 0.1);
    }
  }
  return rows;
}

}  // namespace

TEST_CASE("table of mixtures of simulations themselves", "[validation][linear_mixtures][slow]") {
  SLALOM_REQUIRE_DATA("tamm/signal_msd_500.csv");
  // Known not to cover: .11 to .26 in a study before this.
  for (const Row& row : table(Kind::direct)) CHECK(row.inside < 0.6);
}

TEST_CASE("table of mixtures of NMF topics", "[validation][linear_mixtures][slow]") {
  SLALOM_REQUIRE_DATA("tamm/signal_msd_500.csv");
  for (const Row& row : table(Kind::nmf)) CHECK(row.width < 0.06);
}

TEST_CASE("table of mixtures of LDA topics", "[validation][linear_mixtures][slow]") {
  SLALOM_REQUIRE_DATA("tamm/signal_msd_500.csv");
  for (const Row& row : table(Kind::lda)) CHECK(row.width < 0.06);
}
