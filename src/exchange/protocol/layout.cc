#include "exchange/protocol/layout.h"

namespace concertina::exchange {
namespace {

constexpr std::size_t kPageBytes = 4096;
constexpr std::size_t whole_pages(std::size_t n_bytes) {
  return (n_bytes + kPageBytes - 1) / kPageBytes * kPageBytes;
}

}  // namespace

std::size_t Layout::header(Half half, std::size_t bank, RankId reader) const {
  const std::size_t place = reader.value() + (half == Half::kDispatch ? 0 : max_ranks);
  return bank * bank_bytes() + place * kHeaderBytes;
}
std::size_t Layout::entries(std::size_t bank) const {
  return bank * bank_bytes() + whole_pages(2 * max_ranks * kHeaderBytes);
}
std::size_t Layout::activations(std::size_t bank) const {
  return entries(bank) + whole_pages(max_entries() * sizeof(Entry));
}
std::size_t Layout::results(std::size_t bank) const {
  return activations(bank) + whole_pages(max_tokens * row_bytes());
}
std::size_t Layout::bank_bytes() const {
  return whole_pages(2 * max_ranks * kHeaderBytes) + whole_pages(max_entries() * sizeof(Entry)) +
         whole_pages(max_tokens * row_bytes()) + whole_pages(max_results() * row_bytes());
}

}  // namespace concertina::exchange
