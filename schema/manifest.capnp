@0x9257c522abd0a1e8;
# What runs, and how: the initrd is one Manifest in standard framing. The kernel reads how the machine is to run, and
# starts `init`; init reads the programs and starts them.

using Messages = import "messages.capnp";

enum Policy {
  wfq @0;
  eevdf @1;
}

enum Capability {
  # A capability of the kernel that a program can be granted at its start: an interface of capabilities.capnp.
  console @0;
  timer @1;
  schedulingPolicy @2;
  processSpawner @3;
  threadSpawner @4;
  threadControl @5;
  parkSpace @6;
  memoryFactory @7;
  virtualMemory @8;
  endpointFactory @9;
  capabilityTable @10;
  systemInspector @11;
  systemSupervisor @12;
  terminal @13;
}

struct Grant @0xc4d50e7a91f3b204 {
  # A capability that a program is started with.
  name @0 :Text;
  # What the program asks for it by: up to 31 letters, digits, '-', '_' and '.'; each once in a program.
  source :union {
    kernel @1 :Capability;
    serverOf @2 :Text;
    # The receiving side of the endpoint of this name; the instances of the program share it.
    clientOf @3 :Text;
    # A client's capability of the endpoint of this name.
  }
  badge @4 :UInt64;
  # What the server sees of the client. Only for `clientOf`.
  mostProcesses @5 :UInt32;
  # How many processes may exist at a time that were made with it; 0: what the spawner itself permits. Only for
  # `kernel = processSpawner`.
}

struct Endpoint @0xc4d50e7a91f3b205 {
  name @0 :Text;
  interface @1 :UInt64;
  # The id of the interface that its clients' capabilities have. Not 0.
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
  plainGrants @10 :List(Capability);
  # Capabilities of the kernel under their usual names, such as `scheduling-policy`. They come before `grants`.
  grants @11 :List(Grant);
  frames @12 :UInt32;
  threads @13 :UInt32;
  capabilities @14 :UInt32;
  # The most that each instance may have; 0: the default.
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
  init @8 :Text = "init";
  # The name of an entry of `binaries`: what the kernel starts.
  endpoints @9 :List(Endpoint);
  # The endpoints that init makes. Each is served by exactly one program.
}
