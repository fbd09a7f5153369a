// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <span>
#include <vector>

#include "engine/engine_types.hpp"
#include "slalom/core/model.hpp"

/// \file
/// Owners of the flat arrays of engine_types.hpp.
namespace slalom::detail {

/// Allocator for arrays that vectors are loaded from. Aligned by hand: the aligned operator new of
/// glibc splits its blocks again and again, which takes longer than the fit of a tiny model.
template <typename T>
struct AlignedAllocator {
  using value_type = T;
  static constexpr std::size_t k_alignment = 64;
  AlignedAllocator() = default;
  template <typename U>
  explicit AlignedAllocator(const AlignedAllocator<U>&) {}
  T* allocate(std::size_t n) {
    auto* block = static_cast<char*>(::operator new(n * sizeof(T) + k_alignment));
    // Blocks are aligned for pointers, so that one fits in front of the first element.
    const std::size_t shift = k_alignment - reinterpret_cast<std::uintptr_t>(block) % k_alignment;
    void* first = block + shift;
    static_cast<void**>(first)[-1] = block;
    return static_cast<T*>(first);
  }
  void deallocate(T* p, std::size_t) {
    void* first = p;
    ::operator delete(static_cast<void**>(first)[-1]);
  }
  bool operator==(const AlignedAllocator&) const { return true; }
};

using AlignedVector = std::vector<double, AlignedAllocator<double>>;

inline constexpr std::size_t k_no_parameter = static_cast<std::size_t>(-1);

/// Where a parameter lives in the engine.
struct ParameterPlace {
  bool local;         ///< one of the local parameters
  std::size_t index;  ///< among the shared or the (padded) local ones
};

/// A model compiled into flat arrays; immutable.
struct Engine {
  explicit Engine(ModelSpec model_spec);
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  /// Puts the numbers of `spec`, which were changed in place, where they belong: bit for bit the
  /// result of compiling anew. \return false, with nothing changed, if the layout would be another:
  /// variations without an effect are not stored, and now others have none
  /// \throws Error (model) for a specification that is not consistent
  bool refill();

  ModelSpec spec;
  const Kernels* kernels;
  EngineArrays arrays{};
  std::vector<ParameterPlace> places;  ///< of each parameter
  std::vector<std::size_t> shared;     ///< parameter of each shared one
  std::vector<std::size_t> local;      ///< parameter of each local one, or k_no_parameter
  std::vector<std::size_t> local_bin;  ///< padded bin of each local one
  std::vector<ChannelLayout> channels;
  std::vector<Row> rows;
  std::vector<bool> acting;  ///< which histosys and normsys have an effect, in the order of `spec`
  std::vector<std::size_t> narrow_slot;  ///< of each stored histosys of a narrow channel
  double gaussian_constant = 0.0;        ///< sum of log(sigma sqrt(2 pi)) of all constraints
  std::size_t n_coefficients = 0;        ///< template coefficients read by one evaluation
  /// Doubles needed for the scratch arrays of the largest channel.
  std::size_t jacobian_size = 0;
  std::size_t product_rows_size = 0;

  AlignedVector nominal, coefficients, entry_poly, entry_limit, entry_log_hi, entry_log_lo,
      shared_weight, shared_tau;
  std::vector<std::size_t> histosys_param, histosys_slot, slot_param, entry_param, entry_slot,
      binwise_param, binwise_slot;
  std::vector<Binwise> binwise;
  std::vector<LocalKind> local_kind;
};

/// The engine of a model that nobody else reads, for Engine::refill().
Engine& exclusive_engine(Model& model);

/// Scratch memory and data of one evaluator.
struct EngineState {
  /// \param second_order room for Level::fisher and Level::hessian
  explicit EngineState(const Engine& engine, bool second_order = true);
  EngineState(const EngineState&) = delete;
  EngineState& operator=(const EngineState&) = delete;

  const Engine& engine;
  StateArrays arrays{};
  std::vector<double> data;  ///< main and auxiliary, as given
  AlignedVector memory;      ///< of all arrays
  AlignedVector coupling;    ///< only where asked for
  std::vector<RowFactors> row_factors;

  /// Replaces the data. \throws Error (model)
  void set_data(std::span<const double> values);
  /// After Engine::refill(): widths, bounds and data are those of the model again.
  void refresh();
  /// Local bounds as the model has them: fixed ones are held at their initial value.
  void reset_local_bounds();
  /// Distributes parameters [P] to shared and local ones.
  void set_parameters(std::span<const double> parameters);
  bool evaluate(Mode mode, Level level) {
    return engine.kernels->evaluate(engine.arrays, arrays, mode, level);
  }
  /// Makes room for StateArrays::coupling.
  void need_coupling();
};

/// lgamma(n + 1) - n log n + n, accurate for any n >= 0 (0 for n = 0).
double stirling_remainder(double n);

}  // namespace slalom::detail
