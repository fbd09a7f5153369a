// SPDX-License-Identifier: Apache-2.0
#include "cli/command.hpp"

#include <cstdlib>
#include <iostream>
#include <iterator>
#include <unistd.h>

#include "cli/result.hpp"
#include "cli/text.hpp"

namespace slalom::cli {

Command::Command(const Verb& verb, const std::string& name, std::vector<std::string> words,
                 Streams streams, bool describe)
    : arguments(name, verb.summary),
      streams_(streams),
      words_(std::move(words)),
      describe_(describe) {}

void Command::declare_csv() {
  has_csv_ = true;
  arguments.group("Output");
  arguments.flag("--csv", csv,
                 "Print comma-separated values with a header line (so does -o FILE.csv)");
}

void Command::declare_format(const std::vector<std::string>& programs) {
  std::vector<std::string> choices{"slalom"};
  choices.insert(choices.end(), programs.begin(), programs.end());
  arguments.group("Output");
  arguments.choice("--format", format, choices,
                   "Whose JSON document to print; that of another program has the members that "
                   "program writes, and no others");
}

bool Command::parse() {
  arguments.group("Output");
  arguments.text("-o,--output", output, "FILE",
                 "Write the result to FILE, completely or not at all (JSON with --json or if FILE "
                 "ends in .json)");
  arguments.flag("--json", json, "Print one JSON document and nothing else");
  arguments.flag("--quiet", quiet, "No warnings and no progress on standard error");
  if (describe_) return false;
  if (!arguments.parse(words_)) {
    streams_.out << arguments.help();
    return false;
  }
  if (json && csv) throw Error(ErrorKind::usage, "cannot be used together with --json", "--csv");
  if (format != "slalom" && wants_csv()) {
    throw Error(ErrorKind::usage, "is a JSON document, no comma-separated values",
                "--format " + format);
  }
  return true;
}

std::string Command::read(const std::string& path) {
  if (path != "-") return read_text(path);
  if (input_used_) {
    throw Error(ErrorKind::usage, "standard input can be read only once", "-");
  }
  input_used_ = true;
  return {std::istreambuf_iterator<char>(streams_.in), std::istreambuf_iterator<char>()};
}

Json Command::read_document(const std::string& path) {
  return parse_json(read(path), path == "-" ? "<stdin>" : path);
}

void Command::warn(const Warning& warning, ErrorKind kind) {
  if (strict) throw Error(kind, warning.message + " (--strict)", warning.where);
  note(warning);
}

void Command::note(const Warning& warning) {
  warnings.push_back(warning);
  if (quiet) return;
  const std::string place = warning.where.empty() ? "" : warning.where + ": ";
  streams_.err << one_line("slalom: warning: " + place + warning.message) << '\n';
}

void Command::warn_all(const Warnings& found, ErrorKind kind) {
  for (const Warning& warning : found) warn(warning, kind);
}

bool Command::wants_json() const { return json || (!csv && output.ends_with(".json")); }

bool Command::wants_csv() const { return csv || (has_csv_ && !json && output.ends_with(".csv")); }

bool Command::wants_colour() const {
  const char* no_colour = std::getenv("NO_COLOR");  // NOLINT(concurrency-mt-unsafe): never set here
  const bool refused = no_colour != nullptr && *no_colour != '\0';
  return !refused && output.empty() && &streams_.out == &std::cout && isatty(STDOUT_FILENO) == 1;
}

std::ostream* Command::progress_stream() const {
  const char* terminal = std::getenv("TERM");  // NOLINT(concurrency-mt-unsafe): never set here
  const bool dumb = terminal != nullptr && std::string(terminal) == "dumb";
  const bool shown = !quiet && !dumb && &streams_.err == &std::cerr && isatty(STDERR_FILENO) == 1;
  return shown ? &streams_.err : nullptr;
}

void Command::answer(const std::string& text) {
  if (output.empty() || output == "-") {
    streams_.out << text;
  } else {
    write_text(output, text);
  }
}

void Command::answer(nlohmann::ordered_json document) {
  if (!warnings.empty()) append(document, "warnings", to_json(warnings));
  answer(dump(document));
}

void Command::answer_foreign(const nlohmann::ordered_json& document) { answer(dump(document)); }

void Command::answer_document(const Json& document) { answer(dump_json(document) + "\n"); }

}  // namespace slalom::cli
