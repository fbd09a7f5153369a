// SPDX-License-Identifier: Apache-2.0
/// \file
/// Google Benchmark's main program, and
///   slalom_benchmarks --write-synthetic NAME FILE
/// which writes a synthetic workspace for other tools to read.
#include <benchmark/benchmark.h>
#include <cstring>
#include <exception>
#include <iostream>
#include <nlohmann/json.hpp>

#include "benchmarks/registry.hpp"
#include "slalom/core/json.hpp"
#include "support/synthetic.hpp"

#if defined(__GNUC__) && !defined(__OPTIMIZE__)
#error "benchmarks of a build without optimisation say nothing; use the release preset"
#endif

int main(int argc, char** argv) {
  try {
    if (argc > 1 && std::strcmp(argv[1], "--write-synthetic") == 0) {
      if (argc != 4) {
        std::cerr << "usage: " << argv[0] << " --write-synthetic NAME FILE\nnames:";
        for (const auto& model : slalom::test::synthetic_models()) std::cerr << ' ' << model.name;
        std::cerr << '\n';
        return 2;
      }
      const auto& options = slalom::test::synthetic_model(argv[2]);
      const auto workspace = slalom::test::synthetic_workspace(options);
      slalom::write_text(argv[3], slalom::dump_json(workspace, -1));
      return 0;
    }
#ifndef NDEBUG
    std::cerr << "warning: assertions are on; for figures to quote use the release preset\n";
#endif
    slalom::bench::register_core_benchmarks();
    slalom::bench::register_grid_benchmarks();
    slalom::bench::register_morphed_benchmarks();
#if SLALOM_HAS_MODULES
    slalom::bench::register_module_benchmarks();
    slalom::bench::register_flow_benchmarks();
#endif
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
    benchmark::RunSpecifiedBenchmarks();
    benchmark::Shutdown();
    return 0;
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}
