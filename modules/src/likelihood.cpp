// SPDX-License-Identifier: Apache-2.0
#include "slalom/modules/likelihood.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <algorithm>
#include <cmath>
#include <utility>

#include "slalom/core/error.hpp"
#include "slalom/modules/distributions.hpp"
#include "to_tensor.hpp"

namespace slalom {

namespace {

using detail::to_tensor;

using Numbers = std::vector<double>;

/// The elements of a tensor, handed out in order.
class Values {
 public:
  /// \throws Error (model) for one that is not finite
  Values(const Tensor& tensor, const char* what) {
    // What training hands over needs no conversion, and each operation costs a microsecond.
    const bool as_is =
        tensor.is_cpu() && tensor.scalar_type() == at::kDouble && tensor.is_contiguous();
    plain_ = as_is ? tensor : tensor.detach().to(at::kCPU, at::kDouble).contiguous();
    next_ = plain_.data_ptr<double>();
    for (std::int64_t i = 0; i < plain_.numel(); ++i) {
      if (std::isfinite(next_[i])) continue;
      throw Error(ErrorKind::model, "element " + std::to_string(i) + " is not finite", what);
    }
    left_ = static_cast<std::size_t>(plain_.numel());
    what_ = what;
  }

  void take(Numbers& target) {
    require(target.size());
    std::copy_n(next_, target.size(), target.begin());
    next_ += target.size();
  }
  double take() {
    require(1);
    return *next_++;
  }
  /// \throws Error (model) unless all were handed out
  void finish() const {
    if (left_ > 0) throw Error(ErrorKind::model, "too many elements", what_);
  }

 private:
  void require(std::size_t n) {
    if (n > left_) throw Error(ErrorKind::model, "too few elements", what_);
    left_ -= n;
  }

  Tensor plain_;
  const double* next_;
  std::size_t left_;
  const char* what_;
};

/// Relative difference below which an auxiliary datum is the factor of its constraint.
constexpr double k_same = 1e-12;

}  // namespace

Likelihood::Likelihood(const ModelSpec& spec) : systematics_(spec) {
  const auto n = static_cast<std::int64_t>(spec.auxiliary.size());
  auxiliary_ = at::zeros({n}, at::kLong);
  is_gaussian_ = at::zeros({n}, at::kBool);
  follows_scale_ = at::zeros({n}, at::kBool);
  Numbers auxdata;
  for (std::size_t i = 0; i < spec.auxiliary.size(); ++i) {
    const Parameter& p = spec.parameters[spec.auxiliary[i]];
    const bool gaussian = p.constraint == ConstraintType::gaussian;
    auxiliary_.data_ptr<std::int64_t>()[i] = static_cast<std::int64_t>(spec.auxiliary[i]);
    is_gaussian_.data_ptr<bool>()[i] = gaussian;
    auxdata_follow_.push_back(!gaussian && std::abs(p.auxdata - p.tau) <= k_same * p.tau);
    follows_scale_.data_ptr<bool>()[i] = auxdata_follow_.back();
    auxdata.push_back(p.auxdata);
  }
  auxdata_ = to_tensor(auxdata);
  initial_ = to_tensor(spec.initial());
}

Tensor Likelihood::initial() const { return initial_; }

Tensor Likelihood::expected_data(const Tensor& parameters, const Templates& templates) const {
  const Tensor theta = parameters.index_select(0, auxiliary_);
  const Tensor scale = systematics_.constraint_scale(templates).index_select(0, auxiliary_);
  const Tensor auxiliary = at::where(is_gaussian_, theta, theta * scale);
  return at::cat({systematics_.expected(parameters, templates), auxiliary});
}

Tensor Likelihood::data(const Templates& templates) const {
  const Tensor scale = systematics_.constraint_scale(templates).index_select(0, auxiliary_);
  return at::cat({templates.observed, at::where(follows_scale_, scale, auxdata_)});
}

Tensor Likelihood::constraint_log_prob(const Tensor& parameters, const Templates& templates,
                                       const Tensor& auxiliary) const {
  const Tensor theta = parameters.index_select(0, auxiliary_);
  const Tensor scale = systematics_.constraint_scale(templates).index_select(0, auxiliary_);
  const Tensor one = at::ones_like(theta);
  const Tensor gaussian =
      normal_log_prob(at::where(is_gaussian_, auxiliary, one), at::where(is_gaussian_, theta, one),
                      at::where(is_gaussian_, scale, one));
  const Tensor poisson = poisson_log_prob(at::where(is_gaussian_, one, auxiliary),
                                          at::where(is_gaussian_, one, theta * scale));
  return at::where(is_gaussian_, gaussian, poisson).sum();
}

Tensor Likelihood::constraint_information(const Tensor& parameters,
                                          const Templates& templates) const {
  const Tensor theta = parameters.index_select(0, auxiliary_);
  const Tensor scale = systematics_.constraint_scale(templates).index_select(0, auxiliary_);
  const Tensor one = at::ones_like(theta);
  const Tensor gaussian = 1.0 / (scale * scale);
  const Tensor poisson = scale / at::where(is_gaussian_, one, theta);
  return at::zeros_like(parameters)
      .index_add(0, auxiliary_, at::where(is_gaussian_, gaussian, poisson));
}

Tensor Likelihood::log_prob(const Tensor& parameters, const Templates& templates,
                            const Tensor& data) const {
  const auto n_bins = static_cast<std::int64_t>(spec().n_bins());
  if (data.dim() != 1 || data.size(0) != n_bins + auxiliary_.size(0)) {
    throw Error(ErrorKind::model,
                std::to_string(n_bins + auxiliary_.size(0)) +
                    " main and auxiliary data expected, found " + std::to_string(data.numel()),
                "data");
  }
  const Tensor rates = systematics_.expected(parameters, templates);
  return poisson_log_prob(data.slice(0, 0, n_bins), rates).sum() +
         constraint_log_prob(parameters, templates, data.slice(0, n_bins));
}

ModelSpec Likelihood::with_templates(const Templates& t) const {
  ModelSpec spec = this->spec();
  put_templates(t, spec);
  return spec;
}

void Likelihood::put_templates(const Templates& t, ModelSpec& spec) const {
  Values nominal(t.nominal, "nominal"), histosys_hi(t.histosys_hi, "histosys_hi"),
      histosys_lo(t.histosys_lo, "histosys_lo"), normsys_hi(t.normsys_hi, "normsys_hi"),
      normsys_lo(t.normsys_lo, "normsys_lo"), uncertainty(t.uncertainty, "uncertainty"),
      observed(t.observed, "observed");
  for (ChannelSpec& channel : spec.channels) {
    for (SampleSpec& sample : channel.samples) {
      nominal.take(sample.nominal);
      for (HistosysTerm& term : sample.histosys) {
        histosys_hi.take(term.hi);
        histosys_lo.take(term.lo);
      }
      for (NormsysTerm& term : sample.normsys) {
        term.hi = normsys_hi.take();
        term.lo = normsys_lo.take();
      }
      for (BinwiseTerm& term : sample.binwise) {
        if (term.type != ModifierType::shapefactor) uncertainty.take(term.uncertainty);
      }
    }
  }
  observed.take(spec.observed);
  for (const Values* values :
       {&nominal, &histosys_hi, &histosys_lo, &normsys_hi, &normsys_lo, &uncertainty, &observed}) {
    values->finish();
  }
  systematics_.put_constraint_scales(spec);
  for (std::size_t i = 0; i < spec.auxiliary.size(); ++i) {
    Parameter& p = spec.parameters[spec.auxiliary[i]];
    if (auxdata_follow_[i]) p.auxdata = p.tau;
  }
}

Likelihood Likelihood::to(const at::Device& device) const {
  Likelihood result(*this);
  result.systematics_ = systematics_.to(device);
  for (Tensor* t : {&result.auxiliary_, &result.is_gaussian_, &result.auxdata_,
                    &result.follows_scale_, &result.initial_}) {
    *t = t->to(device);
  }
  return result;
}

namespace {

Channel& channel_of(Workspace& workspace, const std::string& name) {
  const auto found = std::find_if(workspace.channels.begin(), workspace.channels.end(),
                                  [&](const Channel& c) { return c.name == name; });
  if (found == workspace.channels.end()) {
    throw Error(ErrorKind::model, "the workspace has no channel named '" + name + "'", "export");
  }
  return *found;
}

Sample& sample_of(Channel& channel, const std::string& name) {
  const auto found = std::find_if(channel.samples.begin(), channel.samples.end(),
                                  [&](const Sample& s) { return s.name == name; });
  if (found == channel.samples.end()) {
    throw Error(ErrorKind::model, "the workspace has no sample named '" + name + "'", channel.name);
  }
  return *found;
}

const std::string& set_name(const ModelSpec& spec, std::size_t parameter) {
  return std::find_if(spec.sets.begin(), spec.sets.end(),
                      [&](const ParameterSet& s) {
                        return parameter >= s.first && parameter < s.first + s.size;
                      })
      ->name;
}

Modifier& modifier_of(Sample& sample, const std::string& name, ModifierType type) {
  const auto found =
      std::find_if(sample.modifiers.begin(), sample.modifiers.end(),
                   [&](const Modifier& m) { return m.name == name && m.type == type; });
  if (found == sample.modifiers.end()) {
    throw Error(ErrorKind::model, "the workspace has no modifier named '" + name + "'",
                sample.name);
  }
  return *found;
}

void export_sample(const ModelSpec& spec, const SampleSpec& from, Sample& to) {
  to.data = from.nominal;
  for (const HistosysTerm& t : from.histosys) {
    Modifier& m = modifier_of(to, set_name(spec, t.parameter), ModifierType::histosys);
    m.hi_data = t.hi;
    m.lo_data = t.lo;
  }
  for (const NormsysTerm& t : from.normsys) {
    Modifier& m = modifier_of(to, set_name(spec, t.parameter), ModifierType::normsys);
    m.hi = t.hi;
    m.lo = t.lo;
  }
  for (const BinwiseTerm& t : from.binwise) {
    if (t.type == ModifierType::shapefactor) continue;
    modifier_of(to, set_name(spec, t.parameters.front()), t.type).uncertainty = t.uncertainty;
  }
}

}  // namespace

Workspace export_workspace(const Workspace& workspace, const Likelihood& likelihood,
                           const Templates& templates) {
  Workspace result = workspace;
  const ModelSpec spec = likelihood.with_templates(templates);
  for (const ChannelSpec& channel : spec.channels) {
    Channel& target = channel_of(result, channel.name);
    for (const SampleSpec& sample : channel.samples) {
      export_sample(spec, sample, sample_of(target, sample.name));
    }
    const auto first = spec.observed.begin() + static_cast<std::ptrdiff_t>(channel.first_bin);
    for (Observation& observation : result.observations) {
      if (observation.name != channel.name) continue;
      observation.data.assign(first, first + static_cast<std::ptrdiff_t>(channel.n_bins));
    }
  }
  return result;
}

}  // namespace slalom
