//! A plain `BTreeMap<(virtual time, id)>` and arrays: the least that orders threads by weighted run time.

use crate::{Plan, Ready};
use std::collections::BTreeMap;

/// Such a map with threads.
pub struct Queue {
    ready: BTreeMap<(u64, usize), ()>,
    virtual_times: Vec<u64>,
    weights: Vec<u64>,
    current: Option<usize>,
    blocked: Vec<usize>,
    chosen: Vec<usize>,
    next: usize,
}

const SLICE_NS: u64 = 2_000_000;

impl Queue {
    /// A queue as the plan says.
    pub fn new(plan: &Plan) -> Self {
        let count = plan.weights.len();
        let mut this = Self {
            ready: (0..count).map(|id| ((0, id), ())).collect(),
            virtual_times: vec![0; count],
            weights: plan.weights.iter().copied().map(u64::from).collect(),
            current: None,
            blocked: Vec::with_capacity(count),
            chosen: Vec::new(),
            next: 0,
        };
        this.pick();
        (0..plan.warm_up).for_each(|_| this.requeue());
        (0..plan.blocked).for_each(|_| this.block());
        let is_ready = |id: &usize| Some(*id) != this.current && !this.blocked.contains(id);
        this.chosen = plan.chosen.iter().copied().filter(is_ready).collect();
        this
    }

    fn pick(&mut self) {
        self.current = self.ready.pop_first().map(|((_, id), ())| id);
    }

    fn charge(&mut self) -> Option<usize> {
        let id = self.current.take()?;
        self.virtual_times[id] += SLICE_NS * 64 / self.weights[id];
        Some(id)
    }

    fn choose(&mut self) -> usize {
        let chosen = self.chosen[self.next];
        self.next = if self.next + 1 == self.chosen.len() { 0 } else { self.next + 1 };
        chosen
    }
}

impl Ready for Queue {
    fn requeue(&mut self) {
        if let Some(id) = self.charge() {
            self.ready.insert((self.virtual_times[id], id), ());
        }
        self.pick();
    }

    fn block(&mut self) {
        let id = self.charge();
        self.blocked.extend(id);
        self.pick();
    }

    fn wake(&mut self) {
        if let Some(id) = self.blocked.pop() {
            let least = self.ready.first_key_value().map_or(0, |(&(least, _), ())| least);
            self.virtual_times[id] = self.virtual_times[id].max(least);
            self.ready.insert((self.virtual_times[id], id), ());
        }
    }

    fn remove_any(&mut self) {
        let id = self.choose();
        self.ready.remove(&(self.virtual_times[id], id));
    }

    fn change_weight(&mut self) {
        let id = self.choose();
        if self.ready.remove(&(self.virtual_times[id], id)).is_some() {
            self.weights[id] = 16 << (self.next % 5);
            self.ready.insert((self.virtual_times[id], id), ());
        }
    }
}
