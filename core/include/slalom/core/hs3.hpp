// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "slalom/core/error.hpp"
#include "slalom/core/workspace.hpp"

/// \file
/// HistFactory likelihoods in HS3, the HEP Statistics Serialization Standard (0.2), as ROOT writes
/// and reads it: each channel a `histfactory_dist`, the observations as `binned` data, and each
/// measurement an analysis with its domain and parameter point.
///
/// What both formats can say is kept exactly (uncertainties of shapesys to rounding). Contents of
/// histosys are yields, as in ROOT and pyhs3. Where the readers of HS3 differ, an option decides.
namespace slalom {

/// Meaning of `data.vals` of a shapesys.
enum class Hs3Uncertainty {
  relative,  ///< uncertainty / yield, as ROOT
  absolute,  ///< in events, as pyhs3 0.4
};

/// Meaning of `data.hi.contents` and `data.lo.contents` of a histosys.
enum class Hs3Variation {
  yields,       ///< yields at +1 and -1, as ROOT and pyhs3
  differences,  ///< what is added to the nominal yields, as the examples of the standard's text
};

/// What the standard leaves open.
struct Hs3Options {
  Hs3Uncertainty shapesys = Hs3Uncertainty::relative;  ///< data.vals of shapesys
  Hs3Variation histosys = Hs3Variation::yields;        ///< contents of histosys
  std::string analysis{};  ///< reading: this analysis only; writing: this measurement only
  /// Reading: staterror with a Poisson constraint becomes one with a Gaussian constraint of the
  /// same width (with a warning), where it cannot become a shapesys. If not, it is an error.
  bool gaussian_staterror = false;
};

/// The HS3 document of a workspace.
///
/// Parameters keep the names of the modifiers; components of vectors are called
/// `gamma_<modifier>_bin_<i>`, with the channel in front of `bin` if a staterror spans several.
/// Measurements whose constraint terms differ from those of the first one are left out with a
/// warning: HS3 has one set of constraint terms per likelihood.
/// \param workspace the likelihood
/// \param options conventions
/// \param warnings where warnings are appended; a null pointer drops them
/// \throws Error (model) for what HS3 cannot say: several staterrors on one sample's channel that
///   share samples, configured auxdata, sigmas or factors of per-bin constraints
nlohmann::json to_hs3(const Workspace& workspace, const Hs3Options& options = {},
                      Warnings* warnings = nullptr);

/// The workspace of an HS3 document, one measurement per analysis.
///
/// Modifiers get the name of their parameter, or their own where each name belongs to one
/// parameter. Keys of other top-level components are ignored, as HS3 asks. A normfactor with a
/// Gaussian constraint becomes `lumi`; shapesys with a Gaussian constraint becomes staterror.
/// \param document an HS3 document
/// \param options conventions
/// \param warnings where warnings are appended; a null pointer drops them
/// \throws Error (workspace) with the JSON pointer and what was expected: malformed documents, and
///   what HistFactory in pyhf's form has no room for (other distributions, custom modifiers,
///   LogNormal constraints, constraints of alpha whose width is not 1)
Workspace from_hs3(const nlohmann::json& document, const Hs3Options& options = {},
                   Warnings* warnings = nullptr);

}  // namespace slalom
