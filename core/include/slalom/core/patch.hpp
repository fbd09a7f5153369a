// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

/// \file
/// JSON Patch (RFC 6902), with which signals are added to published likelihoods.
namespace slalom {

/// Applies operations one after the other; later ones see what earlier ones changed.
///
/// Values keep their kind of number, so digests of the result agree with those of other tools.
/// `test` compares numbers by value: 1 equals 1.0. Members of an operation that RFC 6902 does not
/// know are ignored, as it asks. What pyhf applies to a model, slalom applies to the whole
/// workspace.
///
/// \param document what is changed
/// \param operations array of objects with `op`, `path` and, depending on `op`, `value` or `from`
/// \param where put before the JSON pointer of the operation in errors, e.g. `signal.json#`
/// \returns the changed document; if an operation fails there is none
/// \throws Error (patch) with the pointer of the operation; the message has its `op` and `path` and
///   says which part of the path does not exist, or what a failed `test` expected and found. More
///   than 200 nested levels, and copies of more than ten million values, are errors as well.
nlohmann::json apply_patch(nlohmann::json document, const nlohmann::json& operations,
                           const std::string& where = {});

/// Checks the form of a patch without a document to apply it to.
/// \param operations as for apply_patch
/// \param where as for apply_patch
/// \throws Error (patch)
void check_patch(const nlohmann::json& operations, const std::string& where = {});

}  // namespace slalom
