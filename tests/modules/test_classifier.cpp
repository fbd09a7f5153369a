// SPDX-License-Identifier: Apache-2.0
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/stack.h>
#include <cmath>
#include <filesystem>
#include <optional>
#include <torch/csrc/jit/api/module.h>
#include <tuple>

#include "slalom/modules/autodiff.hpp"
#include "slalom/modules/classifier.hpp"
#include "support/catch.hpp"
#include "support/fails.hpp"
#include "support/gradients.hpp"
#include "support/tensors.hpp"

using at::Tensor;
using slalom::Activation;
using slalom::Classifier;
using slalom::ErrorKind;
using slalom::Initialisation;
using slalom::Mlp;
using slalom::MlpOptions;
using slalom::Score;
using slalom::test::check_fails;
using slalom::test::distance;
using slalom::test::sequence;
using slalom::test::tensor;
using slalom::test::values;
using Vector = std::vector<double>;

namespace {

Tensor features(std::int64_t n, std::int64_t f) {
  return (3.0 * sequence(n * f) - 1.0).reshape({n, f});
}

double average(const Tensor& t) { return t.to(at::kDouble).mean().item<double>(); }
double variance(const Tensor& t) { return (t * t).to(at::kDouble).mean().item<double>(); }

}  // namespace

TEST_CASE("a network is its formula", "[modules][classifier]") {
  Mlp net(MlpOptions{.inputs = 2, .hidden = {3}, .seed = 7, .float64 = true});
  const auto named = net->named_parameters();
  const Tensor x = features(10, 2);
  const Tensor hidden = at::relu(x.matmul(named["weight0"].t()) + named["bias0"]);
  const Tensor expected = hidden.matmul(named["weight1"].t()) + named["bias1"];
  CHECK(distance(net->outputs(x, {}), expected) < 1e-15);
  CHECK(distance(net->forward(x), at::sigmoid(expected).flatten()) < 1e-15);
  CHECK(net->forward(x).dim() == 1);
}

TEST_CASE("initial weights are those of the seed alone", "[modules][classifier]") {
  const MlpOptions options{.inputs = 5, .hidden = {8, 8}, .seed = 11};
  Mlp a(options), b(options);
  MlpOptions other = options;
  other.seed = 12;
  Mlp c(other);
  for (std::size_t i = 0; i < a->parameters().size(); ++i) {
    CHECK(distance(a->parameters()[i], b->parameters()[i]) == 0.0);
  }
  CHECK(distance(a->parameters()[0], c->parameters()[0]) > 0.1);
  CHECK(a->parameters()[0].scalar_type() == at::kFloat);
}

TEST_CASE("initial weights have the variance of their scheme", "[modules][classifier]") {
  for (const auto& [scheme, expected] : {std::pair(Initialisation::he_normal, 2.0 / 100),
                                         std::pair(Initialisation::he_uniform, 2.0 / 100),
                                         std::pair(Initialisation::xavier_normal, 2.0 / 300),
                                         std::pair(Initialisation::xavier_uniform, 2.0 / 300)}) {
    Mlp net(MlpOptions{.inputs = 100, .hidden = {200}, .initialisation = scheme});
    const Tensor w = net->named_parameters()["weight0"];
    // 20,000 numbers: 1 % on the variance.
    CHECK_THAT(variance(w), Catch::Matchers::WithinRel(expected, 0.05));
    CHECK(std::abs(average(w)) < 0.03 * std::sqrt(expected));
    CHECK(values(net->named_parameters()["bias0"]) == Vector(200, 0.0));
  }
}

TEST_CASE("inputs are normalised with the events they were fitted to", "[modules][classifier]") {
  Mlp net(MlpOptions{.inputs = 3, .hidden = {4}, .float64 = true});
  Tensor x = features(200, 3);
  x.select(1, 1).mul_(1e4).add_(7e5);
  x.select(1, 2).fill_(0.1);
  const Tensor w = sequence(200, 0.9) - 0.2;
  net->fit_normalisation(x, w);
  const Tensor mean = net->named_buffers()["mean"], scale = net->named_buffers()["scale"];
  const Tensor share = (w.abs() / w.abs().sum()).unsqueeze(1);
  const Tensor z = (x - mean) / scale;
  CHECK(distance((share * z).sum(0), tensor({0, 0, 0})) < 1e-10);
  CHECK(distance((share * z * z).sum(0), tensor({1, 1, 0})) < 1e-10);
  CHECK(scale[2].item<double>() == 1.0);
  // Buffers: not trained, but saved.
  CHECK(net->parameters().size() == 4);
  x[0][0] = NAN;
  check_fails(ErrorKind::numerical, "classifier", "NaN", [&] { net->fit_normalisation(x); });
}

TEST_CASE("networks have the derivatives of their formula", "[modules][classifier][gradient]") {
  for (const Activation activation :
       {Activation::relu, Activation::leaky_relu, Activation::elu, Activation::silu,
        Activation::gelu, Activation::softplus, Activation::tanh, Activation::sigmoid}) {
    INFO("activation " << static_cast<int>(activation));
    Mlp net(MlpOptions{
        .inputs = 2, .hidden = {3}, .activation = activation, .seed = 2, .float64 = true});
    const auto named = net->named_parameters();
    slalom::test::check_gradients(
        [&](const std::vector<Tensor>& in) {
          return slalom::mlp(in[0], {in[1], in[2]}, {in[3], in[4]}, activation);
        },
        {features(4, 2), named["weight0"].detach(), named["weight1"].detach(),
         named["bias0"].detach() + 0.1, named["bias1"].detach()},
        {.step = 1e-4, .tolerance = 1e-7, .second_tolerance = 1e-5});
  }
}

TEST_CASE("parameters are appended to the features", "[modules][classifier][gradient]") {
  MlpOptions options{.inputs = 2, .hidden = {4}, .activation = Activation::silu, .float64 = true};
  options.parameters = {{"tes", 0.9, 1.1}, {"mu", 0.0, 4.0}};
  Mlp net(options);
  const Tensor x = features(6, 2), theta = tensor({0.95, 3.0});
  CHECK(net->named_parameters()["weight0"].size(1) == 4);
  // One theta for all, or one for each; mapped to [-1, 1].
  const Tensor all = net->forward(x, theta);
  CHECK(distance(all, net->forward(x, theta.unsqueeze(0).repeat({6, 1}))) == 0.0);
  const auto named = net->named_parameters();
  const Tensor mapped = tensor({-0.5, 0.5}).unsqueeze(0).expand({6, 2});
  const Tensor expected = slalom::mlp(at::cat({x, mapped}, 1), {named["weight0"], named["weight1"]},
                                      {named["bias0"], named["bias1"]}, Activation::silu);
  CHECK(distance(net->outputs(x, theta), expected) < 1e-14);
  slalom::test::check_gradients(
      [&](const std::vector<Tensor>& in) { return net->forward(in[0], in[1]); }, {x, theta});
  check_fails(ErrorKind::usage, "classifier", "theta [2] or [6, 2] expected, found none",
              [&] { net->forward(x); });
  check_fails(ErrorKind::usage, "classifier", "found [1]", [&] { net->forward(x, tensor({1.0})); });
}

TEST_CASE("one of two networks is in charge on either side", "[modules][classifier]") {
  MlpOptions options{.inputs = 2, .hidden = {4}, .float64 = true};
  options.parameters = {{"z", 0.8, 1.2}};
  slalom::TwoNetworks net(options, 0, 1.0);
  const Tensor x = features(4, 2);
  CHECK(distance(net->forward(x, tensor({1.0})), net->above->forward(x, tensor({1.0}))) == 0.0);
  CHECK(distance(net->forward(x, tensor({0.9})), net->below->forward(x, tensor({0.9}))) == 0.0);
  CHECK(distance(net->above->forward(x, tensor({1.0})), net->below->forward(x, tensor({1.0}))) >
        1e-3);
  const Tensor mixed = tensor({0.9, 1.1, 1.0, 0.8}).unsqueeze(1);
  const Vector found = values(net->forward(x, mixed));
  const Vector up = values(net->above->forward(x, mixed)),
               down = values(net->below->forward(x, mixed));
  CHECK(found == Vector{down[0], up[1], up[2], down[3]});
  CHECK(net->parameters().size() == 8);
}

TEST_CASE("a frozen network is one of features alone", "[modules][classifier]") {
  MlpOptions options{.inputs = 2, .hidden = {4}, .score = Score::linear, .float64 = true};
  options.temperature = 2.0;
  options.parameters = {{"z", 0.8, 1.2}};
  Mlp net(options);
  const Tensor x = features(4, 2);
  slalom::FrozenClassifier frozen(slalom::as_classifier(net.ptr()), tensor({0.9}));
  CHECK(distance(frozen->forward(x), net->forward(x, tensor({0.9}))) == 0.0);
  // theta that is given is taken.
  CHECK(distance(frozen->forward(x, tensor({1.1})), net->forward(x, tensor({1.1}))) == 0.0);
  CHECK(distance(frozen->forward(x), frozen->forward(x, tensor({1.1}))) > 1e-3);
  CHECK(values(frozen->theta()) == Vector{0.9});
  CHECK(frozen->parameters().size() == net->parameters().size());
  CHECK(frozen->piecewise_linear());
  check_fails(ErrorKind::usage, "classifier", "theta [p] expected", [&] {
    slalom::FrozenClassifierImpl wrong(slalom::as_classifier(net.ptr()), Tensor());
  });
}

TEST_CASE("an ensemble is the mean of its members", "[modules][classifier]") {
  std::vector<Classifier> members;
  Vector outputs;
  const Tensor x = features(1, 2);
  for (std::uint64_t seed = 0; seed < 3; ++seed) {
    Mlp net(MlpOptions{.inputs = 2, .hidden = {4}, .seed = seed, .float64 = true});
    members.push_back(slalom::as_classifier(net.ptr()));
    outputs.push_back(net->outputs(x, {}).item<double>());
  }
  slalom::Ensemble ensemble(members);
  const double expected = (outputs[0] + outputs[1] + outputs[2]) / 3.0;
  CHECK_THAT(ensemble->outputs(x, {}).item<double>(), Catch::Matchers::WithinAbs(expected, 1e-15));
  CHECK_THAT(ensemble->forward(x).item<double>(),
             Catch::Matchers::WithinAbs(1.0 / (1.0 + std::exp(-expected)), 1e-15));
  double sum = 0.0;
  for (const double y : outputs) sum += (y - expected) * (y - expected);
  CHECK_THAT(ensemble->spread(x).item<double>(),
             Catch::Matchers::WithinRel(std::sqrt(sum / 2), 1e-12));
  CHECK(ensemble->parameters().size() == 12);
  check_fails(ErrorKind::usage, "classifier", "without members",
              [] { slalom::Ensemble e(std::vector<Classifier>{}); });
}

TEST_CASE("a function is a classifier", "[modules][classifier]") {
  slalom::FunctionClassifier f(
      [](const Tensor& x, const Tensor& theta) { return x.select(1, 0) * theta; });
  CHECK(values(f->forward(tensor({1, 2, 3}).unsqueeze(1), tensor({2.0}))) == Vector{2, 4, 6});
  slalom::FunctionClassifier wrong([](const Tensor& x, const Tensor&) { return x.sum(); });
  check_fails(ErrorKind::usage, "classifier", "the function returned []", [&] {
    wrong->forward(tensor({1, 2}).unsqueeze(1));
  });
}

TEST_CASE("several outputs are softmax probabilities at a temperature", "[modules][classifier]") {
  Mlp net(MlpOptions{
      .inputs = 2, .hidden = {4}, .outputs = 3, .score = Score::softmax, .float64 = true});
  const Tensor x = features(5, 2);
  CHECK(distance(net->forward(x).sum(1), at::ones({5}, at::kDouble)) < 1e-15);
  net->temperature = 1e-6;
  CHECK(distance(std::get<0>(net->forward(x).max(1)), at::ones({5}, at::kDouble)) < 1e-9);
  const Tensor outputs = features(5, 3);
  CHECK(distance(slalom::to_score(outputs, Score::sigmoid, 2.0), at::sigmoid(outputs / 2.0)) ==
        0.0);
  check_fails(ErrorKind::usage, "classifier", "positive",
              [&] { slalom::to_score(outputs, Score::softmax, 0.0); });
}

TEST_CASE("piecewise linear networks say so", "[modules][classifier]") {
  for (const Activation a :
       {Activation::relu, Activation::leaky_relu, Activation::elu, Activation::silu,
        Activation::gelu, Activation::softplus, Activation::tanh, Activation::sigmoid}) {
    const bool kinks = a == Activation::relu || a == Activation::leaky_relu;
    CHECK(slalom::is_piecewise_linear(a) == kinks);
    Mlp net(MlpOptions{.inputs = 1, .hidden = {2}, .activation = a});
    CHECK(net->piecewise_linear() == kinks);
    // What it is about: the second derivative of the function that the network is.
    Tensor x = tensor({-0.7, -0.1, 0.3, 1.2}).requires_grad_();
    const Tensor slope = slalom::gradient(slalom::activate(x, a).sum(), x, true);
    const bool bends =
        slope.requires_grad() && slalom::gradient(slope.sum(), x).abs().max().item<double>() > 0.0;
    CHECK(bends == !kinks);
  }
}

TEST_CASE("a network from a TorchScript file can be trained", "[modules][classifier]") {
  const std::filesystem::path path = std::filesystem::temp_directory_path() / "slalom_test_net.pt";
  {
    torch::jit::Module made("net");
    made.register_parameter("weight",
                            tensor({0.1, -0.2, 0.3, 0.4}).reshape({2, 2}).requires_grad_(), false);
    made.register_parameter("bias", tensor({0.0, 1.0}).requires_grad_(), false);
    made.define("def forward(self, x):\n    return torch.matmul(x, self.weight.t()) + self.bias\n");
    made.save(path.string());
  }
  Classifier net = slalom::load_script_classifier(path.string(), Score::sigmoid);
  std::filesystem::remove(path);
  CHECK(net->piecewise_linear());
  REQUIRE(net->parameters().size() == 2);
  const Tensor x = features(3, 2);
  const Tensor weight = net->named_parameters()["weight"], bias = net->named_parameters()["bias"];
  CHECK(distance(net->outputs(x, {}), at::linear(x, weight, bias)) < 1e-15);
  {
    at::NoGradGuard guard;
    weight.fill_(0.5);
  }
  CHECK(distance(net->outputs(x, {}), at::linear(x, weight, bias)) < 1e-15);
  CHECK(slalom::gradient(net->forward(x).sum(), weight).abs().sum().item<double>() > 0.0);
  const std::optional<slalom::Error> error =
      slalom::test::error_of([] { slalom::load_script_classifier("/nowhere/net.pt"); });
  REQUIRE(error.has_value());
  CHECK(error->kind() == ErrorKind::io);
  CHECK(error->where() == "/nowhere/net.pt");
}

TEST_CASE("networks refuse what they cannot be", "[modules][classifier]") {
  const auto fails = [](const std::string& text, const MlpOptions& options) {
    check_fails(ErrorKind::usage, "classifier", text, [&] { Mlp net(options); });
  };
  fails("positive", {.inputs = 0});
  fails("positive", {.hidden = {4, 0}});
  fails("positive", {.temperature = 0.0});
  fails("empty range of parameter 'z'", {.parameters = {{"z", 1.0, 1.0}}});
  Mlp net(MlpOptions{.inputs = 2});
  check_fails(ErrorKind::usage, "classifier", "[events, 2] expected, found [3, 1]",
              [&] { net->forward(features(3, 1)); });
  check_fails(ErrorKind::usage, "classifier", "without parameters",
              [&] { net->forward(features(3, 2), tensor({1.0})); });
}
