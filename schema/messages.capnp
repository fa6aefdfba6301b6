@0x8a88b1e78fa1e13e;
# Parameters and results of every method. A message is one segment in standard framing whose root is one of these
# structs. Ordinals are append-only, ids never change. No field has a default other than zero, so that a message can be
# encoded without knowing defaults.

enum LatencyClass {
  # What a thread wants of its latency. The ordinals are those of tessera_abi::scheduling::LatencyClass.
  interactive @0;
  normal @1;
  batch @2;
  ipcServer @3;
}

struct CapException @0xe3a1f0a5c2b74d10 {
  # Why a capability did not do what a call asked. Comes instead of the method's results.
  enum Type {
    failed @0;
    overloaded @1;
    disconnected @2;
    unimplemented @3;
    invalidArgument @4;
  }
  type @0 :Type;
  reason @1 :Text;
}

struct Empty @0xe3a1f0a5c2b74d11 {
  # Parameters or results of a method that has none.
}

struct ConsoleWriteParams @0xe3a1f0a5c2b74d12 {
  text @0 :Data;
}

struct TimerNowResults @0xe3a1f0a5c2b74d13 {
  nowNs @0 :UInt64;
}

struct TimerSleepParams @0xe3a1f0a5c2b74d14 {
  deadlineNs @0 :UInt64;
  # Absolute, on the clock that `now` reads. A deadline that has passed completes at once.
}

struct SetWeightParams @0xe3a1f0a5c2b74d15 {
  weight @0 :UInt16;
}

struct SetLatencyClassParams @0xe3a1f0a5c2b74d16 {
  class @0 :UInt16;
  # The ordinal of a LatencyClass, so that an unknown one can be named in the refusal.
}

struct SetAffinityParams @0xe3a1f0a5c2b74d17 {
  words @0 :List(UInt64);
  # Bit `n % 64` of word `n / 64` permits CPU `n`.
}

struct SnapshotResults @0xe3a1f0a5c2b74d18 {
  weight @0 :UInt16;
  class @1 :UInt16;
  currentCpu @2 :UInt16;
  runtimeNs @3 :UInt64;
  virtualRuntimeNs @4 :UInt64;
  runnableNs @5 :UInt64;
  voluntaryBlocks @6 :UInt64;
  preemptions @7 :UInt64;
  migrations @8 :UInt64;
  dispatches @9 :UInt64;
  dispatchesOutside @10 :UInt64;
  # Dispatches on a CPU that the mask of that moment did not permit: must stay zero.
  longestWaitNs @11 :UInt64;
  longestChargeNs @12 :UInt64;
}

struct ConsoleReadParams @0xe3a1f0a5c2b74d19 {
  mostBytes @0 :UInt32;
}

struct ConsoleReadResults @0xe3a1f0a5c2b74d1a {
  bytes @0 :Data;
}

struct SetRequestParams @0xe3a1f0a5c2b74d1b {
  requestNs @0 :UInt64;
  # 0: what the class gives.
}

struct SpawnParams @0xe3a1f0a5c2b74d1c {
  binary @0 :Text;
  # The name of a program of the boot image.
  name @1 :Text;
  # What the process is called in reports.
  arguments @2 :Text;
  grantNames @3 :Text;
  # The names of the capabilities that the call gives, in their order, separated by single spaces. Up to 31 bytes each.
  affinity @4 :List(UInt64);
  # Bit `n % 64` of word `n / 64` permits CPU `n`. Empty: what the spawner permits.
  instance @5 :UInt32;
  weight @6 :UInt16;
  # 0: the default, 64.
  class @7 :UInt16;
  # The ordinal of a LatencyClass.
  requestNs @8 :UInt64;
  # 0: what the class gives.
  frames @9 :UInt32;
  # The most 4 KiB frames that the process may use; 0: the default.
  threads @10 :UInt32;
  # The most threads that it may have; 0: the default.
  capabilities @11 :UInt32;
  # The most capabilities that it may hold; 0: the default.
  silent @12 :UInt16;
  # Not 0: its end is told to those who wait for it and not printed; for processes that are made by the thousand.
}

struct SpawnResults @0xe3a1f0a5c2b74d1d {
  processId @0 :UInt64;
}

struct NarrowSpawnerParams @0xe3a1f0a5c2b74d1e {
  mostProcesses @0 :UInt32;
  affinity @1 :List(UInt64);
  # The CPUs that its processes may run on; must be permitted already. Empty: all of those.
}

struct ProcessEnding @0xe3a1f0a5c2b74d1f {
  kind @0 :UInt16;
  # 0: it exited with `code`; 1: a fault ended it, described by `fault`; 2: it was killed.
  code @1 :UInt32;
  # The bits of a signed 32-bit number.
  fault @2 :Text;
}

struct ProcessInfo @0xe3a1f0a5c2b74d20 {
  processId @0 :UInt64;
  state @1 :UInt16;
  # 0: made, not started; 1: running; 2: ending; 3: ended.
  threads @2 :UInt32;
  frames @3 :UInt32;
  capabilities @4 :UInt32;
}

struct CreateThreadParams @0xe3a1f0a5c2b74d21 {
  entry @0 :UInt64;
  # Where it begins, with `argument` in the first and the address of its ring in the second argument register.
  stack @1 :UInt64;
  # Its stack pointer: the upper end of its stack.
  argument @2 :UInt64;
  tlsBase @3 :UInt64;
  # Its thread pointer; 0: the address of its ring.
  affinity @4 :List(UInt64);
  # Empty: the creator's. Must be permitted by the creator's own limit.
  weight @5 :UInt16;
  class @6 :UInt16;
  requestNs @7 :UInt64;
  # As in SpawnParams.
}

struct CreateThreadResults @0xe3a1f0a5c2b74d22 {
  threadId @0 :UInt64;
}

struct ThreadEnding @0xe3a1f0a5c2b74d23 {
  code @0 :UInt32;
  # The bits of a signed 32-bit number.
}

struct ThreadExitParams @0xe3a1f0a5c2b74d24 {
  code @0 :UInt32;
}

struct SetTlsBaseParams @0xe3a1f0a5c2b74d25 {
  address @0 :UInt64;
}

struct CreateMemoryParams @0xe3a1f0a5c2b74d26 {
  bytes @0 :UInt64;
  # A multiple of 4096, up to 1 TiB and the process's limit.
}

struct MapMemoryParams @0xe3a1f0a5c2b74d27 {
  offset @0 :UInt64;
  bytes @1 :UInt64;
  # Multiples of 4096.
  access @2 :UInt16;
  # 1: read; 3: read and write.
}

struct MapMemoryResults @0xe3a1f0a5c2b74d28 {
  address @0 :UInt64;
}

struct MemoryInfo @0xe3a1f0a5c2b74d29 {
  bytes @0 :UInt64;
}

struct AllocateParams @0xe3a1f0a5c2b74d2a {
  bytes @0 :UInt64;
  access @1 :UInt16;
  # 1: read; 3: read and write.
}

struct RangeParams @0xe3a1f0a5c2b74d2b {
  address @0 :UInt64;
  bytes @1 :UInt64;
}

struct ProtectParams @0xe3a1f0a5c2b74d2c {
  address @0 :UInt64;
  bytes @1 :UInt64;
  access @2 :UInt16;
  # 0: none; 1: read; 3: read and write; 5: read and execute.
}

struct MintParams @0xe3a1f0a5c2b74d2d {
  interface @0 :UInt64;
  # Not 0.
  badge @1 :UInt64;
}

struct NextCapabilityParams @0xe3a1f0a5c2b74d2e {
  processId @0 :UInt64;
  # Ignored where the table is the caller's own.
  after @1 :UInt64;
  # `slot + 1` of the record before; 0: the first one.
}

struct CapabilityRecord @0xe3a1f0a5c2b74d2f {
  found @0 :UInt16;
  # 0: there are no more.
  revoked @1 :UInt16;
  slot @2 :UInt32;
  handle @3 :UInt64;
  interface @4 :UInt64;
  badge @5 :UInt64;
}

struct NextParams @0xe3a1f0a5c2b74d30 {
  after @0 :UInt64;
  # The `cursor` of the record before; 0: the first one.
}

struct ProcessIdParams @0xe3a1f0a5c2b74d31 {
  processId @0 :UInt64;
}

struct ThreadIdParams @0xe3a1f0a5c2b74d32 {
  threadId @0 :UInt64;
}

struct ProcessRecord @0xe3a1f0a5c2b74d33 {
  found @0 :UInt16;
  state @1 :UInt16;
  # As in ProcessInfo.
  threads @2 :UInt32;
  cursor @3 :UInt64;
  processId @4 :UInt64;
  parentId @5 :UInt64;
  # 0: the kernel.
  frames @6 :UInt32;
  capabilities @7 :UInt32;
  name @8 :Text;
}

struct ThreadRecord @0xe3a1f0a5c2b74d34 {
  found @0 :UInt16;
  state @1 :UInt16;
  # The ordinal of the scheduler's thread state: 0 blocked, 1 waking, 2 queued, 3 released later, 4 handoff, 5 running,
  # 6 exiting.
  cpu @2 :UInt16;
  weight @3 :UInt16;
  class @4 :UInt16;
  cursor @5 :UInt64;
  threadId @6 :UInt64;
  processId @7 :UInt64;
  runtimeNs @8 :UInt64;
  runnableNs @9 :UInt64;
  longestWaitNs @10 :UInt64;
  migrations @11 :UInt64;
  name @12 :Text;
}

struct WhyResults @0xe3a1f0a5c2b74d35 {
  found @0 :UInt16;
  state @1 :UInt16;
  # As in ThreadRecord.
  cpu @2 :UInt16;
  # The CPU whose queue it is on, or on which it ran last.
  ahead @3 :UInt32;
  # Threads of that queue that are due before it, the running one included.
  aheadIsLeast @4 :UInt16;
  # Not 0: at least so many; the look stopped there.
  sinceNs @5 :UInt64;
  # Since when it is in this state, nanoseconds since boot.
  waitsFor @6 :Text;
  # For a blocked thread, what its outstanding operations wait for.
}

struct ResourceCounts @0xe3a1f0a5c2b74d36 {
  # What is in use in the whole system; what is back at its start value was not leaked.
  processes @0 :UInt64;
  threads @1 :UInt64;
  frames @2 :UInt64;
  # Allocated frames.
  committedFrames @3 :UInt64;
  # Promised frames, allocated or not.
  capabilities @4 :UInt64;
  endpoints @5 :UInt64;
  parks @6 :UInt64;
  operations @7 :UInt64;
  # Calls, sleeps, parks, waits and joins that have not completed.
  memoryObjects @8 :UInt64;
  timers @9 :UInt64;
  # Those of programs; the kernel's own are not counted.
}
