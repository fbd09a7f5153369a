// SPDX-License-Identifier: Apache-2.0
#include "slalom/core/decorrelation.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "slalom/core/json.hpp"
#include "slalom/core/model_spec.hpp"
#include "slalom/core/workspace.hpp"
#include "text.hpp"
#include "workspace_document.hpp"

namespace slalom {

namespace {

using detail::in_quotes;
using detail::name_of;
using Range = std::pair<std::size_t, std::size_t>;

[[noreturn]] void refuse(const std::string& message, const std::string& where = {}) {
  throw Error(ErrorKind::usage, message, where);
}

std::string type_of(const Json& modifier) { return modifier.at("type").get<std::string>(); }

bool contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

void check_known(const std::vector<std::string>& names, const std::set<std::string>& known,
                 const std::string& noun) {
  for (const std::string& name : names) {
    if (known.contains(name)) continue;
    refuse("the workspace has no " + noun + " " + in_quotes(name) +
           detail::suggestion(name, {known.begin(), known.end()}));
  }
}

/// Calls `visit(channel, sample, modifier)` for every modifier of that name.
template <typename Document, typename Visit>
void for_each_use(Document& document, const std::string& modifier, const Visit& visit) {
  for (auto& channel : document["channels"]) {
    for (auto& sample : channel["samples"]) {
      for (auto& m : sample["modifiers"]) {
        if (name_of(m) == modifier) visit(channel, sample, m);
      }
    }
  }
}

/// Splits one parameter of one document.
class Splitter {
 public:
  Splitter(const Json& document, const Decorrelation& how, Warnings* warnings)
      : document_(document), how_(how), warnings_(warnings), result_(document) {}

  Json run() {
    check_names();
    for_each_use(document_, how_.modifier,
                 [&](const Json& channel, const Json& sample, const Json& modifier) {
                   if (is_selected(channel, sample)) check_type(type_of(modifier));
                 });
    find_parts();
    name_parts();
    for (Json& channel : result_["channels"]) {
      for (Json& sample : channel["samples"]) {
        if (is_selected(channel, sample)) split(channel, sample);
      }
    }
    if (converted_ > 0 && warnings_ != nullptr) {
      warnings_->push_back({std::to_string(converted_) + " normsys " + in_quotes(how_.modifier) +
                                " became histosys with the same yields at +-1; between and beyond "
                                "they are interpolated differently",
                            how_.modifier});
    }
    copy_configuration();
    return std::move(result_);
  }

 private:
  bool is_selected(const Json& channel, const Json& sample) const {
    return (how_.channels.empty() || contains(how_.channels, name_of(channel))) &&
           (how_.samples.empty() || contains(how_.samples, name_of(sample)));
  }

  void check_names() {
    std::set<std::string> modifiers, channels, samples;
    for (const Json& channel : document_["channels"]) {
      channels.insert(name_of(channel));
      for (const Json& sample : channel["samples"]) {
        samples.insert(name_of(sample));
        for (const Json& modifier : sample["modifiers"]) modifiers.insert(name_of(modifier));
      }
    }
    check_known({how_.modifier}, modifiers, "modifier");
    check_known(how_.channels, channels, "channel");
    check_known(how_.samples, samples, "sample");
    for (const Json& measurement : document_["measurements"]) {
      if (measurement["config"]["poi"] == how_.modifier) {
        refuse(in_quotes(how_.modifier) + " is the parameter of interest of measurement " +
               in_quotes(name_of(measurement)));
      }
    }
    if (!(how_.correlation >= 0.0 && how_.correlation < 1.0)) {
      refuse("a correlation is at least 0 and less than 1", "correlation");
    }
    taken_ = std::move(modifiers);
  }

  void check_type(const std::string& type) const {
    const std::string subject = type + " " + in_quotes(how_.modifier);
    const bool binwise = type == "shapesys" || type == "staterror" || type == "shapefactor";
    if (type == "lumi") refuse(subject + " cannot be split: pyhf fixes its name");
    if (type == "shapesys") {
      refuse(subject + " belongs to one sample and has one parameter per bin: nothing to split");
    }
    if (how_.by == DecorrelateBy::bins && binwise) {
      refuse(subject + " has one parameter per bin already");
    }
    if (how_.by == DecorrelateBy::bins && type == "normfactor") {
      refuse(subject + " cannot be split by bins; a shapefactor has one parameter per bin");
    }
    if (how_.correlation > 0.0 && type != "normsys" && type != "histosys") {
      refuse(subject + " has no variations that could be partly correlated");
    }
  }

  /// Fills parts_ with what gets a parameter, in the order of the document.
  void find_parts() {
    bool rest = false;
    std::map<std::size_t, std::string> channel_with;  // by number of bins
    for_each_use(document_, how_.modifier,
                 [&](const Json& channel, const Json& sample, const Json&) {
                   if (!is_selected(channel, sample)) {
                     rest = true;
                     return;
                   }
                   channel_with.emplace(sample["data"].size(), name_of(channel));
                   if (how_.by == DecorrelateBy::bins) return;
                   const std::string& part =
                       how_.by == DecorrelateBy::channel ? name_of(channel) : name_of(sample);
                   if (!contains(parts_, part)) parts_.push_back(part);
                 });
    if (channel_with.empty()) {
      refuse("modifier " + in_quotes(how_.modifier) + " is not used there");
    }
    if (how_.by == DecorrelateBy::bins) rest = find_ranges(channel_with) || rest;
    if (parts_.size() > 1 || rest || how_.correlation > 0.0) return;
    refuse("nothing to split: modifier " + in_quotes(how_.modifier) + " has one part, " +
           in_quotes(parts_.front()));
  }

  /// \return whether bins remain that are in no range
  bool find_ranges(const std::map<std::size_t, std::string>& channel_with) {
    const std::size_t n_bins = channel_with.begin()->first;
    ranges_ = how_.bins;
    if (ranges_.empty()) {
      if (channel_with.size() > 1) {
        refuse("the channels have different numbers of bins; choose some or give ranges");
      }
      for (std::size_t b = 0; b < n_bins; ++b) ranges_.push_back({b, b});
    }
    std::vector<bool> used(n_bins, false);
    for (const auto& [first, last] : ranges_) {
      const std::string text = first == last
                                   ? "bin" + std::to_string(first)
                                   : "bins" + std::to_string(first) + "-" + std::to_string(last);
      if (first > last) refuse("the range " + text + " ends before it begins", "bins");
      if (last >= n_bins) {
        refuse("there are " + std::to_string(n_bins) + " bins, numbered from 0, in channel " +
                   in_quotes(channel_with.begin()->second) + "; " + text + " does not fit",
               "bins");
      }
      for (std::size_t b = first; b <= last; ++b) {
        if (used[b]) refuse("bin " + std::to_string(b) + " is in two ranges", "bins");
        used[b] = true;
      }
      parts_.push_back(text);
    }
    return channel_with.size() > 1 || std::find(used.begin(), used.end(), false) != used.end();
  }

  void name_parts() {
    if (!how_.names.empty() && how_.names.size() != parts_.size()) {
      refuse(std::to_string(parts_.size()) + " names expected for as many parts, found " +
                 std::to_string(how_.names.size()),
             "names");
    }
    for (const Json& measurement : document_["measurements"]) {
      for (const Json& p : measurement["config"]["parameters"]) taken_.insert(name_of(p));
    }
    for (std::size_t i = 0; i < parts_.size(); ++i) {
      const std::string name = how_.names.empty() ? how_.modifier + "_" + parts_[i] : how_.names[i];
      if (name.empty()) refuse("a new name is empty", "names");
      if (!taken_.insert(name).second) {
        refuse("the name " + in_quotes(name) + " is taken", "names");
      }
      name_of_[parts_[i]] = name;
    }
  }

  /// A yield with a share of its variation; numbers that do not change keep their kind.
  static Json part_of(const Json& nominal, const Json& varied, double share) {
    if (share == 0.0) return nominal;
    if (share == 1.0) return varied;
    const double n = nominal.get<double>();
    return n + share * (varied.get<double>() - n);
  }

  /// A modifier with its variations scaled by `share` and with another name.
  static Json scaled(const Json& modifier, const Json& nominal, double share,
                     const std::string& name) {
    Json result = modifier;
    result["name"] = name;
    if (share == 1.0) return result;
    if (type_of(modifier) == "normsys") {
      for (const char* side : {"hi", "lo"}) {
        const double factor = modifier["data"][side].get<double>();
        if (!(factor > 0.0)) {
          refuse("normsys " + in_quotes(name_of(modifier)) +
                 " has a factor that is not above 0 and cannot be scaled");
        }
        result["data"][side] = std::pow(factor, share);
      }
      return result;
    }
    for (const char* side : {"hi_data", "lo_data"}) {
      for (std::size_t b = 0; b < nominal.size(); ++b) {
        result["data"][side][b] = part_of(nominal[b], modifier["data"][side][b], share);
      }
    }
    return result;
  }

  void split(const Json& channel, Json& sample) {
    const Json old = sample["modifiers"];
    Json modifiers = Json::array();
    const double common = std::sqrt(how_.correlation), own = std::sqrt(1.0 - how_.correlation);
    bool done = false;
    for (const Json& modifier : old) {
      if (name_of(modifier) != how_.modifier) {
        modifiers.push_back(modifier);
        continue;
      }
      if (how_.by == DecorrelateBy::bins) {
        if (!done) split_by_bins(old, sample["data"], modifiers);
        done = true;
        continue;
      }
      if (common > 0.0) {
        modifiers.push_back(scaled(modifier, sample["data"], common, how_.modifier));
      }
      const std::string& part =
          how_.by == DecorrelateBy::channel ? name_of(channel) : name_of(sample);
      modifiers.push_back(scaled(modifier, sample["data"], own, name_of_.at(part)));
    }
    sample["modifiers"] = std::move(modifiers);
  }

  /// Yields varied by all modifiers of the name together.
  Json varied_yields(const Json& modifiers, const Json& nominal) {
    Json data = {{"hi_data", nominal}, {"lo_data", nominal}};
    for (const Json& modifier : modifiers) {
      if (name_of(modifier) != how_.modifier || type_of(modifier) != "histosys") continue;
      data = modifier["data"];
    }
    for (const Json& modifier : modifiers) {
      if (name_of(modifier) != how_.modifier || type_of(modifier) != "normsys") continue;
      ++converted_;
      for (std::size_t b = 0; b < nominal.size(); ++b) {
        for (const char* side : {"hi", "lo"}) {
          Json& yield = data[std::string(side) + "_data"][b];
          yield = yield.get<double>() * modifier["data"][side].get<double>();
        }
      }
    }
    return data;
  }

  /// One histosys per range, and one of the old name for bins in no range and the common part.
  void split_by_bins(const Json& old, const Json& nominal, Json& modifiers) {
    const Json varied = varied_yields(old, nominal);
    std::vector<double> remaining(nominal.size(), 1.0);
    const auto append = [&](const std::string& name, const std::vector<double>& shares) {
      if (std::all_of(shares.begin(), shares.end(), [](double s) { return s == 0.0; })) return;
      Json data = {{"hi_data", nominal}, {"lo_data", nominal}};
      for (std::size_t b = 0; b < nominal.size(); ++b) {
        for (const char* side : {"hi_data", "lo_data"}) {
          data[side][b] = part_of(nominal[b], varied[side][b], shares[b]);
        }
      }
      modifiers.push_back({{"name", name}, {"type", "histosys"}, {"data", std::move(data)}});
    };
    for (std::size_t i = 0; i < ranges_.size(); ++i) {
      std::vector<double> shares(nominal.size(), 0.0);
      for (std::size_t b = ranges_[i].first; b <= ranges_[i].second; ++b) {
        shares[b] = std::sqrt(1.0 - how_.correlation);
        remaining[b] = std::sqrt(how_.correlation);
      }
      append(name_of_.at(parts_[i]), shares);
    }
    append(how_.modifier, remaining);
  }

  // --- configuration

  /// Bins of a vector parameter by channel, in the order of its components. A staterror has one
  /// component per bin of all its channels, a shapefactor as many as its first channel has bins.
  std::vector<std::pair<std::string, std::size_t>> components(const Json& document,
                                                              const std::string& name,
                                                              std::string& type) const {
    std::map<std::string, std::size_t> bins;
    for_each_use(document, name, [&](const Json& channel, const Json& sample, const Json& m) {
      type = type_of(m);
      bins[name_of(channel)] = sample["data"].size();
    });
    return {bins.begin(), bins.end()};
  }

  /// The lists of a configuration, cut to the components that a new parameter has.
  Json cut(Json config, const std::string& name) const {
    std::string type;
    const auto before = components(document_, how_.modifier, type);
    const auto after = components(result_, name, type);
    config["name"] = name;
    if (type != "staterror" && type != "shapefactor") return config;
    std::vector<std::size_t> kept;
    std::size_t first = 0;
    if (type == "shapefactor") {
      for (std::size_t b = 0; b < after.front().second; ++b) kept.push_back(b);
    } else {
      for (const auto& [channel, n] : before) {
        for (const auto& [other, m] : after) {
          for (std::size_t b = 0; other == channel && b < n; ++b) kept.push_back(first + b);
        }
        first += n;
      }
    }
    for (const char* key : {"inits", "bounds", "auxdata", "factors", "sigmas"}) {
      if (!config.contains(key)) continue;
      Json list = Json::array();
      for (std::size_t i : kept) list.push_back(config[key].at(i));
      config[key] = std::move(list);
    }
    return config;
  }

  void copy_configuration() {
    bool old_remains = false;
    for_each_use(result_, how_.modifier,
                 [&](const Json&, const Json&, const Json&) { old_remains = true; });
    for (Json& measurement : result_["measurements"]) {
      Json parameters = Json::array();
      for (const Json& config : measurement["config"]["parameters"]) {
        if (name_of(config) != how_.modifier) {
          parameters.push_back(config);
          continue;
        }
        if (old_remains) parameters.push_back(cut(config, how_.modifier));
        for (const std::string& part : parts_) parameters.push_back(cut(config, name_of_.at(part)));
      }
      measurement["config"]["parameters"] = std::move(parameters);
    }
  }

  const Json& document_;
  const Decorrelation& how_;
  Warnings* warnings_;
  Json result_;
  std::set<std::string> taken_;
  std::vector<std::string> parts_;
  std::vector<Range> ranges_;
  std::map<std::string, std::string> name_of_;  ///< new name by part
  int converted_ = 0;
};

/// Models of all measurements can be built. \throws Error (model)
void check_models(const Json& document) {
  const Workspace workspace = parse_workspace(document);
  for (const Measurement& measurement : workspace.measurements) {
    make_model_spec(workspace, {measurement.name, ""});
  }
}

}  // namespace

DecorrelateBy parse_decorrelate_by(const std::string& name) {
  if (name == "channel") return DecorrelateBy::channel;
  if (name == "sample") return DecorrelateBy::sample;
  if (name == "bins") return DecorrelateBy::bins;
  refuse("unknown method " + in_quotes(name) +
         detail::suggestion(name, {"channel", "sample", "bins"}));
}

nlohmann::json decorrelate(const nlohmann::json& document, const Decorrelation& how,
                           Warnings* warnings) {
  detail::check_workspace(document, "the workspace");
  check_models(document);
  Json result = Splitter(document, how, warnings).run();
  result = detail::checked_result(std::move(result), "decorrelate");
  check_models(result);
  return result;
}

}  // namespace slalom
