// The agent's answers turned into the structs of channel.h. Pure; the guest is hostile: numbers are clamped, strings
// made printable, lists bounded.
#pragma once

#include <map>
#include <string>

#include "base/json.h"
#include "base/result.h"
#include "guest/channel.h"

namespace migsoak::guest {

base::Result<Hello> hello_from_answer(const base::Json& answer);
base::Result<VerifyReport> verify_from_answer(const base::Json& answer);
base::Result<std::map<std::string, std::string>> pci_config_from_answer(const base::Json& answer);
// kind subject when the answer is not {"ok": true, ...}.
base::Result<void> check_answer(const std::string& command, const base::Json& answer);

// "key=value ..." of a flat JSON object; kind bad_input for what the protocol can't carry.
base::Result<std::string> arguments_text(const base::Json& arguments);

}  // namespace migsoak::guest
