#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <vector>

#include "base/result.h"
#include "cluster/types.h"
#include "front/form.h"

namespace concertina::front {

enum class StateStoreError { kInUse, kUnusable };

// What outlives the process, under --state-dir: the wanted size, the form, and the records of operations. One
// SQLite file (write-ahead log, synchronous=NORMAL: a write costs microseconds, and a power cut may cost the
// last ones). One process at a time. The front's thread.
class StateStore {
 public:
  // Makes the folder and the file if need be. kInUse: another server has it; kUnusable says why.
  static Result<std::unique_ptr<StateStore>> open(const std::filesystem::path& folder);
  ~StateStore();

  // What open() found. kEmptyFile: a file of no bytes, as a crash at the very first start leaves, or a disk
  // that was full; what it may have kept is lost, and it was begun anew.
  enum class Found : std::uint8_t { kNothing, kEmptyFile, kFile };
  Found found() const { return found_; }

  struct Kept {
    std::optional<std::size_t> wanted_size;
    std::optional<Form> form;
    std::vector<cluster::Operation>
        operations;  // in the order of their ends; those cut off come last, as failed
  };
  Result<Kept> load(Time now) const;
  // Times are kept on the wall clock. A record that is saved again is replaced; the oldest beyond n_kept go.
  Status save(const cluster::Operation& operation, Time now, std::size_t n_kept = 1000);
  Status save_wanted_size(std::size_t size);
  Status save_form(const Form& form);

 private:
  Result<std::optional<Form>> load_form() const;
  struct Database;
  explicit StateStore(std::unique_ptr<Database> database);
  std::unique_ptr<Database> database_;
  Found found_ = Found::kNothing;
};

}  // namespace concertina::front
