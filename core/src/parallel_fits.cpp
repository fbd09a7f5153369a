// SPDX-License-Identifier: Apache-2.0
#include "parallel_fits.hpp"

#include <algorithm>
#include <atomic>
#include <limits>
#include <mutex>
#include <optional>
#include <tbb/blocked_range.h>
#include <tbb/enumerable_thread_specific.h>
#include <tbb/global_control.h>
#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>

namespace slalom::detail {

std::size_t parallel_fits(const Model& model, std::size_t n, std::size_t threads,
                          const std::function<bool(std::size_t, std::size_t)>& progress,
                          const std::function<void(std::size_t, Fitter&)>& task) {
  tbb::enumerable_thread_specific<Fitter> fitters([&model] { return Fitter(model); });
  std::atomic<std::size_t> done{0};
  std::atomic<bool> stop{false};
  std::mutex reporting;
  const auto body = [&](const tbb::blocked_range<std::size_t>& range) {
    Fitter& fitter = fitters.local();
    for (std::size_t i = range.begin(); i < range.end() && !stop; ++i) {
      task(i, fitter);
      ++done;
      if (!progress) continue;
      const std::lock_guard<std::mutex> lock(reporting);
      if (!stop && !progress(done, n)) stop = true;
    }
  };
  const auto most = static_cast<std::size_t>(std::numeric_limits<int>::max());
  // oneTBB has no more threads than the machine has cores unless it is told so.
  std::optional<tbb::global_control> limit;
  if (threads > 1) limit.emplace(tbb::global_control::max_allowed_parallelism, threads);
  tbb::task_arena arena(threads == 0 ? tbb::task_arena::automatic
                                     : static_cast<int>(std::min(threads, most)));
  arena.execute([&] { tbb::parallel_for(tbb::blocked_range<std::size_t>(0, n), body); });
  return done;
}

}  // namespace slalom::detail
