//! What the services decide, apart from the kernel: so it is tested on a host.
#![cfg_attr(target_os = "none", no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod init;
pub mod shell;
