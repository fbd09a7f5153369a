// SPDX-License-Identifier: Apache-2.0
#include "support/emulated_device.hpp"

#include <ATen/Context.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>

#if __has_include(<ATen/DeviceAccelerator.h>)  // LibTorch 2
#include <ATen/detail/XPUHooksInterface.h>
#define SLALOM_ACCELERATOR_HOOKS 1
#endif

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace {

using at::Tensor;
using c10::IValue;
using torch::jit::Stack;
using Sizes = std::vector<std::int64_t>;

constexpr c10::DeviceType k_type = c10::DeviceType::XPU;
const c10::Device k_device(k_type, 0);

std::atomic<std::int64_t> kernels{0};

// --- Memory

// No program may read an address with this bit set (user space of x86-64 and of AArch64).
constexpr std::uintptr_t k_hidden = std::uintptr_t{1} << 62U;

void* hidden(void* place) {
  return reinterpret_cast<void*>(reinterpret_cast<std::uintptr_t>(place) | k_hidden);
}

char* revealed(const void* place) {
  return reinterpret_cast<char*>(reinterpret_cast<std::uintptr_t>(place) & ~k_hidden);
}

c10::DataPtr allocated(std::size_t bytes) {
  c10::Allocator* host = c10::GetCPUAllocator();
  void* place = host->raw_allocate(std::max<std::size_t>(bytes, 1));
  return {hidden(place), place, host->raw_deleter(), k_device};
}

std::int64_t extent(const Sizes& size, const Sizes& stride) {
  std::int64_t last = 0;
  for (std::size_t i = 0; i < size.size(); ++i) {
    if (size[i] == 0) return 0;
    last += (size[i] - 1) * stride[i];
  }
  return last + 1;
}

Sizes contiguous_strides(const Sizes& size) {
  Sizes stride(size.size(), 1);
  for (std::size_t i = size.size(); i-- > 1;) {
    stride[i - 1] = stride[i] * std::max<std::int64_t>(size[i], 1);
  }
  return stride;
}

// --- Tensors

bool is_ours(const Tensor& t) { return t.defined() && t.device().type() == k_type; }

/// Of these sizes and strides, in a storage.
Tensor over(c10::Storage storage, const Sizes& size, const Sizes& stride, std::int64_t offset,
            at::ScalarType type) {
  Tensor result = at::detail::make_tensor<c10::TensorImpl>(
      std::move(storage), c10::DispatchKeySet(c10::DispatchKey::XPU),
      c10::scalarTypeToTypeMeta(type));
  c10::TensorImpl* impl = result.unsafeGetTensorImpl();
  impl->set_storage_offset(offset);
  impl->set_sizes_and_strides(size, stride);
  return result;
}

Tensor made(const Sizes& size, const Sizes& stride, at::ScalarType type) {
  const std::size_t bytes = static_cast<std::size_t>(extent(size, stride)) * c10::elementSize(type);
  return over(c10::Storage(c10::Storage::use_byte_size_t(), bytes, allocated(bytes)), size, stride,
              0, type);
}

/// The same memory as a tensor of the CPU.
Tensor on_host(const Tensor& t) {
  char* base = revealed(t.storage().data_ptr().get());
  const std::int64_t offset = t.storage_offset() * static_cast<std::int64_t>(t.element_size());
  Tensor result = at::from_blob(base + offset, t.sizes(), t.strides(),
                                at::TensorOptions().dtype(t.scalar_type()).device(at::kCPU));
  if (t.unsafeGetTensorImpl()->is_wrapped_number()) {
    result.unsafeGetTensorImpl()->set_wrapped_number(true);
  }
  return result;
}

Tensor on_device(const Tensor& t) {
  Tensor result = made(t.sizes().vec(), t.strides().vec(), t.scalar_type());
  on_host(result).copy_(t);
  return result;
}

// --- Operations that need the device

/// Argument i of `op` on the stack.
IValue& argument(const c10::OperatorHandle& op, Stack& stack, std::size_t i) {
  return stack[stack.size() - op.schema().arguments().size() + i];
}

void give(const c10::OperatorHandle& op, Stack& stack, IValue result) {
  torch::jit::drop(stack, op.schema().arguments().size());
  stack.push_back(std::move(result));
}

at::ScalarType type_of(const IValue& value) {
  return value.isNone() ? c10::get_default_dtype_as_scalartype() : value.toScalarType();
}

void empty_kernel(const c10::OperatorHandle& op, Stack* stack) {
  const Sizes size = argument(op, *stack, 0).toIntVector();
  give(op, *stack, made(size, contiguous_strides(size), type_of(argument(op, *stack, 1))));
}

void empty_strided_kernel(const c10::OperatorHandle& op, Stack* stack) {
  give(op, *stack,
       made(argument(op, *stack, 0).toIntVector(), argument(op, *stack, 1).toIntVector(),
            type_of(argument(op, *stack, 2))));
}

/// as_strided and _reshape_alias (which has no offset).
void strided_kernel(const c10::OperatorHandle& op, Stack* stack) {
  const Tensor self = argument(op, *stack, 0).toTensor();
  std::int64_t offset = self.storage_offset();
  if (op.schema().arguments().size() > 3 && !argument(op, *stack, 3).isNone()) {
    offset = argument(op, *stack, 3).toInt();
  }
  give(op, *stack,
       over(self.storage(), argument(op, *stack, 1).toIntVector(),
            argument(op, *stack, 2).toIntVector(), offset, self.scalar_type()));
}

/// The strides are those that the CPU finds for the same view.
void view_kernel(const c10::OperatorHandle& op, Stack* stack) {
  const Tensor self = argument(op, *stack, 0).toTensor();
  const Tensor seen = on_host(self).view(argument(op, *stack, 1).toIntVector());
  give(op, *stack,
       over(self.storage(), seen.sizes().vec(), seen.strides().vec(), self.storage_offset(),
            self.scalar_type()));
}

void resize(const Tensor& t, const Sizes& size) {
  const Sizes stride = contiguous_strides(size);
  const auto bytes = static_cast<std::size_t>(extent(size, stride) + t.storage_offset()) *
                     c10::elementSize(t.scalar_type());
  c10::StorageImpl* storage = t.storage().unsafeGetStorageImpl();
  if (bytes > storage->nbytes()) {
    c10::DataPtr larger = allocated(bytes);
    std::copy_n(revealed(storage->data_ptr().get()), storage->nbytes(), revealed(larger.get()));
    storage->set_data_ptr_noswap(std::move(larger));
    storage->set_nbytes(bytes);
  }
  t.unsafeGetTensorImpl()->set_sizes_and_strides(size, stride);
}

void resize_kernel(const c10::OperatorHandle& op, Stack* stack) {
  const Tensor self = argument(op, *stack, 0).toTensor();
  resize(self, argument(op, *stack, 1).toIntVector());
  give(op, *stack, self);
}

/// Of a storage of the device: how tensors are written to files.
void set_kernel(const c10::OperatorHandle& op, Stack* stack) {
  const Tensor self = argument(op, *stack, 0).toTensor();
  c10::TensorImpl* impl = self.unsafeGetTensorImpl();
  impl->set_storage_keep_dtype(argument(op, *stack, 1).toStorage());
  impl->set_storage_offset(argument(op, *stack, 2).toInt());
  impl->set_sizes_and_strides(argument(op, *stack, 3).toIntVector(),
                              argument(op, *stack, 4).toIntVector());
  give(op, *stack, self);
}

/// Between devices, the one operation that may see both.
void copy_kernel(const c10::OperatorHandle& op, Stack* stack) {
  const Tensor to = argument(op, *stack, 0).toTensor(), from = argument(op, *stack, 1).toTensor();
  (is_ours(to) ? on_host(to) : to).copy_(is_ours(from) ? on_host(from) : from);
  give(op, *stack, to);
}

// --- Everything else: the kernel of the CPU

/// One call of an operation in terms of the CPU.
class HostCall {
 public:
  HostCall(const c10::OperatorHandle& op, Stack& stack) : op_(op), stack_(stack) {}

  void run() {
    const auto& formal = op_.schema().arguments();
    for (std::size_t i = 0; i < formal.size(); ++i) {
      IValue& value = argument(op_, stack_, i);
      const bool written = formal[i].alias_info() != nullptr && formal[i].alias_info()->isWrite();
      before_.push_back(value);
      value = translated(value, written);
    }
    op_.callBoxed(stack_);
    ++kernels;
    take_back();
    results();
  }

 private:
  IValue translated(const IValue& value, bool written) {
    if (value.isTensor()) return tensor(value.toTensor(), written);
    if (value.isTensorList()) {
      std::vector<Tensor> list;
      for (const Tensor& t : value.toTensorVector()) list.push_back(tensor(t, written));
      return list;
    }
    if (value.isList()) {
      c10::List<IValue> list = value.toList().copy();  // of tensors that may be missing: indices
      for (std::size_t i = 0; i < list.size(); ++i) {
        const IValue one = list.get(i);
        if (one.isTensor()) list.set(i, index(one.toTensor()));
      }
      return list;
    }
    if (value.isDevice() && value.toDevice().type() == k_type) return at::Device(at::kCPU);
    return value;
  }

  Tensor tensor(const Tensor& t, bool written) {
    if (!t.defined()) return t;
    if (!is_ours(t)) {
      TORCH_CHECK(t.dim() == 0 && !written, "Expected all tensors to be on the same device, but ",
                  c10::toString(op_.schema().operator_name()),
                  " got one of the CPU beside those of the emulated device");
      return t;
    }
    // One that the operation may resize gets storage of its own.
    if (written && t.numel() == 0) {
      fresh_.emplace_back(t, at::empty({0}, at::TensorOptions().dtype(t.scalar_type())));
      return fresh_.back().second;
    }
    return on_host(t);
  }

  static Tensor index(const Tensor& t) { return is_ours(t) ? on_host(t) : t; }

  void take_back() {
    for (const auto& [ours, host] : fresh_) {
      if (host.numel() == 0 && host.sizes() == ours.sizes()) continue;
      resize(ours, host.sizes().vec());
      on_host(ours).copy_(host);
    }
  }

  /// What is returned under the name of an argument is that argument; the rest is new.
  void results() {
    const auto& returned = op_.schema().returns();
    for (std::size_t i = 0; i < returned.size(); ++i) {
      IValue& value = stack_[stack_.size() - returned.size() + i];
      const auto* alias = returned[i].alias_info();
      if (alias != nullptr) {
        TORCH_CHECK(alias->isWrite(), "the emulated device has no view ",
                    c10::toString(op_.schema().operator_name()));
        value = argument_of(*alias);
      } else if (value.isTensor() && value.toTensor().defined()) {
        value = on_device(value.toTensor());
      } else if (value.isTensorList()) {
        std::vector<Tensor> list;
        for (const Tensor& t : value.toTensorVector()) {
          list.push_back(t.defined() ? on_device(t) : t);
        }
        value = list;
      }
    }
  }

  IValue argument_of(const c10::AliasInfo& alias) const {
    const auto& formal = op_.schema().arguments();
    for (std::size_t i = 0; i < formal.size(); ++i) {
      if (formal[i].alias_info() != nullptr &&
          formal[i].alias_info()->beforeSets() == alias.beforeSets()) {
        return before_[i];
      }
    }
    TORCH_CHECK(false, "no argument is returned by ", c10::toString(op_.schema().operator_name()));
  }

  const c10::OperatorHandle& op_;
  Stack& stack_;
  std::vector<IValue> before_;
  std::vector<std::pair<Tensor, Tensor>> fresh_;
};

void host_kernel(const c10::OperatorHandle& op, Stack* stack) { HostCall(op, *stack).run(); }

/// One stream, in which kernels run as they are called: nothing is ever waited for.
struct Guard final : c10::impl::DeviceGuardImplInterface {
  c10::DeviceType type() const override { return k_type; }
  c10::DeviceIndex deviceCount() const noexcept override { return 1; }
  c10::Device getDevice() const override { return k_device; }
  c10::Device exchangeDevice(c10::Device /*device*/) const override { return k_device; }
  void setDevice(c10::Device /*device*/) const override {}
  void uncheckedSetDevice(c10::Device /*device*/) const noexcept override {}
  c10::Stream getStream(c10::Device /*device*/) const noexcept override {
    return c10::Stream(c10::Stream::DEFAULT, k_device);
  }
  c10::Stream exchangeStream(c10::Stream stream) const noexcept override { return stream; }
  void record(void** /*event*/, const c10::Stream& /*stream*/, c10::DeviceIndex /*index*/,
              c10::EventFlag /*flag*/) const override {}
  void block(void* /*event*/, const c10::Stream& /*stream*/) const override {}
  bool queryEvent(void* /*event*/) const override { return true; }
};

}  // namespace

#ifdef SLALOM_ACCELERATOR_HOOKS
namespace at {
/// What autograd asks before it runs on an accelerator.
struct XPUHooks final : XPUHooksInterface {
  void init() const override {}
  bool hasXPU() const override { return slalom::test::has_emulated_device(); }
  bool isBuilt() const override { return slalom::test::has_emulated_device(); }
  bool isAvailable() const override { return slalom::test::has_emulated_device(); }
  bool hasPrimaryContext(DeviceIndex /*index*/) const override { return true; }
  DeviceIndex deviceCount() const override { return 1; }
  DeviceIndex getNumGPUs() const override { return 1; }
  DeviceIndex current_device() const override { return 0; }
  DeviceIndex getCurrentDevice() const override { return 0; }
};
REGISTER_XPU_HOOKS(XPUHooks);
}  // namespace at
#endif

namespace c10::impl {
C10_REGISTER_GUARD_IMPL(XPU, Guard);
}  // namespace c10::impl

TORCH_LIBRARY_IMPL(_, XPU, library) {
  library.fallback(torch::CppFunction::makeFromBoxedFunction<&host_kernel>());
}

TORCH_LIBRARY_IMPL(aten, XPU, library) {
  library.impl("empty.memory_format", torch::CppFunction::makeFromBoxedFunction<&empty_kernel>());
  library.impl("empty_strided", torch::CppFunction::makeFromBoxedFunction<&empty_strided_kernel>());
  library.impl("as_strided", torch::CppFunction::makeFromBoxedFunction<&strided_kernel>());
  library.impl("_reshape_alias", torch::CppFunction::makeFromBoxedFunction<&strided_kernel>());
  library.impl("view", torch::CppFunction::makeFromBoxedFunction<&view_kernel>());
  library.impl("resize_", torch::CppFunction::makeFromBoxedFunction<&resize_kernel>());
  library.impl("set_.source_Storage_storage_offset",
               torch::CppFunction::makeFromBoxedFunction<&set_kernel>());
  library.impl("copy_", torch::CppFunction::makeFromBoxedFunction<&copy_kernel>());
}

namespace slalom::test {

bool has_emulated_device() { return !at::globalContext().hasCUDART(); }

at::Device emulated_device() { return k_device; }

std::int64_t emulated_kernels() { return kernels; }

}  // namespace slalom::test
