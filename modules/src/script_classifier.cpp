// SPDX-License-Identifier: Apache-2.0
// TorchScript, in a file of its own: its header takes ten seconds to compile.
#include "slalom/modules/torch.hpp"

#include <ATen/TensorOperators.h>
#include <algorithm>
#include <exception>
#include <torch/csrc/jit/serialization/import.h>
#include <utility>

#include "check.hpp"
#include "slalom/modules/classifier.hpp"

namespace slalom {

namespace {

class ScriptClassifierImpl : public ClassifierImpl {
 public:
  ScriptClassifierImpl(torch::jit::Module network, Score score_of, bool piecewise_linear)
      : network_(std::move(network)), piecewise_linear_(piecewise_linear) {
    score = score_of;
    // The same tensors, under names without dots: optimisers and devices act on both.
    for (const auto& entry : network_.named_parameters()) {
      register_parameter(plain(entry.name), entry.value, entry.value.requires_grad());
    }
    for (const auto& entry : network_.named_buffers()) {
      register_buffer(plain(entry.name), entry.value);
    }
  }

  Tensor outputs(const Tensor& features, const Tensor& theta) override {
    std::vector<c10::IValue> arguments = {features};
    if (theta.defined()) {
      arguments.emplace_back(
          theta.dim() == 1 ? theta.unsqueeze(0).expand({features.size(0), theta.size(0)}) : theta);
    }
    const Tensor value = network_.forward(std::move(arguments)).toTensor();
    return value.dim() == 1 ? value.unsqueeze(1) : value;
  }

  bool piecewise_linear() const override { return piecewise_linear_; }

  void train(bool on = true) override {
    ClassifierImpl::train(on);
    network_.train(on);
  }

 private:
  static std::string plain(std::string name) {
    std::replace(name.begin(), name.end(), '.', '_');
    return name;
  }

  torch::jit::Module network_;
  bool piecewise_linear_;
};

}  // namespace

Classifier load_script_classifier(const std::string& path, Score score, bool piecewise_linear) {
  try {
    return as_classifier(
        std::make_shared<ScriptClassifierImpl>(torch::jit::load(path), score, piecewise_linear));
  } catch (const std::exception& error) {
    const std::string text = error.what();  // followed by a stack trace
    throw Error(ErrorKind::io, "no TorchScript network: " + text.substr(0, text.find('\n')), path);
  }
}

}  // namespace slalom
