#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "checkpoint/mapped_file.h"
#include "checkpoint/safetensors_header.h"
#include "checkpoint/weight_source.h"

namespace concertina::checkpoint {

// The weights of a Hugging Face folder: the shards that model.safetensors.index.json names, else model.safetensors.
// Opening maps every file and checks every header, but touches no weight. Immutable afterwards; any thread. Weights handed
// out keep their file mapped, also after the folder object is gone.
class SafetensorsFolder : public WeightSource {
 public:
  static Result<std::shared_ptr<const SafetensorsFolder>> open(const std::filesystem::path& folder);

  // F16 is widened into memory of its own on every call; so is a tensor that lies misaligned in its file.
  Result<tensor::Weight> load(const std::string& name, const tensor::Shape& shape) const override;
  Status verify(const std::string& name, const tensor::Shape& shape) const override;
  bool contains(const std::string& name) const override { return tensors_.contains(name); }

 private:
  struct File {
    std::string path;
    MappedFile mapping;
  };
  struct Tensor {
    std::shared_ptr<const File> file;
    TensorEntry entry;
  };
  struct Shard {
    std::shared_ptr<const File> file;
    TensorTable table;
  };
  explicit SafetensorsFolder(std::string folder) : folder_(std::move(folder)) {}
  static Result<Shard> open_shard(const std::filesystem::path& path);
  Status add_single(const std::filesystem::path& path);
  Status add_indexed(const std::filesystem::path& index_path);
  Result<const Tensor*> find(const std::string& name, const tensor::Shape& shape) const;

  std::string folder_;
  std::map<std::string, Tensor> tensors_;
};

}  // namespace concertina::checkpoint
