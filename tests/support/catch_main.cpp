// SPDX-License-Identifier: Apache-2.0
// main() for a Catch2 2 that ships without the target Catch2WithMain.
#define CATCH_CONFIG_MAIN
#include "support/catch.hpp"
