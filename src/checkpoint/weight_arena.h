#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <unordered_map>
#include <vector>

#include "checkpoint/arena_layout.h"
#include "checkpoint/weight_source.h"

namespace concertina::checkpoint {

// Rows of a matrix, F32 or BF16, as I8: kernels::quantize_int8, which this folder does not know.
using QuantizeRows = std::function<tensor::Weight(const tensor::Weight& rows)>;

// Weights in memory of our own: an unnamed memory file that one process fills once from a WeightSource and
// seals; others on the machine map it read-only (ArenaWeights) as /proc/PID/fd/FD. What becomes of the
// checkpoint's files after that is nobody's concern. It lives as long as somebody has it open or mapped.
//
// It is written by pwrite from a buffer that stays in the second-level cache, not through a mapping: the
// kernel need not clear the pages first, no page faults, it can be sealed, and a lack of memory is an error,
// not a signal.
class WeightArena {
 public:
  static Result<std::unique_ptr<WeightArena>> create(std::vector<ArenaTensor> tensors);
  ~WeightArena();
  WeightArena(const WeightArena&) = delete;
  WeightArena& operator=(const WeightArena&) = delete;

  // Reads every tensor, n_threads at a time, and seals. Once; blocks. A tensor with a value that is not
  // finite is an error that names it and the element. `on_progress(done, total)`: bytes, now and then, on
  // this thread. Ends early with kCancelled when `stop` turns true.
  struct FillOptions {
    std::size_t n_threads = 1;
    QuantizeRows quantize;  // needed if a tensor is kI8
    std::function<void(std::uint64_t done, std::uint64_t total)> on_progress;
    const std::atomic<bool>* stop = nullptr;
  };
  Status fill(const WeightSource& source, const FillOptions& options);

  int fd() const { return fd_; }
  std::uint64_t n_bytes() const { return layout_.n_bytes; }

 private:
  struct Piece;
  class Filling;
  WeightArena() = default;
  Status write(std::uint64_t at, const void* data, std::uint64_t n) const;
  Status seal() const;

  std::vector<ArenaTensor> tensors_;
  ArenaLayout layout_;
  int fd_ = -1;
};

// A filled arena as a source of weights, used in place.
class ArenaWeights : public WeightSource {
 public:
  // `path`: /proc/PID/fd/FD. An error if it is not a sealed arena.
  static Result<std::unique_ptr<ArenaWeights>> open(const std::string& path);

  Result<tensor::Weight> load(const std::string& name, const tensor::Shape& shape) const override;
  Result<tensor::DType> verify(const std::string& name, const tensor::Shape& shape) const override;
  bool contains(const std::string& name) const override { return wide_.contains(name); }
  std::optional<tensor::Weight> quantized(const std::string& name) const override;
  bool is_shared(const std::string&) const override { return true; }

 private:
  std::unordered_map<std::string, tensor::Weight> wide_, int8_;
};

}  // namespace concertina::checkpoint
