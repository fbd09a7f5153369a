// SPDX-License-Identifier: Apache-2.0
#include "slalom/core/bump_hunt.hpp"

#include <Eigen/QR>
#include <algorithm>
#include <boost/math/tools/toms748_solve.hpp>
#include <cmath>
#include <limits>
#include <memory>
#include <tbb/blocked_range.h>
#include <tbb/global_control.h>
#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>
#include <utility>

#include "slalom/core/error.hpp"
#include "slalom/core/normal.hpp"
#include "slalom/core/random.hpp"
#include "spectrum_likelihood.hpp"

namespace slalom {

namespace {

using detail::BinRange;
using detail::SpectrumBasis;
using detail::SpectrumMinimum;

constexpr double k_infinity = std::numeric_limits<double>::infinity();
/// Families of random numbers of toys of one mass, and of scans.
constexpr std::uint32_t k_family = 5, k_scan_family = 6;
/// How near an end of a window must be to an edge, in widths of bins.
constexpr double k_edge_tolerance = 1e-6;

[[noreturn]] void refuse(const std::string& what, const std::string& where) {
  throw Error(ErrorKind::usage, what, where);
}

void check_options(const BumpHuntOptions& options) {
  if (!std::isfinite(options.mass)) refuse("must be finite", "mass");
  if (!std::isfinite(options.width) || options.width <= 0.0) refuse("must be positive", "width");
  if (!std::isfinite(options.half_window) || options.half_window <= 0.0) {
    refuse("must be positive", "half_window");
  }
  if (!(options.confidence > 0.0 && options.confidence < 1.0)) {
    refuse("must be between 0 and 1", "confidence");
  }
  if (options.signal != BumpSignal::shape && !options.signal_shape.empty()) {
    refuse("is given, but another kind of signal is asked for", "signal_shape");
  }
}

/// The edge of a bin at an end of a window.
std::size_t edge_at(std::span<const double> edges, double mass) {
  const auto above = std::lower_bound(edges.begin(), edges.end(), mass);
  const auto i = static_cast<std::size_t>(above - edges.begin());
  for (const std::size_t near : {i, i == 0 ? i : i - 1}) {
    if (near >= edges.size()) continue;
    const std::size_t bin = std::min(near, edges.size() - 2);
    if (std::abs(edges[near] - mass) <= k_edge_tolerance * (edges[bin + 1] - edges[bin])) {
      return near;
    }
  }
  refuse("an end of the window, " + std::to_string(mass) + ", is no edge of a bin", "window");
}

BinRange window_of(std::span<const double> edges, const BumpHuntOptions& options) {
  BinRange range;
  if (options.window) {
    range = {edge_at(edges, options.window->low), edge_at(edges, options.window->high)};
  } else {
    const double half = options.half_window * options.width;
    const auto inside = [&](std::size_t b) {
      return std::abs(0.5 * (edges[b] + edges[b + 1]) - options.mass) < half;
    };
    while (range.first + 1 < edges.size() && !inside(range.first)) ++range.first;
    range.last = range.first;
    while (range.last + 1 < edges.size() && inside(range.last)) ++range.last;
  }
  if (range.first < range.last) return range;
  refuse("there is no bin in the signal window around " + std::to_string(options.mass), "window");
}

/// Shares of a normal distribution in the bins, from the smaller tail.
std::vector<double> gaussian_shape(std::span<const double> edges, double mean, double width) {
  std::vector<double> shape;
  for (std::size_t b = 0; b + 1 < edges.size(); ++b) {
    const double low = (edges[b] - mean) / width, high = (edges[b + 1] - mean) / width;
    shape.push_back(low > 0.0 ? normal_cdf(-low) - normal_cdf(-high)
                              : normal_cdf(high) - normal_cdf(low));
  }
  return shape;
}

std::vector<double> shape_of(std::span<const double> edges, const BinRange& window,
                             const BumpHuntOptions& options) {
  const std::size_t bins = edges.size() - 1;
  std::vector<double> shape;
  if (options.signal == BumpSignal::gaussian) {
    shape = gaussian_shape(edges, options.mass, options.width);
  } else if (options.signal == BumpSignal::shape) {
    shape = options.signal_shape;
    if (shape.size() != bins) {
      refuse(std::to_string(shape.size()) + " entries for " + std::to_string(bins) + " bins",
             "signal_shape");
    }
  } else {
    shape.assign(bins, 0.0);
    for (std::size_t b = window.first; b < window.last; ++b) {
      shape[b] = (edges[b + 1] - edges[b]) / (edges[window.last] - edges[window.first]);
    }
  }
  double sum = 0.0;
  for (std::size_t b = 0; b < bins; ++b) {
    if (!std::isfinite(shape[b]) || shape[b] < 0.0) {
      refuse("must be finite and not negative", "signal_shape[" + std::to_string(b) + "]");
    }
    sum += shape[b];
  }
  if (!(sum > 0.0)) {
    refuse(options.signal == BumpSignal::gaussian ? "there is no signal within the edges"
                                                  : "must have a positive sum",
           options.signal == BumpSignal::gaussian ? "mass" : "signal_shape");
  }
  for (double& value : shape) value /= sum;
  return shape;
}

/// The three fits of one set of counts.
struct Fits {
  SpectrumMinimum background;  // S = 0
  SpectrumMinimum best;        // S free, if that has a minimum
  SpectrumMinimum physical;    // S >= 0
  bool at_boundary = false;
  bool converged() const { return background.converged() && physical.converged(); }
  double q0() const { return 2.0 * std::max(0.0, background.nll - physical.nll); }
};

/// One hypothesis of a mass, ready to fit any counts. Threads may share it.
class Hunt {
 public:
  Hunt(std::shared_ptr<const SpectrumBasis> basis, const BumpHuntOptions& options)
      : basis_(std::move(basis)), options_(options) {
    check_options(options_);
    const std::vector<double>& edges = basis_->edges();
    window_ = window_of(edges, options_);
    shape_ = shape_of(edges, window_, options_);
    use_ = detail::outside(edges, options_.background.blinded);
    for (std::size_t b = window_.first; b < window_.last; ++b) {
      if (!use_[b]) refuse("a blinded bin lies in the signal window", "blinded");
    }
    sidebands_ = use_;
    std::fill(sidebands_.begin() + static_cast<std::ptrdiff_t>(window_.first),
              sidebands_.begin() + static_cast<std::ptrdiff_t>(window_.last), false);
    if (options_.signal == BumpSignal::count) {
      for (const BinRange& bin : detail::single_bins(use_)) {
        if (bin.first == window_.first) groups_.push_back(window_);
        if (bin.first < window_.first || bin.first >= window_.last) groups_.push_back(bin);
      }
    } else {
      groups_ = detail::single_bins(use_);
    }
    group_shape_ = detail::grouped(groups_, shape_);
    side_groups_ = detail::single_bins(sidebands_);
  }

  const SpectrumBasis& basis() const { return *basis_; }
  const BinRange& window() const { return window_; }
  const std::vector<BinRange>& groups() const { return groups_; }
  const std::vector<BinRange>& side_groups() const { return side_groups_; }
  const std::vector<double>& shape() const { return shape_; }
  const BumpHuntOptions& options() const { return options_; }
  std::vector<double> grouped(std::span<const double> counts) const {
    return detail::grouped(groups_, counts);
  }

  void check(std::span<const double> counts) const {
    detail::check_counts(*basis_, counts);
    detail::check_groups(*basis_, groups_, grouped(counts));
    detail::check_groups(*basis_, side_groups_, detail::grouped(side_groups_, counts));
  }

  SpectrumMinimum fit_sidebands(std::span<const double> counts) const {
    return detail::fit_groups(*basis_, side_groups_, detail::grouped(side_groups_, counts), {},
                              basis_->start(counts, sidebands_));
  }

  Eigen::VectorXd start(std::span<const double> counts) const {
    return basis_->start(counts, use_);
  }

  SpectrumMinimum fit_background(const std::vector<double>& grouped_counts,
                                 const Eigen::VectorXd& start) const {
    return detail::fit_groups(*basis_, groups_, grouped_counts, {}, start);
  }

  SpectrumMinimum fit_signal(const std::vector<double>& grouped_counts,
                             const Eigen::VectorXd& start, double signal, double lower,
                             bool held = false) const {
    return detail::fit_groups(*basis_, groups_, grouped_counts, {group_shape_, signal, lower, held},
                              start);
  }

  /// \param start of the background's coefficients
  Fits fit(const std::vector<double>& grouped_counts, const Eigen::VectorXd& start) const {
    Fits fits;
    fits.background = fit_background(grouped_counts, start);
    if (!fits.background.converged()) return fits;
    fits.best = fit_signal(grouped_counts, fits.background.coefficients, 0.0, -k_infinity);
    // A fit that ends where a rate vanishes has no minimum inside.
    fits.at_boundary = !fits.best.converged() && fits.best.signal < 0.0;
    if (fits.best.converged() && fits.best.signal >= 0.0) {
      fits.physical = fits.best;
    } else if (fits.best.converged() && fits.best.nll <= fits.background.nll) {
      fits.physical = fits.background;
      fits.physical.signal = 0.0;
    } else {
      fits.physical = fit_signal(grouped_counts, fits.background.coefficients, 0.0, 0.0);
    }
    return fits;
  }

  /// Standard deviation of S, from the curvature at the best fit or, failing that, at S = 0.
  double signal_error(const Fits& fits, const std::vector<double>& grouped_counts) const {
    if (fits.best.converged()) return fits.best.signal_error();
    SpectrumMinimum held = fit_signal(grouped_counts, fits.physical.coefficients,
                                      fits.physical.signal, -k_infinity, true);
    return curvature_error(held, grouped_counts);
  }

 private:
  double curvature_error(const SpectrumMinimum& at, const std::vector<double>& counts) const;

  std::shared_ptr<const SpectrumBasis> basis_;
  BumpHuntOptions options_;
  BinRange window_;
  std::vector<double> shape_, group_shape_;
  std::vector<bool> use_, sidebands_;
  std::vector<BinRange> groups_, side_groups_;
};

/// 1 / sqrt of the information on S that the expected rates at a fit would carry.
double Hunt::curvature_error(const SpectrumMinimum& at, const std::vector<double>& counts) const {
  const auto [rates, derivatives] = basis_->rates(at.coefficients);
  const auto k = derivatives.cols();
  Eigen::MatrixXd information = Eigen::MatrixXd::Zero(k + 1, k + 1);
  for (std::size_t g = 0; g < counts.size(); ++g) {
    Eigen::VectorXd row = Eigen::VectorXd::Zero(k + 1);
    double rate = at.signal * group_shape_[g];
    for (std::size_t b = groups_[g].first; b < groups_[g].last; ++b) {
      row.head(k) += derivatives.row(static_cast<Eigen::Index>(b)).transpose();
      rate += rates[static_cast<Eigen::Index>(b)];
    }
    row[k] = group_shape_[g];
    if (rate > std::numeric_limits<double>::min()) information += row * row.transpose() / rate;
  }
  // A handful of events need not determine every parameter of the background.
  const double scale = std::max(information(k, k), std::numeric_limits<double>::min());
  const Eigen::MatrixXd inverse =
      Eigen::CompleteOrthogonalDecomposition<Eigen::MatrixXd>(information / scale).pseudoInverse();
  return std::sqrt(std::max(0.0, inverse(k, k) / scale));
}

/// Rise of 2 NLL when S is held, above the best fit with S >= 0. Remembers where it was.
class Profile {
 public:
  Profile(const Hunt& hunt, std::vector<double> counts, const SpectrumMinimum& best)
      : hunt_(hunt), counts_(std::move(counts)), start_(best.coefficients), lowest_(best.nll) {}

  double operator()(double signal) {
    const SpectrumMinimum fit = hunt_.fit_signal(counts_, start_, signal, -k_infinity, true);
    if (!fit.converged()) {
      converged_ = false;
      return 2.0 * std::max(0.0, fit.nll - lowest_);
    }
    start_ = fit.coefficients;
    return 2.0 * std::max(0.0, fit.nll - lowest_);
  }
  bool converged() const { return converged_; }

 private:
  const Hunt& hunt_;
  std::vector<double> counts_;
  Eigen::VectorXd start_;
  double lowest_;
  bool converged_ = true;
};

/// log CLs of qtilde, eqs. 64-66 of Cowan et al. \param q of the data \param q_a of the
/// background's Asimov data, both at the tested S
double log_cls(double q, double q_a) {
  const double root = std::sqrt(q), root_a = std::sqrt(q_a);
  const bool far = q > q_a && q_a > 0.0;
  const double above = far ? 0.5 * (q / root_a + root_a) : root;
  const double below = far ? 0.5 * (q / root_a - root_a) : root - root_a;
  return log_normal_cdf(-above) - log_normal_cdf(-below);
}

/// Where a falling function that is positive at `low` is 0; `high` grows until it is negative.
template <class Function>
std::optional<double> falling_root(Function&& f, double low, double step) {
  double high = low + step;
  double f_high = f(high);
  for (int i = 0; i < 60 && f_high > 0.0; ++i) {
    low = high;
    step *= 2.0;
    high += step;
    f_high = f(high);
  }
  const double f_low = f(low);
  if (f_high > 0.0 || !std::isfinite(f_high) || f_low < 0.0) return std::nullopt;
  std::uintmax_t calls = 100;
  const auto tolerance = [](double a, double b) { return std::abs(a - b) <= 1e-6 * std::abs(b); };
  const auto [a, b] =
      boost::math::tools::toms748_solve(f, low, high, f_low, f_high, tolerance, calls);
  return 0.5 * (a + b);
}

void add_limits(const Hunt& hunt, const std::vector<double>& counts, const Fits& fits,
                BumpHuntResult& result) {
  // Data of the background alone.
  const std::vector<double> asimov = hunt.grouped(result.background.expected);
  SpectrumMinimum truth = fits.background;
  truth.nll = 0.0;
  Profile of_data(hunt, counts, fits.physical), of_asimov(hunt, asimov, truth);
  const double alpha = 1.0 - hunt.options().confidence;
  const double scale = result.signal_error > 0.0 ? result.signal_error : 1.0;
  const double from = std::max(0.0, result.signal);
  const auto excess = [&](double s) { return log_cls(of_data(s), of_asimov(s)) - std::log(alpha); };
  const std::optional<double> observed = falling_root(excess, from, scale);
  if (observed && of_data.converged() && of_asimov.converged()) result.upper_limit = observed;
  std::array<double, 5> band{};
  for (std::size_t i = 0; i < band.size(); ++i) {
    const double n = static_cast<double>(i) - 2.0;
    const double target = n - normal_quantile_of_log(std::log(alpha) + log_normal_cdf(n));
    const auto missing = [&](double s) { return target - std::sqrt(of_asimov(s)); };
    const std::optional<double> root = falling_root(missing, 0.0, scale);
    if (!root || !of_asimov.converged()) return;
    band[i] = *root;
  }
  result.expected_limit = band;
}

BumpHuntResult analyse(const Hunt& hunt, std::span<const double> counts) {
  hunt.check(counts);
  BumpHuntResult result;
  result.mass = hunt.options().mass;
  const std::vector<double>& edges = hunt.basis().edges();
  const BinRange window = hunt.window();
  result.window = {edges[window.first], edges[window.last]};
  result.shape = hunt.shape();
  for (std::size_t b = window.first; b < window.last; ++b) result.observed += counts[b];
  const SpectrumMinimum sidebands = hunt.fit_sidebands(counts);
  result.sidebands = detail::describe(hunt.basis(), hunt.side_groups(), counts, sidebands);
  if (sidebands.converged()) {
    result.predicted = result.sidebands.between(result.window.low, result.window.high);
  }
  const std::vector<double> grouped = hunt.grouped(counts);
  const Fits fits = hunt.fit(grouped, hunt.start(counts));
  result.background = detail::describe(hunt.basis(), hunt.groups(), counts, fits.background);
  result.converged = sidebands.converged() && fits.converged();
  if (!sidebands.converged()) {
    result.message = "background outside of the window: " + sidebands.message;
  } else if (!fits.background.converged()) {
    result.message = "background: " + fits.background.message;
  } else if (!fits.physical.converged()) {
    result.message = "background and signal: " + fits.physical.message;
  }
  if (!fits.converged()) return result;
  result.at_boundary = fits.at_boundary;
  const SpectrumMinimum& best = fits.best.converged() ? fits.best : fits.physical;
  result.signal = best.signal;
  result.signal_error = hunt.signal_error(fits, grouped);
  result.q0 = fits.q0();
  result.z = std::sqrt(result.q0);
  result.p0 = normal_cdf(-result.z);
  const auto [rates, derivatives] = hunt.basis().rates(best.coefficients);
  result.background_with_signal.assign(rates.data(), rates.data() + rates.size());
  result.total = result.background_with_signal;
  for (std::size_t b = 0; b < result.total.size(); ++b) {
    result.total[b] += result.signal * result.shape[b];
  }
  if (hunt.options().limits) add_limits(hunt, grouped, fits, result);
  return result;
}

/// Calls task(i) for i in [0, n); tasks depend on nothing but i.
template <class Task>
void parallel(std::size_t n, std::size_t threads, Task&& task) {
  const auto most = static_cast<std::size_t>(std::numeric_limits<int>::max());
  // oneTBB has no more threads than the machine has cores unless it is told so.
  std::optional<tbb::global_control> limit;
  if (threads > 1) limit.emplace(tbb::global_control::max_allowed_parallelism, threads);
  tbb::task_arena arena(threads == 0 ? tbb::task_arena::automatic
                                     : static_cast<int>(std::min(threads, most)));
  arena.execute([&] {
    tbb::parallel_for(tbb::blocked_range<std::size_t>(0, n),
                      [&](const tbb::blocked_range<std::size_t>& range) {
                        for (std::size_t i = range.begin(); i < range.end(); ++i) task(i);
                      });
  });
}

std::vector<double> thrown(std::span<const double> expected, RandomStream random) {
  std::vector<double> counts;
  counts.reserve(expected.size());
  for (const double mean : expected) counts.push_back(random.poisson(mean));
  return counts;
}

/// Largest q0 of a toy over all hypotheses; nothing if a fit does not converge.
std::optional<double> max_q0(const std::vector<Hunt>& hunts, std::span<const double> counts) {
  double largest = 0.0;
  Eigen::VectorXd start = hunts.front().start(counts);
  for (const Hunt& hunt : hunts) {
    const Fits fits = hunt.fit(hunt.grouped(counts), start);
    if (!fits.converged()) return std::nullopt;
    start = fits.background.coefficients;
    largest = std::max(largest, fits.q0());
  }
  return largest;
}

void add_global_p(const std::vector<Hunt>& hunts, const std::vector<double>& expected,
                  const BumpToyOptions& toys, BumpScan& scan) {
  std::vector<std::optional<double>> found(toys.n_toys);
  parallel(toys.n_toys, toys.threads, [&](std::size_t i) {
    found[i] = max_q0(hunts, thrown(expected, RandomStream(toys.seed, i, k_scan_family)));
  });
  std::size_t above = 0;
  for (const std::optional<double>& q : found) {
    if (!q) {
      ++scan.failed_toys;
      continue;
    }
    scan.toy_max_q0.push_back(*q);
    if (*q >= scan.max_q0) ++above;
  }
  if (scan.toy_max_q0.empty()) return;
  scan.global_p = toy_fraction(above, scan.toy_max_q0.size());
  if (above > 0) {
    scan.global_z = std::max(0.0, -normal_quantile_of_log(std::log(scan.global_p->value)));
  }
}

}  // namespace

BumpHuntResult hunt_bump(std::span<const double> edges, std::span<const double> counts,
                         const BumpHuntOptions& options) {
  const Hunt hunt(std::make_shared<SpectrumBasis>(edges, options.background), options);
  return analyse(hunt, counts);
}

std::vector<BumpToy> bump_toys(std::span<const double> edges, std::span<const double> expected,
                               const BumpHuntOptions& options, const BumpToyOptions& toys) {
  const Hunt hunt(std::make_shared<SpectrumBasis>(edges, options.background), options);
  hunt.check(expected);
  std::vector<BumpToy> result(toys.n_toys);
  parallel(toys.n_toys, toys.threads, [&](std::size_t i) {
    const std::vector<double> counts = thrown(expected, RandomStream(toys.seed, i, k_family));
    const std::vector<double> grouped = hunt.grouped(counts);
    const Fits fits = hunt.fit(grouped, hunt.start(counts));
    BumpToy& toy = result[i];
    toy.converged = fits.converged();
    if (!toy.converged) return;
    toy.signal = fits.best.converged() ? fits.best.signal : fits.physical.signal;
    toy.signal_error = hunt.signal_error(fits, grouped);
    toy.q0 = fits.q0();
  });
  return result;
}

BumpScan scan_bumps(std::span<const double> edges, std::span<const double> counts,
                    const BumpScanOptions& options) {
  if (options.masses.empty()) refuse("no masses to try", "masses");
  if (!std::isfinite(options.relative_width) || options.relative_width < 0.0) {
    refuse("must not be negative", "relative_width");
  }
  if (options.hunt.window || options.hunt.signal == BumpSignal::shape) {
    refuse("a scan moves the signal: neither a fixed window nor a fixed shape", "hunt");
  }
  const auto basis = std::make_shared<SpectrumBasis>(edges, options.hunt.background);
  std::vector<Hunt> hunts;
  BumpScan scan;
  scan.converged = true;
  for (std::size_t i = 0; i < options.masses.size(); ++i) {
    BumpHuntOptions at = options.hunt;
    at.mass = options.masses[i];
    if (options.relative_width > 0.0) at.width = options.relative_width * at.mass;
    try {
      hunts.emplace_back(basis, at);
      scan.points.push_back(analyse(hunts.back(), counts));
    } catch (const Error& error) {
      throw Error(error.kind(), error.message(),
                  "masses[" + std::to_string(i) + "]: " + error.where());
    }
    const BumpHuntResult& point = scan.points.back();
    scan.converged = scan.converged && point.converged;
    if (point.converged && point.q0 > scan.max_q0) {
      scan.max_q0 = point.q0;
      scan.best = i;
    }
  }
  if (options.toys.n_toys > 0 && scan.converged) {
    const SpectrumFit fit = fit_spectrum(edges, counts, options.hunt.background);
    scan.converged = fit.converged();
    if (fit.converged()) add_global_p(hunts, fit.expected, options.toys, scan);
  }
  return scan;
}

}  // namespace slalom
