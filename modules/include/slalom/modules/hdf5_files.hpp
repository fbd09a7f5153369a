// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "slalom/modules/torch.hpp"

#include <cstdint>
#include <string>
#include <vector>

/// \file
/// Tables in HDF5 files, read with the HDF5 library where slalom was built with it.
namespace slalom {

/// Numbers in named columns.
struct Hdf5Table {
  std::vector<std::string> columns;  ///< names
  Tensor values;                     ///< [n, columns], float64
};

/// Whether slalom was built with the HDF5 library. Without it read_hdf5_table() throws.
bool has_hdf5();

/// A table of an HDF5 file, which is one of
///  * a frame that pandas wrote in its "fixed" format, the default of `to_hdf`: a group with
///    `axis0`, `block0_items`, `block0_values`, ...;
///  * a dataset [n, k]: columns `name[0]` ... `name[k-1]`;
///  * a group with datasets [n], a column each, or [n, k], as above; in the order of their names.
///
/// Integers, floating-point numbers and booleans become float64.
/// \param name of the frame, dataset or group within the file, such as "df"; empty: the root, or
///   the only object in it
/// \param max_rows that are read at most; negative: all
/// \throws Error (io) with `file:dataset` for what is none of these, is no number, or is compressed
///   by a filter that the library does not have; Error (io) with the file if it cannot be read, or
///   slalom was built without HDF5
Hdf5Table read_hdf5_table(const std::string& path, const std::string& name = {},
                          std::int64_t max_rows = -1);

}  // namespace slalom
