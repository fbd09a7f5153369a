// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "fit_state.hpp"

/// \file
/// Minima where the likelihood ends: in bins without events no rate is below zero, and the best fit
/// may be where one is zero.
namespace slalom::detail {

/// Whether the likelihood ends anywhere: there are bins without events.
bool has_edges(const FitState& f);

/// Whether a fit that did not converge stopped where a bin without events has next to no rate.
bool stopped_at_edge(FitState& f, const LocalMinimum& minimum);

/// Minimises -log L among the points where no bin without events has a rate below k_edge_rate: the
/// method of multipliers (Nocedal and Wright, Numerical Optimization, 2nd ed., ch. 17.4) around the
/// minimiser, whose points may have negative rates on the way. False, and no result, if that does
/// not lead to a minimum.
/// \param start shared parameters
/// \param stiffness first weight of a squared rate below the end; a large one keeps the fit near
///   the start
/// \param result the minimum; its factor and Hessian stay those of the augmented Lagrangian
/// \param edges the bins whose rate is at its end, with their multipliers
bool fit_at_edge(FitState& f, const std::vector<double>& start, double stiffness,
                 LocalMinimum& result, std::vector<EmptyBin>& edges);

/// Padded bin of each edge.
std::vector<std::size_t> padded_bins(const Engine& engine, const std::vector<EmptyBin>& edges);

/// First stiffness for starts from afar, and for those that are to stay near.
inline constexpr double k_soft_edge = 10.0, k_stiff_edge = 1e5;

/// The rate that stands for none, in events: small beside anything that is seen, large beside
/// rounding, so that the likelihood is finite at the minimum.
inline constexpr double k_edge_rate = 1e-9;

}  // namespace slalom::detail
