// SPDX-License-Identifier: Apache-2.0
// A published workspace with one template as a tensor: d (upper limit) / d (template).
#include <iostream>
#include <nlohmann/json.hpp>
#include <slalom/core/json.hpp>
#include <slalom/modules.hpp>

using namespace slalom;

int main(int argc, char** argv) {
  if (argc != 4) return std::cerr << "usage: template_gradient WORKSPACE CHANNEL SAMPLE\n", 2;
  const Likelihood likelihood(make_model_spec(parse_workspace(read_json(argv[1]))));
  const Range place = likelihood.systematics().nominal_range(argv[2], argv[3]);

  Templates templates = likelihood.templates();
  Tensor sample = templates.nominal.slice(0, place.first, place.first + place.size).clone();
  sample.requires_grad_(true);  // or the output of a network
  templates.nominal = replace_range(templates.nominal, place, sample);

  const Tensor limit = ProfileLoss(likelihood, {.figure = Figure::upper_limit})(templates);
  limit.backward();
  std::cout << "expected upper limit on mu: " << limit.item<double>() << "\nbin  yield  d limit\n";
  for (std::int64_t b = 0; b < place.size; ++b) {
    std::cout << b << "  " << sample[b].item<double>() << "  " << sample.grad()[b].item<double>()
              << '\n';
  }
}
