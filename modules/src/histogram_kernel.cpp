// SPDX-License-Identifier: Apache-2.0
#include "histogram_kernel.hpp"

#include <ATen/ops/empty.h>
#include <ATen/ops/erfc.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/zeros.h>
#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "slalom/core/error.hpp"

namespace slalom::detail {

namespace {

using Index = std::int64_t;

constexpr Index k_block = 2048;

const double* data(const Tensor& tensor) { return tensor.data_ptr<double>(); }

/// The axis: its bins, and which of them each leaking edge is between.
class Axis {
 public:
  explicit Axis(const HistogramInputs& in)
      : edges_(data(in.edges)),
        bandwidth_(data(in.bandwidth)),
        last_(in.edges.size(0) - 1),
        flow_(in.flow),
        first_(flow_ == Flow::fold ? 1 : 0),
        leaks_(flow_ == Flow::fold ? last_ - 1 : last_ + 1),
        bins_(number_of_bins(last_ + 1, flow_)) {}

  Index bins() const { return bins_; }
  /// Number of edges that events leak over.
  Index leaks() const { return leaks_; }
  /// Its place among all edges.
  Index edge(Index leak) const { return first_ + leak; }
  double position(Index leak) const { return edges_[edge(leak)]; }
  double bandwidth(Index leak) const { return bandwidth_[edge(leak)]; }
  /// Bins below and above it; -1 or bins() for one that is not kept.
  Index below(Index leak) const { return flow_ == Flow::drop ? leak - 1 : leak; }
  Index above(Index leak) const { return below(leak) + 1; }
  /// Whether an event there counts as above the edge: yes, but for the last one.
  bool closed(Index leak) const { return edge(leak) == last_; }

  /// Bin of a value, or -1. \throws Error (numerical) for NaN
  Index bin(double x) const {
    Index n = 0;  // edges at or below x
    if (last_ < 24) {
      for (Index j = 0; j <= last_; ++j) n += x >= edges_[j] ? 1 : 0;
    } else {
      n = std::upper_bound(edges_, edges_ + last_ + 1, x) - edges_;
    }
    if (flow_ == Flow::fold) return std::clamp<Index>(n - 1, 0, last_ - 1);
    if (x == edges_[last_]) --n;
    if (flow_ == Flow::keep) return n;
    return n > last_ ? -1 : n - 1;
  }

 private:
  const double *edges_, *bandwidth_;
  Index last_;
  Flow flow_;
  Index first_, leaks_, bins_;
};

/// Tables [leaks, n] of events first ... first + n, in memory that is used again.
class Table {
 public:
  Table(const Axis& axis, const HistogramInputs& in)
      : axis_(axis), in_(in), storage_(at::empty({axis.leaks() * k_block}, at::kDouble)) {}

  double* row(Index leak) { return storage_.data_ptr<double>() + leak * n_; }

  /// F(-|y|) with the sign of y = (x - e) / h: what comes to the bin below.
  void fill_leaks(Index first, Index n) {
    n_ = n;
    const double* x = data(in_.x) + first;
    const double unit = in_.kernel == Kernel::gaussian ? 0.5 * std::numbers::sqrt2 : -1.0;
    for (Index l = 0; l < axis_.leaks(); ++l) {
      const double e = axis_.position(l), scale = unit / axis_.bandwidth(l);
      double* t = row(l);
      for (Index i = 0; i < n; ++i) t[i] = std::abs(x[i] - e) * scale;
    }
    Tensor all = used();
    const bool gaussian = in_.kernel == Kernel::gaussian;
    gaussian ? all.erfc_() : all.sigmoid_();
    for (Index l = 0; l < axis_.leaks(); ++l) {
      const double e = axis_.position(l), factor = gaussian ? 0.5 : 1.0;
      double* t = row(l);
      if (axis_.closed(l)) {
        for (Index i = 0; i < n; ++i) t[i] = x[i] > e ? factor * t[i] : -factor * t[i];
      } else {
        for (Index i = 0; i < n; ++i) t[i] = x[i] >= e ? factor * t[i] : -factor * t[i];
      }
    }
  }

  /// F'(y) / h.
  void fill_densities(Index first, Index n) {
    n_ = n;
    const double* x = data(in_.x) + first;
    const bool gaussian = in_.kernel == Kernel::gaussian;
    for (Index l = 0; l < axis_.leaks(); ++l) {
      const double e = axis_.position(l), scale = 1.0 / axis_.bandwidth(l);
      double* t = row(l);
      if (gaussian) {
        const double half = -0.5 * scale * scale;
        for (Index i = 0; i < n; ++i) t[i] = half * (x[i] - e) * (x[i] - e);
      } else {
        for (Index i = 0; i < n; ++i) t[i] = -std::abs(x[i] - e) * scale;
      }
    }
    Tensor all = used();
    gaussian ? all.exp_() : all.sigmoid_();
    for (Index l = 0; l < axis_.leaks(); ++l) {
      const double scale = 1.0 / axis_.bandwidth(l);
      double* t = row(l);
      if (gaussian) {
        const double norm = scale * 0.5 * std::numbers::inv_sqrtpi * std::numbers::sqrt2;
        for (Index i = 0; i < n; ++i) t[i] *= norm;
      } else {
        for (Index i = 0; i < n; ++i) t[i] = scale * t[i] * (1.0 - t[i]);
      }
    }
  }

 private:
  Tensor used() { return storage_.narrow(0, 0, axis_.leaks() * n_); }

  const Axis& axis_;
  const HistogramInputs& in_;
  Tensor storage_;
  Index n_ = 0;
};

/// The events in blocks: work(first, n).
template <class Work>
void in_blocks(Index n, const Work& work) {
  for (Index first = 0; first < n; first += k_block) work(first, std::min(k_block, n - first));
}

[[noreturn]] void refuse_nan(const double* x, Index n) {
  const auto bad = std::count_if(x, x + n, [](double value) { return std::isnan(value); });
  throw Error(ErrorKind::numerical,
              std::to_string(bad) + " of " + std::to_string(n) + " values are NaN", "histogram");
}

/// Cotangents of what leaks over each edge [leaks]: of the bin below less that of the bin above.
std::vector<double> leak_cotangents(const Axis& axis, const Tensor& cotangent, Index row) {
  std::vector<double> result(static_cast<std::size_t>(axis.leaks()), 0.0);
  if (!cotangent.defined()) return result;
  const double* g = data(cotangent) + row * axis.bins();
  for (Index l = 0; l < axis.leaks(); ++l) {
    const Index below = axis.below(l), above = axis.above(l);
    result[static_cast<std::size_t>(l)] =
        (below >= 0 ? g[below] : 0.0) - (above < axis.bins() ? g[above] : 0.0);
  }
  return result;
}

/// Sum of cotangents of soft and hard contents [bins].
std::vector<double> bin_cotangents(const Axis& axis, const Tensor& soft, const Tensor& hard,
                                   Index row) {
  std::vector<double> result(static_cast<std::size_t>(axis.bins()), 0.0);
  for (const Tensor& cotangent : {soft, hard}) {
    if (!cotangent.defined()) continue;
    const double* g = data(cotangent) + row * axis.bins();
    for (Index b = 0; b < axis.bins(); ++b) result[static_cast<std::size_t>(b)] += g[b];
  }
  return result;
}

}  // namespace

HistogramSums histogram_sums(const HistogramInputs& in) {
  const Axis axis(in);
  const Index n = in.x.size(0), k = in.weights.size(0), bins = axis.bins();
  const double* x = data(in.x);
  std::vector<Index> bin(static_cast<std::size_t>(n));
  bool nan = false;
  for (Index i = 0; i < n; ++i) {
    nan = nan || std::isnan(x[i]);
    bin[static_cast<std::size_t>(i)] = axis.bin(x[i]);
  }
  if (nan) refuse_nan(x, n);
  HistogramSums out;
  for (Tensor* sums : {&out.soft_sumw, &out.soft_sumw2, &out.hard_sumw, &out.hard_sumw2}) {
    *sums = at::zeros({k, bins}, at::kDouble);
  }
  std::vector<double> leaks(static_cast<std::size_t>(2 * k * axis.leaks()), 0.0);
  Table table(axis, in);
  in_blocks(n, [&](Index first, Index size) {
    table.fill_leaks(first, size);
    for (Index r = 0; r < k; ++r) {
      const double* w = data(in.weights) + r * n + first;
      for (Index l = 0; l < axis.leaks(); ++l) {
        const double* t = table.row(l);
        double sum = 0.0, sum2 = 0.0;
        for (Index i = 0; i < size; ++i) {
          sum += w[i] * t[i];
          sum2 += w[i] * w[i] * t[i];
        }
        const auto place = static_cast<std::size_t>(2 * (r * axis.leaks() + l));
        leaks[place] += sum;
        leaks[place + 1] += sum2;
      }
    }
  });
  for (Index r = 0; r < k; ++r) {
    double *hard = out.hard_sumw.data_ptr<double>() + r * bins,
           *hard2 = out.hard_sumw2.data_ptr<double>() + r * bins;
    const double* w = data(in.weights) + r * n;
    for (Index i = 0; i < n; ++i) {
      const Index b = bin[static_cast<std::size_t>(i)];
      if (b < 0) continue;
      hard[b] += w[i];
      hard2[b] += w[i] * w[i];
    }
    double *soft = out.soft_sumw.data_ptr<double>() + r * bins,
           *soft2 = out.soft_sumw2.data_ptr<double>() + r * bins;
    for (Index l = 0; l < axis.leaks(); ++l) {
      const auto place = static_cast<std::size_t>(2 * (r * axis.leaks() + l));
      if (axis.below(l) >= 0) {
        soft[axis.below(l)] += leaks[place];
        soft2[axis.below(l)] += leaks[place + 1];
      }
      if (axis.above(l) < bins) {
        soft[axis.above(l)] -= leaks[place];
        soft2[axis.above(l)] -= leaks[place + 1];
      }
    }
    for (Index b = 0; b < bins; ++b) {
      soft[b] += hard[b];
      soft2[b] += hard2[b];
    }
  }
  return out;
}

void histogram_gradients(const HistogramInputs& in, const HistogramSums& cotangents,
                         HistogramGradients& out) {
  const Axis axis(in);
  const Index n = in.x.size(0), k = in.weights.size(0);
  const double* x = data(in.x);
  Table table(axis, in);
  for (Index r = 0; r < k; ++r) {
    const double* weights = data(in.weights) + r * n;
    const std::vector<double> g = leak_cotangents(axis, cotangents.soft_sumw, r),
                              g2 = leak_cotangents(axis, cotangents.soft_sumw2, r);
    if (out.x.defined() || out.edges.defined() || out.bandwidth.defined()) {
      in_blocks(n, [&](Index first, Index size) {
        if (r == 0 || n > k_block) table.fill_densities(first, size);  // else it is still there
        const double* w = weights + first;
        for (Index l = 0; l < axis.leaks(); ++l) {
          const double a = g[static_cast<std::size_t>(l)], b = g2[static_cast<std::size_t>(l)];
          const double* t = table.row(l);
          if (out.x.defined()) {
            double* gx = out.x.data_ptr<double>() + first;
            for (Index i = 0; i < size; ++i) gx[i] -= w[i] * (a + b * w[i]) * t[i];
          }
          if (!out.edges.defined() && !out.bandwidth.defined()) continue;
          const double e = axis.position(l), h = axis.bandwidth(l);
          double sum = 0.0, sum_y = 0.0;
          for (Index i = 0; i < size; ++i) {
            const double share = w[i] * (a + b * w[i]) * t[i];
            sum += share;
            sum_y += t[i] == 0.0 ? 0.0 : share * (x[first + i] - e);  // x may be infinite
          }
          if (out.edges.defined()) out.edges.data_ptr<double>()[axis.edge(l)] += sum;
          if (out.bandwidth.defined()) {
            out.bandwidth.data_ptr<double>()[axis.edge(l)] += sum_y / h;
          }
        }
      });
    }
    if (!out.weights.defined()) continue;
    const std::vector<double> c = bin_cotangents(axis, cotangents.soft_sumw, cotangents.hard_sumw,
                                                 r),
                              c2 = bin_cotangents(axis, cotangents.soft_sumw2,
                                                  cotangents.hard_sumw2, r);
    Table leaks(axis, in);
    in_blocks(n, [&](Index first, Index size) {
      leaks.fill_leaks(first, size);
      const double* w = weights + first;
      double* gw = out.weights.data_ptr<double>() + r * n + first;
      for (Index l = 0; l < axis.leaks(); ++l) {
        const double a = g[static_cast<std::size_t>(l)], b = g2[static_cast<std::size_t>(l)];
        const double* t = leaks.row(l);
        for (Index i = 0; i < size; ++i) gw[i] += (a + 2.0 * b * w[i]) * t[i];
      }
      for (Index i = 0; i < size; ++i) {
        const Index bin = axis.bin(x[first + i]);
        if (bin < 0) continue;
        gw[i] += c[static_cast<std::size_t>(bin)] + 2.0 * w[i] * c2[static_cast<std::size_t>(bin)];
      }
    });
  }
}

}  // namespace slalom::detail
