// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "slalom/core/error.hpp"

/// \file
/// Result documents: members in the order in which they are added, finite numbers only.
namespace slalom::cli {

/// A document that keeps the order of its members.
using OrderedJson = nlohmann::ordered_json;

/// A number for a document. \throws Error (numerical) naming `what` if it is not finite
double finite(double value, const std::string& what);

/// The number, or null if it is not finite: for what a fit that failed may not have.
OrderedJson number_or_null(double value);

/// An array of numbers. \throws Error (numerical) naming `what` if one is not finite
OrderedJson number_array(std::span<const double> values, const std::string& what);

/// Adds a member that is known to be new: no search, so objects with thousands of members stay
/// fast.
void append(OrderedJson& object, const std::string& key, OrderedJson value);

/// {"message", "where"} of each.
OrderedJson to_json(const Warnings& warnings);

/// Text of a document: objects indented, arrays of scalars on one line, numbers that read back
/// exactly.
std::string dump(const OrderedJson& document);

}  // namespace slalom::cli
