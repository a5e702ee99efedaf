// ChildProcess::spawn in a comment is fine.
void starts_it(proc::Reactor& reactor) { (void)proc::ChildProcess::spawn(reactor, {}); }
