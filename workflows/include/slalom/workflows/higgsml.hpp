// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "slalom/modules/events.hpp"
#include "slalom/modules/variations.hpp"

/// \file
/// The ATLAS HiggsML sample (CERN Open Data, record 328), H -> tau tau against everything else, and
/// its tau energy scale: p_T(tau) -> z p_T(tau), missing momentum reduced by as much, and
/// everything that is derived from them computed again for every event. Momenta are in GeV.
namespace slalom {

/// Options of read_higgsml().
struct HiggsmlOptions {
  /// Weights scaled so that signal and background add up to those of the full sample, 691.98860771
  /// and 410,999.84732 events; or as they are in the file.
  bool full_luminosity = true;
  /// Features that the energy scale changes are computed from the momenta, and the azimuth of the
  /// missing one (stored as +-3.142 for some) brought into +-pi, so that nothing but the scale
  /// distinguishes shifted events; or all are taken as they were stored.
  bool recompute = true;
  double undefined = 0.0;        ///< stands for what an event does not have, -999 in the file
  bool float64 = false;          ///< features in float64 instead of float32
  std::int64_t max_events = -1;  ///< rows that are read at most; negative: all
  /// Equal in all members.
  bool operator==(const HiggsmlOptions&) const = default;
};

/// The features: 12 derived and 17 primary ones. DER_mass_MMC is left out, for it cannot be
/// computed from the others.
const std::vector<std::string>& higgsml_columns();

/// Events of the sample, all with p_T(tau) of at least 20; processes "background" and "signal",
/// labels 1 for signal. Columns of the file that are no features are not looked at.
/// \throws Error (io) with `file:line` for what read_csv() refuses and for features that are
/// undefined although the event has the jets they are of; with the path for a file without events
/// of both processes
EventBatch read_higgsml(const std::string& path, const HiggsmlOptions& options = {});

/// The same events with all 12 derived features computed from the primary ones, for massless jets
/// and leptons and a tau of 0.8 GeV; `undefined` for what an event does not have. Differentiable.
EventBatch derive_higgsml(const EventBatch& events, double undefined = 0.0);

/// Threshold of the published studies on p_T(tau), after the shift. A cut is best a stage behind
/// the variations (selection.hpp), where events move across it both ways.
constexpr double k_higgsml_tau_threshold = 22.0;

/// Options of tau_energy_scale().
struct TauEnergyScaleOptions {
  double relative = 1.0;   ///< z = 1 + relative theta
  double threshold = 0.0;  ///< taus that are softer after the shift have weight 0, at theta = 0 as
                           ///< well; 0: no cut
  double slope = 0.0;      ///< per GeV, > 0: weights times sigmoid(slope (z p_T - threshold))
                           ///< instead; 0: a hard cut, through which no gradient passes
  /// Equal in all members.
  bool operator==(const TauEnergyScaleOptions&) const = default;
};

/// The tau energy scale, named "tau_energy_scale". Nine features change: those of the tau's and the
/// missing transverse momentum (in place of p_T and azimuth), and of the derived ones the
/// transverse and the visible mass, p_T of the Higgs boson and of everything (which stay, but for
/// rounding), the sum and the ratio of momenta and the centrality of the missing momentum.
/// \throws Error (usage) for options that are not finite or negative, and at a theta with z <= 0
Variation tau_energy_scale(const TauEnergyScaleOptions& options);
/// The same without a cut, with z = 1 + relative theta.
Variation tau_energy_scale(double relative = 1.0);

}  // namespace slalom
