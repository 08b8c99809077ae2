#include "transport/shm/address.h"

#include <array>
#include <cstring>

namespace concertina::transport {

using cluster::LinkAddress;
using cluster::LinkKind;
using Words = std::array<std::uint32_t, 2>;  // pid, fd

LinkAddress address_of(const MemoryPlace& place) {
  const Words words{static_cast<std::uint32_t>(place.pid), static_cast<std::uint32_t>(place.fd)};
  LinkAddress address{LinkKind::kSharedMemory, std::string(sizeof(words), '\0')};
  std::memcpy(address.bytes.data(), &words, sizeof(words));
  return address;
}

std::optional<MemoryPlace> place_of(const LinkAddress& address) {
  Words words{};
  if (address.kind != LinkKind::kSharedMemory || address.bytes.size() != sizeof(words)) return std::nullopt;
  std::memcpy(&words, address.bytes.data(), sizeof(words));
  return MemoryPlace{words[0], static_cast<int>(words[1])};
}

}  // namespace concertina::transport
