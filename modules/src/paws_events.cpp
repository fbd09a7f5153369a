// SPDX-License-Identifier: Apache-2.0
#include "paws_events.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/stack.h>
#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "slalom/modules/autodiff.hpp"
#include "to_tensor.hpp"

namespace slalom::detail {

namespace {

/// Events along the rows.
using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

constexpr std::int64_t k_chunk = static_cast<std::int64_t>(RatioOnEvents::k_step);

double dot(const double* x, const double* y, std::size_t size) {
  return std::inner_product(x, x + size, y, 0.0);
}

/// log r of normalised ratios.
void subtract(const RatioMean::Point& norm, RatioJets& jets) {
  const std::size_t p = norm.gradient.size();
  for (std::size_t i = 0; i < jets.value.size(); ++i) {
    jets.value[i] -= norm.value;
    for (std::size_t a = 0; a < p; ++a) jets.gradient[i * p + a] -= norm.gradient[a];
    for (std::size_t a = 0; a < p * p; ++a) jets.hessian[i * p * p + a] -= norm.hessian[a];
  }
}

}  // namespace

std::vector<double> to_vector(const Tensor& tensor) {
  const Tensor flat = tensor.to(at::kCPU, at::kDouble).contiguous();
  const auto* begin = flat.data_ptr<double>();
  return {begin, begin + flat.numel()};
}

RatioOnEvents::RatioOnEvents(ParameterisedRatio ratio, const Tensor& events)
    : ratio_(std::move(ratio)), events_(events) {
  Classifier network = ratio_->network();
  auto* polynomial = dynamic_cast<PolynomialRatioImpl*>(network.get());
  if (polynomial == nullptr) return;
  const at::NoGradGuard no_graph;
  basis_ = Polynomials(polynomial->parameters(), polynomial->degree());
  calibration_ = Polynomials(ratio_->parameters(), ratio_->degree());
  slope_ = to_vector(ratio_->slope());
  offset_ = to_vector(ratio_->offset());
  for (std::int64_t begin = 0; begin < events.size(0); begin += k_chunk) {
    const std::vector<double> part = to_vector(polynomial->coefficients(
        events.slice(0, begin, std::min(begin + k_chunk, events.size(0)))));
    coefficients_.insert(coefficients_.end(), part.begin(), part.end());
  }
}

std::vector<double> RatioOnEvents::log_ratio(const std::vector<double>& theta) const {
  std::vector<double> result;
  result.reserve(size());
  for (std::size_t begin = 0; begin < size(); begin += k_step) {
    const std::size_t end = std::min(begin + k_step, size());
    if (basis_.terms() > 0) {
      const RatioJets part = polynomial_jets(theta, begin, end, false);
      result.insert(result.end(), part.value.begin(), part.value.end());
      continue;
    }
    const at::NoGradGuard no_graph;
    ParameterisedRatio ratio = ratio_;
    const std::vector<double> part =
        to_vector(ratio->log_ratio(chunk(begin, end), to_tensor(theta).to(events_.device())));
    result.insert(result.end(), part.begin(), part.end());
  }
  return result;
}

RatioJets RatioOnEvents::jets(const std::vector<double>& theta, std::size_t begin,
                              std::size_t end) const {
  if (basis_.terms() > 0) return polynomial_jets(theta, begin, end, true);
  return graph_jets(theta, begin, end);
}

Tensor RatioOnEvents::chunk(std::size_t begin, std::size_t end) const {
  return events_.slice(0, static_cast<std::int64_t>(begin), static_cast<std::int64_t>(end));
}

RatioJets RatioOnEvents::graph_jets(const std::vector<double>& theta, std::size_t begin,
                                    std::size_t end) const {
  const at::AutoGradMode graph(true);
  ParameterisedRatio ratio = ratio_;
  const auto n = static_cast<std::int64_t>(end - begin),
             p = static_cast<std::int64_t>(theta.size());
  // A theta of its own for each event: one backward pass gives the derivatives of all.
  const Tensor leaf =
      to_tensor(theta).to(events_.device()).unsqueeze(0).expand({n, p}).clone().requires_grad_();
  const Tensor value = ratio->log_ratio(chunk(begin, end), leaf);
  RatioJets result;
  result.value = to_vector(value.detach());
  if (!value.requires_grad()) {
    result.gradient.assign(static_cast<std::size_t>(n * p), 0.0);
    result.hessian.assign(static_cast<std::size_t>(n * p * p), 0.0);
    return result;
  }
  const Tensor first = gradient(value.sum(), leaf, true);
  result.gradient = to_vector(first.detach());
  if (!first.requires_grad()) {
    result.hessian.assign(static_cast<std::size_t>(n * p * p), 0.0);
    return result;
  }
  std::vector<Tensor> second;
  for (std::int64_t a = 0; a < p; ++a) {
    second.push_back(gradient(first.select(1, a).sum(), leaf, a + 1 < p).detach());
  }
  result.hessian = to_vector(at::stack(second, 1));
  return result;
}

RatioJets RatioOnEvents::polynomial_jets(const std::vector<double>& theta, std::size_t begin,
                                         std::size_t end, bool derivatives) const {
  const std::size_t n = end - begin, p = theta.size(), terms = basis_.terms();
  const PolynomialJets m = basis_.jets(theta), c = calibration_.jets(theta);
  const std::size_t k = calibration_.terms();
  // log r = a f + b: both polynomials are multiplied once, not for each event.
  const double a = dot(slope_.data(), c.value.data(), k);
  std::vector<double> da(p), db(p), dda(p * p), ddb(p * p);
  for (std::size_t i = 0; i < p; ++i) {
    da[i] = dot(slope_.data(), &c.gradient[i * k], k);
    db[i] = dot(offset_.data(), &c.gradient[i * k], k);
  }
  for (std::size_t i = 0; i < p * p; ++i) {
    dda[i] = dot(slope_.data(), &c.hessian[i * k], k);
    ddb[i] = dot(offset_.data(), &c.hessian[i * k], k);
  }
  // Columns: value, gradient, lower triangle of the Hessian.
  const std::size_t columns = derivatives ? 1 + p + p * (p + 1) / 2 : 1;
  Matrix factors(terms, columns);
  const auto at = [&](std::size_t t, std::size_t column) -> double& {
    return factors(static_cast<Eigen::Index>(t), static_cast<Eigen::Index>(column));
  };
  for (std::size_t t = 0; t < terms; ++t) {
    at(t, 0) = a * m.value[t];
    if (!derivatives) continue;
    std::size_t column = 1 + p;
    for (std::size_t i = 0; i < p; ++i) {
      at(t, 1 + i) = a * m.gradient[i * terms + t] + da[i] * m.value[t];
      for (std::size_t j = 0; j <= i; ++j) {
        const std::size_t ij = i * p + j;
        at(t, column++) = a * m.hessian[ij * terms + t] + da[i] * m.gradient[j * terms + t] +
                          da[j] * m.gradient[i * terms + t] + dda[ij] * m.value[t];
      }
    }
  }
  const Eigen::Map<const Matrix> events(&coefficients_[begin * terms], static_cast<Eigen::Index>(n),
                                        static_cast<Eigen::Index>(terms));
  const Matrix product = events * factors;
  const double b = dot(offset_.data(), c.value.data(), k);
  RatioJets result;
  result.value.resize(n);
  if (derivatives) {
    result.gradient.resize(n * p);
    result.hessian.resize(n * p * p);
  }
  for (std::size_t e = 0; e < n; ++e) {
    const double* row = product.data() + e * columns;
    result.value[e] = b + row[0];
    if (!derivatives) continue;
    const double* second = row + 1 + p;
    for (std::size_t i = 0; i < p; ++i) {
      result.gradient[e * p + i] = db[i] + row[1 + i];
      for (std::size_t j = 0; j <= i; ++j) {
        const double value = ddb[i * p + j] + *second++;
        result.hessian[(e * p + i) * p + j] = value;
        result.hessian[(e * p + j) * p + i] = value;
      }
    }
  }
  return result;
}

RatioMean::RatioMean(RatioOnEvents events, std::vector<double> weights)
    : events_(std::move(events)), weights_(std::move(weights)) {
  for (std::size_t i = 0; i < events_.size(); ++i) total_ += weight(i);
}

double RatioMean::value(const std::vector<double>& theta) const {
  {
    const std::lock_guard lock(mutex_);
    const auto found = known_.find(theta);
    if (found != known_.end()) return found->second;
  }
  const std::vector<double> l = events_.log_ratio(theta);
  const double largest = *std::max_element(l.begin(), l.end());
  double sum = 0.0;
  for (std::size_t i = 0; i < l.size(); ++i) sum += weight(i) * std::exp(l[i] - largest);
  const double result = largest + std::log(sum / total_);
  const std::lock_guard lock(mutex_);
  constexpr std::size_t k_most = 10000;
  if (known_.size() < k_most) known_.emplace(theta, result);
  return result;
}

RatioMean::Point RatioMean::evaluate(const std::vector<double>& theta) const {
  const std::size_t p = theta.size();
  Point result{value(theta), std::vector<double>(p), std::vector<double>(p * p)};
  for (std::size_t begin = 0; begin < events_.size(); begin += RatioOnEvents::k_step) {
    const std::size_t end = std::min(begin + RatioOnEvents::k_step, events_.size());
    const RatioJets jets = events_.jets(theta, begin, end);
    for (std::size_t i = 0; i < end - begin; ++i) {
      const double share = weight(begin + i) / total_ * std::exp(jets.value[i] - result.value);
      const double *first = &jets.gradient[i * p], *second = &jets.hessian[i * p * p];
      for (std::size_t a = 0; a < p; ++a) {
        result.gradient[a] += share * first[a];
        for (std::size_t b = 0; b < p; ++b) {
          result.hessian[a * p + b] += share * (second[a * p + b] + first[a] * first[b]);
        }
      }
    }
  }
  for (std::size_t a = 0; a < p; ++a) {
    for (std::size_t b = 0; b < p; ++b) {
      result.hessian[a * p + b] -= result.gradient[a] * result.gradient[b];
    }
  }
  return result;
}

double RatioMean::error(const std::vector<double>& theta) const {
  const std::vector<double> l = events_.log_ratio(theta);
  const double norm = value(theta);
  double sum = 0.0;
  for (std::size_t i = 0; i < l.size(); ++i) {
    const double pull = weight(i) / total_ * std::expm1(l[i] - norm);
    sum += pull * pull;
  }
  return std::sqrt(sum);
}

void RatioMean::add_influence(const std::vector<double>& theta, const std::vector<double>& by_value,
                              double by_slope, double factor, std::vector<double>& sum) const {
  const std::size_t p = theta.size(), v = p + 1;
  const Point norm = evaluate(theta);
  std::vector<double> pull(v);
  for (std::size_t begin = 0; begin < events_.size(); begin += RatioOnEvents::k_step) {
    const std::size_t end = std::min(begin + RatioOnEvents::k_step, events_.size());
    RatioJets jets = events_.jets(theta, begin, end);
    subtract(norm, jets);
    for (std::size_t i = 0; i < end - begin; ++i) {
      const double share = weight(begin + i) / total_, r = std::exp(jets.value[i]);
      pull[0] = share * by_value[0] * (r - 1.0);
      for (std::size_t a = 0; a < p; ++a) {
        pull[1 + a] =
            share * (by_value[1 + a] * (r - 1.0) + by_slope * r * jets.gradient[i * p + a]);
      }
      for (std::size_t a = 0; a < v; ++a) {
        for (std::size_t b = 0; b < v; ++b) sum[a * v + b] += factor * pull[a] * pull[b];
      }
    }
  }
}

std::vector<double> EventSet::log_ratio(const std::vector<double>& theta, std::size_t ratio) const {
  std::vector<double> result = ratios[ratio].log_ratio(theta);
  if (means.empty()) return result;
  const double norm = means[ratio]->value(theta);
  for (double& l : result) l -= norm;
  return result;
}

double EventSet::total_weight() const {
  if (weights.empty()) return static_cast<double>(ratios.front().size());
  return std::accumulate(weights.begin(), weights.end(), 0.0);
}

namespace {

struct TermValue {
  double value, first, second;
};

TermValue evaluate_term(PawsTerm term, double t) {
  if (term == PawsTerm::likelihood) return {t, 1.0, 0.0};
  const double sign = term == PawsTerm::data ? -1.0 : 1.0;
  const double s = sign * t, e = std::exp(-std::abs(s));
  const double softplus = std::max(s, 0.0) + std::log1p(e);
  const double sigmoid = s >= 0.0 ? 1.0 / (1.0 + e) : e / (1.0 + e);
  return {-softplus, -sign * sigmoid, -sigmoid * (1.0 - sigmoid)};
}

}  // namespace

void add_sum(const EventSet& sample, double mu, const std::vector<double>& theta, PawsTerm term,
             double factor, PawsLikelihood::Point& sum, std::vector<double>* moments) {
  const std::size_t p = theta.size(), v = p + 1;
  const double share_of_each = factor / static_cast<double>(sample.ratios.size());
  std::vector<double> t_first(v), t_second(v * v);
  for (std::size_t k = 0; k < sample.ratios.size(); ++k) {
    const RatioOnEvents& ratio = sample.ratios[k];
    const RatioMean* mean = sample.means.empty() ? nullptr : sample.means[k].get();
    const RatioMean::Point norm = mean != nullptr ? mean->evaluate(theta) : RatioMean::Point{};
    for (std::size_t begin = 0; begin < ratio.size(); begin += RatioOnEvents::k_step) {
      const std::size_t end = std::min(begin + RatioOnEvents::k_step, ratio.size());
      RatioJets jets = ratio.jets(theta, begin, end);
      if (mean != nullptr) subtract(norm, jets);
      for (std::size_t i = 0; i < end - begin; ++i) {
        const double l = jets.value[i];
        const double* l_first = &jets.gradient[i * p];
        const double* l_second = &jets.hessian[i * p * p];
        // The larger of both densities is taken out.
        const double e = std::exp(-std::abs(l));
        const double base = l > 0.0 ? e : 1.0, ratio_part = l > 0.0 ? 1.0 : e;
        const double slope = ratio_part - base, density = (1.0 - mu) * base + mu * ratio_part;
        const double t = mu == 0.0 ? 0.0 : std::log(density) + std::max(l, 0.0);
        const double share = mu * ratio_part / density, u = slope / density;
        const double cross = base * ratio_part / (density * density);
        t_first[0] = u;
        t_second[0] = -u * u;
        for (std::size_t a = 0; a < p; ++a) {
          t_first[1 + a] = share * l_first[a];
          t_second[1 + a] = t_second[(1 + a) * v] = cross * l_first[a];
          for (std::size_t b = 0; b < p; ++b) {
            t_second[(1 + a) * v + 1 + b] =
                share * l_second[a * p + b] + share * (1.0 - share) * l_first[a] * l_first[b];
          }
        }
        const double weight =
            share_of_each * (sample.weights.empty() ? 1.0 : sample.weights[begin + i]);
        const TermValue f = evaluate_term(term, t);
        sum.value += weight * f.value;
        for (std::size_t a = 0; a < v; ++a) {
          sum.gradient[a] += weight * f.first * t_first[a];
          for (std::size_t b = 0; b < v; ++b) {
            sum.hessian[a * v + b] +=
                weight * (f.first * t_second[a * v + b] + f.second * t_first[a] * t_first[b]);
            if (moments == nullptr) continue;
            const double pull = weight * f.first;
            (*moments)[a * v + b] += pull * pull * t_first[a] * t_first[b];
          }
        }
      }
    }
  }
}

std::vector<double> reference_moments(const EventSet& sample, double mu,
                                      const std::vector<double>& theta) {
  const std::size_t p = theta.size(), v = p + 1;
  std::vector<double> result(v * v);
  for (std::size_t k = 0; k < sample.means.size(); ++k) {
    const RatioOnEvents& ratio = sample.ratios[k];
    const RatioMean::Point norm = sample.means[k]->evaluate(theta);
    std::vector<double> by_value(v);
    double by_slope = 0.0;
    for (std::size_t begin = 0; begin < ratio.size(); begin += RatioOnEvents::k_step) {
      const std::size_t end = std::min(begin + RatioOnEvents::k_step, ratio.size());
      RatioJets jets = ratio.jets(theta, begin, end);
      subtract(norm, jets);
      for (std::size_t i = 0; i < end - begin; ++i) {
        const double l = jets.value[i],
                     w = sample.weights.empty() ? 1.0 : sample.weights[begin + i];
        const double e = std::exp(-std::abs(l));
        const double base = l > 0.0 ? e : 1.0, ratio_part = l > 0.0 ? 1.0 : e;
        const double density = (1.0 - mu) * base + mu * ratio_part;
        const double share = mu * ratio_part / density;
        by_value[0] += w * base * ratio_part / (density * density);
        for (std::size_t a = 0; a < p; ++a) {
          by_value[1 + a] += w * share * (1.0 - share) * jets.gradient[i * p + a];
        }
        by_slope += w * share;
      }
    }
    // Of the mean over ratios whose fluctuations are the same: K ratios, (1 / K)^2 each.
    const double factor = 1.0 / static_cast<double>(sample.ratios.size());
    sample.means[k]->add_influence(theta, by_value, by_slope, factor, result);
  }
  return result;
}

}  // namespace slalom::detail
