// domain_left: a libvirtd that goes on listing a domain which has moved away.
//
// What was left defined, or in a daemon's list, after a migration is what the next one finds: "domain already exists",
// or two daemons that both believe they have the guest. libvirt's QEMU driver takes a domain that has ended off its
// list by virDomainObjListRemove (src/conf/virdomainobjlist.h; 9.0: private to libvirt.so, which the driver links
// against): an event of ours, at which it is not taken off.
//
//   FAULT_EXE=libvirtd   needed
//   FAULT_MODE=running   and it goes on saying that it runs there (virDomainObjGetState); default: shut off, as it is
//   FAULT_EVERY, FAULT_AT, FAULT_LIMIT, FAULT_STATE: which domains, counted as they end
#include <string.h>

#include "fault.h"

enum { kRunning = 1 };  // VIR_DOMAIN_RUNNING

typedef struct List List;
typedef struct Domain Domain;
void virDomainObjListRemove(List* list, Domain* domain);

int virDomainObjGetState(Domain* domain, int* reason);

FAULT_NEXT(virDomainObjListRemove)
FAULT_NEXT(virDomainObjGetState)

static _Atomic(Domain*) left;

FAULT_EXPORT void virDomainObjListRemove(List* list, Domain* domain) {
  if (fault_enabled() && fault_due(fault_count_event())) {
    if (strcmp(fault_text("FAULT_MODE", ""), "running") == 0) atomic_store(&left, domain);
    return;
  }
  next_virDomainObjListRemove()(list, domain);
}

FAULT_EXPORT int virDomainObjGetState(Domain* domain, int* reason) {
  const int state = next_virDomainObjGetState()(domain, reason);
  return domain != NULL && domain == atomic_load(&left) ? kRunning : state;
}
