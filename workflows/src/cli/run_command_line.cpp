// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <iostream>
#include <new>

#include "cli/command.hpp"
#include "cli/result.hpp"
#include "cli/text.hpp"
#include "slalom/workflows/cli.hpp"

namespace slalom {

namespace {

using namespace cli;  // NOLINT(google-build-using-namespace): of this program

bool asks_for_json(const std::vector<std::string>& words) {
  const auto end_of_options = std::find(words.begin(), words.end(), "--");
  return std::find(words.begin(), end_of_options, "--json") != end_of_options;
}

bool is_help(const std::string& word) { return word == "-h" || word == "--help"; }

/// `slalom --version` and the like are verbs in another dress.
std::vector<std::string> normalised(std::vector<std::string> words) {
  if (words.empty()) return words;
  if (words[0] == "--version" || words[0] == "-V") words[0] = "version";
  if (words[0] == "help" || is_help(words[0])) {
    words.erase(words.begin());
    words.emplace_back("--help");
  }
  return words;
}

int run(std::vector<std::string> words, Streams streams) {
  words = normalised(std::move(words));
  if (!words.empty() && is_help(words[0])) {
    streams.out << overview("slalom", verbs());
    return exit_success;
  }
  const FoundVerb found = find_verb(words);
  words.erase(words.begin(), words.begin() + static_cast<std::ptrdiff_t>(found.n_words));
  if (found.verb->run == nullptr) {
    streams.out << overview(found.name, found.verb->children);
    return exit_success;
  }
  Command command(*found.verb, found.name, std::move(words), streams);
  return found.verb->run(command);
}

int exit_code(ErrorKind kind) { return kind == ErrorKind::numerical ? exit_failure : exit_usage; }

void report(Streams streams, bool json, const char* type, const std::string& message,
            const std::string& where) {
  if (json) {
    const OrderedJson error{{"type", type}, {"message", message}, {"where", where}};
    streams.out << dump(OrderedJson{{"error", error}});
  } else {
    const std::string place = where.empty() ? "" : where + ": ";
    streams.err << one_line("slalom: error: " + place + message) << '\n';
  }
}

int run_guarded(const std::vector<std::string>& words, Streams streams) {
  const bool json = asks_for_json(words);
  try {
    return run(words, streams);
  } catch (const Error& error) {
    report(streams, json, to_string(error.kind()), error.message(), error.where());
    return exit_code(error.kind());
  } catch (const std::bad_alloc&) {
    report(streams, json, "internal", "out of memory", "");
  } catch (const std::exception& error) {
    report(streams, json, "internal", error.what(), "");
  }
  return exit_failure;
}

}  // namespace

int run_command_line(int argc, const char* const* argv, std::istream& in, std::ostream& out,
                     std::ostream& err) {
  const std::vector<std::string> words(argv + std::min(argc, 1), argv + argc);
  const int code = run_guarded(words, {in, out, err});
  errno = 0;
  out.flush();
  if (out || errno == EPIPE) return code;
  err << "slalom: error: standard output cannot be written\n";
  return code == exit_success ? exit_failure : code;
}

}  // namespace slalom
