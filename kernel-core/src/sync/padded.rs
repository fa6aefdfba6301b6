//! Values on cache lines of their own.

use core::ops::{Deref, DerefMut};

/// A value that shares no cache line with its neighbours: 128 bytes, since processors prefetch lines in pairs.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(128))]
pub struct Padded<T>(T);

impl<T> Padded<T> {
    /// Puts `value` on a line of its own.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// Takes the value back.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Deref for Padded<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Padded<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}
