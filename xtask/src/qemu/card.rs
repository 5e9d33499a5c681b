//! A card's process.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Far longer than a process takes to make its socket, or to end when it is asked to.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a card is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Everything that a card is put through on which nothing goes wrong.
    Sound,
    /// One of two at once.
    Pair,
    /// A fault strikes.
    Faulty(&'static str),
}

impl Role {
    /// What the checker knows it by.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Role::Sound => "sound",
            Role::Pair => "pair",
            Role::Faulty(fault) => fault,
        }
    }

    /// The check that is this card's alone.
    pub(super) fn check(&self) -> Option<&'static str> {
        match self {
            Role::Sound | Role::Pair => None,
            Role::Faulty(fault) => Some(fault),
        }
    }

    /// How often the card is refused memory: once by what is checked of a sound card, and by the
    /// fault of that name.
    fn refused(self) -> u64 {
        u64::from(matches!(self, Role::Sound | Role::Faulty("write-outside")))
    }
}

/// A card that is served. It ends with this, or with `cargo xtask`.
#[derive(Debug)]
pub(super) struct Card {
    role: Role,
    socket: PathBuf,
    process: Child,
}

impl Card {
    /// Starts a card, and waits for its socket.
    pub(super) fn serve(
        checker: &Path,
        role: Role,
        seed: u64,
        socket: &Path,
    ) -> Result<Card, String> {
        let mut command = Command::new(checker);
        command.arg("serve").arg("--socket").arg(socket);
        command.args(["--seed", &seed.to_string()]);
        if let Role::Faulty(fault) = role {
            command.args(["--fault", fault]);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let process = command
            .spawn()
            .map_err(|error| format!("{command:?}: {error}"))?;
        let mut card = Card {
            role,
            socket: socket.to_owned(),
            process,
        };
        let started = Instant::now();
        while !socket.exists() {
            let ended = card.process.try_wait().ok().flatten();
            if ended.is_some() || started.elapsed() > PATIENCE {
                return Err(format!("{command:?} serves nothing"));
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(card)
    }

    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Ends the card. An error where it has seen something that it should not have, or not seen
    /// what it should have.
    pub(super) fn end(mut self) -> Result<(), String> {
        let name = self.role.name();
        let failed = |error: io::Error| format!("card `{name}`: {error}");
        drop(self.process.stdin.take());
        let started = Instant::now();
        while self.process.try_wait().map_err(failed)?.is_none() {
            if started.elapsed() > PATIENCE {
                return Err(format!("card `{name}` does not end"));
            }
            thread::sleep(Duration::from_millis(5));
        }
        let mut report = String::new();
        let mut output = self.process.stdout.take().expect("it is piped");
        output.read_to_string(&mut report).map_err(failed)?;
        check(self.role, &report).map_err(|why| format!("card `{name}` {why}:\n{report}"))
    }
}

impl Drop for Card {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Judges what a card has seen.
fn check(role: Role, report: &str) -> Result<(), String> {
    let count = |what: &str| {
        let mut numbers = report.lines().filter_map(|line| line.strip_prefix(what));
        numbers.next().and_then(|number| number.parse::<u64>().ok())
    };
    let (Some(jobs), Some(refused)) = (count("jobs "), count("refused ")) else {
        return Err("has not told what it has seen".to_owned());
    };
    let struck = report.lines().any(|line| line.starts_with("fault "));
    if jobs == 0 {
        return Err("has done no job".to_owned());
    }
    if refused != role.refused() {
        return Err(format!(
            "was refused memory {refused} times, not {}",
            role.refused()
        ));
    }
    if struck != matches!(role, Role::Faulty(_)) {
        return Err("has met no fault, or one that was not asked for".to_owned());
    }
    match report.lines().any(|line| line.starts_with("finding")) {
        true => Err("has seen what a host must not do".to_owned()),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_has_seen_what_its_role_says_and_no_more() {
        let refused = |role, report: &str| check(role, report).unwrap_err();
        let fatal = Role::Faulty("fatal");
        assert_eq!(check(Role::Pair, "jobs 3\nrefused 0\n"), Ok(()));
        assert_eq!(
            check(Role::Sound, "jobs 3\nrefused 1\nrefused: x\n"),
            Ok(())
        );
        let struck = "jobs 3\nrefused 0\nfault Fatal in job 2\n";
        assert_eq!(check(fatal, struck), Ok(()));
        assert!(refused(Role::Pair, "").contains("not told"));
        assert!(refused(Role::Pair, "jobs 0\nrefused 0\n").contains("no job"));
        assert!(refused(Role::Sound, "jobs 3\nrefused 0\n").contains("0 times, not 1"));
        assert!(refused(fatal, "jobs 3\nrefused 0\n").contains("no fault"));
        assert!(refused(Role::Pair, struck).contains("not asked for"));
        let found = "jobs 3\nrefused 0\nfinding: a doorbell\n";
        assert!(refused(Role::Pair, found).contains("must not"));
    }
}
