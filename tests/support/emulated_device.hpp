// SPDX-License-Identifier: Apache-2.0
/// \file
/// A second device on any machine: LibTorch's key of Intel's GPUs (`xpu:0`, of which there are none
/// in its builds for the CPU and CUDA), whose tensors live in host memory behind addresses that the
/// host cannot read. It behaves as a GPU does where code can be wrong about devices:
///   * an operation that mixes its tensors with those of the CPU is an error (tensors of one number
///     and indices may be on the CPU, as for CUDA);
///   * reading its memory from the host (`data_ptr`, accessors) ends the program;
///   * `backward()` runs in the device's own thread.
/// Kernels are those of the CPU, so that results agree to the last digits. It says nothing about
/// speed, nor about kernels of CUDA that do not exist or round otherwise.
#pragma once

#include <c10/core/Device.h>
#include <cstdint>

namespace slalom::test {

/// Whether it can be used: not with a LibTorch that is built for CUDA, which allows no other
/// accelerator beside it.
bool has_emulated_device();

/// The device.
at::Device emulated_device();

/// Kernels that ran on it in this process.
std::int64_t emulated_kernels();

}  // namespace slalom::test
