@0x9257c522abd0a1e8;
# What the kernel starts, and how: the initrd is one Manifest in standard framing.

using Messages = import "messages.capnp";

enum Policy {
  wfq @0;
  eevdf @1;
}

enum Capability {
  # A capability that the kernel can grant to a program at its start.
  console @0;
  timer @1;
  schedulingPolicy @2;
}

struct Program @0xc4d50e7a91f3b201 {
  name @0 :Text;
  binary @1 :Text;
  # The name of an entry of `Manifest.binaries`.
  arguments @2 :Text;
  weight @3 :UInt16 = 64;
  class @4 :Messages.LatencyClass = normal;
  request :union {
    ofClass @5 :Void;
    microseconds @6 :UInt32;
  }
  affinity :union {
    any @7 :Void;
    words @8 :List(UInt64);
    # Bit `n % 64` of word `n / 64` permits CPU `n`.
  }
  count @9 :UInt16 = 1;
  # How many instances to start.
  grants @10 :List(Capability);
}

struct Binary @0xc4d50e7a91f3b202 {
  name @0 :Text;
  elf @1 :Data;
}

struct Manifest @0xc4d50e7a91f3b203 {
  programs @0 :List(Program);
  binaries @1 :List(Binary);
  cpus :union {
    all @2 :Void;
    first @3 :UInt16;
    # Only so many CPUs, counted from CPU 0.
  }
  policy @4 :Policy = wfq;
  runLength :union {
    untilAllExit @5 :Void;
    seconds @6 :UInt32;
  }
  baseRequestUs @7 :UInt32 = 2000;
}
