//! What a scheduling decision costs: `kernel-core`'s ready queue under both policies, beside the CFS of the published
//! crate `axsched` and a plain `BTreeMap<(virtual time, id)>`, in one process, on the same sequence of operations.
//!
//! The peers keep less: neither has a queue's virtual time, lag, eligibility, accounting or the means to steal. So an
//! operation is what a kernel asks for ("the running thread blocks, who runs now?"), not the same steps inside.
//!
//! `benches/instructions.rs` counts instructions under Callgrind, `benches/time.rs` measures time with criterion, and the
//! program `bench-table` prints both as one table. `cargo xtask bench` runs all three.

pub mod axsched_cfs;
pub mod order;
pub mod tessera;

use std::fmt;

/// How many threads are there when an operation is measured.
pub const SIZES: [usize; 4] = [4, 64, 1_024, 10_000];

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    /// The running thread has used its slice up and goes back; the first one is picked. All have the same weight.
    PickRequeue,
    /// The same among weights from 16 to 256.
    PickRequeueMixed,
    /// A blocked thread becomes ready.
    Wake,
    /// The running thread blocks; the first one is picked.
    Block,
    /// Any ready thread is taken out.
    RemoveAny,
    /// Any ready thread gets another weight.
    WeightChange,
    /// As `PickRequeueMixed`, with requests from 0.1 to 51.2 ms, where the first deadline is often not eligible.
    EligiblePick,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::PickRequeue,
        Self::PickRequeueMixed,
        Self::Wake,
        Self::Block,
        Self::RemoveAny,
        Self::WeightChange,
        Self::EligiblePick,
    ];

    /// The name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PickRequeue => "pick+requeue",
            Self::PickRequeueMixed => "pick+requeue-mixed",
            Self::Wake => "wake",
            Self::Block => "block",
            Self::RemoveAny => "remove-any",
            Self::WeightChange => "weight-change",
            Self::EligiblePick => "eligible-pick",
        }
    }

    const fn takes_threads_away(self) -> bool {
        matches!(self, Self::Block | Self::RemoveAny)
    }
}

/// Whose queue is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Subject {
    /// `kernel-core` under weighted fair queueing.
    Wfq,
    /// `kernel-core` under earliest eligible virtual deadline first.
    Eevdf,
    /// The CFS of `axsched`.
    AxschedCfs,
    /// A plain ordered map.
    Map,
    /// The tree of `kernel-core`, in the place of the map.
    TreeAlone,
}

impl Subject {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Wfq, Self::Eevdf, Self::AxschedCfs, Self::Map, Self::TreeAlone];

    /// The name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Wfq => "wfq",
            Self::Eevdf => "eevdf",
            Self::AxschedCfs => "axsched-cfs",
            Self::Map => "btreemap",
            Self::TreeAlone => "tree-alone",
        }
    }
}

/// One measurement.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Case {
    /// What.
    pub operation: Operation,
    /// Whose.
    pub subject: Subject,
    /// Among how many.
    pub threads: usize,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.operation.name(), self.subject.name(), self.threads)
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Every case, in a fixed order.
pub fn cases() -> Vec<Case> {
    let of = |operation| {
        SIZES.into_iter().flat_map(move |threads| Subject::ALL.map(|subject| (operation, subject, threads)))
    };
    let all = Operation::ALL.into_iter().flat_map(of);
    all.map(|(operation, subject, threads)| Case { operation, subject, threads }).collect()
}

/// A ready queue with threads in it, one of which runs.
pub trait Ready {
    /// The running thread has used its slice up and goes back; the first one is picked.
    fn requeue(&mut self);
    /// The running thread blocks; the first one is picked.
    fn block(&mut self);
    /// The thread that blocked last becomes ready.
    fn wake(&mut self);
    /// The next of the chosen ready threads is taken out.
    fn remove_any(&mut self);
    /// The one that was taken out last is ready again.
    fn bring_back(&mut self);
    /// The next of the chosen ready threads gets another weight.
    fn change_weight(&mut self);
    /// The threads are chosen in another order from now on.
    fn choose_others(&mut self);
}

/// A queue on which one kind of step is repeated, without a dynamic call per step.
trait Repeat {
    fn repeat(&mut self, operation: Operation, times: usize);
    /// After that: as many are ready as before.
    fn undo(&mut self, operation: Operation, times: usize);
}

impl<R: Ready> Repeat for R {
    fn repeat(&mut self, operation: Operation, times: usize) {
        let mut each = |step: fn(&mut R)| (0..times).for_each(|_| step(self));
        match operation {
            Operation::PickRequeue | Operation::PickRequeueMixed | Operation::EligiblePick => each(R::requeue),
            Operation::Wake => each(R::wake),
            Operation::Block => each(R::block),
            Operation::RemoveAny => each(R::remove_any),
            Operation::WeightChange => each(R::change_weight),
        }
    }

    fn undo(&mut self, operation: Operation, times: usize) {
        let mut each = |step: fn(&mut R)| (0..times).for_each(|_| step(self));
        match operation {
            Operation::Wake => each(R::block),
            Operation::Block => each(R::wake),
            Operation::RemoveAny => {
                each(R::bring_back);
                self.choose_others();
            }
            Operation::WeightChange => self.choose_others(),
            Operation::PickRequeue | Operation::PickRequeueMixed | Operation::EligiblePick => {}
        }
    }
}

/// Queues that are ready to be measured.
pub struct Prepared {
    queues: Vec<Box<dyn Repeat>>,
    operation: Operation,
    times: usize,
}

impl Prepared {
    /// How many operations [`Prepared::run`] does.
    pub fn operations(&self) -> usize {
        self.queues.len() * self.times
    }

    /// Does them.
    pub fn run(&mut self) {
        for queue in &mut self.queues {
            queue.repeat(self.operation, self.times);
        }
    }

    /// Makes them ready to be measured again, on other threads.
    pub fn undo(&mut self) {
        for queue in &mut self.queues {
            queue.undo(self.operation, self.times);
        }
    }
}

/// Builds the queues of a case for so many operations, or more. When one changes the number of threads, a queue has as
/// many as the case says after half of its operations; for many of these there are many queues. Few stay in a cache, as
/// that of one CPU does.
fn prepare(case: Case, operations: usize) -> Prepared {
    let times = match case.operation {
        Operation::PickRequeue | Operation::PickRequeueMixed | Operation::EligiblePick => 512,
        Operation::Wake | Operation::Block | Operation::RemoveAny | Operation::WeightChange => case.threads.min(32),
    };
    let queues = operations.div_ceil(times);
    let build = |queue| -> Box<dyn Repeat> {
        let mut plan = Plan::new(case, times);
        // Each queue is asked about other threads, or many would be measured on a few.
        let count = plan.chosen.len();
        plan.chosen.rotate_left(queue * times % count);
        match case.subject {
            Subject::Wfq => Box::new(tessera::Queue::new(kernel_core::sched::Policy::Wfq, &plan)),
            Subject::Eevdf => Box::new(tessera::Queue::new(kernel_core::sched::Policy::Eevdf, &plan)),
            Subject::AxschedCfs => Box::new(axsched_cfs::Queue::new(&plan)),
            Subject::Map => Box::new(order::Queue::<order::Map>::new(&plan)),
            Subject::TreeAlone => Box::new(order::Queue::<order::TreeAlone>::new(&plan)),
        }
    };
    Prepared { queues: (0..queues).map(build).collect(), operation: case.operation, times }
}

/// The operations of a case whose instructions are counted: enough to be about more than the shape of one queue.
pub fn prepare_count(case: Case) -> Prepared {
    prepare(case, 256)
}

/// Those that are timed between two readings of a clock.
pub fn prepare_time(case: Case) -> Prepared {
    prepare(case, 32)
}

/// Which threads there are and what will be done to which; the same for every subject.
pub struct Plan {
    /// The weights of the threads: 64, or from 16 to 256.
    pub weights: Vec<u16>,
    /// Their requests in microseconds.
    pub requests_us: Vec<u64>,
    /// How many block before the measurement, to be woken in it.
    pub blocked: usize,
    /// Rounds before the measurement.
    pub warm_up: usize,
    /// Whom the operations are about, in order.
    pub chosen: Vec<usize>,
}

impl Plan {
    fn new(case: Case, times: usize) -> Self {
        let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ case.threads as u64);
        let count = case.threads;
        // One more runs. Those that will be woken come on top, so that there are `count` when half of them are.
        let blocked = if case.operation == Operation::Wake { times } else { 0 };
        let total = count + 1 + blocked / 2 + if case.operation.takes_threads_away() { times / 2 } else { 0 };
        let requests = |random: &mut Random| match case.operation {
            Operation::EligiblePick => 100 << random.below(10),
            _ => 2_000,
        };
        let weight = |random: &mut Random| match case.operation {
            Operation::PickRequeue => 64,
            _ => 16 << random.below(5),
        };
        let mut chosen: Vec<usize> = (0..total).collect();
        random.shuffle(&mut chosen);
        Self {
            weights: (0..total).map(|_| weight(&mut random)).collect(),
            requests_us: (0..total).map(|_| requests(&mut random)).collect(),
            blocked,
            warm_up: (4 * count).min(4_096),
            chosen,
        }
    }
}

/// Ready threads, and their weights, in the order in which operations choose them, again and again.
pub struct Chosen<T> {
    threads: Vec<(T, u16)>,
    next: usize,
    random: Random,
}

impl<T: Clone> Chosen<T> {
    fn new(threads: impl Iterator<Item = (T, u16)>) -> Self {
        Self { threads: threads.collect(), next: 0, random: Random(1) }
    }

    /// The next one.
    fn next(&mut self) -> &mut (T, u16) {
        let chosen = self.next;
        self.next = if chosen + 1 == self.threads.len() { 0 } else { chosen + 1 };
        &mut self.threads[chosen]
    }

    /// The next one, and another weight for it: twice or half of what it has, at most 256 and at least 16.
    fn with_another_weight(&mut self) -> (&T, u16) {
        let doubles = self.next.is_multiple_of(2);
        let (thread, weight) = self.next();
        *weight = match *weight {
            16 => 32,
            256 => 128,
            weight if doubles => weight * 2,
            weight => weight / 2,
        };
        (thread, *weight)
    }

    /// The one that was chosen last is not.
    fn back(&mut self) -> (T, u16) {
        self.next = self.next.checked_sub(1).unwrap_or(self.threads.len() - 1);
        self.threads[self.next].clone()
    }

    /// Another order.
    fn shuffle(&mut self) {
        self.random.shuffle(&mut self.threads);
    }
}

/// A small generator: the same sequence everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for index in (1..items.len()).rev() {
            items.swap(index, self.below(index as u64 + 1) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_can_be_run() {
        for case in cases().into_iter().filter(|case| case.threads <= 64) {
            let mut prepared = prepare_time(case);
            assert!(prepared.operations() >= 32, "{case}");
            for _ in 0..3 {
                prepared.run();
                prepared.undo();
            }
        }
    }
}
