#include "checkpoint/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "base/check.h"
#include "checkpoint/config_files.h"
#include "checkpoint/error.h"

namespace concertina::checkpoint {

namespace {

using nlohmann::json;
using tensor::DType;

constexpr std::size_t kLengthBytes = 8;
constexpr std::uint64_t kGitLfsLength = 0x206e6f6973726576;  // "version ", with which its pointers begin
constexpr std::uint64_t kMaxHeaderBytes = 100u << 20;

std::optional<std::size_t> bytes_of(const std::string& dtype_name) {
  static const std::map<std::string, std::size_t> kBytes{
      {"F64", 8}, {"F32", 4},  {"F16", 2},     {"BF16", 2},    {"I64", 8}, {"I32", 4}, {"I16", 2}, {"I8", 1},
      {"U8", 1},  {"BOOL", 1}, {"F8_E4M3", 1}, {"F8_E5M2", 1}, {"U16", 2}, {"U32", 4}, {"U64", 8}};
  const auto found = kBytes.find(dtype_name);
  return found == kBytes.end() ? std::nullopt : std::optional(found->second);
}

Error corrupt(const MappedFile& file, const std::string& what) {
  return Error(CheckpointError::kCorrupt, fmt::format("{}: {}", file.path().string(), what));
}

Result<std::uint64_t> header_length(const MappedFile& file) {
  std::array<std::byte, kLengthBytes> bytes{};  // little-endian, as this machine
  RETURN_IF_ERROR(file.read(0, bytes));
  return std::bit_cast<std::uint64_t>(bytes);
}

Result<json> parse_header(const MappedFile& file) {
  const auto bytes = file.bytes();
  if (bytes.size() < kLengthBytes) {
    return fail(corrupt(file, fmt::format("has {} bytes: too short for a safetensors header", bytes.size())));
  }
  ASSIGN_OR_RETURN(const std::uint64_t length, header_length(file));
  if (length == kGitLfsLength)
    return fail(corrupt(file, "is a pointer of Git LFS, not the file: fetch it with `git lfs pull`"));
  if (length > kMaxHeaderBytes || length > bytes.size() - kLengthBytes) {
    return fail(
        corrupt(file, fmt::format("header length is {}, but the file has {} bytes (and a header at most {})",
                                  length, bytes.size(), kMaxHeaderBytes)));
  }
  std::string text(length, '\0');  // not in place: the file may be shortened meanwhile
  RETURN_IF_ERROR(file.read(kLengthBytes, std::as_writable_bytes(std::span(text))));
  return parse_json(text, file.path().string() + ": header");
}

// The extents' product times the element's bytes; none if an extent is negative or the product overflows.
std::optional<std::uint64_t> byte_count(const tensor::Shape& shape, std::size_t element) {
  std::uint64_t count = element;
  for (const std::int64_t extent : shape) {
    if (extent < 0 || __builtin_mul_overflow(count, static_cast<std::uint64_t>(extent), &count))
      return std::nullopt;
  }
  return count;
}

struct Described {
  TensorEntry entry;
  std::uint64_t begin = 0, end = 0;
};

Result<Described> describe(const MappedFile& file, const std::string& name, const json& value,
                           std::size_t n_data_bytes) {
  const auto wrong = [&](const std::string& what) {
    return fail(corrupt(file, fmt::format("tensor {}: {}", name, what)));
  };
  if (!value.is_object()) return wrong("its description is not an object");
  const auto dtype = value.find("dtype"), shape = value.find("shape"), offsets = value.find("data_offsets");
  if (dtype == value.end() || !dtype->is_string()) return wrong("dtype is missing or not a string");
  if (shape == value.end() || !shape->is_array()) return wrong("shape is missing or not a list");
  if (offsets == value.end() || !offsets->is_array() || offsets->size() != 2 ||
      !(*offsets)[0].is_number_unsigned() || !(*offsets)[1].is_number_unsigned()) {
    return wrong("data_offsets must be two numbers, 0 or above");
  }
  Described described{.entry = {.name = name, .dtype_name = dtype->get<std::string>()}};
  for (const json& extent : *shape) {
    if (!extent.is_number_integer()) return wrong("shape has an extent that is not an integer");
    described.entry.shape.push_back(extent.get<std::int64_t>());
  }
  const auto element = bytes_of(described.entry.dtype_name);
  if (!element) return wrong(fmt::format("dtype {} is unknown", described.entry.dtype_name));
  described.begin = (*offsets)[0].get<std::uint64_t>();
  described.end = (*offsets)[1].get<std::uint64_t>();
  if (described.begin > described.end || described.end > n_data_bytes) {
    return wrong(
        fmt::format("data_offsets are [{}, {}], but the file has {} bytes of data (is it truncated?)",
                    described.begin, described.end, n_data_bytes));
  }
  const auto expected = byte_count(described.entry.shape, *element);
  if (!expected || *expected != described.end - described.begin) {
    return wrong(fmt::format("shape {} in {} needs {} bytes, but data_offsets hold {}",
                             tensor::to_string(described.entry.shape), described.entry.dtype_name,
                             expected ? std::to_string(*expected) : "too many",
                             described.end - described.begin));
  }
  return described;
}

// Sorted by offset, every tensor must begin where the one before it ended.
Status check_contiguous(const MappedFile& file, std::vector<Described>& all, std::size_t n_data_bytes) {
  std::sort(all.begin(), all.end(), [](const Described& a, const Described& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  std::uint64_t end = 0;
  const std::string* previous = nullptr;
  for (const Described& one : all) {
    if (one.begin != end) {
      return fail(corrupt(
          file, fmt::format("tensor {} begins at byte {} of the data, {} {} ends at {}", one.entry.name,
                            one.begin, one.begin < end ? "but overlaps what" : "but what",
                            previous ? *previous : "comes before", end)));
    }
    end = one.end;
    previous = &one.entry.name;
  }
  if (end != n_data_bytes) {
    return fail(corrupt(file, fmt::format("{} bytes of data, but the tensors end at {}", n_data_bytes, end)));
  }
  return {};
}

float widen_half(std::uint16_t bits) {
  const std::uint32_t sign = (bits & 0x8000u) << 16, exponent = (bits >> 10) & 31, mantissa = bits & 0x3ffu;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | mantissa << 13);
  if (exponent != 0) return std::bit_cast<float>(sign | (exponent + 112) << 23 | mantissa << 13);
  const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;  // zero or subnormal
  return sign ? -magnitude : magnitude;
}

void widen(const std::byte* halves, std::uint64_t n, float* out) {
  for (std::uint64_t i = 0; i < n; ++i) {
    std::uint16_t bits = 0;
    std::memcpy(&bits, halves + 2 * i, sizeof(bits));
    out[i] = widen_half(bits);
  }
}

// A copy in F32: for F16, and for F32 that a header of odd length has put off its alignment.
tensor::Weight copy_widened(const TensorEntry& entry) {
  const auto n = static_cast<std::size_t>(tensor::count_of(entry.shape));
  auto buffer = std::make_shared<tensor::FloatBuffer>(n);
  if (entry.dtype_name == "F32") {
    std::memcpy(buffer->data(), entry.bytes.data(), n * sizeof(float));
  } else {
    widen(entry.bytes.data(), n, buffer->data());
  }
  const float* const data = buffer->data();
  return {DType::kF32, entry.shape, data, std::move(buffer)};
}

}  // namespace

Result<std::vector<TensorEntry>> read_safetensors(const MappedFile& file) {
  ASSIGN_OR_RETURN(const json header, parse_header(file));
  ASSIGN_OR_RETURN(const std::uint64_t length, header_length(file));
  if (length > file.bytes().size() - kLengthBytes)
    return fail(corrupt(file, "its header changed while it was read"));
  const auto data = file.bytes().subspan(kLengthBytes + length);
  std::vector<Described> all;
  for (const auto& [name, value] : header.items()) {
    if (name == "__metadata__") continue;
    ASSIGN_OR_RETURN(Described described, describe(file, name, value, data.size()));
    described.entry.bytes = data.subspan(described.begin, described.end - described.begin);
    all.push_back(std::move(described));
  }
  RETURN_IF_ERROR(check_contiguous(file, all, data.size()));
  std::vector<TensorEntry> entries;
  entries.reserve(all.size());
  for (Described& one : all) entries.push_back(std::move(one.entry));
  return entries;
}

Status SafetensorsFolder::add_file(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(const std::shared_ptr<const MappedFile> file, MappedFile::open(path));
  ASSIGN_OR_RETURN(std::vector<TensorEntry> entries, read_safetensors(*file));
  for (TensorEntry& entry : entries) {
    const std::string name = entry.name;
    const auto [place, inserted] = tensors_.try_emplace(name, Located{std::move(entry), file});
    if (!inserted) {
      return fail(
          corrupt(*file, fmt::format("tensor {} is also in {}", name, place->second.file->path().string())));
    }
  }
  return {};
}

Result<std::unique_ptr<SafetensorsFolder>> SafetensorsFolder::open(const std::filesystem::path& folder) {
  auto opened = std::make_unique<SafetensorsFolder>();
  opened->folder_ = folder;
  const auto index_path = folder / "model.safetensors.index.json", single_path = folder / "model.safetensors";
  if (!std::filesystem::exists(index_path)) {
    if (!std::filesystem::exists(single_path)) {
      return fail(
          CheckpointError::kNotFound,
          fmt::format("{}: neither model.safetensors nor model.safetensors.index.json", folder.string()));
    }
    RETURN_IF_ERROR(opened->add_file(single_path));
    return opened;
  }
  ASSIGN_OR_RETURN(const json index, read_json(index_path));
  const auto map = index.find("weight_map");
  if (map == index.end() || !map->is_object()) {
    return fail(CheckpointError::kCorrupt,
                fmt::format("{}: weight_map is missing or not an object", index_path.string()));
  }
  std::map<std::string, std::string> first_tensor;  // of each shard, to name in an error
  for (const auto& [name, shard] : map->items()) {
    if (!shard.is_string() || shard.get<std::string>().find('/') != std::string::npos) {
      return fail(CheckpointError::kCorrupt,
                  fmt::format("{}: tensor {}: its shard must be a file name, found {}", index_path.string(),
                              name, shard.dump()));
    }
    first_tensor.emplace(shard.get<std::string>(), name);
  }
  for (const auto& [shard, tensor_name] : first_tensor) {
    if (Status added = opened->add_file(folder / shard); !added) {
      if (!added.error().is(CheckpointError::kNotFound)) return fail(added.error());
      return fail(CheckpointError::kNotFound,
                  fmt::format("{}: the index says that tensor {} is in this shard, which does not exist",
                              (folder / shard).string(), tensor_name));
    }
  }
  for (const auto& [name, shard] : map->items()) {
    const auto found = opened->tensors_.find(name);
    if (found == opened->tensors_.end() ||
        found->second.file->path().filename() != shard.get<std::string>()) {
      return fail(CheckpointError::kCorrupt,
                  fmt::format("{}: tensor {} is not in {}, where the index says it is", index_path.string(),
                              name, shard.get<std::string>()));
    }
  }
  return opened;
}

Result<const SafetensorsFolder::Located*> SafetensorsFolder::find(const std::string& name,
                                                                  const tensor::Shape& shape) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) {
    return fail(CheckpointError::kNotFound, fmt::format("{}: tensor {} is missing", folder_.string(), name));
  }
  const TensorEntry& entry = found->second.entry;
  if (entry.shape != shape) {
    return fail(CheckpointError::kWrongShape,
                fmt::format("{}: tensor {} has shape {}, but config.json asks for {}",
                            found->second.file->path().string(), name, tensor::to_string(entry.shape),
                            tensor::to_string(shape)));
  }
  if (entry.dtype_name != "F32" && entry.dtype_name != "BF16" && entry.dtype_name != "F16") {
    return fail(CheckpointError::kUnsupported,
                fmt::format("{}: tensor {} is in {}; F32, BF16 and F16 are supported",
                            found->second.file->path().string(), name, entry.dtype_name));
  }
  return &found->second;
}

Result<tensor::DType> SafetensorsFolder::verify(const std::string& name, const tensor::Shape& shape) const {
  ASSIGN_OR_RETURN(const Located* const located, find(name, shape));
  return located->entry.dtype_name == "BF16" ? DType::kBF16 : DType::kF32;  // F16 is widened
}

Result<tensor::Weight> SafetensorsFolder::load(const std::string& name, const tensor::Shape& shape) const {
  ASSIGN_OR_RETURN(const Located* const located, find(name, shape));
  const TensorEntry& entry = located->entry;
  const auto address = reinterpret_cast<std::uintptr_t>(entry.bytes.data());
  if (entry.dtype_name == "BF16" && address % 2 == 0) {
    return tensor::Weight{DType::kBF16, entry.shape, entry.bytes.data(), located->file};
  }
  if (entry.dtype_name == "F32" && address % 4 == 0) {
    return tensor::Weight{DType::kF32, entry.shape, entry.bytes.data(), located->file};
  }
  if (entry.dtype_name == "BF16") {  // a header of odd length: rare, so a plain copy
    auto copy = std::make_shared<std::vector<std::uint16_t>>(entry.bytes.size() / 2);
    std::memcpy(copy->data(), entry.bytes.data(), entry.bytes.size());
    const void* const data = copy->data();
    return tensor::Weight{DType::kBF16, entry.shape, data, std::move(copy)};
  }
  return copy_widened(entry);
}

Status SafetensorsFolder::read(const std::string& name, const tensor::Shape& shape, std::uint64_t first,
                               std::uint64_t n, void* out) const {
  ASSIGN_OR_RETURN(const Located* const located, find(name, shape));
  const bool is_half = located->entry.dtype_name == "F16";
  const std::uint64_t element = located->entry.dtype_name == "F32" ? 4 : 2;
  CHECK((first + n) * element <= located->entry.bytes.size(), "{}: elements [{}, {})", name, first,
        first + n);
  const auto begin = static_cast<std::uint64_t>(located->entry.bytes.data() - located->file->bytes().data());
  std::vector<std::byte> halves(is_half ? n * element : 0);
  const std::span<std::byte> bytes =
      is_half ? std::span(halves) : std::span(static_cast<std::byte*>(out), n * element);
  RETURN_IF_ERROR(located->file->read(begin + first * element, bytes));
  if (is_half) widen(halves.data(), n, static_cast<float*>(out));
  return {};
}

bool SafetensorsFolder::is_shared(const std::string& name) const {
  const auto found = tensors_.find(name);
  return found != tensors_.end() && found->second.entry.dtype_name != "F16";
}

std::string SafetensorsFolder::describe(const std::string& name) const {
  const auto found = tensors_.find(name);
  return fmt::format("{}: tensor {}",
                     found == tensors_.end() ? folder_.string() : found->second.file->path().string(), name);
}

}  // namespace concertina::checkpoint
