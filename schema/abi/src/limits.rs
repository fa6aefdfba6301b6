//! What a process may use, unless its spawner says otherwise, and the bounds of what a spawner can say. At a limit the
//! answer is `overloaded`, and everything that was granted stays.

/// Frames of 4 KiB: 256 MiB.
pub const DEFAULT_FRAMES: u32 = 65_536;
/// Threads.
pub const DEFAULT_THREADS: u32 = 64;
/// Capabilities.
pub const DEFAULT_CAPABILITIES: u32 = 1024;
/// The most threads that a spawner can permit.
pub const MAX_THREADS: u32 = 4096;
/// The most capabilities that a spawner can permit.
pub const MAX_CAPABILITIES: u32 = 65_536;

/// Calls that can wait at one endpoint for a receiver.
pub const ENDPOINT_QUEUE: usize = 64;
/// RECVs that can wait at one endpoint for a call.
pub const ENDPOINT_RECEIVERS: usize = 64;
/// Calls of one endpoint that were received and not answered.
pub const ENDPOINT_IN_FLIGHT: usize = 64;
/// Operations (calls, receives, sleeps, parks, waits, joins) that one thread can have outstanding.
pub const OUTSTANDING_OPERATIONS: usize = 64;
/// Those of them that have a deadline: sleeps, and parks that give up.
pub const TIMED_OPERATIONS: usize = 16;
/// Those that wait for the end of one process or thread.
pub const ENDING_WAITERS: usize = 16;
/// Threads of one process that can park at a time: all outstanding operations of all of them.
pub const PARKS: u32 = 4096;
/// Endpoints that one process has made and that still exist.
pub const ENDPOINTS: u32 = 256;
/// Mappings of one address space.
pub const MAPPINGS: usize = 4096;
