#include "base/build_identity.h"

#include <elf.h>
#include <fmt/format.h>
#include <link.h>

#include <cstring>
#include <string_view>

namespace concertina {

namespace {

constexpr std::size_t padded(std::size_t n_bytes) { return (n_bytes + 3) & ~std::size_t{3}; }

// A segment of notes: each a header, a name and a value, padded to 4 bytes.
std::string build_id_in(const char* notes, std::size_t n_bytes) {
  constexpr std::string_view kName{"GNU\0", 4};
  for (std::size_t at = 0; at + sizeof(ElfW(Nhdr)) <= n_bytes;) {
    ElfW(Nhdr) note;
    std::memcpy(&note, notes + at, sizeof(note));
    const char* const name = notes + at + sizeof(note);
    const std::size_t value_at = at + sizeof(note) + padded(note.n_namesz);
    if (value_at + note.n_descsz > n_bytes) break;
    if (note.n_type == NT_GNU_BUILD_ID && std::string_view(name, note.n_namesz) == kName) {
      std::string hex;
      for (std::size_t i = 0; i < note.n_descsz; ++i)
        hex += fmt::format("{:02x}", static_cast<unsigned char>(notes[value_at + i]));
      return hex;
    }
    at = value_at + padded(note.n_descsz);
  }
  return {};
}

}  // namespace

std::string own_build_id() {
  std::string found;
  dl_iterate_phdr(
      [](dl_phdr_info* object, std::size_t, void* out) {
        for (int i = 0; i < object->dlpi_phnum; ++i) {
          const ElfW(Phdr)& segment = object->dlpi_phdr[i];
          std::string& id = *static_cast<std::string*>(out);
          if (segment.p_type == PT_NOTE && id.empty())
            id = build_id_in(reinterpret_cast<const char*>(object->dlpi_addr + segment.p_vaddr),
                             segment.p_memsz);
        }
        return 1;  // the program itself comes first; its libraries are no concern
      },
      &found);
  return found;
}

std::string describe_difference(const BuildIdentity& expected, const BuildIdentity& found) {
  const struct {
    const char* what;
    const std::string &expected, &found;
  } parts[] = {{"version", expected.version, found.version},
               {"kernels", expected.kernel_digest, found.kernel_digest},
               {"instruction set", expected.instruction_set, found.instruction_set},
               {"build id", expected.build_id, found.build_id}};
  std::string difference;
  for (const auto& part : parts) {
    if (part.expected.empty() || part.expected == part.found) continue;
    difference += fmt::format("{}{} {}, expected {}", difference.empty() ? "" : "; ", part.what,
                              part.found.empty() ? "unknown" : part.found, part.expected);
  }
  return difference;
}

}  // namespace concertina
