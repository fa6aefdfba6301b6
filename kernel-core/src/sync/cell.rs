//! [`QueueOwned`]: a field of a shared entity that belongs to one CPU at a time.
//!
//! The owner is whoever holds the queue lock that the entity's home word names, or has claimed the entity while it is
//! on no queue. Ownership passes through that lock or that word, which order the accesses; so relaxed loads and stores
//! are enough, and on real hardware the cell costs what a plain field costs. Reading one without owning it is not
//! unsafe, only meaningless; under the model checker it is reported as a race.

use core::fmt;
use core::num::NonZeroU32;
use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};
use tessera_hal::{CpuId, Duration, Instant};

/// An integer that an atomic can hold.
pub trait Bits: Copy {
    /// The atomic.
    type Atomic: Send + Sync;
    /// A new atomic with this value.
    fn atomic(self) -> Self::Atomic;
    /// A relaxed load.
    fn load(atomic: &Self::Atomic) -> Self;
    /// A relaxed store.
    fn store(self, atomic: &Self::Atomic);
}

macro_rules! bits {
    ($($integer:ty: $atomic:ty),*) => {$(
        impl Bits for $integer {
            type Atomic = $atomic;
            fn atomic(self) -> $atomic {
                <$atomic>::new(self)
            }
            #[inline(always)]
            fn load(atomic: &$atomic) -> Self {
                atomic.load(Ordering::Relaxed)
            }
            #[inline(always)]
            fn store(self, atomic: &$atomic) {
                atomic.store(self, Ordering::Relaxed);
            }
        }
        impl Pack for $integer {
            type Bits = $integer;
            #[inline(always)]
            fn pack(self) -> $integer {
                self
            }
            #[inline(always)]
            fn unpack(bits: $integer) -> Self {
                bits
            }
        }
    )*};
}
bits!(u8: AtomicU8, u16: AtomicU16, u32: AtomicU32, u64: AtomicU64);

/// Nothing, held by nothing.
impl Bits for () {
    type Atomic = ();
    fn atomic(self) {}
    #[inline(always)]
    fn load((): &()) {}
    #[inline(always)]
    fn store(self, (): &()) {}
}

impl Pack for () {
    type Bits = ();
    #[inline(always)]
    fn pack(self) {}
    #[inline(always)]
    fn unpack((): ()) {}
}

/// A small `Copy` type that fits an integer. `unpack(pack(x)) == x`.
pub trait Pack: Copy {
    /// The integer.
    type Bits: Bits;
    /// As an integer.
    fn pack(self) -> Self::Bits;
    /// Back from what `pack` made.
    fn unpack(bits: Self::Bits) -> Self;
}

macro_rules! pack {
    ($($name:ty as $bits:ty: |$value:ident| $pack:expr, |$packed:ident| $unpack:expr;)*) => {$(
        impl Pack for $name {
            type Bits = $bits;
            #[inline(always)]
            fn pack(self) -> $bits {
                let $value = self;
                $pack
            }
            #[inline(always)]
            fn unpack($packed: $bits) -> Self {
                $unpack
            }
        }
    )*};
}
pack! {
    i64 as u64: |value| value.cast_unsigned(), |bits| bits.cast_signed();
    bool as u8: |value| u8::from(value), |bits| bits != 0;
    Option<NonZeroU32> as u32: |value| value.map_or(0, NonZeroU32::get), |bits| NonZeroU32::new(bits);
    Instant as u64: |value| value.as_nanos(), |bits| Instant::from_nanos(bits);
    Duration as u64: |value| value.as_nanos(), |bits| Duration::from_nanos(bits);
    CpuId as u16: |value| value.get(), |bits| CpuId::new(bits);
}

/// Packs a struct of one integer as that: `pack_newtype!(Order(u64))`.
#[macro_export]
macro_rules! pack_newtype {
    ($name:ident($integer:ty)) => {
        impl $crate::sync::Pack for $name {
            type Bits = $integer;
            #[inline(always)]
            fn pack(self) -> $integer {
                self.0
            }
            #[inline(always)]
            fn unpack(bits: $integer) -> Self {
                Self(bits)
            }
        }
    };
}

/// Packs an enum without fields into a `u8`: `pack_enum!(Class { Interactive, Normal })`. All variants must be named.
#[macro_export]
macro_rules! pack_enum {
    ($name:ident { $first:ident $(, $variant:ident)* $(,)? }) => {
        impl $crate::sync::Pack for $name {
            type Bits = u8;
            fn pack(self) -> u8 {
                match self {
                    Self::$first => Self::$first as u8,
                    $(Self::$variant => Self::$variant as u8,)*
                }
            }
            fn unpack(bits: u8) -> Self {
                $(if bits == Self::$variant as u8 {
                    return Self::$variant;
                })*
                Self::$first
            }
        }
    };
}

/// A field that one CPU owns at a time. See the module.
pub struct QueueOwned<T: Pack> {
    value: <T::Bits as Bits>::Atomic,
    check: check::Check,
}

impl<T: Pack> QueueOwned<T> {
    /// A cell with this value.
    pub fn new(value: T) -> Self {
        Self { value: value.pack().atomic(), check: check::Check::new() }
    }

    /// The value. Only the owner of the entity.
    #[inline(always)]
    pub fn get(&self) -> T {
        self.check.read();
        T::unpack(T::Bits::load(&self.value))
    }

    /// Replaces the value. Only the owner of the entity.
    #[inline(always)]
    pub fn set(&self, value: T) {
        self.check.write();
        value.pack().store(&self.value);
    }

    /// Replaces the value by a function of it and answers the new one. Only the owner of the entity.
    #[inline(always)]
    pub fn update(&self, change: impl FnOnce(T) -> T) -> T {
        let new = change(self.get());
        self.set(new);
        new
    }

    /// The value for a report, read by one who does not own it: it may be from a moment ago, and not from the same
    /// moment as its neighbours.
    pub fn glance(&self) -> T {
        T::unpack(T::Bits::load(&self.value))
    }
}

impl<T: Pack + Default> Default for QueueOwned<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: Pack + fmt::Debug> fmt::Debug for QueueOwned<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.glance().fmt(f)
    }
}

#[cfg(not(loom))]
mod check {
    /// Nothing to check without a model checker.
    pub(super) struct Check;

    impl Check {
        pub(super) fn new() -> Self {
            Self
        }
        #[inline(always)]
        pub(super) fn read(&self) {}
        #[inline(always)]
        pub(super) fn write(&self) {}
    }
}

#[cfg(loom)]
mod check {
    use std::sync::Mutex;

    /// A cell of the checker beside the value: it knows which accesses are ordered, and reports those that are not.
    /// The mutex is never contended; it is there because the checker's cell is not `Sync` by itself.
    pub(super) struct Check(Mutex<loom::cell::UnsafeCell<()>>);

    impl Check {
        pub(super) fn new() -> Self {
            Self(Mutex::new(loom::cell::UnsafeCell::new(())))
        }
        pub(super) fn read(&self) {
            self.0.lock().expect("the model has failed already").with(|_| ());
        }
        pub(super) fn write(&self) {
            self.0.lock().expect("the model has failed already").with_mut(|_| ());
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    enum Season {
        Spring,
        Summer,
        Winter,
    }
    pack_enum!(Season { Spring, Summer, Winter });

    #[test]
    fn every_packed_type_comes_back_as_it_was() {
        for season in [Season::Spring, Season::Summer, Season::Winter] {
            assert_eq!(QueueOwned::new(season).get(), season);
        }
        for number in [i64::MIN, -1, 0, 1, i64::MAX] {
            assert_eq!(QueueOwned::new(number).get(), number);
        }
        for link in [None, NonZeroU32::new(1), NonZeroU32::new(u32::MAX)] {
            assert_eq!(QueueOwned::new(link).get(), link);
        }
        assert_eq!(QueueOwned::new(Instant::from_nanos(7)).get(), Instant::from_nanos(7));
    }

    #[test]
    fn an_update_answers_what_it_stored() {
        let cell = QueueOwned::new(41_u64);
        assert_eq!(cell.update(|value| value + 1), 42);
        assert_eq!(cell.get(), 42);
    }
}
