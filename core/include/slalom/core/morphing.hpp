// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "slalom/core/error.hpp"

/// \file
/// Templates between the points of a grid of a nuisance parameter.
///
/// All kinds but code4 are linear in the templates, or in their logarithms: the value is
/// sum_k w_k(z) t_k, or exp(sum_k w_k(z) ln t_k), with weights that depend on z and the grid alone.
namespace slalom {

/// How templates are interpolated.
enum class MorphingKind {
  linear,      ///< straight lines between neighbours
  log_linear,  ///< the same of the logarithm
  parabola,  ///< through the three nearest points; it changes half-way between points, with a jump
             ///< that is of third order in the distance of the points
  spline,    ///< cubic spline, not-a-knot; natural for fewer than 4 points
  log_spline,  ///< the same of the logarithm
  polynomial,  ///< through all points
  code0,       ///< HistFactory: straight lines
  code1,       ///< HistFactory: straight lines of the logarithm
  code2,       ///< HistFactory: a parabola, going on straight; without pyhf's jump at the ends
  code4,       ///< HistFactory: polynomial of degree 6, going on exponentially
  code4p,      ///< HistFactory: polynomial of degree 6, going on straight
};

/// "linear", "log_linear", ..., "code4p".
const char* to_string(MorphingKind kind);
/// All names, in the order of the kinds.
const std::vector<std::string>& morphing_kind_names();
/// The kind of a name; empty if there is none.
std::optional<MorphingKind> morphing_kind(std::string_view name);
/// Whether the weights are those of logarithms: log_linear, log_spline, code1.
bool is_logarithmic(MorphingKind kind);
/// Whether the kind takes three points, which are alpha = -1, 0 and 1: code0 ... code4p.
bool is_histfactory(MorphingKind kind);

/// Weights of the points of a grid and their derivatives with respect to z, [G] each.
struct MorphingWeights {
  std::vector<double> value;   ///< w_k(z)
  std::vector<double> first;   ///< d w_k / d z
  std::vector<double> second;  ///< d^2 w_k / d z^2
};

/// Weights at z. Beyond the ends of the grid: linear kinds and splines go on straight with the
/// slope that they have at the end, parabola and polynomial go on as they are, the codes as
/// HistFactory has it. At a kink the derivatives are those of the right side. With codes, alpha is
/// linear on each side of the middle point; on a grid of unequal steps that makes a kink there.
/// \param grid [G >= 2], rising; of codes [3]; of a parabola [G >= 3]
/// \throws Error (usage) for another grid, a z that is not finite, or code4, which has no weights
MorphingWeights morphing_weights(MorphingKind kind, std::span<const double> grid, double z);

/// Bins whose templates are known on a grid: values and derivatives at any z. Copies share memory.
class Morphing {
 public:
  /// Logarithmic kinds and code4 interpolate a bin that is 0 or negative at some point without the
  /// logarithm (code1 as code0, code4 as code4p); a warning says which.
  /// \param grid as in morphing_weights \param templates [G * B], point by point
  /// \throws Error (usage) for lengths that do not fit and values that are not finite
  Morphing(MorphingKind kind, std::vector<double> grid, std::vector<double> templates);

  /// How the templates are interpolated.
  MorphingKind kind() const;
  /// The points [G].
  const std::vector<double>& grid() const;
  /// The templates as given [G * B].
  const std::vector<double>& templates() const;
  /// B.
  std::size_t n_bins() const;
  /// Which bins are interpolated without the logarithm although the kind says otherwise.
  const Warnings& warnings() const;
  /// Whether a bin is interpolated as a factor (logarithmic kinds and code4, unless it has a zero).
  bool multiplies(std::size_t bin) const;
  /// Where the first derivative may jump: all points of linear kinds, the half-way points of the
  /// parabola, the middle of code0 and code1; the middle of other codes if their steps differ.
  const std::vector<double>& kinks() const;

  /// Values and derivatives at z [B]; spans may be empty.
  /// \throws Error (usage) for spans of another length, or a z that is not finite
  void evaluate(double z, std::span<double> value, std::span<double> first = {},
                std::span<double> second = {}) const;

  /// What depends on z alone: rows of an internal table with their weights. For evaluating a large
  /// number of bins in blocks.
  class Place {
    friend class Morphing;
    struct Term {
      std::size_t row;
      double value, first, second;
    };
    std::vector<Term> terms_;
    bool exponential_ = false;
  };
  /// The place of a z. \throws Error (usage) for a z that is not finite
  Place place(double z) const;
  /// Evaluates the bins from `begin` on, as many as `value` has. Second derivatives need the first.
  void evaluate(const Place& place, std::size_t begin, std::span<double> value,
                std::span<double> first = {}, std::span<double> second = {}) const;

 private:
  struct Tables;
  std::shared_ptr<const Tables> tables_;
};

/// How well the templates at a point follow from those at the others.
struct MorphingClosure {
  std::vector<double> z;  ///< inner points of the grid [G - 2]
  std::vector<double>
      largest;               ///< |interpolated / template - 1|, largest over the bins that are > 0
  std::vector<double> chi2;  ///< sum over these bins of (interpolated - template)^2 / template
};

/// Leaves out each inner point in turn. What remains has steps twice as wide there, so that the
/// result is an upper estimate of the error of the full grid: by 2^2 for linear kinds, 2^4 for
/// splines. \param grid as in morphing_weights; the kind must allow one point less \throws Error
/// (usage) as above, and for codes, which have no point to spare
MorphingClosure morphing_closure(MorphingKind kind, const std::vector<double>& grid,
                                 const std::vector<double>& templates);

}  // namespace slalom
