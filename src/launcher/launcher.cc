#include "launcher/launcher.h"

#include "launcher/cores.h"

namespace concertina::launcher {

Result<Binary> own_binary() {
  std::error_code error;
  const auto target = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) return fail(LauncherError::kSystem, "cannot read /proc/self/exe: " + error.message());
  return Binary{"/proc/self/exe", target.string()};
}

Result<std::unique_ptr<RankProcess>> Launcher::start(RankProcess::OnExit on_exit) {
  std::erase_if(taken_, [](const auto& cores) { return cores.expired(); });
  std::set<int> taken;
  for (const auto& cores : taken_) {
    if (const auto held = cores.lock()) taken.insert(held->begin(), held->end());
  }
  const auto cores =
      std::make_shared<const std::vector<int>>(free_cores(usable_cores(), taken, options_.cores_per_rank));
  ASSIGN_OR_RETURN(std::unique_ptr<RankProcess> process,
                   LocalProcess::start(loop_, options_.binary, cores, std::move(on_exit)));
  taken_.push_back(cores);
  return process;
}

}  // namespace concertina::launcher
