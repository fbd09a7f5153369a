// SPDX-License-Identifier: Apache-2.0
// The model against pyhf (golden.json, written by generate.py), and its derivatives against finite
// differences, for every modifier, both layouts of the engine and every edge of the codes.
#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "slalom/core/fit.hpp"
#include "slalom/core/json.hpp"
#include "slalom/core/model.hpp"
#include "support/catch.hpp"

namespace {

using Vector = std::vector<double>;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;

struct Point {
  std::string name;
  Vector parameters;
  Vector expected;
  double logpdf;
};

struct Case {
  std::string name;
  slalom::Json golden;
  slalom::Model model;
  std::vector<Point> points;
};

slalom::Model make_model(const slalom::Json& golden) {
  slalom::ModelOptions options;
  options.measurement = golden.at("measurement").get<std::string>();
  const std::string normsys = golden.at("normsys_code"), histosys = golden.at("histosys_code");
  options.normsys_code =
      normsys == "code1" ? slalom::NormsysCode::code1 : slalom::NormsysCode::code4;
  options.histosys_code = histosys == "code0"   ? slalom::HistosysCode::code0
                          : histosys == "code2" ? slalom::HistosysCode::code2
                                                : slalom::HistosysCode::code4p;
  const slalom::Workspace workspace = slalom::parse_workspace(golden.at("workspace"));
  return slalom::Model(slalom::make_model_spec(workspace, options));
}

const std::vector<Case>& cases() {
  static const std::vector<Case> all = [] {
    const slalom::Json file =
        slalom::read_json(std::string(SLALOM_SOURCE_DIR) + "/tests/validation/golden.json");
    std::vector<Case> result;
    for (const slalom::Json& golden : file.at("cases")) {
      Case c{golden.at("name").get<std::string>(), golden, make_model(golden), {}};
      for (const slalom::Json& p : golden.at("points")) {
        c.points.push_back({p.at("name").get<std::string>(), p.at("parameters").get<Vector>(),
                            p.at("expected").get<Vector>(), p.at("logpdf").get<double>()});
      }
      result.push_back(std::move(c));
    }
    return result;
  }();
  return all;
}

/// What finite differences have to know about one parameter.
struct Joints {
  bool kink_at_zero = false;  ///< first derivative jumps at 0 (code0, code1)
  bool jump_at_one = false;   ///< the value jumps at +-1 (code2)
  bool joint_at_one = false;  ///< third derivative jumps at +-1 (code4, code4p)
};

std::vector<Joints> joints(const slalom::ModelSpec& spec) {
  std::vector<Joints> result(spec.parameters.size());
  for (const slalom::ChannelSpec& channel : spec.channels) {
    for (const slalom::SampleSpec& sample : channel.samples) {
      for (const slalom::HistosysTerm& term : sample.histosys) {
        Joints& j = result[term.parameter];
        j.kink_at_zero |= spec.histosys_code == slalom::HistosysCode::code0;
        j.jump_at_one |= spec.histosys_code == slalom::HistosysCode::code2;
        j.joint_at_one |= spec.histosys_code == slalom::HistosysCode::code4p;
      }
      for (const slalom::NormsysTerm& term : sample.normsys) {
        Joints& j = result[term.parameter];
        j.kink_at_zero |= spec.normsys_code == slalom::NormsysCode::code1;
        j.joint_at_one |= spec.normsys_code == slalom::NormsysCode::code4;
      }
    }
  }
  return result;
}

enum class Side { central, mean, left, right };

Side side_at(const Joints& joints, double x) {
  if (x == 0.0 && joints.kink_at_zero) return Side::mean;
  if (std::abs(x) == 1.0 && joints.jump_at_one) return x > 0.0 ? Side::left : Side::right;
  if (std::abs(x) == 1.0 && joints.joint_at_one) return Side::mean;
  return Side::central;
}

using Function = std::function<Vector(const Vector&)>;

/// Derivative of f at x along parameter j; NaN where f cannot be evaluated.
/// Five points in the middle of a smooth piece, five on one side of a joint.
Vector difference(const Function& f, Vector x, std::size_t j, Side side, double step) {
  const double x0 = x[j];
  const double h = (side == Side::central ? 1.0 : 0.3) * step * std::max(1.0, std::abs(x0));
  const auto at = [&](double k) {
    x[j] = x0 + k * h;
    return f(x);
  };
  const auto combine = [&](const std::vector<std::pair<double, double>>& stencil) {
    Vector sum;
    for (const auto& [k, weight] : stencil) {
      const Vector value = at(k);
      if (sum.empty()) sum.assign(value.size(), 0.0);
      for (std::size_t i = 0; i < value.size(); ++i) sum[i] += weight * value[i] / h;
    }
    return sum;
  };
  const auto one_sided = [&](double s) {
    return combine({{0.0, -25.0 * s / 12.0},
                    {1.0 * s, 4.0 * s},
                    {2.0 * s, -3.0 * s},
                    {3.0 * s, 4.0 * s / 3.0},
                    {4.0 * s, -0.25 * s}});
  };
  if (side == Side::left) return one_sided(-1.0);
  if (side == Side::right) return one_sided(1.0);
  if (side == Side::mean) {
    Vector left = one_sided(-1.0);
    const Vector right = one_sided(1.0);
    for (std::size_t i = 0; i < left.size(); ++i) left[i] = 0.5 * (left[i] + right[i]);
    return left;
  }
  const Vector central =
      combine({{-2.0, 1.0 / 12.0}, {-1.0, -2.0 / 3.0}, {1.0, 2.0 / 3.0}, {2.0, -1.0 / 12.0}});
  // A factor at zero may have no neighbour below it (a rate would be negative).
  if (std::all_of(central.begin(), central.end(), [](double v) { return std::isfinite(v); })) {
    return central;
  }
  return one_sided(1.0);
}

/// The same with three steps: the truncation of the large ones and the rounding of the small ones
/// depend on the model, so a derivative is right if it agrees with one of them.
std::array<Vector, 3> differences(const Function& f, const Vector& x, std::size_t j, Side side) {
  return {difference(f, x, j, side, 1e-3), difference(f, x, j, side, 1e-4),
          difference(f, x, j, side, 1e-5)};
}

double closest(double found, const std::array<Vector, 3>& wanted, std::size_t i) {
  double best = wanted[0][i];
  for (const Vector& w : wanted) {
    if (!(std::abs(w[i] - found) >= std::abs(best - found))) best = w[i];
  }
  return best;
}

/// Largest of |found - wanted| / scale over a range, and where.
struct Worst {
  double ratio = 0.0;
  std::string where;
  void add(double found, double wanted, double scale, const std::string& place) {
    const double r = std::abs(found - wanted) / scale;
    if (r <= ratio) return;  // false for NaN as well
    ratio = std::isnan(r) ? std::numeric_limits<double>::infinity() : r;
    where = place + ": " + std::to_string(found) + " instead of " + std::to_string(wanted);
  }
};

/// Inverse of a symmetric positive definite matrix [n * n]; empty if it is none.
Vector inverse(Vector a, std::size_t n) {
  Vector result(n * n, 0.0);
  for (std::size_t i = 0; i < n; ++i) result[i * n + i] = 1.0;
  for (std::size_t k = 0; k < n; ++k) {  // Gauss and Jordan; pivots are positive if `a` is
    const double pivot = a[k * n + k];
    if (!(pivot > 0.0)) return {};
    for (std::size_t i = 0; i < n; ++i) {
      if (i == k) continue;
      const double x = a[i * n + k] / pivot;
      for (std::size_t j = 0; j < n; ++j) {
        a[i * n + j] -= x * a[k * n + j];
        result[i * n + j] -= x * result[k * n + j];
      }
    }
    for (std::size_t j = 0; j < n; ++j) {
      a[k * n + j] /= pivot;
      result[k * n + j] /= pivot;
    }
  }
  return result;
}

}  // namespace

TEST_CASE("golden: parameters and data in pyhf's order", "[validation][golden]") {
  REQUIRE(cases().size() >= 25);
  for (const Case& c : cases()) {
    INFO(c.name);
    const slalom::ModelSpec& spec = c.model.spec();
    std::vector<std::string> names;
    Vector init, aux;
    std::vector<std::vector<double>> bounds;
    std::vector<bool> fixed;
    for (const slalom::Parameter& p : spec.parameters) {
      names.push_back(p.name);
      init.push_back(p.init);
      bounds.push_back({p.lower, p.upper});
      fixed.push_back(p.fixed);
    }
    for (std::size_t i : spec.auxiliary) aux.push_back(spec.parameters[i].auxdata);
    CHECK(names == c.golden.at("parameters").get<std::vector<std::string>>());
    CHECK(init == c.golden.at("init").get<Vector>());
    CHECK(bounds == c.golden.at("bounds").get<std::vector<Vector>>());
    CHECK(fixed == c.golden.at("fixed").get<std::vector<bool>>());
    CHECK(spec.observed == c.golden.at("observations").get<Vector>());
    const slalom::Json& poi = c.golden.at("poi");
    CHECK(spec.poi.has_value() == !poi.is_null());
    if (spec.poi && !poi.is_null()) CHECK(*spec.poi == poi.get<std::size_t>());
    const Vector wanted = c.golden.at("auxdata").get<Vector>();
    REQUIRE(aux.size() == wanted.size());
    for (std::size_t i = 0; i < aux.size(); ++i) {
      INFO(spec.parameters[spec.auxiliary[i]].name);
      CHECK_THAT(aux[i], WithinRel(wanted[i], 1e-14) || WithinAbs(wanted[i], 1e-300));
    }
  }
}

TEST_CASE("golden: expected data and logpdf are pyhf's", "[validation][golden]") {
  for (const Case& c : cases()) {
    slalom::Evaluator evaluator(c.model);
    const slalom::ModelSpec& spec = c.model.spec();
    for (const Point& point : c.points) {
      INFO(c.name << ", " << point.name);
      const Vector expected = c.model.expected_data(point.parameters);
      REQUIRE(expected.size() == point.expected.size());
      Worst worst;
      for (std::size_t i = 0; i < expected.size(); ++i) {
        worst.add(expected[i], point.expected[i], std::abs(point.expected[i]) + 1e-3,
                  "datum " + std::to_string(i));
      }
      INFO(worst.where);
      CHECK(worst.ratio < 1e-12);
      CHECK_THAT(evaluator.logpdf(point.parameters), WithinRel(point.logpdf, 1e-9));
      CHECK_THAT(c.model.logpdf(point.parameters, spec.data()), WithinRel(point.logpdf, 1e-9));

      // the parts are those of the whole
      std::size_t total = 0;
      for (const auto& channel : spec.channels) total += channel.n_bins * channel.samples.size();
      Vector parts(total);
      evaluator.expected_samples(point.parameters, parts);
      std::size_t next = 0;
      for (const slalom::ChannelSpec& channel : spec.channels) {
        Vector sum(channel.n_bins, 0.0), size(channel.n_bins, 1e-3);
        for (std::size_t s = 0; s < channel.samples.size(); ++s) {
          for (std::size_t b = 0; b < channel.n_bins; ++b, ++next) {
            sum[b] += parts[next];
            size[b] += std::abs(parts[next]);
          }
        }
        for (std::size_t b = 0; b < channel.n_bins; ++b) {
          worst.add(sum[b], expected[channel.first_bin + b], size[b], "sum of samples");
        }
      }
      CHECK(worst.ratio < 1e-12);
    }
  }
}

TEST_CASE("golden: gradient and Hessian agree with finite differences", "[validation][golden]") {
  for (const Case& c : cases()) {
    slalom::Evaluator evaluator(c.model);
    const slalom::ModelSpec& spec = c.model.spec();
    const std::size_t n = c.model.n_parameters();
    const std::vector<Joints> edges = joints(spec);
    const auto logpdf = [&](const Vector& x) { return Vector{evaluator.logpdf(x)}; };
    const auto gradient_at = [&](const Vector& x) {
      Vector g(n);
      const double value = evaluator.logpdf(x, g);
      if (!std::isfinite(value)) g.assign(n, value);
      return g;
    };
    for (const Point& point : c.points) {
      INFO(c.name << ", " << point.name);
      Vector gradient(n), second_gradient(n), hessian(n * n);
      const double value = evaluator.logpdf(point.parameters, gradient);
      CHECK_THAT(value, WithinRel(point.logpdf, 1e-9));
      CHECK_THAT(evaluator.logpdf(point.parameters, second_gradient, hessian),
                 WithinRel(point.logpdf, 1e-9));

      Vector curvature(n);
      for (std::size_t i = 0; i < n; ++i) curvature[i] = std::sqrt(std::abs(hessian[i * n + i]));
      Worst worst_gradient, worst_second, worst_hessian, asymmetry;
      for (std::size_t j = 0; j < n; ++j) {
        const Side side = side_at(edges[j], point.parameters[j]);
        const double slope =
            closest(gradient[j], differences(logpdf, point.parameters, j, side), 0);
        const double scale = std::abs(gradient[j]) + curvature[j] + 1.0;
        worst_gradient.add(gradient[j], slope, scale, spec.parameters[j].name);
        worst_second.add(second_gradient[j], gradient[j], scale, spec.parameters[j].name);
        const std::array<Vector, 3> column = differences(gradient_at, point.parameters, j, side);
        for (std::size_t i = 0; i < n; ++i) {
          const std::string place = spec.parameters[i].name + " x " + spec.parameters[j].name;
          const double entry = hessian[i * n + j];
          asymmetry.add(entry, hessian[j * n + i], 1.0, place);
          // At a kink the second derivative along it has no value to compare with.
          if (i == j && side == Side::mean && edges[j].kink_at_zero) {
            worst_hessian.add(std::isfinite(entry) ? 0.0 : 1.0, 0.0, 1e-9, place);
            continue;
          }
          worst_hessian.add(entry, closest(entry, column, i),
                            std::abs(entry) + curvature[i] * curvature[j] + 1.0, place);
        }
      }
      INFO("gradient: " << worst_gradient.where);
      CHECK(worst_gradient.ratio < 1e-8);
      INFO("gradient beside the Hessian: " << worst_second.where);
      CHECK(worst_second.ratio < 1e-12);
      INFO("Hessian: " << worst_hessian.where);
      CHECK(worst_hessian.ratio < 1e-7);
      INFO("symmetry: " << asymmetry.where);
      CHECK(asymmetry.ratio == 0.0);
    }
  }
}

// The fit profiles per-bin parameters in closed form; what it reports must be a minimum, with the
// covariance, of the full likelihood that the cases above have checked.
TEST_CASE("golden: fits end where the full likelihood says", "[validation][golden]") {
  int compared = 0;
  for (const Case& c : cases()) {
    INFO(c.name);
    const std::size_t n = c.model.n_parameters();
    slalom::Fitter fitter(c.model);
    const slalom::FitResult result = fitter.fit();
    INFO(result.message);
    // Some cases are degenerate on purpose (a shapefactor times a normfactor): a minimum, but not
    // the only one.
    const bool flat = result.smallest_eigenvalue < 1e-9;
    CHECK((result.converged() || (flat && result.kkt_residual < 1e-8)));

    slalom::Evaluator evaluator(c.model);
    Vector gradient(n), hessian(n * n);
    const double value = evaluator.logpdf(result.parameters, gradient, hessian);
    CHECK_THAT(result.twice_nll, WithinRel(-2.0 * value, 1e-12));
    std::vector<std::size_t> free;
    Worst slope;
    const std::vector<Joints> edges = joints(c.model.spec());
    const auto logpdf = [&](const Vector& x) { return Vector{evaluator.logpdf(x)}; };
    bool at_kink = false;
    for (std::size_t i = 0; i < n; ++i) {
      const slalom::Parameter& p = c.model.spec().parameters[i];
      if (result.fixed[i]) continue;
      if (result.at_bound[i]) {  // the likelihood must not rise towards the inside
        const double inwards = result.parameters[i] == p.lower ? gradient[i] : -gradient[i];
        slope.add(std::max(inwards, 0.0), 0.0, 1.0, p.name + " at its bound");
        continue;
      }
      free.push_back(i);
      if (edges[i].kink_at_zero && result.parameters[i] == 0.0) {  // it must fall on both sides
        at_kink = true;
        const double left = difference(logpdf, result.parameters, i, Side::left, 1e-4)[0];
        const double right = difference(logpdf, result.parameters, i, Side::right, 1e-4)[0];
        slope.add(std::max({right, -left, 0.0}), 0.0, 1.0, p.name + " at its kink");
        continue;
      }
      slope.add(gradient[i], 0.0, std::sqrt(std::abs(hessian[i * n + i])) + 1e-6, p.name);
    }
    INFO("gradient: " << slope.where);
    CHECK(slope.ratio < 1e-7);

    const slalom::Covariance covariance = fitter.covariance(result);
    const std::size_t f = free.size();
    Vector information(f * f);
    for (std::size_t i = 0; i < f; ++i) {
      for (std::size_t j = 0; j < f; ++j) information[i * f + j] = -hessian[free[i] * n + free[j]];
    }
    CHECK((covariance.valid || !result.converged()));
    if (!covariance.valid || flat || at_kink) continue;
    const Vector wanted = inverse(information, f);
    REQUIRE(wanted.size() == f * f);
    REQUIRE(covariance.parameters == free);
    const Vector errors = fitter.errors(result);
    Worst worst;
    for (std::size_t i = 0; i < f; ++i) {
      const double width = std::sqrt(wanted[i * f + i]);
      const std::string name = c.model.spec().parameters[free[i]].name;
      worst.add(errors[free[i]], width, width, "error of " + name);
      worst.add(covariance.errors[free[i]], width, width, "error of " + name);
      for (std::size_t j = 0; j < f; ++j) {
        worst.add(covariance.matrix[i * f + j], wanted[i * f + j],
                  width * std::sqrt(wanted[j * f + j]),
                  name + " x " + c.model.spec().parameters[free[j]].name);
      }
    }
    INFO("covariance: " << worst.where);
    CHECK(worst.ratio < 1e-7);
    ++compared;
  }
  CHECK(compared > 40);
}
