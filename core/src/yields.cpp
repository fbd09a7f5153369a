// SPDX-License-Identifier: Apache-2.0
#include "slalom/core/yields.hpp"

#include <algorithm>
#include <boost/math/special_functions/gamma.hpp>
#include <cmath>
#include <numeric>
#include <optional>

#include "interpolation.hpp"

namespace slalom {

namespace {

using Number = detail::Jet<0>;

/// A scalar factor of a sample, its derivative, and by what.
struct Factor {
  std::size_t parameter;
  double value;
  double slope;
};

/// Product of all values but one; a factor may be zero.
template <typename Range, typename Value>
double product_without(const Range& range, std::size_t skip, const Value& value) {
  double product = 1.0;
  for (std::size_t i = 0; i < range.size(); ++i) {
    if (i != skip) product *= value(range[i]);
  }
  return product;
}

/// Derivatives of rates [rows][columns]; a column per parameter with an uncertainty.
class Jacobian {
 public:
  Jacobian(std::size_t rows, std::size_t columns)
      : columns_(columns), values_(rows * columns, 0.0) {}

  std::span<double> row(std::size_t i) {
    return std::span(values_).subspan(i * columns_, columns_);
  }
  std::size_t rows() const { return columns_ == 0 ? 0 : values_.size() / columns_; }
  /// Sum of all rows.
  std::vector<double> sum() {
    std::vector<double> result(columns_, 0.0);
    for (std::size_t i = 0; i < rows(); ++i) {
      const auto slopes = row(i);
      for (std::size_t j = 0; j < columns_; ++j) result[j] += slopes[j];
    }
    return result;
  }
  void operator+=(const Jacobian& other) {
    for (std::size_t i = 0; i < values_.size(); ++i) values_[i] += other.values_[i];
  }

 private:
  std::size_t columns_;
  std::vector<double> values_;
};

/// One sample at one point: rates are factor * yield[b] * (product of the per-bin factors).
class SampleSlopes {
 public:
  SampleSlopes(const ModelSpec& spec, const SampleSpec& sample, std::span<const double> theta)
      : spec_(spec), sample_(sample), theta_(theta), yield_(sample.nominal) {
    for (const HistosysTerm& term : sample.histosys) {
      const auto weights = weights_of(term);
      for (std::size_t b = 0; b < yield_.size(); ++b) {
        yield_[b] += combine(term, b, weights.s.value(), weights.w.value());
      }
    }
    for (const NormsysTerm& term : sample.normsys) {
      const auto f = detail::normsys_factor(spec.normsys_code, term, Number(theta[term.parameter]));
      factors_.push_back({term.parameter, f.value.value(), f.d_x.value()});
    }
    for (const FactorTerm& term : sample.factors) {
      factors_.push_back({term.parameter, theta[term.parameter], 1.0});
    }
  }

  /// \param column of a parameter [P]; none for those without an uncertainty
  Jacobian jacobian(const std::vector<std::optional<std::size_t>>& column,
                    std::size_t columns) const {
    Jacobian result(yield_.size(), columns);
    add_histosys(column, result);
    add_factors(column, result);
    add_binwise(column, result);
    return result;
  }

 private:
  using Columns = std::vector<std::optional<std::size_t>>;

  detail::HistosysWeights<0> weights_of(const HistosysTerm& term) const {
    return detail::histosys_weights(spec_.histosys_code, Number(theta_[term.parameter]));
  }
  double combine(const HistosysTerm& term, std::size_t b, double s, double w) const {
    const double nominal = sample_.nominal[b];
    const double even = (term.hi[b] - nominal) + (term.lo[b] - nominal);
    return 0.5 * s * (term.hi[b] - term.lo[b]) + w * even / 16.0;
  }
  double scalar(std::size_t skip) const {
    return product_without(factors_, skip, [](const Factor& f) { return f.value; });
  }
  double binwise(std::size_t b, std::size_t skip) const {
    return product_without(sample_.binwise, skip,
                           [&](const BinwiseTerm& t) { return theta_[t.parameters[b]]; });
  }

  void add_histosys(const Columns& column, Jacobian& result) const {
    const double all = scalar(k_none);
    for (const HistosysTerm& term : sample_.histosys) {
      if (!column[term.parameter]) continue;
      const auto weights = weights_of(term);
      for (std::size_t b = 0; b < yield_.size(); ++b) {
        result.row(b)[*column[term.parameter]] +=
            all * binwise(b, k_none) * combine(term, b, weights.ds.value(), weights.dw.value());
      }
    }
  }
  void add_factors(const Columns& column, Jacobian& result) const {
    for (std::size_t i = 0; i < factors_.size(); ++i) {
      if (!column[factors_[i].parameter]) continue;
      const double slope = scalar(i) * factors_[i].slope;
      for (std::size_t b = 0; b < yield_.size(); ++b) {
        result.row(b)[*column[factors_[i].parameter]] += slope * yield_[b] * binwise(b, k_none);
      }
    }
  }
  void add_binwise(const Columns& column, Jacobian& result) const {
    const double all = scalar(k_none);
    for (std::size_t i = 0; i < sample_.binwise.size(); ++i) {
      for (std::size_t b = 0; b < yield_.size(); ++b) {
        const auto at = column[sample_.binwise[i].parameters[b]];
        if (at) result.row(b)[*at] += all * yield_[b] * binwise(b, i);
      }
    }
  }

  static constexpr std::size_t k_none = static_cast<std::size_t>(-1);

  const ModelSpec& spec_;
  const SampleSpec& sample_;
  std::span<const double> theta_;
  std::vector<double> yield_;
  std::vector<Factor> factors_;
};

/// sqrt(v C v) for derivatives most of which are zero.
double error_of(std::span<const double> slopes, const Covariance& covariance) {
  std::vector<std::size_t> list;
  for (std::size_t i = 0; i < slopes.size(); ++i) {
    if (slopes[i] != 0.0) list.push_back(i);
  }
  double variance = 0.0;
  for (std::size_t a = 0; a < list.size(); ++a) {  // C is symmetric: half of it will do
    const double* line = covariance.matrix.data() + list[a] * slopes.size();
    double sum = 0.5 * line[list[a]] * slopes[list[a]];
    for (std::size_t b = 0; b < a; ++b) sum += line[list[b]] * slopes[list[b]];
    variance += 2.0 * slopes[list[a]] * sum;
  }
  return std::sqrt(std::max(variance, 0.0));
}

RateErrors zero_errors(const ModelSpec& spec) {
  RateErrors errors;
  errors.bins.assign(spec.n_bins(), 0.0);
  errors.channels.assign(spec.channels.size(), 0.0);
  for (const ChannelSpec& channel : spec.channels) {
    errors.sample_sums.resize(errors.sample_sums.size() + channel.samples.size(), 0.0);
    errors.samples.resize(errors.samples.size() + channel.samples.size() * channel.n_bins, 0.0);
  }
  return errors;
}

void check_size(std::size_t expected, std::size_t found, const char* what) {
  if (expected == found) return;
  throw Error(ErrorKind::model,
              std::to_string(expected) + " values expected, found " + std::to_string(found), what);
}

}  // namespace

Covariance prefit_covariance(const Model& model) {
  const ModelSpec& spec = model.spec();
  Covariance result;
  result.valid = true;
  result.errors.assign(spec.parameters.size(), 0.0);
  for (std::size_t i = 0; i < spec.parameters.size(); ++i) {
    const Parameter& p = spec.parameters[i];
    if (p.fixed || p.constraint == ConstraintType::none) continue;
    result.errors[i] = p.prefit_uncertainty();
    result.parameters.push_back(i);
  }
  const std::size_t n = result.parameters.size();
  result.matrix.assign(n * n, 0.0);
  for (std::size_t k = 0; k < n; ++k) {
    const double error = result.errors[result.parameters[k]];
    result.matrix[k * n + k] = error * error;
  }
  return result;
}

RateErrors rate_errors(const Model& model, std::span<const double> parameters,
                       const Covariance& covariance) {
  const ModelSpec& spec = model.spec();
  check_size(model.n_parameters(), parameters.size(), "parameters");
  RateErrors errors = zero_errors(spec);
  const std::size_t n = covariance.parameters.size();
  if (!covariance.valid || n == 0 || covariance.matrix.size() != n * n) return errors;
  std::vector<std::optional<std::size_t>> column(spec.parameters.size());
  for (std::size_t k = 0; k < n; ++k) column[covariance.parameters[k]] = k;
  auto next_bin = errors.samples.begin();
  auto next_sum = errors.sample_sums.begin();
  const auto write_bins = [&](Jacobian& slopes, std::vector<double>::iterator& to) {
    for (std::size_t b = 0; b < slopes.rows(); ++b) *to++ = error_of(slopes.row(b), covariance);
  };
  std::vector<double> all(n, 0.0);
  for (std::size_t c = 0; c < spec.channels.size(); ++c) {
    const ChannelSpec& channel = spec.channels[c];
    Jacobian total(channel.n_bins, n);
    for (const SampleSpec& sample : channel.samples) {
      Jacobian slopes = SampleSlopes(spec, sample, parameters).jacobian(column, n);
      write_bins(slopes, next_bin);
      *next_sum++ = error_of(slopes.sum(), covariance);
      total += slopes;
    }
    auto bin = errors.bins.begin() + static_cast<std::ptrdiff_t>(channel.first_bin);
    write_bins(total, bin);
    const std::vector<double> sum = total.sum();
    errors.channels[c] = error_of(sum, covariance);
    for (std::size_t j = 0; j < n; ++j) all[j] += sum[j];
  }
  errors.total = error_of(all, covariance);
  return errors;
}

namespace {

SampleYields sample_yields(const std::string& name, std::span<const double> rates,
                           std::span<const double> errors, double error_of_sum) {
  SampleYields result{name, {}, {std::accumulate(rates.begin(), rates.end(), 0.0), error_of_sum}};
  for (std::size_t b = 0; b < rates.size(); ++b) result.bins.push_back({rates[b], errors[b]});
  return result;
}

}  // namespace

std::vector<ChannelYields> yields(const Model& model, std::span<const double> parameters,
                                  const Covariance& covariance, std::span<const double> data) {
  const ModelSpec& spec = model.spec();
  if (data.size() < spec.n_bins()) check_size(spec.n_bins(), data.size(), "data");
  const RateErrors errors = rate_errors(model, parameters, covariance);
  Evaluator evaluator(model);
  std::vector<double> rates(errors.samples.size());
  evaluator.expected_samples(parameters, rates);
  std::vector<double> totals(spec.n_bins());
  evaluator.expected_main(parameters, totals);
  std::vector<ChannelYields> result;
  std::size_t bin = 0;
  std::size_t row = 0;
  for (std::size_t c = 0; c < spec.channels.size(); ++c) {
    const ChannelSpec& channel = spec.channels[c];
    const std::size_t n = channel.n_bins;
    ChannelYields yields{channel.name, {}, {}, {}, 0.0};
    for (const SampleSpec& sample : channel.samples) {
      yields.samples.push_back(sample_yields(sample.name, std::span(rates).subspan(bin, n),
                                             std::span(errors.samples).subspan(bin, n),
                                             errors.sample_sums[row++]));
      bin += n;
    }
    yields.total =
        sample_yields("", std::span(totals).subspan(channel.first_bin, n),
                      std::span(errors.bins).subspan(channel.first_bin, n), errors.channels[c]);
    const auto observed = data.subspan(channel.first_bin, n);
    yields.data.assign(observed.begin(), observed.end());
    yields.data_sum = std::accumulate(observed.begin(), observed.end(), 0.0);
    result.push_back(std::move(yields));
  }
  return result;
}

std::pair<double, double> poisson_interval(double count, double level) {
  const double tail = 0.5 * (1.0 - level);
  const double lower = count > 0.0 ? boost::math::gamma_p_inv(count, tail) : 0.0;
  return {lower, boost::math::gamma_q_inv(count + 1.0, tail)};
}

}  // namespace slalom
