#include "checkpoint/arena_layout.h"

#include <fmt/format.h>

#include <cstring>

#include "base/check.h"
#include "checkpoint/error.h"

namespace concertina::checkpoint {

namespace {

constexpr std::uint64_t kMagic = 0x6174686769657763;  // "cweighta" in memory
constexpr std::uint32_t kVersion = 1;
constexpr std::uint64_t kAlignment = 64, kPageBytes = 4096;

struct Header {
  std::uint64_t magic = kMagic;
  std::uint32_t version = kVersion;
  std::uint32_t n_entries = 0;
  std::uint64_t head_bytes = 0;  // header and table
  std::uint64_t n_bytes = 0;
};

// An entry in the table; its name and its extents (64 bits each) follow.
struct Fixed {
  std::uint32_t name_bytes = 0;
  std::uint16_t n_extents = 0;
  std::uint16_t dtype = 0;
  std::uint64_t data = 0, scales = 0, sums = 0;
};

std::uint64_t round_up(std::uint64_t n, std::uint64_t to) { return (n + to - 1) / to * to; }

std::uint64_t head_bytes_of(std::span<const ArenaTensor> tensors) {
  std::uint64_t n = sizeof(Header);
  for (const ArenaTensor& tensor : tensors)
    n += sizeof(Fixed) + tensor.name.size() + sizeof(std::int64_t) * tensor.shape.size();
  return n;
}

template <typename T>
void append(std::string& out, const T& value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

void append(std::string& out, const ArenaEntry& entry) {
  append(out, Fixed{.name_bytes = static_cast<std::uint32_t>(entry.name.size()),
                    .n_extents = static_cast<std::uint16_t>(entry.shape.size()),
                    .dtype = static_cast<std::uint16_t>(entry.dtype),
                    .data = entry.data,
                    .scales = entry.scales,
                    .sums = entry.sums});
  out += entry.name;
  for (const std::int64_t extent : entry.shape) append(out, extent);
}

// Takes values from the front of a span; `ok` turns false when it is too short, and stays so.
struct Reader {
  std::span<const std::byte> rest;
  bool ok = true;

  std::span<const std::byte> take(std::size_t n) {
    ok = ok && n <= rest.size();
    if (!ok) return {};
    const auto taken = rest.first(n);
    rest = rest.subspan(n);
    return taken;
  }
  template <typename T>
  T value() {
    T out{};
    if (const auto bytes = take(sizeof(T)); ok) std::memcpy(&out, bytes.data(), sizeof(T));
    return out;
  }
};

tl::unexpected<Error> corrupt(const std::string& what) {
  return fail(CheckpointError::kCorrupt, "memory of weights: " + what);
}

// The tensor lies between its head and its end, aligned.
Status check_place(const ArenaEntry& entry, const Header& header) {
  const auto fits = [&](std::uint64_t at, std::uint64_t n) {
    return at >= header.head_bytes && at % kAlignment == 0 && at <= header.n_bytes &&
           n <= header.n_bytes - at;
  };
  std::uint64_t count = tensor::element_bytes(entry.dtype);
  bool ok = entry.dtype <= tensor::DType::kI8 && !entry.shape.empty();
  for (const std::int64_t extent : entry.shape)
    ok = ok && extent >= 0 && !__builtin_mul_overflow(count, static_cast<std::uint64_t>(extent), &count);
  ok = ok && fits(entry.data, count);
  if (ok && entry.dtype == tensor::DType::kI8) {
    const auto row_bytes = 4 * static_cast<std::uint64_t>(entry.shape[0]);
    ok = fits(entry.scales, row_bytes) && fits(entry.sums, row_bytes);
  }
  return ok ? Status{}
            : corrupt(fmt::format("tensor {} does not lie within its {} bytes", entry.name, header.n_bytes));
}

Result<ArenaEntry> parse_entry(Reader& reader, const Header& header) {
  const auto fixed = reader.value<Fixed>();
  const auto name = reader.take(fixed.name_bytes);
  ArenaEntry entry{.name = std::string(reinterpret_cast<const char*>(name.data()), name.size()),
                   .dtype = static_cast<tensor::DType>(fixed.dtype),
                   .data = fixed.data,
                   .scales = fixed.scales,
                   .sums = fixed.sums};
  for (int i = 0; i < fixed.n_extents && reader.ok; ++i) entry.shape.push_back(reader.value<std::int64_t>());
  if (!reader.ok) return corrupt("its table is cut short");
  RETURN_IF_ERROR(check_place(entry, header));
  return entry;
}

}  // namespace

ArenaLayout lay_out(std::span<const ArenaTensor> tensors) {
  ArenaLayout layout;
  Header header{.n_entries = static_cast<std::uint32_t>(tensors.size()),
                .head_bytes = head_bytes_of(tensors)};
  std::uint64_t end = round_up(header.head_bytes, kPageBytes);
  const auto take = [&end](std::uint64_t n) {
    const std::uint64_t begin = end;
    end = round_up(begin + n, kAlignment);
    return begin;
  };
  for (const ArenaTensor& tensor : tensors) {
    CHECK(tensor.shape.size() == 1 || tensor.shape.size() == 2, "{} {}", tensor.name,
          tensor::to_string(tensor.shape));
    ArenaEntry entry{.name = tensor.name, .shape = tensor.shape, .dtype = tensor.dtype};
    entry.data = take(static_cast<std::uint64_t>(tensor::count_of(tensor.shape)) *
                      tensor::element_bytes(tensor.dtype));
    if (tensor.dtype == tensor::DType::kI8) {
      entry.scales = take(4 * static_cast<std::uint64_t>(tensor.shape[0]));
      entry.sums = take(4 * static_cast<std::uint64_t>(tensor.shape[0]));
    }
    layout.entries.push_back(std::move(entry));
  }
  layout.n_bytes = header.n_bytes = round_up(end, kPageBytes);
  append(layout.head, header);
  for (const ArenaEntry& entry : layout.entries) append(layout.head, entry);
  CHECK(layout.head.size() == header.head_bytes);
  return layout;
}

Result<std::vector<ArenaEntry>> parse_arena(std::span<const std::byte> head, std::uint64_t n_bytes) {
  Reader reader{.rest = head};
  const auto header = reader.value<Header>();
  if (!reader.ok || header.magic != kMagic) return corrupt("it does not begin as such memory does");
  if (header.version != kVersion)
    return corrupt(fmt::format("its version is {}, expected {}", header.version, kVersion));
  if (header.n_bytes != n_bytes || header.head_bytes > head.size() || header.head_bytes < sizeof(Header))
    return corrupt(fmt::format("it says that it has {} bytes, {} of them for its table; found {} bytes",
                               header.n_bytes, header.head_bytes, n_bytes));
  reader.rest = head.subspan(sizeof(Header), header.head_bytes - sizeof(Header));
  std::vector<ArenaEntry> entries;
  for (std::uint32_t i = 0; i < header.n_entries; ++i) {
    ASSIGN_OR_RETURN(ArenaEntry entry, parse_entry(reader, header));
    entries.push_back(std::move(entry));
  }
  return entries;
}

}  // namespace concertina::checkpoint
