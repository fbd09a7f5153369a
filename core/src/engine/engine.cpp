// SPDX-License-Identifier: Apache-2.0
#include "engine/engine.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <math.h>  // NOLINT(modernize-deprecated-headers): lgamma_r is not in <cmath>
#include <numbers>
#include <string>

namespace slalom::detail {

namespace {

constexpr double k_infinity = std::numeric_limits<double>::infinity();
/// Up to this number of bins, lanes run over parameters instead of bins.
constexpr std::size_t k_narrow_bins = 3;

/// Coefficients of the polynomial of code4 between -1 and 1, rising powers.
/// \param lh logarithm of hi
/// \param ll logarithm of lo
void code4_polynomial(double hi, double lo, double lh, double ll, double c[7]) {
  const double s0 = 0.5 * ((hi - 1.0) + (lo - 1.0)), a0 = 0.5 * ((hi - 1.0) - (lo - 1.0));
  const double d1 = hi * lh, d0 = -lo * ll;  // first derivatives at +1 and -1
  const double s1 = 0.5 * (d1 + d0), a1 = 0.5 * (d1 - d0);
  const double e1 = hi * lh * lh, e0 = lo * ll * ll;  // second derivatives
  const double s2 = 0.5 * (e1 + e0), a2 = 0.5 * (e1 - e0);
  // The odd part has value a0, slope s1 and curvature a2 at 1; the even part s0, a1 and s2.
  c[0] = 1.0;
  c[1] = (15.0 * a0 - 7.0 * s1 + a2) / 8.0;
  c[3] = (-10.0 * a0 + 10.0 * s1 - 2.0 * a2) / 8.0;
  c[5] = (3.0 * a0 - 3.0 * s1 + a2) / 8.0;
  c[2] = (24.0 * s0 - 9.0 * a1 + s2) / 8.0;
  c[4] = (-24.0 * s0 + 14.0 * a1 - 2.0 * s2) / 8.0;
  c[6] = (8.0 * s0 - 5.0 * a1 + s2) / 8.0;
}

/// Fills the arrays of an Engine from its specification.
class Compiler {
 public:
  explicit Compiler(Engine& engine) : e_(engine), spec_(engine.spec) {}

  void run() {
    check();
    note_acting(e_.acting);
    place_parameters();
    for (const ChannelSpec& channel : spec_.channels) add_channel(channel);
    finish();
    fill();
  }

  /// See Engine::refill().
  bool rerun() {
    check();
    std::vector<bool> acting;
    acting.reserve(e_.acting.size());
    note_acting(acting);
    if (acting != e_.acting) return false;
    fill();
    return true;
  }

 private:
  /// A wrong index or length here would be undefined behaviour in the kernels.
  void check() const {
    std::size_t bins = 0;
    const auto fail = [](const std::string& what) {
      throw Error(ErrorKind::model, "inconsistent model specification: " + what);
    };
    for (const ChannelSpec& channel : spec_.channels) {
      if (channel.first_bin != bins) fail("first_bin of channel " + channel.name);
      bins += channel.n_bins;
      for (const SampleSpec& sample : channel.samples) {
        check_sample(channel, sample, fail);
      }
    }
    if (bins != spec_.observed.size()) fail("number of observed bins");
  }

  template <typename Fail>
  void check_sample(const ChannelSpec& channel, const SampleSpec& sample, const Fail& fail) const {
    const std::size_t n = channel.n_bins, p = spec_.parameters.size();
    bool ok = sample.nominal.size() == n;
    for (const HistosysTerm& t : sample.histosys) {
      ok = ok && t.parameter < p && t.hi.size() == n && t.lo.size() == n;
    }
    for (const NormsysTerm& t : sample.normsys) ok = ok && t.parameter < p && t.hi > 0 && t.lo > 0;
    for (const FactorTerm& t : sample.factors) ok = ok && t.parameter < p;
    for (const BinwiseTerm& t : sample.binwise) {
      ok = ok && t.parameters.size() == n;
      for (std::size_t i : t.parameters) ok = ok && i < p;
    }
    if (!ok) fail("sample " + sample.name + " of channel " + channel.name);
  }

  /// Local are staterror and shapesys parameters, except where a sample has two of them: their
  /// product cannot be profiled in closed form, so all but the first become shared parameters.
  void place_parameters() {
    std::vector<bool> local(spec_.parameters.size(), false);
    for (const ChannelSpec& channel : spec_.channels) {
      for (const SampleSpec& sample : channel.samples) {
        for (const BinwiseTerm& term : sample.binwise) {
          for (std::size_t p : term.parameters) local[p] = term.type != ModifierType::shapefactor;
        }
      }
    }
    for (const ChannelSpec& channel : spec_.channels) {
      for (const SampleSpec& sample : channel.samples) demote_all_but_first(sample, local);
    }
    e_.places.resize(spec_.parameters.size());
    e_.shared.reserve(spec_.parameters.size());
    for (std::size_t i = 0; i < spec_.parameters.size(); ++i) {
      if (local[i]) {
        e_.places[i] = {true, k_no_parameter};
      } else {
        e_.places[i] = {false, e_.shared.size()};
        e_.shared.push_back(i);
      }
    }
    slot_of_.assign(e_.shared.size(), k_no_slot);
  }

  static void demote_all_but_first(const SampleSpec& sample, std::vector<bool>& local) {
    bool seen = false;
    for (const BinwiseTerm& term : sample.binwise) {
      if (term.parameters.empty() || !local[term.parameters.front()]) continue;
      if (seen) {
        for (std::size_t p : term.parameters) local[p] = false;
      }
      seen = true;
    }
  }

  std::size_t shared_index(std::size_t parameter) const { return e_.places[parameter].index; }

  void add_channel(const ChannelSpec& channel) {
    ChannelLayout c{};
    c.n_bins = channel.n_bins;
    c.nb = padded(channel.n_bins);
    c.bin0 = n_bins_padded_;
    n_bins_padded_ += c.nb;
    c.data0 = channel.first_bin;
    c.row_begin = e_.rows.size();
    c.row_end = c.row_begin + channel.samples.size();
    c.narrow = channel.n_bins <= k_narrow_bins;
    c.local_begin = e_.local.size();
    c.group_begin = e_.local_kind.size();
    const std::vector<std::ptrdiff_t> groups = add_groups(channel, c);
    add_slots(channel, c);
    for (std::size_t i = 0; i < channel.samples.size(); ++i) {
      add_row(channel.samples[i], c, groups[i]);
    }
    for (std::size_t i = c.slot_begin; i < e_.slot_param.size(); ++i) {
      slot_of_[e_.slot_param[i]] = k_no_slot;
    }
    if (c.narrow) {
      c.sum_begin = n_sums_ = padded(n_sums_);  // stored as whole vectors; wide rows are not
      n_sums_ += c.n_histosys * channel.samples.size();
    }
    const std::size_t stride = padded(c.n_slots);
    const std::size_t jacobians = c.n_groups + 1;
    e_.jacobian_size = std::max(e_.jacobian_size, jacobians * stride * c.nb);
    const std::size_t depth = c.n_bins * jacobians + 2 * channel.samples.size() + 2;
    e_.product_rows_size = std::max(e_.product_rows_size, depth * stride);
    e_.arrays.max_slots = std::max(e_.arrays.max_slots, stride);
    e_.arrays.max_bins = std::max(e_.arrays.max_bins, c.nb);
    e_.arrays.max_rows = std::max(e_.arrays.max_rows, channel.samples.size());
    e_.arrays.max_groups = std::max(e_.arrays.max_groups, c.n_groups);
    e_.channels.push_back(c);
  }

  /// Groups of samples that share local parameters; returns the group of each sample.
  std::vector<std::ptrdiff_t> add_groups(const ChannelSpec& channel, ChannelLayout& c) {
    std::vector<std::size_t> first_parameters;  // of each group
    std::vector<std::ptrdiff_t> result;
    result.reserve(channel.samples.size());
    for (const SampleSpec& sample : channel.samples) {
      std::ptrdiff_t group = -1;
      for (const BinwiseTerm& term : sample.binwise) {
        if (!e_.places[term.parameters.front()].local) continue;
        const auto found =
            std::find(first_parameters.begin(), first_parameters.end(), term.parameters.front());
        group = found - first_parameters.begin();
        if (found != first_parameters.end()) continue;
        first_parameters.push_back(term.parameters.front());
        add_group(term, c);
      }
      c.has_unscaled = c.has_unscaled || group < 0;
      result.push_back(group);
    }
    return result;
  }

  void add_group(const BinwiseTerm& term, ChannelLayout& c) {
    const bool poisson =
        spec_.parameters[term.parameters.front()].constraint == ConstraintType::poisson;
    e_.local_kind.push_back(poisson ? LocalKind::poisson : LocalKind::gaussian);
    for (std::size_t b = 0; b < c.nb; ++b) {
      const std::size_t p = b < c.n_bins ? term.parameters[b] : k_no_parameter;
      if (p != k_no_parameter) e_.places[p].index = e_.local.size();
      e_.local.push_back(p);
      e_.local_bin.push_back(c.bin0 + b);
    }
    ++c.n_groups;
  }

  static double half_difference(const HistosysTerm& term, std::size_t b) {
    return 0.5 * (term.hi[b] - term.lo[b]);
  }

  static double asymmetry(const HistosysTerm& term, const SampleSpec& sample, std::size_t b) {
    return ((term.hi[b] - sample.nominal[b]) + (term.lo[b] - sample.nominal[b])) / 16.0;
  }

  static bool acts(const HistosysTerm& term, const SampleSpec& sample) {
    for (std::size_t b = 0; b < term.hi.size(); ++b) {
      if (half_difference(term, b) != 0.0 || asymmetry(term, sample, b) != 0.0) return true;
    }
    return false;
  }

  static bool acts(const NormsysTerm& term) { return term.hi != 1.0 || term.lo != 1.0; }

  /// Notes a shared parameter that acts on the channel.
  void need_slot(std::size_t parameter, std::vector<std::size_t>& list) {
    const std::size_t p = shared_index(parameter);
    if (slot_of_[p] != k_no_slot) return;
    slot_of_[p] = 0;  // its number is known later
    list.push_back(p);
  }

  void number_slots(std::vector<std::size_t>& list, ChannelLayout& c) {
    std::sort(list.begin(), list.end());
    for (const std::size_t p : list) {
      slot_of_[p] = c.n_slots++;
      e_.slot_param.push_back(p);
    }
  }

  /// Shared parameters that act on a channel: sorted, except that a narrow channel has its histosys
  /// first, padded with entries that do nothing.
  void add_slots(const ChannelSpec& channel, ChannelLayout& c) {
    std::vector<std::size_t> histosys, others;
    for (const SampleSpec& sample : channel.samples) {
      for (const HistosysTerm& t : sample.histosys) {
        if (acts(t, sample)) need_slot(t.parameter, c.narrow ? histosys : others);
      }
    }
    for (const SampleSpec& sample : channel.samples) {
      for (const NormsysTerm& t : sample.normsys) {
        if (acts(t)) need_slot(t.parameter, others);
      }
      for (const FactorTerm& t : sample.factors) need_slot(t.parameter, others);
      for (const BinwiseTerm& t : sample.binwise) {
        if (e_.places[t.parameters.front()].local) continue;
        for (std::size_t p : t.parameters) need_slot(p, others);
      }
    }
    c.slot_begin = e_.slot_param.size();
    c.histosys_begin = e_.histosys_param.size();
    number_slots(histosys, c);
    if (c.narrow) {
      c.n_histosys = padded(c.n_slots);
      for (; c.n_slots < c.n_histosys; ++c.n_slots) e_.slot_param.push_back(0);
      for (std::size_t h = 0; h < c.n_histosys; ++h) {
        e_.histosys_param.push_back(e_.slot_param[c.slot_begin + h]);
        e_.histosys_slot.push_back(h);
      }
    }
    number_slots(others, c);
  }

  /// Which variations have an effect: the others are not stored.
  void note_acting(std::vector<bool>& acting) const {
    for (const ChannelSpec& channel : spec_.channels) {
      for (const SampleSpec& sample : channel.samples) {
        for (const HistosysTerm& t : sample.histosys) acting.push_back(acts(t, sample));
        for (const NormsysTerm& t : sample.normsys) acting.push_back(acts(t));
      }
    }
  }

  void add_row(const SampleSpec& sample, const ChannelLayout& c, std::ptrdiff_t group) {
    Row row{};
    row.group = group;
    row.offset = e_.nominal.size();
    e_.nominal.resize(row.offset + c.nb, 0.0);
    row.coefficients = e_.coefficients.size();
    if (c.narrow) {
      add_narrow_coefficients(sample, c);
    } else {
      add_wide_coefficients(sample, c, row);
    }
    add_entries(sample, row);
    add_binwise(sample, row);
    e_.rows.push_back(row);
  }

  void add_wide_coefficients(const SampleSpec& sample, const ChannelLayout& c, Row& row) {
    // Sums are numbered as the histosys are, so both lists grow together.
    row.histosys_begin = n_sums_ = std::max(n_sums_, e_.histosys_param.size());
    e_.histosys_param.resize(n_sums_, 0);
    e_.histosys_slot.resize(n_sums_, 0);
    for (const HistosysTerm& term : sample.histosys) {
      if (!acts(term, sample)) continue;
      const std::size_t p = shared_index(term.parameter);
      e_.histosys_param.push_back(p);
      e_.histosys_slot.push_back(slot_of_[p]);
      e_.coefficients.resize(e_.coefficients.size() + 2 * c.nb, 0.0);
      ++row.n_histosys;
      ++n_sums_;
    }
  }

  void add_narrow_coefficients(const SampleSpec& sample, const ChannelLayout& c) {
    e_.coefficients.resize(e_.coefficients.size() + 2 * c.n_bins * c.n_histosys, 0.0);
    for (const HistosysTerm& term : sample.histosys) {
      if (acts(term, sample)) e_.narrow_slot.push_back(slot_of_[shared_index(term.parameter)]);
    }
  }

  void add_entry(std::size_t param, std::size_t slot) {
    if (e_.entry_param.size() % k_lanes == 0) {
      e_.entry_poly.resize(e_.entry_poly.size() + 7 * k_lanes, 0.0);
    }
    e_.entry_param.push_back(param);
    e_.entry_slot.push_back(slot);
    e_.entry_limit.push_back(k_infinity);
    e_.entry_log_hi.push_back(0.0);
    e_.entry_log_lo.push_back(0.0);
  }

  void set_polynomial(std::size_t entry, const double (&poly)[7]) {
    const std::size_t lane = entry % k_lanes;
    for (std::size_t k = 0; k < 7; ++k) {
      e_.entry_poly[7 * (entry - lane) + k * k_lanes + lane] = poly[k];
    }
  }

  void add_entries(const SampleSpec& sample, Row& row) {
    row.entry_begin = e_.entry_param.size();
    for (const NormsysTerm& term : sample.normsys) {
      if (!acts(term)) continue;
      const std::size_t p = shared_index(term.parameter);
      add_entry(p, slot_of_[p]);
    }
    for (const FactorTerm& term : sample.factors) {
      const std::size_t p = shared_index(term.parameter);
      add_entry(p, slot_of_[p]);
      set_polynomial(e_.entry_param.size() - 1, {0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0});
    }
    while (e_.entry_param.size() % k_lanes != 0) {
      add_entry(0, 0);
      set_polynomial(e_.entry_param.size() - 1, {1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0});
    }
    row.entry_end = e_.entry_param.size();
  }

  void add_binwise(const SampleSpec& sample, Row& row) {
    row.binwise_begin = e_.binwise.size();
    for (const BinwiseTerm& term : sample.binwise) {
      if (e_.places[term.parameters.front()].local) continue;
      e_.binwise.push_back({e_.binwise_param.size(), e_.binwise_slot.size()});
      for (std::size_t parameter : term.parameters) {
        const std::size_t p = shared_index(parameter);
        e_.binwise_param.push_back(p);
        e_.binwise_slot.push_back(slot_of_[p]);
      }
    }
    row.binwise_end = e_.binwise.size();
  }

  void finish() {
    EngineArrays& m = e_.arrays;
    m.n_shared = e_.shared.size();
    m.ld = std::max(padded(m.n_shared), k_lanes);
    m.n_bins_padded = n_bins_padded_;
    m.n_rows = e_.rows.size();
    m.n_entries = e_.entry_param.size();
    m.n_channels = e_.channels.size();
    m.n_local = e_.local.size();
    m.n_histosys_sum = std::max(n_sums_, e_.histosys_param.size());
    m.n_yield = e_.nominal.size();
    e_.n_coefficients = e_.coefficients.size();
    e_.shared_weight.assign(m.ld, 0.0);
    e_.shared_tau.assign(m.ld, 0.0);
    set_pointers();
  }

  // --- numbers, once everything has its place

  void fill() {
    next_narrow_slot_ = 0;
    for (std::size_t i = 0; i < spec_.channels.size(); ++i) {
      const ChannelLayout& c = e_.channels[i];
      for (std::size_t k = 0; k < spec_.channels[i].samples.size(); ++k) {
        fill_row(spec_.channels[i].samples[k], c, e_.rows[c.row_begin + k]);
      }
    }
    for (std::size_t i = 0; i < e_.shared.size(); ++i) {
      const Parameter& p = spec_.parameters[e_.shared[i]];
      if (p.constraint == ConstraintType::gaussian) e_.shared_weight[i] = 1.0 / (p.sigma * p.sigma);
      if (p.constraint == ConstraintType::poisson) e_.shared_tau[i] = p.tau;
    }
    e_.gaussian_constant = 0.0;
    for (const Parameter& p : spec_.parameters) {
      if (p.constraint != ConstraintType::gaussian) continue;
      e_.gaussian_constant += std::log(p.sigma) + 0.5 * std::log(2.0 * std::numbers::pi);
    }
  }

  void fill_row(const SampleSpec& sample, const ChannelLayout& c, const Row& row) {
    std::copy(sample.nominal.begin(), sample.nominal.end(), e_.nominal.data() + row.offset);
    double* coefficients = e_.coefficients.data() + row.coefficients;
    if (c.narrow) {
      std::fill_n(coefficients, 2 * c.n_bins * c.n_histosys, 0.0);
      fill_narrow(sample, c, coefficients);
    } else {
      fill_wide(sample, c, coefficients);
    }
    fill_normsys(sample, row);
  }

  static void fill_wide(const SampleSpec& sample, const ChannelLayout& c, double* to) {
    for (const HistosysTerm& term : sample.histosys) {
      if (!acts(term, sample)) continue;
      for (std::size_t b = 0; b < c.n_bins; ++b) {
        to[b] = half_difference(term, b);
        to[c.nb + b] = asymmetry(term, sample, b);
      }
      to += 2 * c.nb;
    }
  }

  void fill_narrow(const SampleSpec& sample, const ChannelLayout& c, double* to) {
    for (const HistosysTerm& term : sample.histosys) {
      if (!acts(term, sample)) continue;
      const std::size_t slot = e_.narrow_slot[next_narrow_slot_++];
      for (std::size_t b = 0; b < c.n_bins; ++b) {
        to[2 * b * c.n_histosys + slot] += half_difference(term, b);
        to[(2 * b + 1) * c.n_histosys + slot] += asymmetry(term, sample, b);
      }
    }
  }

  void fill_normsys(const SampleSpec& sample, const Row& row) {
    const bool code4 = spec_.normsys_code == NormsysCode::code4;
    std::size_t entry = row.entry_begin;
    for (const NormsysTerm& term : sample.normsys) {
      if (!acts(term)) continue;
      double poly[7] = {1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0};
      const double log_hi = std::log(term.hi), log_lo = std::log(term.lo);
      if (code4) code4_polynomial(term.hi, term.lo, log_hi, log_lo, poly);
      set_polynomial(entry, poly);
      e_.entry_limit[entry] = code4 ? 1.0 : 0.0;
      e_.entry_log_hi[entry] = log_hi;
      e_.entry_log_lo[entry] = log_lo;
      ++entry;
    }
  }

  void set_pointers() {
    EngineArrays& m = e_.arrays;
    m.channels = e_.channels.data();
    m.rows = e_.rows.data();
    m.nominal = e_.nominal.data();
    m.coefficients = e_.coefficients.data();
    m.histosys_param = e_.histosys_param.data();
    m.histosys_slot = e_.histosys_slot.data();
    m.slot_param = e_.slot_param.data();
    m.histosys_code = spec_.histosys_code == HistosysCode::code4p  ? 4
                      : spec_.histosys_code == HistosysCode::code0 ? 0
                                                                   : 2;
    m.entry_param = e_.entry_param.data();
    m.entry_slot = e_.entry_slot.data();
    m.entry_poly = e_.entry_poly.data();
    m.entry_limit = e_.entry_limit.data();
    m.entry_log_hi = e_.entry_log_hi.data();
    m.entry_log_lo = e_.entry_log_lo.data();
    m.binwise = e_.binwise.data();
    m.binwise_param = e_.binwise_param.data();
    m.binwise_slot = e_.binwise_slot.data();
    m.local_kind = e_.local_kind.data();
    m.shared_weight = e_.shared_weight.data();
    m.shared_tau = e_.shared_tau.data();
  }

  static constexpr std::size_t k_no_slot = static_cast<std::size_t>(-1);

  Engine& e_;
  const ModelSpec& spec_;
  std::vector<std::size_t> slot_of_;  ///< of each shared parameter in the channel at hand
  std::size_t n_bins_padded_ = 0;
  std::size_t n_sums_ = 0;
  std::size_t next_narrow_slot_ = 0;
};

}  // namespace

double stirling_remainder(double n) {
  if (n <= 0.0) return 0.0;
  if (n < 30.0) {
    int sign = 0;
    return ::lgamma_r(n + 1.0, &sign) - n * std::log(n) + n;
  }
  const double i = 1.0 / n, i2 = i * i;
  return 0.5 * std::log(2.0 * std::numbers::pi * n) +
         i * (1.0 / 12.0 - i2 * (1.0 / 360.0 - i2 * (1.0 / 1260.0 - i2 / 1680.0)));
}

Engine::Engine(ModelSpec model_spec) : spec(std::move(model_spec)), kernels(&detail::kernels()) {
  Compiler(*this).run();
}

bool Engine::refill() { return Compiler(*this).rerun(); }

EngineState::EngineState(const Engine& e, bool second_order) : engine(e) {
  const EngineArrays& m = e.arrays;
  const std::size_t bins = m.n_bins_padded, local = m.n_local;
  const std::size_t entries = m.n_entries, rows = padded(m.n_rows), sums = padded(m.n_histosys_sum);
  const std::size_t slots = m.max_slots;
  const std::size_t matrix = second_order ? 1 : 0;
  struct Request {
    double** place;
    std::size_t size;
  };
  const Request requests[] = {{&arrays.n, bins},
                              {&arrays.shared_centre, m.ld},
                              {&arrays.edge_force, bins},
                              {&arrays.local_centre, local},
                              {&arrays.local_sigma2, local},
                              {&arrays.local_weight, local},
                              {&arrays.local_lower, local},
                              {&arrays.local_upper, local},
                              {&arrays.theta, m.ld},
                              {&arrays.gamma, local},
                              {&arrays.s, m.ld},
                              {&arrays.w, m.ld},
                              {&arrays.w1, m.ld},
                              {&arrays.w2, m.ld},
                              {&arrays.f, entries},
                              {&arrays.f1, entries},
                              {&arrays.f2, entries},
                              {&arrays.factor, rows},
                              {&arrays.sum, rows},
                              {&arrays.yield, m.n_yield},
                              {&arrays.binwise_product, m.n_yield},
                              {&arrays.histosys_sum, sums},
                              {&arrays.histosys_sum_a, sums},
                              {&arrays.unscaled, bins},
                              {&arrays.group_yield, local},
                              {&arrays.rate, bins},
                              {&arrays.t, bins},
                              {&arrays.weight, bins},
                              {&arrays.e, local},
                              {&arrays.d, local},
                              {&arrays.gradient, m.ld},
                              {&arrays.local_gradient, local},
                              {&arrays.hessian, matrix * m.ld * m.ld},
                              {&arrays.c, m.max_bins},
                              {&arrays.narrow_values, 4 * slots},
                              {&arrays.jacobian, matrix * e.jacobian_size},
                              {&arrays.left, matrix * e.product_rows_size},
                              {&arrays.right, matrix * e.product_rows_size},
                              {&arrays.product, second_order ? slots * slots : slots},
                              {&arrays.outer, matrix * slots * slots},
                              {&arrays.diagonal, slots}};
  std::size_t total = 0;
  const auto rounded = [](std::size_t n) { return (n + 7) / 8 * 8; };  // keep cache lines apart
  for (const Request& r : requests) total += rounded(r.size);
  memory.assign(total, 0.0);
  double* next = memory.data();
  for (const Request& r : requests) {
    *r.place = next;
    next += rounded(r.size);
  }
  row_factors.resize(m.max_rows);
  arrays.row_factors = row_factors.data();
  refresh();
}

void EngineState::refresh() {
  reset_local_bounds();
  set_data(engine.spec.data());
}

void EngineState::reset_local_bounds() {
  for (std::size_t i = 0; i < engine.local.size(); ++i) {
    const std::size_t index = engine.local[i];
    if (index == k_no_parameter) {  // padding: held at 1, no constraint
      arrays.local_lower[i] = arrays.local_upper[i] = arrays.gamma[i] = 1.0;
      arrays.local_centre[i] = 1.0;
      arrays.local_sigma2[i] = arrays.local_weight[i] = 0.0;
      continue;
    }
    const Parameter& p = engine.spec.parameters[index];
    const bool poisson = p.constraint == ConstraintType::poisson;
    arrays.local_sigma2[i] = poisson ? p.tau : p.sigma * p.sigma;
    arrays.local_weight[i] = poisson ? p.tau : 1.0 / (p.sigma * p.sigma);
    arrays.local_lower[i] = p.fixed ? p.init : p.lower;
    arrays.local_upper[i] = p.fixed ? p.init : p.upper;
    arrays.gamma[i] = p.init;
  }
}

void EngineState::set_data(std::span<const double> values) {
  const ModelSpec& spec = engine.spec;
  const std::size_t n_bins = spec.n_bins();
  if (values.size() != n_bins + spec.auxiliary.size()) {
    throw Error(ErrorKind::model, "data: " + std::to_string(n_bins + spec.auxiliary.size()) +
                                      " values expected, found " + std::to_string(values.size()));
  }
  for (std::size_t i = 0; i < values.size(); ++i) {
    const bool counts = i < n_bins || spec.parameters[spec.auxiliary[i - n_bins]].constraint ==
                                          ConstraintType::poisson;
    if (std::isfinite(values[i]) && (!counts || values[i] >= 0.0)) continue;
    throw Error(ErrorKind::model, "data must be finite, and counts not negative",
                "data/" + std::to_string(i));
  }
  data.assign(values.begin(), values.end());
  double constant = engine.gaussian_constant;
  for (const ChannelLayout& c : engine.channels) {
    for (std::size_t b = 0; b < c.n_bins; ++b) {
      arrays.n[c.bin0 + b] = values[c.data0 + b];
      constant += stirling_remainder(values[c.data0 + b]);
    }
  }
  for (std::size_t i = 0; i < spec.auxiliary.size(); ++i) {
    const double a = values[n_bins + i];
    const std::size_t parameter = spec.auxiliary[i];
    const ParameterPlace place = engine.places[parameter];
    (place.local ? arrays.local_centre : arrays.shared_centre)[place.index] = a;
    if (spec.parameters[parameter].constraint == ConstraintType::poisson) {
      constant += stirling_remainder(a);
    }
  }
  arrays.constant = constant;
}

void EngineState::set_parameters(std::span<const double> parameters) {
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const ParameterPlace place = engine.places[i];
    (place.local ? arrays.gamma : arrays.theta)[place.index] = parameters[i];
  }
}

void EngineState::need_coupling() {
  if (coupling.empty()) coupling.assign(engine.arrays.n_local * engine.arrays.ld, 0.0);
  arrays.coupling = coupling.data();
}

}  // namespace slalom::detail
