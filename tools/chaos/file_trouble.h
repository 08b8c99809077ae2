#pragma once

#include <array>
#include <filesystem>
#include <functional>
#include <string>

#include "base/random.h"

namespace concertina::chaos {

// What happens to the files of a running server: its model folder and its binary, both copies of the run.
// Each trouble lasts until the next one, or restore(): then everything is where it was, from the originals.
class FileTrouble {
 public:
  // Copies both into `folder`.
  FileTrouble(const std::filesystem::path& folder, const std::filesystem::path& model,
              const std::filesystem::path& binary);
  const std::filesystem::path& model() const { return model_; }
  const std::filesystem::path& binary() const { return binary_; }

  void trouble_model(Random random);
  void trouble_binary(Random random);
  void restore();
  std::string summary() const;  // how often each was done

 private:
  struct Kind {
    const char* name;
    void (FileTrouble::*act)(Random&);
    std::size_t n = 0;
  };
  void touch(Random& random);
  void touch_config(Random& random);
  void copy_over(Random& random);
  void overwrite_in_place(Random& random);
  void truncate(Random& random);
  void swap_with_kept_time(Random& random);
  void move_folder_away(Random& random);
  void delete_binary(Random& random);
  void replace_binary(Random& random);
  void move_binary_away(Random& random);

  std::filesystem::path some_file(Random& random) const;
  std::filesystem::path some_shard(Random& random) const;
  void copy_originals_over();
  void scribble(const std::filesystem::path& file, Random& random) const;
  void put_back_binary();

  const std::filesystem::path original_model_, original_binary_, model_, binary_, spare_;
  std::function<void()> undo_;
  std::array<Kind, 7> model_kinds_{{{"touched", &FileTrouble::touch},
                                    {"config.json touched", &FileTrouble::touch_config},
                                    {"copied over", &FileTrouble::copy_over},
                                    {"overwritten in place", &FileTrouble::overwrite_in_place},
                                    {"truncated", &FileTrouble::truncate},
                                    {"swapped with kept time", &FileTrouble::swap_with_kept_time},
                                    {"folder moved away", &FileTrouble::move_folder_away}}};
  std::array<Kind, 3> binary_kinds_{{{"deleted", &FileTrouble::delete_binary},
                                     {"replaced", &FileTrouble::replace_binary},
                                     {"moved away", &FileTrouble::move_binary_away}}};
  std::size_t next_model_ = 0, next_binary_ = 0;  // kinds take turns, so that a short run has all
};

}  // namespace concertina::chaos
