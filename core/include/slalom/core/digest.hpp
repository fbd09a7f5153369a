// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

/// \file
/// Digests of bytes. Those of documents, which do not depend on how they are written, are digest()
/// in json.hpp.
namespace slalom {

/// Hexadecimal digest of the bytes of a text.
/// \param text any bytes
/// \param algorithm md5, sha1, sha224, sha256, sha384, sha512, sha3_224, sha3_256, sha3_384 or
///   sha3_512
/// \throws Error (usage) for any other algorithm
std::string text_digest(std::string_view text, const std::string& algorithm = "sha256");

}  // namespace slalom
