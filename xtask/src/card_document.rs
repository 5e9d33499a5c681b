//! docs/CARD.md against its examples, by a decoder in Python that was written from it alone.

use crate::step::{Outcome, command, outcome};

/// Decodes and encodes every example of docs/card/vectors.toml, and checks what it is refused for.
pub(crate) fn check() -> Outcome {
    // The decoder reads TOML with what Python has since 3.11.
    let probe = command("python3", &["-c", "import tomllib"]).output();
    match probe {
        Ok(probe) if probe.status.success() => outcome(command(
            "python3",
            &["docs/card/decode.py", "--check", "docs/card/vectors.toml"],
        )),
        Ok(_) => Outcome::NotRun("python3 is older than 3.11, the first with tomllib".to_owned()),
        Err(error) => Outcome::NotRun(format!("python3, of 3.11 or later: {error}")),
    }
}
