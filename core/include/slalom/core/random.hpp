// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>

/// \file
/// Counter-based random numbers: a stream is named, not advanced into, so that what toy 4711 draws
/// does not depend on which thread draws it or on what was drawn before.
namespace slalom {

/// One of 2^64 independent streams of a seed (times 2^32 families), each of 2^34 32-bit words, from
/// Philox4x32-10 (Salmon et al., SC'11). Equal names give equal numbers, on any machine for
/// uniform(), and to rounding of the mathematical functions for the others.
class RandomStream {
 public:
  /// \param seed chosen by the user
  /// \param index of the stream, for example the number of a toy
  /// \param family keeps ensembles apart that use the same indices
  RandomStream(std::uint64_t seed, std::uint64_t index, std::uint32_t family = 0);

  /// 64 random bits.
  std::uint64_t bits();
  /// Uniform in (0, 1), both ends excluded; a multiple of 2^-53 plus 2^-54.
  double uniform();
  /// Standard normal (Box and Muller).
  double normal();
  /// Poisson count for a mean >= 0, integer or not, small or huge; an integer as a double.
  /// Inversion below 10, Hoermann's transformed rejection PTRS (Insurance: Math. and Econ. 12
  /// (1993) 39) above, with log-probabilities that do not cancel. \throws Error (numerical) for a
  /// mean that is negative or not finite
  double poisson(double mean);

 private:
  std::array<std::uint32_t, 2> key_;
  std::array<std::uint32_t, 4> counter_;
  std::array<std::uint32_t, 4> block_{};
  int used_ = 4;
  double spare_normal_ = 0.0;
  bool has_spare_ = false;
};

}  // namespace slalom
