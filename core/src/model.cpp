// SPDX-License-Identifier: Apache-2.0
#include "slalom/core/model.hpp"

#include <algorithm>
#include <limits>
#include <string>
#include <utility>

#include "engine/engine.hpp"

namespace slalom {

using detail::ChannelLayout;
using detail::EngineArrays;
using detail::EngineState;
using detail::k_no_parameter;
using detail::Level;
using detail::Mode;
using detail::StateArrays;

namespace {

constexpr double k_minus_infinity = -std::numeric_limits<double>::infinity();

void check_size(std::size_t expected, std::size_t found, const char* what) {
  if (expected == found) return;
  throw Error(ErrorKind::model, std::string(what) + ": " + std::to_string(expected) +
                                    " values expected, found " + std::to_string(found));
}

/// Gradient of log L in the order of the parameters.
void collect_gradient(const EngineState& state, std::span<double> gradient) {
  const StateArrays& st = state.arrays;
  for (std::size_t i = 0; i < gradient.size(); ++i) {
    const detail::ParameterPlace place = state.engine.places[i];
    gradient[i] = -(place.local ? st.local_gradient : st.gradient)[place.index];
  }
}

/// Second derivatives with respect to the local parameters of one bin.
void add_local_block(const EngineState& state, const ChannelLayout& c, std::size_t b,
                     std::span<double> hessian, std::size_t n) {
  const StateArrays& st = state.arrays;
  const double q = st.weight[c.bin0 + b];
  for (std::size_t k = 0; k < c.n_groups; ++k) {
    const std::size_t i = c.local_begin + k * c.nb + b;
    const std::size_t p = state.engine.local[i];
    hessian[p * n + p] -= q * st.group_yield[i] * st.group_yield[i];
    for (std::size_t l = k + 1; l < c.n_groups; ++l) {
      const std::size_t j = c.local_begin + l * c.nb + b;
      const std::size_t r = state.engine.local[j];
      hessian[p * n + r] = hessian[r * n + p] = -q * st.group_yield[i] * st.group_yield[j];
    }
    const bool poisson = state.engine.local_kind[c.group_begin + k] == detail::LocalKind::poisson;
    const double gamma = st.gamma[i];
    hessian[p * n + p] -= poisson ? st.local_centre[i] / (gamma * gamma) : st.local_weight[i];
  }
}

/// Hessian of log L in the order of the parameters.
void collect_hessian(const EngineState& state, std::span<double> hessian) {
  const detail::Engine& engine = state.engine;
  const EngineArrays& m = engine.arrays;
  const StateArrays& st = state.arrays;
  const std::size_t n = engine.spec.parameters.size();
  std::fill(hessian.begin(), hessian.end(), 0.0);
  for (std::size_t i = 0; i < m.n_shared; ++i) {
    const std::size_t p = engine.shared[i];
    for (std::size_t j = i; j < m.n_shared; ++j) {
      const std::size_t q = engine.shared[j];
      hessian[p * n + q] = hessian[q * n + p] = -st.hessian[i * m.ld + j];
    }
  }
  for (std::size_t i = 0; i < m.n_local; ++i) {
    const std::size_t p = engine.local[i];
    if (p == k_no_parameter) continue;
    for (std::size_t j = 0; j < m.n_shared; ++j) {
      const std::size_t q = engine.shared[j];
      hessian[p * n + q] = hessian[q * n + p] = -st.coupling[i * m.ld + j];
    }
  }
  for (const ChannelLayout& c : engine.channels) {
    for (std::size_t b = 0; b < c.n_bins; ++b) add_local_block(state, c, b, hessian, n);
  }
}

/// Expected main data.
void collect_rates(EngineState& state, std::span<const double> parameters,
                   std::span<double> rates) {
  state.set_parameters(parameters);
  state.engine.kernels->rates(state.engine.arrays, state.arrays);
  for (const ChannelLayout& c : state.engine.channels) {
    std::copy_n(state.arrays.rate + c.bin0, c.n_bins,
                rates.begin() + static_cast<std::ptrdiff_t>(c.data0));
  }
}

}  // namespace

// Not a const object: exclusive_engine() may change it.
Model::Model(ModelSpec spec) : engine_(std::make_shared<detail::Engine>(std::move(spec))) {}

detail::Engine& detail::exclusive_engine(Model& model) {
  return const_cast<Engine&>(model.engine());
}

const ModelSpec& Model::spec() const { return engine_->spec; }
std::size_t Model::n_parameters() const { return engine_->spec.parameters.size(); }
std::size_t Model::n_bins() const { return engine_->spec.n_bins(); }
std::size_t Model::n_auxiliary() const { return engine_->spec.auxiliary.size(); }

std::vector<double> Model::expected_data(std::span<const double> parameters,
                                         bool include_auxdata) const {
  std::vector<double> result(n_bins());
  check_size(n_parameters(), parameters.size(), "parameters");
  EngineState state(*engine_, false);
  collect_rates(state, parameters, result);
  if (!include_auxdata) return result;
  for (std::size_t i : spec().auxiliary) {
    const Parameter& p = spec().parameters[i];
    result.push_back(p.constraint == ConstraintType::poisson ? p.tau * parameters[i]
                                                             : parameters[i]);
  }
  return result;
}

double Model::logpdf(std::span<const double> parameters, std::span<const double> data) const {
  check_size(n_parameters(), parameters.size(), "parameters");
  EngineState state(*engine_, false);
  state.set_data(data);
  state.set_parameters(parameters);
  return state.evaluate(Mode::full, Level::value) ? -state.arrays.nll : k_minus_infinity;
}

Evaluator::Evaluator(const Model& model)
    : model_(model), state_(std::make_unique<EngineState>(model.engine())) {}
Evaluator::~Evaluator() = default;
Evaluator::Evaluator(Evaluator&&) noexcept = default;
Evaluator& Evaluator::operator=(Evaluator&&) noexcept = default;

void Evaluator::set_data(std::span<const double> data) { state_->set_data(data); }
std::span<const double> Evaluator::data() const { return state_->data; }

double Evaluator::logpdf(std::span<const double> parameters) {
  check_size(model_.n_parameters(), parameters.size(), "parameters");
  state_->set_parameters(parameters);
  return state_->evaluate(Mode::full, Level::value) ? -state_->arrays.nll : k_minus_infinity;
}

double Evaluator::logpdf(std::span<const double> parameters, std::span<double> gradient) {
  check_size(model_.n_parameters(), parameters.size(), "parameters");
  check_size(model_.n_parameters(), gradient.size(), "gradient");
  state_->set_parameters(parameters);
  if (!state_->evaluate(Mode::full, Level::gradient)) return k_minus_infinity;
  collect_gradient(*state_, gradient);
  return -state_->arrays.nll;
}

double Evaluator::logpdf(std::span<const double> parameters, std::span<double> gradient,
                         std::span<double> hessian) {
  const std::size_t n = model_.n_parameters();
  check_size(n, parameters.size(), "parameters");
  check_size(n, gradient.size(), "gradient");
  check_size(n * n, hessian.size(), "hessian");
  state_->need_coupling();
  state_->set_parameters(parameters);
  if (!state_->evaluate(Mode::full, Level::hessian)) return k_minus_infinity;
  collect_gradient(*state_, gradient);
  collect_hessian(*state_, hessian);
  return -state_->arrays.nll;
}

void Evaluator::expected_main(std::span<const double> parameters, std::span<double> rates) {
  check_size(model_.n_parameters(), parameters.size(), "parameters");
  check_size(model_.n_bins(), rates.size(), "rates");
  collect_rates(*state_, parameters, rates);
}

void Evaluator::expected_samples(std::span<const double> parameters, std::span<double> rates) {
  std::size_t total = 0;
  for (const ChannelLayout& c : state_->engine.channels) {
    total += c.n_bins * (c.row_end - c.row_begin);
  }
  check_size(model_.n_parameters(), parameters.size(), "parameters");
  check_size(total, rates.size(), "rates");
  state_->set_parameters(parameters);
  state_->engine.kernels->rates(state_->engine.arrays, state_->arrays);
  const StateArrays& st = state_->arrays;
  std::size_t next = 0;
  for (const ChannelLayout& c : state_->engine.channels) {
    for (std::size_t r = c.row_begin; r < c.row_end; ++r) {
      const detail::Row& row = state_->engine.rows[r];
      for (std::size_t b = 0; b < c.n_bins; ++b) {
        double value = st.factor[r] * st.yield[row.offset + b];
        if (row.binwise_begin != row.binwise_end) value *= st.binwise_product[row.offset + b];
        if (row.group >= 0) {
          value *= st.gamma[c.local_begin + static_cast<std::size_t>(row.group) * c.nb + b];
        }
        rates[next++] = value;
      }
    }
  }
}

}  // namespace slalom
