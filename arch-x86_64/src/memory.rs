//! Physical memory at boot: what the loader's map says is free, minus what is in use, handed out frame by frame
//! until the kernel's own allocator takes the rest.

use tessera_hal::Frame;

/// The frame below 1 MiB in which secondary CPUs begin. It is RAM on every PC and never handed out.
pub const TRAMPOLINE: Frame = Frame::from_number(8);
