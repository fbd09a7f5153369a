// SPDX-License-Identifier: Apache-2.0
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "check.hpp"
#include "paws_grid.hpp"
#include "slalom/modules/paws.hpp"
#include "to_tensor.hpp"

namespace slalom {

using detail::box_of;
using detail::require;
using detail::shape_of;
using detail::to_tensor;

namespace {

constexpr const char* k_where = "paws";

}  // namespace

EventSampler bootstrap_sampler(const Tensor& events, double expected) {
  require(events.dim() == 2 && events.size(0) > 0,
          "events [n, columns] expected, found " + shape_of(events), k_where);
  require(std::isfinite(expected) && expected >= 0.0, "a number of events expected", k_where);
  const auto n = static_cast<double>(events.size(0));
  if (expected == 0.0) expected = n;
  return [events, n, expected](RandomStream& random) {
    std::vector<std::int64_t> which(static_cast<std::size_t>(random.poisson(expected)));
    for (std::int64_t& i : which) {
      i = std::min(static_cast<std::int64_t>(random.uniform() * n), events.size(0) - 1);
    }
    return events.index_select(0, to_tensor(which).to(events.device()));
  };
}

std::vector<PawsFit> run_paws_toys(const PawsRatios& ratios, const EventSampler& sampler,
                                   const PawsToyOptions& options) {
  require(options.n_toys > 0, "a positive number of toys expected", k_where);
  box_of(ratios.parameters(), options.fit);
  std::vector<PawsFit> result(options.n_toys);
  at::parallel_for(
      0, static_cast<std::int64_t>(options.n_toys), 1, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
          RandomStream random(options.seed, static_cast<std::uint64_t>(i), options.family);
          const Tensor events = sampler(random);
          PawsFit& fit = result[static_cast<std::size_t>(i)];
          if (events.size(0) == 0) {
            fit.message = "there are no events";
            continue;
          }
          fit = PawsLikelihood(ratios, events).fit(options.fit);
        }
      });
  return result;
}

ToyProbability paws_p_value(const std::vector<PawsFit>& toys, double q0) {
  std::size_t usable = 0, above = 0;
  for (const PawsFit& toy : toys) {
    if (!toy.converged()) continue;
    ++usable;
    if (toy.q0 >= q0) ++above;
  }
  return toy_fraction(above, usable);
}

}  // namespace slalom
