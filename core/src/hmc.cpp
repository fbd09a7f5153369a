// SPDX-License-Identifier: Apache-2.0
#include "slalom/core/hmc.hpp"

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <tbb/parallel_for.h>

#include "slalom/core/error.hpp"
#include "slalom/core/normal.hpp"
#include "slalom/core/random.hpp"

namespace slalom {

namespace {

using Matrix = Eigen::MatrixXd;
using Vector = Eigen::VectorXd;
using Rows = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

constexpr double k_infinity = std::numeric_limits<double>::infinity();
/// Loss of energy on a path that no correct integration has.
constexpr double k_divergence = 1000.0;

Eigen::Index index(std::size_t i) { return static_cast<Eigen::Index>(i); }

double log_sum(double a, double b) {
  const double top = std::max(a, b);
  return std::isinf(top) && top < 0.0 ? top : top + std::log(std::exp(a - top) + std::exp(b - top));
}

/// A place in coordinates where the metric is the unit matrix: x = lower * y.
struct Point {
  Vector y, momentum, gradient;
  double log_density = -k_infinity;
  double energy() const { return 0.5 * momentum.squaredNorm() - log_density; }
};

/// A part of a path, in the order of integration.
struct Path {
  Vector first, last;  // momenta
  Vector sum;          // of the momenta
  double log_weight = -k_infinity;
  Point proposal;
  bool valid = false;
};

bool goes_on(const Vector& first, const Vector& last, const Vector& sum) {
  return first.dot(sum) > 0.0 && last.dot(sum) > 0.0;
}

/// Nesterov's dual averaging of the step size (section 3.2 of Hoffman and Gelman).
class StepSize {
 public:
  void restart(double step) {
    centre_ = std::log(10.0 * step);
    error_ = averaged_ = 0.0;
    count_ = 0.0;
    step_ = step;
  }
  void learn(double acceptance, double target) {
    count_ += 1.0;
    const double weight = 1.0 / (count_ + 10.0);
    error_ += weight * (target - acceptance - error_);
    const double log_step = centre_ - error_ * std::sqrt(count_) / 0.05;
    averaged_ += std::pow(count_, -0.75) * (log_step - averaged_);
    step_ = std::exp(log_step);
  }
  void settle() {
    if (count_ > 0.0) step_ = std::exp(averaged_);
  }
  double value() const { return step_; }

 private:
  double centre_ = 0.0, error_ = 0.0, averaged_ = 0.0, count_ = 0.0, step_ = 1.0;
};

class Chain {
 public:
  Chain(const LogDensity& density, const std::vector<double>& start, const HmcOptions& options,
        std::size_t number)
      : density_(density), options_(options), random_(options.seed, number), d_(start.size()) {
    lower_ = Matrix::Identity(index(d_), index(d_));
    if (!options.covariance.empty()) {
      lower_ = Eigen::LLT<Matrix>(
                   Matrix(Eigen::Map<const Rows>(options.covariance.data(), index(d_), index(d_))))
                   .matrixL();
    }
    begin(start);
  }

  void warm_up() {
    find_step();
    // As in Stan: a first part for the step size, windows of doubling length for the metric, and a
    // last part for the step size again.
    const std::size_t n = options_.warmup, head = n * 15 / 100, tail = n / 10;
    std::size_t window = std::max<std::size_t>(25, n / 20), end = head + window;
    std::vector<Vector> seen;
    for (std::size_t i = 0; i < n; ++i) {
      transition();
      step_.learn(acceptance_, options_.target_accept);
      if (i < head || i >= n - tail) continue;
      seen.push_back(lower_ * here_.y);
      if (end + 2 * window > n - tail) end = n - tail;
      if (i + 1 == end) {
        learn_metric(seen);
        seen.clear();
        window *= 2;
        end += window;
      }
    }
    step_.settle();
  }

  void draw(std::span<double> x, double& log_density) {
    transition();
    Eigen::Map<Vector>(x.data(), index(d_)) = lower_ * here_.y;
    log_density = here_.log_density;
  }

  double step() const { return step_.value(); }
  double acceptance() const { return acceptance_; }
  bool diverged() const { return diverged_; }
  bool cut() const { return cut_; }
  std::size_t evaluations() const { return evaluations_; }

 private:
  void evaluate(Point& p) {
    ++evaluations_;
    const Vector x = lower_ * p.y;
    Vector g = Vector::Zero(index(d_));
    p.log_density = density_({x.data(), d_}, {g.data(), d_});
    if (!std::isfinite(p.log_density) || !g.allFinite()) p.log_density = -k_infinity;
    p.gradient = lower_.transpose() * g;
  }

  void begin(const std::vector<double>& start) {
    const Vector centre = lower_.triangularView<Eigen::Lower>().solve(
        Vector(Eigen::Map<const Vector>(start.data(), index(d_))));
    double spread = options_.start_spread;
    for (int attempt = 0; attempt < 60; ++attempt, spread *= 0.8) {
      here_.y = centre;
      for (Eigen::Index i = 0; i < index(d_); ++i) here_.y[i] += spread * random_.normal();
      evaluate(here_);
      if (std::isfinite(here_.log_density)) return;
    }
    throw Error(ErrorKind::numerical, "the density is 0 around the start", "hmc");
  }

  void draw_momentum() {
    here_.momentum.resize(index(d_));
    for (Eigen::Index i = 0; i < index(d_); ++i) here_.momentum[i] = random_.normal();
  }

  void leapfrog(Point& p, double step) {
    p.momentum += 0.5 * step * p.gradient;
    p.y += step * p.momentum;
    evaluate(p);
    p.momentum += 0.5 * step * p.gradient;
  }

  /// A step whose acceptance is about one half.
  void find_step() {
    double step = step_.value();
    int direction = 0;
    for (int i = 0; i < 100; ++i) {
      draw_momentum();
      Point p = here_;
      leapfrog(p, step);
      const double change = here_.energy() - p.energy();
      const int now = std::isfinite(change) && change > std::log(0.5) ? 1 : -1;
      if (direction == 0) direction = now;
      if (now != direction) break;
      step *= direction > 0 ? 2.0 : 0.5;
    }
    step_.restart(step);
  }

  void learn_metric(const std::vector<Vector>& seen) {
    const std::size_t n = seen.size();
    if (n < 10) return;
    Vector mean = Vector::Zero(index(d_));
    for (const Vector& x : seen) mean += x / static_cast<double>(n);
    Matrix s = Matrix::Zero(index(d_), index(d_));
    for (const Vector& x : seen) s += (x - mean) * (x - mean).transpose();
    s /= static_cast<double>(n - 1);
    // Few draws: correlations are moved towards none.
    const double keep = static_cast<double>(n) / (static_cast<double>(n) + 5.0);
    const Vector diagonal = s.diagonal();
    s *= keep;
    s.diagonal() += (1.0 - keep) * diagonal;
    const Eigen::LLT<Matrix> factor(s);
    if (factor.info() != Eigen::Success || !(diagonal.minCoeff() > 0.0)) return;
    const Vector x = lower_ * here_.y;
    lower_ = factor.matrixL();
    here_.y = lower_.triangularView<Eigen::Lower>().solve(x);
    evaluate(here_);
    step_.restart(1.0);
    find_step();
  }

  /// 2^depth steps from `at`, which is moved along.
  Path build(std::size_t depth, Point& at, double step, double energy) {
    if (depth == 0) {
      leapfrog(at, step);
      double change = energy - at.energy();
      if (std::isnan(change)) change = -k_infinity;
      if (change < -k_divergence) diverged_ = true;
      tried_ += 1.0;
      accepted_ += std::min(1.0, std::exp(change));
      return {at.momentum, at.momentum, at.momentum, change, at, !diverged_};
    }
    Path a = build(depth - 1, at, step, energy);
    if (!a.valid) return a;
    Path b = build(depth - 1, at, step, energy);
    if (!b.valid) {
      a.valid = false;
      return a;
    }
    Path both;
    both.log_weight = log_sum(a.log_weight, b.log_weight);
    both.sum = a.sum + b.sum;
    both.valid = goes_on(a.first, b.last, both.sum) && goes_on(a.first, b.first, a.sum + b.first) &&
                 goes_on(a.last, b.last, b.sum + a.last);
    const bool second = random_.uniform() < std::exp(b.log_weight - both.log_weight);
    both.proposal = std::move(second ? b.proposal : a.proposal);
    both.first = std::move(a.first);
    both.last = std::move(b.last);
    return both;
  }

  void transition() {
    draw_momentum();
    const double energy = here_.energy();
    Point ends[2] = {here_, here_};  // backwards, forwards
    Vector sum = here_.momentum;
    double log_weight = 0.0;
    diverged_ = cut_ = false;
    tried_ = accepted_ = 0.0;
    Point chosen = here_;
    for (std::size_t depth = 0;; ++depth) {
      if (depth == options_.max_depth) {
        cut_ = true;
        break;
      }
      const std::size_t way = random_.uniform() < 0.5 ? 0 : 1;
      const Vector near = ends[way].momentum, far = ends[1 - way].momentum;
      Path path = build(depth, ends[way], way == 1 ? step_.value() : -step_.value(), energy);
      if (!path.valid) break;
      if (random_.uniform() < std::exp(path.log_weight - log_weight)) {
        chosen = std::move(path.proposal);
      }
      log_weight = log_sum(log_weight, path.log_weight);
      const Vector all = sum + path.sum;
      const bool on = goes_on(far, path.last, all) && goes_on(far, path.first, sum + path.first) &&
                      goes_on(near, path.last, path.sum + near);
      sum = all;
      if (!on) break;
    }
    acceptance_ = tried_ > 0.0 ? accepted_ / tried_ : 0.0;
    here_ = std::move(chosen);
  }

  const LogDensity& density_;
  const HmcOptions& options_;
  RandomStream random_;
  std::size_t d_;
  Matrix lower_;
  Point here_;
  StepSize step_;
  double acceptance_ = 0.0, tried_ = 0.0, accepted_ = 0.0;
  bool diverged_ = false, cut_ = false;
  std::size_t evaluations_ = 0;
};

void check_options(const std::vector<double>& start, const HmcOptions& o) {
  const auto refuse = [](const std::string& what) { throw Error(ErrorKind::usage, what, "hmc"); };
  if (start.empty()) refuse("there are no variables");
  for (double x : start) {
    if (!std::isfinite(x)) refuse("the start is not finite");
  }
  if (o.chains == 0 || o.draws < 4) refuse("it takes at least one chain and four draws");
  if (!(o.target_accept > 0.0 && o.target_accept < 1.0)) {
    refuse("the target of the acceptance is above 0 and below 1");
  }
  if (o.max_depth == 0 || o.max_depth > 20) refuse("the largest depth is 1 to 20");
  if (!(std::isfinite(o.start_spread) && o.start_spread >= 0.0)) {
    refuse("the spread of the starts is not negative");
  }
  const std::size_t d = start.size();
  if (o.covariance.empty()) return;
  if (o.covariance.size() != d * d) refuse("the covariance has another size than the variables");
  const Eigen::LLT<Matrix> factor(
      Matrix(Eigen::Map<const Rows>(o.covariance.data(), index(d), index(d))));
  if (factor.info() != Eigen::Success) refuse("the covariance is not positive");
}

/// Ranks of all draws as normal numbers, equal ones sharing theirs.
std::vector<double> normal_scores(std::span<const double> draws) {
  std::vector<std::size_t> order(draws.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return draws[a] < draws[b]; });
  std::vector<double> scores(draws.size());
  for (std::size_t begin = 0, end = 0; begin < order.size(); begin = end) {
    while (end < order.size() && draws[order[end]] == draws[order[begin]]) ++end;
    const double rank = 0.5 * static_cast<double>(begin + end + 1);
    const double p = (rank - 0.375) / (static_cast<double>(draws.size()) + 0.25);
    const double z = normal_quantile_of_log(std::log(p));
    for (std::size_t i = begin; i < end; ++i) scores[order[i]] = z;
  }
  return scores;
}

/// Chains halved, with what R-hat and the effective size need.
struct SplitChains {
  explicit SplitChains(std::span<const double> values, std::size_t chains) {
    const std::size_t n = values.size() / chains;
    length = n / 2;
    for (std::size_t c = 0; c < chains; ++c) {
      parts.push_back(values.subspan(c * n, length));
      parts.push_back(values.subspan(c * n + n - length, length));
    }
    const double m = static_cast<double>(parts.size()), count = static_cast<double>(length);
    for (const auto& part : parts) {
      means.push_back(std::accumulate(part.begin(), part.end(), 0.0) / count);
      double square = 0.0;
      for (double x : part) square += (x - means.back()) * (x - means.back());
      variances.push_back(square / (count - 1.0));
    }
    within = std::accumulate(variances.begin(), variances.end(), 0.0) / m;
    const double mean = std::accumulate(means.begin(), means.end(), 0.0) / m;
    double between = 0.0;
    for (double x : means) between += (x - mean) * (x - mean);
    total = within * (count - 1.0) / count + between / (m - 1.0);
  }
  /// Mean autocovariance of the parts.
  double covariance(std::size_t lag) const {
    double sum = 0.0;
    for (std::size_t p = 0; p < parts.size(); ++p) {
      for (std::size_t i = 0; i + lag < length; ++i) {
        sum += (parts[p][i] - means[p]) * (parts[p][i + lag] - means[p]);
      }
    }
    return sum / static_cast<double>(length * parts.size());
  }
  double r_hat() const { return within > 0.0 ? std::sqrt(total / within) : k_infinity; }
  /// Geyer's initial monotone sequence.
  double effective() const {
    const double all = static_cast<double>(length * parts.size());
    if (!(within > 0.0)) return 0.0;
    const auto rho = [&](std::size_t lag) {
      return 1.0 - (within - covariance(lag) * static_cast<double>(length) /
                                 static_cast<double>(length - 1)) /
                       total;
    };
    double sum = -1.0, last = k_infinity;
    for (std::size_t t = 0; t + 1 < length; t += 2) {
      const double pair = std::min((t == 0 ? 1.0 : rho(t)) + rho(t + 1), last);
      if (pair <= 0.0) break;
      sum += 2.0 * pair;
      last = pair;
    }
    return all /
           std::max(sum, 1.0 / std::log10(all));  // the bound that Stan sets to anticorrelation
  }

  std::size_t length = 0;
  std::vector<std::span<const double>> parts;
  std::vector<double> means, variances;
  double within = 0.0, total = 0.0;
};

}  // namespace

ChainSummary summarise_chains(std::span<const double> draws, std::size_t chains) {
  if (chains == 0 || draws.size() % chains != 0 || draws.size() / chains < 4) {
    throw Error(ErrorKind::usage,
                std::to_string(draws.size()) + " draws are no " + std::to_string(chains) +
                    " chains of at least 4",
                "chains");
  }
  for (double x : draws) {
    if (!std::isfinite(x)) throw Error(ErrorKind::usage, "a draw is not finite", "chains");
  }
  ChainSummary s;
  const double n = static_cast<double>(draws.size());
  s.mean = std::accumulate(draws.begin(), draws.end(), 0.0) / n;
  double square = 0.0;
  for (double x : draws) square += (x - s.mean) * (x - s.mean);
  s.sigma = std::sqrt(square / (n - 1.0));
  const std::vector<double> scores = normal_scores(draws);
  // Of the distances from the median as well: chains that differ in width only.
  std::vector<double> sorted(draws.begin(), draws.end());
  std::nth_element(sorted.begin(), sorted.begin() + static_cast<std::ptrdiff_t>(sorted.size() / 2),
                   sorted.end());
  const double median = sorted[sorted.size() / 2];
  std::vector<double> folded;
  for (double x : draws) folded.push_back(std::abs(x - median));
  const std::vector<double> folded_scores = normal_scores(folded);
  const SplitChains split(scores, chains);
  s.r_hat = std::max(split.r_hat(), SplitChains(folded_scores, chains).r_hat());
  s.ess = split.effective();
  return s;
}

std::vector<double> HmcResult::variable(std::size_t d) const {
  std::vector<double> result;
  for (std::size_t i = 0; i < chains * draws; ++i) result.push_back(samples[i * dimension + d]);
  return result;
}

bool HmcResult::trustworthy() const {
  const double enough = 100.0 * static_cast<double>(chains);
  return divergences == 0 &&
         std::all_of(summaries.begin(), summaries.end(),
                     [&](const ChainSummary& s) { return s.r_hat < 1.01 && s.ess >= enough; });
}

HmcResult sample(const LogDensity& density, const std::vector<double>& start,
                 const HmcOptions& options) {
  check_options(start, options);
  HmcResult r;
  r.dimension = start.size();
  r.chains = options.chains;
  r.draws = options.draws;
  r.samples.resize(r.chains * r.draws * r.dimension);
  r.log_density.resize(r.chains * r.draws);
  r.step.resize(r.chains);
  r.acceptance.resize(r.chains);
  std::vector<std::size_t> diverged(r.chains), cut(r.chains), evaluations(r.chains);
  tbb::parallel_for(std::size_t{0}, r.chains, [&](std::size_t c) {
    Chain chain(density, start, options, c);
    chain.warm_up();
    for (std::size_t i = 0; i < r.draws; ++i) {
      const std::size_t at = c * r.draws + i;
      chain.draw({r.samples.data() + at * r.dimension, r.dimension}, r.log_density[at]);
      r.acceptance[c] += chain.acceptance() / static_cast<double>(r.draws);
      if (chain.diverged()) ++diverged[c];
      if (chain.cut()) ++cut[c];
    }
    r.step[c] = chain.step();
    evaluations[c] = chain.evaluations();
  });
  r.divergences = std::accumulate(diverged.begin(), diverged.end(), std::size_t{0});
  r.at_max_depth = std::accumulate(cut.begin(), cut.end(), std::size_t{0});
  r.evaluations = std::accumulate(evaluations.begin(), evaluations.end(), std::size_t{0});
  for (std::size_t d = 0; d < r.dimension; ++d) {
    r.summaries.push_back(summarise_chains(r.variable(d), r.chains));
  }
  return r;
}

}  // namespace slalom
