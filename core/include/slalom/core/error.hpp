// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdexcept>
#include <string>
#include <vector>

/// \file
/// What can go wrong, and where it went wrong.
namespace slalom {

/// Classes of failure. Each has a stable name (see to_string) that programs may rely on.
enum class ErrorKind {
  usage,      ///< wrong arguments of a command or a function
  io,         ///< a file that cannot be read or written
  json,       ///< text that is not JSON, or has duplicate keys or non-finite numbers
  workspace,  ///< a document that is no valid HistFactory workspace
  patch,      ///< a JSON patch or patch set that is malformed or does not apply
  model,      ///< a valid workspace from which no model can be built as asked
  numerical,  ///< a likelihood that is not defined at the point asked for
};

/// "usage", "io", "json", "workspace", "patch", "model" or "numerical".
const char* to_string(ErrorKind kind);

/// An error with its place: a JSON pointer, `file:line:column`, a parameter or an option.
class Error : public std::runtime_error {
 public:
  /// \param kind class of failure
  /// \param message what was expected and what was found, without the place
  /// \param where the place; may be empty
  Error(ErrorKind kind, std::string message, std::string where = {});

  /// Class of failure.
  ErrorKind kind() const { return kind_; }
  /// What went wrong, without the place. what() has both.
  const std::string& message() const { return message_; }
  /// The place, or an empty string.
  const std::string& where() const { return where_; }

 private:
  ErrorKind kind_;
  std::string message_;
  std::string where_;
};

/// Something accepted although it looks like a mistake.
struct Warning {
  std::string message;  ///< what looks wrong
  std::string where;    ///< the place: a JSON pointer or a name
  /// Equal text and place.
  bool operator==(const Warning&) const = default;
};

/// Warnings in the order in which they were found.
using Warnings = std::vector<Warning>;

}  // namespace slalom
