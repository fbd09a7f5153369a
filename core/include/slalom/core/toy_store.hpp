// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "slalom/core/toys.hpp"

/// \file
/// Finished toys on disk, so that a run that was interrupted goes on where it was.
///
/// A ToyFile is JSON lines: an object per line, appended as toys finish. The first line says what
/// it is, one line begins each ensemble, and every toy is a line that names its ensemble. A run
/// that is killed loses at most the last second; a last line that is not complete is dropped.
namespace slalom {

/// What the toys of one ensemble have in common. Equal ensembles have equal toys.
struct ToyEnsemble {
  std::string model;               ///< see fingerprint()
  std::vector<double> parameters;  ///< where they are thrown [P]
  std::size_t parameter = 0;       ///< which parameter the conditional fits hold
  double value = 0.0;              ///< and where
  std::uint64_t seed = 0;          ///< of the random numbers
  std::uint32_t family = 0;        ///< of the random numbers
  std::vector<double> auxiliary;   ///< auxiliary data that are not thrown [A], or empty
  bool keep_parameters = false;    ///< whether toys have all parameters
};

/// Hash of a model, of what its fits hold, and of how hard they try, as 16 hexadecimal digits. The
/// same on all machines.
std::string fingerprint(const ModelSpec& spec, const FitOptions& fit = {});

/// Keeps finished toys; see toy_file.hpp for one on disk. Never called by two threads at a time.
class ToyStore {
 public:
  virtual ~ToyStore() = default;
  /// Begins an ensemble: toys that it has already, by index. keep() belongs to it from now on.
  virtual std::map<std::size_t, Toy> begin(const ToyEnsemble& ensemble) = 0;
  /// Keeps a finished toy.
  virtual void keep(std::size_t index, const Toy& toy) = 0;
  /// The ensemble is finished or interrupted.
  virtual void end() = 0;
};

/// A ToyStore in a file. The file is locked: two runs cannot write to one.
class ToyFile : public ToyStore {
 public:
  /// Whether a file is to be new or may have toys.
  enum class Mode { create, resume };

  /// Opens a file. With `resume` a file that does not exist is made.
  /// \throws Error (usage) for `create` if the file exists, (json) with file:line for a file that
  ///   is damaged before its last line or holds something else, (io) if another run uses it
  ToyFile(const std::filesystem::path& path, Mode mode);
  /// Writes what was not written yet.
  ~ToyFile() override;

  /// \throws Error (usage) if the file has toys of another model or seed; (io)
  std::map<std::size_t, Toy> begin(const ToyEnsemble& ensemble) override;
  void keep(std::size_t index, const Toy& toy) override;
  void end() override;

  /// Toys of earlier runs that begin() has handed out so far.
  std::size_t reused() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace slalom
