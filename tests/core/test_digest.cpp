// SPDX-License-Identifier: Apache-2.0
#include <nlohmann/json.hpp>

#include "slalom/core/digest.hpp"
#include "slalom/core/json.hpp"
#include "support/catch.hpp"
#include "support/fails.hpp"

TEST_CASE("digests of bytes are those of the standards", "[core][digest]") {
  // FIPS 180-4 and RFC 1321.
  CHECK(slalom::text_digest("abc") ==
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(slalom::text_digest("") ==
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(slalom::text_digest("abc", "md5") == "900150983cd24fb0d6963f7d28e17f72");
  // A document has the digest of its text in Python's form.
  CHECK(slalom::text_digest("{\"a\": [1, 2.0]}") ==
        slalom::digest(slalom::parse_json("{ \"a\" : [1,2.0] }")));
  slalom::test::check_fails(slalom::ErrorKind::usage, "", "sha256",
                            [] { slalom::text_digest("abc", "sha257"); });
}
