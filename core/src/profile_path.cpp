// SPDX-License-Identifier: Apache-2.0
#include "profile_path.hpp"

#include <algorithm>

#include "fit_state.hpp"

namespace slalom::detail {

ProfilePath::ProfilePath(Fitter& fitter, const FitResult& best, std::size_t parameter)
    : model_(fitter.model()),
      parameter_(parameter),
      points_{best.parameters},
      slope_(best.parameters.size(), 0.0) {
  FitState& f = FitAccess::state(fitter);
  const ParameterPlace place = f.state.engine.places[parameter];
  if (place.local) {
    f.held_factor = f.kept_factor;
    return;
  }
  std::vector<double> slope;
  if (!f.minimizer.hold(f.kept_factor, place.index, f.held_factor, slope)) return;
  for (std::size_t i = 0; i < slope.size(); ++i) slope_[f.state.engine.shared[i]] = slope[i];
}

void ProfilePath::add(const FitResult& fit) {
  const double value = fit.parameters[parameter_];
  for (const std::vector<double>& point : points_) {
    if (point[parameter_] == value) return;
  }
  if (points_.size() == 4) points_.erase(points_.begin() + 1);
  points_.push_back(fit.parameters);
}

std::vector<double> ProfilePath::predict(double value) const {
  const std::size_t n = points_.front().size();
  std::vector<double> result(n);
  const std::vector<double>& a = points_[points_.size() > 3 ? 1 : 0];
  const double va = a[parameter_];
  const auto parabola = [&](const auto& at) {
    for (std::size_t i = 0; i < n; ++i) {
      const Parameter& p = model_.spec().parameters[i];
      const double x = at(i);
      result[i] = x >= p.lower && x <= p.upper ? x : std::clamp(a[i], p.lower, p.upper);
    }
  };
  const double d = value - va;
  if (points_.size() == 1) {
    parabola([&](std::size_t i) { return a[i] + d * slope_[i]; });
  } else if (points_.size() == 2) {
    const std::vector<double>& b = points_[1];
    const double db = b[parameter_] - va, share = d * d / (db * db);
    parabola([&](std::size_t i) {
      return a[i] + d * slope_[i] + share * (b[i] - a[i] - db * slope_[i]);
    });
  } else {
    const std::vector<double>&b = points_[points_.size() - 2], &c = points_.back();
    const double vb = b[parameter_], vc = c[parameter_];
    const double la = (value - vb) * (value - vc) / ((va - vb) * (va - vc));
    const double lb = (value - va) * (value - vc) / ((vb - va) * (vb - vc));
    const double lc = (value - va) * (value - vb) / ((vc - va) * (vc - vb));
    parabola([&](std::size_t i) { return la * a[i] + lb * b[i] + lc * c[i]; });
  }
  result[parameter_] = value;
  return result;
}

}  // namespace slalom::detail
