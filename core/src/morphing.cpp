// SPDX-License-Identifier: Apache-2.0
#include "slalom/core/morphing.hpp"

#include <Eigen/Dense>
#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "interpolation.hpp"

namespace slalom {

namespace {

constexpr std::array k_names = {"linear",     "log_linear", "parabola", "spline",
                                "log_spline", "polynomial", "code0",    "code1",
                                "code2",      "code4",      "code4p"};
/// Bins that a warning names before it only counts.
constexpr std::size_t k_most_named = 8;
/// Rows of the table of code4: the polynomial's, and those of the continuation.
constexpr std::size_t k_code4_powers = 7, k_code4_start = 7, k_code4_up = 8, k_code4_down = 9;

[[noreturn]] void refuse(const std::string& what, const std::string& where) {
  throw Error(ErrorKind::usage, what, where);
}

using Grid = std::span<const double>;

/// A row of a table of templates, with its weight and the derivatives of that.
struct Weight {
  std::size_t row;
  double value, first, second;
};
using Weights = std::vector<Weight>;

std::size_t fewest_points(MorphingKind kind) { return kind == MorphingKind::parabola ? 3 : 2; }

bool is_spline(MorphingKind kind) {
  return kind == MorphingKind::spline || kind == MorphingKind::log_spline;
}

void check_grid(MorphingKind kind, Grid grid) {
  const std::string name = to_string(kind);
  if (is_histfactory(kind) && grid.size() != 3) {
    refuse(name + " takes 3 points, not " + std::to_string(grid.size()), "grid");
  }
  if (grid.size() < fewest_points(kind)) {
    refuse(name + " needs at least " + std::to_string(fewest_points(kind)) + " points, there are " +
               std::to_string(grid.size()),
           "grid");
  }
  for (std::size_t k = 0; k < grid.size(); ++k) {
    const std::string where = "grid[" + std::to_string(k) + "]";
    if (!std::isfinite(grid[k])) refuse("a point is not finite", where);
    if (k > 0 && !(grid[k] > grid[k - 1])) refuse("the points do not rise", where);
  }
}

void check_place(double z) {
  if (!std::isfinite(z)) refuse("the parameter is not finite", "z");
}

/// The interval that holds z, or the nearest one; a point belongs to the interval on its right.
std::size_t interval(Grid grid, double z) {
  const auto above = std::upper_bound(grid.begin() + 1, grid.end() - 1, z);
  return static_cast<std::size_t>(above - grid.begin()) - 1;
}

Weights straight(Grid grid, double z) {
  const std::size_t i = interval(grid, z);
  const double slope = 1.0 / (grid[i + 1] - grid[i]);
  const double share = (z - grid[i]) * slope;
  return {{i, 1.0 - share, -slope, 0.0}, {i + 1, share, slope, 0.0}};
}

/// Lagrange's polynomials through the points [first, first + n).
Weights lagrange(Grid grid, std::size_t first, std::size_t n, double z) {
  using Jet = detail::Jet<2>;
  Jet x(z);
  x.c[1] = 1.0;
  Weights weights;
  for (std::size_t k = first; k < first + n; ++k) {
    Jet product(1.0);
    for (std::size_t j = first; j < first + n; ++j) {
      if (j != k) product *= (1.0 / (grid[k] - grid[j])) * (x - grid[j]);
    }
    weights.push_back({k, product.c[0], product.c[1], 2.0 * product.c[2]});
  }
  return weights;
}

Weights parabola(Grid grid, double z) {
  std::size_t middle = 1;
  while (middle + 2 < grid.size() && z >= 0.5 * (grid[middle] + grid[middle + 1])) ++middle;
  return lagrange(grid, middle - 1, 3, z);
}

/// Weights of values (rows [0, G)) and of second derivatives (rows [G, 2 G)) at the points.
Weights cubic(Grid grid, double z) {
  const std::size_t i = interval(grid, z), g = grid.size();
  const double h = grid[i + 1] - grid[i];
  const double inside = std::clamp(z, grid.front(), grid.back());
  const double b = (inside - grid[i]) / h, a = 1.0 - b;
  Weights weights = {{i, a, -1.0 / h, 0.0},
                     {i + 1, b, 1.0 / h, 0.0},
                     {g + i, (a * a * a - a) * h * h / 6.0, (1.0 - 3.0 * a * a) * h / 6.0, a},
                     {g + i + 1, (b * b * b - b) * h * h / 6.0, (3.0 * b * b - 1.0) * h / 6.0, b}};
  if (inside == z) return weights;
  for (Weight& w : weights) {
    w.value += (z - inside) * w.first;
    w.second = 0.0;
  }
  return weights;
}

/// The matrix [G, G] that makes second derivatives at the points from values there.
Eigen::MatrixXd spline_curvatures(Grid grid) {
  const auto g = static_cast<Eigen::Index>(grid.size());
  const auto step = [&](Eigen::Index i) {
    return grid[static_cast<std::size_t>(i) + 1] - grid[static_cast<std::size_t>(i)];
  };
  Eigen::MatrixXd left = Eigen::MatrixXd::Zero(g, g), right = Eigen::MatrixXd::Zero(g, g);
  for (Eigen::Index i = 1; i + 1 < g; ++i) {
    const double h0 = step(i - 1), h1 = step(i);
    left(i, i - 1) = h0 / 6.0;
    left(i, i) = (h0 + h1) / 3.0;
    left(i, i + 1) = h1 / 6.0;
    right(i, i - 1) = 1.0 / h0;
    right(i, i) = -1.0 / h0 - 1.0 / h1;
    right(i, i + 1) = 1.0 / h1;
  }
  if (g < 4) {  // natural
    left(0, 0) = left(g - 1, g - 1) = 1.0;
  } else {  // not-a-knot: the third derivative is the same on both sides of the second point
    const auto not_a_knot = [&](Eigen::Index row, Eigen::Index i) {
      left(row, i - 1) = step(i);
      left(row, i) = -step(i - 1) - step(i);
      left(row, i + 1) = step(i - 1);
    };
    not_a_knot(0, 1);
    not_a_knot(g - 1, g - 2);
  }
  return left.partialPivLu().solve(right);
}

/// alpha of the codes with its slope.
detail::Jet<2> alpha(Grid grid, double z) {
  const double slope = 1.0 / (z < grid[1] ? grid[1] - grid[0] : grid[2] - grid[1]);
  detail::Jet<2> x((z - grid[1]) * slope);
  x.c[1] = slope;
  return x;
}

/// code2 and code4p: nominal + s (high - low) / 2 + w (high + low - 2 nominal) / 16.
Weights code(HistosysCode which, Grid grid, double z) {
  using Jet = detail::Jet<2>;
  const Jet x = alpha(grid, z);
  Jet s = x, w;
  if (which == HistosysCode::code2 && std::abs(x.value()) > 1.0) {
    w = (x.value() > 0.0 ? 16.0 * x : -16.0 * x) - 8.0;  // the tangent of 8 x^2 at the end
  } else {
    const auto weights = detail::histosys_weights(which, x);
    s = weights.s;
    w = weights.w;
  }
  const auto weight = [](std::size_t row, const Jet& v) {
    return Weight{row, v.c[0], v.c[1], 2.0 * v.c[2]};
  };
  return {weight(0, (1.0 / 16.0) * w - 0.5 * s), weight(1, 1.0 - (1.0 / 8.0) * w),
          weight(2, (1.0 / 16.0) * w + 0.5 * s)};
}

/// Rows of the table of code4; `outside` says whether the continuation is meant.
Weights code4(Grid grid, double z, bool& outside) {
  const detail::Jet<2> x = alpha(grid, z);
  outside = std::abs(x.value()) >= 1.0;
  if (outside) {
    return {{k_code4_start, 1.0, 0.0, 0.0},
            {x.value() > 0.0 ? k_code4_up : k_code4_down, x.c[0], x.c[1], 0.0}};
  }
  Weights weights;
  detail::Jet<2> power(1.0);
  for (std::size_t k = 0; k < k_code4_powers; ++k) {
    weights.push_back({k, power.c[0], power.c[1], 2.0 * power.c[2]});
    power *= x;
  }
  return weights;
}

/// Rows and weights of every kind but code4.
Weights sparse_weights(MorphingKind kind, Grid grid, double z) {
  switch (kind) {
    case MorphingKind::linear:
    case MorphingKind::log_linear:
    case MorphingKind::code0:
    case MorphingKind::code1:
      return straight(grid, z);
    case MorphingKind::parabola:
      return parabola(grid, z);
    case MorphingKind::spline:
    case MorphingKind::log_spline:
      return cubic(grid, z);
    case MorphingKind::polynomial:
      return lagrange(grid, 0, grid.size(), z);
    case MorphingKind::code2:
      return code(HistosysCode::code2, grid, z);
    case MorphingKind::code4p:
      return code(HistosysCode::code4p, grid, z);
    case MorphingKind::code4:
      break;
  }
  refuse("code4 is no sum of templates with weights", "kind");
}

/// Coefficients of the polynomial of code4, by power of alpha, as shares of the nominal content.
std::array<double, k_code4_powers> code4_polynomial(double high, double low) {
  const double lh = std::log(high), ll = std::log(low);
  const detail::Code4Part up(high - 1.0, high * lh, high * lh * lh);
  const detail::Code4Part down(low - 1.0, low * ll, low * ll * ll);
  return {1.0,
          up.a1 - down.a1,
          up.a2 + down.a2,
          up.a3 - down.a3,
          up.a4 + down.a4,
          up.a5 - down.a5,
          up.a6 + down.a6};
}

}  // namespace

const char* to_string(MorphingKind kind) { return k_names.at(static_cast<std::size_t>(kind)); }

const std::vector<std::string>& morphing_kind_names() {
  static const std::vector<std::string> names(k_names.begin(), k_names.end());
  return names;
}

std::optional<MorphingKind> morphing_kind(std::string_view name) {
  const auto found = std::find(k_names.begin(), k_names.end(), name);
  if (found == k_names.end()) return std::nullopt;
  return static_cast<MorphingKind>(found - k_names.begin());
}

bool is_logarithmic(MorphingKind kind) {
  return kind == MorphingKind::log_linear || kind == MorphingKind::log_spline ||
         kind == MorphingKind::code1;
}

bool is_histfactory(MorphingKind kind) { return kind >= MorphingKind::code0; }

MorphingWeights morphing_weights(MorphingKind kind, std::span<const double> grid, double z) {
  check_grid(kind, grid);
  check_place(z);
  const std::size_t g = grid.size();
  MorphingWeights weights{std::vector<double>(g), std::vector<double>(g), std::vector<double>(g)};
  Eigen::MatrixXd curvatures;
  if (is_spline(kind)) curvatures = spline_curvatures(grid);
  const auto add = [&](std::size_t k, const Weight& w, double share) {
    weights.value[k] += share * w.value;
    weights.first[k] += share * w.first;
    weights.second[k] += share * w.second;
  };
  for (const Weight& w : sparse_weights(kind, grid, z)) {
    if (w.row < g) {
      add(w.row, w, 1.0);
      continue;
    }
    const auto row = static_cast<Eigen::Index>(w.row - g);
    for (std::size_t k = 0; k < g; ++k) add(k, w, curvatures(row, static_cast<Eigen::Index>(k)));
  }
  return weights;
}

struct Morphing::Tables {
  MorphingKind kind;
  std::vector<double> grid, templates;
  std::size_t n_bins = 0;
  std::vector<double> rows;  ///< templates, logarithms or coefficients, and what is made of them
  std::vector<char> factor;  ///< [B] whether the bin is interpolated as a factor
  bool any_factor = false;
  std::vector<double> kinks;
  Warnings warnings;

  const double* row(std::size_t k) const { return rows.data() + k * n_bins; }
  double* row(std::size_t k) { return rows.data() + k * n_bins; }
  double at(std::size_t k, std::size_t b) const { return templates[k * n_bins + b]; }

  void check() const {
    check_grid(kind, grid);
    const std::size_t n = templates.size(), g = grid.size();
    if (n == 0 || n % g != 0) {
      refuse(std::to_string(n) + " values are no templates at " + std::to_string(g) + " points",
             "templates");
    }
    for (std::size_t i = 0; i < n; ++i) {
      if (std::isfinite(templates[i])) continue;
      refuse("a template is not finite at point " + std::to_string(i / (n / g)) + ", bin " +
                 std::to_string(i % (n / g)),
             "templates");
    }
  }

  void find_factors() {
    factor.assign(n_bins, 0);
    if (!is_logarithmic(kind) && kind != MorphingKind::code4) return;
    std::string named;
    std::size_t count = 0;
    for (std::size_t b = 0; b < n_bins; ++b) {
      bool positive = true;
      for (std::size_t k = 0; k < grid.size(); ++k) positive = positive && at(k, b) > 0.0;
      factor[b] = positive ? 1 : 0;
      any_factor = any_factor || positive;
      if (!positive && ++count <= k_most_named) {
        named += (named.empty() ? "" : ", ") + std::to_string(b);
      }
    }
    if (count == 0) return;
    if (count > k_most_named) named += ", ...";
    warnings.push_back(
        {std::to_string(count) + (count == 1 ? " bin is" : " bins are") +
             " 0 or negative at some point and interpolated without the logarithm (" + named + ")",
         to_string(kind)});
  }

  void make_rows() {
    if (kind == MorphingKind::code4) return make_code4();
    rows = templates;
    if (is_logarithmic(kind)) {
      for (std::size_t k = 0; k < grid.size(); ++k) {
        for (std::size_t b = 0; b < n_bins; ++b) {
          if (factor[b] != 0) row(k)[b] = std::log(row(k)[b]);
        }
      }
    }
    if (!is_spline(kind)) return;
    using Table = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
    const auto g = static_cast<Eigen::Index>(grid.size()), n = static_cast<Eigen::Index>(n_bins);
    rows.resize(2 * templates.size());
    Eigen::Map<Table>(row(grid.size()), g, n).noalias() =
        spline_curvatures(grid) * Eigen::Map<const Table>(row(0), g, n);
  }

  void make_code4() {
    rows.resize((k_code4_down + 1) * n_bins);
    for (std::size_t b = 0; b < n_bins; ++b) {
      const double low = at(0, b), nominal = at(1, b), high = at(2, b);
      if (factor[b] != 0) {
        const auto polynomial = code4_polynomial(high / nominal, low / nominal);
        for (std::size_t k = 0; k < k_code4_powers; ++k) row(k)[b] = nominal * polynomial[k];
        row(k_code4_start)[b] = std::log(nominal);
        row(k_code4_up)[b] = std::log(high / nominal);
        row(k_code4_down)[b] = -std::log(low / nominal);
      } else {  // code4p: x^2 (15 - 10 x^2 + 3 x^4) of q
        const double q = (high + low - 2.0 * nominal) / 16.0;
        row(0)[b] = row(k_code4_start)[b] = nominal;
        row(1)[b] = 0.5 * (high - low);
        row(2)[b] = 15.0 * q;
        row(4)[b] = -10.0 * q;
        row(6)[b] = 3.0 * q;
        row(k_code4_up)[b] = high - nominal;
        row(k_code4_down)[b] = nominal - low;
      }
    }
  }

  void find_kinks() {
    switch (kind) {
      case MorphingKind::linear:
      case MorphingKind::log_linear:
      case MorphingKind::code0:
      case MorphingKind::code1:
        kinks.assign(grid.begin() + 1, grid.end() - 1);
        break;
      case MorphingKind::parabola:
        for (std::size_t k = 1; k + 2 < grid.size(); ++k) {
          kinks.push_back(0.5 * (grid[k] + grid[k + 1]));
        }
        break;
      case MorphingKind::code2:
      case MorphingKind::code4:
      case MorphingKind::code4p:
        if (std::abs((grid[2] - grid[1]) / (grid[1] - grid[0]) - 1.0) > 1e-12) {
          kinks.push_back(grid[1]);
        }
        break;
      default:
        break;
    }
  }
};

Morphing::Morphing(MorphingKind kind, std::vector<double> grid, std::vector<double> templates) {
  auto tables = std::make_shared<Tables>();
  tables->kind = kind;
  tables->grid = std::move(grid);
  tables->templates = std::move(templates);
  tables->check();
  tables->n_bins = tables->templates.size() / tables->grid.size();
  tables->find_factors();
  tables->make_rows();
  tables->find_kinks();
  tables_ = std::move(tables);
}

MorphingKind Morphing::kind() const { return tables_->kind; }
const std::vector<double>& Morphing::grid() const { return tables_->grid; }
const std::vector<double>& Morphing::templates() const { return tables_->templates; }
std::size_t Morphing::n_bins() const { return tables_->n_bins; }
const Warnings& Morphing::warnings() const { return tables_->warnings; }
bool Morphing::multiplies(std::size_t bin) const { return tables_->factor.at(bin) != 0; }
const std::vector<double>& Morphing::kinks() const { return tables_->kinks; }

Morphing::Place Morphing::place(double z) const {
  check_place(z);
  Place place;
  bool outside = false;
  const Weights weights = tables_->kind == MorphingKind::code4
                              ? code4(tables_->grid, z, outside)
                              : sparse_weights(tables_->kind, tables_->grid, z);
  place.exponential_ = tables_->any_factor && (outside || is_logarithmic(tables_->kind));
  for (const Weight& w : weights) place.terms_.push_back({w.row, w.value, w.first, w.second});
  return place;
}

void Morphing::evaluate(double z, std::span<double> value, std::span<double> first,
                        std::span<double> second) const {
  const auto fits = [this](std::span<double> s) { return s.empty() || s.size() == n_bins(); };
  if (!fits(value) || !fits(first) || !fits(second)) {
    refuse("there are " + std::to_string(n_bins()) + " bins", "evaluate");
  }
  std::vector<double> unwanted(2 * n_bins());  // what the others are made from
  const std::span<double> rest(unwanted);
  if (value.empty()) value = rest.first(n_bins());
  if (first.empty() && !second.empty()) first = rest.last(n_bins());
  evaluate(place(z), 0, value, first, second);
}

void Morphing::evaluate(const Place& place, std::size_t begin, std::span<double> value,
                        std::span<double> first, std::span<double> second) const {
  const std::size_t n = value.size();
  std::fill(value.begin(), value.end(), 0.0);
  std::fill(first.begin(), first.end(), 0.0);
  std::fill(second.begin(), second.end(), 0.0);
  for (const Place::Term& t : place.terms_) {
    const double* row = tables_->row(t.row) + begin;
    for (std::size_t b = 0; b < n; ++b) value[b] += t.value * row[b];
    if (!first.empty()) {
      for (std::size_t b = 0; b < n; ++b) first[b] += t.first * row[b];
    }
    if (!second.empty() && t.second != 0.0) {
      for (std::size_t b = 0; b < n; ++b) second[b] += t.second * row[b];
    }
  }
  if (!place.exponential_) return;
  const char* factor = tables_->factor.data() + begin;
  for (std::size_t b = 0; b < n; ++b) {
    if (factor[b] == 0) continue;
    const double e = std::exp(value[b]);
    value[b] = e;
    if (first.empty()) continue;
    const double slope = first[b];
    first[b] *= e;
    if (!second.empty()) second[b] = e * (second[b] + slope * slope);
  }
}

MorphingClosure morphing_closure(MorphingKind kind, const std::vector<double>& grid,
                                 const std::vector<double>& templates) {
  const Morphing all(kind, grid, templates);  // refuses what makes no sense
  if (is_histfactory(kind)) refuse("the codes have no point to spare", "kind");
  if (grid.size() <= fewest_points(kind)) refuse("there is no point to spare", "grid");
  const std::size_t n = all.n_bins();
  MorphingClosure closure;
  std::vector<double> value(n);
  for (std::size_t k = 1; k + 1 < grid.size(); ++k) {
    std::vector<double> points = grid, others = templates;
    const auto offset = static_cast<std::ptrdiff_t>(k), width = static_cast<std::ptrdiff_t>(n);
    points.erase(points.begin() + offset);
    others.erase(others.begin() + offset * width, others.begin() + (offset + 1) * width);
    Morphing(kind, std::move(points), std::move(others)).evaluate(grid[k], value);
    double largest = 0.0, chi2 = 0.0;
    for (std::size_t b = 0; b < n; ++b) {
      const double truth = templates[k * n + b];
      if (!(truth > 0.0)) continue;
      largest = std::max(largest, std::abs(value[b] / truth - 1.0));
      chi2 += (value[b] - truth) * (value[b] - truth) / truth;
    }
    closure.z.push_back(grid[k]);
    closure.largest.push_back(largest);
    closure.chi2.push_back(chi2);
  }
  return closure;
}

}  // namespace slalom
