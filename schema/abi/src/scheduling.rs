//! Numbers of the scheduling ABI.

/// The smallest weight.
pub const MIN_WEIGHT: u16 = 1;
/// The largest weight.
pub const MAX_WEIGHT: u16 = 10_000;
/// The weight of a thread whose spawner asked for none.
pub const DEFAULT_WEIGHT: u16 = 64;
/// The weight at which virtual time runs as fast as real time.
pub const REFERENCE_WEIGHT: u16 = 64;

/// The request of a `normal` thread in nanoseconds, unless the manifest says otherwise: 2 ms.
pub const DEFAULT_REQUEST_NS: u64 = 2_000_000;
/// The shortest request that may be asked for: 100 us.
pub const MIN_REQUEST_NS: u64 = 100_000;
/// The longest request that may be asked for: 100 ms.
pub const MAX_REQUEST_NS: u64 = 100_000_000;
/// The period of the grid in nanoseconds: 10 ms.
pub const GRID_NS: u64 = 10_000_000;

/// What a thread wants of its latency.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
#[repr(u8)]
pub enum LatencyClass {
    /// Half the base request: sooner, shorter.
    Interactive = 0,
    /// The base request.
    #[default]
    Normal = 1,
    /// Four times the base request: later, longer.
    Batch = 2,
    /// The base request; a server that is called over IPC.
    IpcServer = 3,
}

impl LatencyClass {
    /// Every class, by ordinal.
    pub const ALL: [Self; 4] = [Self::Interactive, Self::Normal, Self::Batch, Self::IpcServer];

    /// The class with this ordinal.
    pub const fn from_ordinal(ordinal: u16) -> Option<Self> {
        match ordinal {
            0 => Some(Self::Interactive),
            1 => Some(Self::Normal),
            2 => Some(Self::Batch),
            3 => Some(Self::IpcServer),
            _ => None,
        }
    }

    /// The name in manifests and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Interactive => "interactive",
            Self::Normal => "normal",
            Self::Batch => "batch",
            Self::IpcServer => "ipcServer",
        }
    }
}
