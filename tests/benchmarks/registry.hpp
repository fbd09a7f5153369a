// SPDX-License-Identifier: Apache-2.0
/// \file
/// Benchmarks that are registered at run time, because their names depend on the data at hand.
#pragma once

namespace slalom::bench {

/// `<what>/<model>` for the models of bench_core.cpp that are on this machine.
void register_core_benchmarks();

/// `grid_<step>/<grid>` for the grids of bench_grid.cpp that are on this machine.
void register_grid_benchmarks();
/// `morphed_<what>/<kind>` of bench_morphed.cpp.
void register_morphed_benchmarks();
/// Those of bench_modules.cpp, in builds with LibTorch.
void register_module_benchmarks();
/// `flow/<what>` of bench_flow.cpp, in builds with LibTorch.
void register_flow_benchmarks();

}  // namespace slalom::bench
