//! The globals: the running kernel, or the conformance run in its place, for code that is entered without a reference to it (interrupt hook, secondary
//! CPUs, panic). Type-erased, because a static cannot be generic over the machine; a look-up with another machine's
//! type finds nothing.

use crate::{conformance::Checked, kernel::Kernel};
use core::any::Any;
use hal::Machine;
use spin::Once;

static KERNEL: Once<&'static (dyn Any + Send + Sync)> = Once::new();
static CHECKED: Once<&'static (dyn Any + Send + Sync)> = Once::new();

/// Publishes the kernel. The first one stays.
pub fn publish<M: Machine>(kernel: &'static Kernel<M>) {
    KERNEL.call_once(|| kernel);
}

/// The kernel, once it is published.
pub fn kernel<M: Machine>() -> Option<&'static Kernel<M>> {
    KERNEL.get().and_then(|kernel| kernel.downcast_ref())
}

/// Publishes the state of a conformance run. The first one stays.
pub fn publish_checked<M: Machine>(checked: &'static Checked<M>) {
    CHECKED.call_once(|| checked);
}

/// The state of the conformance run, once it is published.
pub fn checked<M: Machine>() -> Option<&'static Checked<M>> {
    CHECKED.get().and_then(|checked| checked.downcast_ref())
}
