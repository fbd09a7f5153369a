// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "slalom/core/error.hpp"
#include "slalom/core/workspace.hpp"

/// \file
/// The statistical model as plain data: parameters in pyhf's order, and for every sample what acts
/// on it, with names resolved to parameter indices. The compiled model (model.hpp) and the tensor
/// graph of `slalom::modules` are both made from it.
namespace slalom {

/// Shape of a constraint term.
enum class ConstraintType { none, gaussian, poisson };

/// One scalar parameter.
struct Parameter {
  std::string name;    ///< "mu", or "gamma[3]" for a component of a vector
  double init = 0.0;   ///< suggested starting value; the value a fixed parameter is held at
  double lower = 0.0;  ///< lower bound
  double upper = 0.0;  ///< upper bound
  bool fixed = false;  ///< held at init unless told otherwise
  ConstraintType constraint = ConstraintType::none;  ///< kind of constraint term
  double auxdata = 0.0;  ///< auxiliary measurement (Poisson: counts, compared with tau * value)
  double sigma = 0.0;    ///< width of a Gaussian constraint
  double tau = 0.0;      ///< factor of a Poisson constraint
  /// Pre-fit uncertainty: sigma, 1/sqrt(tau), or 0 without a constraint.
  double prefit_uncertainty() const;
};

/// Parameters that belong to one modifier name.
struct ParameterSet {
  std::string name;       ///< name of the modifier
  ModifierType type;      ///< first type seen with that name
  std::size_t first = 0;  ///< index of the first parameter
  std::size_t size = 0;   ///< number of parameters
  bool scalar = true;     ///< named "name" rather than "name[i]"
};

/// Interpolation code of a normsys.
enum class NormsysCode { code1, code4 };
/// Interpolation code of a histosys.
enum class HistosysCode { code0, code2, code4p };

/// histosys: adds Delta(alpha) to the nominal yields.
struct HistosysTerm {
  std::size_t parameter;   ///< index of alpha
  std::vector<double> hi;  ///< yields at +1 [n_bins]
  std::vector<double> lo;  ///< yields at -1 [n_bins]
};

/// normsys: multiplies by kappa(alpha).
struct NormsysTerm {
  std::size_t parameter;  ///< index of alpha
  double hi;              ///< factor at +1; > 0 (0.01 where the workspace has none above 0)
  double lo;              ///< factor at -1; likewise
};

/// normfactor or lumi: multiplies by the parameter.
struct FactorTerm {
  std::size_t parameter;  ///< its index
};

/// shapefactor, shapesys or staterror: multiplies each bin by a parameter of its own.
struct BinwiseTerm {
  ModifierType type;                    ///< which of the three
  std::vector<std::size_t> parameters;  ///< index per bin [n_bins]
  std::vector<double> uncertainty;      ///< as in the workspace [n_bins]; empty for shapefactor
};

/// One sample of one channel with everything that acts on it.
struct SampleSpec {
  std::string name;                    ///< of the sample
  std::vector<double> nominal;         ///< yields [n_bins]
  std::vector<HistosysTerm> histosys;  ///< additive terms
  std::vector<NormsysTerm> normsys;    ///< interpolated factors
  std::vector<FactorTerm> factors;     ///< free factors
  std::vector<BinwiseTerm> binwise;    ///< per-bin factors
};

/// One channel; channels are sorted by name.
struct ChannelSpec {
  std::string name;                 ///< of the channel
  std::size_t first_bin = 0;        ///< place of its first bin in the main data
  std::size_t n_bins = 0;           ///< number of bins
  std::vector<SampleSpec> samples;  ///< sorted by name
};

/// How a model is to be built from a workspace.
struct ModelOptions {
  std::string measurement;         ///< name; empty for the first one
  std::optional<std::string> poi;  ///< overrides that of the measurement; "" for none
  NormsysCode normsys_code = NormsysCode::code4;      ///< pyhf's default
  HistosysCode histosys_code = HistosysCode::code4p;  ///< pyhf's default
};

/// The model as data.
struct ModelSpec {
  std::vector<Parameter> parameters;                  ///< in pyhf's order
  std::vector<ParameterSet> sets;                     ///< in pyhf's order
  std::vector<ChannelSpec> channels;                  ///< sorted by name
  std::optional<std::size_t> poi;                     ///< index of the parameter of interest
  NormsysCode normsys_code = NormsysCode::code4;      ///< for all normsys
  HistosysCode histosys_code = HistosysCode::code4p;  ///< for all histosys
  std::vector<double> observed;        ///< observed main data [n_bins of all channels]
  std::vector<std::size_t> auxiliary;  ///< indices of constrained parameters in pyhf's order

  /// Number of bins of all channels.
  std::size_t n_bins() const { return observed.size(); }
  /// Index of the parameter with that name; a scalar set may be written name or name[0].
  std::optional<std::size_t> find(const std::string& name) const;
  /// Suggested initial values [n_parameters].
  std::vector<double> initial() const;
  /// Observed main data followed by the auxiliary data, in pyhf's order.
  std::vector<double> data() const;
};

/// Resolves a workspace and one of its measurements into a model.
///
/// Errors: `lumi` without its configuration, a shapesys shared by two samples, a name reused by
/// modifiers that do not agree, a staterror whose samples carry it in different channels, a POI
/// that is not there or is no scalar, configured values whose number does not fit, initial values
/// outside their bounds. Warnings: a configuration of a parameter that does not exist. \throws
/// Error (model)
ModelSpec make_model_spec(const Workspace& workspace, const ModelOptions& options = {},
                          Warnings* warnings = nullptr);

}  // namespace slalom
