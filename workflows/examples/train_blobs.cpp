// SPDX-License-Identifier: Apache-2.0
// Events, a network, a soft histogram, an energy scale and the likelihood: trained on sigma(mu).
#include <iostream>
#include <slalom/core/fit.hpp>
#include <slalom/core/json.hpp>
#include <slalom/modules.hpp>
#include <torch/optim/adam.h>

#include "blobs/blobs.hpp"

using namespace slalom;

int main(int argc, char** argv) {
  if (argc != 2) return std::cerr << "usage: train_blobs WORKSPACE.json\n", 2;
  const EventBatch train = blobs(1000, 1), test = blobs(20000, 2);
  PipelineOptions options;
  options.variations = {scale_variation("energy_scale", {"x", "y"}, 0.2)};
  options.variations[0].processes = {"background"};
  options.one_sidedness = 0.1;
  const Mlp network(MlpOptions{.inputs = 2, .hidden = {32, 32}});
  const SoftHistogram histogram(SoftHistogramOptions{
      .axes = {{.edges = {0.0, 0.25, 0.5, 0.75, 1.0}, .bandwidth = 0.1}},
      .annealing = {.shape = ScheduleShape::geometric, .end = 0.2, .steps = 150}});
  Pipeline pipeline(parse_workspace(read_json(argv[1])), as_classifier(network.ptr()), nullptr,
                    histogram, options);

  torch::optim::Adam optimiser(pipeline->parameters(), torch::optim::AdamOptions(1e-2));
  for (int step = 0; step <= 150; ++step) {
    pipeline->set_step(step);
    optimiser.zero_grad();
    const double loss = pipeline->backward({train});
    optimiser.step();
    if (step % 50 == 0) std::cout << "step " << step << "  log sigma(mu) " << loss << '\n';
  }

  const Model model(make_model_spec(pipeline->publish(test)));
  const FitResult best = fit(model);
  std::cout << "hard bins, other events: mu = " << best.parameters[*model.spec().poi] << " +- "
            << Fitter(model).errors(best)[*model.spec().poi] << " (" << best.message << ")\n";
}
