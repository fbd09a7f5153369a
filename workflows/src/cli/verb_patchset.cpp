// SPDX-License-Identifier: Apache-2.0
/// \file
/// `slalom patchset list`, `inspect`, `verify`, `extract` and `apply`.
#include <fmt/format.h>

#include "cli/command.hpp"
#include "cli/model_arguments.hpp"
#include "cli/result.hpp"
#include "cli/text.hpp"
#include "slalom/core/patch.hpp"
#include "slalom/core/patchset.hpp"
#include "slalom/workflows/cli.hpp"

namespace slalom::cli {

namespace {

OrderedJson value_json(const PatchValue& value) {
  if (const auto* text = std::get_if<std::string>(&value)) return *text;
  return finite(std::get<double>(value), "values");
}

std::string value_text(const PatchValue& value) {
  if (const auto* text = std::get_if<std::string>(&value)) return *text;
  return exact(std::get<double>(value));
}

OrderedJson patches_json(const PatchSet& set) {
  OrderedJson list = OrderedJson::array();
  for (const Patch& patch : set.patches) {
    OrderedJson values = OrderedJson::array();
    for (const PatchValue& value : patch.values) values.push_back(value_json(value));
    list.push_back({{"name", patch.name},
                    {"values", std::move(values)},
                    {"n_operations", patch.operations.size()}});
  }
  return list;
}

std::string patches_table(const PatchSet& set) {
  Table table("l" + std::string(set.labels.size(), 'r'));
  std::vector<std::string> head{"patch"};
  for (const std::string& label : set.labels) head.push_back(shorten(label, 30));
  table.row(std::move(head));
  for (const Patch& patch : set.patches) {
    std::vector<std::string> row{patch.name};
    for (const PatchValue& value : patch.values) row.push_back(value_text(value));
    table.row(std::move(row));
  }
  return table.str();
}

OrderedJson texts_json(const std::map<std::string, std::string>& texts) {
  OrderedJson object = OrderedJson::object();
  for (const auto& [key, value] : texts) object[key] = value;
  return object;
}

std::string summary(const PatchSet& set) {
  Table table("ll");
  table.row({"description", shorten(one_line(set.description), 80)});
  for (const auto& [key, value] : set.references) table.row({key, value});
  for (const auto& [key, value] : set.digests) table.row({key, shorten(value, 80)});
  table.row({"labels", shorten(listing(set.labels), 80)});
  table.row({"patches", std::to_string(set.patches.size())});
  return table.str();
}

void declare_set(Command& command, std::string& set) {
  command.arguments.positional("PATCHSET", set, "Patch set; - is standard input");
}

void declare_name(Command& command, std::string& name) {
  command.arguments.group("Patch");
  command.arguments.text("--name", name, "NAME", "Which patch");
}

const Patch& named_patch(const PatchSet& set, const std::string& name) {
  if (name.empty()) {
    std::vector<std::string> names;
    for (const Patch& patch : set.patches) names.push_back(patch.name);
    throw Error(ErrorKind::usage, "is required; the set has " + listing(names, 4), "--name");
  }
  return find_patch(set, name);
}

}  // namespace

int run_patchset_list(Command& command) {
  std::string path;
  declare_set(command, path);
  command.arguments.example("slalom patchset list patchset.json");
  if (!command.parse()) return exit_success;
  const PatchSet set = load_patchset(command, path);
  if (command.wants_json()) {
    command.answer(OrderedJson{{"labels", set.labels}, {"patches", patches_json(set)}});
  } else {
    command.answer(patches_table(set));
  }
  return exit_success;
}

int run_patchset_inspect(Command& command) {
  std::string path;
  declare_set(command, path);
  command.arguments.example("slalom patchset inspect patchset.json");
  if (!command.parse()) return exit_success;
  const PatchSet set = load_patchset(command, path);
  if (!command.wants_json()) {
    command.answer(summary(set) + "\n" + patches_table(set));
    return exit_success;
  }
  command.answer(OrderedJson{{"description", set.description},
                             {"references", texts_json(set.references)},
                             {"digests", texts_json(set.digests)},
                             {"labels", set.labels},
                             {"version", set.version},
                             {"n_patches", set.patches.size()},
                             {"patches", patches_json(set)}});
  return exit_success;
}

int run_patchset_verify(Command& command) {
  std::string workspace;
  std::string path;
  command.arguments.positional("WORKSPACE", workspace, "Workspace; - is standard input");
  command.arguments.positional("PATCHSET", path, "Patch set");
  command.arguments.example("slalom patchset verify workspace.json patchset.json");
  if (!command.parse()) return exit_success;
  const Json document = command.read_document(workspace);
  const PatchSet set = load_patchset(command, path);
  verify_patchset(set, document);
  if (command.wants_json()) {
    command.answer(OrderedJson{{"valid", true}, {"digests", texts_json(set.digests)}});
  } else {
    command.answer(fmt::format("valid: the digest{} of the workspace {} that of the patch set\n",
                               set.digests.size() == 1 ? "" : "s",
                               set.digests.size() == 1 ? "is" : "are"));
  }
  return exit_success;
}

int run_patchset_extract(Command& command) {
  std::string path;
  std::string name;
  bool with_metadata = false;
  declare_set(command, path);
  declare_name(command, name);
  command.arguments.flag("--with-metadata", with_metadata,
                         "An object with name, values and metadata of the set around the patch");
  command.arguments.example("slalom patchset extract patchset.json --name C1N2_300_100");
  if (!command.parse()) return exit_success;
  const PatchSet set = load_patchset(command, path);
  const Patch& patch = named_patch(set, name);
  if (!with_metadata) {
    command.answer_document(patch.operations);
    return exit_success;
  }
  Json values = Json::array();
  for (const PatchValue& value : patch.values) {
    std::visit([&values](const auto& plain) { values.push_back(plain); }, value);
  }
  Json metadata{{"name", patch.name}, {"values", values}};
  metadata.update({{"description", set.description},
                   {"digests", set.digests},
                   {"labels", set.labels},
                   {"references", set.references}});
  command.answer_document(Json{{"metadata", metadata}, {"patch", patch.operations}});
  return exit_success;
}

int run_patchset_apply(Command& command) {
  std::string workspace;
  std::string path;
  std::string name;
  bool no_verify = false;
  command.arguments.positional("WORKSPACE", workspace, "Workspace; - is standard input");
  command.arguments.positional("PATCHSET", path, "Patch set");
  declare_name(command, name);
  command.arguments.flag("--no-verify", no_verify,
                         "Apply the patch also to a workspace that the set was not made for");
  command.arguments.example("slalom patchset apply workspace.json patchset.json --name signal_1");
  if (!command.parse()) return exit_success;
  const Json document = command.read_document(workspace);
  const PatchSet set = load_patchset(command, path);
  const Patch& patch = named_patch(set, name);
  if (!no_verify) verify_patchset(set, document);
  command.answer_document(apply_patch(document, patch.operations, patch.name));
  return exit_success;
}

}  // namespace slalom::cli
