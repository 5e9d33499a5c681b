//! What the machine printed, against what it has to print.

/// How lines begin that the checker means for us.
const MARK: &str = "UNLADE ";

/// What QEMU says where a card refuses a command of the protocol that the machine does not wait for.
const REFUSED: &str = "error reply on async request";

/// Prints the verdicts in a console's text. An error where one of those that are expected is not
/// there, where one says that a check failed, where the checks did not come to their end, or where a
/// card refused QEMU something, which no machine sees.
pub(super) fn judge(console: &str, expected: &[&str]) -> Result<(), String> {
    // The console ends lines as terminals do, and the kernel may have written before one of ours.
    let lines = console
        .lines()
        .filter_map(|line| line.find(MARK).map(|at| line[at + MARK.len()..].trim_end()));
    let mut missing: Vec<&str> = expected.to_vec();
    let mut failed = Vec::new();
    let mut ended = false;
    for line in lines {
        println!("      {line}");
        if let Some(verdict) = line.strip_prefix("passed ") {
            missing.retain(|name| !verdict.starts_with(&format!("{name}: ")));
        } else if let Some(verdict) = line.strip_prefix("FAILED ") {
            failed.push(verdict);
        } else if line.starts_with("end: ") {
            ended = true;
        }
    }
    if let Some(panic) = console.lines().find(|line| line.contains("Kernel panic")) {
        return Err(panic.trim().to_owned());
    }
    if let Some(refused) = console.lines().find(|line| line.contains(REFUSED)) {
        return Err(format!("a card refuses QEMU: {}", refused.trim()));
    }
    if !failed.is_empty() {
        return Err(failed.join("; "));
    }
    if !missing.is_empty() {
        return Err(format!("there is no verdict on: {}", missing.join(", ")));
    }
    match ended {
        true => Ok(()),
        false => Err("the checks have not come to their end".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_expected_has_to_pass() {
        let all = "boot\r\nUNLADE passed a: 1 (0.1 s)\r\n[1.0] kernel UNLADE passed b c: x\r\n\
                   UNLADE end: 2 passed, 0 failed\r\n";
        assert_eq!(judge(all, &["a", "b c"]), Ok(()));
        let judged = |text: &str| judge(text, &["a", "b c"]).unwrap_err();
        assert_eq!(judged(""), "there is no verdict on: a, b c");
        assert!(judged(&all.replace("b c", "b")).contains("b c"));
        assert!(judged(&all.replace("end", "fin")).contains("their end"));
        assert!(judged(&all.replace("passed a", "FAILED a")).contains("a: 1"));
        let panic = format!("{all}[2.0] Kernel panic - not syncing: no\r\n");
        assert!(judged(&panic).contains("not syncing"));
        let refused = format!(
            "{all}vfio_user_process: error reply on async request command 3 error Invalid argument\r\n"
        );
        assert!(judged(&refused).contains("command 3"));
    }
}
