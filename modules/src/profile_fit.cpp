// SPDX-License-Identifier: Apache-2.0
#include "slalom/modules/profile_fit.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cholesky_inverse.h>
#include <ATen/ops/cholesky_solve.h>
#include <ATen/ops/diag.h>
#include <ATen/ops/linalg_cholesky_ex.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <string>
#include <tuple>
#include <vector>

#include "slalom/core/error.hpp"
#include "slalom/core/model.hpp"
#include "slalom/modules/autodiff.hpp"
#include "to_tensor.hpp"

namespace slalom {

namespace {

using detail::to_tensor;

using Numbers = std::vector<double>;

Numbers to_numbers(const Tensor& tensor) {
  const Tensor plain = tensor.detach().to(at::kCPU, at::kDouble).contiguous();
  return Numbers(plain.data_ptr<double>(), plain.data_ptr<double>() + plain.numel());
}

Tensor cholesky(const Tensor& matrix, const char* what) {
  Tensor factor, info;
  std::tie(factor, info) = at::linalg_cholesky_ex(matrix);
  if (info.item<int>() != 0) {
    throw Error(ErrorKind::numerical, "the Hessian is not positive definite", what);
  }
  return factor;
}

/// The block of a matrix that belongs to the indices `free`.
Tensor block(const Tensor& matrix, const Tensor& free) {
  return matrix.index_select(0, free).index_select(1, free);
}

/// theta - H_FF^-1 g_F as a node of the graph.
Tensor newton_step(const Tensor& parameters, const Tensor& gradient, const Tensor& hessian,
                   const Tensor& free) {
  const Tensor factor = cholesky(block(hessian, free), "profile_fit");
  const Tensor step =
      at::cholesky_solve(gradient.index_select(0, free).unsqueeze(1), factor).squeeze(1);
  return parameters.index_add(0, free, -step);
}

}  // namespace

Tensor free_parameters(const FitResult& result) {
  std::vector<std::int64_t> free;
  for (std::size_t i = 0; i < result.parameters.size(); ++i) {
    if (!result.fixed[i] && !result.at_bound[i]) free.push_back(static_cast<std::int64_t>(i));
  }
  return to_tensor(free);
}

ProfileFit profile_fit(const Likelihood& likelihood, const Templates& templates, const Tensor& data,
                       const ProfileFitOptions& options) {
  if (options.order != 1 && options.order != 2) {
    throw Error(ErrorKind::usage, "1 or 2 expected", "order");
  }
  const Model model(likelihood.with_templates(templates));
  Fitter fitter(model);
  const Numbers values = to_numbers(data);
  fitter.set_data(values);
  ProfileFit fit;
  fit.result = fitter.fit(options.fit);
  if (!fit.result.converged()) {
    throw Error(ErrorKind::numerical, fit.result.message, "profile_fit");
  }
  const std::size_t n = fit.result.parameters.size();
  const Tensor free = free_parameters(fit.result).to(data.device());
  // The parameters are a leaf of their own here: the step puts the dependence on everything else.
  const Tensor optimum = to_tensor(fit.result.parameters).to(data.device()).requires_grad_(true);
  // Where the likelihood ends, the fit is an ordinary minimum of almost the same data.
  const Numbers stationary = stationary_data(model, values, fit.result);
  const Tensor counts = fit.result.empty_bins.empty()
                            ? data
                            : data + (to_tensor(stationary) - to_tensor(values)).to(data.device());
  const auto log_prob_at = [&](const Tensor& theta) {
    return likelihood.log_prob(theta, templates, counts);
  };
  const Tensor nll = -log_prob_at(optimum);
  const Tensor slope = gradient(nll, optimum, true);
  Numbers unused(n), curvature(n * n);
  Evaluator evaluator(model);
  evaluator.set_data(stationary);
  evaluator.logpdf(fit.result.parameters, unused, curvature);
  const auto size = static_cast<std::int64_t>(n);
  const Tensor exact = -to_tensor(curvature).reshape({size, size}).to(data.device());
  fit.parameters = newton_step(optimum.detach(), slope, exact, free);
  if (options.order == 2) {
    const Tensor theta = fit.parameters;
    const Tensor second = gradient(-log_prob_at(theta), theta, true);
    fit.parameters = newton_step(theta, second, hessian(-log_prob_at(theta), theta, true), free);
  }
  fit.twice_nll = -2.0 * log_prob_at(fit.parameters);
  return fit;
}

Tensor covariance(const Likelihood& likelihood, const Templates& templates, const Tensor& data,
                  const Tensor& parameters, const Tensor& free) {
  const Tensor theta =
      parameters.requires_grad() ? parameters : parameters.detach().requires_grad_(true);
  const Tensor nll = -likelihood.log_prob(theta, templates, data);
  return at::cholesky_inverse(cholesky(block(hessian(nll, theta, true), free), "covariance"));
}

Tensor fisher_information(const Likelihood& likelihood, const Templates& templates,
                          const Tensor& parameters) {
  const Tensor theta =
      parameters.requires_grad() ? parameters : parameters.detach().requires_grad_(true);
  const Tensor rates = likelihood.systematics().expected(theta, templates);
  const Tensor slopes = jacobian(rates, theta, true);
  // A bin that nothing populates says nothing.
  const Tensor populated = rates > 0.0;
  const Tensor weight = at::where(
      populated, 1.0 / at::where(populated, rates, at::ones_like(rates)), at::zeros_like(rates));
  return slopes.t().matmul(weight.unsqueeze(1) * slopes) +
         at::diag(likelihood.constraint_information(theta, templates));
}

}  // namespace slalom
