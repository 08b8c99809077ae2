#include "device/cuda/graph.h"

#include <cuda_runtime_api.h>

#include <utility>

#include "device/cuda/failure.h"

namespace concertina::device::cuda {

Result<Graph> Graph::capture(Queue& on, const std::function<void()>& enqueue) {
  RETURN_IF_ERROR(status_of(cudaStreamBeginCapture(on.handle(), cudaStreamCaptureModeThreadLocal),
                            "cudaStreamBeginCapture"));
  enqueue();
  cudaGraph_t graph = nullptr;
  RETURN_IF_ERROR(status_of(cudaStreamEndCapture(on.handle(), &graph), "cudaStreamEndCapture"));
  cudaGraphExec_t handle = nullptr;
  const Status made = status_of(cudaGraphInstantiate(&handle, graph, 0), "cudaGraphInstantiate");
  (void)cudaGraphDestroy(graph);
  RETURN_IF_ERROR(made);
  return Graph(handle);
}

Graph::Graph(Graph&& other) noexcept { *this = std::move(other); }
Graph& Graph::operator=(Graph&& other) noexcept {
  std::swap(handle_, other.handle_);
  return *this;
}
Graph::~Graph() {
  if (handle_ != nullptr) (void)cudaGraphExecDestroy(handle_);
}

Status Graph::launch(Queue& on) {
  return status_of(cudaGraphLaunch(handle_, on.handle()), "cudaGraphLaunch");
}

}  // namespace concertina::device::cuda
