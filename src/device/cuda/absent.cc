// Instead of the others where there was no nvcc: a device cannot be opened, so that nothing else is called.
#include "base/check.h"
#include "device/cuda/device.h"
#include "device/cuda/graph.h"

namespace concertina::device::cuda {

namespace {
tl::unexpected<Error> not_built() {
  return fail(CudaError::kNotBuilt,
              "this binary was built without CUDA: nvcc of CUDA 13 or later was not found");
}
}  // namespace

Result<Device> Device::open(int) { return not_built(); }
Result<Device> Device::look(int) { return not_built(); }
Status Device::use() const { return not_built(); }
Result<std::size_t> Device::free_bytes() const { return not_built(); }
std::string why_no_device() { return "built without CUDA"; }

Result<Arena> Arena::create(const Device&, std::size_t, const std::string&) { return not_built(); }
Arena::Arena(Arena&&) noexcept = default;
Arena& Arena::operator=(Arena&&) noexcept = default;
Arena::~Arena() = default;
Result<std::byte*> Arena::take(std::size_t, const std::string&) { return not_built(); }

Result<Pinned> Pinned::create(std::size_t, const std::string&) { return not_built(); }
Pinned::Pinned(Pinned&&) noexcept = default;
Pinned& Pinned::operator=(Pinned&&) noexcept = default;
Pinned::~Pinned() = default;

Result<Queue> Queue::create(const Device&) { return not_built(); }
Queue::Queue(Queue&&) noexcept = default;
Queue& Queue::operator=(Queue&&) noexcept = default;
Queue::~Queue() = default;
Status Queue::copy(void*, const void*, std::size_t) { return not_built(); }
Status Queue::fill(void*, std::uint8_t, std::size_t) { return not_built(); }
Status Queue::call(void (*)(void*), void*) { return not_built(); }
Status Queue::check() const { return not_built(); }
Status Queue::wait(const char*, Duration) { return not_built(); }

Result<Graph> Graph::capture(Queue&, const std::function<void()>&) { return not_built(); }
Graph::Graph(Graph&&) noexcept = default;
Graph& Graph::operator=(Graph&&) noexcept = default;
Graph::~Graph() = default;
Status Graph::launch(Queue&) { return not_built(); }

Result<Event> Event::create() { return not_built(); }
Event::Event(Event&&) noexcept = default;
Event& Event::operator=(Event&&) noexcept = default;
Event::~Event() = default;
Status Event::record(Queue&) { return not_built(); }
Result<float> Event::ms_since(const Event&) const { return not_built(); }

}  // namespace concertina::device::cuda
