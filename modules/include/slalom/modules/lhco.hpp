// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "slalom/modules/torch.hpp"

#include <cstdint>
#include <string>

#include "slalom/modules/events.hpp"

/// \file
/// The R&D data of the LHC Olympics 2020 (arXiv:2101.08320): dijets with the masses and
/// n-subjettinesses of both jets, as features of a search for a resonance.
namespace slalom {

/// What is read and kept.
struct LhcoOptions {
  std::string name = {};         ///< of the frame in the file; empty: the only one
  std::int64_t max_events = -1;  ///< rows that are read at most; negative: all
  double min_mjj = 0.0;          ///< events below it are left out [TeV]
  double max_mjj = 0.0;          ///< events from it on are left out [TeV]; 0: none
  bool tau32 = false;            ///< columns of tau32 as well
  bool float64 = true;           ///< features in float64 instead of float32
  /// Equal in all members.
  bool operator==(const LhcoOptions&) const = default;
};

/// Events with the columns mjj, mj_min, delta_mj [TeV], tau21_1, tau21_2 and, if asked for,
/// tau32_1, tau32_2; 1 is the lighter jet, 2 the heavier one. mjj is the mass of both jets,
/// delta_mj the difference of their masses, tau21 = tau2 / (1e-5 + tau1), tau32 = tau3 / (1e-5 +
/// tau2). Labels, 1 for signal, if the table has them.
///
/// The table has columns pxj1, pyj1, pzj1, mj1, tau1j1, tau2j1, tau3j1, the same with j2 [GeV], and
/// perhaps label: the file `events_anomalydetection_v2.features.h5` and others of its kind. Any
/// file that read_events() reads will do if it has these columns.
/// \throws Error (io) for a file that cannot be read, columns that are missing, numbers that are
/// not finite (`file:column[row]`), negative masses or labels that are not 0 or 1
EventBatch read_lhco(const std::string& path, const LhcoOptions& options = {});

}  // namespace slalom
