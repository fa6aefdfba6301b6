@0xb8400725fa327e03;
# The interfaces that a program can hold a capability of. An interface is the permission: whoever holds it may call each
# of its methods.

using Messages = import "messages.capnp";

interface Console @0xf0b25d1c9a7e6001 {
  # The system console. Writes up to a newline reach it unmixed with those of others.
  write @0 Messages.ConsoleWriteParams -> Messages.Empty;
}

interface Timer @0xf0b25d1c9a7e6002 {
  # The monotonic clock, in nanoseconds since boot.
  now @0 Messages.Empty -> Messages.TimerNowResults;
  sleep @1 Messages.TimerSleepParams -> Messages.Empty;
}

interface SchedulingPolicyCap @0xf0b25d1c9a7e6003 {
  # Scheduling attributes of the calling thread. A value out of range is refused with invalidArgument, never clamped.
  setWeight @0 Messages.SetWeightParams -> Messages.Empty;
  setLatencyClass @1 Messages.SetLatencyClassParams -> Messages.Empty;
  setAffinity @2 Messages.SetAffinityParams -> Messages.Empty;
  snapshot @3 Messages.Empty -> Messages.SnapshotResults;
}
