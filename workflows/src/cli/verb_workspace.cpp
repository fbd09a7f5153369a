// SPDX-License-Identifier: Apache-2.0
/// \file
/// `slalom combine`, `rename`, `sort` and `digest`: documents in, documents out.
#include <fmt/format.h>

#include "cli/command.hpp"
#include "cli/model_arguments.hpp"
#include "cli/result.hpp"
#include "slalom/core/workspace_operations.hpp"
#include "slalom/workflows/cli.hpp"

namespace slalom::cli {

namespace {

using Pairs = std::vector<std::pair<std::string, std::string>>;

/// \throws Error (usage) if one name is to become two
std::map<std::string, std::string> renaming_of(const Pairs& pairs, const std::string& option) {
  std::map<std::string, std::string> names;
  for (const auto& [from, to] : pairs) {
    if (to.empty()) throw Error(ErrorKind::usage, "the new name is empty", option);
    if (!names.emplace(from, to).second) {
      throw Error(ErrorKind::usage, fmt::format("'{}' is renamed twice", from), option);
    }
  }
  return names;
}

std::string joined_digests(const std::vector<std::pair<std::string, std::string>>& digests) {
  std::string text;
  for (const auto& [algorithm, value] : digests) {
    text += fmt::format("{}:{}\n", algorithm, value);
  }
  return text;
}

}  // namespace

int run_combine(Command& command) {
  std::string left;
  std::string right;
  std::string join = "none";
  bool merge_channels = false;
  Arguments& arguments = command.arguments;
  arguments.positional("WORKSPACE", left, "First workspace; - is standard input");
  arguments.positional("OTHER", right, "Second workspace");
  arguments.group("Combination");
  arguments.choice(
      "-j,--join", join, {"none", "outer", "left-outer", "right-outer"},
      "What happens to channels, observations and measurements that both have: an "
      "error (none, default), equal ones taken once (outer), or those of one side win");
  arguments.flag("--merge-channels", merge_channels,
                 "Channels of the same name get the samples of both; not with --join none");
  arguments.example("slalom combine first.json second.json --join outer -o both.json");
  if (!command.parse()) return exit_success;
  const Json first = command.read_document(left);
  const Json second = command.read_document(right);
  command.answer_document(combine(first, second, parse_join(join), merge_channels));
  return exit_success;
}

int run_rename(Command& command) {
  WorkspaceArguments options;
  Pairs channels;
  Pairs samples;
  Pairs modifiers;
  Pairs measurements;
  declare_document(command, options);
  Arguments& arguments = command.arguments;
  arguments.group("Rename");
  arguments.pairs("-c,--channel", channels, "OLD NEW", "A channel; repeatable");
  arguments.pairs("-s,--sample", samples, "OLD NEW", "A sample, in every channel; repeatable");
  arguments.pairs("-m,--modifier", modifiers, "OLD NEW",
                  "A modifier with its configuration; repeatable");
  arguments.pairs("--measurement", measurements, "OLD NEW", "A measurement; repeatable");
  arguments.example("slalom rename workspace.json --modifier mu_SIG mu");
  if (!command.parse()) return exit_success;
  const Renaming renaming{renaming_of(modifiers, "--modifier"), renaming_of(samples, "--sample"),
                          renaming_of(channels, "--channel"),
                          renaming_of(measurements, "--measurement")};
  command.answer_document(rename(load_document(command, options), renaming));
  return exit_success;
}

int run_sort(Command& command) {
  WorkspaceArguments options;
  declare_document(command, options);
  command.arguments.example("slalom sort workspace.json -o sorted.json");
  if (!command.parse()) return exit_success;
  command.answer_document(sorted(load_document(command, options)));
  return exit_success;
}

int run_digest(Command& command) {
  WorkspaceArguments options;
  std::vector<std::string> algorithms;
  declare_document(command, options);
  command.arguments.group("Digest");
  command.arguments.choices("-a,--algorithm", algorithms,
                            {"md5", "sha1", "sha224", "sha256", "sha384", "sha512", "sha3_224",
                             "sha3_256", "sha3_384", "sha3_512"},
                            "Hash; repeatable; default sha256");
  command.arguments.example("slalom digest workspace.json --algorithm md5");
  if (!command.parse()) return exit_success;
  if (algorithms.empty()) algorithms.emplace_back("sha256");
  const Json document = load_document(command, options);
  Pairs digests;
  for (const std::string& algorithm : algorithms) {
    digests.emplace_back(algorithm, digest(document, algorithm));
  }
  if (!command.wants_json()) {
    command.answer(joined_digests(digests));
    return exit_success;
  }
  OrderedJson result = OrderedJson::object();
  for (const auto& [algorithm, value] : digests) result[algorithm] = value;
  command.answer(std::move(result));
  return exit_success;
}

}  // namespace slalom::cli
