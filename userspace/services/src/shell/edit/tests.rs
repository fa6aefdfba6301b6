//! The editor, key by key, and under any bytes.

use super::*;
use alloc::{vec, vec::Vec};
use proptest::prelude::*;

const UP: &[u8] = b"\x1b[A";
const DOWN: &[u8] = b"\x1b[B";
const LEFT: &[u8] = b"\x1b[D";

fn type_in(editor: &mut Editor, bytes: &[u8]) -> Vec<Event> {
    let mut screen = String::new();
    bytes.iter().filter_map(|byte| editor.feed(*byte, &mut screen)).collect()
}

/// What is entered if these bytes are typed.
fn entered(bytes: &[u8]) -> String {
    let mut editor = Editor::new("> ");
    match &type_in(&mut editor, &[bytes, b"\r"].concat())[..] {
        [Event::Line(line)] => line.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn keys_move_and_erase() {
    for (typed, line) in [
        (&b"kill 7"[..], "kill 7"),
        (b"ac\x1b[Db", "abc"),
        (b"bc\x1b[Ha", "abc"),
        (b"bc\x01a\x05d", "abcd"),
        (b"bc\x1b[1~a\x1b[4~d", "abcd"),
        (b"bc\x1bOHa\x1bOFd", "abcd"),
        (b"abx\x7f", "ab"),
        (b"abx\x08", "ab"),
        (b"xab\x01\x1b[3~", "ab"),
        (b"xab\x01\x04", "ab"),
        (b"abcd\x1b[D\x1b[D\x0b", "ab"),
        (b"abcd\x1b[D\x1b[D\x15", "cd"),
        (b"one two  \x17x", "one x"),
        (b"ab\x1b[C\x1b[Cc", "abc"),
        (b"\x7f\x1b[D\x17\x15\x0ba", "a"),
        (b"a\xc3\xa4\0\x1b[99~\x1bxb", "ab"),
        (b"a\x1b[1;5Db", "ba"),
    ] {
        assert_eq!(entered(typed), line, "{typed:?}");
    }
}

#[test]
fn carriage_return_newline_and_both_end_a_line_once() {
    let mut editor = Editor::new("> ");
    let lines = type_in(&mut editor, b"a\rb\nc\r\nd\n\r");
    let expected = ["a", "b", "c", "d", ""].map(|line| Event::Line(line.into()));
    assert_eq!(lines, expected);
}

#[test]
fn control_c_gives_the_line_up_and_control_d_ends_an_empty_one() {
    let mut editor = Editor::new("> ");
    assert_eq!(type_in(&mut editor, b"abc\x03\x04"), [Event::Interrupted, Event::EndOfInput]);
    assert_eq!(editor.line(), "");
}

#[test]
fn history_goes_back_and_forth_and_keeps_what_was_being_typed() {
    let mut editor = Editor::new("> ");
    type_in(&mut editor, b"first\rsecond\rsecond\r  \rdraft");
    let mut seen = |bytes: &[u8]| {
        type_in(&mut editor, bytes);
        String::from(editor.line())
    };
    assert_eq!(seen(UP), "second");
    assert_eq!(seen(UP), "first");
    assert_eq!(seen(UP), "first");
    assert_eq!(seen(DOWN), "second");
    assert_eq!(seen(DOWN), "draft");
    assert_eq!(seen(DOWN), "draft");
    assert_eq!(seen(UP), "second");
    assert_eq!(type_in(&mut editor, b"!\r"), [Event::Line("second!".into())]);
}

#[test]
fn only_so_many_lines_are_remembered() {
    let mut editor = Editor::new("> ");
    for number in 0..2 * REMEMBERED {
        type_in(&mut editor, format!("{number}\r").as_bytes());
    }
    type_in(&mut editor, &UP.repeat(3 * REMEMBERED));
    assert_eq!(editor.line(), format!("{REMEMBERED}"));
}

#[test]
fn a_line_has_an_end_and_the_bell_says_so() {
    let mut editor = Editor::new("> ");
    type_in(&mut editor, &vec![b'x'; MOST_CHARACTERS]);
    let mut screen = String::new();
    assert_eq!(editor.feed(b'y', &mut screen), None);
    assert_eq!((screen.as_str(), editor.line().len()), ("\u{7}", MOST_CHARACTERS));
}

#[test]
fn the_screen_shows_the_line_with_the_cursor_at_its_place() {
    let (mut editor, mut screen) = (Editor::new("> "), String::new());
    editor.feed(b'a', &mut screen);
    editor.feed(b'b', &mut screen);
    assert_eq!(screen, "ab");
    screen.clear();
    LEFT.iter().for_each(|byte| assert_eq!(editor.feed(*byte, &mut screen), None));
    assert_eq!(screen, "\r> ab\u{1b}[K\u{1b}[1D");
}

proptest! {
    #[test]
    fn any_bytes_keep_the_cursor_in_a_printable_line(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let (mut editor, mut screen) = (Editor::new("> "), String::new());
        for byte in bytes {
            let event = editor.feed(byte, &mut screen);
            prop_assert!(editor.cursor() <= editor.line().len() && editor.line().len() <= MOST_CHARACTERS);
            prop_assert!(editor.line().bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            prop_assert!(event.is_none() || editor.line().is_empty());
        }
    }

    #[test]
    fn keys_in_any_order_do_not_panic(keys in prop::collection::vec(0..14_usize, 0..300)) {
        let sequences: [&[u8]; 14] = [
            b"a", b" ", b"\x1b[A", b"\x1b[B", b"\x1b[C", b"\x1b[D", b"\x1b[H", b"\x1b[F", b"\x7f", b"\x1b[3~", b"\x0b", b"\x15",
            b"\x17", b"\r",
        ];
        let mut editor = Editor::new("> ");
        for key in keys {
            type_in(&mut editor, sequences[key]);
            prop_assert!(editor.cursor() <= editor.line().len());
        }
    }
}
