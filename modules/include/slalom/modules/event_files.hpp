// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "slalom/modules/torch.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "slalom/modules/events.hpp"

/// \file
/// Events from files: CSV, plain or compressed with gzip, NPZ, and HDF5.
namespace slalom {

/// What is done about features that are NaN, empty or equal to `missing`.
enum class MissingPolicy {
  refuse,      ///< an error with its place
  drop_event,  ///< the event is left out
  replace,     ///< by `replacement`
  keep,        ///< as NaN
};

/// What is read from a file, and how.
struct EventFileOptions {
  std::vector<std::string> columns = {};       ///< features; empty: all that are not named below
  std::vector<std::string> ignore = {};        ///< columns that are no features
  std::string weight = {};                     ///< column of weights; empty: 1 each
  std::string label = {};                      ///< column of labels; empty: none
  std::vector<std::string> label_values = {};  ///< texts that stand for 0, 1, ...; empty: integers
  std::string process = {};                    ///< column of processes; empty: none
  std::vector<std::string> processes =
      {};                              ///< their names; empty: as found, in order of appearance
  std::optional<double> missing = {};  ///< number that stands for an undefined feature
  MissingPolicy on_missing = MissingPolicy::refuse;  ///< what is done about undefined features
  double replacement = 0.0;                          ///< see MissingPolicy::replace
  std::int64_t max_events = -1;                      ///< rows that are read at most; negative: all
  bool float64 = false;                              ///< features in float64 instead of float32
  std::string table = {};  ///< HDF5: name of the object in the file; empty: the only one
  /// Equal in all members.
  bool operator==(const EventFileOptions&) const = default;
};

/// Events of a CSV file: a line of names, then one line for each event; quotes as in RFC 4180, but
/// no line feeds within them. Compression is recognised by the content.
/// \throws Error (io) with `file:line` for a line of another length, what is no number, an
/// undefined feature, a weight that is not finite, an unknown label; with `file:1` for a column
/// that is missing
EventBatch read_csv(const std::string& path, const EventFileOptions& options = {});

/// Events of an NPZ file: an array [n] for each column, or [n, k] for columns `name[0]` ...
/// `name[k-1]`. Processes are indices, with names from the options or "0", "1", ...; label_values
/// are not used. \throws Error (io) as read_csv(), with `file:array`
EventBatch read_npz_events(const std::string& path, const EventFileOptions& options = {});

/// Events of a table in an HDF5 file: a frame of pandas in its fixed format, a dataset [n, k] or
/// datasets [n] (read_hdf5_table()). Otherwise as read_npz_events(). \throws Error (io) also if
/// slalom was built without HDF5
EventBatch read_hdf5_events(const std::string& path, const EventFileOptions& options = {});

/// Events of a file by the end of its name: .npz; .h5, .hdf5 or .hdf; or anything else, which is
/// CSV.
EventBatch read_events(const std::string& path, const EventFileOptions& options = {});

}  // namespace slalom
