// SPDX-License-Identifier: Apache-2.0
/// \file
/// Catch2, version 2 or 3. Tests use what both have: Catch::Matchers::WithinRel and WithinAbs
/// rather than Approx, no SKIP(), no matcher that only version 3 knows.
#pragma once

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
#else
#include <catch2/catch.hpp>
#endif
