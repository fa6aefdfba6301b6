//! `Console` and `Terminal`.

use super::{Answer, Reply, Request, Results, overloaded};
use crate::{
    kernel::Kernel,
    operation::{Operation, OperationRef, WaitsFor},
    submission::Caller,
};
use hal::Machine;
use tessera_abi::ring::TransportError;
use tessera_schema::generated::{
    interfaces::{self, console, terminal},
    messages::{ConsoleReadParams, ConsoleReadResults},
};

/// The most bytes of one read.
const MOST_BYTES: usize = 256;

impl<M: Machine> Caller<'_, M> {
    pub(super) fn console<'r>(&mut self, call: console::Call<'_>, request: &Request<'r, M>) -> Answer<'r, M> {
        match call {
            console::Call::Write(params) => {
                let (process, console) = (request.process, self.kernel.console);
                process.output.lock().accept(&process.name, params.text, |line| console.write_lines(line));
                Ok(Reply::empty())
            }
            console::Call::Read(params) => self.read(&params, request),
        }
    }

    pub(super) fn terminal<'r>(&mut self, call: terminal::Call<'_>, request: &Request<'r, M>) -> Answer<'r, M> {
        match call {
            terminal::Call::Write(params) => {
                self.kernel.console.write_lines(params.text);
                Ok(Reply::empty())
            }
            terminal::Call::Read(params) => self.read(&params, request),
        }
    }

    fn read<'r>(&mut self, params: &ConsoleReadParams, request: &Request<'r, M>) -> Answer<'r, M> {
        let kernel = self.kernel;
        // What is taken must fit: the bytes' place is a multiple of a word.
        let beside = interfaces::least_results(request.call.interface, request.call.method);
        let room = (request.call.results_len as usize).saturating_sub(beside) / 8 * 8;
        if room == 0 {
            return Err(TransportError::ResultsTooSmall.into());
        }
        let most = (params.most_bytes as usize).clamp(1, MOST_BYTES.min(room));
        let mut reader = kernel.reader.lock();
        if reader.is_some() {
            return Err(overloaded("somebody else reads the console"));
        }
        let operation = Operation { pending: *request.pending, waits_for: WaitsFor::Input };
        let begun = kernel.begin_for(self.thread, operation).ok_or(super::TOO_MANY_OPERATIONS)?;
        *reader = Some(Reader { operation: begun, most });
        drop(reader);
        kernel.input_arrived();
        Ok(Reply::Later)
    }
}

/// Who waits for input.
pub struct Reader {
    operation: OperationRef,
    most: usize,
}

impl<M: Machine> Kernel<M> {
    /// Brings what was typed to the one who waits for it. Not from the interrupt hook.
    pub fn input_arrived(&self) {
        let mut bytes = [0; MOST_BYTES];
        let (reader, count) = {
            let mut reader = self.reader.lock();
            let Some(most) = reader.as_ref().map(|reader| reader.most) else { return };
            let mut count = 0;
            while count < most {
                let Some(byte) = self.console.input.pop() else { break };
                bytes[count] = byte;
                count += 1;
            }
            if count == 0 {
                return;
            }
            (reader.take(), count)
        };
        let Some(reader) = reader else { return };
        let Some((thread, operation)) = self.take(reader.operation) else { return };
        let results = Results::of(&ConsoleReadResults { bytes: &bytes[..count] });
        let completed = self.deliver(&thread, results, &operation.pending);
        self.finish(&thread, &operation, completed, None);
    }

    /// Forgets a reader whose thread ends.
    pub fn cancel_read(&self, operation: OperationRef) {
        let mut reader = self.reader.lock();
        if reader.as_ref().is_some_and(|reader| reader.operation == operation) {
            *reader = None;
        }
    }
}
