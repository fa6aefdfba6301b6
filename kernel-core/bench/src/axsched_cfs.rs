//! The CFS of the crate `axsched`. A tick is charged at each requeue; a weight is a nice value, and since only the running
//! task's may change, a ready one is taken out and added again.

use crate::{Chosen, Plan, Ready};
use axsched::{BaseScheduler, CFSTask, CFScheduler};
use std::sync::Arc;

type Task = Arc<CFSTask<usize>>;

/// A `CFScheduler` with tasks.
pub struct Queue {
    queue: CFScheduler<usize>,
    current: Option<Task>,
    blocked: Vec<Task>,
    chosen: Chosen<Task>,
}

/// The nice value whose weight is nearest to `weight / 64`.
fn nice(weight: u16) -> isize {
    match weight {
        ..=16 => 6,
        17..=32 => 3,
        33..=64 => 0,
        65..=128 => -3,
        _ => -6,
    }
}

impl Queue {
    /// A queue as the plan says.
    pub fn new(plan: &Plan) -> Self {
        let mut queue = CFScheduler::new();
        let tasks: Vec<Task> = (0..plan.weights.len()).map(|index| Arc::new(CFSTask::new(index))).collect();
        for (task, &weight) in tasks.iter().zip(&plan.weights) {
            queue.set_priority(task, nice(weight));
            queue.add_task(task.clone());
        }
        let current = queue.pick_next_task();
        let blocked = Vec::with_capacity(tasks.len());
        let mut this = Self { queue, current, blocked, chosen: Chosen::new([].into_iter()) };
        (0..plan.warm_up).for_each(|_| this.requeue());
        (0..plan.blocked).for_each(|_| this.block());
        let is_ready = |task: &Task| {
            let is = |other: &Task| Arc::ptr_eq(task, other);
            !this.current.as_ref().is_some_and(is) && !this.blocked.iter().any(is)
        };
        let chosen = plan.chosen.iter().map(|&index| (tasks[index].clone(), plan.weights[index]));
        this.chosen = Chosen::new(chosen.filter(|(task, _)| is_ready(task)));
        this
    }
}

impl Ready for Queue {
    fn requeue(&mut self) {
        if let Some(current) = self.current.take() {
            self.queue.task_tick(&current);
            self.queue.put_prev_task(current, false);
        }
        self.current = self.queue.pick_next_task();
    }

    fn block(&mut self) {
        if let Some(current) = self.current.take() {
            self.queue.task_tick(&current);
            self.blocked.push(current);
        }
        self.current = self.queue.pick_next_task();
    }

    fn wake(&mut self) {
        if let Some(task) = self.blocked.pop() {
            self.queue.add_task(task);
        }
    }

    fn remove_any(&mut self) {
        self.queue.remove_task(&self.chosen.next().0).expect("it is ready");
    }

    fn bring_back(&mut self) {
        let (task, weight) = self.chosen.back();
        // Without this, which folds its ticks into its virtual time, it would not be found again.
        self.queue.set_priority(&task, nice(weight));
        self.queue.add_task(task);
    }

    fn change_weight(&mut self) {
        let (task, weight) = self.chosen.with_another_weight();
        if let Some(task) = self.queue.remove_task(task) {
            self.queue.set_priority(&task, nice(weight));
            self.queue.add_task(task);
        }
    }

    fn choose_others(&mut self) {
        self.chosen.shuffle();
    }
}
