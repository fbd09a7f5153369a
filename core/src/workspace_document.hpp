// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "slalom/core/error.hpp"
#include "slalom/core/json.hpp"
#include "slalom/core/workspace.hpp"

/// \file
/// What the operations on workspace documents have in common.
namespace slalom::detail {

/// The member "name".
inline const std::string& name_of(const Json& item) {
  return item.at("name").get_ref<const std::string&>();
}

/// \throws Error (workspace) starting with `what` if the document is no valid workspace
inline void check_workspace(const Json& document, const std::string& what) {
  try {
    parse_workspace(document);
  } catch (const Error& error) {
    throw Error(error.kind(), what + ": " + error.message(), error.where());
  }
}

/// The document, once it is known to be a valid workspace. \throws Error (workspace)
inline Json checked_result(Json document, const char* operation) {
  check_workspace(document, std::string("the result of ") + operation + " is no valid workspace");
  return document;
}

}  // namespace slalom::detail
