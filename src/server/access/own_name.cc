#include "server/access/own_name.h"

#include <netdb.h>
#include <netinet/in.h>
#include <unistd.h>

#include <array>
#include <future>
#include <memory>
#include <thread>

namespace concertina::server::access {

namespace {

bool is_loopback_address(const sockaddr* address) {
  if (address->sa_family == AF_INET)
    return (ntohl(reinterpret_cast<const sockaddr_in*>(address)->sin_addr.s_addr) >> 24) == 127;
  if (address->sa_family != AF_INET6) return false;
  return IN6_IS_ADDR_LOOPBACK(&reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr);
}

bool look_up(const std::string& name) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (name.empty() || getaddrinfo(name.c_str(), nullptr, &hints, &found) != 0) return false;
  bool all = found != nullptr;
  for (const addrinfo* one = found; one != nullptr; one = one->ai_next)
    all = all && is_loopback_address(one->ai_addr);
  freeaddrinfo(found);
  return all;
}

}  // namespace

bool leads_to_loopback(const std::string& name, Duration timeout) {
  if (timeout <= Duration::zero()) return false;
  const auto answer = std::make_shared<std::promise<bool>>();
  std::future<bool> heard = answer->get_future();
  std::thread([answer, name] { answer->set_value(look_up(name)); }).detach();
  return heard.wait_for(timeout) == std::future_status::ready && heard.get();
}

std::optional<std::string> own_loopback_name(Duration timeout) {
  std::array<char, 256> name{};
  if (gethostname(name.data(), name.size() - 1) != 0 || !leads_to_loopback(name.data(), timeout))
    return std::nullopt;
  return name.data();
}

}  // namespace concertina::server::access
