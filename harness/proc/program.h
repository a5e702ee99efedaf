// Finding a program: the one place that searches PATH.
#pragma once

#include <string>

#include "base/result.h"

namespace migsoak::proc {

// The harness's own PATH, never a side's or a target's; "/usr/bin:/bin" when it has none.
std::string search_path();

// The absolute path of the program that `name` means. Links are kept: some programs go by the name they are called.
//   with a slash     that file; a relative one is looked for from the harness's current directory, not in `path`
//   without a slash  the first file in `path` that can be run, as execvp(3) finds it: an empty element is the current
//                    directory; folders and what is not executable are passed over
// kind bad_input, one line: what is wrong with `name`, and what helps.
base::Result<std::string> find_program(const std::string& name, const std::string& path = search_path());

// The file behind a path's links; the path itself where it can't be resolved.
std::string without_links(const std::string& path);

}  // namespace migsoak::proc
