// SPDX-License-Identifier: Apache-2.0
#include <iostream>

#include "slalom/core/version.hpp"

int main() {
  std::cout << "slalom " << slalom::version() << '\n';
  return slalom::version() == SLALOM_VERSION_STRING ? 0 : 1;
}
