@0xb8400725fa327e03;
# The interfaces that a program can hold a capability of. An interface is the permission: whoever holds it may call each
# of its methods. Where a narrower permission makes sense there is a narrower interface.
#
# Capabilities travel beside a message, in the order that the comments name ("lends", "gives", "results give"); the
# annotations say how many. To lend is to name one for the time of the call; the callee keeps nothing.

using Messages = import "messages.capnp";
using import "annotations.capnp".lends;
using import "annotations.capnp".mayLend;
using import "annotations.capnp".gives;
using import "annotations.capnp".resultsGive;
using import "annotations.capnp".clientName;

interface Console @0xf0b25d1c9a7e6001 {
  # The system console. Writes up to a newline reach it unmixed with those of others.
  write @0 Messages.ConsoleWriteParams -> Messages.Empty;
  read @1 Messages.ConsoleReadParams -> Messages.ConsoleReadResults;
  # Completes when at least one byte has been received. One reader at a time; a second one is `overloaded`.
}

interface Timer @0xf0b25d1c9a7e6002 {
  # The monotonic clock, in nanoseconds since boot.
  now @0 Messages.Empty -> Messages.TimerNowResults;
  sleep @1 Messages.TimerSleepParams -> Messages.Empty;
}

interface SchedulingPolicyCap @0xf0b25d1c9a7e6003 {
  # Scheduling attributes of the calling thread, or of the thread whose ThreadHandle the call lends. A value out of range
  # is refused with invalidArgument, never clamped.
  setWeight @0 Messages.SetWeightParams -> Messages.Empty $mayLend("thread");
  setLatencyClass @1 Messages.SetLatencyClassParams -> Messages.Empty $mayLend("thread");
  setAffinity @2 Messages.SetAffinityParams -> Messages.Empty $mayLend("thread");
  snapshot @3 Messages.Empty -> Messages.SnapshotResults $mayLend("thread");
  setRequest @4 Messages.SetRequestParams -> Messages.Empty $mayLend("thread");
}

interface ProcessSpawner @0xf0b25d1c9a7e6004 {
  # Makes processes from the programs of the boot image. All processes that one spawner and those derived from it have
  # made, and that have not ended, count against its limit.
  spawn @0 Messages.SpawnParams -> Messages.SpawnResults $gives $resultsGive(1);
  # Gives the capabilities that the new process starts with; results give its ProcessHandle. It runs once `start` is
  # called.
  narrow @1 Messages.NarrowSpawnerParams -> Messages.Empty $resultsGive(1);
  # Results give a ProcessSpawner that can do less.
}

interface ProcessHandle @0xf0b25d1c9a7e6005 {
  start @0 Messages.Empty -> Messages.Empty;
  wait @1 Messages.Empty -> Messages.ProcessEnding;
  # Completes when the process has ended and everything that it had is free again.
  kill @2 Messages.Empty -> Messages.Empty;
  info @3 Messages.Empty -> Messages.ProcessInfo;
  mainThread @4 Messages.Empty -> Messages.Empty $resultsGive(1);
  # Results give the ThreadHandle of the thread that the process started with.
}

interface ThreadSpawner @0xf0b25d1c9a7e6006 {
  # Makes threads of the calling process.
  create @0 Messages.CreateThreadParams -> Messages.CreateThreadResults $resultsGive(1);
  # The thread runs at once. Results give its ThreadHandle.
}

interface ThreadHandle @0xf0b25d1c9a7e6007 {
  join @0 Messages.Empty -> Messages.ThreadEnding;
  # Completes when the thread has ended. A thread can be joined once; one that was detached not at all.
  detach @1 Messages.Empty -> Messages.Empty;
  # Its end is of no interest any more.
  snapshot @2 Messages.Empty -> Messages.SnapshotResults;
}

interface ThreadControl @0xf0b25d1c9a7e6008 {
  # The calling thread.
  exit @0 Messages.ThreadExitParams -> Messages.Empty;
  # Ends the thread. The process ends with its last thread, with that thread's code.
  setTlsBase @1 Messages.SetTlsBaseParams -> Messages.Empty;
  # Sets the thread pointer (FS base on x86_64, TPIDR_EL0 on aarch64).
  handle @2 Messages.Empty -> Messages.Empty $resultsGive(1) $clientName("ownHandle");
  # Results give the thread's own ThreadHandle.
}

interface ParkSpace @0xf0b25d1c9a7e6009 {
  # The permission for PARK and UNPARK on words of the calling process. It has no methods.
}

interface MemoryFactory @0xf0b25d1c9a7e600a {
  create @0 Messages.CreateMemoryParams -> Messages.Empty $resultsGive(1);
  # Zeroed memory, charged to the calling process until the last capability and the last mapping are gone. Results give
  # its MemoryObject.
}

interface MemoryObject @0xf0b25d1c9a7e600b {
  # Memory that several processes can map. Never executable.
  map @0 Messages.MapMemoryParams -> Messages.MapMemoryResults;
  # Maps a part of it, read-write or read-only, into the calling process.
  info @1 Messages.Empty -> Messages.MemoryInfo;
  readOnly @2 Messages.Empty -> Messages.Empty $resultsGive(1);
  # Results give a ReadOnlyMemory of the same memory.
}

interface ReadOnlyMemory @0xf0b25d1c9a7e600c {
  # Memory that the holder may map for reading.
  map @0 Messages.MapMemoryParams -> Messages.MapMemoryResults;
  info @1 Messages.Empty -> Messages.MemoryInfo;
}

interface VirtualMemory @0xf0b25d1c9a7e600d {
  # The address space of the calling process.
  allocate @0 Messages.AllocateParams -> Messages.MapMemoryResults;
  # Private zeroed memory at a place that the kernel chooses.
  unmap @1 Messages.RangeParams -> Messages.Empty;
  # Takes a range out, whole mappings or parts of them. Parks on its words end with the outcome `unmapped`.
  protect @2 Messages.ProtectParams -> Messages.Empty;
}

interface EndpointFactory @0xf0b25d1c9a7e600e {
  create @0 Messages.Empty -> Messages.Empty $resultsGive(1);
  # Results give an Endpoint.
}

interface Endpoint @0xf0b25d1c9a7e600f {
  # The server's side: the permission for RECV and RETURN. When its last capability is gone, every call that waits or was
  # received is answered with `disconnected`; a process that gives one up gives up the calls that it has received.
  mint @0 Messages.MintParams -> Messages.Empty $resultsGive(1);
  # Results give a client's capability with the interface and the badge that were asked for. An id of the kernel's own
  # interfaces is as good as any other: so a server can stand in for the kernel.
}

interface CapabilityTable @0xf0b25d1c9a7e6010 {
  # The capabilities of the calling process.
  revocable @0 Messages.Empty -> Messages.Empty $lends(1) $resultsGive(2);
  # Lends one capability. Results give a copy of it that can be revoked, and its Revoker.
  next @1 Messages.NextCapabilityParams -> Messages.CapabilityRecord;
}

interface Revoker @0xf0b25d1c9a7e6011 {
  revoke @0 Messages.Empty -> Messages.Empty;
  # The capability that was made with this one, and everything copied from it, is good for nothing from now on.
}

interface SystemInspector @0xf0b25d1c9a7e6012 {
  # Looks at all processes and threads, changes nothing.
  nextProcess @0 Messages.NextParams -> Messages.ProcessRecord;
  nextThread @1 Messages.NextParams -> Messages.ThreadRecord;
  nextCapability @2 Messages.NextCapabilityParams -> Messages.CapabilityRecord;
  why @3 Messages.ThreadIdParams -> Messages.WhyResults;
  resources @4 Messages.Empty -> Messages.ResourceCounts;
}

interface SystemSupervisor @0xf0b25d1c9a7e6013 {
  # Handles of processes and threads by the ids that SystemInspector shows.
  process @0 Messages.ProcessIdParams -> Messages.Empty $resultsGive(1);
  # Results give the ProcessHandle.
  thread @1 Messages.ThreadIdParams -> Messages.Empty $resultsGive(1);
  # Results give the ThreadHandle.
}

interface Terminal @0xf0b25d1c9a7e6014 {
  # The system console as a terminal: bytes go out as they are. For the one program that talks to the operator; everybody
  # else has Console, whose lines carry the program's name.
  write @0 Messages.ConsoleWriteParams -> Messages.Empty;
  read @1 Messages.ConsoleReadParams -> Messages.ConsoleReadResults;
}
