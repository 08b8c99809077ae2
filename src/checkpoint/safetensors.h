#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "checkpoint/mapped_file.h"
#include "checkpoint/weight_source.h"

namespace concertina::checkpoint {

// One tensor as a safetensors header describes it. `dtype_name` may be one we do not compute with (I64, say).
struct TensorEntry {
  std::string name;
  std::string dtype_name;
  tensor::Shape shape;
  std::span<const std::byte> bytes;
};

// Reads and checks the header of one file (https://github.com/huggingface/safetensors, "Format"): 8 bytes
// little-endian header length, JSON header, data. Offsets must lie inside the file, agree with shape and
// dtype, and neither overlap nor leave gaps.
Result<std::vector<TensorEntry>> read_safetensors(const MappedFile& file);

// A Hugging Face folder: model.safetensors, or the shards that model.safetensors.index.json names. Only
// headers are read when it is opened. Any thread.
class SafetensorsFolder : public WeightSource {
 public:
  static Result<std::unique_ptr<SafetensorsFolder>> open(const std::filesystem::path& folder);

  Result<tensor::Weight> load(const std::string& name, const tensor::Shape& shape) const override;
  Result<tensor::DType> verify(const std::string& name, const tensor::Shape& shape) const override;
  bool contains(const std::string& name) const override { return tensors_.contains(name); }
  Status read(const std::string& name, const tensor::Shape& shape, std::uint64_t first, std::uint64_t n,
              void* out) const override;
  bool is_shared(const std::string& name) const override;
  std::string describe(const std::string& name) const override;

 private:
  struct Located {
    TensorEntry entry;
    std::shared_ptr<const MappedFile> file;
  };
  Status add_file(const std::filesystem::path& path);
  Result<const Located*> find(const std::string& name, const tensor::Shape& shape) const;

  std::filesystem::path folder_;
  std::map<std::string, Located> tensors_;
};

}  // namespace concertina::checkpoint
