#include "checkpoint/safetensors_header.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "checkpoint/errors.h"
#include "checkpoint/json_file.h"

namespace concertina::checkpoint {

namespace {

constexpr std::size_t kLengthBytes = 8;
constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;  // the limit of the format's own reader
constexpr std::size_t kMaxDimensions = 8;
constexpr const char* kMetadataKey = "__metadata__";

struct DtypeSize {
  std::string_view name;
  std::size_t bytes;
};
constexpr DtypeSize kDtypes[] = {{"F32", 4},  {"BF16", 2}, {"F16", 2},     {"F64", 8},     {"I64", 8},     {"U64", 8},
                                 {"I32", 4},  {"U32", 4},  {"I16", 2},     {"U16", 2},     {"I8", 1},      {"U8", 1},
                                 {"BOOL", 1}, {"C64", 8},  {"F8_E4M3", 1}, {"F8_E5M2", 1}, {"F8_E8M0", 1}};

tl::unexpected<Error> bad(CheckpointError code, const std::string& file, const std::string& tensor, std::string text) {
  return fail(code, fmt::format("{}: tensor '{}': {}", file, tensor, text));
}

std::uint64_t read_little_endian(std::span<const std::byte> bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < kLengthBytes; ++i) value |= std::to_integer<std::uint64_t>(bytes[i]) << (8 * i);
  return value;
}

Result<std::uint64_t> header_length(std::span<const std::byte> file, const std::string& name) {
  if (file.size() < kLengthBytes) {
    return fail(CheckpointError::kTruncated,
                fmt::format("{}: truncated: {} bytes, a safetensors file has 8 at least", name, file.size()));
  }
  const std::uint64_t length = read_little_endian(file);
  if (length > kMaxHeaderBytes) {
    return fail(CheckpointError::kBadHeader,
                fmt::format("{}: header length is {} bytes, expected at most {}: not a safetensors file", name, length,
                            kMaxHeaderBytes));
  }
  if (length > file.size() - kLengthBytes) {
    return fail(CheckpointError::kTruncated, fmt::format("{}: truncated: header of {} bytes, but only {} follow", name,
                                                         length, file.size() - kLengthBytes));
  }
  return length;
}

Result<tensor::Shape> parse_shape(const nlohmann::json& entry, const std::string& file, const std::string& tensor) {
  const auto shape = entry.find("shape");
  if (shape == entry.end() || !shape->is_array() || shape->size() > kMaxDimensions) {
    return bad(CheckpointError::kBadHeader, file, tensor,
               fmt::format("'shape' must be an array of at most {} extents", kMaxDimensions));
  }
  tensor::Shape extents;
  for (const auto& extent : *shape) {
    if (!extent.is_number_unsigned() || extent.get<std::uint64_t>() > std::uint64_t{1} << 62) {
      return bad(CheckpointError::kBadHeader, file, tensor,
                 fmt::format("extent {} in 'shape' must be an integer in 0..2^62", extent.dump()));
    }
    extents.push_back(extent.get<std::int64_t>());
  }
  return extents;
}

Result<std::pair<std::uint64_t, std::uint64_t>> parse_offsets(const nlohmann::json& entry, const std::string& file,
                                                              const std::string& tensor) {
  const auto offsets = entry.find("data_offsets");
  if (offsets == entry.end() || !offsets->is_array() || offsets->size() != 2 ||
      !(*offsets)[0].is_number_unsigned() || !(*offsets)[1].is_number_unsigned()) {
    return bad(CheckpointError::kBadHeader, file, tensor, "'data_offsets' must be two non-negative integers");
  }
  return std::pair((*offsets)[0].get<std::uint64_t>(), (*offsets)[1].get<std::uint64_t>());
}

Result<std::size_t> element_bytes(const nlohmann::json& entry, const std::string& file, const std::string& tensor) {
  const auto dtype = entry.find("dtype");
  if (dtype == entry.end() || !dtype->is_string()) {
    return bad(CheckpointError::kBadHeader, file, tensor, "'dtype' must be a string");
  }
  const auto& name = dtype->get_ref<const std::string&>();
  for (const DtypeSize& known : kDtypes) {
    if (known.name == name) return known.bytes;
  }
  return bad(CheckpointError::kWrongDtype, file, tensor, fmt::format("unknown dtype '{}'", name));
}

std::optional<std::uint64_t> bytes_of(const tensor::Shape& shape, std::size_t element_bytes) {
  std::uint64_t bytes = element_bytes;
  for (const std::int64_t extent : shape) {
    if (__builtin_mul_overflow(bytes, static_cast<std::uint64_t>(extent), &bytes)) return std::nullopt;
  }
  return bytes;
}

// `data_begin`: where the data starts in the file; `data_bytes`: how much there is.
Result<TensorEntry> parse_entry(const nlohmann::json& entry, const std::string& file, const std::string& tensor,
                                std::size_t data_begin, std::size_t data_bytes) {
  if (!entry.is_object()) {
    return bad(CheckpointError::kBadHeader, file, tensor,
               fmt::format("found a JSON {}, expected an object", entry.type_name()));
  }
  ASSIGN_OR_RETURN(const std::size_t element, element_bytes(entry, file, tensor));
  ASSIGN_OR_RETURN(tensor::Shape shape, parse_shape(entry, file, tensor));
  ASSIGN_OR_RETURN(const auto offsets, parse_offsets(entry, file, tensor));
  const auto [begin, end] = offsets;
  if (begin > end) {
    return bad(CheckpointError::kBadOffsets, file, tensor, fmt::format("data ends at {} before it begins at {}", end, begin));
  }
  if (end > data_bytes) {
    return bad(CheckpointError::kTruncated, file, tensor,
               fmt::format("data ends at byte {}, but the file has {} bytes of data: truncated?", end, data_bytes));
  }
  const auto expected = bytes_of(shape, element);
  if (!expected || *expected != end - begin) {
    return bad(CheckpointError::kBadOffsets, file, tensor,
               fmt::format("{} bytes of data, expected {} for {} {}", end - begin,
                           expected ? std::to_string(*expected) : "more than 2^64", entry["dtype"].get<std::string>(),
                           tensor::to_string(shape)));
  }
  return TensorEntry{entry["dtype"].get<std::string>(), std::move(shape), data_begin + begin, data_begin + end};
}

// The format demands that the tensors tile the data: nothing hidden between them, no byte in two of them.
Status check_tiling(const TensorTable& table, const std::string& file, std::size_t data_begin, std::size_t file_bytes) {
  std::vector<const TensorTable::value_type*> order;
  for (const auto& item : table) order.push_back(&item);
  std::sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
    return std::pair(a->second.begin, a->second.end) < std::pair(b->second.begin, b->second.end);
  });
  std::size_t position = data_begin;
  const std::string* previous = nullptr;
  for (const auto* item : order) {
    const std::size_t begin = item->second.begin;
    if (begin < position) {
      return bad(CheckpointError::kBadOffsets, file, item->first,
                 fmt::format("data overlaps tensor '{}': begins at {}, expected {}", *previous, begin - data_begin,
                             position - data_begin));
    }
    if (begin > position) {
      return bad(CheckpointError::kBadOffsets, file, item->first,
                 fmt::format("{} bytes before its data belong to no tensor: begins at {}, expected {}", begin - position,
                             begin - data_begin, position - data_begin));
    }
    position = item->second.end;
    previous = &item->first;
  }
  if (position != file_bytes) {
    return fail(CheckpointError::kBadOffsets, fmt::format("{}: {} bytes after the last tensor{} belong to no tensor", file,
                                                          file_bytes - position,
                                                          previous ? fmt::format(" '{}'", *previous) : ""));
  }
  return {};
}

}  // namespace

Result<TensorTable> parse_safetensors_header(std::span<const std::byte> file, const std::string& name) {
  ASSIGN_OR_RETURN(const std::uint64_t length, header_length(file, name));
  const std::string_view text(reinterpret_cast<const char*>(file.data()) + kLengthBytes, length);
  ASSIGN_OR_RETURN(const nlohmann::json header,
                   parse_json_object(text, name + ": header", CheckpointError::kBadHeader));
  const std::size_t data_begin = kLengthBytes + length;
  TensorTable table;
  for (const auto& [tensor, entry] : header.items()) {
    if (tensor == kMetadataKey) continue;
    ASSIGN_OR_RETURN(table[tensor], parse_entry(entry, name, tensor, data_begin, file.size() - data_begin));
  }
  RETURN_IF_ERROR(check_tiling(table, name, data_begin, file.size()));
  return table;
}

}  // namespace concertina::checkpoint
