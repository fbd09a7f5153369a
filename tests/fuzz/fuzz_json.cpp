// SPDX-License-Identifier: Apache-2.0
// Any text is read as JSON. What is accepted is also accepted by nlohmann's own reader, which has
// fewer rules, as the same document; it is the same with white space in front; and it survives
// being written and read again. Only slalom::Error may come out of it.
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "slalom/core/error.hpp"
#include "slalom/core/json.hpp"

namespace {

using slalom::Json;

void expect(bool condition) {
  if (!condition) __builtin_trap();
}

std::optional<Json> read(std::string_view text) {
  try {
    return slalom::parse_json(text);
  } catch (const slalom::Error& error) {
    expect(!error.message().empty() && !error.where().empty());
    return std::nullopt;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::optional<Json> document = read(text);
  // A byte order mark must be first.
  if (text.empty() || text.front() != '\xEF') {
    for (const char space : {' ', '\n'}) {
      expect(read(std::string(1024, space) + std::string(text)) == document);
    }
  }
  if (!document) return 0;
  expect(Json::parse(text, nullptr, false) == *document);
  for (const int indent : {-1, 0, 2}) {
    expect(read(slalom::dump_json(*document, indent)) == document);
  }
  return 0;
}
