// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

/// \file
/// "Did you mean": the nearest of the names that exist.
namespace slalom::cli {

/// Edits (insert, delete, replace, swap neighbours) that turn one text into the other.
std::size_t edit_distance(const std::string& a, const std::string& b);

/// The candidate nearest to `name`, or "" if none is near enough to be a slip of the finger.
std::string nearest(const std::string& name, const std::vector<std::string>& candidates);

/// "; did you mean 'NAME'?" or "" if nothing is near.
std::string did_you_mean(const std::string& name, const std::vector<std::string>& candidates);

}  // namespace slalom::cli
