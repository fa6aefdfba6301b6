//! `kernel-core`'s ready queue.

use crate::{Chosen, Plan, Ready};
use kernel_core::sched::{Attributes, LocalQueue, Policy, ThreadId, Weight};
use tessera_hal::{Duration, Instant};

/// A [`LocalQueue`] with threads.
pub struct Queue {
    queue: LocalQueue,
    now: Instant,
    slice: Duration,
    blocked: Vec<ThreadId>,
    chosen: Chosen<ThreadId>,
}

impl Queue {
    /// A queue as the plan says.
    pub fn new(policy: Policy, plan: &Plan) -> Self {
        let now = Instant::from_nanos(1_000_000_000);
        let mut queue = LocalQueue::new(policy, plan.weights.len() as u32, now).expect("memory");
        let threads: Vec<_> = plan
            .weights
            .iter()
            .zip(&plan.requests_us)
            .map(|(&weight, &request)| {
                let weight = Weight::new(weight).expect("in range");
                let request = Some(Duration::from_micros(request));
                queue.add(&Attributes { weight, request, ..Attributes::default() }, now).expect("memory")
            })
            .collect();
        queue.pick(now);
        let slice = Duration::from_millis(2);
        let blocked = Vec::with_capacity(threads.len());
        let mut this = Self { queue, now, slice, blocked, chosen: Chosen::new([].into_iter()) };
        (0..plan.warm_up).for_each(|_| this.requeue());
        (0..plan.blocked).for_each(|_| this.block());
        let is_ready = |thread: &ThreadId| Some(*thread) != this.queue.current() && !this.blocked.contains(thread);
        let chosen = plan.chosen.iter().map(|&index| (threads[index], plan.weights[index]));
        this.chosen = Chosen::new(chosen.filter(|(thread, _)| is_ready(thread)));
        this
    }
}

impl Ready for Queue {
    fn requeue(&mut self) {
        self.now = self.queue.slice_end().unwrap_or(self.now);
        self.queue.requeue(self.now);
    }

    fn block(&mut self) {
        self.now = self.now.saturating_add(self.slice);
        let current = self.queue.current();
        self.queue.block(self.now);
        self.blocked.extend(current);
        self.queue.pick(self.now);
    }

    fn wake(&mut self) {
        if let Some(thread) = self.blocked.pop() {
            self.queue.wake(thread, self.now).expect("it lives");
        }
    }

    fn remove_any(&mut self) {
        let chosen = self.chosen.next().0;
        self.queue.take_off(chosen, self.now).expect("it lives");
    }

    fn bring_back(&mut self) {
        let (chosen, _) = self.chosen.back();
        self.queue.wake(chosen, self.now).expect("it lives");
    }

    fn change_weight(&mut self) {
        let (&chosen, weight) = self.chosen.with_another_weight();
        self.queue.set_weight(chosen, Weight::new(weight).expect("in range"), self.now).expect("it lives");
    }

    fn choose_others(&mut self) {
        self.chosen.shuffle();
    }
}
