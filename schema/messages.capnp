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
