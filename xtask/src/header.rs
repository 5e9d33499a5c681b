//! `cargo xtask header`: whether the C interface's header is what cbindgen makes of its sources.

use std::path::PathBuf;

use clap::Args;

use crate::step::{Outcome, command};
use crate::tools;

/// What to do where it is not.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Write the header anew
    #[arg(long)]
    update: bool,
}

pub(crate) fn run(options: &Options) -> bool {
    match check(options.update) {
        Outcome::Passed => true,
        Outcome::Failed => false,
        Outcome::NotRun(why) => {
            eprintln!("header: {why}");
            false
        }
    }
}

/// As a step of `cargo xtask test`.
pub(crate) fn step() -> Outcome {
    check(false)
}

fn check(update: bool) -> Outcome {
    let made = match tools::cbindgen().and_then(make) {
        Ok(made) => made,
        Err(error) => return Outcome::NotRun(error),
    };
    let path = path();
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    if there == made {
        return Outcome::Passed;
    }
    if !update {
        eprintln!(
            "{}: is not what its sources say; `cargo xtask header --update` writes it",
            path.display()
        );
        return Outcome::Failed;
    }
    match std::fs::write(&path, made) {
        Ok(()) => Outcome::Passed,
        Err(error) => {
            eprintln!("{}: {error}", path.display());
            Outcome::Failed
        }
    }
}

fn path() -> PathBuf {
    crate::root().join("plugins/capi/include/unlade.h")
}

fn make(cbindgen: PathBuf) -> Result<String, String> {
    let words = ["--quiet", "--config", "cbindgen.toml", "--crate"];
    let mut make = command(&cbindgen.to_string_lossy(), &words);
    make.args(["unlade-capi", "."]);
    make.current_dir(crate::root().join("plugins/capi"));
    tools::said(make).map(|text| without_safety(&text))
}

/// The text without what comments say to callers in Rust: the header's beginning says that for C.
fn without_safety(text: &str) -> String {
    let mut lines: Vec<&str> = Vec::new();
    let mut skips = false;
    for line in text.lines() {
        let is_end = line.trim() == "*/";
        if line.trim() == "* # Safety" {
            skips = true;
            // And the empty line before it.
            if lines.last().is_some_and(|line| line.trim() == "*") {
                lines.pop();
            }
        }
        skips &= !is_end;
        if !skips {
            lines.push(line);
        }
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_safety_is_left_out_and_nothing_else() {
        let text =
            "/**\n * Does it.\n *\n * # Safety\n * Pointers are null or so.\n */\nvoid f(void);\n";
        assert_eq!(
            without_safety(text),
            "/**\n * Does it.\n */\nvoid f(void);\n"
        );
        let other = "/**\n * One.\n *\n * Two.\n */\nint g(void);\n";
        assert_eq!(without_safety(other), other);
    }
}
