// SPDX-License-Identifier: Apache-2.0
#include "slalom/core/model_spec.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <numeric>
#include <set>
#include <unordered_map>
#include <utility>

#include "spec_builder.hpp"

namespace slalom {

double Parameter::prefit_uncertainty() const {
  if (constraint == ConstraintType::gaussian) return sigma;
  if (constraint == ConstraintType::poisson) return 1.0 / std::sqrt(tau);
  return 0.0;
}

std::optional<std::size_t> ModelSpec::find(const std::string& name) const {
  for (const ParameterSet& set : sets) {
    if (name.compare(0, set.name.size(), set.name) != 0) continue;
    if (name.size() == set.name.size() && set.size == 1) return set.first;
    for (std::size_t i = 0; i < set.size; ++i) {
      if (name == set.name + "[" + std::to_string(i) + "]") return set.first + i;
    }
  }
  return std::nullopt;
}

std::vector<double> ModelSpec::initial() const {
  std::vector<double> values(parameters.size());
  std::transform(parameters.begin(), parameters.end(), values.begin(),
                 [](const Parameter& p) { return p.init; });
  return values;
}

std::vector<double> ModelSpec::data() const {
  std::vector<double> values = observed;
  for (std::size_t i : auxiliary) values.push_back(parameters[i].auxdata);
  return values;
}

namespace {

using detail::NameTable;
using detail::PreparedChannel;
using detail::PreparedSample;
using detail::PreparedWorkspace;

constexpr std::array<ModifierType, 7> k_parameter_order = {
    ModifierType::histosys, ModifierType::lumi,        ModifierType::normfactor,
    ModifierType::normsys,  ModifierType::shapefactor, ModifierType::shapesys,
    ModifierType::staterror};

/// Factors at or below zero have no exponential interpolation; this is used instead, as published
/// workspaces do by themselves. parse_workspace warns about them.
constexpr double k_smallest_factor = 0.01;

constexpr std::uint32_t k_none = static_cast<std::uint32_t>(-1);

/// A modifier together with the sample that carries it.
struct Use {
  const PreparedChannel* channel;
  std::size_t sample;  ///< in the channel
  const Modifier* modifier;
  std::uint32_t name;

  const Sample& carrier() const { return *channel->samples[sample]->sample; }
};

std::string quoted(const std::string& text) { return "'" + text + "'"; }

bool is_interpolated(ModifierType type) {
  return type == ModifierType::histosys || type == ModifierType::normsys;
}

[[noreturn]] void fail(const std::string& message, const std::string& where) {
  throw Error(ErrorKind::model, message, where);
}

std::string path_of(const Use& use) {
  const std::size_t index = static_cast<std::size_t>(use.modifier - use.carrier().modifiers.data());
  return "/channels/" + std::to_string(use.channel->place) + "/samples/" +
         std::to_string(use.channel->sample_places[use.sample]) + "/modifiers/" +
         std::to_string(index);
}

/// Which of its values a measurement may configure for a parameter set.
struct Configurable {
  bool auxdata = false, sigmas = false, factors = false;
};

Configurable configurable(ModifierType type) {
  switch (type) {
    case ModifierType::histosys:
    case ModifierType::normsys:
      return {true, false, false};
    case ModifierType::lumi:
    case ModifierType::staterror:
      return {true, true, false};
    case ModifierType::shapesys:
      return {true, false, true};
    case ModifierType::normfactor:
    case ModifierType::shapefactor:
      break;
  }
  return {};
}

/// Collects parameter sets from a workspace, in pyhf's order.
class SpecBuilder {
 public:
  SpecBuilder(const PreparedWorkspace& workspace, const NameTable& names, Warnings* warnings)
      : workspace_(workspace),
        names_(names),
        measurement_(*workspace.measurement),
        path_("/measurements/" + std::to_string(workspace.measurement_place)),
        warnings_(warnings),
        first_use_(names.size(), k_none),
        set_of_(names.size(), k_none) {
    std::size_t n = 0;
    for (const PreparedChannel& channel : workspace.channels) {
      for (const PreparedSample* sample : channel.samples) n += sample->modifiers.size();
    }
    uses_.reserve(n);
    for (const PreparedChannel& channel : workspace.channels) {
      for (std::size_t i = 0; i < channel.samples.size(); ++i) {
        const PreparedSample& sample = *channel.samples[i];
        for (std::size_t j = 0; j < sample.modifiers.size(); ++j) {
          uses_.push_back({&channel, i, sample.modifiers[j], sample.names[j]});
        }
      }
    }
  }

  ModelSpec build(const ModelOptions& options) {
    check_name_reuse();
    collect_sets();
    check_configurations();
    name_parameters();
    add_channels();
    set_poi(options);
    spec_.normsys_code = options.normsys_code;
    spec_.histosys_code = options.histosys_code;
    for (std::size_t i = 0; i < spec_.parameters.size(); ++i) {
      if (spec_.parameters[i].constraint != ConstraintType::none) spec_.auxiliary.push_back(i);
    }
    return std::move(spec_);
  }

 private:
  void check_name_reuse() {
    for (std::size_t i = 0; i < uses_.size(); ++i) {
      const Use& use = uses_[i];
      std::uint32_t& first = first_use_[use.name];
      if (first == k_none) {
        first = static_cast<std::uint32_t>(i);
        continue;
      }
      const ModifierType a = uses_[first].modifier->type;
      const ModifierType b = use.modifier->type;
      if (a == b && a == ModifierType::shapesys) {
        fail("shapesys " + quoted(use.modifier->name) + " is shared with " + path_of(uses_[first]) +
                 "; a shapesys belongs to one sample (use another name)",
             path_of(use));
      }
      if (a == b || (is_interpolated(a) && is_interpolated(b))) continue;
      fail("name " + quoted(use.modifier->name) + " is a " + to_string(b) + " here but a " +
               to_string(a) + " at " + path_of(uses_[first]) +
               "; only histosys and normsys can share a parameter",
           path_of(use));
    }
  }

  /// Sets of one type follow each other in the order in which their names are first used with it.
  void collect_sets() {
    std::array<std::vector<std::uint32_t>, k_parameter_order.size()> uses_of_type;
    std::vector<std::uint8_t> seen(names_.size(), 0);
    for (std::size_t i = 0; i < uses_.size(); ++i) {
      const auto type = static_cast<std::size_t>(uses_[i].modifier->type);
      const auto bit = static_cast<std::uint8_t>(1U << type);
      const bool is_new = (seen[uses_[i].name] & bit) == 0;
      seen[uses_[i].name] |= bit;
      if (uses_[i].modifier->type == ModifierType::staterror) {
        staterror_uses_[uses_[i].name].push_back(i);
      }
      if (is_new) uses_of_type[type].push_back(static_cast<std::uint32_t>(i));
    }
    offset_.assign(uses_.size(), 0);
    for (const ModifierType type : k_parameter_order) {
      std::vector<std::uint32_t>& first = uses_of_type[static_cast<std::size_t>(type)];
      // pyhf creates the staterror sets in a second pass, sorted by name.
      if (type == ModifierType::staterror) {
        std::sort(first.begin(), first.end(), [this](std::uint32_t a, std::uint32_t b) {
          return uses_[a].modifier->name < uses_[b].modifier->name;
        });
      }
      for (const std::uint32_t use : first) {
        std::uint32_t& set = set_of_[uses_[use].name];
        if (set != k_none) continue;  // a histosys before this normsys
        set = static_cast<std::uint32_t>(spec_.sets.size());
        add_set(type, uses_[use]);
      }
    }
  }

  /// Adds `n` parameters with the defaults of a set.
  Parameter* add_parameters(std::size_t n, double init, double lower, double upper,
                            ConstraintType constraint) {
    Parameter p;
    p.init = init;
    p.lower = lower;
    p.upper = upper;
    p.constraint = constraint;
    spec_.parameters.resize(spec_.parameters.size() + n, p);
    return spec_.parameters.data() + spec_.parameters.size() - n;
  }

  void add_set(ModifierType type, const Use& use) {
    const std::size_t first = spec_.parameters.size();
    switch (type) {
      case ModifierType::histosys:
      case ModifierType::normsys:
        add_parameters(1, 0.0, -5.0, 5.0, ConstraintType::gaussian)->sigma = 1.0;
        break;
      case ModifierType::normfactor:
        add_parameters(1, 1.0, 0.0, 10.0, ConstraintType::none);
        break;
      case ModifierType::lumi: {
        // No defaults: check_configurations() insists on the measurement's values.
        Parameter* p = add_parameters(1, 1.0, 0.0, 10.0, ConstraintType::gaussian);
        p->auxdata = p->sigma = 1.0;
        break;
      }
      case ModifierType::shapefactor:
        add_parameters(use.carrier().data.size(), 1.0, 0.0, 10.0, ConstraintType::none);
        break;
      case ModifierType::shapesys:
        add_shapesys(use);
        break;
      case ModifierType::staterror:
        add_staterror(use);
        break;
    }
    const bool scalar = type != ModifierType::shapefactor && type != ModifierType::shapesys &&
                        type != ModifierType::staterror;
    spec_.sets.push_back(
        {use.modifier->name, type, first, spec_.parameters.size() - first, scalar});
  }

  void add_shapesys(const Use& use) {
    const std::vector<double>& nominal = use.carrier().data;
    Parameter* p = add_parameters(nominal.size(), 1.0, 1e-10, 10.0, ConstraintType::poisson);
    for (std::size_t b = 0; b < nominal.size(); ++b) {
      const double u = use.modifier->uncertainty[b];
      const bool valid = nominal[b] > 0.0 && u > 0.0;
      const double ratio = nominal[b] / u;
      p[b].tau = p[b].auxdata = valid ? ratio * ratio : 1.0;
      p[b].fixed = !valid;
      if (!std::isfinite(p[b].tau)) {
        fail("the relative uncertainty of bin " + std::to_string(b) + " of shapesys " +
                 quoted(use.modifier->name) + " is too small to be represented",
             *use.channel->name + "/" + use.carrier().name);
      }
    }
  }

  /// The samples that carry a staterror must carry it in the same channels, since each bin has one
  /// parameter for all of them.
  void check_carriers(const std::vector<std::size_t>& uses) const {
    const PreparedChannel* channel = uses_[uses.front()].channel;
    if (uses_[uses.back()].channel == channel) return;  // one channel, so all agree
    std::map<std::string, std::set<std::string>> channels_of_sample;
    for (const std::size_t i : uses) {
      channels_of_sample[uses_[i].carrier().name].insert(*uses_[i].channel->name);
    }
    const std::string& name = uses_[uses.front()].modifier->name;
    for (const auto& [sample, names] : channels_of_sample) {
      if (names == channels_of_sample.begin()->second) continue;
      fail("staterror " + quoted(name) + " is carried by sample " + quoted(sample) +
               " and by sample " + quoted(channels_of_sample.begin()->first) +
               " in different channels; all samples that share it must carry it in the same ones",
           name);
    }
  }

  void add_staterror(const Use& use) {
    const std::vector<std::size_t>& uses = staterror_uses_.at(use.name);
    check_carriers(uses);
    const std::size_t first = spec_.parameters.size();
    for (std::size_t begin = 0, end = 0; begin < uses.size(); begin = end) {
      const PreparedChannel& channel = *uses_[uses[begin]].channel;
      while (end < uses.size() && uses_[uses[end]].channel == &channel) ++end;
      for (std::size_t i = begin; i < end; ++i) {
        offset_[uses[i]] = spec_.parameters.size() - first;
      }
      Parameter* p = add_parameters(channel.n_bins, 1.0, 1e-10, 10.0, ConstraintType::gaussian);
      for (std::size_t b = 0; b < channel.n_bins; ++b) {
        const double sigma = staterror_sigma(uses, begin, end, b);
        p[b].auxdata = 1.0;
        p[b].fixed = sigma == 0.0;
        p[b].sigma = p[b].fixed ? 1.0 : sigma;
      }
    }
  }

  double staterror_sigma(const std::vector<std::size_t>& uses, std::size_t begin, std::size_t end,
                         std::size_t b) const {
    double total = 0.0;
    for (std::size_t i = begin; i < end; ++i) total += uses_[uses[i]].carrier().data[b];
    double variance = 0.0;
    for (std::size_t i = begin; i < end; ++i) {
      const double uncertainty = uses_[uses[i]].modifier->uncertainty[b];
      const double relative = total > 0.0 ? uncertainty / total : 0.0;
      variance += relative * relative;
    }
    const double sigma = std::sqrt(variance);
    if (!std::isfinite(sigma)) {
      const Use& use = uses_[uses[begin]];
      fail("the relative uncertainty of bin " + std::to_string(b) + " of staterror " +
               quoted(use.modifier->name) + " in channel " + quoted(*use.channel->name) +
               " overflows",
           *use.channel->name);
    }
    return sigma;
  }

  std::string config_path(std::size_t i) const {
    return path_ + "/config/parameters/" + std::to_string(i);
  }

  void check_configurations() {
    bool lumi_configured = false;
    for (std::size_t i = 0; i < measurement_.parameters.size(); ++i) {
      const ParameterConfig& config = measurement_.parameters[i];
      const std::uint32_t name = names_.find(config.name);
      if (name == names_.size() || set_of_[name] == k_none) {
        if (warnings_ != nullptr) {
          warnings_->push_back({"configuration of parameter " + quoted(config.name) +
                                    ", which no modifier uses; it has no effect",
                                config_path(i)});
        }
        continue;
      }
      const ParameterSet& set = spec_.sets[set_of_[name]];
      apply(config, i, set);
      lumi_configured = lumi_configured || set.type == ModifierType::lumi;
    }
    const std::uint32_t lumi = names_.find("lumi");
    if (lumi != names_.size() && set_of_[lumi] != k_none &&
        spec_.sets[set_of_[lumi]].type == ModifierType::lumi && !lumi_configured) {
      fail(
          "modifier 'lumi' is used, so the measurement must configure parameter 'lumi' with "
          "inits, bounds, auxdata and sigmas",
          path_ + "/config/parameters");
    }
  }

  template <typename Values>
  static void check_count(const Values& given, std::size_t expected, const std::string& where) {
    if (given.size() == expected) return;
    fail(std::to_string(expected) + " values expected, found " + std::to_string(given.size()),
         where);
  }

  void override_values(const std::optional<std::vector<double>>& given, const char* key, bool has,
                       std::size_t config, const ParameterSet& set, double Parameter::*value) {
    if (!given) return;
    const std::string where = config_path(config) + "/" + key;
    if (!has) fail("the parameter has no " + std::string(key), where);
    check_count(*given, set.size, where);
    for (std::size_t i = 0; i < set.size; ++i) spec_.parameters[set.first + i].*value = (*given)[i];
  }

  void apply(const ParameterConfig& config, std::size_t index, const ParameterSet& set) {
    if (set.type == ModifierType::lumi) {
      const std::pair<const char*, bool> needed[] = {{"inits", config.inits.has_value()},
                                                     {"bounds", config.bounds.has_value()},
                                                     {"auxdata", config.auxdata.has_value()},
                                                     {"sigmas", config.sigmas.has_value()}};
      for (const auto& [key, given] : needed) {
        if (given) continue;
        fail("'lumi' has no default for '" + std::string(key) + "'; give it", config_path(index));
      }
    }
    const Configurable has = configurable(set.type);
    override_values(config.inits, "inits", true, index, set, &Parameter::init);
    override_values(config.auxdata, "auxdata", has.auxdata, index, set, &Parameter::auxdata);
    override_values(config.sigmas, "sigmas", has.sigmas, index, set, &Parameter::sigma);
    override_values(config.factors, "factors", has.factors, index, set, &Parameter::tau);
    if (config.bounds) check_count(*config.bounds, set.size, config_path(index) + "/bounds");
    for (std::size_t i = 0; i < set.size; ++i) {
      Parameter& p = spec_.parameters[set.first + i];
      if (config.bounds) {
        p.lower = (*config.bounds)[i].first;
        p.upper = (*config.bounds)[i].second;
      }
      if (config.fixed) p.fixed = *config.fixed;
      check_values(p, set.name, index, i);
    }
  }

  void check_values(const Parameter& p, const std::string& set, std::size_t config,
                    std::size_t i) const {
    const auto refuse = [&](const std::string& message, const char* key) {
      fail(message, config_path(config) + key + std::to_string(i));
    };
    const bool poisson = p.constraint == ConstraintType::poisson;
    if (!(p.lower <= p.upper)) refuse("lower bound above the upper bound", "/bounds/");
    if (!(p.init >= p.lower && p.init <= p.upper)) {
      refuse("initial value outside the bounds of " + quoted(set), "/inits/");
    }
    if (poisson && !(p.auxdata >= 0.0)) {
      refuse("a Poisson constraint needs auxdata >= 0", "/auxdata/");
    }
    if (poisson && !(p.tau > 0.0)) refuse("a Poisson constraint needs factors > 0", "/factors/");
    if (p.constraint == ConstraintType::gaussian && !(p.sigma > 0.0)) {
      refuse("a Gaussian constraint needs sigmas > 0", "/sigmas/");
    }
    // Below zero the logarithm of the constraint term is not defined.
    if (poisson && p.lower < 0.0) {
      refuse("a parameter with a Poisson constraint needs a lower bound >= 0", "/bounds/");
    }
  }

  void name_parameters() {
    for (const ParameterSet& set : spec_.sets) {
      for (std::size_t i = 0; i < set.size; ++i) {
        std::string& name = spec_.parameters[set.first + i].name;
        name = set.name;
        if (!set.scalar) name.append("[").append(std::to_string(i)).append("]");
      }
    }
  }

  void add_channels() {
    std::unordered_map<std::string_view, const Observation*> observations;
    for (const Observation* o : workspace_.observations) observations.emplace(o->name, o);
    std::size_t next_use = 0;
    spec_.channels.reserve(workspace_.channels.size());
    for (const PreparedChannel& channel : workspace_.channels) {
      ChannelSpec result;
      result.name = *channel.name;
      result.first_bin = spec_.observed.size();
      result.n_bins = channel.n_bins;
      result.samples.reserve(channel.samples.size());
      for (const PreparedSample* sample : channel.samples) {
        result.samples.push_back(sample_spec(channel, *sample, next_use));
        next_use += sample->modifiers.size();
      }
      const auto found = observations.find(result.name);
      if (found == observations.end() || found->second->data.size() != result.n_bins) {
        fail("no observation with " + std::to_string(result.n_bins) + " bins for channel " +
                 quoted(result.name),
             "/observations");
      }
      const std::vector<double>& data = found->second->data;
      spec_.observed.insert(spec_.observed.end(), data.begin(), data.end());
      spec_.channels.push_back(std::move(result));
    }
  }

  /// \param next_use number of the use that belongs to the first modifier
  SampleSpec sample_spec(const PreparedChannel& channel, const PreparedSample& prepared,
                         std::size_t next_use) const {
    const Sample& sample = *prepared.sample;
    SampleSpec result{sample.name, sample.data, {}, {}, {}, {}};
    const auto of_type = [&](ModifierType type) {
      return static_cast<std::size_t>(
          std::count_if(prepared.modifiers.begin(), prepared.modifiers.end(),
                        [type](const Modifier* m) { return m->type == type; }));
    };
    result.histosys.reserve(of_type(ModifierType::histosys));
    result.normsys.reserve(of_type(ModifierType::normsys));
    for (std::size_t i = 0; i < prepared.modifiers.size(); ++i) {
      const Modifier& modifier = *prepared.modifiers[i];
      const ParameterSet& set = spec_.sets[set_of_[prepared.names[i]]];
      switch (modifier.type) {
        case ModifierType::histosys:
          result.histosys.push_back({set.first, modifier.hi_data, modifier.lo_data});
          break;
        case ModifierType::normsys:
          result.normsys.push_back(
              {set.first, positive_factor(modifier.hi), positive_factor(modifier.lo)});
          break;
        case ModifierType::lumi:
        case ModifierType::normfactor:
          result.factors.push_back({set.first});
          break;
        case ModifierType::shapefactor:
          if (sample.data.size() > set.size) {
            fail("shapefactor " + quoted(modifier.name) + " has " + std::to_string(set.size) +
                     " parameters (bins of the first channel that uses it), too few for channel " +
                     quoted(*channel.name) + " with " + std::to_string(sample.data.size()) +
                     " bins",
                 *channel.name + "/" + sample.name);
          }
          [[fallthrough]];
        case ModifierType::shapesys:
        case ModifierType::staterror:
          result.binwise.push_back(
              binwise(modifier, set.first + offset_[next_use + i], sample.data.size()));
          break;
      }
    }
    return result;
  }

  static double positive_factor(double factor) { return factor > 0.0 ? factor : k_smallest_factor; }

  static BinwiseTerm binwise(const Modifier& modifier, std::size_t first, std::size_t n_bins) {
    BinwiseTerm term{modifier.type, std::vector<std::size_t>(n_bins), modifier.uncertainty};
    std::iota(term.parameters.begin(), term.parameters.end(), first);
    return term;
  }

  void set_poi(const ModelOptions& options) {
    const std::string& poi = options.poi ? *options.poi : measurement_.poi;
    if (poi.empty()) return;
    const std::string where = options.poi ? "poi" : path_ + "/config/poi";
    const std::optional<std::size_t> index = spec_.find(poi);
    if (!index) {
      fail("the parameter of interest " + quoted(poi) +
               " is not a scalar parameter of the model (a background-only workspace gets it from "
               "its signal patch)",
           where);
    }
    spec_.poi = index;
  }

  const PreparedWorkspace& workspace_;
  const NameTable& names_;
  const Measurement& measurement_;
  std::string path_;
  Warnings* warnings_;
  std::vector<Use> uses_;                 ///< in pyhf's order
  std::vector<std::uint32_t> first_use_;  ///< by name
  std::vector<std::uint32_t> set_of_;     ///< by name
  std::vector<std::size_t> offset_;       ///< first parameter in its set, by use (staterror)
  std::map<std::uint32_t, std::vector<std::size_t>> staterror_uses_;  ///< by name
  ModelSpec spec_;
};

}  // namespace

namespace detail {

NameTable::NameTable(const NameTable* base)
    : base_(base), size_(base == nullptr ? 0 : base->size()) {}

std::uint32_t NameTable::add(std::string_view name) {
  if (base_ != nullptr) {
    const std::uint32_t known = base_->find(name);
    if (known != base_->size()) return known;
  }
  const auto [entry, is_new] = numbers_.emplace(name, size_);
  if (is_new) ++size_;
  return entry->second;
}

std::uint32_t NameTable::find(std::string_view name) const {
  if (base_ != nullptr) {
    const std::uint32_t known = base_->find(name);
    if (known != base_->size()) return known;
  }
  const auto found = numbers_.find(name);
  return found == numbers_.end() ? size_ : found->second;
}

PreparedSample::PreparedSample(const Sample& s, NameTable& table) : sample(&s) {
  modifiers.reserve(s.modifiers.size());
  for (const Modifier& modifier : s.modifiers) modifiers.push_back(&modifier);
  // The order of the types is that of their names.
  std::stable_sort(modifiers.begin(), modifiers.end(), [](const Modifier* a, const Modifier* b) {
    const int order = a->name.compare(b->name);
    return order != 0 ? order < 0 : a->type < b->type;
  });
  names.reserve(modifiers.size());
  for (const Modifier* modifier : modifiers) names.push_back(table.add(modifier->name));
}

void sort_by_name(PreparedWorkspace& workspace) {
  for (PreparedChannel& channel : workspace.channels) {
    std::vector<std::size_t> order(channel.samples.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
      return channel.samples[a]->sample->name < channel.samples[b]->sample->name;
    });
    std::vector<const PreparedSample*> sorted;
    sorted.reserve(order.size());
    for (const std::size_t i : order) sorted.push_back(channel.samples[i]);
    channel.samples = std::move(sorted);
    channel.sample_places = std::move(order);
  }
  std::sort(workspace.channels.begin(), workspace.channels.end(),
            [](const PreparedChannel& a, const PreparedChannel& b) { return *a.name < *b.name; });
}

ModelSpec build_spec(const PreparedWorkspace& workspace, const NameTable& names,
                     const ModelOptions& options, Warnings* warnings) {
  return SpecBuilder(workspace, names, warnings).build(options);
}

}  // namespace detail

ModelSpec make_model_spec(const Workspace& workspace, const ModelOptions& options,
                          Warnings* warnings) {
  NameTable names;
  std::size_t n_samples = 0;
  for (const Channel& channel : workspace.channels) n_samples += channel.samples.size();
  std::vector<PreparedSample> samples;
  samples.reserve(n_samples);
  PreparedWorkspace prepared;
  prepared.measurement = &find_measurement(workspace, options.measurement);
  prepared.measurement_place =
      static_cast<std::size_t>(prepared.measurement - workspace.measurements.data());
  for (std::size_t i = 0; i < workspace.channels.size(); ++i) {
    const Channel& channel = workspace.channels[i];
    PreparedChannel& part = prepared.channels.emplace_back();
    part.name = &channel.name;
    part.place = i;
    part.n_bins = channel.samples.front().data.size();
    for (const Sample& sample : channel.samples) {
      part.samples.push_back(&samples.emplace_back(sample, names));
    }
  }
  for (const Observation& observation : workspace.observations) {
    prepared.observations.push_back(&observation);
  }
  sort_by_name(prepared);
  return build_spec(prepared, names, options, warnings);
}

}  // namespace slalom
