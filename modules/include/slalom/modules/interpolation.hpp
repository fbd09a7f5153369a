// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "slalom/modules/torch.hpp"

#include "slalom/core/model_spec.hpp"

/// \file
/// The interpolation codes of HistFactory as tensor functions, elementwise and differentiable in
/// all arguments to any order (pyhf 0.7, CERN-OPEN-2012-016 section 4.1).
///
/// alpha is the nuisance parameter; hi and lo are what belongs to +1 and -1. All arguments are
/// float64 and broadcast against each other. Branches are masked before they are evaluated, so that
/// no NaN of an unused branch leaks into a gradient. At the kinks of code0 and code1 (alpha = 0)
/// the derivatives are the mean of both sides, as in the compiled model.
namespace slalom {

/// What a histosys adds to the nominal yields.
/// \param code code0 (linear), code2 (quadratic, as coded in pyhf) or code4p (sixth order)
/// \param nominal yields
/// \param hi,lo yields at +1 and -1
Tensor histosys_delta(HistosysCode code, const Tensor& alpha, const Tensor& nominal,
                      const Tensor& hi, const Tensor& lo);

/// The factor of a normsys.
/// \param code code1 (exponential) or code4 (sixth order inside |alpha| <= 1, exponential outside)
/// \param hi,lo factors at +1 and -1, > 0
Tensor normsys_factor(NormsysCode code, const Tensor& alpha, const Tensor& hi, const Tensor& lo);

}  // namespace slalom
