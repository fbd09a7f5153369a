// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

/// \file
/// Strict JSON in, exact JSON out.
namespace slalom {

/// The document type. Integers and floating-point numbers stay distinct, so a document that is
/// read, changed in one place and written keeps its digest everywhere else.
using Json = nlohmann::json;

/// Parses one JSON document.
/// Stricter than JSON readers usually are: duplicate keys of an object, NaN/Infinity literals,
/// numbers that overflow a double, invalid UTF-8, more than 200 nested arrays and objects, and text
/// after the document are errors. A byte order mark is skipped.
/// \param text the document
/// \param source name used in errors, e.g. the path of the file
/// \throws Error (json) with `source:line:column`, or with `source#pointer` of a duplicate key
Json parse_json(std::string_view text, const std::string& source = "<input>");

/// Reads a whole file; "-" is standard input. \throws Error (io)
std::string read_text(const std::filesystem::path& path);

/// Reads and parses a file; "-" is standard input. \throws Error (io, json)
Json read_json(const std::filesystem::path& path);

/// Writes a file completely or not at all: to a temporary file beside it, then renamed.
/// \throws Error (io); an existing file is then left as it was
void write_text(const std::filesystem::path& path, std::string_view text);

/// Text of a document with numbers in the shortest form that reads back exactly, keys sorted, and
/// short lists and objects on one line. No newline at the end.
/// \param document finite numbers only
/// \param indent spaces per level; negative for a single line
/// \throws Error (json) for NaN, infinity and invalid UTF-8
std::string dump_json(const Json& document, int indent = 2);

/// Text as Python's `json.dumps(obj, sort_keys=True, ensure_ascii=False)` writes it, which is what
/// pyhf hashes: ", " and ": " as separators, floats as Python's repr.
/// \throws Error (json) for NaN, infinity and invalid UTF-8
std::string python_dumps(const Json& document);

/// Hexadecimal digest of python_dumps(document), equal to `pyhf.utils.digest`.
/// \param document any JSON document
/// \param algorithm md5, sha1, sha224, sha256, sha384, sha512, sha3_224, sha3_256, sha3_384 or
///   sha3_512
/// \throws Error (usage) for any other algorithm
std::string digest(const Json& document, const std::string& algorithm = "sha256");

}  // namespace slalom
