//! The synchronization types under threads of the host.
