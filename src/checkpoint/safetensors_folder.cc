#include "checkpoint/safetensors_folder.h"

#include <cstdint>
#include <cstring>
#include <new>
#include <optional>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "checkpoint/errors.h"
#include "checkpoint/json_file.h"
#include "checkpoint/widen.h"

namespace concertina::checkpoint {

namespace fs = std::filesystem;

namespace {

std::optional<tensor::DType> dtype_of(const std::string& name) {
  for (const auto dtype : {tensor::DType::kF32, tensor::DType::kBF16, tensor::DType::kF16}) {
    if (name == tensor::name_of(dtype)) return dtype;
  }
  return std::nullopt;
}

// A shard's name comes from a downloaded file: it must not lead out of the folder.
bool is_plain_file_name(const std::string& name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string::npos &&
         name.find('\0') == std::string::npos;
}

}  // namespace

Result<std::shared_ptr<const SafetensorsFolder>> SafetensorsFolder::open(const fs::path& folder) {
  std::shared_ptr<SafetensorsFolder> source(new SafetensorsFolder(folder.string()));
  const auto index = folder / "model.safetensors.index.json", single = folder / "model.safetensors";
  std::error_code ignored;
  if (fs::exists(index, ignored)) {
    RETURN_IF_ERROR(source->add_indexed(index));
  } else if (fs::exists(single, ignored)) {
    RETURN_IF_ERROR(source->add_single(single));
  } else {
    return fail(CheckpointError::kFileUnreadable,
                fmt::format("{}: found neither model.safetensors nor model.safetensors.index.json", folder.string()));
  }
  return std::shared_ptr<const SafetensorsFolder>(std::move(source));
}

Result<SafetensorsFolder::Shard> SafetensorsFolder::open_shard(const fs::path& path) {
  ASSIGN_OR_RETURN(MappedFile mapping, MappedFile::open(path));
  ASSIGN_OR_RETURN(TensorTable table, parse_safetensors_header(mapping.bytes(), path.string()));
  return Shard{std::make_shared<const File>(path.string(), std::move(mapping)), std::move(table)};
}

Status SafetensorsFolder::add_single(const fs::path& path) {
  ASSIGN_OR_RETURN(Shard shard, open_shard(path));
  for (auto& [name, entry] : shard.table) tensors_[name] = Tensor{shard.file, std::move(entry)};
  return {};
}

Status SafetensorsFolder::add_indexed(const fs::path& index_path) {
  ASSIGN_OR_RETURN(const nlohmann::json index, read_json_file(index_path, CheckpointError::kBadIndex));
  const auto map = index.find("weight_map");
  if (map == index.end() || !map->is_object() || map->empty()) {
    return fail(CheckpointError::kBadIndex,
                fmt::format("{}: 'weight_map' must be an object from tensor to file name", index_path.string()));
  }
  std::map<std::string, Shard> shards;
  for (const auto& [name, file_name] : map->items()) {
    const auto bad = [&, &tensor = name](const std::string& text) {
      return fail(CheckpointError::kBadIndex, fmt::format("{}: tensor '{}': {}", index_path.string(), tensor, text));
    };
    if (!file_name.is_string() || !is_plain_file_name(file_name.get_ref<const std::string&>())) {
      return bad(fmt::format("{} is not the name of a file in the same folder", file_name.dump()));
    }
    const std::string& shard_name = file_name.get_ref<const std::string&>();
    auto shard = shards.find(shard_name);
    if (shard == shards.end()) {
      const auto path = index_path.parent_path() / shard_name;
      std::error_code ignored;
      if (!fs::exists(path, ignored)) return bad(fmt::format("its shard '{}' is not in the folder", shard_name));
      ASSIGN_OR_RETURN(Shard opened, open_shard(path));
      shard = shards.emplace(shard_name, std::move(opened)).first;
    }
    const auto entry = shard->second.table.find(name);
    if (entry == shard->second.table.end()) return bad(fmt::format("shard '{}' does not contain it", shard_name));
    tensors_[name] = Tensor{shard->second.file, entry->second};
  }
  for (const auto& [shard_name, shard] : shards) {
    for (const auto& [name, entry] : shard.table) {
      const auto known = tensors_.find(name);
      if (known == tensors_.end() || known->second.file == shard.file) continue;
      return fail(CheckpointError::kBadIndex, fmt::format("{}: tensor '{}' is also in {}", shard.file->path, name,
                                                          known->second.file->path));
    }
  }
  return {};
}

Result<const SafetensorsFolder::Tensor*> SafetensorsFolder::find(const std::string& name,
                                                                 const tensor::Shape& shape) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) {
    return fail(CheckpointError::kTensorMissing, fmt::format("{}: tensor '{}' is missing, expected with shape {}",
                                                             folder_, name, tensor::to_string(shape)));
  }
  const Tensor& tensor = found->second;
  if (tensor.entry.shape != shape) {
    return fail(CheckpointError::kWrongShape,
                fmt::format("{}: tensor '{}': shape {}, expected {}", tensor.file->path, name,
                            tensor::to_string(tensor.entry.shape), tensor::to_string(shape)));
  }
  if (!dtype_of(tensor.entry.dtype)) {
    return fail(CheckpointError::kWrongDtype, fmt::format("{}: tensor '{}': dtype {}, expected F32, BF16 or F16",
                                                          tensor.file->path, name, tensor.entry.dtype));
  }
  return &tensor;
}

Status SafetensorsFolder::verify(const std::string& name, const tensor::Shape& shape) const {
  RETURN_IF_ERROR(find(name, shape));
  return {};
}

Result<tensor::Weight> SafetensorsFolder::load(const std::string& name, const tensor::Shape& shape) const {
  ASSIGN_OR_RETURN(const Tensor* tensor, find(name, shape));
  const auto bytes = tensor->file->mapping.bytes().subspan(tensor->entry.begin, tensor->entry.end - tensor->entry.begin);
  const tensor::DType dtype = *dtype_of(tensor->entry.dtype);
  const bool misaligned = reinterpret_cast<std::uintptr_t>(bytes.data()) % tensor::element_bytes(dtype) != 0;
  if (dtype != tensor::DType::kF16 && !misaligned) return tensor::Weight{dtype, shape, bytes.data(), tensor->file};

  const bool widen = dtype == tensor::DType::kF16;
  const std::size_t owned_bytes = widen ? bytes.size() * 2 : bytes.size();
  std::shared_ptr<float[]> owned(new (std::nothrow) float[(owned_bytes + 3) / 4]);
  if (!owned) {
    return fail(CheckpointError::kOutOfMemory, fmt::format("{}: tensor '{}': no memory for a copy of {} bytes",
                                                           tensor->file->path, name, owned_bytes));
  }
  if (widen) {
    widen_f16(bytes, {owned.get(), bytes.size() / 2});
  } else {
    std::memcpy(owned.get(), bytes.data(), bytes.size());
  }
  return tensor::Weight{widen ? tensor::DType::kF32 : dtype, shape, owned.get(), owned};
}

}  // namespace concertina::checkpoint
