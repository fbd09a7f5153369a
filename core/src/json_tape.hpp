// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>

/// \file
/// The usual way of a JSON text into a document: through simdjson, which checks and reads it
/// several times faster than nlohmann's parser.
namespace slalom::detail {

/// The document of a text, or nothing where the slow reader has to decide: whatever is no JSON,
/// deeper than `max_depth` arrays and objects, has two equal keys in an object or an integer beyond
/// 64 bits.
std::optional<nlohmann::json> read_tape(std::string_view text, std::size_t max_depth);

}  // namespace slalom::detail
