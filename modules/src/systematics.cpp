// SPDX-License-Identifier: Apache-2.0
#include "slalom/modules/systematics.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/sqrt.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <algorithm>
#include <cmath>
#include <vector>

#include "slalom/core/error.hpp"
#include "slalom/modules/interpolation.hpp"
#include "to_tensor.hpp"

namespace slalom {

namespace {

using detail::to_tensor;

using Numbers = std::vector<double>;
using Places = std::vector<std::int64_t>;

constexpr at::ScalarType k_double = at::kDouble;

std::int64_t signed_size(std::size_t n) { return static_cast<std::int64_t>(n); }

/// Lists of factors, one row for each sample or yield, filled up with `neutral` to equal lengths.
Tensor to_table(std::vector<Places> lists, std::int64_t neutral) {
  std::size_t width = 0;
  for (const Places& list : lists) width = std::max(width, list.size());
  Places flat;
  for (Places& list : lists) {
    list.resize(width, neutral);
    flat.insert(flat.end(), list.begin(), list.end());
  }
  return to_tensor(flat).reshape({signed_size(lists.size()), signed_size(width)});
}

[[noreturn]] void not_found(const std::string& what, const std::string& name,
                            const std::string& where) {
  throw Error(ErrorKind::model, "no " + what + " named '" + name + "'", where);
}

/// Relative difference below which a configured width is the one that follows from the templates.
constexpr double k_same = 1e-9;

/// A constraint whose scale follows from templates.
struct DerivedScale {
  std::size_t parameter = 0;
  bool gaussian = true;
  Places rows, uncertainties;
};

Numbers flatten_nominal(const ModelSpec& spec) {
  Numbers result;
  for (const ChannelSpec& channel : spec.channels) {
    for (const SampleSpec& sample : channel.samples) {
      result.insert(result.end(), sample.nominal.begin(), sample.nominal.end());
    }
  }
  return result;
}

bool has_uncertainty(const BinwiseTerm& term) { return term.type != ModifierType::shapefactor; }

}  // namespace

struct Systematics::Indices {
  ModelSpec spec;
  Templates templates;
  // Each of the R yields, and each of the S samples.
  Tensor bin_of_row, sample_of_row;
  Tensor row_of_histosys, parameter_of_histosys;  // [H]
  Tensor parameter_of_normsys;                    // [N]
  // Factors: parameters 0 ... P - 1, normsys P ... P + N - 1, and one that is always 1.
  Tensor factors_of_sample;  // [S, K]
  Tensor factors_of_row;     // [R, L]
  // Constraints whose scale follows from templates: entries to sum up.
  Tensor scale;                                                   // [P], of the specification
  Tensor staterror_parameter, staterror_entry_slot;               // [G], [E]
  Tensor staterror_row, staterror_uncertainty;                    // [E]
  Tensor shapesys_parameter, shapesys_row, shapesys_uncertainty;  // [T]
  std::vector<bool> scale_follows;                                // [P]
  bool any_scale_follows = false;
};

namespace {

/// Constraints whose widths follow from the templates, for parameters with more than one entry
/// (staterror) or one (shapesys).
std::vector<DerivedScale> derived_scales(const ModelSpec& spec) {
  std::vector<DerivedScale> all(spec.parameters.size());
  std::int64_t row = 0, uncertainty = 0;
  for (const ChannelSpec& channel : spec.channels) {
    for (const SampleSpec& sample : channel.samples) {
      for (const BinwiseTerm& term : sample.binwise) {
        if (!has_uncertainty(term)) continue;
        for (std::size_t b = 0; b < channel.n_bins; ++b) {
          DerivedScale& d = all[term.parameters[b]];
          d.parameter = term.parameters[b];
          d.gaussian = term.type == ModifierType::staterror;
          d.rows.push_back(row + signed_size(b));
          d.uncertainties.push_back(uncertainty + signed_size(b));
        }
        uncertainty += signed_size(channel.n_bins);
      }
      row += signed_size(channel.n_bins);
    }
  }
  return all;
}

/// Whether the scale in the specification is the one that follows from its own templates. If a
/// measurement configures another one, that one stays.
bool follows(const DerivedScale& d, const Parameter& p, const Numbers& nominal,
             const Numbers& uncertainty) {
  double total = 0.0, variance = 0.0;
  for (std::size_t i = 0; i < d.rows.size(); ++i) {
    total += nominal[static_cast<std::size_t>(d.rows[i])];
    const double u = uncertainty[static_cast<std::size_t>(d.uncertainties[i])];
    variance += u * u;
  }
  if (!(total > 0.0) || !(variance > 0.0)) return false;
  const double expected = d.gaussian ? std::sqrt(variance) / total : total * total / variance;
  const double given = d.gaussian ? p.sigma : p.tau;
  return std::abs(given - expected) <= k_same * expected;
}

}  // namespace

Templates Templates::to(const at::Device& device) const {
  return {nominal.to(device),    histosys_hi.to(device), histosys_lo.to(device),
          normsys_hi.to(device), normsys_lo.to(device),  uncertainty.to(device),
          observed.to(device)};
}

Tensor replace_range(const Tensor& whole, const Range& range, const Tensor& part) {
  if (part.dim() != 1 || part.size(0) != range.size) {
    throw Error(ErrorKind::model,
                "a vector of " + std::to_string(range.size) + " elements expected, found " +
                    std::to_string(part.numel()),
                "template");
  }
  if (range.size == whole.size(0)) return part.to(whole.options());
  const std::int64_t end = range.first + range.size;
  return at::cat({whole.slice(0, 0, range.first), part.to(whole.options()),
                  whole.slice(0, end, whole.size(0))});
}

Systematics::Systematics(const ModelSpec& spec) {
  auto x = std::make_shared<Indices>();
  x->spec = spec;
  const auto n_parameters = signed_size(spec.parameters.size());
  Numbers histosys_hi, histosys_lo, normsys_hi, normsys_lo, uncertainty;
  Places bin_of_row, sample_of_row, row_of_histosys, parameter_of_histosys, parameter_of_normsys;
  std::vector<Places> factors_of_sample, factors_of_row;
  for (const ChannelSpec& channel : spec.channels) {
    for (const SampleSpec& sample : channel.samples) {
      const std::int64_t first = signed_size(bin_of_row.size());
      Places& factors = factors_of_sample.emplace_back();
      for (const FactorTerm& t : sample.factors) factors.push_back(signed_size(t.parameter));
      for (const NormsysTerm& t : sample.normsys) {
        factors.push_back(n_parameters + signed_size(parameter_of_normsys.size()));
        parameter_of_normsys.push_back(signed_size(t.parameter));
        normsys_hi.push_back(t.hi);
        normsys_lo.push_back(t.lo);
      }
      for (std::size_t b = 0; b < channel.n_bins; ++b) {
        bin_of_row.push_back(signed_size(channel.first_bin + b));
        sample_of_row.push_back(signed_size(factors_of_sample.size() - 1));
        Places& own = factors_of_row.emplace_back();
        for (const BinwiseTerm& t : sample.binwise) own.push_back(signed_size(t.parameters[b]));
      }
      for (const HistosysTerm& t : sample.histosys) {
        for (std::size_t b = 0; b < channel.n_bins; ++b) {
          row_of_histosys.push_back(first + signed_size(b));
          parameter_of_histosys.push_back(signed_size(t.parameter));
        }
        histosys_hi.insert(histosys_hi.end(), t.hi.begin(), t.hi.end());
        histosys_lo.insert(histosys_lo.end(), t.lo.begin(), t.lo.end());
      }
      for (const BinwiseTerm& t : sample.binwise) {
        if (!has_uncertainty(t)) continue;
        uncertainty.insert(uncertainty.end(), t.uncertainty.begin(), t.uncertainty.end());
      }
    }
  }
  const std::int64_t neutral = n_parameters + signed_size(parameter_of_normsys.size());
  const Numbers nominal = flatten_nominal(spec);
  x->templates = {to_tensor(nominal),      to_tensor(histosys_hi), to_tensor(histosys_lo),
                  to_tensor(normsys_hi),   to_tensor(normsys_lo),  to_tensor(uncertainty),
                  to_tensor(spec.observed)};
  x->bin_of_row = to_tensor(bin_of_row);
  x->sample_of_row = to_tensor(sample_of_row);
  x->row_of_histosys = to_tensor(row_of_histosys);
  x->parameter_of_histosys = to_tensor(parameter_of_histosys);
  x->parameter_of_normsys = to_tensor(parameter_of_normsys);
  x->factors_of_sample = to_table(std::move(factors_of_sample), neutral);
  x->factors_of_row = to_table(std::move(factors_of_row), neutral);

  Numbers scale;
  for (const Parameter& p : spec.parameters) {
    scale.push_back(p.constraint == ConstraintType::gaussian  ? p.sigma
                    : p.constraint == ConstraintType::poisson ? p.tau
                                                              : 1.0);
  }
  x->scale = to_tensor(scale);
  x->scale_follows.assign(spec.parameters.size(), false);
  Places staterror_parameter, slot, staterror_row, staterror_uncertainty;
  Places shapesys_parameter, shapesys_row, shapesys_uncertainty;
  for (const DerivedScale& d : derived_scales(spec)) {
    if (d.rows.empty() || !follows(d, spec.parameters[d.parameter], nominal, uncertainty)) continue;
    for (std::size_t i = 0; d.gaussian && i < d.rows.size(); ++i) {
      slot.push_back(signed_size(staterror_parameter.size()));
      staterror_row.push_back(d.rows[i]);
      staterror_uncertainty.push_back(d.uncertainties[i]);
    }
    x->scale_follows[d.parameter] = x->any_scale_follows = true;
    (d.gaussian ? staterror_parameter : shapesys_parameter).push_back(signed_size(d.parameter));
    if (!d.gaussian) {
      shapesys_row.push_back(d.rows.front());
      shapesys_uncertainty.push_back(d.uncertainties.front());
    }
  }
  x->staterror_parameter = to_tensor(staterror_parameter);
  x->staterror_entry_slot = to_tensor(slot);
  x->staterror_row = to_tensor(staterror_row);
  x->staterror_uncertainty = to_tensor(staterror_uncertainty);
  x->shapesys_parameter = to_tensor(shapesys_parameter);
  x->shapesys_row = to_tensor(shapesys_row);
  x->shapesys_uncertainty = to_tensor(shapesys_uncertainty);
  indices_ = std::move(x);
}

const ModelSpec& Systematics::spec() const { return indices_->spec; }
Templates Systematics::templates() const { return indices_->templates; }

namespace {

/// Calls `visit(channel, sample)` for all samples in order until it returns true.
template <typename Visit>
void visit_until(const ModelSpec& spec, const std::string& channel, const std::string& sample,
                 const Visit& visit) {
  bool channel_seen = false;
  for (const ChannelSpec& c : spec.channels) {
    channel_seen = channel_seen || c.name == channel;
    for (const SampleSpec& s : c.samples) {
      const bool wanted = c.name == channel && s.name == sample;
      visit(c, s, wanted);
      if (wanted) return;
    }
  }
  if (!channel_seen) not_found("channel", channel, "templates");
  not_found("sample", sample, channel);
}

bool belongs(const ModelSpec& spec, std::size_t parameter, const std::string& set) {
  return std::any_of(spec.sets.begin(), spec.sets.end(), [&](const ParameterSet& s) {
    return s.name == set && parameter >= s.first && parameter < s.first + s.size;
  });
}

}  // namespace

Range Systematics::nominal_range(const std::string& channel, const std::string& sample) const {
  Range range;
  visit_until(spec(), channel, sample, [&](const ChannelSpec& c, const SampleSpec&, bool wanted) {
    range.size = signed_size(c.n_bins);
    if (!wanted) range.first += range.size;
  });
  return range;
}

Range Systematics::histosys_range(const std::string& channel, const std::string& sample,
                                  const std::string& parameter) const {
  Range range;
  bool found = false;
  visit_until(spec(), channel, sample, [&](const ChannelSpec& c, const SampleSpec& s, bool wanted) {
    range.size = signed_size(c.n_bins);
    for (const HistosysTerm& t : s.histosys) {
      found = wanted && belongs(spec(), t.parameter, parameter);
      if (found) return;
      range.first += range.size;
    }
  });
  if (!found) not_found("histosys", parameter, channel + "/" + sample);
  return range;
}

Range Systematics::normsys_range(const std::string& channel, const std::string& sample,
                                 const std::string& parameter) const {
  Range range{0, 1};
  bool found = false;
  visit_until(spec(), channel, sample, [&](const ChannelSpec&, const SampleSpec& s, bool wanted) {
    for (const NormsysTerm& t : s.normsys) {
      found = wanted && belongs(spec(), t.parameter, parameter);
      if (found) return;
      ++range.first;
    }
  });
  if (!found) not_found("normsys", parameter, channel + "/" + sample);
  return range;
}

Range Systematics::uncertainty_range(const std::string& channel, const std::string& sample,
                                     const std::string& modifier) const {
  Range range;
  bool found = false;
  visit_until(spec(), channel, sample, [&](const ChannelSpec& c, const SampleSpec& s, bool wanted) {
    range.size = signed_size(c.n_bins);
    for (const BinwiseTerm& t : s.binwise) {
      if (!has_uncertainty(t)) continue;
      found = wanted && belongs(spec(), t.parameters.front(), modifier);
      if (found) return;
      range.first += range.size;
    }
  });
  if (!found) not_found("staterror or shapesys", modifier, channel + "/" + sample);
  return range;
}

Tensor Systematics::expected_samples(const Tensor& parameters, const Templates& t) const {
  const Indices& x = *indices_;
  if (parameters.dim() != 1 || parameters.size(0) != signed_size(x.spec.parameters.size()) ||
      parameters.scalar_type() != k_double) {
    throw Error(
        ErrorKind::model,
        "a float64 vector of " + std::to_string(x.spec.parameters.size()) + " parameters expected",
        "parameters");
  }
  Tensor rates = t.nominal;
  if (x.row_of_histosys.size(0) > 0) {
    const Tensor delta =
        histosys_delta(x.spec.histosys_code, parameters.index_select(0, x.parameter_of_histosys),
                       t.nominal.index_select(0, x.row_of_histosys), t.histosys_hi, t.histosys_lo);
    rates = rates.index_add(0, x.row_of_histosys, delta);
  }
  std::vector<Tensor> factors{parameters};
  if (x.parameter_of_normsys.size(0) > 0) {
    factors.push_back(normsys_factor(x.spec.normsys_code,
                                     parameters.index_select(0, x.parameter_of_normsys),
                                     t.normsys_hi, t.normsys_lo));
  }
  factors.push_back(at::ones({1}, parameters.options()));
  const Tensor pool = at::cat(factors);
  if (x.factors_of_sample.size(1) > 0) {
    const Tensor factor = pool.index_select(0, x.factors_of_sample.reshape({-1}))
                              .reshape(x.factors_of_sample.sizes())
                              .prod(1);
    rates = rates * factor.index_select(0, x.sample_of_row);
  }
  if (x.factors_of_row.size(1) > 0) {
    rates = rates * pool.index_select(0, x.factors_of_row.reshape({-1}))
                        .reshape(x.factors_of_row.sizes())
                        .prod(1);
  }
  return rates;
}

Tensor Systematics::expected(const Tensor& parameters, const Templates& templates) const {
  const Tensor rows = expected_samples(parameters, templates);
  const Tensor zero = at::zeros({signed_size(spec().n_bins())}, rows.options());
  return zero.index_add(0, indices_->bin_of_row, rows);
}

Tensor Systematics::constraint_scale(const Templates& t) const {
  const Indices& x = *indices_;
  Tensor scale = x.scale;
  if (x.staterror_parameter.size(0) > 0) {
    const Tensor zero = at::zeros({x.staterror_parameter.size(0)}, scale.options());
    const Tensor u = t.uncertainty.index_select(0, x.staterror_uncertainty);
    const Tensor variance = zero.index_add(0, x.staterror_entry_slot, u * u);
    const Tensor total =
        zero.index_add(0, x.staterror_entry_slot, t.nominal.index_select(0, x.staterror_row));
    // A bin that lost its uncertainty has no constraint to speak of; pyhf writes a width of 1.
    const Tensor good = (variance > 0.0) & (total > 0.0);
    const Tensor one = at::ones({1}, scale.options());
    const Tensor sigma = at::sqrt(at::where(good, variance, one)) / at::where(good, total, one);
    scale = scale.index_copy(0, x.staterror_parameter, sigma);
  }
  if (x.shapesys_parameter.size(0) > 0) {
    const Tensor u = t.uncertainty.index_select(0, x.shapesys_uncertainty);
    const Tensor n = t.nominal.index_select(0, x.shapesys_row);
    const Tensor good = (u > 0.0) & (n > 0.0);
    const Tensor one = at::ones({1}, scale.options());
    const Tensor ratio = at::where(good, n, one) / at::where(good, u, one);
    scale = scale.index_copy(0, x.shapesys_parameter, ratio * ratio);
  }
  return scale;
}

void Systematics::put_constraint_scales(ModelSpec& spec) const {
  if (!indices_->any_scale_follows) return;
  const std::size_t n = spec.parameters.size();
  Numbers total(n, 0.0), variance(n, 0.0);
  for (const ChannelSpec& channel : spec.channels) {
    for (const SampleSpec& sample : channel.samples) {
      for (const BinwiseTerm& term : sample.binwise) {
        if (!has_uncertainty(term)) continue;
        for (std::size_t b = 0; b < channel.n_bins; ++b) {
          total[term.parameters[b]] += sample.nominal[b];
          variance[term.parameters[b]] += term.uncertainty[b] * term.uncertainty[b];
        }
      }
    }
  }
  for (std::size_t i = 0; i < n; ++i) {
    if (!indices_->scale_follows[i]) continue;
    Parameter& p = spec.parameters[i];
    const bool good = variance[i] > 0.0 && total[i] > 0.0;
    if (p.constraint == ConstraintType::gaussian) {
      p.sigma = good ? std::sqrt(variance[i]) / total[i] : 1.0;
    } else {
      p.tau = good ? total[i] * total[i] / variance[i] : 1.0;
    }
  }
}

Systematics Systematics::to(const at::Device& device) const {
  auto x = std::make_shared<Indices>(*indices_);
  x->templates = x->templates.to(device);
  for (Tensor* t : {&x->bin_of_row, &x->sample_of_row, &x->row_of_histosys,
                    &x->parameter_of_histosys, &x->parameter_of_normsys, &x->factors_of_sample,
                    &x->factors_of_row, &x->scale, &x->staterror_parameter,
                    &x->staterror_entry_slot, &x->staterror_row, &x->staterror_uncertainty,
                    &x->shapesys_parameter, &x->shapesys_row, &x->shapesys_uncertainty}) {
    *t = t->to(device);
  }
  Systematics result(*this);
  result.indices_ = std::move(x);
  return result;
}

}  // namespace slalom
