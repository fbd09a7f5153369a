// SPDX-License-Identifier: Apache-2.0
// Any text is read as JSON, and the document as a workspace, as a patch of a small workspace and as
// a patch set. What is accepted becomes a model that is evaluated once. Only slalom::Error may come
// out of it. Patches are also applied as differences, which must end in the same model or the same
// error, and sets are also read lazily. Patches and sets make the fuzzer reach workspaces that are
// nearly right.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "slalom/core/error.hpp"
#include "slalom/core/json.hpp"
#include "slalom/core/model.hpp"
#include "slalom/core/model_spec.hpp"
#include "slalom/core/patch.hpp"
#include "slalom/core/patchset.hpp"
#include "slalom/core/signal_grid.hpp"
#include "slalom/core/workspace.hpp"
#include "slalom/core/workspace_operations.hpp"

namespace {

using slalom::Json;

constexpr std::size_t most_parameters = 40;
constexpr std::size_t most_bins = 200;
constexpr std::size_t most_patches = 4;

void expect(bool condition) {
  if (!condition) __builtin_trap();
}

template <class Function>
void refuse_or_do(Function&& function) {
  try {
    function();
  } catch (const slalom::Error& error) {
    expect(!error.message().empty());  // the documented way to refuse
  }
}

// Every modifier once.
const Json& base() {
  static const Json document = slalom::parse_json(R"({"channels": [
    {"name": "SR", "samples": [
      {"name": "s", "data": [1, 2], "modifiers": [
        {"name": "mu", "type": "normfactor", "data": null},
        {"name": "lumi", "type": "lumi", "data": null}]},
      {"name": "b", "data": [10, 20.5], "modifiers": [
        {"name": "n", "type": "normsys", "data": {"hi": 1.1, "lo": 0.9}},
        {"name": "n", "type": "histosys", "data": {"hi_data": [11, 22], "lo_data": [9, 19]}},
        {"name": "u", "type": "shapesys", "data": [1, 2]},
        {"name": "f", "type": "shapefactor", "data": null},
        {"name": "st", "type": "staterror", "data": [1, 2]}]}]}],
  "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": [
    {"name": "lumi", "inits": [1], "bounds": [[0.5, 1.5]], "auxdata": [1], "sigmas": [0.1]}]}}],
  "observations": [{"name": "SR", "data": [12, 21]}],
  "version": "1.0.0"})");
  return document;
}

void evaluate(const slalom::Workspace& workspace, const slalom::ModelOptions& options) {
  slalom::ModelSpec spec = slalom::make_model_spec(workspace, options);
  if (spec.parameters.size() > most_parameters || spec.n_bins() > most_bins) return;
  const std::vector<double> initial = spec.initial();
  const slalom::Model model(std::move(spec));
  slalom::Evaluator evaluator(model);
  const double value = evaluator.logpdf(initial);
  std::vector<double> gradient(model.n_parameters());
  const double same = evaluator.logpdf(initial, gradient);
  expect(std::isnan(value) || std::isnan(same) || std::isinf(value) == std::isinf(same));
}

void read_as_workspace(const Json& document) {
  const slalom::Workspace workspace = slalom::parse_workspace(document);
  const Json written = slalom::to_json(workspace);
  // What was accepted survives being written and read again.
  expect(slalom::to_json(slalom::parse_workspace(written)) == written);
  const Json sorted = slalom::sorted(document);
  expect(slalom::sorted(sorted) == sorted);
  refuse_or_do([&] { evaluate(workspace, {}); });
  slalom::ModelOptions without_poi;
  without_poi.poi = "";
  without_poi.histosys_code = slalom::HistosysCode::code2;
  without_poi.normsys_code = slalom::NormsysCode::code1;
  refuse_or_do([&] { evaluate(workspace, without_poi); });
}

// Names of the parameters of a model, or the error in making it.
template <class Function>
std::string outcome_of(Function&& make_spec) {
  try {
    const slalom::ModelSpec spec = make_spec();
    std::string names;
    for (const slalom::Parameter& p : spec.parameters) names += p.name + "\n";
    for (const slalom::ChannelSpec& channel : spec.channels) names += channel.name + "\n";
    return names;
  } catch (const slalom::Error& error) {
    return std::string("error: ") + error.what();
  }
}

void apply_as_difference(const Json& operations) {
  static const slalom::SignalGrid grid(base());
  const std::string whole = outcome_of([&] {
    return slalom::make_model_spec(
        slalom::parse_workspace(slalom::apply_patch(base(), operations)));
  });
  const std::string difference = outcome_of([&] { return grid.spec(operations); });
  // What is sealed does not count for the limits on depth and copies.
  const bool limit = whole.find(" levels of ") != std::string::npos ||
                     whole.find("patch copies more than") != std::string::npos;
  expect(limit || whole == difference);
}

void read_as_patch(const Json& document) {
  apply_as_difference(document);
  refuse_or_do([&] { read_as_workspace(slalom::apply_patch(base(), document, "patch#")); });
}

void read_as_patchset(const Json& document) {
  const slalom::PatchSet set = slalom::parse_patchset(document);
  expect(!set.patches.empty());
  refuse_or_do([&] { slalom::verify_patchset(set, base()); });
  for (std::size_t i = 0; i < std::min(set.patches.size(), most_patches); ++i) {
    expect(&slalom::find_patch(set, set.patches[i].name) == &set.patches[i]);
    expect(&slalom::find_patch(set, set.patches[i].values) == &set.patches[i]);
    read_as_patch(set.patches[i].operations);
  }
}

// A set that can be read lazily is one, but for its operations.
void read_lazily(std::string_view text) {
  const slalom::LazyPatchSet lazy{std::string(text)};
  std::optional<slalom::PatchSet> whole;
  refuse_or_do([&] { whole = slalom::parse_patchset(slalom::parse_json(text)); });
  for (std::size_t i = 0; i < lazy.set().patches.size(); ++i) {
    bool read = false;
    refuse_or_do([&] {
      const Json operations = lazy.operations(i);
      read = true;
      expect(!whole || operations == whole->patches[i].operations);
    });
    expect(!whole || read);
  }
}

// Texts with much white space are read in another way, which must not make a difference.
void read_padded(std::string_view text, const std::optional<Json>& document) {
  if (!text.empty() && text.front() == '\xEF') return;  // a byte order mark is first or wrong
  const std::string padded = std::string(1024, ' ') + std::string(text);
  std::optional<Json> same;
  refuse_or_do([&] { same = slalom::parse_json(padded); });
  expect(same == document);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  refuse_or_do([&] {
    refuse_or_do([&] { read_lazily(text); });
    std::optional<Json> read;
    refuse_or_do([&] { read = slalom::parse_json(text); });
    read_padded(text, read);
    if (!read) return;
    const Json& document = *read;
    expect(slalom::parse_json(slalom::dump_json(document)) == document);
    refuse_or_do([&] { read_as_workspace(document); });
    refuse_or_do([&] { read_as_patchset(document); });
    read_as_patch(document);
  });
  return 0;
}
