// SPDX-License-Identifier: Apache-2.0
#include "slalom/core/digest.hpp"

#include <cstdint>
#include <nettle/nettle-meta.h>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "slalom/core/error.hpp"
#include "slalom/core/json.hpp"
#include "text.hpp"

namespace slalom {
namespace {

using Algorithm = std::pair<std::string, const nettle_hash*>;

const std::vector<Algorithm>& algorithms() {
  static const std::vector<Algorithm> list = {
      {"md5", &nettle_md5},           {"sha1", &nettle_sha1},
      {"sha224", &nettle_sha224},     {"sha256", &nettle_sha256},
      {"sha384", &nettle_sha384},     {"sha512", &nettle_sha512},
      {"sha3_224", &nettle_sha3_224}, {"sha3_256", &nettle_sha3_256},
      {"sha3_384", &nettle_sha3_384}, {"sha3_512", &nettle_sha3_512},
  };
  return list;
}

const nettle_hash& find_algorithm(const std::string& name) {
  std::vector<std::string> names;
  for (const auto& [known, hash] : algorithms()) {
    if (known == name) return *hash;
    names.push_back(known);
  }
  throw Error(ErrorKind::usage, "unknown digest algorithm " + detail::in_quotes(name) +
                                    detail::suggestion(name, names));
}

}  // namespace

std::string text_digest(std::string_view text, const std::string& algorithm) {
  const nettle_hash& hash = find_algorithm(algorithm);
  std::vector<std::uint64_t> context(hash.context_size / sizeof(std::uint64_t) + 1);
  std::vector<std::uint8_t> bytes(hash.digest_size);
  hash.init(context.data());
  hash.update(context.data(), text.size(), reinterpret_cast<const std::uint8_t*>(text.data()));
  hash.digest(context.data(), bytes.size(), bytes.data());
  std::string result;
  for (const std::uint8_t byte : bytes) {
    result += "0123456789abcdef"[byte >> 4];
    result += "0123456789abcdef"[byte & 0xF];
  }
  return result;
}

std::string digest(const Json& document, const std::string& algorithm) {
  return text_digest(python_dumps(document), algorithm);
}

}  // namespace slalom
