// SPDX-License-Identifier: Apache-2.0
#include "histogram_kernel.hpp"

#include <ATen/ops/empty.h>
#include <ATen/ops/erfc.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/isnan.h>
#include <ATen/ops/sigmoid.h>
#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <vector>

#include "slalom/core/error.hpp"

/// Compiled for several widths of vectors; the processor picks one when the program starts. By
/// levels: a clone for the name of a processor runs on that processor only.
#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && __GNUC__ >= 12
#define SLALOM_VECTORS __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#elif defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__)
#define SLALOM_VECTORS __attribute__((target_clones("avx2", "default")))
#else
#define SLALOM_VECTORS
#endif

namespace slalom::detail {

namespace {

using Index = std::int64_t;

constexpr Index k_block = 1024;

const double* data(const Tensor& tensor) { return tensor.data_ptr<double>(); }

// --- loops over events, one edge or bin at a time

/// t = |x - e| scale.
SLALOM_VECTORS void distances(const double* x, double e, double scale, Index n, double* t) {
#pragma omp simd
  for (Index i = 0; i < n; ++i) t[i] = std::abs(x[i] - e) * scale;
}

/// t times factor, with the sign of what is above e, or at it unless that counts as below.
SLALOM_VECTORS void give_signs(const double* x, double e, bool closed, double factor, Index n,
                               double* t) {
  if (closed) {
#pragma omp simd
    for (Index i = 0; i < n; ++i) t[i] *= x[i] > e ? factor : -factor;
  } else {
#pragma omp simd
    for (Index i = 0; i < n; ++i) t[i] *= x[i] >= e ? factor : -factor;
  }
}

/// t = factor (x - e)^2.
SLALOM_VECTORS void squares(const double* x, double e, double factor, Index n, double* t) {
#pragma omp simd
  for (Index i = 0; i < n; ++i) t[i] = factor * (x[i] - e) * (x[i] - e);
}

SLALOM_VECTORS void multiply(double factor, Index n, double* t) {
#pragma omp simd
  for (Index i = 0; i < n; ++i) t[i] *= factor;
}

struct Sums {
  double first = 0.0, second = 0.0;
};

/// Sums of w t and of w^2 t.
SLALOM_VECTORS Sums weighted_sums(const double* w, const double* t, Index n) {
  double sum = 0.0, sum2 = 0.0;
#pragma omp simd reduction(+ : sum, sum2)
  for (Index i = 0; i < n; ++i) {
    const double share = w[i] * t[i];
    sum += share;
    sum2 += w[i] * share;
  }
  return {sum, sum2};
}

/// g -= (a w + b w^2) t: what a cotangent of an edge means for the values.
SLALOM_VECTORS void add_slopes(const double* w, const double* t, double a, double b, Index n,
                               double* g) {
#pragma omp simd
  for (Index i = 0; i < n; ++i) g[i] -= w[i] * (a + b * w[i]) * t[i];
}

/// Sums of c = (a w + b w^2) t and of c (x - e).
SLALOM_VECTORS Sums edge_sums(const double* w, const double* t, const double* x, double e, double a,
                              double b, Index n) {
  double sum = 0.0, moment = 0.0;
#pragma omp simd reduction(+ : sum, moment)
  for (Index i = 0; i < n; ++i) {
    const double share = w[i] * (a + b * w[i]) * t[i];
    sum += share;
    moment += t[i] == 0.0 ? 0.0 : share * (x[i] - e);  // x may be infinite
  }
  return {sum, moment};
}

/// g += (a + 2 b w) t.
SLALOM_VECTORS void add_weight_slopes(const double* w, const double* t, double a, double b, Index n,
                                      double* g) {
#pragma omp simd
  for (Index i = 0; i < n; ++i) g[i] += (a + 2.0 * b * w[i]) * t[i];
}

/// Number of edges at or below each value: [n] counts, as doubles.
SLALOM_VECTORS void count_edges(const double* x, const double* edges, Index n_edges, Index n,
                                double* count) {
  std::fill_n(count, n, 0.0);
  for (Index j = 0; j < n_edges; ++j) {
    const double e = edges[j];
#pragma omp simd
    for (Index i = 0; i < n; ++i) count[i] += x[i] >= e ? 1.0 : 0.0;
  }
}

/// The axis: its bins, and which of them each leaking edge is between.
class Axis {
 public:
  explicit Axis(const HistogramInputs& in)
      : edges_(data(in.edges)),
        bandwidth_(data(in.bandwidth)),
        step_(in.bandwidth.numel() == 1 ? 0 : 1),
        last_(in.edges.size(0) - 1),
        flow_(in.flow),
        first_(flow_ == FlowBins::fold ? 1 : 0),
        leaks_(flow_ == FlowBins::fold ? last_ - 1 : last_ + 1),
        bins_(number_of_bins(last_ + 1, flow_)) {}

  Index bins() const { return bins_; }
  /// Number of edges that events leak over.
  Index leaks() const { return leaks_; }
  /// Its place among all edges.
  Index edge(Index leak) const { return first_ + leak; }
  double position(Index leak) const { return edges_[edge(leak)]; }
  double bandwidth(Index leak) const { return bandwidth_[step_ * edge(leak)]; }
  /// Bins below and above it; -1 or bins() for one that is not kept.
  Index below(Index leak) const { return flow_ == FlowBins::drop ? leak - 1 : leak; }
  Index above(Index leak) const { return below(leak) + 1; }
  /// Whether an event there counts as above the edge: yes, but for the last one.
  bool closed(Index leak) const { return edge(leak) == last_; }

  /// Bins of values [n], or -1. \param count [n] scratch
  void bins_of(const double* x, Index n, double* count, Index* bin) const {
    if (last_ < 24) {
      count_edges(x, edges_, last_ + 1, n, count);
      for (Index i = 0; i < n; ++i) bin[i] = bin_of(x[i], static_cast<Index>(count[i]));
    } else {
      for (Index i = 0; i < n; ++i) {
        bin[i] = bin_of(x[i], std::upper_bound(edges_, edges_ + last_ + 1, x[i]) - edges_);
      }
    }
  }

 private:
  /// \param n edges at or below x
  Index bin_of(double x, Index n) const {
    if (flow_ == FlowBins::fold) return std::clamp<Index>(n - 1, 0, last_ - 1);
    if (x == edges_[last_]) --n;
    if (flow_ == FlowBins::keep) return n;
    return n > last_ ? -1 : n - 1;
  }

  const double *edges_, *bandwidth_;
  Index step_;  ///< 0: one bandwidth for all edges
  Index last_;
  FlowBins flow_;
  Index first_, leaks_, bins_;
};

/// Blocks of values in float64.
class Values {
 public:
  explicit Values(const Tensor& x)
      : is_float64_(x.scalar_type() == at::kDouble),
        float64_(is_float64_ ? data(x) : nullptr),
        float32_(is_float64_ ? nullptr : x.data_ptr<float>()) {}

  const double* block(Index first, Index n) {
    if (is_float64_) return float64_ + first;
    std::copy_n(float32_ + first, n, converted_.begin());
    return converted_.data();
  }

 private:
  bool is_float64_;
  const double* float64_;
  const float* float32_;
  std::array<double, k_block> converted_;
};

/// Tables [leaks, n] of events first ... first + n, in memory that is used again.
class Table {
 public:
  Table(const Axis& axis, const HistogramInputs& in)
      : axis_(axis), in_(in), storage_(at::empty({axis.leaks() * k_block}, at::kDouble)) {}

  double* row(Index leak) { return storage_.data_ptr<double>() + leak * n_; }

  /// F(-|y|) with the sign of y = (x - e) / h: what comes to the bin below.
  void fill_leaks(const double* x, Index n) {
    n_ = n;
    const double unit = in_.kernel == Kernel::gaussian ? 0.5 * std::numbers::sqrt2 : -1.0;
    for (Index l = 0; l < axis_.leaks(); ++l) {
      distances(x, axis_.position(l), unit / axis_.bandwidth(l), n, row(l));
    }
    Tensor all = used();
    const bool gaussian = in_.kernel == Kernel::gaussian;
    gaussian ? all.erfc_() : all.sigmoid_();
    for (Index l = 0; l < axis_.leaks(); ++l) {
      give_signs(x, axis_.position(l), axis_.closed(l), gaussian ? 0.5 : 1.0, n, row(l));
    }
  }

  /// F'(y) / h.
  void fill_densities(const double* x, Index n) {
    n_ = n;
    const bool gaussian = in_.kernel == Kernel::gaussian;
    for (Index l = 0; l < axis_.leaks(); ++l) {
      const double e = axis_.position(l), scale = 1.0 / axis_.bandwidth(l);
      double* t = row(l);
      if (gaussian) {
        squares(x, e, -0.5 * scale * scale, n, t);
      } else {
        distances(x, e, -scale, n, t);
      }
    }
    Tensor all = used();
    gaussian ? all.exp_() : all.sigmoid_();
    for (Index l = 0; l < axis_.leaks(); ++l) {
      const double scale = 1.0 / axis_.bandwidth(l);
      double* t = row(l);
      if (gaussian) {
        const double norm = scale * 0.5 * std::numbers::inv_sqrtpi * std::numbers::sqrt2;
        multiply(norm, n, t);
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

SLALOM_VECTORS bool has_nan(const double* x, Index n) {
  double bad = 0.0;
#pragma omp simd reduction(+ : bad)
  for (Index i = 0; i < n; ++i) bad += x[i] == x[i] ? 0.0 : 1.0;
  return bad > 0.0;
}

SLALOM_VECTORS bool all_zero(const double* w, Index n) {
  double some = 0.0;
#pragma omp simd reduction(+ : some)
  for (Index i = 0; i < n; ++i) some += w[i] == 0.0 ? 0.0 : 1.0;
  return some == 0.0;
}

[[noreturn]] void refuse_nan(const Tensor& x) {
  throw Error(ErrorKind::numerical,
              std::to_string(at::isnan(x).sum().item<Index>()) + " of " +
                  std::to_string(x.numel()) + " values are NaN",
              "histogram");
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

/// The bins of a block of events.
class Places {
 public:
  void find(const Axis& axis, const double* x, Index n) {
    axis.bins_of(x, n, count_.data(), bins_.data());
  }
  Index operator[](Index i) const { return bins_[static_cast<std::size_t>(i)]; }

 private:
  std::array<double, k_block> count_;
  std::array<Index, k_block> bins_;
};

/// Cotangents of one row of sums, of weights and of squared weights.
struct Cotangents {
  Cotangents(const Axis& axis, const HistogramSums& all, Index row)
      : leaks(leak_cotangents(axis, all.soft_sumw, row)),
        leaks2(leak_cotangents(axis, all.soft_sumw2, row)),
        bins(bin_cotangents(axis, all.soft_sumw, all.hard_sumw, row)),
        bins2(bin_cotangents(axis, all.soft_sumw2, all.hard_sumw2, row)) {}

  std::vector<double> leaks, leaks2, bins, bins2;
};

/// A block of float64 values into a tensor of either type.
void store(const double* from, Index first, Index n, Tensor& to) {
  if (to.scalar_type() == at::kDouble) {
    std::copy_n(from, n, to.data_ptr<double>() + first);
  } else {
    std::transform(from, from + n, to.data_ptr<float>() + first,
                   [](double value) { return static_cast<float>(value); });
  }
}

/// Of one block and row: by values [n], edges and bandwidths, with the densities in the table.
void add_value_gradients(const Axis& axis, Table& table, const Cotangents& c, const double* w,
                         const double* x, Index n, double* by_x, HistogramGradients& out) {
  for (Index l = 0; l < axis.leaks(); ++l) {
    const double a = c.leaks[static_cast<std::size_t>(l)],
                 b = c.leaks2[static_cast<std::size_t>(l)];
    if (a == 0.0 && b == 0.0) continue;
    const double* t = table.row(l);
    if (out.x.defined()) add_slopes(w, t, a, b, n, by_x);
    if (!out.edges.defined() && !out.bandwidth.defined()) continue;
    const Sums sums = edge_sums(w, t, x, axis.position(l), a, b, n);
    if (out.edges.defined()) out.edges.data_ptr<double>()[axis.edge(l)] += sums.first;
    if (out.bandwidth.defined()) {
      out.bandwidth.data_ptr<double>()[axis.edge(l)] += sums.second / axis.bandwidth(l);
    }
  }
}

}  // namespace

HistogramSums histogram_sums(const HistogramInputs& in) {
  const Axis axis(in);
  const bool one_row = in.weights.dim() == 1;
  const Index n = in.x.size(0), k = one_row ? 1 : in.weights.size(0), bins = axis.bins();
  HistogramSums out;
  for (Tensor* sums : {&out.soft_sumw, &out.soft_sumw2, &out.hard_sumw, &out.hard_sumw2}) {
    *sums = one_row ? at::empty({bins}, at::kDouble) : at::empty({k, bins}, at::kDouble);
    std::fill_n(sums->data_ptr<double>(), k * bins, 0.0);
  }
  double *hard = out.hard_sumw.data_ptr<double>(), *hard2 = out.hard_sumw2.data_ptr<double>();
  std::vector<Sums> leaks(static_cast<std::size_t>(k * axis.leaks()));
  Values values(in.x);
  Table table(axis, in);
  Places places;
  in_blocks(n, [&](Index first, Index size) {
    const double* x = values.block(first, size);
    if (has_nan(x, size)) refuse_nan(in.x);
    table.fill_leaks(x, size);
    places.find(axis, x, size);
    for (Index r = 0; r < k; ++r) {
      const double* w = data(in.weights) + r * n + first;
      if (all_zero(w, size)) continue;  // rows of other processes, in events ordered by process
      for (Index l = 0; l < axis.leaks(); ++l) {
        const Sums sums = weighted_sums(w, table.row(l), size);
        Sums& leak = leaks[static_cast<std::size_t>(r * axis.leaks() + l)];
        leak.first += sums.first;
        leak.second += sums.second;
      }
      for (Index i = 0; i < size; ++i) {
        const Index b = places[i];
        if (b < 0 || w[i] == 0.0) continue;
        hard[r * bins + b] += w[i];
        hard2[r * bins + b] += w[i] * w[i];
      }
    }
  });
  double *soft = out.soft_sumw.data_ptr<double>(), *soft2 = out.soft_sumw2.data_ptr<double>();
  for (Index r = 0; r < k; ++r, soft += bins, soft2 += bins, hard += bins, hard2 += bins) {
    for (Index l = 0; l < axis.leaks(); ++l) {
      const Sums& leak = leaks[static_cast<std::size_t>(r * axis.leaks() + l)];
      if (axis.below(l) >= 0) {
        soft[axis.below(l)] += leak.first;
        soft2[axis.below(l)] += leak.second;
      }
      if (axis.above(l) < bins) {
        soft[axis.above(l)] -= leak.first;
        soft2[axis.above(l)] -= leak.second;
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
  const Index n = in.x.size(0), k = in.weights.dim() == 1 ? 1 : in.weights.size(0);
  std::vector<Cotangents> rows;
  for (Index r = 0; r < k; ++r) rows.emplace_back(axis, cotangents, r);
  Values values(in.x);
  Table table(axis, in);
  Places places;
  std::array<double, k_block> slopes;
  const bool by_values = out.x.defined() || out.edges.defined() || out.bandwidth.defined();
  in_blocks(n, [&](Index first, Index size) {
    const double* x = values.block(first, size);
    if (by_values) {
      table.fill_densities(x, size);
      std::fill_n(slopes.begin(), size, 0.0);
      for (Index r = 0; r < k; ++r) {
        const double* w = data(in.weights) + r * n + first;
        if (all_zero(w, size)) continue;
        add_value_gradients(axis, table, rows[static_cast<std::size_t>(r)], w, x, size,
                            slopes.data(), out);
      }
      if (out.x.defined()) store(slopes.data(), first, size, out.x);
    }
    if (!out.weights.defined()) return;
    table.fill_leaks(x, size);
    places.find(axis, x, size);
    for (Index r = 0; r < k; ++r) {
      const Cotangents& c = rows[static_cast<std::size_t>(r)];
      const double* w = data(in.weights) + r * n + first;
      double* gw = out.weights.data_ptr<double>() + r * n + first;
      for (Index l = 0; l < axis.leaks(); ++l) {
        const auto place = static_cast<std::size_t>(l);
        add_weight_slopes(w, table.row(l), c.leaks[place], c.leaks2[place], size, gw);
      }
      for (Index i = 0; i < size; ++i) {
        if (places[i] < 0) continue;
        const auto bin = static_cast<std::size_t>(places[i]);
        gw[i] += c.bins[bin] + 2.0 * w[i] * c.bins2[bin];
      }
    }
  });
}

}  // namespace slalom::detail
