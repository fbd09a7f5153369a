// SPDX-License-Identifier: Apache-2.0
#include "flow_kernel.hpp"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <numbers>
#include <type_traits>

// Compiled for three kinds of processors, of which one is picked when it is first used.
#if defined(__GNUC__) && defined(__x86_64__)
#define SLALOM_WIDE __attribute__((target("avx512f,avx512dq,avx512vl,avx512bw,avx2,fma")))
#define SLALOM_MIDDLE __attribute__((target("avx2,fma")))
#define SLALOM_HAVE_TARGETS 1
#else
#define SLALOM_HAVE_TARGETS 0
#endif
#define SLALOM_INLINE __attribute__((always_inline)) inline

namespace slalom::detail {

namespace {

using Index = std::int64_t;

constexpr Index k_bytes = 64;   // of a vector: two or four registers where they are shorter
constexpr Index k_block = 64;   // events that go through all layers together
constexpr Index k_blocks = 16;  // whose gradients are summed in one place

template <class T>
constexpr Index k_lanes = k_bytes / static_cast<Index>(sizeof(T));

template <class T>
struct VectorOf;
template <>
struct VectorOf<float> {
  using Type = float __attribute__((vector_size(k_bytes), may_alias));
  using Bits = std::int32_t __attribute__((vector_size(k_bytes)));
};
template <>
struct VectorOf<double> {
  using Type = double __attribute__((vector_size(k_bytes), may_alias));
  using Bits = std::int64_t __attribute__((vector_size(k_bytes)));
};
template <class T>
using Vector = typename VectorOf<T>::Type;

Index padded(Index n, Index lanes) { return (n + lanes - 1) / lanes * lanes; }

/// Numbers of which vectors can be taken.
template <class T>
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(Index n) : lines_(static_cast<std::size_t>(padded(n, k_lanes<T>) / k_lanes<T>)) {}
  T* data() { return lines_.empty() ? nullptr : lines_.front().values; }
  const T* data() const { return lines_.empty() ? nullptr : lines_.front().values; }

 private:
  struct alignas(k_bytes) Line {
    T values[k_lanes<T>] = {};
  };
  std::vector<Line> lines_;
};

// --- leaves, the same text for all processors

/// out [rows, vectors] (+)= start + sum_k a[row a_row + k a_k] b [k, vectors].
template <class T>
struct Product {
  Index rows, vectors, depth;
  const T* a;
  Index a_row, a_k;
  const T* b;
  Index b_k;
  const T* start;  // [vectors], or null: 0
  T* out;
  Index out_row;
  bool add;
};

template <class T, int Rows, int Vectors>
SLALOM_INLINE void tile(const Product<T>& p, Index row, Index column) {
  using V = Vector<T>;
  V sum[static_cast<std::size_t>(Rows)][static_cast<std::size_t>(Vectors)];
  for (int r = 0; r < Rows; ++r) {
    for (int v = 0; v < Vectors; ++v) {
      if (p.add) {
        sum[r][v] =
            *reinterpret_cast<const V*>(p.out + (row + r) * p.out_row + column + v * k_lanes<T>);
      } else if (p.start != nullptr) {
        sum[r][v] = *reinterpret_cast<const V*>(p.start + column + v * k_lanes<T>);
      } else {
        sum[r][v] = V{};
      }
    }
  }
  const T* a = p.a + row * p.a_row;
  const T* b = p.b + column;
  for (Index k = 0; k < p.depth; ++k, a += p.a_k, b += p.b_k) {
    V part[static_cast<std::size_t>(Vectors)];
    for (int v = 0; v < Vectors; ++v) {
      part[v] = *reinterpret_cast<const V*>(b + v * k_lanes<T>);
    }
    for (int r = 0; r < Rows; ++r) {
      const T factor = a[r * p.a_row];
      for (int v = 0; v < Vectors; ++v) sum[r][v] += factor * part[v];
    }
  }
  for (int r = 0; r < Rows; ++r) {
    for (int v = 0; v < Vectors; ++v) {
      *reinterpret_cast<V*>(p.out + (row + r) * p.out_row + column + v * k_lanes<T>) = sum[r][v];
    }
  }
}

template <class T, int Rows, int Vectors>
SLALOM_INLINE void strips(const Product<T>& p, Index column) {
  Index row = 0;
  for (; row + Rows <= p.rows; row += Rows) tile<T, Rows, Vectors>(p, row, column);
  for (; row < p.rows; ++row) tile<T, 1, Vectors>(p, row, column);
}

template <class T, int Rows, int Vectors>
SLALOM_INLINE void product_of(const Product<T>& p) {
  Index v = 0;
  for (; v + Vectors <= p.vectors; v += Vectors) strips<T, Rows, Vectors>(p, v * k_lanes<T>);
  for (; v < p.vectors; ++v) strips<T, Rows, 1>(p, v * k_lanes<T>);
}

/// exp to rounding; arguments beyond the range of results are held at its ends.
template <class T>
SLALOM_INLINE void exp_of(Vector<T>& x) {
  using V = Vector<T>;
  using B = typename VectorOf<T>::Bits;
  constexpr bool single = std::is_same_v<T, float>;
  // Adding it rounds to integers, which are then found in the last bits.
  constexpr T magic = single ? T(12582912.0) : T(6755399441055744.0);
  constexpr T high = single ? T(88.0) : T(709.0), low = single ? T(-87.0) : T(-708.0);
  constexpr T ln2_high = single ? T(0.693359375) : T(0.693145751953125);
  constexpr T ln2_low = single ? T(-2.12194440e-4) : T(1.42860682030941723212e-6);
  x = x > high ? V{} + high : x;
  x = x < low ? V{} + low : x;
  const V shifted = x * T(std::numbers::log2e) + magic;
  const V n = shifted - magic;
  const V r = (x - n * ln2_high) - n * ln2_low;
  constexpr int degree = single ? 7 : 13;
  constexpr std::array<double, 14> inverse_factorial{1.0,
                                                     1.0,
                                                     1.0 / 2,
                                                     1.0 / 6,
                                                     1.0 / 24,
                                                     1.0 / 120,
                                                     1.0 / 720,
                                                     1.0 / 5040,
                                                     1.0 / 40320,
                                                     1.0 / 362880,
                                                     1.0 / 3628800,
                                                     1.0 / 39916800,
                                                     1.0 / 479001600,
                                                     1.0 / 6227020800};
  V value = V{} + static_cast<T>(inverse_factorial[degree]);
  for (int k = degree - 1; k >= 0; --k) {
    value = value * r + static_cast<T>(inverse_factorial[static_cast<std::size_t>(k)]);
  }
  B bits, magic_bits;
  const V magics = V{} + magic;
  std::memcpy(&bits, &shifted, sizeof bits);
  std::memcpy(&magic_bits, &magics, sizeof bits);
  constexpr int exponent_at = single ? 23 : 52;
  bits = (bits - magic_bits + (single ? 127 : 1023)) << exponent_at;
  V power;
  std::memcpy(&power, &bits, sizeof bits);
  x = value * power;
}

/// 1 / (1 + exp(-x)).
template <class T>
SLALOM_INLINE void sigmoid_of(Vector<T>& x) {
  x = -x;
  exp_of<T>(x);
  x = T(1) / (T(1) + x);
}

/// values become their activation; slopes, if wanted, its derivative.
template <class T>
SLALOM_INLINE void activate_all(Activation activation, Index vectors, T* values, T* slopes) {
  using V = Vector<T>;
  for (Index i = 0; i < vectors; ++i) {
    V* place = reinterpret_cast<V*>(values) + i;
    const V x = *place;
    V y = x, slope = V{};
    if (activation == Activation::silu) {
      sigmoid_of<T>(y);
      slope = y + y * x * (T(1) - y);
      y = x * y;
    } else if (activation == Activation::sigmoid) {
      sigmoid_of<T>(y);
      slope = y * (T(1) - y);
    } else if (activation == Activation::tanh) {
      y = T(2) * x;
      sigmoid_of<T>(y);
      y = T(2) * y - T(1);
      slope = T(1) - y * y;
    } else {
      const T below = activation == Activation::relu ? T(0) : T(0.01);
      slope = x > T(0) ? V{} + T(1) : V{} + below;
      y = x * slope;
    }
    *place = y;
    if (slopes != nullptr) *(reinterpret_cast<V*>(slopes) + i) = slope;
  }
}

/// a *= b.
template <class T>
SLALOM_INLINE void multiply_all(Index vectors, T* a, const T* b) {
  using V = Vector<T>;
  for (Index i = 0; i < vectors; ++i) {
    reinterpret_cast<V*>(a)[i] *= reinterpret_cast<const V*>(b)[i];
  }
}

/// s = limit tanh(raw / limit), grow = e^s.
template <class T>
SLALOM_INLINE void scales_all(Index vectors, T limit, T* raw, T* grow) {
  using V = Vector<T>;
  for (Index i = 0; i < vectors; ++i) {
    V s = reinterpret_cast<V*>(raw)[i] * (T(2) / limit);
    sigmoid_of<T>(s);
    s = limit * (T(2) * s - T(1));
    reinterpret_cast<V*>(raw)[i] = s;
    exp_of<T>(s);
    reinterpret_cast<V*>(grow)[i] = s;
  }
}

/// Leaves for one kind of processors.
template <class T>
struct Leaves {
  void (*product)(const Product<T>&);
  void (*activate)(Activation, Index vectors, T* values, T* slopes);
  void (*multiply)(Index vectors, T* a, const T* b);
  void (*scales)(Index vectors, T limit, T* raw, T* grow);
};

#define SLALOM_LEAVES(name, target, rows, columns)                                             \
  template <class T>                                                                           \
  struct name {                                                                                \
    target static void product(const Product<T>& p) { product_of<T, rows, columns>(p); }       \
    target static void activate(Activation a, Index n, T* x, T* y) {                           \
      activate_all<T>(a, n, x, y);                                                             \
    }                                                                                          \
    target static void multiply(Index n, T* a, const T* b) { multiply_all<T>(n, a, b); }       \
    target static void scales(Index n, T limit, T* s, T* e) { scales_all<T>(n, limit, s, e); } \
    static constexpr Leaves<T> all{product, activate, multiply, scales};                       \
  };

SLALOM_LEAVES(AnyLeaves, , 2, 1)
#if SLALOM_HAVE_TARGETS
SLALOM_LEAVES(MiddleLeaves, SLALOM_MIDDLE, 4, 1)
SLALOM_LEAVES(WideLeaves, SLALOM_WIDE, 8, 2)
#endif
#undef SLALOM_LEAVES

template <class T>
const Leaves<T>& leaves() {
#if SLALOM_HAVE_TARGETS
  static const Leaves<T>& best = []() -> const Leaves<T>& {
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw")) {
      return WideLeaves<T>::all;
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
      return MiddleLeaves<T>::all;
    }
    return AnyLeaves<T>::all;
  }();
  return best;
#else
  return AnyLeaves<T>::all;
#endif
}

// --- the flow

/// A step of a layer's network, its weights with padded rows.
template <class T>
struct Step {
  Index in = 0, out = 0, in_row = 0, out_row = 0;
  Buffer<T> forward;   // [in, out_row]
  Buffer<T> backward;  // [out, in_row]
  Buffer<T> bias;      // [out_row]
};

template <class T>
struct LayerOf {
  FlowSplit split;
  std::vector<Step<T>> steps;
};

/// A flow as the kernel likes it.
template <class T>
class Kernel {
 public:
  Kernel(const FlowOptions& options, const std::vector<Tensor>& weights)
      : options_(options), leaves_(leaves<T>()) {
    const auto steps = static_cast<std::size_t>(options.hidden_layers) + 1;
    std::size_t place = 0;
    for (Index layer = 0; layer < options.layers; ++layer) {
      LayerOf<T> packed{flow_split(options.features, layer), {}};
      for (std::size_t k = 0; k < steps; ++k, place += 2) {
        packed.steps.push_back(pack(weights[place], weights[place + 1]));
        widest_ = std::max({widest_, packed.steps.back().in_row, packed.steps.back().out_row});
      }
      layers_.push_back(std::move(packed));
    }
  }

  /// What one block needs.
  struct Space {
    std::vector<Buffer<T>> inputs, slopes;   // of each step [block, row]
    Buffer<T> raw, first, second;            // [block, widest]
    std::vector<Buffer<T>> scale, grow;      // [changed, block], likewise
    std::vector<T> x;                        // [layers + 1, f, block]
    std::vector<T> condition;                // [c, block]
    std::vector<T> log_det;                  // [block]
    std::vector<T> slope_x, slope_c;         // [f, block], [c, block]
    std::vector<Buffer<T>> weights, biases;  // gradients of all steps
    bool with_gradients = false;

    std::size_t place(std::size_t layer) const { return with_gradients ? layer : 0; }
  };

  Space space(bool with_gradients) const {
    Space s;
    const Index kept_layers = with_gradients ? options_.layers : 1;
    s.with_gradients = with_gradients;
    for (Index k = 0; k < kept_layers * (options_.hidden_layers + 1); ++k) {
      s.inputs.emplace_back(k_block * widest_);
      s.slopes.emplace_back(with_gradients ? k_block * widest_ : 0);
    }
    for (Buffer<T>* buffer : {&s.raw, &s.first, &s.second}) *buffer = Buffer<T>(k_block * widest_);
    for (Index k = 0; k < kept_layers; ++k) {
      s.scale.emplace_back(k_block * options_.features);
      s.grow.emplace_back(k_block * options_.features);
    }
    const auto size = [](Index n) { return static_cast<std::size_t>(n * k_block); };
    s.x.resize(size((options_.layers + 1) * options_.features));
    s.condition.resize(size(options_.conditions));
    s.log_det.resize(size(1));
    if (!with_gradients) return s;
    s.slope_x.resize(size(options_.features));
    s.slope_c.resize(size(options_.conditions));
    for (const LayerOf<T>& layer : layers_) {
      for (const Step<T>& step : layer.steps) {
        s.weights.emplace_back(turned(step) ? step.in * step.out_row : step.out * step.in_row);
        s.biases.emplace_back(step.out_row);
      }
    }
    return s;
  }

  /// Rows first ... first + count - 1 of a contiguous [n, columns] into [columns, block]; the rest
  /// of the block is 0.
  static void take(const T* from, Index columns, Index first, Index count, T* to) {
    for (Index j = 0; j < columns; ++j) {
      for (Index i = 0; i < count; ++i) to[j * k_block + i] = from[(first + i) * columns + j];
      std::fill(to + j * k_block + count, to + (j + 1) * k_block, T(0));
    }
  }
  static void give(const T* from, Index columns, Index first, Index count, T* to) {
    for (Index j = 0; j < columns; ++j) {
      for (Index i = 0; i < count; ++i) to[(first + i) * columns + j] = from[j * k_block + i];
    }
  }

  /// All layers, from s.x's first place to its last one.
  void forward(Space& s, bool backwards) const {
    std::fill(s.log_det.begin(), s.log_det.end(), T(0));
    const Index f = options_.features;
    for (Index number = 0; number < options_.layers; ++number) {
      const auto which =
          static_cast<std::size_t>(backwards ? options_.layers - 1 - number : number);
      const LayerOf<T>& layer = layers_[which];
      const T* x = s.x.data() + number * f * k_block;
      T* z = s.x.data() + (number + 1) * f * k_block;
      network(which, x, s);
      std::copy(x, x + f * k_block, z);
      for (std::size_t k = 0; k < layer.split.changed.size(); ++k) {
        const auto row = static_cast<Index>(k);
        const T* old = x + layer.split.changed[k] * k_block;
        T* changed = z + layer.split.changed[k] * k_block;
        const T* scale = s.scale[s.place(which)].data() + row * k_block;
        const T* grow = s.grow[s.place(which)].data() + row * k_block;
        const T* shift = s.second.data() + row * k_block;
        if (backwards) {
          for (Index i = 0; i < k_block; ++i) {
            changed[i] = (old[i] - shift[i]) / grow[i];
            s.log_det[static_cast<std::size_t>(i)] -= scale[i];
          }
        } else {
          for (Index i = 0; i < k_block; ++i) {
            changed[i] = old[i] * grow[i] + shift[i];
            s.log_det[static_cast<std::size_t>(i)] += scale[i];
          }
        }
      }
    }
  }

  /// From cotangents [block] of log p, after forward(): adds to gradients of weights, and leaves
  /// those of x and condition in slope_x and slope_c.
  void backward(Space& s, const T* cotangent) const {
    const Index f = options_.features;
    const T* z = s.x.data() + options_.layers * f * k_block;
    for (Index j = 0; j < f; ++j) {
      for (Index i = 0; i < k_block; ++i) {
        s.slope_x[static_cast<std::size_t>(j * k_block + i)] = -cotangent[i] * z[j * k_block + i];
      }
    }
    std::fill(s.slope_c.begin(), s.slope_c.end(), T(0));
    for (Index number = options_.layers; number-- > 0;) {
      const auto which = static_cast<std::size_t>(number);
      const LayerOf<T>& layer = layers_[which];
      const T* x = s.x.data() + number * f * k_block;
      const auto d = static_cast<Index>(layer.split.changed.size());
      const Index row = layer.steps.back().out_row;
      // first: of the network's numbers [block, row].
      std::fill(s.first.data(), s.first.data() + k_block * row, T(0));
      const T limit = static_cast<T>(options_.scale_limit);
      for (Index k = 0; k < d; ++k) {
        const Index feature = layer.split.changed[static_cast<std::size_t>(k)];
        T* slope = s.slope_x.data() + feature * k_block;
        const T* old = x + feature * k_block;
        const T* scale = s.scale[which].data() + k * k_block;
        const T* grow = s.grow[which].data() + k * k_block;
        for (Index i = 0; i < k_block; ++i) {
          const T share = scale[i] / limit, by_scale = slope[i] * old[i] * grow[i] + cotangent[i];
          s.first.data()[i * row + k] = by_scale * (T(1) - share * share);
          s.first.data()[i * row + d + k] = slope[i];
          slope[i] *= grow[i];
        }
      }
      network_backward(which, s);
    }
  }

  /// Gradients of step k of all, in order, without padding.
  void unpack(const Space& s, std::size_t k, T* weight, T* bias) const {
    const auto steps = layers_.front().steps.size();
    const Step<T>& step = layers_[k / steps].steps[k % steps];
    const T* from = s.weights[k].data();
    for (Index j = 0; j < step.out; ++j) {
      for (Index i = 0; i < step.in; ++i) {
        weight[j * step.in + i] +=
            turned(step) ? from[i * step.out_row + j] : from[j * step.in_row + i];
      }
      bias[j] += s.biases[k].data()[j];
    }
  }

 private:
  static Step<T> pack(const Tensor& weight, const Tensor& bias) {
    Step<T> step;
    step.out = weight.size(0);
    step.in = weight.size(1);
    step.in_row = padded(step.in, k_lanes<T>);
    step.out_row = padded(step.out, k_lanes<T>);
    step.forward = Buffer<T>(step.in * step.out_row);
    step.backward = Buffer<T>(step.out * step.in_row);
    step.bias = Buffer<T>(step.out_row);
    const Tensor rows = weight.contiguous(), column = bias.contiguous();
    const T* from = rows.data_ptr<T>();
    for (Index j = 0; j < step.out; ++j) {
      for (Index i = 0; i < step.in; ++i) {
        const T value = from[j * step.in + i];
        step.forward.data()[i * step.out_row + j] = value;
        step.backward.data()[j * step.in_row + i] = value;
      }
    }
    std::copy(column.data_ptr<T>(), column.data_ptr<T>() + step.out, step.bias.data());
    return step;
  }

  /// Whether the gradient of a step's weights is summed as [in, out], because that is less.
  static bool turned(const Step<T>& step) {
    return step.in * step.out_row < step.out * step.in_row;
  }

  /// The network of a layer at x [f, block]: scale and grow [changed, block], and shifts in second.
  void network(std::size_t number, const T* x, Space& s) const {
    const LayerOf<T>& layer = layers_[number];
    const Step<T>& first = layer.steps.front();
    const std::size_t place = s.place(number), start = place * layer.steps.size();
    T* in = s.inputs[start].data();
    const auto kept = static_cast<Index>(layer.split.kept.size());
    for (Index j = 0; j < first.in; ++j) {
      const T* from = j < kept ? x + layer.split.kept[static_cast<std::size_t>(j)] * k_block
                               : s.condition.data() + (j - kept) * k_block;
      for (Index i = 0; i < k_block; ++i) in[i * first.in_row + j] = from[i];
    }
    // Columns of the padding are read by vectors, and must be numbers.
    for (Index i = 0; i < k_block; ++i) {
      std::fill(in + i * first.in_row + first.in, in + (i + 1) * first.in_row, T(0));
    }
    for (std::size_t k = 0; k < layer.steps.size(); ++k) {
      const Step<T>& step = layer.steps[k];
      const bool last = k + 1 == layer.steps.size();
      T* out = last ? s.raw.data() : s.inputs[start + k + 1].data();
      leaves_.product({.rows = k_block,
                       .vectors = step.out_row / k_lanes<T>,
                       .depth = step.in,
                       .a = s.inputs[start + k].data(),
                       .a_row = step.in_row,
                       .a_k = 1,
                       .b = step.forward.data(),
                       .b_k = step.out_row,
                       .start = step.bias.data(),
                       .out = out,
                       .out_row = step.out_row,
                       .add = false});
      if (last) break;
      leaves_.activate(options_.activation, k_block * step.out_row / k_lanes<T>, out,
                       s.slopes[start + k + 1].data());
    }
    const Index row = layer.steps.back().out_row;
    const auto d = static_cast<Index>(layer.split.changed.size());
    for (Index k = 0; k < d; ++k) {
      for (Index i = 0; i < k_block; ++i) {
        s.scale[place].data()[k * k_block + i] = s.raw.data()[i * row + k];
        s.second.data()[k * k_block + i] = s.raw.data()[i * row + d + k];
      }
    }
    leaves_.scales(d * k_block / k_lanes<T>, static_cast<T>(options_.scale_limit),
                   s.scale[place].data(), s.grow[place].data());
  }

  /// From the slopes of its numbers, in s.first.
  void network_backward(std::size_t number, Space& s) const {
    const LayerOf<T>& layer = layers_[number];
    static const Buffer<T> ones = [] {
      Buffer<T> buffer(1);
      buffer.data()[0] = T(1);
      return buffer;
    }();
    T* slope = s.first.data();
    T* next = s.second.data();
    for (std::size_t k = layer.steps.size(); k-- > 0;) {
      const Step<T>& step = layer.steps[k];
      const std::size_t place = number * layer.steps.size() + k;
      const Index in_vectors = step.in_row / k_lanes<T>, out_vectors = step.out_row / k_lanes<T>;
      const T* in = s.inputs[place].data();
      leaves_.product({.rows = 1,
                       .vectors = out_vectors,
                       .depth = k_block,
                       .a = ones.data(),
                       .a_row = 0,
                       .a_k = 0,
                       .b = slope,
                       .b_k = step.out_row,
                       .start = nullptr,
                       .out = s.biases[place].data(),
                       .out_row = step.out_row,
                       .add = true});
      const bool turn = turned(step);
      leaves_.product({.rows = turn ? step.in : step.out,
                       .vectors = turn ? out_vectors : in_vectors,
                       .depth = k_block,
                       .a = turn ? in : slope,
                       .a_row = 1,
                       .a_k = turn ? step.in_row : step.out_row,
                       .b = turn ? slope : in,
                       .b_k = turn ? step.out_row : step.in_row,
                       .start = nullptr,
                       .out = s.weights[place].data(),
                       .out_row = turn ? step.out_row : step.in_row,
                       .add = true});
      leaves_.product({.rows = k_block,
                       .vectors = in_vectors,
                       .depth = step.out,
                       .a = slope,
                       .a_row = step.out_row,
                       .a_k = 1,
                       .b = step.backward.data(),
                       .b_k = step.in_row,
                       .start = nullptr,
                       .out = next,
                       .out_row = step.in_row,
                       .add = false});
      if (k > 0) leaves_.multiply(k_block * in_vectors, next, s.slopes[place].data());
      std::swap(slope, next);
    }
    const Step<T>& first = layer.steps.front();
    const auto kept = static_cast<Index>(layer.split.kept.size());
    for (Index j = 0; j < first.in; ++j) {
      T* to = j < kept ? s.slope_x.data() + layer.split.kept[static_cast<std::size_t>(j)] * k_block
                       : s.slope_c.data() + (j - kept) * k_block;
      for (Index i = 0; i < k_block; ++i) to[i] += slope[i * first.in_row + j];
    }
  }

  FlowOptions options_;
  const Leaves<T>& leaves_;
  std::vector<LayerOf<T>> layers_;
  Index widest_ = k_lanes<T>;
};

template <class T>
const T* data_of(const Tensor& tensor) {
  return tensor.defined() ? tensor.data_ptr<T>() : nullptr;
}

template <class T>
FlowValues values_of(const FlowOptions& options, const Tensor& x, const Tensor& condition,
                     const std::vector<Tensor>& weights, bool backwards) {
  const Kernel<T> kernel(options, weights);
  const Index n = x.size(0), f = options.features, blocks = (n + k_block - 1) / k_block;
  FlowValues result{at::empty_like(x), at::empty({n}, x.options())};
  const T* from = x.data_ptr<T>();
  const T* c = data_of<T>(condition);
  T* value = result.value.template data_ptr<T>();
  T* log_det = result.log_det.template data_ptr<T>();
  at::parallel_for(0, blocks, k_blocks, [&](Index begin, Index end) {
    auto space = kernel.space(false);
    for (Index block = begin; block < end; ++block) {
      const Index first = block * k_block, count = std::min(k_block, n - first);
      kernel.take(from, f, first, count, space.x.data());
      kernel.take(c, options.conditions, first, count, space.condition.data());
      kernel.forward(space, backwards);
      kernel.give(space.x.data() + options.layers * f * k_block, f, first, count, value);
      kernel.give(space.log_det.data(), 1, first, count, log_det);
    }
  });
  return result;
}

template <class T>
FlowGradients gradients_of(const FlowOptions& options, const Tensor& x, const Tensor& condition,
                           const std::vector<Tensor>& weights, const Tensor& cotangent) {
  const Kernel<T> kernel(options, weights);
  const Index n = x.size(0), f = options.features, blocks = (n + k_block - 1) / k_block,
              chunks = (blocks + k_blocks - 1) / k_blocks;
  FlowGradients result{at::empty_like(x),
                       condition.defined() ? at::empty_like(condition) : Tensor(),
                       {},
                       at::empty({n}, x.options())};
  const T* from = x.data_ptr<T>();
  const T* c = data_of<T>(condition);
  const T* by = cotangent.data_ptr<T>();
  T* log_p = result.log_prob.template data_ptr<T>();
  T* slope_x = result.x.template data_ptr<T>();
  T* slope_c = condition.defined() ? result.condition.template data_ptr<T>() : nullptr;
  std::vector<typename Kernel<T>::Space> spaces(static_cast<std::size_t>(chunks));
  at::parallel_for(0, chunks, 1, [&](Index begin, Index end) {
    for (Index chunk = begin; chunk < end; ++chunk) {
      auto& space = spaces[static_cast<std::size_t>(chunk)];
      space = kernel.space(true);
      for (Index block = chunk * k_blocks; block < std::min(blocks, (chunk + 1) * k_blocks);
           ++block) {
        const Index first = block * k_block, count = std::min(k_block, n - first);
        std::array<T, k_block> here{};
        std::copy(by + first, by + first + count, here.begin());
        kernel.take(from, f, first, count, space.x.data());
        kernel.take(c, options.conditions, first, count, space.condition.data());
        kernel.forward(space, false);
        kernel.give(space.log_det.data(), 1, first, count, log_p);
        const T* z = space.x.data() + options.layers * f * k_block;
        for (Index j = 0; j < f; ++j) {
          for (Index i = 0; i < count; ++i) {
            log_p[first + i] -= T(0.5) * z[j * k_block + i] * z[j * k_block + i];
          }
        }
        kernel.backward(space, here.data());
        kernel.give(space.slope_x.data(), f, first, count, slope_x);
        kernel.give(space.slope_c.data(), options.conditions, first, count, slope_c);
      }
    }
  });
  for (const Tensor& weight : weights) {
    result.weights.push_back(at::empty(weight.sizes(), weight.options()).zero_());
  }
  for (const auto& space : spaces) {
    for (std::size_t k = 0; k < weights.size() / 2; ++k) {
      kernel.unpack(space, k, result.weights[2 * k].template data_ptr<T>(),
                    result.weights[2 * k + 1].template data_ptr<T>());
    }
  }
  return result;
}

}  // namespace

FlowSplit flow_split(std::int64_t features, std::int64_t layer) {
  FlowSplit split;
  Index bits = 1;
  while ((Index{1} << bits) < features) ++bits;
  for (Index feature = 0; feature < features; ++feature) {
    const bool first = (feature >> (bits - 1 - layer / 2 % bits)) % 2 == 0;
    // A single feature is changed by all layers.
    const bool changes = features == 1 || first == (layer % 2 == 1);
    (changes ? split.changed : split.kept).push_back(feature);
  }
  return split;
}

bool has_flow_kernel(const FlowOptions& options, const Tensor& x) {
  const Activation a = options.activation;
  const bool known = a == Activation::silu || a == Activation::tanh || a == Activation::sigmoid ||
                     a == Activation::relu || a == Activation::leaky_relu;
  return known && options.kind == FlowKind::affine && x.device().is_cpu() &&
         !x._fw_grad(0).defined();
}

FlowValues flow_values(const FlowOptions& options, const Tensor& x, const Tensor& condition,
                       const std::vector<Tensor>& weights, bool backwards) {
  return options.float64 ? values_of<double>(options, x, condition, weights, backwards)
                         : values_of<float>(options, x, condition, weights, backwards);
}

Tensor flow_log_prob(const FlowOptions& options, const Tensor& x, const Tensor& condition,
                     const std::vector<Tensor>& weights) {
  const FlowValues image = flow_values(options, x, condition, weights, false);
  return image.log_det.sub_((image.value * image.value).sum(1), 0.5);
}

FlowGradients flow_gradients(const FlowOptions& options, const Tensor& x, const Tensor& condition,
                             const std::vector<Tensor>& weights, const Tensor& cotangent) {
  return options.float64 ? gradients_of<double>(options, x, condition, weights, cotangent)
                         : gradients_of<float>(options, x, condition, weights, cotangent);
}

}  // namespace slalom::detail
