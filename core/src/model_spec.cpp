// SPDX-License-Identifier: Apache-2.0
#include "slalom/core/model_spec.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <utility>

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

constexpr std::array<ModifierType, 7> k_parameter_order = {
    ModifierType::histosys, ModifierType::lumi,        ModifierType::normfactor,
    ModifierType::normsys,  ModifierType::shapefactor, ModifierType::shapesys,
    ModifierType::staterror};

/// Factors at or below zero have no exponential interpolation; this is used instead, as published
/// workspaces do by themselves. parse_workspace warns about them.
constexpr double k_smallest_factor = 0.01;

/// A modifier together with the sample that carries it.
struct Use {
  const Channel* channel;
  const Sample* sample;
  const Modifier* modifier;
};

/// Defaults of a parameter set before the measurement's configuration is applied.
struct SetDefaults {
  std::string name;
  ModifierType type = ModifierType::normfactor;
  bool scalar = true;
  ConstraintType constraint = ConstraintType::none;
  std::vector<double> inits, lowers, uppers, auxdata, sigmas, factors;
  std::vector<bool> fixed;
};

std::string quoted(const std::string& text) { return "'" + text + "'"; }

template <typename T>
std::vector<const T*> sorted_by_name(const std::vector<T>& items) {
  std::vector<const T*> result;
  for (const T& item : items) result.push_back(&item);
  std::sort(result.begin(), result.end(), [](const T* a, const T* b) { return a->name < b->name; });
  return result;
}

bool is_interpolated(ModifierType type) {
  return type == ModifierType::histosys || type == ModifierType::normsys;
}

/// Collects parameter sets from a workspace, in pyhf's order.
class SpecBuilder {
 public:
  SpecBuilder(const Workspace& workspace, const Measurement& measurement,
              const std::string& measurement_path, Warnings* warnings)
      : workspace_(workspace),
        measurement_(measurement),
        path_(measurement_path),
        warnings_(warnings),
        channels_(sorted_by_name(workspace.channels)) {
    for (const Channel* channel : channels_) {
      for (const Sample* sample : sorted_by_name(channel->samples)) {
        std::vector<const Modifier*> modifiers = sorted_by_name(sample->modifiers);
        std::stable_sort(modifiers.begin(), modifiers.end(), [](auto* a, auto* b) {
          return std::pair(a->name, std::string(to_string(a->type))) <
                 std::pair(b->name, std::string(to_string(b->type)));
        });
        for (const Modifier* modifier : modifiers) uses_.push_back({channel, sample, modifier});
      }
    }
  }

  ModelSpec build(const ModelOptions& options) {
    check_name_reuse();
    for (ModifierType type : k_parameter_order) add_sets_of(type);
    check_configurations();
    for (const SetDefaults& set : sets_) add_parameters(set);
    for (const Channel* channel : channels_) add_channel(*channel);
    set_poi(options);
    spec_.normsys_code = options.normsys_code;
    spec_.histosys_code = options.histosys_code;
    for (std::size_t i = 0; i < spec_.parameters.size(); ++i) {
      if (spec_.parameters[i].constraint != ConstraintType::none) spec_.auxiliary.push_back(i);
    }
    return std::move(spec_);
  }

 private:
  [[noreturn]] static void fail(const std::string& message, const std::string& where) {
    throw Error(ErrorKind::model, message, where);
  }

  std::string path_of(const Use& use) const {
    const auto index = [](const auto& items, const auto* item) {
      return std::to_string(item - items.data());
    };
    return "/channels/" + index(workspace_.channels, use.channel) + "/samples/" +
           index(use.channel->samples, use.sample) + "/modifiers/" +
           index(use.sample->modifiers, use.modifier);
  }

  void check_name_reuse() const {
    std::map<std::string, Use> first;
    for (const Use& use : uses_) {
      const auto [it, inserted] = first.emplace(use.modifier->name, use);
      if (inserted) continue;
      const ModifierType a = it->second.modifier->type;
      const ModifierType b = use.modifier->type;
      if (a == b && a == ModifierType::shapesys) {
        fail("shapesys " + quoted(use.modifier->name) + " is shared with " + path_of(it->second) +
                 "; a shapesys belongs to one sample (use another name)",
             path_of(use));
      }
      if (a == b || (is_interpolated(a) && is_interpolated(b))) continue;
      fail("name " + quoted(use.modifier->name) + " is a " + to_string(b) + " here but a " +
               to_string(a) + " at " + path_of(it->second) +
               "; only histosys and normsys can share a parameter",
           path_of(use));
    }
  }

  void add_sets_of(ModifierType type) {
    std::vector<std::string> names;
    for (const Use& use : uses_) {
      if (use.modifier->type != type || known_.contains(use.modifier->name)) continue;
      known_.emplace(use.modifier->name, 0);
      names.push_back(use.modifier->name);
    }
    // pyhf creates the staterror sets in a second pass, sorted by name.
    if (type == ModifierType::staterror) std::sort(names.begin(), names.end());
    for (const std::string& name : names) {
      known_[name] = sets_.size();
      sets_.push_back(defaults_of(type, name));
    }
  }

  const Use& first_use(ModifierType type, const std::string& name) const {
    return *std::find_if(uses_.begin(), uses_.end(), [&](const Use& use) {
      return use.modifier->type == type && use.modifier->name == name;
    });
  }

  SetDefaults defaults_of(ModifierType type, const std::string& name) {
    SetDefaults set;
    set.name = name;
    set.type = type;
    const auto fill = [&set](std::size_t n, double init, double lower, double upper) {
      set.inits.assign(n, init);
      set.lowers.assign(n, lower);
      set.uppers.assign(n, upper);
      set.fixed.assign(n, false);
    };
    switch (type) {
      case ModifierType::histosys:
      case ModifierType::normsys:
        fill(1, 0.0, -5.0, 5.0);
        set.constraint = ConstraintType::gaussian;
        set.auxdata = {0.0};
        break;
      case ModifierType::normfactor:
        fill(1, 1.0, 0.0, 10.0);
        break;
      case ModifierType::lumi:
        // No defaults: check_configurations() insists on the measurement's values.
        fill(1, 1.0, 0.0, 10.0);
        set.constraint = ConstraintType::gaussian;
        set.auxdata = {1.0};
        set.sigmas = {1.0};
        break;
      case ModifierType::shapefactor:
        set.scalar = false;
        fill(first_use(type, name).sample->data.size(), 1.0, 0.0, 10.0);
        break;
      case ModifierType::shapesys:
        set.scalar = false;
        fill_shapesys(set, first_use(type, name), fill);
        break;
      case ModifierType::staterror:
        set.scalar = false;
        fill_staterror(set, fill);
        break;
    }
    return set;
  }

  template <typename Fill>
  static void fill_shapesys(SetDefaults& set, const Use& use, const Fill& fill) {
    const std::vector<double>& nominal = use.sample->data;
    fill(nominal.size(), 1.0, 1e-10, 10.0);
    set.constraint = ConstraintType::poisson;
    for (std::size_t b = 0; b < nominal.size(); ++b) {
      const double u = use.modifier->uncertainty[b];
      const bool valid = nominal[b] > 0.0 && u > 0.0;
      const double ratio = nominal[b] / u;
      set.factors.push_back(valid ? ratio * ratio : 1.0);
      set.fixed[b] = !valid;
      if (!std::isfinite(set.factors.back())) {
        fail("the relative uncertainty of bin " + std::to_string(b) + " of shapesys " +
                 quoted(set.name) + " is too small to be represented",
             use.channel->name + "/" + use.sample->name);
      }
    }
    set.auxdata = set.factors;
  }

  /// The samples that carry a staterror must carry it in the same channels, since each bin has one
  /// parameter for all of them.
  template <typename Fill>
  void fill_staterror(SetDefaults& set, const Fill& fill) {
    std::map<std::string, std::set<std::string>> channels_of_sample;
    std::vector<const Channel*> carriers;
    for (const Use& use : uses_) {
      if (use.modifier->type != ModifierType::staterror || use.modifier->name != set.name) continue;
      channels_of_sample[use.sample->name].insert(use.channel->name);
      if (carriers.empty() || carriers.back() != use.channel) carriers.push_back(use.channel);
    }
    for (const auto& [sample, names] : channels_of_sample) {
      if (names == channels_of_sample.begin()->second) continue;
      fail("staterror " + quoted(set.name) + " is carried by sample " + quoted(sample) +
               " and by sample " + quoted(channels_of_sample.begin()->first) +
               " in different channels; all samples that share it must carry it in the same ones",
           set.name);
    }
    std::vector<double> sigmas;
    for (const Channel* channel : carriers) {
      staterror_first_[{set.name, channel->name}] = sigmas.size();
      append_staterror_sigmas(*channel, set.name, sigmas);
    }
    fill(sigmas.size(), 1.0, 1e-10, 10.0);
    set.constraint = ConstraintType::gaussian;
    set.auxdata.assign(sigmas.size(), 1.0);
    for (std::size_t i = 0; i < sigmas.size(); ++i) {
      set.fixed[i] = sigmas[i] == 0.0;
      if (set.fixed[i]) sigmas[i] = 1.0;
    }
    set.sigmas = std::move(sigmas);
  }

  static void append_staterror_sigmas(const Channel& channel, const std::string& name,
                                      std::vector<double>& sigmas) {
    const std::size_t n = channel.samples.front().data.size();
    std::vector<const Sample*> samples;
    std::vector<const Modifier*> modifiers;
    for (const Sample* sample : sorted_by_name(channel.samples)) {
      for (const Modifier& modifier : sample->modifiers) {
        if (modifier.type != ModifierType::staterror || modifier.name != name) continue;
        samples.push_back(sample);
        modifiers.push_back(&modifier);
      }
    }
    for (std::size_t b = 0; b < n; ++b) {
      double total = 0.0;
      for (const Sample* sample : samples) total += sample->data[b];
      double variance = 0.0;
      for (const Modifier* modifier : modifiers) {
        const double relative = total > 0.0 ? modifier->uncertainty[b] / total : 0.0;
        variance += relative * relative;
      }
      const double sigma = std::sqrt(variance);
      if (!std::isfinite(sigma)) {
        fail("the relative uncertainty of bin " + std::to_string(b) + " of staterror " +
                 quoted(name) + " in channel " + quoted(channel.name) + " overflows",
             channel.name);
      }
      sigmas.push_back(sigma);
    }
  }

  std::string config_path(std::size_t i) const {
    return path_ + "/config/parameters/" + std::to_string(i);
  }

  void check_configurations() {
    bool lumi_configured = false;
    for (std::size_t i = 0; i < measurement_.parameters.size(); ++i) {
      const ParameterConfig& config = measurement_.parameters[i];
      const auto it = known_.find(config.name);
      if (it == known_.end()) {
        if (warnings_) {
          warnings_->push_back({"configuration of parameter " + quoted(config.name) +
                                    ", which no modifier uses; it has no effect",
                                config_path(i)});
        }
        continue;
      }
      SetDefaults& set = sets_[it->second];
      apply(config, config_path(i), set);
      lumi_configured = lumi_configured || set.type == ModifierType::lumi;
    }
    const auto it = known_.find("lumi");
    if (it != known_.end() && sets_[it->second].type == ModifierType::lumi && !lumi_configured) {
      fail(
          "modifier 'lumi' is used, so the measurement must configure parameter 'lumi' with "
          "inits, bounds, auxdata and sigmas",
          path_ + "/config/parameters");
    }
  }

  static void override_values(const std::optional<std::vector<double>>& given, const char* key,
                              const std::string& where, std::vector<double>& values) {
    if (!given) return;
    if (values.empty()) fail("the parameter has no " + std::string(key), where + "/" + key);
    if (given->size() != values.size()) {
      fail(std::to_string(values.size()) + " values expected, found " +
               std::to_string(given->size()),
           where + "/" + key);
    }
    values = *given;
  }

  static void apply(const ParameterConfig& config, const std::string& where, SetDefaults& set) {
    if (set.type == ModifierType::lumi) {
      const std::pair<const char*, bool> needed[] = {{"inits", config.inits.has_value()},
                                                     {"bounds", config.bounds.has_value()},
                                                     {"auxdata", config.auxdata.has_value()},
                                                     {"sigmas", config.sigmas.has_value()}};
      for (const auto& [key, given] : needed) {
        if (!given) fail("'lumi' has no default for '" + std::string(key) + "'; give it", where);
      }
    }
    override_values(config.inits, "inits", where, set.inits);
    override_values(config.auxdata, "auxdata", where, set.auxdata);
    override_values(config.sigmas, "sigmas", where, set.sigmas);
    override_values(config.factors, "factors", where, set.factors);
    if (config.bounds) {
      if (config.bounds->size() != set.lowers.size()) {
        fail(std::to_string(set.lowers.size()) + " values expected, found " +
                 std::to_string(config.bounds->size()),
             where + "/bounds");
      }
      for (std::size_t i = 0; i < set.lowers.size(); ++i) {
        set.lowers[i] = (*config.bounds)[i].first;
        set.uppers[i] = (*config.bounds)[i].second;
      }
    }
    if (config.fixed) set.fixed.assign(set.fixed.size(), *config.fixed);
    check_values(set, where);
  }

  static void check_values(const SetDefaults& set, const std::string& where) {
    for (std::size_t i = 0; i < set.inits.size(); ++i) {
      const std::string index = "/" + std::to_string(i);
      if (!(set.lowers[i] <= set.uppers[i])) {
        fail("lower bound above the upper bound", where + "/bounds" + index);
      }
      if (!(set.inits[i] >= set.lowers[i] && set.inits[i] <= set.uppers[i])) {
        fail("initial value outside the bounds of " + quoted(set.name), where + "/inits" + index);
      }
      if (set.constraint == ConstraintType::poisson && !(set.auxdata[i] >= 0.0)) {
        fail("a Poisson constraint needs auxdata >= 0", where + "/auxdata" + index);
      }
      if (set.constraint == ConstraintType::poisson && !(set.factors[i] > 0.0)) {
        fail("a Poisson constraint needs factors > 0", where + "/factors" + index);
      }
      if (!set.sigmas.empty() && !(set.sigmas[i] > 0.0)) {
        fail("a Gaussian constraint needs sigmas > 0", where + "/sigmas" + index);
      }
      // Below zero the logarithm of the constraint term is not defined.
      if (set.constraint == ConstraintType::poisson && set.lowers[i] < 0.0) {
        fail("a parameter with a Poisson constraint needs a lower bound >= 0",
             where + "/bounds" + index);
      }
    }
  }

  void add_parameters(const SetDefaults& set) {
    const std::size_t first = spec_.parameters.size();
    const std::size_t n = set.inits.size();
    for (std::size_t i = 0; i < n; ++i) {
      Parameter p;
      p.name = set.scalar ? set.name : set.name + "[" + std::to_string(i) + "]";
      p.init = set.inits[i];
      p.lower = set.lowers[i];
      p.upper = set.uppers[i];
      p.fixed = set.fixed[i];
      p.constraint = set.constraint;
      if (!set.auxdata.empty()) p.auxdata = set.auxdata[i];
      if (set.constraint == ConstraintType::gaussian)
        p.sigma = set.sigmas.empty() ? 1.0 : set.sigmas[i];
      if (set.constraint == ConstraintType::poisson) p.tau = set.factors[i];
      spec_.parameters.push_back(std::move(p));
    }
    spec_.sets.push_back({set.name, set.type, first, n, set.scalar});
  }

  void add_channel(const Channel& channel) {
    ChannelSpec result;
    result.name = channel.name;
    result.first_bin = spec_.observed.size();
    result.n_bins = channel.samples.front().data.size();
    for (const Sample* sample : sorted_by_name(channel.samples)) {
      result.samples.push_back(sample_spec(channel, *sample));
    }
    const auto observation =
        std::find_if(workspace_.observations.begin(), workspace_.observations.end(),
                     [&](const Observation& o) { return o.name == channel.name; });
    if (observation == workspace_.observations.end() || observation->data.size() != result.n_bins) {
      fail("no observation with " + std::to_string(result.n_bins) + " bins for channel " +
               quoted(channel.name),
           "/observations");
    }
    spec_.observed.insert(spec_.observed.end(), observation->data.begin(), observation->data.end());
    spec_.channels.push_back(std::move(result));
  }

  SampleSpec sample_spec(const Channel& channel, const Sample& sample) const {
    SampleSpec result{sample.name, sample.data, {}, {}, {}, {}};
    for (const Modifier* modifier : sorted_by_name(sample.modifiers)) {
      const std::size_t first = spec_.sets[known_.at(modifier->name)].first;
      const std::size_t size = spec_.sets[known_.at(modifier->name)].size;
      switch (modifier->type) {
        case ModifierType::histosys:
          result.histosys.push_back({first, modifier->hi_data, modifier->lo_data});
          break;
        case ModifierType::normsys:
          result.normsys.push_back(
              {first, positive_factor(modifier->hi), positive_factor(modifier->lo)});
          break;
        case ModifierType::lumi:
        case ModifierType::normfactor:
          result.factors.push_back({first});
          break;
        case ModifierType::shapefactor:
          if (sample.data.size() > size) {
            fail("shapefactor " + quoted(modifier->name) + " has " + std::to_string(size) +
                     " parameters (bins of the first channel that uses it), too few for channel " +
                     quoted(channel.name) + " with " + std::to_string(sample.data.size()) + " bins",
                 channel.name + "/" + sample.name);
          }
          result.binwise.push_back(binwise(*modifier, first, sample.data.size()));
          break;
        case ModifierType::shapesys:
          result.binwise.push_back(binwise(*modifier, first, sample.data.size()));
          break;
        case ModifierType::staterror:
          result.binwise.push_back(
              binwise(*modifier, first + staterror_first_.at({modifier->name, channel.name}),
                      sample.data.size()));
          break;
      }
    }
    return result;
  }

  static double positive_factor(double factor) { return factor > 0.0 ? factor : k_smallest_factor; }

  static BinwiseTerm binwise(const Modifier& modifier, std::size_t first, std::size_t n_bins) {
    BinwiseTerm term{modifier.type, {}, modifier.uncertainty};
    for (std::size_t b = 0; b < n_bins; ++b) term.parameters.push_back(first + b);
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

  const Workspace& workspace_;
  const Measurement& measurement_;
  std::string path_;
  Warnings* warnings_;
  std::vector<const Channel*> channels_;
  std::vector<Use> uses_;
  std::vector<SetDefaults> sets_;
  std::map<std::string, std::size_t> known_;
  std::map<std::pair<std::string, std::string>, std::size_t> staterror_first_;
  ModelSpec spec_;
};

}  // namespace

ModelSpec make_model_spec(const Workspace& workspace, const ModelOptions& options,
                          Warnings* warnings) {
  const Measurement& measurement = find_measurement(workspace, options.measurement);
  const std::string path =
      "/measurements/" + std::to_string(&measurement - workspace.measurements.data());
  return SpecBuilder(workspace, measurement, path, warnings).build(options);
}

}  // namespace slalom
