// SPDX-License-Identifier: Apache-2.0
// RANODE on the dijets, whose densities are known: 60,000 events in the signal region, background
// from 200,000 events of the sidebands, three seeds. Bounds are those of measured studies of the
// method on such a surrogate; docs/validation.md has the numbers.
#include "support/catch.hpp"

#if SLALOM_HAS_MODULES

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/sort.h>
#include <ATen/ops/tensor.h>
#include <cmath>
#include <cstdio>
#include <tuple>

#include "slalom/modules/closure.hpp"
#include "slalom/modules/flow.hpp"
#include "slalom/workflows/ranode.hpp"
#include "slalom/workflows/resonance_problem.hpp"

using slalom::Density;
using slalom::EventBatch;
using slalom::FeatureMap;
using slalom::RanodeFit;
using slalom::RanodeOptions;
using slalom::RanodeScan;
using slalom::ResonanceProblem;
using slalom::Tensor;

namespace {

constexpr std::int64_t k_region = 60000, k_sidebands = 200000, k_kept_back = 50000;

/// A search: data, and the density of the background as it was trained.
class Search {
 public:
  Search(std::uint64_t seed, std::int64_t steps)
      : seed_(seed), problem_(slalom::make_resonance_problem("dijets")) {
    const EventBatch all =
        problem_.background(std::llround(k_region / problem_.region_share), 100 * seed);
    const Tensor mass = all.column(problem_.mass);
    const Tensor in = (mass >= problem_.region_low).logical_and(mass < problem_.region_high);
    background_ = all.select(in);
    sidebands_ = all.select(in.logical_not());
    slalom::FeatureTransformOptions maps;
    maps.maps = {FeatureMap::cube_root, FeatureMap::cube_root, FeatureMap::logit,
                 FeatureMap::logit};
    maps.low = {NAN, NAN, 0.0, 0.0};
    maps.high = {NAN, NAN, 1.0, 1.0};
    transform_ = slalom::FeatureTransform(maps);
    transform_->fit(sidebands_.matrix(problem_.features));
    slalom::FlowOptions flow;
    flow.features = 4;
    flow.conditions = 1;
    flow.seed = seed;
    density_ = slalom::as_density(slalom::Flow(flow).ptr());
    slalom::DensityTraining training;
    training.steps = steps;
    training.seed = seed;
    const EventBatch train = sidebands_.select(at::arange(k_sidebands - k_kept_back, at::kLong));
    slalom::train_density(density_, z(train), condition(train), {}, training);
  }

  /// Events of the region with a share of signal.
  EventBatch region(double fraction) const {
    const std::int64_t n = std::llround(fraction * k_region);
    if (n == 0) return background_;
    const Tensor theta = at::tensor(problem_.theta, at::kDouble);
    const EventBatch both =
        slalom::concatenate({background_, problem_.signal(n, theta, 100 * seed_ + 1)});
    const slalom::EventLoader order(
        both, {.batch_size = both.size(), .seed = seed_, .stratified = false});
    return both.select(order.indices({0, 0}));
  }

  Tensor z(const EventBatch& events) const {
    return transform_.ptr()->forward(events.matrix(problem_.features));
  }
  Tensor log_background(const EventBatch& events) const {
    const at::NoGradGuard no_graph;
    return density_.ptr()->log_prob(z(events), condition(events)).to(at::kDouble);
  }
  RanodeOptions options() const {
    RanodeOptions result;
    result.make_signal = [](std::uint64_t seed) {
      slalom::FlowOptions flow;
      flow.features = 4;
      flow.layers = 4;
      flow.hidden = 16;
      flow.seed = seed;
      return slalom::as_density(slalom::Flow(flow).ptr());
    };
    result.seed = seed_;
    return result;
  }
  RanodeFit fit(const EventBatch& events) const {
    return slalom::fit_ranode(z(events).to(at::kFloat), log_background(events), options());
  }
  RanodeScan scan(const EventBatch& events) const {
    return slalom::scan_ranode(z(events).to(at::kFloat), log_background(events),
                               {1e-3, 2e-3, 4e-3, 7e-3, 0.012, 0.02, 0.04}, options(), 100);
  }
  slalom::KlEstimate kl() const {
    const Tensor x = background_.matrix(problem_.features);
    const Tensor exact = problem_.log_background(x, background_.column(problem_.mass)) -
                         transform_.ptr()->log_jacobian(x);
    return slalom::kl_divergence(exact, log_background(background_));
  }
  /// Of a classifier of the density's events against others, the mass included.
  double auc(const EventBatch& others) const {
    const Tensor c = condition(others);
    Tensor drawn;
    {
      const at::NoGradGuard no_graph;
      drawn = density_.ptr()->sample(others.size(), c, seed_);
    }
    const auto events = [&](const Tensor& features) {
      return slalom::make_events({"a", "b", "c", "d", "m"},
                                 at::cat({features.to(at::kFloat), c.to(at::kFloat)}, 1));
    };
    return slalom::compare_samples(events(drawn), events(z(others))).auc;
  }
  EventBatch kept_back() const {
    return sidebands_.select(at::arange(k_sidebands - k_kept_back, k_sidebands, at::kLong));
  }

 private:
  Tensor condition(const EventBatch& events) const {
    return ((events.column(problem_.mass) - 3.75) / 1.25).unsqueeze(1);
  }

  std::uint64_t seed_;
  ResonanceProblem problem_;
  EventBatch background_, sidebands_;
  slalom::FeatureTransform transform_{nullptr};
  Density density_{nullptr};
};

/// The largest eps_S / sqrt(eps_B) for eps_B >= 1e-3.
double improvement(const Tensor& score, const Tensor& labels) {
  const Tensor order = std::get<1>(at::sort(score, 0, /*descending=*/true)),
               signal = (labels.index_select(0, order) == 1).to(at::kDouble),
               eps_s = signal.cumsum(0) / signal.sum(),
               eps_b = (1.0 - signal).cumsum(0) / (1.0 - signal).sum();
  const Tensor enough = eps_b >= 1e-3;
  return (eps_s / eps_b.sqrt()).masked_select(enough).max().item<double>();
}

}  // namespace

TEST_CASE("RANODE on dijets: background, null, discovery", "[validation][ranode][slow]") {
  for (const std::uint64_t seed : {1U, 2U, 3U}) {
    CAPTURE(seed);
    const Search search(seed, 3000);
    const slalom::KlEstimate kl = search.kl();
    const double auc = search.auc(search.region(0.0));
    CHECK(kl.value < 0.003);
    CHECK(auc < 0.51);
    const RanodeFit guard = search.fit(search.kept_back());
    CHECK(guard.fit.q0 < 9.0);

    const RanodeFit null = search.fit(search.region(0.0));
    CHECK(null.fit.q0 < 9.0);
    const RanodeScan null_scan = search.scan(search.region(0.0));
    CHECK(null_scan.q0 < 6.0);  // the largest gain below 3

    const EventBatch one = search.region(0.01);
    const RanodeFit joint = search.fit(one);
    CHECK(std::abs(joint.fit.mu / 0.01 - 1.0) < 0.35);
    CHECK(joint.fit.q0 > 500.0);
    const double sic = improvement(joint.signal.log_ratio, one.labels);
    CHECK(sic > 9.0);
    const RanodeScan scan = search.scan(one);
    CHECK(std::abs(scan.best / 0.01 - 1.0) < 0.4);

    const RanodeFit half = search.fit(search.region(0.005));
    CHECK(half.fit.q0 > 25.0);
    std::printf(
        "seed %d: KL %.4f +- %.4f, AUC %.4f, guard q0 %.1f; mu = 0: q0 %.1f, scan %.1f; .01: %.4f "
        "q0 %.0f SIC %.1f, scan %.4f [%.4f, %.4f] q0 %.0f; .005: %.4f q0 %.0f\n",
        static_cast<int>(seed), kl.value, kl.error, auc, guard.fit.q0, null.fit.q0, null_scan.q0,
        joint.fit.mu, joint.fit.q0, sic, scan.best, scan.lower, scan.upper, scan.q0, half.fit.mu,
        half.fit.q0);
  }
}

TEST_CASE("RANODE on dijets: a bad background makes a discovery, and the guard sees it",
          "[validation][ranode][slow]") {
  for (const std::uint64_t seed : {1U, 2U, 3U}) {
    CAPTURE(seed);
    const Search search(seed, 150);
    const double null = search.fit(search.region(0.0)).fit.q0,
                 guard = search.fit(search.kept_back()).fit.q0,
                 auc = search.auc(search.kept_back());
    std::printf("seed %d, 150 steps: KL %.4f, q0 of nothing %.1f; guard: q0 %.1f, AUC %.4f\n",
                static_cast<int>(seed), search.kl().value, null, guard, auc);
    CHECK(null > 9.0);
    // What a search refuses a density for: either is enough.
    CHECK((guard > 9.0 || auc > 0.51));
  }
}

#endif
