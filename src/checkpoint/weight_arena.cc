#include "checkpoint/weight_arena.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <optional>
#include <thread>

#include "base/check.h"
#include "checkpoint/error.h"
#include "checkpoint/finite.h"

namespace concertina::checkpoint {

namespace {

// Read and written at once: within the second-level cache, with room for the other's lines. 64 KiB to 1 MiB
// took the same time.
constexpr std::uint64_t kBufferBytes = 256 << 10;
// Handed to one thread: long enough for the kernel to read ahead, short enough that none is left with the
// rest.
constexpr std::uint64_t kPieceBytes = 4 << 20;
constexpr auto kProgressInterval = std::chrono::seconds(1);

std::uint64_t rows_of(const tensor::Shape& shape) { return static_cast<std::uint64_t>(shape[0]); }
std::uint64_t width_of(const tensor::Shape& shape) {
  return shape.size() < 2 ? 1 : static_cast<std::uint64_t>(shape[1]);
}
std::uint64_t row_bytes(const ArenaTensor& tensor) {
  return width_of(tensor.shape) * element_bytes(tensor.source_dtype);
}
std::uint64_t rows_in(std::uint64_t n_bytes, const ArenaTensor& tensor) {
  return std::max<std::uint64_t>(1, n_bytes / std::max<std::uint64_t>(1, row_bytes(tensor)));
}

}  // namespace

// Rows [first, last) of a tensor.
struct WeightArena::Piece {
  std::size_t tensor = 0;
  std::uint64_t first = 0, last = 0;
};

// One fill: pieces go to whichever thread is free; the first error ends it.
class WeightArena::Filling {
 public:
  Filling(const WeightArena& arena, const WeightSource& source, const FillOptions& options)
      : arena_(arena), source_(source), options_(options) {
    for (std::size_t i = 0; i < arena.tensors_.size(); ++i) {
      const std::uint64_t n_rows = rows_of(arena.tensors_[i].shape);
      const std::uint64_t step = rows_in(kPieceBytes, arena.tensors_[i]);
      for (std::uint64_t row = 0; row < n_rows; row += step)
        pieces_.push_back({i, row, std::min(n_rows, row + step)});
      n_total_ += n_rows * row_bytes(arena.tensors_[i]);
    }
  }

  Status run() {
    std::vector<std::thread> threads;
    n_running_ = std::clamp<std::size_t>(options_.n_threads, 1, std::max<std::size_t>(1, pieces_.size()));
    for (std::size_t i = n_running_; i > 0; --i) threads.emplace_back([this] { work(); });
    report_until_done();
    for (std::thread& thread : threads) thread.join();
    if (error_) return fail(*error_);
    return {};
  }

 private:
  void work() {
    std::vector<std::byte> buffer(kBufferBytes);
    for (std::size_t i = next_++; i < pieces_.size(); i = next_++) {
      if (options_.stop != nullptr && *options_.stop)
        end_with(Error(CheckpointError::kCancelled, "reading the weights was stopped"));
      if (has_failed_) break;
      if (Status copied = copy(pieces_[i], buffer); !copied) end_with(copied.error());
    }
    const std::lock_guard lock(mutex_);
    if (--n_running_ == 0) done_.notify_all();
  }

  void end_with(const Error& error) {
    const std::lock_guard lock(mutex_);
    if (!error_) error_ = error;
    has_failed_ = true;
  }

  void report_until_done() {
    std::unique_lock lock(mutex_);
    while (!done_.wait_for(lock, kProgressInterval, [this] { return n_running_ == 0; })) {
      if (options_.on_progress) options_.on_progress(n_done_, n_total_);
    }
  }

  Status copy(const Piece& piece, std::vector<std::byte>& buffer) {
    const ArenaTensor& tensor = arena_.tensors_[piece.tensor];
    const std::uint64_t step = rows_in(kBufferBytes, tensor), width = width_of(tensor.shape);
    buffer.resize(std::max(buffer.size(), static_cast<std::size_t>(step * row_bytes(tensor))));
    for (std::uint64_t row = piece.first; row < piece.last; row += step) {
      const std::uint64_t n_rows = std::min(step, piece.last - row);
      RETURN_IF_ERROR(source_.read(tensor.name, tensor.shape, row * width, n_rows * width, buffer.data()));
      RETURN_IF_ERROR(check_finite(source_, tensor, row * width, n_rows * width, buffer.data()));
      RETURN_IF_ERROR(put(piece.tensor, row, n_rows, buffer.data()));
      n_done_ += n_rows * row_bytes(tensor);
    }
    return {};
  }

  Status put(std::size_t index, std::uint64_t row, std::uint64_t n_rows, const std::byte* data) {
    const ArenaTensor& tensor = arena_.tensors_[index];
    const ArenaEntry& entry = arena_.layout_.entries[index];
    const std::uint64_t width = width_of(tensor.shape);
    if (tensor.dtype != tensor::DType::kI8)
      return arena_.write(entry.data + row * row_bytes(tensor), data, n_rows * row_bytes(tensor));
    const tensor::Weight rows{.dtype = tensor.source_dtype,
                              .shape = {static_cast<std::int64_t>(n_rows), static_cast<std::int64_t>(width)},
                              .data = data};
    const tensor::Weight small = options_.quantize(rows);
    RETURN_IF_ERROR(arena_.write(entry.data + row * width, small.data, n_rows * width));
    RETURN_IF_ERROR(arena_.write(entry.scales + 4 * row, small.scales, 4 * n_rows));
    return arena_.write(entry.sums + 4 * row, small.sums, 4 * n_rows);
  }

  const WeightArena& arena_;
  const WeightSource& source_;
  const FillOptions& options_;
  std::vector<Piece> pieces_;
  std::uint64_t n_total_ = 0;
  std::atomic<std::uint64_t> n_done_{0};
  std::atomic<std::size_t> next_{0};
  std::atomic<bool> has_failed_{false};
  std::mutex mutex_;
  std::condition_variable done_;
  std::size_t n_running_ = 0;   // guarded by mutex_
  std::optional<Error> error_;  // guarded by mutex_
};

Result<std::unique_ptr<WeightArena>> WeightArena::create(std::vector<ArenaTensor> tensors) {
  std::unique_ptr<WeightArena> arena(new WeightArena);
  arena->layout_ = lay_out(tensors);
  arena->tensors_ = std::move(tensors);
  arena->fd_ = ::memfd_create("concertina-weights", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (arena->fd_ < 0 || ::ftruncate(arena->fd_, static_cast<off_t>(arena->layout_.n_bytes)) != 0) {
    return fail(CheckpointError::kOutOfMemory, fmt::format("cannot make memory for {} bytes of weights: {}",
                                                           arena->layout_.n_bytes, strerror(errno)));
  }
  return arena;
}

WeightArena::~WeightArena() {
  if (fd_ >= 0) ::close(fd_);
}

Status WeightArena::fill(const WeightSource& source, const FillOptions& options) {
  RETURN_IF_ERROR(Filling(*this, source, options).run());
  RETURN_IF_ERROR(write(0, layout_.head.data(), layout_.head.size()));
  return seal();
}

Status WeightArena::write(std::uint64_t at, const void* data, std::uint64_t n) const {
  const auto* from = static_cast<const std::byte*>(data);
  while (n > 0) {
    const ssize_t written = ::pwrite(fd_, from, n, static_cast<off_t>(at));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) {
      return fail(CheckpointError::kOutOfMemory,
                  fmt::format("no memory for the weights, which need {} bytes (at byte {}): {}", n_bytes(),
                              at, strerror(errno)));
    }
    from += written;
    at += static_cast<std::uint64_t>(written);
    n -= static_cast<std::uint64_t>(written);
  }
  return {};
}

Status WeightArena::seal() const {
  if (::fcntl(fd_, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) == 0) return {};
  return fail(CheckpointError::kUnreadable,
              fmt::format("cannot seal the memory of weights: {}", strerror(errno)));
}

}  // namespace concertina::checkpoint
