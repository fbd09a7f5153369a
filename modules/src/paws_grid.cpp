// SPDX-License-Identifier: Apache-2.0
#include "paws_grid.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <utility>

#include "check.hpp"

namespace slalom::detail {

namespace {

constexpr const char* k_where = "paws";
/// Grids of theta with more points than this are a mistake.
constexpr std::size_t k_most_points = 100000;

bool are_neighbours(const std::vector<std::size_t>& a, const std::vector<std::size_t>& b) {
  for (std::size_t k = 0; k < a.size(); ++k) {
    if (a[k] > b[k] + 1 || b[k] > a[k] + 1) return false;
  }
  return true;
}

}  // namespace

PawsBox box_of(const std::vector<ParameterInput>& parameters, const PawsOptions& options) {
  const std::size_t p = parameters.size();
  const auto check = [&](const std::vector<double>& values, const char* what) {
    require(values.empty() || values.size() == p,
            std::string(what) + " of " + std::to_string(p) + " parameters expected, found " +
                std::to_string(values.size()),
            k_where);
  };
  check(options.lower, "lower bounds");
  check(options.upper, "upper bounds");
  check(options.held, "values to hold");
  check(options.start, "a start");
  require(options.mu_upper > 0.0 && options.mu_upper <= 1.0,
          "a largest fraction above 0 and at most 1 expected", k_where);
  require(options.grid > 0 && options.starts > 0, "a grid and starts above 0 expected", k_where);
  PawsBox box{options.lower, options.upper, options.held};
  if (box.held.empty()) box.held.assign(p, std::numeric_limits<double>::quiet_NaN());
  for (std::size_t a = 0; a < p; ++a) {
    if (options.lower.empty()) box.lower.push_back(parameters[a].low);
    if (options.upper.empty()) box.upper.push_back(parameters[a].high);
    require(box.lower[a] < box.upper[a], "an empty range of parameter '" + parameters[a].name + "'",
            k_where);
    require(std::isnan(box.held[a]) || (box.held[a] >= box.lower[a] && box.held[a] <= box.upper[a]),
            "parameter '" + parameters[a].name + "' is held outside of its range", k_where);
  }
  return box;
}

PawsGrid make_grid(const PawsBox& box, std::int64_t points) {
  const std::size_t p = box.lower.size();
  PawsGrid grid{{{}}, {{}}, {}, {}, {}};
  for (std::size_t a = 0; a < p; ++a) {
    const std::size_t n = std::isnan(box.held[a]) ? static_cast<std::size_t>(points) : 1;
    require(grid.theta.size() * n <= k_most_points, "a grid of theta with too many points",
            k_where);
    PawsGrid next;
    for (std::size_t i = 0; i < grid.theta.size(); ++i) {
      for (std::size_t k = 0; k < n; ++k) {
        // Centres of cells: the ends of the box are where the ratio is known worst.
        const double x = (static_cast<double>(k) + 0.5) / static_cast<double>(n);
        next.theta.push_back(grid.theta[i]);
        next.theta.back().push_back(std::isnan(box.held[a])
                                        ? box.lower[a] + x * (box.upper[a] - box.lower[a])
                                        : box.held[a]);
        next.place.push_back(grid.place[i]);
        next.place.back().push_back(k);
      }
    }
    grid = std::move(next);
  }
  return grid;
}

std::vector<std::size_t> starts_of(const PawsGrid& grid, std::int64_t number) {
  const std::size_t n = grid.place.size();
  // Where no signal is preferred anywhere, the slope at mu = 0 tells where it is least unwelcome.
  const auto better = [&](std::size_t i, std::size_t j) {
    if (grid.log_likelihood[i] != grid.log_likelihood[j]) {
      return grid.log_likelihood[i] > grid.log_likelihood[j];
    }
    return grid.slope[i] > grid.slope[j];
  };
  std::vector<bool> top(n, true);
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < n && top[i]; ++j) {
      if (i != j && are_neighbours(grid.place[i], grid.place[j]) && better(j, i)) top[i] = false;
    }
  }
  std::vector<std::size_t> order(n);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t i, std::size_t j) {
    return top[i] != top[j] ? top[i] : better(i, j);
  });
  order.resize(std::min(n, static_cast<std::size_t>(number)));
  return order;
}

}  // namespace slalom::detail
