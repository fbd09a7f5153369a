// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "slalom/modules/torch.hpp"

#include <map>
#include <string>

namespace torch::nn {
class Module;
}

/// \file
/// Named tensors in numpy's files (NPY, NPZ), and those of a network: weights are exchanged with
/// anything that reads numpy's.
namespace slalom {

/// Tensors by name.
using NamedTensors = std::map<std::string, Tensor>;

/// The array of an NPY file: float32, float64, bool or integers of 8 to 64 bits, little endian, in
/// the order of C or Fortran. \throws Error (io) for any other
Tensor read_npy(const std::string& path);
/// The arrays of an NPZ file, stored or deflated; checksums are verified. \throws Error (io)
NamedTensors read_npz(const std::string& path);
/// Writes an NPZ file, stored, that numpy reads, completely or not at all; same tensors, same
/// bytes. \throws Error (io) for a file that cannot be written, or a type that read_npy() does not
/// know
void write_npz(const std::string& path, const NamedTensors& tensors);

/// Copies of the parameters and buffers of a module, by their names.
NamedTensors named_tensors(const torch::nn::Module& module);
/// Puts tensors into the parameters and buffers of a module. \throws Error (usage) if one is
/// missing, is not part of the module, or has another shape; the module is unchanged then
void load_tensors(torch::nn::Module& module, const NamedTensors& tensors);

}  // namespace slalom
