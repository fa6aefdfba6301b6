//! Submissions: from the 64 bytes of an entry to the method of an object and back to a completion.
//!
//! Errors come in layers: a negative status when the call did not reach its object or the results did not reach the
//! program, an exception when the object refuses. Nothing is ever clamped.

use crate::{
    capability::{Handle, Object},
    expiry::Expiry,
    kernel::Kernel,
    memory::user_copy::{check_writable, copy_from_user, copy_to_user},
    ring::PendingCall,
    thread::{Sleep, SleepKey, Thread},
};
use hal::{CpuSet, Instant, Machine};
use kernel_core::ring::{Call, Completed};
use kernel_core::sched::{AttributeError, Snapshot, Weight};
use tessera_abi::{
    ring::{MAX_MESSAGE_BYTES, TransportError},
    scheduling::LatencyClass,
};
use tessera_schema::message::{self, Exception, ExceptionKind, MethodId, Reply, Request, RequestError};

/// Bytes of the longest result that any method has; the encoders check it.
const RESULT_BYTES: usize = 512;

/// What an object answered.
enum Answer {
    /// Results.
    Reply(Reply),
    /// A refusal.
    Exception(Exception<'static>),
}

const fn invalid(reason: &'static str) -> Answer {
    Answer::Exception(Exception { kind: ExceptionKind::InvalidArgument, reason })
}

const fn failed(reason: &'static str) -> Answer {
    Answer::Exception(Exception { kind: ExceptionKind::Failed, reason })
}

const TOO_MANY_SLEEPS: Answer =
    Answer::Exception(Exception { kind: ExceptionKind::Overloaded, reason: "too many sleeps are outstanding" });

impl<M: Machine> Kernel<M> {
    /// Executes a call that was taken out of the thread's ring.
    pub fn execute(&self, thread: &Thread<M>, pending: &PendingCall) {
        let completed = match self.call(thread, pending) {
            Ok(None) => return,
            Ok(Some(answer)) => self.deliver(thread, answer, &pending.call),
            Err(error) => Completed::Transport(error),
        };
        thread.ring.complete(pending.user_data, completed);
    }

    /// `None`: a timer will complete the call.
    fn call(&self, thread: &Thread<M>, pending: &PendingCall) -> Result<Option<Answer>, TransportError> {
        let call = &pending.call;
        let object = thread.process.capabilities.get(Handle::from_raw(call.handle));
        let object = object.map_err(|_| TransportError::InvalidHandle)?;
        if object.interface() != call.interface {
            return Err(TransportError::WrongInterface);
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
        let method = MethodId { interface: call.interface, method: call.method };
        match Request::decode(method, params) {
            Ok(request) => Ok(self.invoke(thread, object, &request, pending)),
            Err(error) => refused(&error).map(|exception| Some(Answer::Exception(exception))),
        }
    }

    /// Calls a method. `None`: a timer will complete the call.
    fn invoke(
        &self,
        thread: &Thread<M>,
        object: Object,
        request: &Request<'_>,
        pending: &PendingCall,
    ) -> Option<Answer> {
        let answer = match (object, *request) {
            (Object::Console, Request::ConsoleWrite { text }) => self.console_write(thread, text),
            (Object::Timer, Request::TimerNow) => Answer::Reply(Reply::Now { now_ns: self.machine.now().as_nanos() }),
            (Object::Timer, Request::TimerSleep { deadline_ns }) => {
                return self.sleep(thread, Instant::from_nanos(deadline_ns), pending);
            }
            (Object::SchedulingPolicy, Request::SetWeight { weight }) => match Weight::new(weight) {
                Ok(weight) => changed(self.dispatcher.set_weight(thread.id, weight)),
                Err(_) => invalid("the weight is not in 1..=10000"),
            },
            (Object::SchedulingPolicy, Request::SetLatencyClass { class }) => match LatencyClass::from_ordinal(class) {
                Some(class) => changed(self.dispatcher.set_class(thread.id, class)),
                None => invalid("no latency class has this ordinal"),
            },
            (Object::SchedulingPolicy, Request::SetAffinity { cpus }) => {
                self.set_affinity(thread, CpuSet::from_words(cpus))
            }
            (Object::SchedulingPolicy, Request::Snapshot) => match self.dispatcher.snapshot(thread.id) {
                Ok(snapshot) => Answer::Reply(Reply::Snapshot(wire_snapshot(&snapshot, self.machine.this_cpu()))),
                Err(_) => failed("the thread is gone"),
            },
            // The interface was compared with the object's, so its requests are the object's.
            _ => failed("the object does not have this interface"),
        };
        Some(answer)
    }

    fn console_write(&self, thread: &Thread<M>, text: &[u8]) -> Answer {
        let process = &thread.process;
        process.output.lock().accept(&process.name, text, |line| self.console.write_lines(line));
        Answer::Reply(Reply::Empty)
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
            return Some(Answer::Reply(Reply::Empty));
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
        let completed = self.deliver(thread, Answer::Reply(Reply::Empty), &pending.call);
        if thread.ring.complete(pending.user_data, completed) {
            self.wake(thread);
        }
    }

    /// Brings an answer into the program's result buffer.
    fn deliver(&self, thread: &Thread<M>, answer: Answer, call: &Call) -> Completed {
        let mut results = [0; RESULT_BYTES];
        let (encoded, is_exception) = match answer {
            Answer::Reply(reply) => (reply.encode(&mut results), false),
            Answer::Exception(exception) => (exception.encode(&mut results), true),
        };
        let fitting = encoded.ok().filter(|&length| length <= call.results_len as usize);
        let Some(length) = fitting else { return Completed::Transport(TransportError::ResultsTooSmall) };
        match copy_to_user(self.machine, &thread.process.space, call.results, &results[..length]) {
            Err(_) => Completed::Transport(TransportError::BadResults),
            Ok(()) if is_exception => Completed::Exception { length: length as u32 },
            Ok(()) => Completed::Results { length: length as u32 },
        }
    }
}

/// The exception for a request that could not be understood, or the transport's own error.
fn refused(error: &RequestError) -> Result<Exception<'static>, TransportError> {
    error.exception().ok_or(match error {
        RequestError::UnknownInterface(_) => TransportError::WrongInterface,
        _ => TransportError::MalformedMessage,
    })
}

fn changed(result: Result<(), AttributeError>) -> Answer {
    match result {
        Ok(()) => Answer::Reply(Reply::Empty),
        Err(AttributeError::NoCpuOnline) => invalid("the mask permits no CPU that is online"),
        Err(AttributeError::Request(_)) => invalid("the request is not within 100 us to 100 ms"),
        Err(AttributeError::Stale(_)) => failed("the thread is gone"),
    }
}

fn wire_snapshot(snapshot: &Snapshot, cpu: hal::CpuId) -> message::Snapshot {
    message::Snapshot {
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
