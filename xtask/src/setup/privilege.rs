//! What this user may do to the machine.

use std::process::Command;

use crate::process;

/// How commands that change the machine are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privilege {
    /// This process is root.
    Root,
    /// `sudo` works without a password.
    Sudo,
    /// Neither: the commands are printed instead.
    None,
}

impl Privilege {
    /// Finds out, without ever asking for a password.
    pub fn detect() -> Self {
        if process::answer("id", &["-u"]).is_some_and(|user| user.trim() == "0") {
            Self::Root
        } else if process::answer("sudo", &["-n", "true"]).is_some() {
            Self::Sudo
        } else {
            Self::None
        }
    }

    /// The command that does this as root; without privilege it is what a person should type.
    pub fn command(self, words: &[String]) -> Command {
        let mut all = words.to_vec();
        match self {
            Self::Root => {}
            Self::Sudo => all.splice(0..0, ["sudo".to_owned(), "-n".to_owned()]).for_each(drop),
            Self::None => all.insert(0, "sudo".to_owned()),
        }
        let mut command = Command::new(&all[0]);
        command.args(&all[1..]);
        command
    }
}
