// SPDX-License-Identifier: Apache-2.0
#include "slalom/core/error.hpp"

#include <utility>

namespace slalom {

const char* to_string(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::usage:
      return "usage";
    case ErrorKind::io:
      return "io";
    case ErrorKind::json:
      return "json";
    case ErrorKind::workspace:
      return "workspace";
    case ErrorKind::patch:
      return "patch";
    case ErrorKind::model:
      return "model";
    case ErrorKind::numerical:
      return "numerical";
  }
  return "unknown";
}

Error::Error(ErrorKind kind, std::string message, std::string where)
    : std::runtime_error(where.empty() ? message : where + ": " + message),
      kind_(kind),
      message_(std::move(message)),
      where_(std::move(where)) {}

}  // namespace slalom
