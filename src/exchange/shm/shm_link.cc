#include "exchange/shm/shm_link.h"

#include <fmt/format.h>

#include <array>
#include <utility>

#include "exchange/error.h"
#include "exchange/shm/header_slot.h"

namespace concertina::exchange {
namespace {

Status check(const ShmLink::Config& config) {
  const Layout& layout = config.layout;
  const auto bad = [](const std::string& what) {
    return fail(ExchangeError::kBadConfig, "exchange: " + what);
  };
  if (config.self.rank.value() >= layout.max_ranks)
    return bad(fmt::format("rank {} is out of range: max_ranks is {}", config.self.rank, layout.max_ranks));
  if (layout.max_tokens == 0) return bad("max_tokens is 0, expected 1 or more");
  if (layout.top_k == 0) return bad("top_k is 0, expected 1 or more");
  if (layout.hidden_size == 0) return bad("hidden_size is 0, expected 1 or more");
  return {};
}

// The parts of every bank that small steps touch.
template <typename Region>
void prefault(const Region& region, const Layout& layout, std::size_t n_tokens) {
  n_tokens = std::min(n_tokens, layout.max_tokens);
  for (std::size_t bank = 0; bank < kBanks; ++bank) {
    const std::size_t headers = layout.header(Half::kDispatch, bank, RankId(0));
    region.prefault(headers, layout.entries(bank) - headers + n_tokens * layout.top_k * sizeof(Entry));
    region.prefault(layout.activations(bank), n_tokens * layout.row_bytes());
    region.prefault(layout.results(bank), n_tokens * layout.top_k * layout.row_bytes());
  }
}

}  // namespace

class ShmLink::Peer final : public PeerLink {
 public:
  Peer(const ShmLink& own, RankId rank, transport::PeerRegion region)
      : region_(std::move(region)), doorbell_(region_.doorbell()) {
    const Layout& layout = own.config_.layout;
    for (const Half half : {Half::kDispatch, Half::kResult})
      for (std::size_t bank = 0; bank < kBanks; ++bank) {
        const std::size_t place = place_of(half, bank);
        to_peer_[place] = reinterpret_cast<HeaderSlot*>(own.body() + layout.header(half, bank, rank));
        from_peer_[place] =
            reinterpret_cast<const HeaderSlot*>(body() + layout.header(half, bank, own.config_.self.rank));
      }
  }

  void publish(Half half, std::size_t bank, const Header& header) const override {
    to_peer_[place_of(half, bank)]->store(header);
    doorbell_.ring();
  }
  std::optional<Header> look(Half half, std::size_t bank) const override {
    return from_peer_[place_of(half, bank)]->load();
  }
  const std::byte* body() const override { return region_.body().data(); }

 private:
  static std::size_t place_of(Half half, std::size_t bank) {
    return static_cast<std::size_t>(half) * kBanks + bank;
  }

  const transport::PeerRegion region_;
  const transport::Doorbell doorbell_;             // the peer's
  std::array<HeaderSlot*, 2 * kBanks> to_peer_{};  // in the own region, which outlives steps of any view
  std::array<const HeaderSlot*, 2 * kBanks> from_peer_{};
};

ShmLink::ShmLink(const Config& config, transport::Region region)
    : config_(config), region_(std::move(region)), doorbell_(region_.doorbell()) {}

Result<std::unique_ptr<ShmLink>> ShmLink::create(const Config& config) {
  RETURN_IF_ERROR(check(config));
  const Layout& layout = config.layout;
  ASSIGN_OR_RETURN(transport::Region region,
                   transport::Region::create({config.self.rank, config.self.incarnation, layout.numbers()},
                                             layout.body_bytes()));
  prefault(region, layout, config.prefault_tokens);
  return std::unique_ptr<ShmLink>(new ShmLink(config, std::move(region)));
}

Result<std::shared_ptr<const PeerLink>> ShmLink::connect(const MemberAddress& peer) {
  const auto& [member, address] = peer;
  const auto place = transport::place_of(address);
  if (!place)
    return fail(ExchangeError::kBadAddress,
                fmt::format("the address of rank {} is {} bytes of link kind {}; expected 8 bytes of kind {}",
                            member.rank, address.bytes.size(), static_cast<std::uint32_t>(address.kind),
                            static_cast<std::uint32_t>(LinkKind::kSharedMemory)));
  std::lock_guard lock(mutex_);
  std::erase_if(peers_, [](const auto& entry) { return entry.second.expired(); });
  if (const auto known = peers_.find(member); known != peers_.end())
    if (std::shared_ptr<const Peer> live = known->second.lock()) return live;
  ASSIGN_OR_RETURN(
      transport::PeerRegion region,
      transport::PeerRegion::open(*place, {member.rank, member.incarnation, config_.layout.numbers()},
                                  config_.layout.body_bytes()));
  prefault(region, config_.layout, config_.prefault_tokens);
  const auto connected = std::make_shared<const Peer>(*this, member.rank, std::move(region));
  peers_[member] = connected;
  return connected;
}

}  // namespace concertina::exchange
