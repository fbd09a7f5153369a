// SPDX-License-Identifier: Apache-2.0
// Any text is read into a workspace and a model specification, or refused with slalom::Error.
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string_view>

#include "slalom/core/json.hpp"
#include "slalom/core/model_spec.hpp"
#include "slalom/core/workspace.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const slalom::Workspace workspace = slalom::parse_workspace(slalom::parse_json(text));
    // What was accepted survives being written and read again.
    if (slalom::to_json(slalom::parse_workspace(slalom::to_json(workspace))) !=
        slalom::to_json(workspace)) {
      __builtin_trap();
    }
    slalom::make_model_spec(workspace);
  } catch (const slalom::Error&) {
    // the documented way to refuse
  }
  return 0;
}
