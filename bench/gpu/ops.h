#pragma once

#include "bench/gpu/report.h"
#include "model/cuda/device_model.h"

namespace concertina::bench::gpu {

struct OpsOptions {
  std::size_t n_layers = 12;
  float router_skew = 0.3f;
  std::size_t max_rows = 8192, max_kv_tokens = 256 * 512, max_sequences = 256;
};

// Every op of a layer for itself: one call a layer in a graph, so that no weight is in the L2 from the call
// before. And the page of all of them in one graph.
class Ops {
 public:
  static Result<std::unique_ptr<Ops>> create(const OpsOptions& options);
  ~Ops();
  void measure(const Load& load, Report& report);

 private:
  struct Parts;
  explicit Ops(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace concertina::bench::gpu
