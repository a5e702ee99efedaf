// What a libvirtd says that it has. Internal to hypervisor.
#pragma once

#include <libvirt/libvirt.h>

#include <string>

#include "base/json.h"
#include "base/result.h"

namespace migsoak::hypervisor {

// May block. Content of a record::document_kind::kDomains: every domain that the daemon knows, running or not; one that
// is not the guest's has a "foreign_uuid". kind subject: it does not tell.
base::Result<base::Json> domains_of(virConnectPtr connection, const std::string& guest_uuid);

// Pure. The names, as a set of devices has them, of the devices in a domain's XML that have such a name; sorted. kind
// subject: it is no XML.
base::Result<base::Json> device_names_in(const std::string& xml);

}  // namespace migsoak::hypervisor
