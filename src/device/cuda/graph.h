#pragma once

#include <functional>

#include "device/cuda/device.h"

struct CUgraphExec_st;

namespace concertina::device::cuda {

// What was enqueued once, to be run again as one piece: where it reads and writes, and how many blocks it
// starts, stay as they were.
class Graph {
 public:
  // `enqueue` may only enqueue on `on`: nothing runs meanwhile.
  static Result<Graph> capture(Queue& on, const std::function<void()>& enqueue);
  Graph(Graph&& other) noexcept;
  Graph& operator=(Graph&& other) noexcept;
  ~Graph();
  Status launch(Queue& on);

 private:
  explicit Graph(CUgraphExec_st* handle) : handle_(handle) {}
  CUgraphExec_st* handle_ = nullptr;
};

}  // namespace concertina::device::cuda
