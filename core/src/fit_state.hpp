// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <vector>

#include "engine/engine.hpp"
#include "engine/minimizer.hpp"
#include "slalom/core/fit.hpp"

/// \file
/// The inside of a Fitter, for functions that make many fits which differ little from each other.
namespace slalom::detail {

/// A per-bin parameter whose Poisson constraint may well have no counts. It is then either zero or
/// worth its linear price, and which of both depends on what else scales its sample.
struct WeakLocal {
  std::size_t local;   ///< index among the local parameters
  std::size_t shared;  ///< a shared parameter that scales its sample strongly
  double direction;    ///< in which it makes the sample larger
  double effect;       ///< how much, relatively
};

/// The expected information at a point, with the data expected there.
struct Reference {
  std::vector<double> values;
  std::vector<bool> fixed;
  Minimizer::Factor factor;
};

/// Everything a Fitter reuses.
struct FitState {
  explicit FitState(const Model& m);
  /// Finds out what the search for other minima looks at.
  void find_candidates();
  Model model;
  EngineState state;
  Minimizer minimizer;
  std::vector<double> start;  ///< shared parameters
  /// Shared parameters whose variations are so asymmetric that the likelihood may have a minimum on
  /// either side of zero; the most asymmetric first.
  std::vector<std::size_t> asymmetric;
  std::vector<WeakLocal> weak;
  LocalMinimum best, other;
  Minimizer::Factor best_factor;
  Minimizer::Factor kept_factor;  ///< see keep_factor()
  Minimizer::Factor held_factor;  ///< the same with one more parameter held: see ProfilePath
  std::vector<Reference> references;
};

/// What a fit takes its first steps with, before it has a Hessian of its own.
enum class FirstFactor {
  none,       ///< nothing
  last,       ///< what the last fit ended with
  held,       ///< FitState::held_factor
  reference,  ///< the expected information at its start, computed once per start
};

/// Fitter::fit with a choice of the first factor.
FitResult run_fit(FitState& f, const FitOptions& options, FirstFactor first);

/// Access for functions that make many fits.
struct FitAccess {
  static FitState& state(Fitter& fitter) { return *fitter.state_; }
};

/// After Engine::refill(): the state is that of a new Fitter.
void refresh(Fitter& fitter);

inline FitResult run_fit(Fitter& fitter, const FitOptions& options, FirstFactor first) {
  return run_fit(FitAccess::state(fitter), options, first);
}

/// Puts the factor that the last fit ended with aside, with its Hessian.
inline void keep_factor(Fitter& fitter) {
  FitState& f = FitAccess::state(fitter);
  f.minimizer.save(f.kept_factor, true);
}

}  // namespace slalom::detail
