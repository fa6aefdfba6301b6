//! The operator's console: an ordinary program with the grants that its manifest names.
//!
//! It needs a terminal; each command says so itself if it lacks what it needs. Exit code: 0 after `exit` or ^D.
#![no_std]
#![no_main]

extern crate alloc;

mod commands;
mod screen;
mod top;

use alloc::string::String;
use commands::Failure;
use screen::Screen;
use services::shell::{
    command::{self, Command},
    edit::{Editor, Event},
};
use tessera_rt::{CallError, println};

tessera_rt::entry!(main);

const PROMPT: &str = "tessera> ";

fn main() -> i32 {
    match run() {
        Ok(()) => 0,
        Err(error) => {
            println!("{error}");
            1
        }
    }
}

/// Reads and obeys lines until the operator leaves; an error is the terminal's.
fn run() -> Result<(), CallError> {
    let mut screen = Screen::open()?;
    let mut editor = Editor::new(PROMPT);
    screen.line(format_args!("'help' lists the commands."))?;
    loop {
        let Some(line) = read_line(&mut screen, &mut editor)? else { return Ok(()) };
        match command::parse(&line) {
            Ok(Command::Exit) => return Ok(()),
            Ok(command) => match commands::obey(command, &mut screen) {
                Ok(()) => {}
                Err(Failure::Screen(error)) => return Err(error),
                Err(failure) => screen.line(format_args!("error: {failure}"))?,
            },
            Err(error) => screen.line(format_args!("error: {error}"))?,
        }
    }
}

/// The next line; `None` at the end of the input.
fn read_line(screen: &mut Screen, editor: &mut Editor) -> Result<Option<String>, CallError> {
    let mut shown = String::new();
    editor.redraw(&mut shown);
    loop {
        screen.show(&shown)?;
        shown.clear();
        let byte = screen.next_byte()?;
        match editor.feed(byte, &mut shown) {
            None => {}
            Some(Event::Interrupted) => editor.redraw(&mut shown),
            Some(Event::Line(line)) => {
                screen.show(&shown)?;
                return Ok(Some(line));
            }
            Some(Event::EndOfInput) => {
                screen.show("\n")?;
                return Ok(None);
            }
        }
    }
}
