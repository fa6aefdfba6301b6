//! Submissions: from the 64 bytes of an entry to the method of an object and back to a completion.
//!
//! Errors come in layers: a negative status when the call did not reach its object or the results did not reach the
//! program, an exception when the object refuses. Nothing is ever clamped.

use crate::{
    capability::{Handle, Object},
    expiry::Expiry,
    kernel::Kernel,
    memory::user_copy::{check_writable, copy_from_user, copy_to_user},
    ring::PendingSubmission,
    thread::{PendingCall, Sleep, SleepKey, Thread},
};
use hal::{CpuSet, Instant, Machine};
use kernel_core::ring::{Call, Completed, Submission};
use kernel_core::sched::{AttributeError, Snapshot, Weight};
use tessera_abi::{
    ring::{MAX_MESSAGE_BYTES, TransportError},
    scheduling::LatencyClass,
};
use tessera_schema::{
    generated::{
        interfaces::{console, scheduling_policy_cap as policy, timer},
        messages::{ConsoleWriteParams, Empty, SetAffinityParams, SnapshotResults, TimerNowResults},
    },
    message::{CallDecodeError, Exception, ExceptionKind, Message},
};

/// Bytes of the longest result that any method has; the encoders check it.
const RESULT_BYTES: usize = 512;

/// What an object answered.
enum Answer {
    /// Results without content.
    Done,
    /// The time.
    Now(TimerNowResults),
    /// A thread's scheduling.
    Snapshot(SnapshotResults),
    /// A refusal.
    Exception(Exception<'static>),
}

const fn invalid(reason: &'static str) -> Answer {
    Answer::Exception(Exception { kind: ExceptionKind::InvalidArgument, reason })
}

const fn unimplemented(reason: &'static str) -> Answer {
    Answer::Exception(Exception { kind: ExceptionKind::Unimplemented, reason })
}

const fn failed(reason: &'static str) -> Answer {
    Answer::Exception(Exception { kind: ExceptionKind::Failed, reason })
}

const UNKNOWN_METHOD: Answer = unimplemented("the interface has no such method");
const NOT_BUILT: Answer = unimplemented("the object does not have this method yet");

const TOO_MANY_SLEEPS: Answer =
    Answer::Exception(Exception { kind: ExceptionKind::Overloaded, reason: "too many sleeps are outstanding" });

impl<M: Machine> Kernel<M> {
    /// Executes a submission that was taken out of the thread's ring.
    pub fn execute(&self, thread: &Thread<M>, pending: &PendingSubmission) {
        let user_data = pending.user_data;
        let completed = match pending.submission {
            Submission::Call(call) => match self.call(thread, &PendingCall { user_data, call }) {
                Ok(None) => return,
                Ok(Some(answer)) => self.deliver(thread, answer, &call),
                Err(error) => Completed::Transport(error),
            },
            // Nothing has these operations yet.
            _ => Completed::Transport(TransportError::UnknownOperation),
        };
        thread.ring.complete(user_data, completed);
    }

    /// `None`: a timer will complete the call.
    fn call(&self, thread: &Thread<M>, pending: &PendingCall) -> Result<Option<Answer>, TransportError> {
        let call = &pending.call;
        let object = thread.process.capabilities.get(Handle::from_raw(call.handle));
        let object = object.map_err(|_| TransportError::InvalidHandle)?;
        if object.interface() != call.interface {
            return Err(TransportError::WrongInterface);
        }
        if call.transfer.sent > 0 {
            // No object takes capabilities yet.
            return Err(TransportError::CapabilitiesRefused);
        }
        if call.params_len > MAX_MESSAGE_BYTES {
            return Err(TransportError::MessageTooLong);
        }
        let mut buffer = [0; MAX_MESSAGE_BYTES as usize];
        let params = &mut buffer[..call.params_len as usize];
        copy_from_user(self.machine, &thread.process.space, call.params, params)
            .map_err(|_| TransportError::BadParams)?;
        // Checked before anything happens; a buffer that is unmapped later is the program's own doing.
        let results_len = call.results_len.min(MAX_MESSAGE_BYTES) as usize;
        check_writable(&thread.process.space, call.results, results_len).map_err(|_| TransportError::BadResults)?;
        match self.invoke(thread, object, params, pending) {
            Ok(answer) => Ok(answer),
            Err(CallDecodeError::UnknownMethod(_)) => Ok(Some(UNKNOWN_METHOD)),
            Err(CallDecodeError::Malformed(_)) => Err(TransportError::MalformedMessage),
        }
    }

    /// Calls a method. `Ok(None)`: a timer will complete the call.
    fn invoke(
        &self,
        thread: &Thread<M>,
        object: Object,
        params: &[u8],
        pending: &PendingCall,
    ) -> Result<Option<Answer>, CallDecodeError> {
        let method = pending.call.method;
        Ok(Some(match object {
            Object::Console => match console::Call::decode(method, params)? {
                console::Call::Write(ConsoleWriteParams { text }) => self.console_write(thread, text),
                console::Call::Read(_) => NOT_BUILT,
            },
            Object::Timer => match timer::Call::decode(method, params)? {
                timer::Call::Now => Answer::Now(TimerNowResults { now_ns: self.machine.now().as_nanos() }),
                timer::Call::Sleep(params) => {
                    return Ok(self.sleep(thread, Instant::from_nanos(params.deadline_ns), pending));
                }
            },
            Object::SchedulingPolicy => self.policy(thread, policy::Call::decode(method, params)?),
        }))
    }

    fn policy(&self, thread: &Thread<M>, call: policy::Call<'_>) -> Answer {
        match call {
            policy::Call::SetWeight(params) => match Weight::new(params.weight) {
                Ok(weight) => changed(self.dispatcher.set_weight(thread.id, weight)),
                Err(_) => invalid("the weight is not in 1..=10000"),
            },
            policy::Call::SetLatencyClass(params) => match LatencyClass::from_ordinal(params.class) {
                Some(class) => changed(self.dispatcher.set_class(thread.id, class)),
                None => invalid("no latency class has this ordinal"),
            },
            policy::Call::SetAffinity(SetAffinityParams { words }) => match words.cpu_words() {
                Ok(words) => self.set_affinity(thread, CpuSet::from_words(words)),
                Err(_) => invalid("the mask names a CPU above 511"),
            },
            policy::Call::Snapshot => match self.dispatcher.snapshot(thread.id) {
                Ok(snapshot) => Answer::Snapshot(wire_snapshot(&snapshot, self.machine.this_cpu())),
                Err(_) => failed("the thread is gone"),
            },
            policy::Call::SetRequest(_) => NOT_BUILT,
        }
    }

    fn console_write(&self, thread: &Thread<M>, text: &[u8]) -> Answer {
        let process = &thread.process;
        process.output.lock().accept(&process.name, text, |line| self.console.write_lines(line));
        Answer::Done
    }

    fn set_affinity(&self, thread: &Thread<M>, cpus: CpuSet) -> Answer {
        if cpus.is_empty() {
            return invalid("the mask permits no CPU");
        }
        if !cpus.is_subset_of(&self.online) {
            return invalid("the mask names a CPU that is not online");
        }
        if !cpus.is_subset_of(&thread.spawner_mask) {
            return invalid("the mask is wider than the spawner's");
        }
        changed(self.dispatcher.set_affinity(thread.id, cpus))
    }

    /// Arms a timer for the call, or answers it at once if the deadline has passed.
    fn sleep(&self, thread: &Thread<M>, deadline: Instant, pending: &PendingCall) -> Option<Answer> {
        if deadline <= self.machine.now() {
            return Some(Answer::Done);
        }
        // The timer fires on this CPU, outside system calls: it cannot fire before it is remembered.
        let Some(key) = thread.sleeps.lock().insert(Sleep { pending: *pending, timer: None }) else {
            return Some(TOO_MANY_SLEEPS);
        };
        let expiry = Expiry::Sleep { thread: thread.index, key };
        match self.dispatcher.arm_timer(deadline, expiry.to_raw()) {
            Ok(timer) => {
                thread.sleeps.lock().set_timer(key, timer);
                None
            }
            Err(_) => {
                thread.sleeps.lock().remove(key);
                Some(TOO_MANY_SLEEPS)
            }
        }
    }

    /// A sleep is over. Any CPU.
    pub fn complete_sleep(&self, thread: &Thread<M>, key: SleepKey) {
        let Some(Sleep { pending, .. }) = thread.sleeps.lock().remove(key) else { return };
        let completed = self.deliver(thread, Answer::Done, &pending.call);
        if thread.ring.complete(pending.user_data, completed) {
            self.wake(thread);
        }
    }

    /// Brings an answer into the program's result buffer.
    fn deliver(&self, thread: &Thread<M>, answer: Answer, call: &Call) -> Completed {
        let mut results = [0; RESULT_BYTES];
        let (encoded, is_exception) = match answer {
            Answer::Done => (Empty {}.encode(&mut results), false),
            Answer::Now(now) => (now.encode(&mut results), false),
            Answer::Snapshot(snapshot) => (snapshot.encode(&mut results), false),
            Answer::Exception(exception) => (exception.encode(&mut results), true),
        };
        let fitting = encoded.ok().filter(|&length| length <= call.results_len as usize);
        let Some(length) = fitting else { return Completed::Transport(TransportError::ResultsTooSmall) };
        match copy_to_user(self.machine, &thread.process.space, call.results, &results[..length]) {
            Err(_) => Completed::Transport(TransportError::BadResults),
            Ok(()) if is_exception => Completed::Exception { length: length as u32 },
            Ok(()) => Completed::Results { length: length as u32, capabilities: 0 },
        }
    }
}

fn changed(result: Result<(), AttributeError>) -> Answer {
    match result {
        Ok(()) => Answer::Done,
        Err(AttributeError::NoCpuOnline) => invalid("the mask permits no CPU that is online"),
        Err(AttributeError::Request(_)) => invalid("the request is not within 100 us to 100 ms"),
        Err(AttributeError::Stale(_)) => failed("the thread is gone"),
    }
}

fn wire_snapshot(snapshot: &Snapshot, cpu: hal::CpuId) -> SnapshotResults {
    SnapshotResults {
        weight: snapshot.weight.get(),
        class: snapshot.class as u16,
        current_cpu: cpu.get(),
        runtime_ns: snapshot.runtime.as_nanos(),
        virtual_runtime_ns: snapshot.virtual_runtime_ns,
        runnable_ns: snapshot.runnable.as_nanos(),
        voluntary_blocks: snapshot.voluntary_blocks,
        preemptions: snapshot.preemptions,
        migrations: snapshot.migrations,
        dispatches: snapshot.dispatches,
        dispatches_outside: snapshot.dispatches_outside,
        longest_wait_ns: snapshot.longest_wait.as_nanos(),
        longest_charge_ns: snapshot.longest_charge.as_nanos(),
    }
}
